"""The fit: stream all modalities side by side, accumulate, decompose, choose ranks.

The data are read once. Only where the reading turns up placeholder rows are they read again, because a
placeholder cannot be told from data before it has been seen to repeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from clear_cli.config import FitOptions
from clear_cli.embeddings.align import Alignment
from clear_cli.embeddings.base import Rows
from clear_cli.embeddings.stream import Aligned
from clear_cli.errors import DataError
from clear_cli.health import Mask, Status
from clear_cli.machine import Machine
from clear_cli.moments import CrossMoments
from clear_cli.projector import Projector
from clear_cli.sample import Sample
from clear_cli.subspace import Pair, RankRule, energy_rank, numeric_rank, shared_subspaces, tied_at
from clear_cli.workflow.reading import Reading

MIN_COMPLETE_ITEMS = 10


@dataclass(frozen=True, eq=False)
class Fitted:
    """What the fit found.

    Attributes:
        projectors: One per modality.
        moments: Cross-moments of each pair that entered the fit.
        samples: The sample of complete items of each of these pairs; none where nothing is to be reported.
        membership: Which rows took part.
        warnings: What the user should know.
    """

    projectors: dict[str, Projector]
    moments: dict[Pair, CrossMoments]
    samples: dict[Pair, Sample]
    membership: Membership
    warnings: list[str]


@dataclass(frozen=True, eq=False)
class Membership:
    """Which items had a usable row in which modality.

    Attributes:
        alignment: Item numbers of rows.
        usable: (items,) bit m is set where modality m has a usable row.
        bits: The bit of each modality.
        partners: The bits of the modalities that each one was fitted with.
    """

    alignment: Alignment
    usable: npt.NDArray[np.unsignedinteger[Any]]
    bits: dict[str, int]
    partners: dict[str, int]

    def part(self, modality: str, start: int, rows: int) -> tuple[npt.NDArray[np.uint8], Mask]:
        """For consecutive rows that are usable: their status, and which have no usable row elsewhere; (rows,) each."""
        numbers = self.alignment.item_numbers(modality, start, rows)
        known = numbers >= 0
        bits = np.where(known, self.usable[numbers], 0)
        status = np.where(bits & self.partners[modality], Status.USED, Status.INCOMPLETE)
        if self.alignment.fit is not None:
            status[(status == Status.USED) & ~self.alignment.fit[numbers]] = Status.EXCLUDED
        alone = (bits & (sum(self.bits.values()) - self.bits[modality])) == 0
        return status.astype(np.uint8), alone


def fit_rows(sources: Mapping[str, Rows], alignment: Alignment, options: FitOptions, machine: Machine) -> Fitted:
    """Fit the shared subspace of every modality, and sample what a report needs.

    Raises:
        DataError: Rows that are not finite (unless kept), or too few complete items.
        UsageError: A rank that does not fit.
    """
    _check_overlap(sources, alignment)
    # One thread per BLAS call, many calls at a time: the same bits for any number of threads.
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(machine.threads) as pool,
        Aligned(sources, alignment, scratch=machine.tmp_dir) as aligned,
    ):
        reading = Reading(sources, alignment, options)
        reading.run(aligned, machine, pool, "fitting")
        if any(len(found) for found in reading.placeholders().values()):
            reading = Reading(sources, alignment, options, reading.placeholders())
            reading.run(aligned, machine, pool, "fitting again without placeholders")
        return _decompose(sources, reading, options)


def first_ids(source: Rows, count: int = 3) -> list[Any]:
    """The first ids of a source; nothing for a source without ids."""
    return next((ids[:count].to_pylist() for ids in source.ids()), [])


def _check_overlap(sources: Mapping[str, Rows], alignment: Alignment) -> None:
    if any(alignment.shared_items(a, b) for a, b in combinations(sources, 2)):
        return
    first = {
        f"ids_of_{name}": ", ".join(map(str, first_ids(source)))
        for name, source in sources.items()
        if source.id_kind != "row"
    }
    raise DataError(
        "no item occurs in two modalities",
        where=", ".join(f"{name}: {source.rows:,} rows" for name, source in sources.items()),
        **first,
        fix="give all modalities the same item ids",
    )


def _decompose(sources: Mapping[str, Rows], reading: Reading, options: FitOptions) -> Fitted:
    names = list(sources)
    warnings: list[str] = []
    if reading.alignment.unknown_fit_items:
        warnings.append(f"{reading.alignment.unknown_fit_items:,} ids in the list of items to fit on are not known")
    moments = _enough(reading, warnings)
    partners = dict.fromkeys(names, 0)
    for a, b in moments:
        partners[a] |= reading.bits[b]
        partners[b] |= reading.bits[a]
    subspaces = shared_subspaces(moments, names)
    projectors = {}
    for name, subspace in subspaces.items():
        kept = min(options.max_rank, subspace.dim - 1, len(subspace.spectrum))
        others = sum(source.dim for other, source in sources.items() if other != name)
        rank = options.rank[name].choose(subspace.spectrum, dim=subspace.dim, partners=others, kept=kept)
        _warn_rank(name, rank, subspace.spectrum, options.rank[name], warnings)
        fillers = [reading.fillers[name][key] for key in sorted(reading.fillers[name])]
        projectors[name] = Projector(
            modality=name,
            mean=_mean(name, moments),
            directions=np.ascontiguousarray(subspace.directions[:, :kept]),
            spectrum=subspace.spectrum,
            rank=rank,
            strength=options.strength[name],
            placeholders=np.array(fillers, dtype=sources[name].dtype).reshape(-1, subspace.dim),
        )
    membership = Membership(reading.alignment, reading.usable, reading.bits, partners)
    samples = {pair: reading.samples[pair] for pair in moments if pair in reading.samples}
    return Fitted(projectors, moments, samples, membership, warnings)


def _mean(name: str, moments: Mapping[Pair, CrossMoments]) -> npt.NDArray[np.float64]:
    """The mean over the complete items of all pairs of a modality, each pair weighted by its items."""
    parts = [(pair.items, pair.mean(names.index(name))) for names, pair in moments.items() if name in names]
    return np.average([mean for _, mean in parts], axis=0, weights=[n for n, _ in parts])


def _enough(reading: Reading, warnings: list[str]) -> dict[Pair, CrossMoments]:
    """The pairs with enough complete items; at least one for each modality."""
    moments = {}
    for (a, b), pair in reading.moments.items():
        dims = sum(pair.dims)
        if pair.items >= MIN_COMPLETE_ITEMS:
            moments[a, b] = pair
            if pair.items < dims:
                warnings.append(
                    f'"{a}" and "{b}" have {pair.items:,} complete items, fewer than their {dims:,} dimensions '
                    "together: the fit follows noise"
                )
        elif len(reading.moments) > 1:
            warnings.append(
                f'"{a}" and "{b}" have {pair.items:,} complete items, fewer than {MIN_COMPLETE_ITEMS}: '
                "the pair is left out of the fit"
            )
    for name in reading.bits:
        if not any(name in pair for pair in moments):
            most = max(pair.items for names, pair in reading.moments.items() if name in names)
            raise DataError(
                f'"{name}" has {most:,} complete items with another modality, and the fit needs {MIN_COMPLETE_ITEMS}',
                where=reading.sources[name].path,
                fix="check that the ids match and that the rows are not missing",
            )
    return moments


def _warn_rank(name: str, rank: int, spectrum: npt.NDArray[np.float64], rule: RankRule, warnings: list[str]) -> None:
    wanted = rule.count if rule.share is None else energy_rank(spectrum, rule.share)
    if wanted is not None and rank < wanted:
        warnings.append(f'"{name}" can lose only {rank} of the {wanted} directions that rank {rule.text} asks for')
    elif numeric_rank(spectrum, len(spectrum)) == 0 and wanted != 0:
        warnings.append(f'"{name}" shares nothing that can be removed: its output equals its input')
    if tied_at(spectrum, rank):
        warnings.append(
            f'the singular values of "{name}" are tied at rank {rank}: which directions fall below the cut is arbitrary'
        )
