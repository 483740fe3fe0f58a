"""concept-erasure: LEACE in its exact form, without shrinkage and without a bound on the trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from concept_erasure import LeaceFitter

Answer = tuple[Any, Any, dict[str, Any]]


def erase(rows: str, concept: str) -> Answer:
    """The rows (n, d) from which the concept (n, k) is erased."""
    x, z = (torch.from_numpy(np.load(path)) for path in (rows, concept))
    options = {"shrinkage": False, "svd_tol": 1e-300, "constrain_cov_trace": False}
    return [], LeaceFitter.fit(x, z, **options).eraser(x).numpy(), {}
