"""What needs whole rows of both modalities, measured on the sample before and after, as they are written."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured on the sample of a pair.

    Attributes:
        leftover: ||C'||_F / ||C||_F of the sampled rows as they are written, output scales taken out.
        covariances: S_a and S_b, before.
        figures: The rest, as plain numbers.
    """

    leftover: float | None
    covariances: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
    figures: Figures


def sampled(sample: Sample, pair: Pair, a: Projector, b: Projector) -> Measured:
    """Measure a pair before and after."""
    before = sample.rows()
    after = (a.transform(before[0]), b.transform(before[1]))
    buckets = buckets_of(sample.contents, BUCKETS)
    rank = max(a.rank, b.rank)

    def measure(rows: tuple[Floats, Floats]) -> tuple[Shared, Figures, Figures]:
        shared = Shared(*rows, buckets, FOLDS)
        return shared, shared.figures(rank), neighbour_overlap(*rows)

    # Before and after are independent of each other, and each is computed on one thread: same bits everywhere.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(2) as pool:
        (shared, first, near), (shared_after, then, near_after) = pool.map(measure, (before, after))
    covariances = (shared.s_a, shared.s_b)
    figures = {
        "items": shared.items,
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
    left = ratio(shared_after.shared_norm, shared.shared_norm * a.scale * b.scale)
    return Measured(left, covariances, figures)


def add_overlap(points: Sequence[dict[str, Any]], sample: Sample, a: Projector, b: Projector) -> None:
    """Measure the cross-modal neighbour overlap at every point of a curve."""
    rows = sample.rows()
    for point in points:
        sides = (limited(one, point["rank"], point["strength"]) for one in (a, b))
        after = [side.transform(x) for side, x in zip(sides, rows, strict=True)]
        point["neighbour_overlap"] = neighbour_overlap(after[0], after[1])["jaccard"]
