"""Other ways to take out what modalities share, from scikit-learn and concept-erasure, for planted.py.

All are asked for the same: learn on rows x of a modality and rows y of all others, then clean fresh rows. Other
modalities, if there are several, stand side by side, each divided by the root of its total variance.

Two kinds: maps of the modality alone, as ours are, and residuals, which need the other modalities of every item again.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from measuring import benchmark
from peers import environment
from planting import Catalogue, Floats
from sklearn.cross_decomposition import CCA, PLSSVD
from sklearn.linear_model import LinearRegression

Clean = Callable[[Floats, Floats, int], Callable[[Floats, Floats], Floats]]
"""From x (n, d), y (n, q) and the rank: from fresh x and y to x without what y shares."""


def plssvd(x: Floats, y: Floats, rank: int) -> Callable[[Floats, Floats], Floats]:
    """Project out the weights of PLSSVD, which are singular vectors of the cross-covariance."""
    u, mean = PLSSVD(rank, scale=False).fit(x, y).x_weights_, x.mean(axis=0)
    return lambda fresh, _: fresh - ((fresh - mean) @ u) @ u.T


def cca(x: Floats, y: Floats, rank: int) -> Callable[[Floats, Floats], Floats]:
    """Predict x from the canonical variates of y, and keep the residual."""
    fit = CCA(rank, max_iter=5_000).fit(y, x)
    predict = LinearRegression().fit(fit.transform(y), x).predict
    return lambda fresh, others: fresh - predict(fit.transform(others))


def regression(x: Floats, y: Floats, rank: int) -> Callable[[Floats, Floats], Floats]:  # noqa: ARG001
    """Predict x from all of y, and keep the residual."""
    predict = LinearRegression().fit(y, x).predict
    return lambda fresh, others: fresh - predict(others)


IN_PROCESS: dict[str, Clean] = {
    "scikit-learn PLSSVD": plssvd,
    "scikit-learn CCA, residual": cca,
    "scikit-learn regression, residual": regression,
}
LEACE = "concept-erasure LEACE"


def clean_by_rivals(catalogue: Catalogue, rank: int, folder: Path) -> dict[str, dict[str, Floats]]:
    """Per rival and modality, the fresh rows as it cleans them."""
    cleaned: dict[str, dict[str, Floats]] = {name: {} for name in (*IN_PROCESS, LEACE)}
    for name, x in catalogue.fit.items():
        others = [other for other in catalogue.fit if other != name]
        y, fresh_y = _beside(catalogue, others)
        for rival, clean in IN_PROCESS.items():
            cleaned[rival][name] = clean(x, y, rank)(catalogue.fresh[name], fresh_y)
        cleaned[LEACE][name] = _leace(x, y, rank, catalogue.fresh[name], folder)
    return cleaned


def _beside(catalogue: Catalogue, names: Sequence[str]) -> tuple[Floats, Floats]:
    """Rows of several modalities as one matrix: those of the fit, and the fresh ones."""

    def together(rows: Mapping[str, Floats]) -> Floats:
        return np.hstack([rows[name] / np.sqrt(catalogue.fit[name].var(axis=0).sum()) for name in names])

    return together(catalogue.fit), together(catalogue.fresh)


def _leace(x: Floats, y: Floats, rank: int, fresh: Floats, folder: Path) -> Floats:
    """LEACE lives in the environment of the peers, and is handed files."""
    given, clean = folder / "leace-in.npz", folder / "leace-out.npy"
    np.savez(given, x=x, y=y, rank=rank, fresh=fresh)
    subprocess.run(benchmark("leace.py", given, clean, python=environment()), check=True)
    cleaned: Floats = np.load(clean)
    return cleaned
