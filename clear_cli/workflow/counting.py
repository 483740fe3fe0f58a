"""What part the rows had in a fit, counted where they are not written."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clear_cli.config import OnInvalid
from clear_cli.embeddings.base import Rows
from clear_cli.health import Status
from clear_cli.machine import Machine
from clear_cli.projector import Projector
from clear_cli.workflow.projecting import Outcome, PartOf, count, status_of
from clear_cli.workflow.reading import non_finite


def count_rows(
    rows: Mapping[str, Rows],
    projectors: Mapping[str, Projector],
    parts: Mapping[str, PartOf],
    machine: Machine,
    *,
    on_invalid: OnInvalid,
) -> dict[str, Outcome]:
    """What became of the rows of each modality, also of those that no other one knows, which a fit does not read.

    Raises:
        DataError: A row that is not finite, unless it is to be kept.
    """
    outcomes = {name: Outcome() for name in rows}
    with machine.progress.stage("counting", sum(source.rows for source in rows.values())) as advance:
        for name, source in rows.items():
            for chunk in source.chunks():
                status = status_of(chunk.embeddings, projectors[name])
                bad = np.flatnonzero(status == Status.NON_FINITE)
                if len(bad) and on_invalid == "error":
                    raise non_finite(name, chunk.start + int(bad[0]), source.path)
                count(outcomes[name], chunk.start, status, parts[name])
                advance(len(chunk))
    return outcomes
