"""All modalities side by side, item by item, without holding any of them in memory.

A modality whose rows come in ascending item order is streamed as it is; one in another order is first
written to a scratch file in item order, and streamed from there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import numpy as np

from clear_cli.embeddings.align import Alignment
from clear_cli.embeddings.base import CHUNK_BYTES, Floats, Rows
from clear_cli.embeddings.ids import Positions
from clear_cli.errors import OutputError
from clear_cli.parallel import Prefetch

PARTITION_BYTES = 64 << 20
SCATTER_BYTES = 32 << 20
"""Rows that are put into their partitions at a time: many, so that each partition gets a good run of them."""


@dataclass(frozen=True, eq=False)
class Block:
    """The rows of some consecutive items in every modality.

    Attributes:
        items: The item numbers.
        rows: Per modality, (n, d) embeddings; zeros where the modality has no row. Not to be written to.
    """

    items: slice
    rows: dict[str, Floats]


class Aligned:
    """All modalities side by side, item by item. A context manager: scratch files live as long as it is open.

    Args:
        sources: The modalities.
        alignment: Their rows' item numbers.
        scratch: Folder for rows that must be reordered.
    """

    def __init__(self, sources: Mapping[str, Rows], alignment: Alignment, *, scratch: Path) -> None:
        self._items = alignment.items
        self._stack = ExitStack()
        self._stopped = Event()
        self._sides: dict[str, _Side] = {}
        for name, source in sources.items():
            positions = alignment.positions[name]
            if positions is None:
                self._sides[name] = _Straight(source)
            elif reordered(positions):
                side = _Reordered(source, positions, self._items, scratch, self._stopped)
                self._sides[name] = self._stack.enter_context(side)
            else:
                self._sides[name] = _Gappy(source, positions, self._items)

    def __enter__(self) -> Aligned:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @contextmanager
    def watched(self) -> Generator[None]:
        """Whoever leaves this context does not wait for rows that are still being put in order."""
        try:
            yield
        finally:
            self._stopped.set()

    def blocks(self) -> Generator[Block]:
        """All items in blocks that end where the rows of any modality in memory end. May be called again.

        Each modality is decoded ahead in a thread of its own. Rows are passed on as they came: they are not copied.
        """
        self._stopped.clear()  # now, and not when some thread takes the first step: who watches may have left by then
        return self._blocks()

    def _blocks(self) -> Generator[Block]:
        with ExitStack() as open_streams:
            # Last in, first out: who leaves early stops the scattering before it waits for the streams.
            streams = {name: open_streams.enter_context(Prefetch(side.rows())) for name, side in self._sides.items()}
            open_streams.callback(self._stopped.set)
            at = 0
            ready: dict[str, Floats] = dict.fromkeys(streams, np.empty((0, 0)))
            while at < self._items:
                for name, rows in ready.items():
                    if not len(rows):
                        ready[name] = next(streams[name])
                stop = at + min(map(len, ready.values()))
                yield Block(slice(at, stop), {name: rows[: stop - at] for name, rows in ready.items()})
                ready = {name: rows[stop - at :] for name, rows in ready.items()}
                at = stop


class _Side(Protocol):
    """One modality: a row for each item, in item order, in arrays of any length; zeros where it has none."""

    def rows(self) -> Iterator[Floats]: ...


class _Straight:
    """A source with a row for each item, in item order."""

    def __init__(self, source: Rows) -> None:
        self._source = source

    def rows(self) -> Iterator[Floats]:
        return (chunk.embeddings for chunk in self._source.chunks() if len(chunk))


class _Gappy:
    """A source whose rows are in item order, but which lacks items, or has some that nobody else has."""

    def __init__(self, source: Rows, positions: Positions, items: int) -> None:
        self._source, self._positions, self._items = source, positions, items

    def rows(self) -> Iterator[Floats]:
        return _dense(self._placed(), self._items, self._source)

    def _placed(self) -> Iterator[tuple[Positions, Floats]]:
        for chunk in self._source.chunks():
            positions = self._positions[chunk.start : chunk.stop]
            matched = positions >= 0
            yield positions[matched], chunk.embeddings[matched]


class _Reordered:
    """A source in another order: its matched rows, sorted into item order through a scratch file.

    The file is cut into partitions of consecutive items. One pass over the source appends each row, with its item
    number, to its partition; a partition is then read whole and put in order in memory. Both passes read and write in
    runs, which a disk likes better than one seek per row. The file has no name: it is gone with the process.
    """

    def __init__(self, source: Rows, positions: Positions, items: int, folder: Path, stopped: Event) -> None:
        self._source, self._positions, self._items = source, positions, items
        self._folder, self._stopped = folder, stopped
        self._record = np.dtype([("item", np.int64), ("row", source.dtype, (source.dim,))])
        self._span = max(PARTITION_BYTES // self._record.itemsize, 1)
        self._ends = np.cumsum(_counts(positions, self._span, items // self._span + 1))
        self._file: Any = None

    def __enter__(self) -> _Reordered:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def rows(self) -> Iterator[Floats]:
        return _dense(self._placed(), self._items, self._source)

    def _placed(self) -> Iterator[tuple[Positions, Floats]]:
        if self._file is None:
            self._file = self._filled()
        self._file.seek(0)
        for count in np.diff(self._ends, prepend=0):
            partition = np.empty(count, self._record)
            if self._file.readinto(partition.view(np.uint8)) != partition.nbytes:
                raise OutputError("a scratch file came back short", where=self._folder)
            order = np.argsort(partition["item"])
            yield partition["item"][order], partition["row"][order]

    def _filled(self) -> Any:
        needed, free = int(self._ends[-1]) * self._record.itemsize, shutil.disk_usage(self._folder).free
        if needed > free:
            raise OutputError(
                "not enough space for the scratch file that puts rows in item order",
                where=self._folder,
                needed=f"{needed:,} bytes",
                free=f"{free:,} bytes",
                flags=["--tmp-dir"],
                fix="--tmp-dir with more space, or sort the files by item id",
            )
        file = tempfile.TemporaryFile(dir=self._folder, prefix="clear-", buffering=0)  # noqa: SIM115
        try:
            starts = self._ends - np.diff(self._ends, prepend=0)
            for records in self._scattered():
                if self._stopped.is_set():
                    raise InterruptedError("nobody waits for these rows any more")
                self._append(file.fileno(), records, starts)
        except OSError as error:
            file.close()
            raise OutputError(f"cannot write a scratch file: {error.strerror}", where=self._folder) from error
        except BaseException:
            file.close()
            raise
        return file

    def _scattered(self) -> Iterator[Any]:
        """The matched rows with their item numbers, many at a time."""
        room = max(SCATTER_BYTES // self._record.itemsize, 1)
        records, filled = np.empty(room, self._record), 0
        for chunk in self._source.chunks():
            matched = np.flatnonzero(self._positions[chunk.start : chunk.stop] >= 0)
            while len(matched):
                taken, matched = matched[: room - filled], matched[room - filled :]
                into = records[filled : filled + len(taken)]
                into["item"], into["row"] = self._positions[chunk.start + taken], chunk.embeddings[taken]
                filled += len(taken)
                if filled == room:
                    yield records
                    filled = 0
        yield records[:filled]

    def _append(self, file: int, records: Any, starts: Positions) -> None:
        partition = records["item"] // self._span
        order = np.argsort(partition, kind="stable")
        for run in np.split(order, np.flatnonzero(np.diff(partition[order])) + 1):
            if not len(run):
                continue
            target = int(partition[run[0]])
            data = records[run].view(np.uint8).data
            offset = int(starts[target]) * self._record.itemsize
            while data:
                written = os.pwrite(file, data, offset)
                data, offset = data[written:], offset + written
            starts[target] += len(run)


def reordered(positions: Positions | None) -> bool:
    """Whether the items of the rows (n,) are not in ascending order, so that they go through a scratch file."""
    last = -1
    # A piece at a time, for there may be many.
    for start in range(0, 0 if positions is None else len(positions), 1 << 20):
        piece = positions[start : start + (1 << 20)]  # type: ignore[index]
        piece = piece[piece >= 0]
        if len(piece) and (piece[0] <= last or (np.diff(piece) <= 0).any()):
            return True
        last = int(piece[-1]) if len(piece) else last
    return False


def _counts(positions: Positions, span: int, partitions: int) -> Positions:
    """Matched rows in each partition: (partitions,)."""
    counts = np.zeros(partitions, dtype=np.int64)
    for start in range(0, len(positions), 1 << 20):
        piece = positions[start : start + (1 << 20)]
        counts += np.bincount(piece[piece >= 0] // span, minlength=partitions)
    return counts


def _dense(placed: Iterator[tuple[Positions, Floats]], items: int, source: Rows) -> Iterator[Floats]:
    """A row for each item, from rows with ascending item numbers: zeros in between."""
    size = max(CHUNK_BYTES // (source.dim * source.dtype.itemsize), 1)
    start, block = 0, np.zeros((min(size, items), source.dim), source.dtype)
    for positions, rows in placed:
        done = 0
        while done < len(positions):
            while positions[done] >= start + size:
                yield block
                start += size
                block = np.zeros((min(size, items - start), source.dim), source.dtype)
            end = int(np.searchsorted(positions, start + size))
            block[positions[done:end] - start] = rows[done:end]
            done = end
    while start < items:
        yield block
        start += size
        block = np.zeros((max(min(size, items - start), 0), source.dim), source.dtype)
