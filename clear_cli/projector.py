"""The fitted map of one modality: x -> x (I - strength U U^T), applied through its thin factor.

The directions are kept in order and beyond the rank in use, so that rank and strength can be lowered
without a new fit. P itself, d x d, is never formed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from clear_cli.errors import DataError
from clear_cli.health import Hashes, Status, row_hashes, row_status

Floats = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]
Statuses = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Projector:
    """Removes the shared subspace from the embeddings of one modality.

    Attributes:
        modality: The name of the modality it was fitted on.
        mean: (d,) column means of the fit.
        directions: (d, k_max) orthonormal columns, ordered; the first `rank` are removed.
        spectrum: (r,) all singular values of the fit, descending, r >= k_max.
        rank: Directions removed, k <= k_max, k < d.
        strength: How much of each is removed: 0 nothing, 1 all.
        scale: Factor that the projected rows are multiplied by.
        placeholders: (p, d) filler rows of the fit, in the type of its input.
    """

    modality: str
    mean: Float64
    directions: Float64
    spectrum: Float64
    rank: int
    strength: float = 1.0
    scale: float = 1.0
    placeholders: Floats = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))

    def __post_init__(self) -> None:
        dim, kept = self.directions.shape
        if self.mean.shape != (dim,):
            raise ValueError(f"a mean of shape {self.mean.shape} does not fit directions of {self.directions.shape}")
        if self.spectrum.ndim != 1 or len(self.spectrum) < kept:
            raise ValueError(f"a spectrum of shape {self.spectrum.shape} does not fit {kept} directions")
        if self.placeholders.size and self.placeholders.shape[1:] != (dim,):
            raise ValueError(f"placeholders of shape {self.placeholders.shape} do not fit {dim} dimensions")
        if not all(np.isfinite(part).all() for part in (self.mean, self.directions, self.spectrum, self.scale)):
            raise ValueError("a value is not finite")
        if not (0 <= self.rank <= kept and (self.rank < dim or self.rank == 0)):
            raise ValueError(f"rank {self.rank} does not fit {kept} directions of {dim} dimensions")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength {self.strength} is not between 0 and 1")

    @property
    def dim(self) -> int:
        """Columns of the embeddings, d."""
        return len(self.mean)

    @property
    def identity(self) -> bool:
        """Whether the map changes nothing, so that the output equals the input to the bit."""
        return (self.rank == 0 or self.strength == 0) and self.scale == 1

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
        shift, u, removal, constant = self._factors[working]
        # A raw row and a non-finite one may overflow here; both are put right below.
        with np.errstate(over="ignore", invalid="ignore"):
            y = np.subtract(x, shift, out=out if out.dtype == working else None, dtype=working)
            y -= (y @ u) @ removal
            y += constant
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
    def projected_mean(self) -> Float64:
        """(d,) the mean of the fit, projected."""
        u = self.directions[:, : self.rank]
        projected: Float64 = self.scale * (self.mean - self.strength * (self.mean @ u) @ u.T)
        return projected

    @cached_property
    def _factors(self) -> dict[np.dtype[Any], tuple[Floats, ...]]:
        """Per working precision: shift (d,), U (d, k), strength U^T (k, d), and what the shift projects to (d,).

        x P = (x - shift) P + shift P holds for any shift, so the shift may be rounded; the small centred part is then
        projected in the working precision and the large constant one in float64. On raw rows with a column offset of
        1000 float32 leaves 2.4e-4 of the signal, this way 1e-6.
        """
        u = self.directions[:, : self.rank]
        factors: dict[np.dtype[Any], tuple[Floats, ...]] = {}
        for working in (np.dtype(np.float32), np.dtype(np.float64)):
            shift = self.mean.astype(working)
            exact = shift.astype(np.float64)
            constant = exact - self.strength * (exact @ u) @ u.T
            thin = (shift, u, (self.strength * u).T, constant)
            factors[working] = tuple(np.ascontiguousarray(part, dtype=working) for part in thin)
        return factors
