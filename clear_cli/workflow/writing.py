"""Every modality of a job, projected and written again; several at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from pathlib import Path
from threading import BoundedSemaphore

from clear_cli.config import ApplyOptions, FitOptions
from clear_cli.drift import Drift
from clear_cli.embeddings.base import Rows, Sink
from clear_cli.embeddings.ids import table_id_type
from clear_cli.embeddings.items import ItemsWriter
from clear_cli.projector import Projector
from clear_cli.workflow.job import EMBEDDINGS, ITEMS, Job
from clear_cli.workflow.journal import PartFiles
from clear_cli.workflow.projecting import Outcome, PartOf, Register, project


def write_embeddings(
    job: Job,
    staging: Path,
    rows: Mapping[str, Rows],
    projectors: Mapping[str, Projector],
    parts: Mapping[str, PartOf],
    options: FitOptions | ApplyOptions,
    drifts: Mapping[str, Drift] | None = None,
) -> dict[str, Outcome]:
    """Write every modality of a job below a staging directory.

    Args:
        job: Its sources.
        staging: The directory that will be published.
        rows: The modalities, to be read from the start.
        projectors: Of each.
        parts: What part their rows had in the fit.
        options: What to do with invalid rows, and whether to measure.
        drifts: Measure, per modality, how far its rows are from those of the fit.

    Returns:
        What became of the rows of each.

    Raises:
        DataError: As `project`.
    """
    with (
        job.machine.progress.stage("writing", sum(source.rows for source in rows.values())) as advance,
        ExitStack() as running,
    ):
        gate, register = BoundedSemaphore(job.machine.threads), None
        if options.report:
            id_type = table_id_type(job.sources.values())
            register = Register(running.enter_context(ItemsWriter(staging / ITEMS, id_type)), id_type)
        sinks, finished = _sinks(job, staging / EMBEDDINGS, running)
        # A chunk of each modality in turn: a file is encoded by one thread only, so several are written at a time.
        waiting = deque(
            (
                name,
                project(
                    rows[name],
                    projectors[name],
                    sinks[name],
                    register,
                    gate,
                    part_of=parts[name],
                    on_invalid=options.on_invalid,
                    drift=(drifts or {}).get(name),
                    finished=finished.get(name),
                ),
            )
            for name in job.sources
        )
        for _, steps in waiting:
            running.callback(steps.close)
        outcomes = _in_turn(waiting, advance)
    return {name: outcomes[name] for name in job.sources}


def _sinks(job: Job, folder: Path, running: ExitStack) -> tuple[dict[str, Sink], dict[str, PartFiles | None]]:
    """Per modality its sink, entered, and what is finished of its part files where there is a journal."""
    sinks: dict[str, Sink] = {}
    finished: dict[str, PartFiles | None] = {}
    if job.journal is not None:
        job.journal.begin()
    folder.mkdir(exist_ok=True)
    for file, names in job.containers().items():
        first, *beside = (job.sources[name] for name in names)
        sink = first.sink(folder / file, beside)
        if job.journal is not None:
            finished |= dict.fromkeys(names, job.journal.container(file, names, sink))
        sinks |= dict.fromkeys(names, running.enter_context(sink))
    return sinks, finished


def _in_turn(
    waiting: deque[tuple[str, Generator[int, None, Outcome]]], advance: Callable[[int], None]
) -> dict[str, Outcome]:
    """A step of each, again and again, until all have ended; what they return, by name."""
    outcomes = {}
    while waiting:
        name, steps = waiting.popleft()
        try:
            advance(next(steps))
            waiting.append((name, steps))
        except StopIteration as end:
            outcomes[name] = end.value
    return outcomes
