"""The use-cases that fit: run, fit, diagnose, plan. Each opens its inputs, does the work, and publishes a directory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from clear_cli import __version__
from clear_cli.artifact import write_artifact
from clear_cli.config import FitOptions, Input
from clear_cli.disk import fingerprint
from clear_cli.errors import UsageError
from clear_cli.machine import Machine
from clear_cli.parallel import background
from clear_cli.publish import check_target, read_manifest
from clear_cli.publish_remote import check_remote
from clear_cli.remote import is_remote
from clear_cli.workflow.counting import count_rows
from clear_cli.workflow.document import SCHEMA_VERSION, audited, fitted_document, with_outcomes
from clear_cli.workflow.fitting import Fitted, fit_rows
from clear_cli.workflow.job import EMBEDDINGS, ITEMS, PROJECTOR, Job, Published
from clear_cli.workflow.memory import budget, costly_bytes, kept_rows
from clear_cli.workflow.moments_file import moments_publication, write_moments
from clear_cli.workflow.projecting import PartOf
from clear_cli.workflow.reporting import DIAGNOSTICS, MARKDOWN, PAGE
from clear_cli.workflow.solving import Solution
from clear_cli.workflow.writing import write_embeddings


def run(
    inputs: Sequence[Input],
    out: Path,
    options: FitOptions,
    *,
    overwrite: bool = False,
    resume: bool = False,
    machine: Machine | None = None,
) -> Published:
    """Fit all modalities and write them again without what they share.

    Args:
        inputs: The modalities.
        out: The directory to publish.
        options: Parameters of the fit.
        overwrite: Replace the output of an earlier run.
        resume: Keep part files that are finished if the run is stopped, and go on from those that were kept.
        machine: The means to work with.

    Raises:
        UsageError, DataError, OutputError: See the command line reference for each.
    """
    _at_least_two(inputs)
    job = Job("run", inputs, out, overwrite, machine or Machine(), others=[options.fit_items], resume=resume)

    def work(staging: Path) -> dict[str, Any]:
        alignment = job.aligned(options.fit_items)
        share = budget(job.sources, alignment, job.machine.memory, options)
        ample = share.ample(sum(costly_bytes(job.sources).values()))
        job.machine.progress.say(f"{share}, {share.kept / 2**20:,.0f} MiB to keep rows in", detail=ample)
        rows = kept_rows(job.sources, share.kept)
        fitted = fit_rows(rows, alignment, options, job.machine)
        _write_projector(staging, fitted)
        for one in rows.values():
            one.last()
        # Worked out while the embeddings are written, which waits for the disk now and then.
        known = background(lambda: _found(job, fitted, options))
        outcomes = write_embeddings(job, staging, rows, fitted.projectors, _parts(job, fitted), options)
        return with_outcomes(known(), outcomes, fitted.projectors)

    return job.publish(_fit_parameters(options, job), vars(options), work)


def fit(
    inputs: Sequence[Input],
    out: Path,
    options: FitOptions,
    *,
    moments_out: Path | None = None,
    overwrite: bool = False,
    machine: Machine | None = None,
) -> Published:
    """Fit all modalities and write the projector and what was found, but no embeddings. Errors as in `run`.

    Args:
        inputs: The modalities.
        out: The directory to publish.
        options: Parameters of the fit.
        moments_out: File for what was accumulated, to be merged with that of other items.
        overwrite: Replace the output of an earlier run.
        machine: The means to work with.
    """
    _at_least_two(inputs)
    beside = None if moments_out is None else moments_publication(moments_out, overwrite=overwrite)
    job = Job("fit", inputs, out, overwrite, machine or Machine(), others=[options.fit_items], beside=beside)
    keep = None if beside is None else lambda evidence: beside.write(partial(write_moments, evidence))

    def work(staging: Path) -> dict[str, Any]:
        alignment = job.aligned(options.fit_items)
        share = budget(job.sources, alignment, job.machine.memory, options)
        job.machine.progress.say(str(share), detail=share.ample())
        fitted = fit_rows(job.sources, alignment, options, job.machine, keep=keep)
        _write_projector(staging, fitted)
        return _found(job, fitted, options)

    return job.publish(_fit_parameters(options, job), vars(options), work)


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
        share = budget(job.sources, alignment, job.machine.memory, options)
        job.machine.progress.say(str(share), detail=share.ample())
        rows = kept_rows(job.sources, share.kept)
        fitted = fit_rows(rows, alignment, options, job.machine)
        for one in rows.values():
            one.last()
        outcomes = count_rows(rows, fitted.projectors, _parts(job, fitted), job.machine, on_invalid=options.on_invalid)
        found = fitted_document(job.sources, fitted, options, overlap_curve=overlap_curve)
        return audited(found, outcomes, fitted)

    if out is None:
        return job.unpublished(work)
    curve = {"curve": overlap_curve}
    return job.publish(_fit_parameters(options, job) | curve, vars(options) | curve, work)


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
        "command": "run",
        "dry_run": True,
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
    write_artifact(staging / PROJECTOR, solution.projectors, {"version": __version__, **solution.provenance})


def _parts(job: Job, fitted: Fitted) -> dict[str, PartOf]:
    return {name: partial(fitted.membership.part, name) for name in job.sources}


def _at_least_two(inputs: Sequence[Input]) -> None:
    if len(inputs) < 2:
        raise UsageError(
            f"redundancy is between modalities, and there is only {len(inputs)}",
            fix="-m image=PATH -m text=PATH",
            flags=["-m"],
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
