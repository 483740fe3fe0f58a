"""cca-zoo: canonical weights of two modalities and of more."""

from __future__ import annotations

from typing import Any

import numpy as np
from cca_zoo.linear import GCCA, MCCA, RidgeCCA

Answer = tuple[Any, Any, dict[str, Any]]
MODELS = {"ridge": RidgeCCA, "sumcor": MCCA, "maxvar": GCCA}


def weights(model: str, views: list[str], components: int, shrinkage: list[float]) -> Answer:
    """The weights of all views (n, d_i), one below the other: (sum of d_i, components)."""
    fitted = MODELS[model](n_components=components, shrinkage=shrinkage).fit([np.load(path) for path in views])
    return [], np.concatenate(fitted.weights_), {}
