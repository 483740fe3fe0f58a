"""Cross-modal moments of one pair of modalities, accumulated block by block, in buckets.

Each complete item falls into one bucket by a hash of the contents of its two rows. A bucket keeps the
count, the sums, the sums of squares and the sum of products, in float64. Everything later comes from these:
the cross-covariance is the sum over buckets; shards and days merge; signed sums of buckets are draws of
the chance level; groups of buckets are folds. Items with equal contents share a bucket, so neither folds
nor draws are fooled by duplicates.

Precision: a bucket collects rows until there are BUFFER_ROWS of them, which are then shifted by a pilot mean
and scaled by a power of two (both exact to undo), multiplied in max(float32, input precision), and added up
in float64. The shift takes the column offset out of the products, the scale keeps 1e-30 and 1e+30 in range.
What is multiplied together depends on the items and their order alone, not on how they arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from clear_cli.buffers import BUFFER_ROWS, Buffers

Floats = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]

MAX_BUCKET_BYTES = 512 << 20
MAX_EXPONENT = 48
"""Scaled values stay below 2 ** this, so that sums of their squares stay far from the end of float32, 2 ** 127."""


class ParallelMap(Protocol):
    """`map`, or the `map` of an executor."""

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterable[Any]:
        """Call the function with each item; the results in the same order."""
        ...


def bucket_count(dim_a: int, dim_b: int) -> int:
    """32 buckets; 16 or 8 where 32 would take more than 512 MiB. A function of the dimensions alone."""
    for buckets in (32, 16):
        if buckets * dim_a * dim_b * 8 <= MAX_BUCKET_BYTES:
            return buckets
    return 8


class CrossMoments:
    """Bucketed first and second cross-moments of two modalities, over their complete items.

    Args:
        dim_a: d_a.
        dim_b: d_b.
        buckets: B, a power of two; by default `bucket_count`.

    Attributes:
        dims: (d_a, d_b).
        count: (B,) items in each bucket.
        sums: per side, (B, d) sums of shifted and scaled rows.
        squares: per side, (B,) sums of their squared norms.
        products: (B, d_a, d_b) sums of their outer products.
        pilots: per side, (d,) the shift, in the units of the data.
        exponents: per side, (B,) the scale is 2 ** exponent.
    """

    def __init__(self, dim_a: int, dim_b: int, buckets: int | None = None) -> None:
        self.dims = (dim_a, dim_b)
        buckets = bucket_count(dim_a, dim_b) if buckets is None else buckets
        self.count = np.zeros(buckets, dtype=np.int64)
        self.sums = (np.zeros((buckets, dim_a)), np.zeros((buckets, dim_b)))
        self.squares = (np.zeros(buckets), np.zeros(buckets))
        self.products = np.zeros((buckets, dim_a, dim_b))
        self.pilots: tuple[Float64, Float64] = (np.zeros(dim_a), np.zeros(dim_b))
        self.exponents = (np.zeros(buckets, dtype=np.int64), np.zeros(buckets, dtype=np.int64))
        self._head: tuple[list[Floats], list[Floats]] | None = ([], [])
        self._buffers: Buffers | None = None

    @property
    def items(self) -> int:
        """Complete items seen, n."""
        return int(self.count.sum())

    def update(self, a: Floats, b: Floats, hashes: Hashes, *, parallel: ParallelMap = map) -> None:
        """Add complete items: row i of a and of b is one item.

        Args:
            a: (n, d_a) finite rows.
            b: (n, d_b) finite rows.
            hashes: (n,) hash of the contents of both rows; equal contents must have equal hashes.
            parallel: Runs the products. Those of a bucket come one after the other, so the result does not depend
                on it.

        Raises:
            ValueError: The shapes do not fit.
        """
        if a.shape != (len(hashes), self.dims[0]) or b.shape != (len(hashes), self.dims[1]):
            raise ValueError(f"rows of {a.shape} and {b.shape} with {len(hashes)} hashes do not fit {self.dims}")
        if not len(hashes):
            return
        buffers = self._buffers_of(np.result_type(a, b, np.float32))
        if self._head is not None:
            self._look_ahead(a, b, buffers.dtype)
        buckets = buckets_of(hashes, len(self.count))
        self.count += np.bincount(buckets, minlength=len(self.count))
        for full in buffers.add(a, b, buckets):
            for _ in parallel(self._multiply, full):
                pass

    def settle(self) -> CrossMoments:
        """Bring everything that was added into the moments, at one scale for all buckets: before these are read."""
        if self._buffers is not None:
            if self._head is not None:
                self._take_pilots(self._buffers.dtype)
            for waiting in self._buffers.waiting():
                self._multiply(waiting)
        for side, exponents in enumerate(self.exponents):
            for bucket in range(len(self.count)):
                self._lower(bucket, side, int(exponents[bucket] - exponents.min()))
        return self

    @classmethod
    def of(
        cls,
        count: npt.NDArray[np.int64],
        sums: tuple[Float64, Float64],
        squares: tuple[Float64, Float64],
        products: Float64,
        pilots: tuple[Float64, Float64],
        exponents: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    ) -> CrossMoments:
        """Moments that were settled and stored, to which items may be added. Arguments as the attributes."""
        moments = cls(products.shape[1], products.shape[2], len(count))
        moments.count, moments.sums, moments.squares = count, sums, squares
        moments.products, moments.pilots, moments.exponents = products, pilots, exponents
        if moments.items:
            moments._head = None
        return moments

    def part(self, buckets: npt.NDArray[np.intp]) -> CrossMoments:
        """The moments of the items in some buckets, all in one bucket."""
        self.settle()
        part = CrossMoments(*self.dims, 1)
        part._head, part.pilots = None, self.pilots
        part.count[0] = self.count[buckets].sum()
        for side in (0, 1):
            part.exponents[side][:] = self.scale(side)
            part.sums[side][0] = self.sums[side][buckets].sum(axis=0)
            part.squares[side][0] = self.squares[side][buckets].sum()
        for bucket in buckets:
            part.products[0] += self.products[bucket]
        return part

    def cross_covariance(self) -> Float64:
        """C = (A - mu_A)^T (B - mu_B) / (n - 1): (d_a, d_b). Zeros for fewer than two items."""
        n = self.items
        if n < 2:
            return np.zeros(self.dims)
        self.settle()
        centred = self.products.sum(axis=0)
        centred -= np.outer(self.sums[0].sum(axis=0), self.sums[1].sum(axis=0)) / n
        covariance: Float64 = np.ldexp(centred / (n - 1), -self.scale(0) - self.scale(1))
        return covariance

    def mean(self, side: int) -> Float64:
        """Column means of one side over the complete items: (d,)."""
        self.settle()
        offset = np.ldexp(self.sums[side].sum(axis=0), -self.scale(side))
        mean: Float64 = self.pilots[side] + offset / max(self.items, 1)
        return mean

    def total_variance(self, side: int) -> float:
        """Tr S of one side, ddof = 1: the sum of its column variances over the complete items."""
        n = self.items
        if n < 2:
            return 0.0
        self.settle()
        total = self.sums[side].sum(axis=0)
        centred = max(self.squares[side].sum() - total @ total / n, 0.0)
        return float(np.ldexp(centred / (n - 1), -2 * self.scale(side)))

    def _buffers_of(self, working: np.dtype[Any]) -> Buffers:
        if self._buffers is None or self._buffers.dtype != working:
            self.settle()
            self._buffers = Buffers(len(self.count), self.dims, working)
        return self._buffers

    def _look_ahead(self, a: Floats, b: Floats, working: np.dtype[Any]) -> None:
        """Remember the first rows for the pilots. Before there are BUFFER_ROWS of them, no bucket can be full."""
        assert self._head is not None
        seen = sum(map(len, self._head[0]))
        for kept, rows in zip(self._head, (a, b), strict=True):
            kept.append(rows[: BUFFER_ROWS - seen].copy())
        if seen + len(a) >= BUFFER_ROWS:
            self._take_pilots(working)

    def _take_pilots(self, working: np.dtype[Any]) -> None:
        assert self._head is not None
        heads = [np.concatenate(kept) for kept in self._head]
        self._head = None
        self.pilots = (_pilot(heads[0], working), _pilot(heads[1], working))
        for side, head in enumerate(heads):
            self.exponents[side][:] = _exponent(head, self.pilots[side])

    def _multiply(self, bucket: int) -> None:
        """Add the rows in the buffer of a bucket to its moments."""
        assert self._buffers is not None
        a, b = (self._scaled(bucket, side, x) for side, x in enumerate(self._buffers.take(bucket)))
        ones = np.ones(len(a), a.dtype)
        for sums, x in zip(self.sums, (a, b), strict=True):
            sums[bucket] += ones @ x  # BLAS adds columns several times faster than `sum` does
        self.products[bucket] += a.T @ b

    def _scaled(self, bucket: int, side: int, x: Floats) -> Floats:
        """The rows shifted and scaled, in place; their squares are added on the way."""
        x -= self.pilots[side].astype(x.dtype)
        exponents = self.exponents[side]
        with np.errstate(over="ignore"):
            squares = np.einsum("ij,ij->i", x, x)
        if exponents[bucket] or not squares.max() < 4.0**MAX_EXPONENT:
            self._make_room(bucket, side, x)
            np.ldexp(x, int(exponents[bucket]), out=x)
            squares = np.einsum("ij,ij->i", x, x)
        self.squares[side][bucket] += squares.sum(dtype=np.float64)
        return x

    def _make_room(self, bucket: int, side: int, x: Floats) -> None:
        """Lower the scale where these rows would leave the range of float32 when squared and added up. Exact."""
        largest = max(float(x.max()), -float(x.min()))
        widest = int(np.frexp(largest * np.sqrt(x.shape[1]))[1])
        self._lower(bucket, side, max(widest + int(self.exponents[side][bucket]) - MAX_EXPONENT, 0))

    def _lower(self, bucket: int, side: int, powers: int) -> None:
        """Divide the scale of one side of a bucket by 2 ** powers."""
        if powers:
            self.exponents[side][bucket] -= powers
            np.ldexp(self.sums[side][bucket], -powers, out=self.sums[side][bucket])
            self.squares[side][bucket] = np.ldexp(self.squares[side][bucket], -2 * powers)
            np.ldexp(self.products[bucket], -powers, out=self.products[bucket])

    def scale(self, side: int) -> int:
        """The exponent that all buckets have once they are settled."""
        return int(self.exponents[side][0])


def buckets_of(hashes: Hashes, buckets: int) -> npt.NDArray[np.uint8]:
    """(n,) the bucket of each hash, of a power of two of them; so that a bucket of few holds whole buckets of many."""
    return (hashes >> np.uint64(32) >> np.uint64(33 - buckets.bit_length())).astype(np.uint8)


def _pilot(rows: Floats, working: np.dtype[Any]) -> Float64:
    # Rounded to the working precision: the shift is then the same number there and in float64.
    pilot: Float64 = rows.mean(axis=0, dtype=np.float64).astype(working).astype(np.float64)
    return pilot


def _exponent(rows: Floats, pilot: Float64) -> int:
    """The scale that brings the rows near 1; 0 where they are near enough for squares and sums to be in range."""
    head = rows.astype(np.float64)
    # Where the first rows are all alike, their own size is the best guess at how much the others differ.
    largest = float(np.abs(head - pilot).max()) or float(np.abs(head).max())
    exponent = -int(np.frexp(largest)[1])
    return exponent if abs(exponent) > 16 else 0
