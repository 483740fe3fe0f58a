"""The health of rows: which can be used, which are missing, which only look like data.

Everything here works on one block of rows at a time and remembers a bounded amount.

Three kinds of rows must not enter the fit, because what they say is "nothing is known here", and that is
shared between modalities without being signal:

- a missing row is null or all zeros;
- a non-finite row holds a NaN or an infinity;
- a placeholder row is a real-looking filler for "no image": the same bytes in many rows.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from clear_cli.norms import widened

Floats = npt.NDArray[np.floating[Any]]
Hashes = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

PLACEHOLDER_ROWS = 10
PLACEHOLDER_SHARE = 0.001
"""A placeholder repeats in at least this many rows and this share of them."""

MAX_PLACEHOLDERS = 8
"""With more repeated values than this, only those in at least FAMILY_SHARE of the rows can be fillers."""
FAMILY_SHARE = 0.01
COARSE = 3
"""Where the other rows, too, stand for this many items on average, the modality is coarse (a price band)."""


class Status(IntEnum):
    """What became of one row. All but missing and non-finite rows are projected; only used ones entered the fit."""

    USED = 0
    INCOMPLETE = 1
    EXCLUDED = 2
    MISSING = 3
    PLACEHOLDER = 4
    NON_FINITE = 5
    NEW = 6

    @property
    def label(self) -> str:
        """The name in files: `used`, `incomplete`, ..."""
        return self.name.lower()


def row_hashes(x: Floats) -> Hashes:
    """Content hash (XXH3) of each row of x (n, d): (n,)."""
    x = np.ascontiguousarray(x)
    return np.fromiter(map(xxhash.xxh3_64_intdigest, x), dtype=np.uint64, count=len(x))


def pair_hashes(a: Hashes, b: Hashes) -> Hashes:
    """Hash of the contents of two rows at once, from the hashes of each: (n,)."""
    # Two rounds of the splitmix64 finaliser: every bit of both inputs reaches every bit of the result.
    return mix(a ^ mix(b))


def mix(h: Hashes) -> Hashes:
    """The splitmix64 finaliser (Steele et al. 2014): a bijection that spreads each input bit over all output bits."""
    h = h + np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


def row_status(x: Floats) -> npt.NDArray[np.uint8]:
    """USED, MISSING or NON_FINITE for each row of x (n, d) by its values alone: (n,)."""
    status = np.zeros(len(x), dtype=np.uint8)
    x = widened(x)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", x, x)
    # The sum of squares is cheap but can under- or overflow for honest rows, so only its suspects are looked at.
    suspects = np.flatnonzero(~(np.isfinite(squares) & (squares > 0)))
    if len(suspects):
        rows = x[suspects]
        with np.errstate(invalid="ignore"):  # signalling NaN
            status[suspects[~rows.any(axis=1)]] = Status.MISSING
        status[suspects[~np.isfinite(rows).all(axis=1)]] = Status.NON_FINITE
    return status


class RepeatedRows:
    """Finds row contents that repeat very often in a stream, in bounded memory.

    A mergeable Misra-Gries summary (Agarwal et al. 2013): no value that fills more than 1 / CAPACITY of the
    stream is lost, and counts are low by at most that share. Exact while the values in the stream are few.
    """

    CAPACITY = 16_384
    BUFFER = 65_536

    def __init__(self) -> None:
        self.rows = 0
        self._hashes: Hashes = np.empty(0, dtype=np.uint64)
        self._counts: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._pending: list[Hashes] = []
        self._waiting = 0
        self._overflowed = False

    def update(self, hashes: Hashes) -> None:
        """Count the rows with these content hashes (n,). How they are divided into calls makes no difference."""
        self.rows += len(hashes)
        while len(hashes):
            taken, hashes = hashes[: self.BUFFER - self._waiting], hashes[self.BUFFER - self._waiting :]
            self._pending.append(taken)
            self._waiting += len(taken)
            # Sorting is most of the cost, so it waits for a good many rows.
            if self._waiting == self.BUFFER:
                self._settle()

    def placeholders(self) -> Hashes:
        """Sorted content hashes of the rows that repeat too often to be data; empty where the modality is coarse."""
        self._settle()
        heavy = self._counts >= max(PLACEHOLDER_ROWS, PLACEHOLDER_SHARE * self.rows)
        if heavy.sum() > MAX_PLACEHOLDERS:
            heavy &= self._counts >= FAMILY_SHARE * self.rows
        others, rest = np.count_nonzero(~heavy), self.rows - self._counts[heavy].sum()
        coarse = heavy.sum() > MAX_PLACEHOLDERS or (not self._overflowed and others * COARSE <= rest)
        found: Hashes = self._hashes[heavy & (not coarse)]
        return found

    def _settle(self) -> None:
        new = np.concatenate([self._hashes, *self._pending])
        weight = np.concatenate([self._counts, np.ones(self._waiting, dtype=np.int64)])
        self._hashes, inverse = np.unique(new, return_inverse=True)
        self._counts = np.bincount(inverse, weights=weight, minlength=len(self._hashes)).astype(np.int64)
        self._pending, self._waiting = [], 0
        surplus = len(self._counts) - self.CAPACITY
        if surplus > 0:
            self._overflowed = True
            self._counts -= np.partition(self._counts, surplus - 1)[surplus - 1]
            kept = self._counts > 0
            self._hashes, self._counts = self._hashes[kept], self._counts[kept]
