"""The commands that fit and project: parse, call a use-case, hand the result to the console. No arithmetic, no files.

Use-cases are imported inside the commands, so that `--help` and completion do not wait for NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clear_cli.cli import options as opt
from clear_cli.cli.arguments import (
    gates_for,
    read_changes,
    read_console,
    read_inputs,
    read_machine,
    read_options,
    refuse_failed,
)
from clear_cli.cli.command import Command, grouped
from clear_cli.cli.configfile import Condition
from clear_cli.cli.console import Console
from clear_cli.cli.program import app
from clear_cli.cli.texts import merged_text, plan_text, published_text

if TYPE_CHECKING:
    from clear_cli.gates import Gate
    from clear_cli.workflow.job import Published


@app.command(cls=Command)
@grouped
def run(
    *,
    sources: opt.Sources,
    group_column: opt.GroupColumn = opt.NONE,
    name: opt.OutputName = opt.NONE,
    out: opt.Out,
    overwrite: opt.Overwrite = False,
    resume: opt.Resume = False,
    dry_run: opt.DryRun = False,
    solving: opt.Solving,
    finishing: opt.Finishing,
    fitted: opt.Fitted,
    report: opt.Report = True,
    item_ids: opt.ItemIds = True,
    gate: opt.Gates = opt.NONE,
    means: opt.Means,
    talk: opt.Talk,
) -> None:
    """Fit, and write every modality again without what they share."""
    from clear_cli.workflow import usecases

    console = read_console(talk)
    inputs = read_inputs(sources, group_column=group_column, name=name)
    others = {"on_invalid": sources.on_invalid, "report": report, "item_ids": item_ids}
    options = read_options([one.modality for one in inputs], solving, finishing, fitted, **others)
    gates = gates_for("run", gate, inputs, report=report, tested=options.tested)
    machine = read_machine(means, console)
    if dry_run:
        console.result(usecases.plan(inputs, out, options, machine), plan_text)
        return
    _show(usecases.run(inputs, out, options, overwrite=overwrite, resume=resume, machine=machine), console, gates)


@app.command(cls=Command)
@grouped
def fit(
    *,
    sources: opt.Sources,
    group_column: opt.GroupColumn = opt.NONE,
    out: opt.Out,
    moments_out: opt.MomentsOut = None,
    overwrite: opt.Overwrite = False,
    solving: opt.Solving,
    finishing: opt.Finishing,
    fitted: opt.Fitted,
    report: opt.Report = True,
    means: opt.Means,
    talk: opt.Talk,
) -> None:
    """Fit, and write the projector but no embeddings."""
    from clear_cli.workflow import usecases

    console = read_console(talk)
    inputs = read_inputs(sources, group_column=group_column)
    others = {"on_invalid": sources.on_invalid, "report": report}
    options = read_options([one.modality for one in inputs], solving, finishing, fitted, **others)
    machine = read_machine(means, console)
    given: dict[str, Any] = {"moments_out": moments_out, "overwrite": overwrite, "machine": machine}
    _show(usecases.fit(inputs, out, options, **given), console)


@app.command(cls=Command)
@grouped
def diagnose(
    *,
    sources: opt.Sources,
    group_column: opt.GroupColumn = opt.NONE,
    out: opt.AuditOut = None,
    overwrite: opt.Overwrite = False,
    curve: opt.Curve = False,
    solving: opt.Solving,
    fitted: opt.Fitted,
    gate: opt.Gates = opt.NONE,
    means: opt.Means,
    talk: opt.Talk,
) -> None:
    """Say how redundant modalities are, and what removing it would do; write no embeddings."""
    from clear_cli.workflow import usecases

    console = read_console(talk)
    inputs = read_inputs(sources, group_column=group_column)
    options = read_options([one.modality for one in inputs], solving, fitted, on_invalid=sources.on_invalid)
    machine, gates = read_machine(means, console), gates_for("diagnose", gate, inputs)
    found = usecases.diagnose(inputs, out, options, overlap_curve=curve, overwrite=overwrite, machine=machine)
    _show(found, console, gates)


@app.command(cls=Command)
@grouped
def apply(
    *,
    projector: opt.Projector,
    sources: opt.Sources,
    name: opt.OutputName = opt.NONE,
    out: opt.Out,
    overwrite: opt.Overwrite = False,
    resume: opt.Resume = False,
    rank: opt.OtherRank = opt.NONE,
    strength: opt.OtherStrength = opt.NONE,
    report: opt.Report = True,
    item_ids: opt.ItemIds = True,
    gate: opt.Gates = opt.NONE,
    means: opt.Means,
    talk: opt.Talk,
) -> None:
    """Project new items with a projector that was fitted before."""
    console, inputs = read_console(talk), read_inputs(sources, name=name)
    given: dict[str, Any] = read_changes([one.modality for one in inputs], rank, strength)
    given |= {"on_invalid": sources.on_invalid, "report": report, "item_ids": item_ids, "overwrite": overwrite}
    from clear_cli.workflow import applying

    known = applying.fitted(projector) if any(isinstance(one, Condition) for one in gate) else ()
    gates = gates_for("apply", gate, inputs, known, report=report)
    given |= {"resume": resume, "machine": read_machine(means, console)}
    _show(applying.apply(projector, inputs, out, **given), console, gates)


@app.command(cls=Command)
@grouped
def merge(
    *,
    moments: opt.MomentsFiles,
    out: opt.ProjectorOut,
    moments_out: opt.MomentsOut = None,
    overwrite: opt.Overwrite = False,
    solving: opt.Solving,
    finishing: opt.Finishing,
    talk: opt.Talk,
) -> None:
    """Fit the items of several fits together, from the moments that they kept; no rows are read."""
    from clear_cli.workflow.agreeing import agreed_modalities
    from clear_cli.workflow.merging import merge as add_up

    console = read_console(talk)
    options = read_options(agreed_modalities(moments), solving, finishing)
    given: dict[str, Any] = {"moments_out": moments_out, "overwrite": overwrite}
    result = add_up(moments, out, options, **given, machine=read_machine(opt.Means(), console))
    console.result(result, merged_text)
    console.warnings(result["warnings"])


def _show(published: Published, console: Console, gates: Sequence[Gate] = ()) -> None:
    from clear_cli.gates import judge

    out, diagnostics = published.out, published.diagnostics
    files = [] if out is None else [out / name for name in (*published.manifest["outputs"], "manifest.json")]
    files += [] if published.beside is None else [published.beside]
    verdicts = judge(gates, diagnostics)
    console.result(
        {
            "schema_version": diagnostics["schema_version"],
            "command": published.manifest["command"],
            "up_to_date": published.current,
            "out": None if out is None else str(out),
            "outputs": list(map(str, files)),
            "modalities": diagnostics["modalities"],
            "pairs": diagnostics["pairs"],
            "warnings": diagnostics["warnings"],
            "gates": [one.document() for one in verdicts],
        },
        published_text,
    )
    console.warnings(diagnostics["warnings"])
    refuse_failed(verdicts, where=out)
