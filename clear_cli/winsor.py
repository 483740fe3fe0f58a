"""Winsorised rows: those that lie far out are drawn in to a limit, so that a few do not decide a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clear_cli.norms import row_norms

Floats = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Limit:
    """How far rows may be from a centre.

    Attributes:
        centre: (d,).
        radius: The largest distance.
    """

    centre: Float64
    radius: float

    @classmethod
    def of(cls, rows: Floats, share: float) -> Limit:
        """The limit that this share of rows (n, d) keep, about their median column by column."""
        centre: Float64 = np.median(rows.astype(np.float64), axis=0) if len(rows) else np.zeros(rows.shape[1])
        distances = row_norms(rows, centre.astype(np.result_type(rows, np.float32)))
        return cls(centre, float(np.quantile(distances, share)) if len(rows) else np.inf)

    def shortened(self, x: Floats) -> Floats:
        """Rows x (n, d), those beyond the limit moved towards the centre until they are on it."""
        working = np.result_type(x, np.float32)
        centre = self.centre.astype(working)
        distances = row_norms(x, centre)
        far = np.flatnonzero(distances > self.radius)
        if not len(far):
            return x
        y = x.astype(working)
        y[far] = centre + (y[far] - centre) * (self.radius / distances[far, None]).astype(working)
        return y
