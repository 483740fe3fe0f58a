"""The impact of projection on rows: norms, distances, energy removed; of each row, and in total.

Norms and distances are measured on the rows as they are written. Figures are plain numbers and lists, ready for JSON.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from clear_cli.norms import norm, ratio, row_norms, widened
from clear_cli.projector import Projector

Floats = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]
Figures = dict[str, Any]


def row_figures(projector: Projector, x: Floats, y: Floats) -> dict[str, Float64]:
    """What happened to each row: x (n, d) before, y (n, d) as written.

    Returns:
        (n,) each: `norm_before`, `norm_after`, `moved` (Euclidean), `energy` (squared distance from the mean of
        the fit, before) and `removed` (share of it that the projection takes away, before any scale or norm is given
        to the row; 0 for a row on the mean).
    """
    before, left = projector.remainders(x, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Rounding may leave a row with a little more energy than it had; an oblique projection does so by nature.
        removed = np.where(before > 0, 1 - (left / before) ** 2, 0.0)
    orthogonal = not projector.weights.size
    return {
        "norm_before": row_norms(x),
        "norm_after": row_norms(y),
        "moved": row_norms(y, x),
        "energy": before**2,
        "removed": np.maximum(removed, 0.0) if orthogonal else removed,
    }


class Impact:
    """What projection did to one modality: totals of `row_figures` over its usable rows."""

    BINS_PER_DOUBLING = 8

    def __init__(self, dim: int) -> None:
        self.rows = 0
        self._before = self._after = self._moved = 0.0
        self._norms = [0.0, 0.0]
        self._sums = [np.zeros(dim), np.zeros(dim)]
        self._bins: list[dict[int, int]] = [{}, {}]
        self._removed_bins = np.zeros(20, dtype=np.int64)

    def add(self, x: Floats, y: Floats, figures: dict[str, Float64]) -> None:
        """Add usable rows (n, d) before and after, with their `row_figures`."""
        self.rows += len(x)
        self._before += float(figures["energy"].sum())
        self._after += float((figures["energy"] * (1 - figures["removed"])).sum())
        self._moved += float((figures["moved"] ** 2).sum())
        self._removed_bins += np.histogram(figures["removed"], bins=20, range=(0.0, 1.0))[0]
        for side, (rows, norms) in enumerate(((x, figures["norm_before"]), (y, figures["norm_after"]))):
            self._norms[side] += float(norms.sum())
            working = widened(rows)
            self._sums[side] += np.ones(len(rows), working.dtype) @ working
            doublings = np.floor(np.log2(norms[norms > 0]) * self.BINS_PER_DOUBLING).astype(int)
            for value, count in zip(*np.unique(doublings, return_counts=True), strict=True):
                self._bins[side][int(value)] = self._bins[side].get(int(value), 0) + int(count)

    @property
    def state(self) -> Figures:
        """All totals, in JSON types, so that they can be taken up again to the bit."""
        return {
            "rows": self.rows,
            "energies": [self._before, self._after, self._moved],
            "norms": list(self._norms),
            "sums": [total.tolist() for total in self._sums],
            "bins": [list(bins.items()) for bins in self._bins],
            "removed_bins": self._removed_bins.tolist(),
        }

    @state.setter
    def state(self, state: Figures) -> None:
        self.rows, (self._before, self._after, self._moved) = state["rows"], state["energies"]
        self._norms, self._sums = list(state["norms"]), [np.array(total) for total in state["sums"]]
        self._bins = [dict(bins) for bins in state["bins"]]
        self._removed_bins = np.array(state["removed_bins"], dtype=np.int64)

    def figures(self) -> Figures:
        """Totals over all usable rows, with the points of the histograms."""
        n = max(self.rows, 1)
        means = [norm(total / n) for total in self._sums]
        norms = [total / n for total in self._norms]
        return {
            "variance_kept": ratio(self._after, self._before),
            "mean_squared_distortion": self._moved / n,
            "row_norm_mean": {"before": norms[0], "after": norms[1]},
            "mean_norm_ratio": {"before": ratio(means[0], norms[0]), "after": ratio(means[1], norms[1])},
            "histograms": {
                "row_norm": self._norm_histogram(),
                "removed": {"edges": np.linspace(0, 1, 21).tolist(), "rows": self._removed_bins.tolist()},
            },
        }

    def _norm_histogram(self) -> Figures:
        bins = sorted(self._bins[0].keys() | self._bins[1].keys())
        if not bins:
            return {"edges": [], "before": [], "after": []}
        span = range(bins[0], bins[-1] + 1)
        return {
            "edges": [2.0 ** (j / self.BINS_PER_DOUBLING) for j in range(bins[0], bins[-1] + 2)],
            "before": [self._bins[0].get(j, 0) for j in span],
            "after": [self._bins[1].get(j, 0) for j in span],
        }
