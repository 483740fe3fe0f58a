"""The projection: every row of a modality through its projector and into its sink, measured on the way."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clear_cli.config import OnInvalid
from clear_cli.drift import Drift
from clear_cli.embeddings.base import Chunk, Floats, Rows, Sink
from clear_cli.embeddings.ids import ids_in_step
from clear_cli.embeddings.items import FIGURES, ItemsWriter
from clear_cli.errors import DataError
from clear_cli.health import Mask, Status, row_hashes, row_status
from clear_cli.impact import Impact, row_figures
from clear_cli.parallel import Prefetch, behind
from clear_cli.projector import Projector
from clear_cli.workflow.journal import PartFiles
from clear_cli.workflow.reading import non_finite

PART_ROWS = 512
"""Rows projected by one call, counted from the start of a chunk: what fits in the cache of a core."""

EXTREMES = 10
"""Rows listed as most and as least affected."""

Statuses = npt.NDArray[np.uint8]
PartOf = Callable[[int, int], tuple[Statuses, Mask]]
"""(start, rows) -> status of each row if it is usable, and whether its item has no usable row in another modality."""


class Extreme(NamedTuple):
    """A row at an end of the scale of what was removed."""

    removed: float
    row: int
    item_id: Any


@dataclass
class Outcome:
    """What became of the rows of one modality.

    Attributes:
        by_status: Rows by status.
        alone: Usable rows whose item has no usable row in another modality.
        zeroed: Usable rows that came out all zeros.
        impact: Totals over the usable rows; None where nothing is to be reported, and so for what follows.
        most: (share removed, row, id) of the rows that lost most, most first.
        least: The same of those that lost least.
        drift: Of the usable rows from those of the fit; None where that is not asked.
    """

    by_status: dict[str, int] = field(default_factory=lambda: {status.label: 0 for status in Status})
    alone: int = 0
    zeroed: int = 0
    impact: Impact | None = None
    most: list[Extreme] = field(default_factory=list)
    least: list[Extreme] = field(default_factory=list)
    drift: Drift | None = None

    @property
    def state(self) -> dict[str, Any]:
        """A copy of all of it, in JSON types, so that it can be taken up again to the bit."""
        known = {key: copy(one) for key, one in vars(self).items() if key not in ("impact", "drift")}
        measured = {key: one.state for key in ("impact", "drift") if (one := getattr(self, key)) is not None}
        return {**known, **measured}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self.by_status, self.alone, self.zeroed = state["by_status"], state["alone"], state["zeroed"]
        self.most, self.least = ([Extreme(*one) for one in state[key]] for key in ("most", "least"))
        for measured, key in ((self.impact, "impact"), (self.drift, "drift")):
            if measured is not None:
                measured.state = state[key]


@dataclass(frozen=True)
class Register:
    """Where the figures of every row are written.

    Attributes:
        items: The items table.
        id_type: Type of its ids.
    """

    items: ItemsWriter
    id_type: pa.DataType


def project(
    source: Rows,
    projector: Projector,
    sink: Sink,
    register: Register | None,
    gate: AbstractContextManager[Any],
    *,
    part_of: PartOf,
    on_invalid: OnInvalid,
    drift: Drift | None = None,
    finished: PartFiles | None = None,
) -> Generator[int, None, Outcome]:
    """Write a modality again with projected embeddings, a chunk at each step.

    Decoding and projecting go on ahead in one thread, the writing behind in another. Chunks of parts that are
    finished take a step, too, so that those of several modalities come in the order that they always come in.

    Args:
        source: The modality as it is.
        projector: Its projector.
        sink: Writes its container; open, and closed by who opened it.
        register: Takes the figures of every row; None to measure none.
        gate: Held while a chunk is projected: it limits how many are at a time. BLAS must be limited to one thread.
        part_of: Tells what part usable rows had in the fit.
        on_invalid: What rows with NaN or infinity do.
        drift: Measures how far usable rows are from those of the fit.
        finished: The parts that are written already, and take note of further ones.

    Yields:
        The number of rows written.

    Returns:
        What became of them.

    Raises:
        DataError: A row that is not finite (unless kept), or that leaves the range of its type.
    """
    name = projector.modality
    outcome = Outcome(impact=None if register is None else Impact(source.dim), drift=drift)
    ids_of = None if register is None else ids_in_step(source, register.id_type)

    def projected(chunk: Chunk) -> _Projected:
        with gate:
            return _projected(chunk, projector, measure=register is not None)

    start = (yield from _replayed(name, finished, register, ids_of)) if finished else 0
    if finished and (state := finished.totals(name)):
        outcome.state = state
    with behind(sink.write) as write, Prefetch(map(projected, source.chunks(start))) as ready:
        for done in ready:
            chunk = done.chunk
            bad = np.flatnonzero(done.status == Status.NON_FINITE)
            if len(bad) and on_invalid == "error":
                raise non_finite(name, chunk.start + int(bad[0]), source.path)
            # The rows as they were are not needed any more, and would wait with the others.
            write(name, replace(chunk, embeddings=done.y), done.y)
            usable = count(outcome, chunk.start, done.status, part_of)
            outcome.zeroed += int(np.count_nonzero(done.zeroed & usable))
            if register is not None and ids_of is not None:
                ids = ids_of(chunk.start, len(chunk))
                _account(outcome, done, usable, ids)
                register.items.write(name, ids, chunk.start, done.status, done.figures)
            if finished:
                kept = np.array([done.figures[key] for key in FIGURES if key in done.figures])
                finished.measured(name, chunk.start, (done.status, kept), lambda: outcome.state)
            yield len(chunk)
    return outcome


def _replayed(
    name: str, finished: PartFiles, register: Register | None, ids_of: Callable[[int, int], pa.Array] | None
) -> Generator[int, None, int]:
    """Register the rows of finished parts as they were measured, a chunk of so many at each step; how many in all."""
    start = 0
    for status, figures in finished.replayed(name):
        if register is not None and ids_of is not None:
            named = dict(zip(FIGURES, figures, strict=True))
            register.items.write(name, ids_of(start, len(status)), start, status, named)
        start += len(status)
        yield len(status)
    return start


@dataclass(frozen=True)
class _Projected:
    """A chunk, projected and measured; figures are NaN for rows without usable values."""

    chunk: Chunk
    y: Floats
    status: Statuses
    zeroed: Mask
    figures: dict[str, npt.NDArray[np.float64]]


def _projected(chunk: Chunk, projector: Projector, *, measure: bool) -> _Projected:
    y = np.empty_like(chunk.embeddings)
    status = np.empty(len(chunk), dtype=np.uint8)
    zeroed = np.empty(len(chunk), dtype=np.bool_)
    figures = []
    for start in range(0, len(chunk), PART_ROWS):
        rows = slice(start, start + PART_ROWS)
        x = chunk.embeddings[rows]
        status[rows] = status_of(x, projector)
        try:
            _, after = projector.mapped(x, status[rows], out=y[rows])
        except DataError as error:
            raise DataError(error.problem, where=chunk.where, fix=error.fix) from error
        zeroed[rows] = after == Status.MISSING
        if measure:
            with np.errstate(invalid="ignore"):
                figures.append(row_figures(projector, x, y[rows]))
    joined = {key: np.concatenate([part[key] for part in figures]) for key in figures[0]} if figures else {}
    return _Projected(chunk, y, status, zeroed, joined)


def status_of(x: Floats, projector: Projector) -> Statuses:
    """USED, MISSING, PLACEHOLDER or NON_FINITE for each row of x (n, d): (n,)."""
    status = row_status(x)
    if len(projector.placeholders):
        filler = projector.is_placeholder(row_hashes(x), x.dtype) & (status == Status.USED)
        status[filler] = Status.PLACEHOLDER
    return status


def count(outcome: Outcome, start: int, status: Statuses, part_of: PartOf) -> Mask:
    """Settle the status (n,) of consecutive rows, and count them; which of them are usable."""
    usable: Mask = status == Status.USED
    part, alone = part_of(start, len(status))
    status[usable] = part[usable]
    outcome.alone += int(np.count_nonzero(alone & usable))
    for one, rows in enumerate(np.bincount(status, minlength=len(Status))):
        outcome.by_status[Status(one).label] += int(rows)
    return usable


def _account(outcome: Outcome, done: _Projected, usable: Mask, ids: pa.Array) -> None:
    """Add a chunk to the outcome. `usable` rows hold data; placeholders are projected but say nothing about items."""
    assert outcome.impact is not None
    figures = {key: values[usable] for key, values in done.figures.items()}
    chosen = slice(None) if usable.all() else usable
    outcome.impact.add(done.chunk.embeddings[chosen], done.y[chosen], figures)
    if outcome.drift is not None:
        outcome.drift.add(done.chunk.embeddings[chosen])
    rows, removed = np.flatnonzero(usable), figures["removed"]
    order = np.argsort(removed, kind="stable")
    for kept, candidates, sign in (
        (outcome.least, order[:EXTREMES], 1),
        (outcome.most, order[::-1][:EXTREMES], -1),
    ):
        found = [
            Extreme(float(removed[i]), done.chunk.start + int(rows[i]), ids[int(rows[i])].as_py()) for i in candidates
        ]
        kept[:] = heapq.nsmallest(EXTREMES, [*kept, *found], key=lambda one: (sign * one.removed, one.row))
