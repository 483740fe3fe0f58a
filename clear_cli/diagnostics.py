"""Redundancy before and after: what two modalities share.

Two sources, and every figure says which: the moments of all complete items (algebraic, exact) and the
bounded sample of complete items. All figures come as plain numbers and lists, ready for JSON; matrices are
(items, dimensions), covariances have ddof = 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clear_cli.moments import CrossMoments
from clear_cli.norms import norm, ratio
from clear_cli.projector import Projector

Floats = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]
Figures = dict[str, Any]

NEIGHBOURS = 10
NEIGHBOUR_ITEMS = 2_000
SCATTER_ITEMS = 500
HEATMAP_DIRECTIONS = 24
MAX_CORRELATIONS = 64
BLOCK = 2048


def leftover(moments: CrossMoments, a: Projector, b: Projector) -> float | None:
    """||C'||_F / ||C||_F with C' = P_a^T C P_b over all complete items; None where nothing is shared."""
    c = moments.cross_covariance()
    return ratio(norm(removed_from(c, a, b)), norm(c))


def over_chance(moments: CrossMoments) -> float | None:
    """||C||_F over its level for unrelated rows, sqrt(tr S_a tr S_b / (n - 1)): near 1 where nothing is shared."""
    chance = math.sqrt(moments.total_variance(0)) * math.sqrt(moments.total_variance(1) / max(moments.items - 1, 1))
    return ratio(norm(moments.cross_covariance()), chance)


def removed_from(c: Float64, a: Projector, b: Projector) -> Float64:
    """P_a^T C P_b, (d_a, d_b), through the thin factors; scales and norms that rows are given are left out."""
    c = c - a.removal.T @ (a.readers.T @ c)
    remaining: Float64 = c - (c @ b.readers) @ b.removal
    return remaining


def heatmap(moments: CrossMoments, a: Projector, b: Projector) -> Figures:
    """The cross-covariance in the leading shared directions of both sides, before and after: (r, r) each."""
    shown = min(max(a.rank, b.rank, 1) + 4, HEATMAP_DIRECTIONS, a.directions.shape[1], b.directions.shape[1])
    u, v = a.directions[:, :shown], b.directions[:, :shown]
    c = moments.cross_covariance()
    return {"before": (u.T @ c @ v).tolist(), "after": (u.T @ removed_from(c, a, b) @ v).tolist()}


class Shared:
    """What the rows of two modalities share, from a sample of complete items.

    Args:
        a: (n, d_a) rows of the first modality.
        b: (n, d_b) rows of the same items in the second.
    """

    def __init__(self, a: Floats, b: Floats) -> None:
        self.items = len(a)
        # Directions whose spread is below the rounding of the stored type hold no information to correlate.
        self._cuts = tuple(float(np.finfo(x.dtype).eps) ** 2 for x in (a, b))
        means = tuple(x.mean(axis=0, dtype=np.float64) for x in (a, b))
        self.c, self.s_a, self.s_b, self._squares = _second_moments(a, b, means)
        self._spectra = [np.linalg.eigh(s) for s in (self.s_a, self.s_b)]

    @property
    def shared_norm(self) -> float:
        """||C||_F of the sample."""
        return norm(self.c)

    def rv(self) -> float | None:
        """RV coefficient, which is linear CKA: ||C||^2 / (||S_a|| ||S_b||) (Robert & Escoufier 1976)."""
        return ratio(norm(self.c) ** 2, norm(self.s_a) * norm(self.s_b))

    def cka_debiased(self) -> float | None:
        """Linear CKA from the unbiased HSIC estimator (Song et al. 2012); near 0 for independent modalities."""
        p, q = self._squares
        n = self.items
        if n < 4:
            return None
        # A root of each: their product would leave the range, and of two that are negative it would look sound.
        roots = [np.sqrt(max(_hsic(s, x, x, n), 0.0)) for s, x in ((self.s_a, p), (self.s_b, q))]
        return ratio(_hsic(self.c, p, q, n), float(roots[0] * roots[1]))

    def canonical_correlations(self) -> Float64:
        """Canonical correlations, descending, over the directions above the relative rank cut."""
        w_a, w_b = self._whiteners()
        if not w_a.size or not w_b.size:
            return np.empty(0)
        correlations: Float64 = np.clip(np.linalg.svd(w_a.T @ self.c @ w_b, compute_uv=False), 0.0, 1.0)
        return correlations

    def linear_r2(self) -> tuple[float | None, float | None]:
        """Share of the variance of b that is linear in a, and of a that is linear in b (variance-weighted R^2)."""
        w_a, w_b = self._whiteners()
        forward, backward = norm(w_a.T @ self.c) ** 2, norm(self.c @ w_b) ** 2
        shares = ratio(forward, float(np.trace(self.s_b))), ratio(backward, float(np.trace(self.s_a)))
        # Rounding may leave a little more explained than there is.
        return tuple(None if share is None else min(share, 1.0) for share in shares)  # type: ignore[return-value]

    def _whiteners(self) -> list[Float64]:
        spectra = zip(self._spectra, self._cuts, strict=True)
        return [_whitener(values, vectors, cut) for (values, vectors), cut in spectra]

    def effective_ranks(self) -> tuple[float, float]:
        """Exp of the entropy of the normalised singular values of a and of b (Roy & Vetterli 2007; RankMe)."""
        ranks = [_effective_rank(values) for values, _ in self._spectra]
        return ranks[0], ranks[1]

    def figures(self) -> Figures:
        """All of the above as plain numbers."""
        correlations = self.canonical_correlations()
        r2 = self.linear_r2()
        return {
            "rv": self.rv(),
            "cka_debiased": self.cka_debiased(),
            "canonical_correlation_top": float(correlations[0]) if len(correlations) else None,
            "canonical_correlation_mean": float(correlations.mean()) if len(correlations) else None,
            "canonical_correlations": correlations[:MAX_CORRELATIONS].tolist(),
            "linear_r2": list(r2),
            "effective_rank": list(self.effective_ranks()),
        }


def neighbour_overlap(a: Floats, b: Floats) -> Figures:
    """Cross-modal overlap of the cosine nearest neighbours of each item (mean Jaccard), beside its chance level.

    Args:
        a: (n, d_a) rows of one modality.
        b: (n, d_b) rows of the same items in the other.

    Returns:
        `jaccard`, `chance` (two independent random sets of neighbours), `k`, `items`; figures None below 3 items.
    """
    a, b = a[:NEIGHBOUR_ITEMS], b[:NEIGHBOUR_ITEMS]
    n = len(a)
    k = min(NEIGHBOURS, n - 2)
    if k < 1:
        return {"jaccard": None, "chance": None, "k": k, "items": n}
    near_a, near_b = _neighbours(a, k), _neighbours(b, k)
    common = np.array([len(np.intersect1d(i, j, assume_unique=True)) for i, j in zip(near_a, near_b, strict=True)])
    # Of n - 1 others, two independent sets of k have j in common with the hypergeometric probability.
    ways = [math.comb(k, j) * math.comb(n - 1 - k, k - j) for j in range(k + 1)]
    chance = sum(way * j / (2 * k - j) for j, way in enumerate(ways)) / sum(ways)
    return {"jaccard": float((common / (2 * k - common)).mean()), "chance": float(chance), "k": k, "items": n}


def scatter(x: Floats, y: Floats, projector: Projector) -> Figures:
    """The first items of a sample in the first two shared directions, before (x) and after (y): (n, 2) each."""
    axes = projector.directions[:, :2]
    return {
        "before": ((x[:SCATTER_ITEMS] - projector.mean) @ axes).tolist(),
        "after": ((y[:SCATTER_ITEMS] - projector.mean) @ axes).tolist(),
    }


def scale_ratio(norms: Sequence[float]) -> float | None:
    """The largest mean row norm over the smallest: how much louder one is where they are concatenated."""
    return ratio(max(norms), min(norms))


def _second_moments(
    a: Floats, b: Floats, means: tuple[Float64, ...]
) -> tuple[Float64, Float64, Float64, tuple[Float64, Float64]]:
    """C, S_a, S_b and the squared centred norms of the rows of each side, in float64, block by block."""
    from scipy.linalg.blas import dsyrk  # slow to import

    n = max(len(a) - 1, 1)
    c = np.zeros((a.shape[1], b.shape[1]))
    s_a, s_b = (np.zeros((x.shape[1],) * 2, order="F") for x in (a, b))
    squares = (np.empty(len(a)), np.empty(len(b)))
    for start in range(0, len(a), BLOCK):
        rows = slice(start, start + BLOCK)
        x, y = a[rows] - means[0], b[rows] - means[1]
        c += x.T @ y
        # Half of a symmetric product is enough.
        s_a = dsyrk(1.0, x.T, 1.0, s_a, lower=1, overwrite_c=1)
        s_b = dsyrk(1.0, y.T, 1.0, s_b, lower=1, overwrite_c=1)
        squares[0][rows], squares[1][rows] = np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", y, y)
    s_a, s_b = (np.tril(s) + np.tril(s, -1).T for s in (s_a, s_b))
    return c / n, s_a / n, s_b / n, squares


def _hsic(c: Float64, p: Float64, q: Float64, n: int) -> float:
    """Unbiased HSIC of linear kernels from centred features (Song et al. 2012, eq. 5), without an n x n matrix.

    With centred features the kernels' row sums without the diagonal are -p and -q, the squared norms of the rows.
    """
    cross = norm(c * (n - 1)) ** 2
    common = float(p @ q)
    total = cross - common + float(p.sum() * q.sum()) / ((n - 1) * (n - 2)) - 2 * common / (n - 2)
    return total / (n * (n - 3))


def _whitener(values: Float64, vectors: Float64, cut: float) -> Float64:
    """(d, r) W with W^T S W = I over the directions of S above the relative cut, from the eigenpairs of S."""
    floor = values[-1] * max(cut, len(values) * float(np.finfo(np.float64).eps))
    kept = values > max(floor, 0.0)
    w: Float64 = vectors[:, kept] / np.sqrt(values[kept])
    return w


def _effective_rank(eigenvalues: Float64) -> float:
    values = np.sqrt(np.clip(eigenvalues, 0, None))
    shares = values[values > 0] / (values.sum() or 1.0)
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0


def _neighbours(x: Floats, k: int) -> npt.NDArray[np.intp]:
    """(n, k) row numbers of the cosine nearest neighbours of each row, itself left out."""
    from sklearn.neighbors import NearestNeighbors

    working = x.astype(np.result_type(x, np.float32), copy=False)
    # Cosine does not see the scale; near 1 the squares stay in range.
    largest = float(np.abs(working).max(initial=0.0)) or 1.0
    search = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute", n_jobs=1)
    near: npt.NDArray[np.intp] = search.fit(working / largest).kneighbors(return_distance=False)
    return near
