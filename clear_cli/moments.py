"""Cross-modal moments of one pair of modalities, accumulated block by block, in buckets.

Each complete item falls into one bucket by a hash of the contents of its two rows. A bucket keeps the
count, the sums, the sums of squares and the sum of products, in float64. Everything later comes from these:
the cross-covariance is the sum over buckets; shards and days merge; signed sums of buckets are draws of
the chance level; groups of buckets are folds. Items with equal contents share a bucket, so neither folds
nor draws are fooled by duplicates.

Precision: every bucket's rows of a block are shifted by a pilot mean and scaled by a power of two (both
exact to undo), multiplied in max(float32, input precision), and added up in float64. The shift takes the
column offset out of the products, the scale keeps 1e-30 and 1e+30 in range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]

MAX_BUCKET_BYTES = 512 << 20
MAX_EXPONENT = 48
"""Scaled values stay below 2 ** this, so that sums of their squares stay far from the end of float32, 2 ** 127."""


class ParallelMap(Protocol):
    """`map`, or the `map` of an executor."""

    def __call__(self, function: Callable[[int], None], items: Iterable[int], /) -> Iterable[None]:
        """Call the function with each item."""
        ...


def bucket_count(dim_a: int, dim_b: int) -> int:
    """32 buckets; 16 or 8 where 32 would take more than 512 MiB. A function of the dimensions alone."""
    for buckets in (32, 16):
        if buckets * dim_a * dim_b * 8 <= MAX_BUCKET_BYTES:
            return buckets
    return 8


class CrossMoments:
    """Bucketed first and second cross-moments of two modalities, over their complete items.

    Attributes:
        dims: (d_a, d_b).
        count: (B,) items in each bucket.
        sums: per side, (B, d) sums of shifted and scaled rows.
        squares: per side, (B,) sums of their squared norms.
        products: (B, d_a, d_b) sums of their outer products.
        pilots: per side, (d,) the shift, in the units of the data.
        exponents: per side, the scale is 2 ** exponent.
    """

    def __init__(self, dim_a: int, dim_b: int) -> None:
        self.dims = (dim_a, dim_b)
        buckets = bucket_count(dim_a, dim_b)
        self.count = np.zeros(buckets, dtype=np.int64)
        self.sums = (np.zeros((buckets, dim_a)), np.zeros((buckets, dim_b)))
        self.squares = (np.zeros(buckets), np.zeros(buckets))
        self.products = np.zeros((buckets, dim_a, dim_b))
        self.pilots: tuple[Float64, Float64] = (np.zeros(dim_a), np.zeros(dim_b))
        self.exponents = (0, 0)

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
            parallel: Runs the buckets. Each bucket is added by one call, so the result does not depend on it.

        Raises:
            ValueError: The shapes do not fit.
        """
        if a.shape != (len(hashes), self.dims[0]) or b.shape != (len(hashes), self.dims[1]):
            raise ValueError(f"rows of {a.shape} and {b.shape} with {len(hashes)} hashes do not fit {self.dims}")
        if not len(hashes):
            return
        working = np.result_type(a, b, np.float32)
        if not self.items:
            self.pilots = (_pilot(a, working), _pilot(b, working))
            self.exponents = (_exponent(a, self.pilots[0]), _exponent(b, self.pilots[1]))
        self._make_room(a, b)
        shift = log2(len(self.count))
        buckets = (hashes >> np.uint64(64 - shift)).astype(np.intp)
        order = np.argsort(buckets, kind="stable")
        starts = np.searchsorted(buckets[order], np.arange(len(self.count) + 1))

        def add(bucket: int) -> None:
            rows = order[starts[bucket] : starts[bucket + 1]]
            if len(rows):
                self._add(bucket, self._shifted(0, a[rows], working), self._shifted(1, b[rows], working))

        for _ in parallel(add, range(len(self.count))):
            pass

    def merge(self, other: CrossMoments) -> CrossMoments:
        """The moments of both sets of items (Chan, Golub & LeVeque 1979). Commutative and associative up to rounding.

        Raises:
            ValueError: The dimensions differ.
        """
        if self.dims != other.dims:
            raise ValueError(f"moments of {self.dims} and {other.dims} dimensions cannot be merged")
        merged = CrossMoments(*self.dims)
        mine, theirs = self._centred(), other._centred()
        merged.count = self.count + other.count
        merged.exponents = self.exponents if self.items else other.exponents
        merged.pilots = tuple(  # type: ignore[assignment]
            _rounded(_weighted(self.mean(side), self.items, other.mean(side), other.items)) for side in (0, 1)
        )
        for bucket, n in enumerate(merged.count):
            if not n:
                continue
            n_mine, n_theirs = self.count[bucket], other.count[bucket]
            gap = [t[bucket] - m[bucket] for m, t in zip(mine.means, theirs.means, strict=True)]
            share = n_mine * n_theirs / n
            product = mine.products[bucket] + theirs.products[bucket] + share * np.outer(*gap)
            sums = []
            for side in (0, 1):
                mean = _weighted(mine.means[side][bucket], n_mine, theirs.means[side][bucket], n_theirs)
                offset = np.ldexp(mean - merged.pilots[side], merged.exponents[side])
                sums.append(n * offset)
                square = mine.squares[side][bucket] + theirs.squares[side][bucket] + share * (gap[side] @ gap[side])
                merged.squares[side][bucket] = np.ldexp(square, 2 * merged.exponents[side]) + n * (offset @ offset)
                merged.sums[side][bucket] = sums[side]
            merged.products[bucket] = np.ldexp(product, sum(merged.exponents)) + np.outer(sums[0], sums[1]) / n
        return merged

    def cross_covariance(self) -> Float64:
        """C = (A - mu_A)^T (B - mu_B) / (n - 1): (d_a, d_b). Zeros for fewer than two items."""
        n = self.items
        if n < 2:
            return np.zeros(self.dims)
        centred = self.products.sum(axis=0)
        centred -= np.outer(self.sums[0].sum(axis=0), self.sums[1].sum(axis=0)) / n
        covariance: Float64 = np.ldexp(centred / (n - 1), -sum(self.exponents))
        return covariance

    def mean(self, side: int) -> Float64:
        """Column means of one side over the complete items: (d,)."""
        offset = np.ldexp(self.sums[side].sum(axis=0), -self.exponents[side])
        mean: Float64 = self.pilots[side] + offset / max(self.items, 1)
        return mean

    def total_variance(self, side: int) -> float:
        """Tr S of one side, ddof = 1: the sum of its column variances over the complete items."""
        n = self.items
        if n < 2:
            return 0.0
        total = self.sums[side].sum(axis=0)
        centred = max(self.squares[side].sum() - total @ total / n, 0.0)
        return float(np.ldexp(centred / (n - 1), -2 * self.exponents[side]))

    def _make_room(self, *rows: Floats) -> None:
        """Lower the scale of a side whose new rows would leave the range of float32 when squared. Exact."""
        excess = [0, 0]
        for side, x in enumerate(rows):
            largest = max(float(x.max()), -float(x.min())) + float(np.abs(self.pilots[side]).max())
            excess[side] = max(int(np.frexp(largest)[1]) + self.exponents[side] - MAX_EXPONENT, 0)
        for side, too_much in enumerate(excess):
            np.ldexp(self.sums[side], -too_much, out=self.sums[side])
            np.ldexp(self.squares[side], -2 * too_much, out=self.squares[side])
        if any(excess):
            np.ldexp(self.products, -sum(excess), out=self.products)
            self.exponents = (self.exponents[0] - excess[0], self.exponents[1] - excess[1])

    def _shifted(self, side: int, rows: Floats, working: np.dtype[Any]) -> Floats:
        x: Floats = rows.astype(working, copy=False)  # a copy already: the rows of one bucket were gathered
        x -= self.pilots[side].astype(working)
        if self.exponents[side]:
            x = np.ldexp(x, self.exponents[side])
        return x

    def _add(self, bucket: int, a: Floats, b: Floats) -> None:
        self.count[bucket] += len(a)
        for side, x in enumerate((a, b)):
            # A product with ones: BLAS adds columns several times faster than `sum` does.
            self.sums[side][bucket] += np.ones(len(x), x.dtype) @ x
            self.squares[side][bucket] += np.einsum("ij,ij->i", x, x).sum(dtype=np.float64)
        self.products[bucket] += a.T @ b

    def _centred(self) -> _Centred:
        """Each bucket about its own mean, in the units of the data."""
        n = np.maximum(self.count, 1)[:, None]
        means = tuple(self.pilots[s] + np.ldexp(self.sums[s] / n, -self.exponents[s]) for s in (0, 1))
        squares = tuple(
            np.ldexp(self.squares[s] - (self.sums[s] ** 2 / n).sum(axis=1), -2 * self.exponents[s]) for s in (0, 1)
        )
        outer = np.einsum("bi,bj->bij", self.sums[0] / n, self.sums[1])
        return _Centred(means, squares, np.ldexp(self.products - outer, -sum(self.exponents)))


class _Centred:
    """Buckets about their own means, in the units of the data: what Chan's formula merges."""

    def __init__(self, means: tuple[Float64, ...], squares: tuple[Float64, ...], products: Float64) -> None:
        self.means = means
        self.squares = squares
        self.products = products


def log2(power: int) -> int:
    """The exponent of a power of two."""
    return power.bit_length() - 1


def _pilot(rows: Floats, working: np.dtype[Any]) -> Float64:
    # Rounded to the working precision: the shift is then the same number there and in float64.
    pilot: Float64 = rows.mean(axis=0, dtype=np.float64).astype(working).astype(np.float64)
    return pilot


def _rounded(pilot: Float64) -> Float64:
    # For the same reason, whatever precision the next rows have; float64 data may be beyond float32.
    with np.errstate(over="ignore"):
        near = pilot.astype(np.float32).astype(np.float64)
    return np.where(np.isfinite(near), near, pilot)


def _exponent(rows: Floats, pilot: Float64) -> int:
    """The scale that brings the rows near 1; 0 where they are near enough for squares and sums to be in range."""
    head = rows[:1024].astype(np.float64)
    # Where the first rows are all alike, their own size is the best guess at how much the others differ.
    largest = float(np.abs(head - pilot).max()) or float(np.abs(head).max())
    exponent = -int(np.frexp(largest)[1])
    return exponent if abs(exponent) > 16 else 0


def _weighted(a: Float64, n_a: int, b: Float64, n_b: int) -> Float64:
    mean: Float64 = (a * n_a + b * n_b) / max(n_a + n_b, 1)
    return mean
