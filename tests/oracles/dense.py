"""What the oracles compare with, all at once and in float64."""

from __future__ import annotations

import numpy as np
from sklearn.covariance import OAS

from tests.laws.planted import Floats


def centred(x: Floats) -> Floats:
    x = x.astype(np.float64)
    return x - x.mean(axis=0)


def shrunk_covariance(x: Floats) -> Floats:
    """S of the rows, ddof = 1, shrunk by scikit-learn's OAS."""
    return OAS().fit(x).covariance_ * len(x) / (len(x) - 1)
