"""One reading of all modalities, item by item: which rows can be used, and what is accumulated from them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt

from clear_cli.config import FitOptions
from clear_cli.embeddings.align import NO_GROUP, Alignment
from clear_cli.embeddings.base import Rows
from clear_cli.embeddings.stream import Aligned, Block
from clear_cli.errors import DataError
from clear_cli.health import Floats, Hashes, Mask, RepeatedRows, Status, pair_hashes, row_hashes, row_status
from clear_cli.machine import Machine
from clear_cli.moments import CrossMoments, ParallelMap
from clear_cli.parallel import Prefetch, shared_out
from clear_cli.sample import Sample
from clear_cli.winsor import Limit
from clear_cli.workflow.evidence import FOLDS, Described, Evidence


@dataclass(frozen=True, eq=False)
class _Seen:
    """A block whose rows were looked at: per modality their content hashes (n,), and which can be used (n,)."""

    block: Block
    hashes: dict[str, Hashes]
    usable: dict[str, Mask]


@dataclass
class Reading:
    """What one reading accumulates.

    Attributes:
        sources: The modalities.
        alignment: Their rows' item numbers.
        options: Parameters of the fit.
        known: Per modality the content hashes of placeholders, from an earlier reading.
        limits: Per modality how far its rows may be from where; none where rows are taken as they are.
        moments: Per pair of modalities.
        own: Per pair, of each of its modalities by itself; none where no covariance of its own is needed.
        samples: Per pair; none where nothing is to be reported.
        bits: The bit of each modality.
        usable: (items,) bit m is set where modality m has a usable row.
        repeated: Per modality, the contents that occur often.
        fillers: Per modality the placeholder rows by their hash.
    """

    sources: Mapping[str, Rows]
    alignment: Alignment
    options: FitOptions
    known: Mapping[str, Hashes] = field(default_factory=dict)
    limits: Mapping[str, Limit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shapes = {name: (source.dim, source.dtype) for name, source in self.sources.items()}
        self.moments = {(a, b): CrossMoments(shapes[a][0], shapes[b][0]) for a, b in combinations(shapes, 2)}
        self.own = {
            (a, b): (CrossMoments(shapes[a][0], shapes[a][0], FOLDS), CrossMoments(shapes[b][0], shapes[b][0], FOLDS))
            for a, b in (self.moments if self.options.own else ())
        }
        pairs = self.moments if self.options.report or self.options.winsorise else ()
        self.samples = {(a, b): Sample(shapes[a], shapes[b]) for a, b in pairs}
        self.bits = {name: 1 << i for i, name in enumerate(shapes)}
        self.usable = np.zeros(self.alignment.items, dtype=np.min_scalar_type((1 << len(shapes)) - 1))
        self.repeated = {name: RepeatedRows() for name in shapes}
        self.fillers: dict[str, dict[int, Floats]] = {name: {} for name in shapes}

    def run(self, aligned: Aligned, machine: Machine, pool: ThreadPoolExecutor, stage: str) -> None:
        """Read everything. Decoding, looking at rows and multiplying go on side by side.

        Raises:
            DataError: Rows that are not finite, unless they are to be kept.
        """
        parallel: ParallelMap = shared_out(pool, machine.threads)
        with (
            machine.progress.stage(stage, self.alignment.items) as advance,
            closing(aligned.blocks()) as blocks,
            Prefetch(map(self._look_at, blocks)) as seen,
            aligned.watched(),
        ):
            for one in seen:
                self._accumulate(one, parallel)
                advance(one.block.items.stop - one.block.items.start)

    def evidence(self) -> Evidence:
        """What was accumulated, without the sources."""
        described = {
            name: Described(source.rows, source.dim, source.dtype, str(source.path), source.id_kind)
            for name, source in self.sources.items()
        }
        fillers = {name: [found[key] for key in sorted(found)] for name, found in self.fillers.items()}
        placeholders = {
            name: np.array(fillers[name], one.dtype).reshape(-1, one.dim) for name, one in described.items()
        }
        settings = {"winsorise": self.options.winsorise, "grouped": self.alignment.groups is not None}
        return Evidence(described, self.moments, self.samples, placeholders, self.own, settings)

    def winsorising(self, share: float) -> dict[str, Limit]:
        """Per modality, the limit that this share of the sampled rows keeps."""
        limits = {}
        for name in self.sources:
            rows = [sample.rows()[pair.index(name)] for pair, sample in self.samples.items() if name in pair]
            hashes = [row_hashes(one) for one in rows]
            fillers = self.repeated[name].placeholders()
            sound = [one[~np.isin(found, fillers)] for one, found in zip(rows, hashes, strict=True)]
            limits[name] = Limit.of(np.concatenate(sound), share)
        return limits

    def placeholders(self) -> dict[str, Hashes]:
        """Per modality the content hashes of the rows that repeat too often to be data."""
        return {name: repeated.placeholders() for name, repeated in self.repeated.items()}

    def _look_at(self, block: Block) -> _Seen:
        hashes, usable = {}, {}
        for name, rows in block.rows.items():
            status = row_status(rows)
            self._refuse_non_finite(name, status, block)
            hashes[name] = row_hashes(rows)
            usable[name] = status == Status.USED
            shared = usable[name]
            if self.alignment.shared is not None:
                shared = shared & self.alignment.shared[block.items]
            self.repeated[name].update(hashes[name][shared])
            if name in self.known:
                filler = np.isin(hashes[name], self.known[name]) & usable[name]
                for i in np.flatnonzero(filler):
                    self.fillers[name].setdefault(int(hashes[name][i]), rows[i].copy())
                usable[name] &= ~filler
            self.usable[block.items] |= usable[name] * self.usable.dtype.type(self.bits[name])
        return _Seen(block, hashes, usable)

    def _accumulate(self, seen: _Seen, parallel: ParallelMap) -> None:
        items, rows = seen.block.items, seen.block.rows
        for a, b in self.moments:
            complete = seen.usable[a] & seen.usable[b]
            if self.alignment.fit is not None:
                complete &= self.alignment.fit[items]
            x, y = _selected(rows[a], complete), _selected(rows[b], complete)
            contents = pair_hashes(seen.hashes[a][complete], seen.hashes[b][complete])
            if self.alignment.groups is not None:
                groups = self.alignment.groups[items][complete]
                contents = np.where(groups != NO_GROUP, groups, contents)
            if self.samples:
                self.samples[a, b].update(x, y, self.alignment.hashes(items)[complete], contents)
            if self.limits:
                x, y = self.limits[a].shortened(x), self.limits[b].shortened(y)
            self.moments[a, b].update(x, y, contents, parallel=parallel)
            for own, z in zip(self.own.get((a, b), ()), (x, y), strict=False):
                own.update(z, z, contents, parallel=parallel)

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
        flags=["--on-invalid"],
        fix="repair the rows, or --on-invalid keep to leave them out of the fit and pass them through",
    )


def _selected(rows: Floats, chosen: Mask) -> Floats:
    return rows if chosen.all() else rows[chosen]
