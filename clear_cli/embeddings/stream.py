"""All modalities side by side, item by item, without holding any of them in memory.

A modality whose rows come in ascending item order is streamed as it is; one in another order is first
written to a scratch file in item order, and streamed from there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import numpy as np

from clear_cli.embeddings.align import Alignment
from clear_cli.embeddings.base import Chunk, Floats, Rows
from clear_cli.embeddings.ids import Positions
from clear_cli.errors import OutputError
from clear_cli.parallel import Prefetch

PARTITION_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class Block:
    """The rows of some consecutive items in every modality.

    Attributes:
        items: The item numbers.
        rows: Per modality, (n, d) embeddings; zeros where the modality has no row.
    """

    items: slice
    rows: dict[str, Floats]


class Aligned:
    """All modalities side by side, item by item. A context manager: scratch files live as long as it is open.

    Args:
        sources: The modalities.
        alignment: Their rows' item numbers.
        block_items: Items in a block; fixed, so that results do not depend on layout or budget.
        scratch: Folder for rows that must be reordered.
    """

    def __init__(self, sources: Mapping[str, Rows], alignment: Alignment, *, block_items: int, scratch: Path) -> None:
        self._alignment = alignment
        self._block_items = block_items
        self._dims = {name: (source.dim, source.dtype) for name, source in sources.items()}
        self._stack = ExitStack()
        self._stopped = Event()
        self._readers: dict[str, _Reader] = {}
        for name, source in sources.items():
            positions = alignment.positions[name]
            present = positions[positions >= 0] if positions is not None else None
            if positions is None or present is None or bool((np.diff(present) > 0).all()):
                self._readers[name] = _Straight(source, positions)
            else:
                self._readers[name] = self._stack.enter_context(_Reordered(source, positions, scratch, self._stopped))

    def __enter__(self) -> Aligned:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def blocks(self) -> Generator[Block]:
        """All items in blocks, each modality decoded ahead in a thread of its own. May be called again."""
        with ExitStack() as open_streams:
            # Last in, first out: who leaves early stops the scattering before it waits for the streams.
            streams = {name: open_streams.enter_context(Prefetch(self._side(name))) for name in self._readers}
            open_streams.callback(self._stopped.set)
            self._stopped.clear()
            for start in range(0, self._alignment.items, self._block_items):
                stop = min(start + self._block_items, self._alignment.items)
                yield Block(slice(start, stop), {name: next(stream) for name, stream in streams.items()})

    def _side(self, name: str) -> Iterator[Floats]:
        """The rows of one modality, block after block."""
        items, size = self._alignment.items, self._block_items
        dim, dtype = self._dims[name]
        start, block = 0, np.zeros((min(size, items), dim), dtype)
        for positions, rows in self._readers[name].placed():
            done = 0
            while done < len(positions):
                while positions[done] >= start + size:
                    yield block
                    start += size
                    block = np.zeros((min(size, items - start), dim), dtype)
                end = int(np.searchsorted(positions, start + size))
                block[positions[done:end] - start] = rows[done:end]
                done = end
        while start < items:
            yield block
            start += size
            block = np.zeros((max(min(size, items - start), 0), dim), dtype)


class _Reader(Protocol):
    """Rows with their item numbers, ascending."""

    def placed(self) -> Iterator[tuple[Positions, Floats]]: ...


class _Straight:
    """A source whose rows are in item order already."""

    def __init__(self, source: Rows, positions: Positions | None) -> None:
        self._source = source
        self._positions = positions

    def placed(self) -> Iterator[tuple[Positions, Floats]]:
        for chunk in self._source.chunks():
            if self._positions is None:
                yield np.arange(chunk.start, chunk.start + len(chunk)), chunk.embeddings
                continue
            positions = self._positions[chunk.start : chunk.start + len(chunk)]
            matched = positions >= 0
            yield positions[matched], chunk.embeddings if matched.all() else chunk.embeddings[matched]


class _Reordered:
    """A source in another order: its matched rows, sorted into item order through a scratch file.

    The file is cut into partitions of consecutive items. One pass over the source appends each row to its
    partition; a partition is then read whole and put in order in memory. Both passes read and write in runs,
    which a disk likes better than one seek per row. The file has no name: it is gone with the process.
    """

    def __init__(self, source: Rows, positions: Positions, folder: Path, stopped: Event) -> None:
        self._source = source
        self._ranked = positions
        self._folder = folder
        self._stopped = stopped
        self._row_bytes = source.dim * source.dtype.itemsize
        self._size = max(PARTITION_BYTES // self._row_bytes, 1)
        self._file: Any = None
        self._rows_by_rank = np.flatnonzero(positions >= 0)[np.argsort(positions[positions >= 0], kind="stable")]

    def __enter__(self) -> _Reordered:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def placed(self) -> Iterator[tuple[Positions, Floats]]:
        if self._file is None:
            self._file = self._filled()
        for start in range(0, len(self._rows_by_rank), self._size):
            rows = self._rows_by_rank[start : start + self._size]
            partition = np.empty((len(rows), self._source.dim), self._source.dtype)
            self._file.seek(start * self._row_bytes)
            if self._file.readinto(partition.data.cast("B")) != partition.nbytes:
                raise OutputError("a scratch file came back short", where=self._folder)
            # Rows were appended in source order; `arrival` is where each stands in it.
            arrival = np.empty(len(rows), dtype=np.int64)
            arrival[np.argsort(rows, kind="stable")] = np.arange(len(rows))
            yield self._ranked[rows], partition[arrival]

    def _filled(self) -> Any:
        needed = len(self._rows_by_rank) * self._row_bytes
        free = shutil.disk_usage(self._folder).free
        if needed > free:
            raise OutputError(
                "not enough space for the scratch file that puts rows in item order",
                where=self._folder,
                needed=f"{needed:,} bytes",
                free=f"{free:,} bytes",
                fix="--tmp-dir with more space, or sort the files by item id",
            )
        rank = np.full(self._source.rows, -1, dtype=np.int64)
        rank[self._rows_by_rank] = np.arange(len(self._rows_by_rank))
        filled = np.zeros(len(self._rows_by_rank) // self._size + 1, dtype=np.int64)
        file = tempfile.TemporaryFile(dir=self._folder, prefix="clear-", buffering=0)  # noqa: SIM115
        try:
            for chunk in self._source.chunks():
                if self._stopped.is_set():
                    raise InterruptedError("nobody waits for these rows any more")
                self._append(file.fileno(), chunk, rank[chunk.start : chunk.start + len(chunk)], filled)
        except OSError as error:
            file.close()
            raise OutputError(f"cannot write a scratch file: {error.strerror}", where=self._folder) from error
        except BaseException:
            file.close()
            raise
        return file

    def _append(self, file: int, chunk: Chunk, rank: Positions, filled: Positions) -> None:
        matched = np.flatnonzero(rank >= 0)
        partition = rank[matched] // self._size
        order = np.argsort(partition, kind="stable")
        for run in np.split(order, np.flatnonzero(np.diff(partition[order])) + 1):
            if not len(run):
                continue
            target = int(partition[run[0]])
            data = chunk.embeddings[matched[run]].data.cast("B")
            offset = (target * self._size + int(filled[target])) * self._row_bytes
            while data:
                written = os.pwrite(file, data, offset)
                data, offset = data[written:], offset + written
            filled[target] += len(run)
