"""The fitted map of one modality: x -> x - (x - mu) W diag(strength) U^T, applied through its thin factors.

U are the shared directions, W what reads them off a row: U itself for the orthogonal removal of CLEAR, so that
x P = x (I - strength U U^T); S^-1 U, made dual to U, for the oblique one of LEACE, which takes the same linear
information with the least change. The directions are kept in order and beyond the rank in use, so that rank and
strength can be changed without a new fit. P itself, d x d, is never formed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from clear_cli.errors import DataError
from clear_cli.health import Hashes, Status, row_hashes, row_status
from clear_cli.norms import row_norms

Floats = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]
Statuses = npt.NDArray[np.uint8]

Renorm = Literal["none", "original", "unit"]
REMAINDER = 16
"""A row of which less than this many roundings of its type is left is not given a norm: it would be noise made loud."""


@dataclass(frozen=True, eq=False)
class Projector:
    """Removes the shared subspace from the embeddings of one modality.

    Attributes:
        modality: The name of the modality it was fitted on.
        mean: (d,) column means of the fit.
        directions: (d, k_max) orthonormal columns, ordered; the first `rank` are removed.
        spectrum: (r,) all singular values of the fit, descending, r >= k_max.
        rank: Directions removed, k <= k_max, k < d.
        strength: (k_max,) how much of each is removed: 0 nothing, 1 all. One number stands for all.
        scale: Factor that the projected rows are multiplied by.
        placeholders: (p, d) filler rows of the fit, in the type of its input.
        weights: (d, k_max) S^-1 U for the oblique removal; (0, 0) for the orthogonal one.
        keep_mean: The part of the mean that lies in the directions stays: column means do not change.
        renorm: Give each row its norm from before, or norm 1, after the projection.
        variances: (k_max,) of the rows of the fit along the directions, from its sample; (0,) where there was none.
        total_variance: Of the rows of the fit, the sum of their column variances; 0 where it is not known.
    """

    modality: str
    mean: Float64
    directions: Float64
    spectrum: Float64
    rank: int
    strength: Any = 1.0
    scale: float = 1.0
    placeholders: Floats = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    weights: Float64 = field(default_factory=lambda: np.empty((0, 0)))
    keep_mean: bool = False
    renorm: Renorm = "none"
    variances: Float64 = field(default_factory=lambda: np.empty(0))
    total_variance: float = 0.0

    def __post_init__(self) -> None:
        dim, kept = self.directions.shape
        if self.mean.shape != (dim,):
            raise ValueError(f"a mean of shape {self.mean.shape} does not fit directions of {self.directions.shape}")
        if self.spectrum.ndim != 1 or len(self.spectrum) < kept:
            raise ValueError(f"a spectrum of shape {self.spectrum.shape} does not fit {kept} directions")
        if self.placeholders.size and self.placeholders.shape[1:] != (dim,):
            raise ValueError(f"placeholders of shape {self.placeholders.shape} do not fit {dim} dimensions")
        if self.weights.size and self.weights.shape != (dim, kept):
            raise ValueError(f"weights of shape {self.weights.shape} do not fit directions of {self.directions.shape}")
        if self.variances.shape not in ((0,), (kept,)):
            raise ValueError(f"variances of shape {self.variances.shape} do not fit {kept} directions")
        strength = np.asarray(self.strength, dtype=np.float64)
        if strength.shape not in ((), (kept,)):
            raise ValueError(f"strengths of shape {strength.shape} do not fit {kept} directions")
        parts = (self.mean, self.directions, self.spectrum, self.scale, self.weights)
        if not all(np.isfinite(part).all() for part in (*parts, self.variances, self.total_variance)):
            raise ValueError("a value is not finite")
        if (self.spectrum < 0).any() or (np.diff(self.spectrum) > 0).any():
            raise ValueError("the singular values do not descend to 0 or more")
        if not (0 <= self.rank <= kept and (self.rank < dim or self.rank == 0)):
            raise ValueError(f"rank {self.rank} does not fit {kept} directions of {dim} dimensions")
        if not ((strength >= 0) & (strength <= 1)).all():
            raise ValueError(f"strength {strength} is not between 0 and 1")
        object.__setattr__(self, "strength", np.broadcast_to(strength, kept).copy())

    @property
    def uniform_strength(self) -> float | None:
        """The strength of every direction; None where they differ."""
        used = self.strength[: self.rank] if self.rank else self.strength[:1]
        return float(used[0]) if len(used) and (used == used[0]).all() else None

    @property
    def dim(self) -> int:
        """Columns of the embeddings, d."""
        return len(self.mean)

    @property
    def identity(self) -> bool:
        """Whether the map changes nothing, so that the output equals the input to the bit."""
        return not self.strength[: self.rank].any() and self.scale == 1 and self.renorm == "none"

    def limited(self, *, rank: int | None = None, strength: float | None = None) -> Projector:
        """The same projector with another rank or strength."""
        return replace(
            self,
            rank=self.rank if rank is None else rank,
            strength=self.strength if strength is None else strength,
        )

    def transform(self, x: Floats) -> Floats:
        """Project rows.

        Rows of zeros stay zeros and rows that are not finite pass through, both to the bit.

        Args:
            x: (n, d) float16, float32 or float64.

        Returns:
            (n, d), of the type of x.

        Raises:
            DataError: The dimension differs, the type is not one of these, or a value leaves the range of the type.
        """
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise DataError(
                f'embeddings have shape {x.shape}, but the projector of "{self.modality}" has {self.dim} dimensions'
            )
        if x.dtype.kind != "f" or x.dtype.itemsize > 8:
            raise DataError(f"embeddings of type {x.dtype} are not supported", supported="float16, float32 or float64")
        return self.mapped(x, row_status(x))[0]

    def mapped(self, x: Floats, status: Statuses, out: Floats | None = None) -> tuple[Floats, Statuses]:
        """As `transform`, for rows whose status is known.

        Args:
            x: (n, d) rows that fit the projector.
            status: (n,) their `row_status`.
            out: (n, d) of the type of x, where the result is to be.

        Returns:
            The projected rows (n, d), and their `row_status` (n,).
        """
        out = np.empty_like(x) if out is None else out
        if self.identity:
            out[:] = x
            return out, status
        working = np.result_type(x, np.float32)
        shift, readers, removal, constant = self._factors[working]
        # A raw row and a non-finite one may overflow here; both are put right below.
        with np.errstate(over="ignore", invalid="ignore"):
            y = np.subtract(x, shift, out=out if out.dtype == working else None, dtype=working)
            y -= (y @ readers) @ removal
            y += constant
            if self.renorm != "none":
                y *= self._norm_factors(x, y).astype(working)[:, None]
            if self.scale != 1:
                y *= working.type(self.scale)
            if y is not out:
                out[:] = y
        kept = np.flatnonzero((status == Status.MISSING) | (status == Status.NON_FINITE))
        out[kept] = x[kept]
        after = row_status(out)
        bad = (after == Status.NON_FINITE) & (status != Status.NON_FINITE)
        if bad.any():
            raise DataError(
                f"{int(bad.sum())} projected rows leave the range of {x.dtype}, the first at row {int(np.argmax(bad))}",
                fix="store the embeddings in a wider type, or divide them by a constant",
            )
        return out, after

    def is_placeholder(self, hashes: Hashes, dtype: np.dtype[Any]) -> npt.NDArray[np.bool_]:
        """Which rows of the given type, by their content hashes (n,), are filler rows of the fit: (n,)."""
        if not len(self.placeholders):
            return np.zeros(len(hashes), dtype=bool)
        # A narrower type may not hold them: then they are infinite, and no row is.
        with np.errstate(over="ignore"):
            stored = self.placeholders.astype(dtype)
        return np.isin(hashes, row_hashes(stored))

    @cached_property
    def readers(self) -> Float64:
        """(d, k) W: what of each direction is in a row, c W, of a row c about the mean. W^T U = I."""
        u: Float64 = self.directions[:, : self.rank]
        if not self.weights.size:
            return u
        q = self.weights[:, : self.rank]
        w: Float64 = np.linalg.solve((u.T @ q).T, q.T).T.astype(np.float64)
        return w

    @cached_property
    def removal(self) -> Float64:
        """(k, d) diag(strength) U^T: what is taken off for what was read."""
        u: Float64 = self.directions[:, : self.rank]
        removal: Float64 = (u * self.strength[: self.rank]).T
        return removal

    @cached_property
    def projected_mean(self) -> Float64:
        """(d,) where the mean of the fit comes out, before it is given a norm."""
        moved = 0.0 if self.keep_mean else (self.mean @ self.readers) @ self.removal
        projected: Float64 = self.scale * (self.mean - moved)
        return projected

    def remainders(self, x: Floats, y: Floats) -> tuple[Float64, Float64]:
        """||x - mu|| and ||(x - mu) P|| of rows x (n, d) that were written as y: (n,) each.

        The second is measured on y, unless its rows were given a norm, which is not what is asked here.
        """
        # float16 would round the mean by more than a row may have lost.
        working = np.result_type(x, np.float32)
        c = np.subtract(x, self.mean.astype(working), dtype=working)
        before = row_norms(c)
        if not self.strength[: self.rank].any():
            return before, before
        if self.renorm == "none":
            return before, row_norms(y, self.projected_mean.astype(working), c) / self.scale
        c -= (c @ self.readers.astype(working)) @ self.removal.astype(working)
        return before, row_norms(c)

    def _norm_factors(self, x: Floats, y: Floats) -> Float64:
        """(n,) what the rows y are to be multiplied by; where next to nothing is left of a row, what x would be."""
        before, after = row_norms(x), row_norms(y)
        enough = after > REMAINDER * float(np.finfo(x.dtype).eps) * before
        whole = np.where(enough & np.isfinite(after), after, before)
        target = before if self.renorm == "original" else np.ones(len(x))
        factors: Float64 = np.divide(target, whole, out=np.ones(len(x)), where=whole > 0)
        return factors

    @cached_property
    def _factors(self) -> dict[np.dtype[Any], tuple[Floats, ...]]:
        """Per working precision: shift (d,), W (d, k), strength U^T (k, d), and what the shift is mapped to (d,).

        x P = (x - shift) P + shift P holds for any shift, so the shift may be rounded; the small centred part is then
        projected in the working precision and the large constant one in float64. On raw rows with a column offset of
        1000 float32 leaves 2.4e-4 of the signal, this way 1e-6.
        """
        w, removal = self.readers, self.removal
        factors: dict[np.dtype[Any], tuple[Floats, ...]] = {}
        # The mean of float64 rows may be beyond float32, and then what comes out for rows of float32 is refused.
        with np.errstate(over="ignore", invalid="ignore"):
            for working in (np.dtype(np.float32), np.dtype(np.float64)):
                shift = self.mean.astype(working)
                exact = shift.astype(np.float64)
                # With the mean kept, only what the rounded shift lacks of it is projected.
                constant = exact - ((exact - self.mean * self.keep_mean) @ w) @ removal
                thin = (shift, w, removal, constant)
                factors[working] = tuple(np.ascontiguousarray(part, dtype=working) for part in thin)
        return factors
