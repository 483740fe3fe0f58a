"""The fit: stream all modalities side by side, accumulate, decompose, choose ranks.

The data are read once. Only where the reading turns up placeholder rows are they read again, because a
placeholder cannot be told from data before it has been seen to repeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from clear_cli.config import FitOptions, Machine
from clear_cli.embeddings.align import Alignment
from clear_cli.embeddings.base import Rows
from clear_cli.embeddings.stream import Aligned, Block
from clear_cli.errors import DataError
from clear_cli.health import Floats, Hashes, Mask, RepeatedRows, Status, pair_hashes, row_hashes, row_status
from clear_cli.moments import CrossMoments
from clear_cli.projector import Projector
from clear_cli.sample import Sample
from clear_cli.subspace import Pair, RankRule, energy_rank, numeric_rank, shared_subspaces, tied_at

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
        reading = _Reading(sources, alignment, options)
        reading.run(aligned, machine, pool, "fitting")
        if any(len(found) for found in reading.placeholders().values()):
            reading = _Reading(sources, alignment, options, reading.placeholders())
            reading.run(aligned, machine, pool, "fitting again without placeholders")
        return _decompose(sources, reading, options)


@dataclass
class _Reading:
    """One reading of all modalities, with what it accumulates."""

    sources: Mapping[str, Rows]
    alignment: Alignment
    options: FitOptions
    known: Mapping[str, Hashes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shapes = {name: (source.dim, source.dtype) for name, source in self.sources.items()}
        self.moments = {(a, b): CrossMoments(shapes[a][0], shapes[b][0]) for a, b in combinations(shapes, 2)}
        pairs = self.moments if self.options.report else ()
        self.samples = {(a, b): Sample(shapes[a], shapes[b]) for a, b in pairs}
        self.bits = {name: 1 << i for i, name in enumerate(shapes)}
        self.usable = np.zeros(self.alignment.items, dtype=np.min_scalar_type((1 << len(shapes)) - 1))
        self.repeated = {name: RepeatedRows() for name in shapes}
        self.fillers: dict[str, dict[int, Floats]] = {name: {} for name in shapes}

    def run(self, aligned: Aligned, machine: Machine, pool: ThreadPoolExecutor, stage: str) -> None:
        with machine.progress.stage(stage, self.alignment.items) as advance, closing(aligned.blocks()) as blocks:
            for block in blocks:
                self._add(block, pool)
                advance(block.items.stop - block.items.start)

    def placeholders(self) -> dict[str, Hashes]:
        return {name: repeated.placeholders() for name, repeated in self.repeated.items()}

    def _add(self, block: Block, pool: ThreadPoolExecutor) -> None:
        hashes, usable = {}, {}
        for name, rows in block.rows.items():
            status = row_status(rows)
            self._refuse_non_finite(name, status, block)
            hashes[name] = row_hashes(rows)
            usable[name] = status == Status.USED
            shared = (
                usable[name] if self.alignment.shared is None else usable[name] & self.alignment.shared[block.items]
            )
            self.repeated[name].update(hashes[name][shared])
            if name in self.known:
                filler = np.isin(hashes[name], self.known[name]) & usable[name]
                for i in np.flatnonzero(filler):
                    self.fillers[name].setdefault(int(hashes[name][i]), rows[i].copy())
                usable[name] &= ~filler
            self.usable[block.items] |= usable[name] * self.usable.dtype.type(self.bits[name])
        for a, b in self.moments:
            complete = usable[a] & usable[b]
            if self.alignment.fit is not None:
                complete &= self.alignment.fit[block.items]
            x, y = _selected(block.rows[a], complete), _selected(block.rows[b], complete)
            contents = pair_hashes(hashes[a][complete], hashes[b][complete])
            self.moments[a, b].update(x, y, contents, parallel=pool.map)
            if self.samples:
                self.samples[a, b].update(x, y, self.alignment.hashes(block.items)[complete])

    def _refuse_non_finite(self, name: str, status: npt.NDArray[np.uint8], block: Block) -> None:
        bad = np.flatnonzero(status == Status.NON_FINITE)
        if not len(bad) or self.options.on_invalid == "keep":
            return
        item = block.items.start + int(bad[0])
        positions = self.alignment.positions[name]
        row = item if positions is None else int(np.flatnonzero(positions == item)[0])
        raise non_finite(name, row, self.sources[name].path)


def non_finite(modality: str, row: int, where: object) -> DataError:
    """The error for a row with NaN or infinity."""
    return DataError(
        f'embeddings of "{modality}" hold NaN or infinity, first in row {row}',
        where=where,
        fix="repair the rows, or --on-invalid keep to leave them out of the fit and pass them through",
    )


def _selected(rows: Floats, chosen: Mask) -> Floats:
    return rows if chosen.all() else rows[chosen]


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


def _decompose(sources: Mapping[str, Rows], reading: _Reading, options: FitOptions) -> Fitted:
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


def _enough(reading: _Reading, warnings: list[str]) -> dict[Pair, CrossMoments]:
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
