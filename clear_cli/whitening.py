"""Roots of a covariance and their inverses, over the directions that hold information.

Real embeddings have columns near zero: whitened as they stand, they explode. Eigenvalues below a cut relative to the
largest are left out before anything is inverted; a shrinkage towards the mean eigenvalue tames those above it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Whitening:
    """The eigenpairs of a covariance S above the cut.

    Attributes:
        vectors: (d, r) eigenvectors.
        values: (r,) eigenvalues, all above zero.
    """

    vectors: Float64
    values: Float64

    @property
    def whitener(self) -> Float64:
        """(d, r) W with W^T S W = I; its columns span what S does."""
        w: Float64 = self.vectors / np.sqrt(self.values)
        return w

    @property
    def root(self) -> Float64:
        """(d, r) R = S W, so that R R^T = S."""
        r: Float64 = self.vectors * np.sqrt(self.values)
        return r

    def solve(self, u: Float64) -> Float64:
        """S^+ U for U (d, k): (d, k)."""
        solved: Float64 = self.vectors @ ((self.vectors.T @ u) / self.values[:, None])
        return solved


def whitening(s: Float64, *, cut: float, items: int | None = None) -> Whitening:
    """The eigenpairs of a covariance.

    Args:
        s: (d, d) symmetric, ddof = 1.
        cut: Eigenvalues up to this share of the largest are left out; at least what float64 rounds to.
        items: Shrink the eigenvalues as OAS does for a covariance of this many items; None not to.

    Source: Chen, Wiesel, Eldar & Hero 2010, "Shrinkage algorithms for MMSE covariance estimation", equation 23, in the
        simplified form of scikit-learn's `OAS`.
    """
    values, vectors = np.linalg.eigh(s)
    return of_eigenpairs(values, vectors, cut=cut, items=items)


def of_eigenpairs(values: Float64, vectors: Float64, *, cut: float, items: int | None = None) -> Whitening:
    """As `whitening`, from the eigenvalues (d,) and eigenvectors (d, d) of S."""
    floor = values[-1] * max(cut, len(values) * float(np.finfo(np.float64).eps))
    kept = values > max(floor, 0.0)
    values = values[kept]
    # Among those above the cut: columns that are constant, or sums of others, neither add a dimension nor take from it.
    share = 0.0 if items is None else _oas(float(values @ values), float(values.sum()), len(values), items)
    mean = float(values.mean()) if len(values) else 0.0
    return Whitening(vectors[:, kept], (1 - share) * values + share * mean)


def oas(s: Float64, items: int) -> Float64:
    """A covariance (d, d) of so many items, shrunk as in `whitening`: positive definite, unless it is zero."""
    mean = float(np.trace(s)) / len(s)
    share = _oas(float(np.sum(s * s)), float(np.trace(s)), len(s), items)
    shrunk: Float64 = (1 - share) * s
    shrunk[np.diag_indices_from(shrunk)] += share * mean
    return shrunk


def rounding(dtype: np.dtype[Any]) -> float:
    """The cut for a covariance accumulated from products in the wider of float32 and this type."""
    return float(np.finfo(np.result_type(np.float32, dtype)).eps)


def _oas(squares: float, trace: float, dim: int, items: int) -> float:
    """How much of the mean eigenvalue to mix in, from tr S^2 and tr S."""
    if not trace > 0:
        return 1.0
    alpha, mu = squares / trace**2 / dim**2, 1 / dim
    rest = (items + 1) * (alpha - mu**2 / dim)
    return 1.0 if rest <= 0 else min((alpha + mu**2) / rest, 1.0)
