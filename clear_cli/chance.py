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

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from clear_cli.moments import CrossMoments, ParallelMap

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Signs = npt.NDArray[np.int8]
Counts = npt.NDArray[np.int64]

DRAWS = 31
LEVEL = 0.95
BLOCK_BYTES = 2 << 20
"""Of the products that are looked at together, so that they stay in the cache."""
TOLERANCE = 1e-3
"""Relative residual at which the search for the top singular value of a draw ends."""
STEEP = 1.5
"""Where chance falls by no more than this factor over the significant directions, a straight line is near enough."""
LARGE = 1 << 20
"""Entries of a draw from which on threads pay; in smaller ones they only wait for the interpreter."""
ROUNDING = 1e-5
"""Of float32 matrix products, relative to the largest, with some room."""
MIN_STEPS, MAX_STEPS = 12, 128
"""Of the search for a top singular value; some 25 do."""


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
    if u.shape[0] < v.shape[0]:
        u, v, draws = v, u, draws.transpose(0, 2, 1)
    largest = max(float(draws.max()), -float(draws.min())) or 1.0
    found: dict[int, Float64] = {}
    several = parallel if u.shape[0] * v.shape[0] >= LARGE else map

    def tops(depth: int) -> Float64:
        if depth not in found:
            left, right = u[:, :depth].astype(np.float32), v[:, :depth].astype(np.float32)
            one = partial(_deflated_norm, u=left, v=right, largest=largest)
            found[depth] = unit * np.fromiter(several(one, draws), np.float64, len(draws))
        return found[depth]

    depth, last = 0, -1
    while last < depth < len(spectrum):
        last = depth
        # Chance is known within the tolerance; where it equals the truth, as with two items, nothing stands out.
        beyond = spectrum > (1 + TOLERANCE) * _high(tops(depth))
        depth = max(int(np.count_nonzero(beyond)), depth)
    if depth:
        if depth - 2 not in found:
            tops(depth - 1)
        if _high(found[0]) > STEEP * _high(found[max(found)]):
            tops(depth // 2)
    depths = sorted(found)
    everywhere = np.arange(len(spectrum))
    high = np.interp(everywhere, depths, [_high(found[one]) for one in depths])
    median = np.interp(everywhere, depths, [float(np.median(found[one])) for one in depths])
    return Significance(depth, _effective(spectrum[:depth], median[:depth]), high, median)


def draws_of(moments: CrossMoments, *, parallel: ParallelMap = map) -> tuple[Float32, float]:
    """What the cross-covariance of a pair is by chance: balanced signed sums of its buckets.

    Args:
        moments: Of the pair.
        parallel: Runs the sums. The result does not depend on it.

    Returns:
        The draws (D, d_a, d_b), none of whose entries is above 1, and the unit that they are to be multiplied by.
    """
    moments.settle()
    # No entry is larger than the roots of all squares together, four times about other means: in range of float32.
    bound = np.sqrt(moments.squares[0].sum()) * np.sqrt(moments.squares[1].sum())
    exponent = int(np.frexp(bound)[1]) + 2
    signs = np.ldexp(balanced_signs(len(moments.count)).astype(np.float64), -exponent)
    draws = signed_sums(moments.products, moments.count, moments.sums, signs, np.dtype(np.float32), parallel)
    n = max(moments.items - 1, 1)
    return draws, float(np.ldexp(1 / n, exponent - moments.scale(0) - moments.scale(1)))


def signed_sums(
    products: Float64,
    count: Counts,
    sums: tuple[Float64, Float64],
    signs: Float64,
    dtype: np.dtype[Any],
    parallel: ParallelMap = map,
) -> npt.NDArray[Any]:
    """Sums of buckets with signs, the products of each taken about the mean of the items in all others.

    A hub draws the mean of all towards itself. C loses its share of the hub once by that, products about this mean
    lose it once for each modality, and by so little a single hub would stand out. The mean of the others knows nothing
    of the hub. A bucket of more than half the items is taken about a point twice as far from its own mean as that of
    all, for there the others are the exception.

    Args:
        products: (B, d_a, d_b) sums of products about some origin.
        count: (B,) items.
        sums: per side, (B, d) sums of rows about the same origin.
        signs: (S, B) what each bucket is multiplied by.
        dtype: Of what is returned.
        parallel: Runs parts of the sums. The result does not depend on it.

    Returns:
        (S, d_a, d_b).
    """
    items = max(int(count.sum()), 1)
    ratios = 1 + np.minimum(count / np.maximum(items - count, 1), 1.0)
    means = [one / np.maximum(count, 1)[:, None] for one in sums]
    gaps = [mean - one.sum(axis=0) / items for mean, one in zip(means, sums, strict=True)]
    # Of each bucket: what its products are without its own means, and with the way to those of the others instead.
    left = np.stack([-sums[0], gaps[0] * (count * ratios**2)[:, None]], axis=2)
    right = np.stack([means[1], gaps[1]], axis=1)
    signed = np.empty((len(signs), *products.shape[1:]), dtype)
    step = max(BLOCK_BYTES // (len(count) * products.shape[2] * 8), 1)

    def add(start: int) -> None:
        rows = slice(start, start + step)
        signed[:, rows] = np.tensordot(signs, products[:, rows] + left[:, rows] @ right, 1)

    for _ in parallel(add, range(0, products.shape[1], step)):
        pass
    return signed


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


# All is finite; but kernels for small float32 matrices touch lanes beyond them, and may raise flags there.
@np.errstate(invalid="ignore", over="ignore")
def _deflated_norm(n: Float32, *, u: Float32, v: Float32, largest: float) -> float:
    """The top singular value of (I - U U^T) N (I - V V^T), of which no entry of N (d, d_q) is above `largest`.

    By Lanczos on N^T (I - U U^T) N across V from a random vector, and nothing is formed. A step is made orthogonal to V
    and all steps before it, twice, because once is not enough in float32.
    """
    depth = v.shape[1]
    steps = min(len(v) - depth, MAX_STEPS)
    basis = np.empty((depth + steps, len(v)), np.float32)
    basis[:depth] = v.T
    tridiagonal, top = np.zeros((steps + 1, steps + 1)), 0.0
    y: Float32 = np.random.default_rng(0).standard_normal(len(v), np.float32)
    y -= (basis[:depth] @ y) @ basis[:depth]
    beside = float(np.linalg.norm(y))
    for step in range(steps):
        known = basis[: depth + step + 1]
        known[-1] = y / np.float32(beside)
        image = (n @ known[-1]) / np.float32(largest)
        y = ((image - u @ (image @ u)) @ n) / np.float32(largest)
        along = known @ y
        y -= along @ known
        y -= (known @ y) @ known
        beside = float(np.linalg.norm(y))
        tridiagonal[step, step] = along[-1]
        tridiagonal[step, step + 1] = tridiagonal[step + 1, step] = beside
        # All that there is has been seen, and what is left is rounding, which would be taken for more.
        exhausted = beside <= ROUNDING * tridiagonal.diagonal().max()
        # Before so many steps the residual may be small beside a value that is not the top one.
        if (step >= MIN_STEPS and step % 4 == 0) or step == steps - 1 or exhausted:
            values, vectors = np.linalg.eigh(tridiagonal[: step + 1, : step + 1])
            top, residual = float(values[-1]), beside * abs(float(vectors[-1, -1]))
            if exhausted or residual <= 2 * TOLERANCE * top:
                break
    return largest * float(np.sqrt(max(top, 0.0)))


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
