"""The use-cases: run, fit, apply, plan. Each opens its inputs, does the work, and publishes one directory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

import numpy as np

from clear_cli import __version__
from clear_cli.artifact import Artifact, read_artifact, write_artifact
from clear_cli.config import ApplyOptions, FitOptions, Input, OnInvalid, PerModality
from clear_cli.disk import fingerprint
from clear_cli.drift import Drift
from clear_cli.embeddings.base import Rows, Sink
from clear_cli.embeddings.ids import table_id_type
from clear_cli.embeddings.items import ItemsWriter
from clear_cli.errors import DataError, UsageError
from clear_cli.health import Status
from clear_cli.machine import Machine
from clear_cli.parallel import background
from clear_cli.projector import Projector
from clear_cli.publish import check_target, read_manifest
from clear_cli.publish_remote import check_remote
from clear_cli.rank import RankRule
from clear_cli.remote import is_remote
from clear_cli.workflow.document import SCHEMA_VERSION, document, fitted_document, with_outcomes
from clear_cli.workflow.fitting import Membership, fit_rows
from clear_cli.workflow.job import EMBEDDINGS, ITEMS, PROJECTOR, Job, Published
from clear_cli.workflow.memory import budget, kept_rows
from clear_cli.workflow.newitems import new_pairs
from clear_cli.workflow.projecting import Outcome, PartOf, Register, project
from clear_cli.workflow.reporting import DIAGNOSTICS, MARKDOWN, PAGE
from clear_cli.workflow.solving import Solution


def run(
    inputs: Sequence[Input], out: Path, options: FitOptions, *, overwrite: bool = False, machine: Machine | None = None
) -> Published:
    """Fit all modalities and write them again without what they share.

    Raises:
        UsageError, DataError, OutputError: See the command line reference for each.
    """
    _at_least_two(inputs)
    job = Job("run", inputs, out, overwrite, machine or Machine(), others=[options.fit_items])

    def work(staging: Path) -> dict[str, Any]:
        alignment = job.aligned(options.fit_items)
        share = budget(job.sources, alignment, job.machine.memory, options)
        job.machine.progress.say(f"{share}, {share.kept / 2**20:,.0f} MiB for rows that are read once")
        rows = kept_rows(job.sources, share.kept)
        fitted = fit_rows(rows, alignment, options, job.machine)
        _write_projector(staging, fitted)
        parts: dict[str, PartOf] = {name: _part_of(fitted.membership, name) for name in job.sources}
        for one in rows.values():
            one.last()
        # Worked out while the embeddings are written, which waits for the disk now and then.
        known = background(lambda: _found(job, fitted, options))
        outcomes = _write_embeddings(job, staging, rows, fitted.projectors, parts, options)
        return with_outcomes(known(), outcomes, fitted.projectors)

    return job.publish(_fit_parameters(options, job), work)


def fit(
    inputs: Sequence[Input], out: Path, options: FitOptions, *, overwrite: bool = False, machine: Machine | None = None
) -> Published:
    """Fit all modalities and write the projector and what was found, but no embeddings. Errors as in `run`."""
    _at_least_two(inputs)
    job = Job("fit", inputs, out, overwrite, machine or Machine(), others=[options.fit_items])

    def work(staging: Path) -> dict[str, Any]:
        alignment = job.aligned(options.fit_items)
        job.machine.progress.say(str(budget(job.sources, alignment, job.machine.memory, options)))
        fitted = fit_rows(job.sources, alignment, options, job.machine)
        _write_projector(staging, fitted)
        return _found(job, fitted, options)

    return job.publish(_fit_parameters(options, job), work)


def diagnose(
    inputs: Sequence[Input],
    out: Path | None,
    options: FitOptions,
    *,
    overlap_curve: bool = False,
    overwrite: bool = False,
    machine: Machine | None = None,
) -> Published:
    """Fit all modalities and say what was found; publish it where there is an output directory. Errors as in `run`."""
    _at_least_two(inputs)
    job = Job("diagnose", inputs, out, overwrite, machine or Machine(), others=[options.fit_items])

    def work(_: Path | None) -> dict[str, Any]:
        alignment = job.aligned(options.fit_items)
        job.machine.progress.say(str(budget(job.sources, alignment, job.machine.memory, options)))
        fitted = fit_rows(job.sources, alignment, options, job.machine)
        return fitted_document(job.sources, fitted, options, overlap_curve=overlap_curve)

    if out is None:
        return job.unpublished(work)
    return job.publish({**_fit_parameters(options, job), "curve": overlap_curve}, work)


def apply(
    projector: Path,
    inputs: Sequence[Input],
    out: Path,
    *,
    rank: PerModality[RankRule | None] | None = None,
    strength: PerModality[float | None] | None = None,
    on_invalid: OnInvalid = "error",
    report: bool = True,
    item_ids: bool = True,
    overwrite: bool = False,
    machine: Machine | None = None,
) -> Published:
    """Write modalities again through fitted projectors; they need not share items. Errors as in `run`."""
    options = ApplyOptions(on_invalid, report, item_ids)
    file = projector / PROJECTOR if projector.is_dir() else projector
    artifact = read_artifact(file)
    projectors = {
        one.modality: limited(artifact, one.modality, rank or PerModality(None), strength or PerModality(None))
        for one in inputs
    }
    job = Job("apply", inputs, out, overwrite, machine or Machine(), others=[file])
    for name, source in job.sources.items():
        if source.dim != projectors[name].dim:
            raise DataError(
                f'the projector of "{name}" has {projectors[name].dim} dimensions, the embeddings have {source.dim}',
                where=source.path,
                fix="apply it to embeddings of the same encoder, or fit again",
            )

    def work(staging: Path) -> dict[str, Any]:
        parts: dict[str, PartOf] = dict.fromkeys(projectors, _not_fitted)
        pairs, warnings = new_pairs(job, projectors, on_invalid) if report else ([], [])
        drifts = {name: Drift(one) for name, one in projectors.items()} if report else {}
        outcomes = _write_embeddings(job, staging, job.sources, projectors, parts, options, drifts)
        return with_outcomes(document(job.sources, projectors, pairs, warnings), outcomes, projectors)

    parameters = {
        "on_invalid": on_invalid,
        "report": report,
        "item_ids": item_ids,
        "rank": {name: one.rank for name, one in projectors.items()},
        "strength": {name: one.strength.tolist() for name, one in projectors.items()},
        "projector": fingerprint(file)["xxh3_128"],
    }
    return job.publish(parameters, work)


def limited(
    artifact: Artifact, modality: str, rank: PerModality[RankRule | None], strength: PerModality[float | None]
) -> Projector:
    """The stored projector of a modality, with another rank or strength where one is given.

    Raises:
        UsageError: The artifact has no such modality, or does not keep that many directions.
    """
    if modality not in artifact.projectors:
        raise UsageError(f'the projector has no modality "{modality}"', modalities=", ".join(artifact.projectors))
    projector = artifact.projectors[modality]
    rule = rank[modality]
    chosen = None
    if rule is not None:
        kept = projector.directions.shape[1]
        chosen = rule.choose(projector.spectrum, None, dim=projector.dim, kept=kept)
    return projector.limited(rank=chosen, strength=strength[modality])


def plan(inputs: Sequence[Input], out: Path, options: FitOptions, machine: Machine) -> dict[str, Any]:
    """What `run` would read and write, from headers and ids alone. Errors as in `run`, as far as they can be known."""
    _at_least_two(inputs)
    job = Job("run", inputs, out, True, machine, others=[options.fit_items])
    (check_remote if is_remote(out) else check_target)(out, overwrite=True)
    alignment = job.aligned(options.fit_items)
    share = budget(job.sources, alignment, job.machine.memory, options)
    names = list(job.sources)
    return {
        "schema_version": SCHEMA_VERSION,
        "output_exists": read_manifest(out) is not None,
        "modalities": {name: {"rows": source.rows, **source.describe()} for name, source in job.sources.items()},
        "pairs": [
            {"modalities": [a, b], "shared_items": alignment.shared_items(a, b)}
            for i, a in enumerate(names)
            for b in names[i + 1 :]
        ],
        "memory": {"granted": share.granted, "needed": share.needed, "kept": share.kept},
        "outputs": [
            PROJECTOR,
            DIAGNOSTICS,
            *([PAGE, MARKDOWN, ITEMS] if options.report else []),
            *(f"{EMBEDDINGS}/{name}" for name in job.containers()),
        ],
    }


def _found(job: Job, solution: Solution, options: FitOptions) -> dict[str, Any]:
    """What the fit found. Its moments and samples have then said what they know, and their memory is let go."""
    known = fitted_document(job.sources, solution, options)
    solution.moments.clear()
    solution.samples.clear()
    return known


def _write_projector(staging: Path, solution: Solution) -> None:
    modalities = solution.evidence.modalities
    provenance = {
        "version": __version__,
        "complete_items": {"|".join(pair): moments.items for pair, moments in solution.moments.items()},
        "rows": {name: one.rows for name, one in modalities.items()},
        "dtype": {name: one.dtype.name for name, one in modalities.items()},
    }
    write_artifact(staging / PROJECTOR, solution.projectors, provenance)


def _write_embeddings(
    job: Job,
    staging: Path,
    rows: Mapping[str, Rows],
    projectors: Mapping[str, Projector],
    parts: Mapping[str, PartOf],
    options: FitOptions | ApplyOptions,
    drifts: Mapping[str, Drift] | None = None,
) -> dict[str, Outcome]:
    folder = staging / EMBEDDINGS
    folder.mkdir()
    with (
        job.machine.progress.stage("writing", sum(source.rows for source in rows.values())) as advance,
        ExitStack() as running,
    ):
        gate, register = BoundedSemaphore(job.machine.threads), None
        if options.report:
            id_type = table_id_type(job.sources.values())
            register = Register(running.enter_context(ItemsWriter(staging / ITEMS, id_type)), id_type)
        sinks: dict[str, Sink] = {}
        for file, names in job.containers().items():
            first, *beside = (job.sources[name] for name in names)
            sinks |= dict.fromkeys(names, running.enter_context(first.sink(folder / file, beside)))
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
                ),
            )
            for name in job.sources
        )
        for _, steps in waiting:
            running.callback(steps.close)
        outcomes = _in_turn(waiting, advance)
    return {name: outcomes[name] for name in job.sources}


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


def _part_of(membership: Membership, name: str) -> PartOf:
    return lambda start, rows: membership.part(name, start, rows)


def _not_fitted(start: int, rows: int) -> tuple[Any, Any]:  # noqa: ARG001  (no row had a part in the fit)
    return np.full(rows, Status.EXCLUDED, dtype=np.uint8), np.zeros(rows, dtype=bool)


def _at_least_two(inputs: Sequence[Input]) -> None:
    if len(inputs) < 2:
        raise UsageError(
            f"redundancy is between modalities, and there is only {len(inputs)}", fix="-m image=PATH -m text=PATH"
        )


def _fit_parameters(options: FitOptions, job: Job) -> dict[str, Any]:
    names = list(job.sources)
    fit_items = None if options.fit_items is None else fingerprint(options.fit_items)
    return {
        "rank": {name: options.rank[name].text for name in names},
        "strength": {name: options.strength[name] for name in names},
        "max_rank": options.max_rank,
        "directions": options.directions,
        "removal": options.removal,
        "keep_mean": options.keep_mean,
        "renorm": options.renorm,
        "scale": options.scale,
        "winsorise": options.winsorise,
        "group_column": dict(job.groups),
        "on_invalid": options.on_invalid,
        "fit_items": fit_items,
        "report": options.report,
        "item_ids": options.item_ids,
    }
