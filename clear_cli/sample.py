"""A bounded sample of complete items: the K with the smallest hash.

Which items are in it depends on the items alone, not on their order, so samples merge and repeat. What
needs whole rows of both modalities (canonical correlations, neighbours) is measured on it, and says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Hashes = npt.NDArray[np.uint64]

SAMPLE_ITEMS = 20_000
MAX_SAMPLE_BYTES = 256 << 20


def sample_items(*rows: tuple[int, np.dtype[Any]]) -> int:
    """K for rows of these dimensions and types: 20,000, or what fits in 256 MiB."""
    row_bytes = sum(dim * dtype.itemsize for dim, dtype in rows)
    return max(min(SAMPLE_ITEMS, MAX_SAMPLE_BYTES // row_bytes), 1)


class Sample:
    """The K items with the smallest hash, with their rows in both modalities.

    Args:
        a: (d_a, dtype) of the rows of the first modality.
        b: (d_b, dtype) of the rows of the second.
        capacity: K; by default `sample_items`.
    """

    def __init__(self, a: tuple[int, np.dtype[Any]], b: tuple[int, np.dtype[Any]], capacity: int | None = None) -> None:
        self.capacity = sample_items(a, b) if capacity is None else capacity
        self._hashes: Hashes = np.empty(0, dtype=np.uint64)
        self._rows: tuple[Floats, Floats] = (np.empty((0, a[0]), a[1]), np.empty((0, b[0]), b[1]))

    def update(self, a: Floats, b: Floats, hashes: Hashes) -> None:
        """Offer items: row i of a (n, d_a) and of b (n, d_b) is one item, with an item hash (n,)."""
        room = self.capacity - len(self._hashes)
        if room > 0:
            self._append(a[:room], b[:room], hashes[:room])
            a, b, hashes = a[room:], b[room:], hashes[room:]
        offered = np.flatnonzero(hashes < self._hashes.max()) if len(hashes) else np.empty(0, dtype=np.intp)
        if not len(offered):
            return
        # Newcomers take the places of those they push out: the rows that stay are not moved.
        everyone = np.concatenate([self._hashes, hashes[offered]])
        order = np.argsort(everyone, kind="stable")
        stay, leave = order[: self.capacity], order[self.capacity :]
        newcomers = offered[stay[stay >= self.capacity] - self.capacity]
        places = leave[leave < self.capacity]
        self._hashes[places] = hashes[newcomers]
        self._rows[0][places] = a[newcomers]
        self._rows[1][places] = b[newcomers]

    def merge(self, other: Sample) -> Sample:
        """The sample of both sets of items. An item in both counts twice, as it does in the moments."""
        sides = [(rows.shape[1], rows.dtype) for rows in self._rows]
        merged = Sample(sides[0], sides[1], min(self.capacity, other.capacity))
        for part in (self, other):
            merged.update(*part._rows, part._hashes)
        return merged

    @property
    def hashes(self) -> Hashes:
        """(K,) item hashes, ascending."""
        return np.sort(self._hashes)

    def rows(self) -> tuple[Floats, Floats]:
        """(K, d_a) and (K, d_b), in the order of the hashes, so the same for every order of the stream."""
        order = np.argsort(self._hashes, kind="stable")
        # Sorted for good, one side at a time: the sample is too large to be held twice.
        self._hashes = self._hashes[order]
        self._rows = (self._rows[0][order], self._rows[1])
        self._rows = (self._rows[0], self._rows[1][order])
        return self._rows

    def _append(self, a: Floats, b: Floats, hashes: Hashes) -> None:
        self._hashes = np.concatenate([self._hashes, hashes])
        self._rows = (np.concatenate([self._rows[0], a]), np.concatenate([self._rows[1], b]))
