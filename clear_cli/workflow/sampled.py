"""What needs whole rows of both modalities, measured on the sample before and after, as they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from clear_cli.curve import limited, variance_kept
from clear_cli.diagnostics import Figures, neighbour_overlap, scatter
from clear_cli.embeddings.base import Floats
from clear_cli.moments import buckets_of
from clear_cli.norms import ratio
from clear_cli.projector import Projector
from clear_cli.sample import Sample
from clear_cli.shared import BUCKETS, Shared
from clear_cli.subspace import Pair
from clear_cli.workflow.evidence import FOLDS

Covariances = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured on the sample of a pair.

    Attributes:
        leftover: ||C'||_F / ||C||_F of the sampled rows as they are written, output scales taken out.
        covariances: S_a and S_b, before.
        figures: The rest, as plain numbers.
    """

    leftover: float | None
    covariances: Covariances
    figures: Figures


def sampled(sample: Sample, pair: Pair, a: Projector, b: Projector) -> Measured:
    """Measure a pair before and after.

    One after the other, on one thread: the second moments of both at once would be the largest thing in memory, and the
    other thread has embeddings to write.
    """
    before = sample.rows()
    buckets = buckets_of(sample.contents, BUCKETS)
    rank = max(a.rank, b.rank)
    with threadpool_limits(1, user_api="blas"):
        first, covariances = _measured(before, buckets, rank)
        after = (a.transform(before[0]), b.transform(before[1]))
        then, _ = _measured(after, buckets, rank)
    norms = (first.pop("shared_norm"), then.pop("shared_norm"))
    near, near_after = first.pop("neighbour_overlap"), then.pop("neighbour_overlap")
    figures = {
        "items": len(before[0]),
        **{key: {"before": first[key], "after": then[key]} for key in first},
        "neighbour_overlap": {
            "before": near["jaccard"],
            "after": near_after["jaccard"],
            "chance": near["chance"],
            "neighbours": near["k"],
            "items": near["items"],
        },
        "variance_kept": [variance_kept(s, one) for s, one in zip(covariances, (a, b), strict=True)],
        "scatter": {
            name: scatter(x, y, projector) for name, x, y, projector in zip(pair, before, after, (a, b), strict=True)
        },
    }
    return Measured(ratio(norms[1], norms[0] * a.scale * b.scale), covariances, figures)


def _measured(rows: tuple[Floats, Floats], buckets: npt.NDArray[np.uint8], rank: int) -> tuple[Figures, Covariances]:
    shared = Shared(*rows, buckets, FOLDS)
    figures = {
        **shared.figures(rank),
        "shared_norm": shared.shared_norm,
        "neighbour_overlap": neighbour_overlap(*rows),
    }
    return figures, (shared.s_a, shared.s_b)


def add_overlap(points: Sequence[dict[str, Any]], sample: Sample, a: Projector, b: Projector) -> None:
    """Measure the cross-modal neighbour overlap at every point of a curve."""
    rows = sample.rows()
    for point in points:
        sides = (limited(one, point["rank"], point["strength"]) for one in (a, b))
        after = [side.transform(x) for side, x in zip(sides, rows, strict=True)]
        point["neighbour_overlap"] = neighbour_overlap(after[0], after[1])["jaccard"]
