"""Rows that wait, by bucket, until there are enough of them to be multiplied at the full rate of BLAS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

BUFFER_ROWS = 512
"""Enough for BLAS to run at its full rate, few enough for its cache."""


class Buffers:
    """Room for BUFFER_ROWS rows of two modalities in each bucket.

    What ends up in one buffer depends on the items and their order alone, not on how they arrive.

    Args:
        buckets: B.
        dims: (d_a, d_b).
        dtype: Type that the rows are kept in.
    """

    def __init__(self, buckets: int, dims: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._rows = tuple(np.empty((buckets, BUFFER_ROWS, dim), dtype) for dim in dims)
        self._filled = np.zeros(buckets, dtype=np.int64)

    def add(self, a: Floats, b: Floats, buckets: npt.NDArray[np.uint8]) -> Iterator[list[int]]:
        """Collect rows a (n, d_a) and b (n, d_b) of items that fall into `buckets` (n,).

        Yields:
            The buckets that are full, which have to be taken before it goes on; maybe none.
        """
        order = np.argsort(buckets, kind="stable")
        ends = np.cumsum(np.bincount(buckets, minlength=len(self._filled)))
        rows = dict(enumerate(np.split(order, ends[:-1])))
        while rows:
            rows = {bucket: left for bucket, some in rows.items() if len(left := self._collect(bucket, some, a, b))}
            yield np.flatnonzero(self._filled == BUFFER_ROWS).tolist()

    def waiting(self) -> list[int]:
        """The buckets that hold rows."""
        return np.flatnonzero(self._filled).tolist()

    def take(self, bucket: int) -> tuple[Floats, Floats]:
        """The rows (n, d_a) and (n, d_b) of a bucket, which is empty then; to be used before it collects again."""
        n, self._filled[bucket] = int(self._filled[bucket]), 0
        return self._rows[0][bucket, :n], self._rows[1][bucket, :n]

    def _collect(self, bucket: int, rows: npt.NDArray[np.intp], a: Floats, b: Floats) -> npt.NDArray[np.intp]:
        """Copy rows while there is room; those that are left."""
        filled = int(self._filled[bucket])
        taken = rows[: BUFFER_ROWS - filled]
        stop = filled + len(taken)
        for buffers, x in zip(self._rows, (a, b), strict=True):
            room = buffers[bucket, filled:stop]
            if x.dtype == self.dtype:
                np.take(x, taken, axis=0, out=room, mode="clip")  # the mode that needs no copy in between
            else:
                room[:] = x[taken]
        self._filled[bucket] = stop
        return rows[len(taken) :]
