"""How far new items have drifted from those that a projector was fitted on, inside the directions that it removes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from clear_cli.norms import norm, ratio, row_norms
from clear_cli.projector import Projector

Floats = npt.NDArray[np.floating[Any]]
Figures = dict[str, Any]

CLEANED_SHARE = 1e-3
"""Cleaned rows have less than this of the variance inside the directions, and of its share, that the fit has, and"""
CLEANED_SHIFT = 0.05
"""a mean that is at most so many standard deviations from where the projector puts it: more than rounding leaves."""


class Drift:
    """Mean and variance of rows along the removed directions, beside those of the fit.

    Args:
        projector: Knows the mean and, where the fit had a sample, the variances of its rows.
    """

    def __init__(self, projector: Projector) -> None:
        self._projector = projector
        self.rows = 0
        self._sums = np.zeros(projector.rank)
        self._squares = np.zeros(projector.rank)
        self._total_sum = np.zeros(projector.dim)
        self._total_square = 0.0

    def add(self, x: Floats) -> None:
        """Add usable rows x (n, d)."""
        working = np.result_type(x, np.float32)
        centred = np.subtract(x, self._projector.mean.astype(working), dtype=working)
        scores = (centred @ self._projector.directions[:, : self._projector.rank].astype(working)).astype(np.float64)
        self.rows += len(x)
        self._sums += scores.sum(axis=0)
        self._squares += (scores**2).sum(axis=0)
        self._total_sum += centred.sum(axis=0, dtype=np.float64)
        self._total_square += float((row_norms(centred) ** 2).sum())

    @property
    def state(self) -> Figures:
        """All sums, in JSON types, so that they can be taken up again to the bit."""
        sums = [one.tolist() for one in (self._sums, self._squares, self._total_sum)]
        return {"rows": self.rows, "sums": sums, "total_square": self._total_square}

    @state.setter
    def state(self, state: Figures) -> None:
        self.rows, self._total_square = state["rows"], state["total_square"]
        self._sums, self._squares, self._total_sum = map(np.array, state["sums"])

    def figures(self) -> Figures | None:
        """What there is to say; None without removed directions, known variances, or at least two rows.

        Returns:
            `mean_shift` (distance of the means inside the directions, in standard deviations of the fit inside them),
            `variance_ratio` (variance inside them, new over fitted), `share_inside` (of all variance, `fit` and `new`),
            `cleaned` (the rows look as if this projector had been applied to them at full strength: nothing varies
            inside, and the mean is where it leaves it) and `rows`.
        """
        known = self._projector.variances[: self._projector.rank]
        if not len(known) or self.rows < 2 or not known.sum() > 0:
            return None
        n = self.rows
        inside = float(np.maximum(self._squares - self._sums**2 / n, 0.0).sum()) / (n - 1)
        total = max(self._total_square - float(self._total_sum @ self._total_sum) / n, 0.0) / (n - 1)
        shares = ratio(float(known.sum()), self._projector.total_variance), ratio(inside, total)
        variance_ratio = inside / float(known.sum())
        return {
            "rows": n,
            "mean_shift": float(np.linalg.norm(self._sums / n) / np.sqrt(known.sum())),
            "variance_ratio": variance_ratio,
            "share_inside": {"fit": shares[0], "new": shares[1]},
            "cleaned": self._emptied(*shares, variance_ratio) and self._in_place(float(np.sqrt(known.sum()))),
        }

    def _emptied(self, fitted: float | None, new: float | None, variance_ratio: float) -> bool:
        """Whether nothing varies inside, by the shares inside and by the variance there, new over fitted."""
        one = self._projector
        # What an oblique projection empties lies elsewhere than along the directions.
        if one.weights.size or not fitted or new is None:
            return False
        # One loud row outside makes any share small, and smaller units any variance: it takes both. A scale that makes
        # rows louder allows for no more, for rows that were never projected do not have it.
        return new <= CLEANED_SHARE * fitted and variance_ratio <= CLEANED_SHARE * min(one.scale, 1.0) ** 2

    def _in_place(self, deviation: float) -> bool:
        """Whether the mean inside is where the projector puts it, by the standard deviation of the fit."""
        one = self._projector
        mean = one.mean @ one.directions[:, : one.rank]
        left = one.scale * mean if one.keep_mean else 0.0
        return norm(self._sums / self.rows + mean - left) <= CLEANED_SHIFT * deviation * one.scale
