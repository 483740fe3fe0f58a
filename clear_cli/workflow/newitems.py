"""What is still shared by new items that were projected by an earlier fit."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import Any

from clear_cli.config import FitOptions, OnInvalid
from clear_cli.diagnostics import leftover, over_chance
from clear_cli.embeddings.align import align
from clear_cli.embeddings.stream import Aligned
from clear_cli.errors import DataError
from clear_cli.projector import Projector
from clear_cli.rank import RankRule
from clear_cli.values import PerModality
from clear_cli.workflow.job import Job
from clear_cli.workflow.reading import Reading
from clear_cli.workflow.solving import MIN_COMPLETE_ITEMS


def new_pairs(
    job: Job, projectors: Mapping[str, Projector], on_invalid: OnInvalid
) -> tuple[list[dict[str, Any]], list[str]]:
    """The leftover of new items that two modalities have in common, and what the user should know.

    New items need not be in two modalities, so what cannot be compared is no error here.

    Raises:
        DataError: Rows that are not finite, unless they are to be kept.
    """
    if len(job.sources) < 2:
        return [], []
    try:
        alignment = align(job.sources)
    except DataError as error:
        return [], [f"the leftover of these items was not measured: {error.problem}"]
    if not any(alignment.shared_items(a, b) >= MIN_COMPLETE_ITEMS for a, b in combinations(job.sources, 2)):
        return [], []
    options = FitOptions(rank=PerModality(RankRule("0")), on_invalid=on_invalid, report=False)
    with (
        ThreadPoolExecutor(job.machine.threads) as pool,
        Aligned(job.sources, alignment, scratch=job.machine.tmp_dir) as aligned,
    ):
        reading = Reading(job.sources, alignment, options)
        reading.run(aligned, job.machine, pool, "comparing")
    return [
        {
            "modalities": list(pair),
            "items": moments.items,
            "covariance_over_chance": over_chance(moments),
            "leftover": {"new_items_algebraic": leftover(moments, *(projectors[name] for name in pair))},
        }
        for pair, moments in reading.moments.items()
        if moments.items >= MIN_COMPLETE_ITEMS
    ], []
