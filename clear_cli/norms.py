"""Norms and ratios that hold over the whole range of a type, and of nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]


def widened(x: Floats) -> Floats:
    """Rows of float16 as float32, for it has no arithmetic of its own; others as they are, not copied."""
    return x.astype(np.result_type(x, np.float32), copy=False)


def row_norms(x: Floats, origin: Floats | None = None, scratch: Floats | None = None) -> Float64:
    """||x_i - origin||_2 of each row of x (n, d), right over the whole range of the type: (n,).

    `origin` is one point (d,) or one for each row (n, d); `scratch` (n, d) is overwritten, where it is given.
    """
    rows = widened(x)
    if origin is not None:
        rows = np.subtract(rows, origin, out=scratch)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", rows, rows).astype(np.float64)
    norms: Float64 = np.sqrt(squares)
    # Squares leave the range of the type long before the rows do.
    safe = 1e30 if rows.dtype == np.float32 else 1e280
    odd = np.flatnonzero(~((squares > 1 / safe) & (squares < safe)))
    odd = odd[rows[odd].any(axis=1)]
    norms[odd] = [norm(row.astype(np.float64)) for row in rows[odd]]
    return norms


def norm(x: Floats) -> float:
    """Frobenius norm without under- or overflow."""
    largest = float(np.abs(x).max(initial=0.0))
    return largest * float(np.linalg.norm(x / largest)) if 0 < largest < np.inf else largest


def ratio(part: float, whole: float) -> float | None:
    """Part / whole, or None where the whole is zero: a share of nothing is not a number."""
    return float(part / whole) if whole else None
