"""The fit: stream all modalities side by side, accumulate, and solve.

The data are read once. Only where the reading turns up placeholder rows, or rows are to be winsorised, are they read
again: a placeholder cannot be told from data before it has been seen to repeat, nor how far is far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
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
from clear_cli.workflow.evidence import Evidence
from clear_cli.workflow.reading import Reading
from clear_cli.workflow.solving import Solution, solve

FEW = 0.5
"""Of the ids of the smaller modality: with less in common than this, ids are likely to be written in two ways."""


@dataclass(frozen=True, eq=False)
class Fitted(Solution):
    """What a fit found in rows.

    Attributes:
        membership: Which rows took part.
    """

    membership: Membership


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


def fit_rows(
    sources: Mapping[str, Rows],
    alignment: Alignment,
    options: FitOptions,
    machine: Machine,
    *,
    keep: Callable[[Evidence], None] | None = None,
) -> Fitted:
    """Fit the shared subspace of every modality, and sample what a report needs.

    Args:
        sources: The modalities.
        alignment: Which of their rows describe the same item.
        options: Parameters of the fit.
        machine: The means to work with.
        keep: Is given all that was accumulated, also of pairs with too few items to be fitted.

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
        if again := _second(reading):
            reading = again
            told = "with far rows drawn in" if again.limits else "without placeholders"
            reading.run(aligned, machine, pool, f"fitting again {told}")
        evidence = reading.evidence()
        if keep is not None:
            keep(evidence)
        solution = solve(_related(evidence, alignment), options, parallel=pool.map)
        warnings = [*_unmatched(sources, alignment), *_unknown_items(alignment), *solution.warnings]
        membership = _membership(reading, solution)
        return Fitted(solution.projectors, solution.evidence, warnings, solution.significances, membership)


def _related(evidence: Evidence, alignment: Alignment) -> Evidence:
    """The evidence without pairs that have no id in common: of these `_unmatched` tells, and why."""
    shared = {pair: one for pair, one in evidence.moments.items() if one.items or alignment.shared_items(*pair)}
    return replace(evidence, moments=shared)


def _second(first: Reading) -> Reading | None:
    """A reading that heeds what the first has turned up; None where there is nothing to heed."""
    share, placeholders = first.options.winsorise, first.placeholders()
    limits = first.winsorising(share) if share else {}
    if not limits and not any(map(len, placeholders.values())):
        return None
    return Reading(first.sources, first.alignment, first.options, placeholders, limits)


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


def _unmatched(sources: Mapping[str, Rows], alignment: Alignment) -> list[str]:
    """A warning for each two modalities that have less than half of their ids in common, by the smaller one."""
    warnings = []
    for a, b in combinations(sources, 2):
        shared, rows = alignment.shared_items(a, b), [sources[name].rows for name in (a, b)]
        doubt = "are the ids of both written in the same way?"
        if not shared:
            warnings.append(f'"{a}" and "{b}" have no ids in common, so the pair is left out of the fit: {doubt}')
        elif shared < FEW * min(rows):
            lone = [f'{n - shared:,} of {n:,} rows of "{name}"' for name, n in zip((a, b), rows, strict=True)]
            warnings.append(
                f'"{a}" and "{b}" have only {shared:,} ids in common, and {" and ".join(lone)} are not in the other '
                f"one: {doubt}"
            )
    return warnings


def _unknown_items(alignment: Alignment) -> list[str]:
    unknown = alignment.unknown_fit_items
    if not unknown:
        return []
    ids = (
        "1 id in the list of items to fit on is"
        if unknown == 1
        else f"{unknown:,} ids in the list of items to fit on are"
    )
    return [f"{ids} not known"]


def _membership(reading: Reading, solution: Solution) -> Membership:
    partners = dict.fromkeys(reading.bits, 0)
    for a, b in solution.evidence.moments:
        partners[a] |= reading.bits[b]
        partners[b] |= reading.bits[a]
    return Membership(reading.alignment, reading.usable, reading.bits, partners)
