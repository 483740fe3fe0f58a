"""The leftover on items that the directions did not see: refit without a fold, measure on it, in turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt

import numpy as np

from clear_cli.config import FitOptions
from clear_cli.diagnostics import Figures, leftover
from clear_cli.health import Floats
from clear_cli.moments import CrossMoments, buckets_of
from clear_cli.norms import norm, ratio
from clear_cli.projector import Projector
from clear_cli.spread import spread
from clear_cli.subspace import Pair
from clear_cli.workflow.evidence import FOLDS, Evidence
from clear_cli.workflow.solving import Solution, refitted


def held_out_leftover(solution: Solution, options: FitOptions) -> dict[Pair, Figures]:
    """Per pair the leftover of folds that the directions did not see, at the ranks of the full fit.

    Beside it what would be left of nothing but noise: sqrt(tr S'_a tr S'_b / n) / ||C||_F, with n and C of the fold,
    and S' after the removal, whose share is taken from the sample.

    Returns:
        What `spread` makes of the folds, by pair.
    """
    seen: dict[Pair, list[float | None]] = {pair: [] for pair in solution.moments}
    chance: dict[Pair, list[float | None]] = {pair: [] for pair in solution.moments}
    for fold in range(FOLDS):
        evidence = _without(solution.evidence, fold)
        if any(one.items < 2 for one in evidence.moments.values()):
            continue
        projectors = refitted(solution.projectors, evidence, options)
        for pair, moments in solution.moments.items():
            held = moments.part(_buckets(moments, fold))
            if held.items < 2:
                continue
            a, b = (projectors[name] for name in pair)
            seen[pair].append(leftover(held, a, b))
            chance[pair].append(_chance(held, solution, pair, projectors, fold))
    return {pair: spread(seen[pair], chance[pair]) for pair in solution.moments}


def _without(evidence: Evidence, fold: int) -> Evidence:
    def rest(moments: CrossMoments) -> CrossMoments:
        return moments.part(np.setdiff1d(np.arange(len(moments.count)), _buckets(moments, fold)))

    return replace(
        evidence,
        moments={pair: rest(one) for pair, one in evidence.moments.items()},
        own={pair: (rest(a), rest(b)) for pair, (a, b) in evidence.own.items()},
    )


def _buckets(moments: CrossMoments, fold: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    size = len(moments.count) // FOLDS
    return np.arange(fold * size, (fold + 1) * size)


def _chance(
    held: CrossMoments, solution: Solution, pair: Pair, projectors: Mapping[str, Projector], fold: int
) -> float | None:
    sample = solution.samples.get(pair)
    if sample is None:
        return None
    in_fold = buckets_of(sample.contents, FOLDS) == fold
    left = [
        held.total_variance(side) * _kept(rows[in_fold], projectors[name])
        for side, (name, rows) in enumerate(zip(pair, sample.rows(), strict=True))
    ]
    return ratio(sqrt(left[0]) * sqrt(left[1] / held.items), norm(held.cross_covariance()))


def _kept(x: Floats, projector: Projector) -> float:
    """Share of the variance of rows that the projection leaves."""
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    left = centred - (centred @ projector.readers) @ projector.removal
    return ratio(norm(left) ** 2, norm(centred) ** 2) or 0.0
