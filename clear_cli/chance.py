"""The chance level: what a spectrum would be were the modalities independent, and what stands out from it.

Buckets of items are added with signs instead of all with a plus. Where two modalities are independent the sign of a
bucket's cross-covariance means nothing, so every signed sum is a draw of what chance alone makes of these very rows,
with their tails, hubs and duplicates (items with equal contents share a bucket); what is shared cancels, because the
signs are balanced. Permuting rows would break up duplicates and hubs, and find something in everything.

    C = sum_b C_b / (n - 1)          N = sum_b eps_b D_b / (n - 1),  sum_b eps_b = 0

where C_b are the products of the items of a bucket about the means of all items, and D_b about those of all others.

Singular values are taken as significant one after the other: sigma_j+1 against the top singular value of the draws
after the same deflation, (I - U_j U_j^T) N (I - V_j V_j^T).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from clear_cli.moments import CrossMoments

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Signs = npt.NDArray[np.int8]

DRAWS = 31
LEVEL = 0.95
BLOCK_BYTES = 16 << 20
DENSE = 64
"""Matrices with a side of up to this many rows are decomposed whole; of larger ones Lanczos finds the top value."""
TOLERANCE = 1e-4


class ParallelMap(Protocol):
    """`map`, or the `map` of an executor."""

    def __call__(self, function: Callable[[Any], float], items: Iterable[Any], /) -> Iterable[float]:
        """Call the function with each item; the results in the same order."""
        ...


@dataclass(frozen=True, eq=False)
class Significance:
    """How far a spectrum stands out from chance.

    Attributes:
        significant: How many of the leading directions are not chance, one tested after the other at the 5 % level.
        effective: Effective number of these, (sum s^2)^2 / sum s^4 with s_j = (sigma_j + sqrt(sigma_j^2 - nu_j^2)) / 2
            and nu_j the median of chance; not rounded.
        high: (r,) 95th percentile of chance after deflation by the 0, 1, ... directions before.
        median: (r,) its median.
    """

    significant: int
    effective: float
    high: Float64
    median: Float64

    @property
    def rank(self) -> int:
        """The effective number rounded up, at most the significant one."""
        return min(int(np.ceil(self.effective - 1e-9)), self.significant)


def significance(
    spectrum: Float64, u: Float64, v: Float64, draws: Float32, *, unit: float = 1.0, parallel: ParallelMap = map
) -> Significance:
    """Test the singular values of a matrix C = U diag(sigma) V^T against draws of what chance makes of it.

    The deflated draws only get smaller with depth, so every sigma above the level at one depth is above it at all
    depths further down: the level is worked out at the few depths where the answer is open, and what it is in between
    lies between its values there.

    Args:
        spectrum: (r,) sigma, descending.
        u: (d_a, r) left singular vectors.
        v: (d_b, r) right singular vectors.
        draws: (D, d_a, d_b).
        unit: What they are to be multiplied by to be in the units of sigma.
        parallel: Runs the draws. The result does not depend on it.
    """
    if not len(spectrum):
        return Significance(0, 0.0, np.empty(0), np.empty(0))
    found: dict[int, Float64] = {}

    def tops(depth: int) -> Float64:
        if depth not in found:
            one = partial(_deflated_norm, u=u[:, :depth].astype(np.float32), v=v[:, :depth].astype(np.float32))
            found[depth] = unit * np.fromiter(parallel(one, draws), np.float64, len(draws))
        return found[depth]

    depth, last = 0, -1
    while last < depth < len(spectrum):
        last = depth
        # Chance is known within the tolerance; where it equals the truth, as with two items, nothing stands out.
        beyond = spectrum > (1 + TOLERANCE) * _high(tops(depth))
        depth = max(int(np.count_nonzero(beyond)), depth)
    if depth:
        tops(depth // 2), tops(depth - 1)
    depths = sorted(found)
    everywhere = np.arange(len(spectrum))
    high = np.interp(everywhere, depths, [_high(found[one]) for one in depths])
    median = np.interp(everywhere, depths, [float(np.median(found[one])) for one in depths])
    return Significance(depth, _effective(spectrum[:depth], median[:depth]), high, median)


def draws_of(moments: CrossMoments) -> tuple[Float32, float]:
    """What the cross-covariance of a pair is by chance: signed sums of its buckets, each about the means of the others.

    Returns:
        The draws (D, d_a, d_b), none of whose entries is above 1, and the unit that they are to be multiplied by.
    """
    moments.settle()
    signs = balanced_signs(len(moments.count)).astype(np.float64)
    n, count = max(moments.items, 1), moments.count
    means = [sums / np.maximum(count, 1)[:, None] for sums in moments.sums]
    gaps = [
        (mean - sums.sum(axis=0) / n) * apart(count)[:, None] for mean, sums in zip(means, moments.sums, strict=True)
    ]
    # Of each bucket: what its products are without its own means, and with the gaps to those of the others instead.
    left = np.concatenate([-means[0], gaps[0]]) * np.tile(count, 2)[:, None]
    right = np.concatenate([means[1], gaps[1]])
    signs_of_both = np.tile(signs, 2)
    # No entry is larger than the roots of all squares together, four times about other means: in range of float32.
    bound = np.sqrt(moments.squares[0].sum()) * np.sqrt(moments.squares[1].sum())
    exponent = int(np.frexp(bound)[1]) + 2
    draws = np.empty((len(signs), *moments.dims), np.float32)
    step = max(BLOCK_BYTES // (len(signs) * moments.dims[1] * 8), 1)
    for start in range(0, moments.dims[0], step):
        rows = slice(start, start + step)
        block = np.tensordot(signs, moments.products[:, rows], 1)
        block += (left[:, rows].T * signs_of_both[:, None]) @ right
        np.ldexp(block, -exponent, out=draws[:, rows], casting="same_kind")
    return draws, float(np.ldexp(1 / max(n - 1, 1), exponent - moments.scale(0) - moments.scale(1)))


def apart(count: npt.NDArray[np.int64]) -> Float64:
    """How many times as far a bucket's mean is from that of the others as from that of all: (B,), at most 2.

    A hub draws the mean of all towards itself. C loses its share of the hub once by that, products about this mean
    lose it once for each modality, and by so little a single hub would stand out. The mean of the others knows nothing
    of the hub. A bucket of more than half the items stays at 2, for there the others are the exception.
    """
    others = np.maximum(count.sum() - count, 1)
    ratios: Float64 = 1 + np.minimum(count / others, 1.0)
    return ratios


def balanced_signs(buckets: int) -> Signs:
    """(DRAWS, B) rows of Hadamard matrices, as many plus as minus in each; no two equal up to the sign."""
    from scipy.linalg import hadamard  # slow to import

    rows = hadamard(buckets, dtype=np.int8)[1:]
    shuffle = np.random.default_rng(0)
    distinct = {one.tobytes(): one for one in rows}
    while len(distinct) < DRAWS:
        more = rows[:, shuffle.permutation(buckets)]
        distinct |= {one.tobytes(): one for one in more * more[:, :1]}
    return np.array(list(distinct.values())[:DRAWS])


def _deflated_norm(n: Float32, *, u: Float32, v: Float32) -> float:
    """The top singular value of (I - U U^T) N (I - V V^T)."""
    if u.shape[1]:
        # All is finite; but kernels for small float32 matrices touch lanes beyond them, and may raise the flag there.
        with np.errstate(invalid="ignore"):
            n = n - u @ (u.T @ n)
            n -= (n @ v) @ v.T
    largest = float(np.abs(n).max(initial=0.0))
    if min(n.shape) <= DENSE or largest == 0:
        return float(np.linalg.norm(n.astype(np.float64), 2)) if n.size else 0.0
    from scipy.sparse.linalg import svds  # slow to import

    start = np.random.default_rng(0).standard_normal(min(n.shape)).astype(np.float32)
    return largest * float(svds(n / largest, k=1, tol=TOLERANCE, v0=start, return_singular_vectors=False)[0])


def _high(tops: Float64) -> float:
    """Their 95th percentile: of n draws and the truth, all alike, the truth is above it 5 % of the time."""
    return float(np.quantile(tops, LEVEL, method="weibull"))


def _effective(spectrum: Float64, median: Float64) -> float:
    """The effective number of the singular values that these would be without chance.

    Chance raises a singular value s of the truth to sigma = s + (nu / 2)^2 / s, where nu is the top singular value of
    chance alone and s above nu / 2 (Benaych-Georges & Nadakuditi 2012; exactly so for square matrices).
    """
    if not len(spectrum):
        return 0.0
    sigma, nu = spectrum / spectrum[0], median / spectrum[0]
    s = (sigma + np.sqrt(np.maximum(sigma**2 - nu**2, 0.0))) / 2
    return float((s**2).sum() ** 2 / (s**4).sum())
