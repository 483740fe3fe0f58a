"""Rows that stay in memory after the first reading, as far as the budget goes, so that they are decoded once.

What is kept changes how long a run takes, and nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from time import perf_counter

import numpy as np
import pyarrow as pa

from clear_cli.embeddings.base import Chunk, Floats, Rows

SLAB_BYTES = 64 << 20
"""A multiple of the size of huge pages, which the system gives out at once."""


class Kept:
    """A source whose first chunks are kept when they are read for the first time.

    Args:
        source: What is read.
        budget: Bytes that its kept rows may take.
    """

    def __init__(self, source: Rows, budget: int) -> None:
        self.path, self.rows, self.dim, self.dtype = source.path, source.rows, source.dim, source.dtype
        self.id_kind, self.held_bytes, self.notes = source.id_kind, source.held_bytes, source.notes
        self.costly = source.costly
        self._source, self._room = source, budget
        self._chunks: deque[Chunk] = deque()
        self._stop = 0
        self._last = False
        self._slab = np.empty(0, np.uint8)
        self._seconds = (0.0, 0.0)

    def last(self) -> None:
        """Say that the next reading is the last: what is kept is let go as it is read."""
        self._last = True

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """The rows in file order: from memory, then from the source."""
        if self._last and not start:
            while self._chunks:
                yield self._chunks.popleft()
        else:
            yield from [chunk for chunk in self._chunks if chunk.start >= start]
        source = self._source.chunks(max(start, self._stop))
        began = perf_counter()
        for chunk in source:
            decoded = perf_counter()
            self._keep(chunk)
            self._weigh(decoded - began, perf_counter() - decoded)
            yield chunk
            began = perf_counter()

    def ids(self) -> Iterator[pa.Array]:
        """All ids in file order."""
        return self._source.ids()

    def _keep(self, chunk: Chunk) -> None:
        size = chunk.embeddings.nbytes + (0 if chunk.null is None else chunk.null.nbytes)
        if self._last or chunk.start != self._stop or size > self._room:
            self._room = 0  # later, smaller ones would leave a gap
            return
        self._chunks.append(replace(chunk, embeddings=self._copy(chunk.embeddings)))
        self._room -= size
        self._stop = chunk.stop

    def _weigh(self, decoding: float, keeping: float) -> None:
        """Keep no more where it takes longer than decoding: memory is dear in some virtual machines."""
        self._seconds = (self._seconds[0] + decoding, self._seconds[1] + keeping)
        if self._stop * self.dim * self.dtype.itemsize >= SLAB_BYTES and self._seconds[1] > self._seconds[0] / 2:
            self._room = 0

    def _copy(self, rows: Floats) -> Floats:
        """The rows in memory that is taken in large slabs: small pieces cost more to take than to decode again."""
        if len(self._slab) < rows.nbytes:
            self._slab = np.empty(max(SLAB_BYTES, rows.nbytes), np.uint8)
        taken, self._slab = self._slab[: rows.nbytes], self._slab[rows.nbytes :]
        copy: Floats = taken.view(rows.dtype).reshape(rows.shape)
        copy[:] = rows
        return copy
