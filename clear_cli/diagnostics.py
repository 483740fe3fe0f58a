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
from clear_cli.norms import norm, ratio, widened
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


def _neighbours(x: Floats, k: int) -> npt.NDArray[np.intp]:
    """(n, k) row numbers of the cosine nearest neighbours of each row, itself left out."""
    from sklearn.neighbors import NearestNeighbors

    working = widened(x)
    # Cosine does not see the scale; near 1 the squares stay in range.
    largest = float(np.abs(working).max()) or 1.0
    search = NearestNeighbors(n_neighbors=k, metric="cosine")
    near: npt.NDArray[np.intp] = search.fit(working / largest).kneighbors(return_distance=False)
    return near
