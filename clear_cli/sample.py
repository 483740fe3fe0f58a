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
        self._sides = (a, b)
        self._filled = 0
        # Room for all, which takes memory only where it is used.
        self._hash_room: Hashes = np.empty(self.capacity, dtype=np.uint64)
        self._content_room: Hashes = np.empty(self.capacity, dtype=np.uint64)
        self._row_room: tuple[Floats, Floats] = (
            np.empty((self.capacity, a[0]), a[1]),
            np.empty((self.capacity, b[0]), b[1]),
        )

    def update(self, a: Floats, b: Floats, hashes: Hashes, contents: Hashes) -> None:
        """Offer items.

        Args:
            a: (n, d_a) row i of this and
            b: (n, d_b) row i of that are one item.
            hashes: (n,) of the items, by which they are chosen.
            contents: (n,) of their contents, by which the moments put them into buckets.
        """
        first = min(self.capacity - self._filled, len(hashes))
        if first:
            places = np.arange(self._filled, self._filled + first)
            self._put(places, a[:first], b[:first], hashes[:first], contents[:first])
            self._filled += first
        if first == len(hashes):
            return
        offered = first + np.flatnonzero(hashes[first:] < self._hash_room.max())
        if not len(offered):
            return
        # Newcomers take the places of those they push out: the rows that stay are not moved.
        everyone = np.concatenate([self._hash_room, hashes[offered]])
        order = np.argpartition(everyone, self.capacity - 1)
        stay, leave = order[: self.capacity], order[self.capacity :]
        newcomers = offered[stay[stay >= self.capacity] - self.capacity]
        places = leave[leave < self.capacity]
        self._put(places, a[newcomers], b[newcomers], hashes[newcomers], contents[newcomers])

    def merge(self, other: Sample) -> Sample:
        """The sample of both sets of items. An item in both counts twice, as it does in the moments.

        Rows of two types are kept in the wider one.
        """
        a, b = ((dim, np.result_type(one, o)) for (dim, one), (_, o) in zip(self._sides, other._sides, strict=True))
        merged = Sample(a, b, min(self.capacity, other.capacity))
        for part in (self, other):
            merged.update(*part.rows(), part.hashes, part.contents)
        return merged

    @property
    def hashes(self) -> Hashes:
        """(K,) item hashes, ascending."""
        self._sort()
        return self._hash_room[: self._filled]

    @property
    def contents(self) -> Hashes:
        """(K,) hashes of the contents, in the order of the item hashes."""
        self._sort()
        return self._content_room[: self._filled]

    def rows(self) -> tuple[Floats, Floats]:
        """(K, d_a) and (K, d_b), in the order of the hashes, so the same for every order of the stream."""
        self._sort()
        return self._row_room[0][: self._filled], self._row_room[1][: self._filled]

    def _sort(self) -> None:
        """Sort everything for good, one side at a time: the sample is too large to be held twice."""
        hashes = self._hash_room[: self._filled]
        if (hashes[1:] >= hashes[:-1]).all():
            return
        order = np.argsort(hashes, kind="stable")
        for room in (self._hash_room, self._content_room, *self._row_room):
            room[: self._filled] = room[order]

    def _put(self, places: npt.NDArray[np.intp], a: Floats, b: Floats, hashes: Hashes, contents: Hashes) -> None:
        self._hash_room[places] = hashes
        self._content_room[places] = contents
        self._row_room[0][places], self._row_room[1][places] = a, b
