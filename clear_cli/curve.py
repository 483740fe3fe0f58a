"""What other ranks and strengths would leave and cost, from moments and covariances, without the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clear_cli.diagnostics import removed_from
from clear_cli.moments import CrossMoments
from clear_cli.norms import norm, ratio
from clear_cli.projector import Projector

Float64 = npt.NDArray[np.float64]
Figures = dict[str, Any]

STRENGTHS = (0.25, 0.5, 0.75, 1.0)


def ranks_of(chosen: int, kept: int) -> list[int]:
    """Powers of two up to the directions that are kept, and the chosen rank."""
    powers = [1 << i for i in range(kept.bit_length())]
    return sorted({rank for rank in (*powers, chosen, kept) if 0 < rank <= kept})


def limited(projector: Projector, rank: int, strength: float) -> Projector:
    """The projector at another rank and strength; one whose strength is 0 stays what it is: its modality is kept."""
    if projector.uniform_strength == 0:
        return projector
    return projector.limited(rank=min(rank, projector.directions.shape[1]), strength=strength)


def curve(
    moments: CrossMoments, a: Projector, b: Projector, covariances: tuple[Float64, Float64], strengths: Sequence[float]
) -> list[Figures]:
    """Leftover and variance kept at a grid of ranks and strengths, of the fit.

    Args:
        moments: Of the pair.
        a: The projector of the first modality, and
        b: of the second: what they are limited from.
        covariances: S_a (d_a, d_a) and S_b (d_b, d_b), of the sample.
        strengths: The grid; ranks are powers of two, and the ones chosen.
    """
    c = moments.cross_covariance()
    whole = norm(c)
    kept = max(a.directions.shape[1], b.directions.shape[1])
    points = []
    for rank in sorted({*ranks_of(a.rank, kept), *ranks_of(b.rank, kept)}):
        for strength in strengths:
            sides = limited(a, rank, strength), limited(b, rank, strength)
            points.append(
                {
                    "rank": rank,
                    "strength": strength,
                    "leftover": ratio(norm(removed_from(c, *sides)), whole),
                    "variance_kept": [variance_kept(s, side) for s, side in zip(covariances, sides, strict=True)],
                }
            )
    return points


def variance_kept(s: Float64, projector: Projector) -> float | None:
    """Tr(P^T S P) / tr S for a covariance S (d, d), through the thin factors."""
    g, u, w = projector.strength[: projector.rank], projector.directions[:, : projector.rank], projector.readers
    read = s @ w
    total = float(np.trace(s))
    taken = 2 * np.einsum("ij,ij->j", u, read) - g * np.einsum("ij,ij->j", w, read)
    # Where all is taken, rounding may take a little more.
    return ratio(max(total - float(g @ taken), 0.0), total)
