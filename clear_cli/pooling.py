"""Moments of two sets of items added up: how shards and days come together without their rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clear_cli.moments import CrossMoments

Float64 = npt.NDArray[np.float64]


def pooled(mine: CrossMoments, theirs: CrossMoments) -> CrossMoments:
    """The moments of both sets of items. Commutative and associative up to rounding.

    Raises:
        ValueError: The dimensions differ.

    Source: Chan, Golub & LeVeque 1979.
    """
    if mine.dims != theirs.dims:
        raise ValueError(f"moments of {mine.dims} and {theirs.dims} dimensions cannot be merged")
    a, b = _Centred.of(mine.settle()), _Centred.of(theirs.settle())
    scales = [int(exponents[0]) for exponents in (mine if mine.items else theirs).exponents]
    pilots = [_rounded(_weighted(mine.mean(side), mine.items, theirs.mean(side), theirs.items)) for side in (0, 1)]
    count = mine.count + theirs.count
    sums: list[Any] = [np.zeros_like(one) for one in mine.sums]
    squares: list[Any] = [np.zeros_like(one) for one in mine.squares]
    products = np.zeros_like(mine.products)
    for bucket in np.flatnonzero(count):
        n, n_a, n_b = count[bucket], mine.count[bucket], theirs.count[bucket]
        gap = [y[bucket] - x[bucket] for x, y in zip(a.means, b.means, strict=True)]
        share = n_a * n_b / n
        for side in (0, 1):
            mean = _weighted(a.means[side][bucket], n_a, b.means[side][bucket], n_b)
            offset = np.ldexp(mean - pilots[side], scales[side])
            square = a.squares[side][bucket] + b.squares[side][bucket] + share * (gap[side] @ gap[side])
            squares[side][bucket] = np.ldexp(square, 2 * scales[side]) + n * (offset @ offset)
            sums[side][bucket] = n * offset
        product = a.products[bucket] + b.products[bucket] + share * np.outer(*gap)
        products[bucket] = np.ldexp(product, sum(scales)) + np.outer(sums[0][bucket], sums[1][bucket]) / n
    exponents = [np.full(len(count), scale, dtype=np.int64) for scale in scales]
    return CrossMoments.of(
        count=count,
        sums=(sums[0], sums[1]),
        squares=(squares[0], squares[1]),
        products=products,
        pilots=(pilots[0], pilots[1]),
        exponents=(exponents[0], exponents[1]),
    )


@dataclass(frozen=True, eq=False)
class _Centred:
    """Buckets about their own means, in the units of the data: what Chan's formula adds up."""

    means: tuple[Float64, ...]
    squares: tuple[Float64, ...]
    products: Float64

    @classmethod
    def of(cls, one: CrossMoments) -> _Centred:
        n = np.maximum(one.count, 1)[:, None]
        means = tuple(one.pilots[s] + np.ldexp(one.sums[s] / n, -one.scale(s)) for s in (0, 1))
        squares = tuple(
            np.ldexp(one.squares[s] - (one.sums[s] ** 2 / n).sum(axis=1), -2 * one.scale(s)) for s in (0, 1)
        )
        outer = np.einsum("bi,bj->bij", one.sums[0] / n, one.sums[1])
        return cls(means, squares, np.ldexp(one.products - outer, -one.scale(0) - one.scale(1)))


def _rounded(pilot: Float64) -> Float64:
    # The shift is then the same number whatever precision the next rows have; float64 data may be beyond float32.
    with np.errstate(over="ignore"):
        near = pilot.astype(np.float32).astype(np.float64)
    return np.where(np.isfinite(near), near, pilot)


def _weighted(a: Float64, n_a: int, b: Float64, n_b: int) -> Float64:
    mean: Float64 = (a * n_a + b * n_b) / max(n_a + n_b, 1)
    return mean
