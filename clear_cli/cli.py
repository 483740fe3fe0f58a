"""The commands: parse, call a use-case, hand the result to the console. No arithmetic, no files.

Use-cases are imported inside the commands, so that `--help` and completion do not wait for NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clear_cli import __version__
from clear_cli import options as opt
from clear_cli.arguments import (
    read_changes,
    read_console,
    read_gates,
    read_inputs,
    read_machine,
    read_options,
    refuse_failed,
)
from clear_cli.command import Command, Commands, described, grouped
from clear_cli.configfile import example_of
from clear_cli.console import Console, gates_text, inspect_text, merged_text, plan_text, print_error, published_text
from clear_cli.errors import UsageError
from clear_cli.remote import place

if TYPE_CHECKING:
    from clear_cli.gates import Gate
    from clear_cli.workflow.job import Published

NONE: list[str] = []
"""Nothing given of an option that may be repeated."""

app = typer.Typer(
    name="clear-cli",
    cls=Commands,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Remove cross-modal redundancy from item embeddings before a multimodal recommender trains on them.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clear-cli {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  (handled by its callback)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print_error(context.get_help())
        raise typer.Exit(2)


@app.command(cls=Command)
@grouped
def run(
    *,
    sources: opt.Sources,
    group_column: opt.GroupColumn = NONE,
    name: opt.OutputName = NONE,
    out: opt.Out,
    overwrite: opt.Overwrite = False,
    resume: opt.Resume = False,
    dry_run: opt.DryRun = False,
    solving: opt.Solving,
    finishing: opt.Finishing,
    fitted: opt.Fitted,
    report: opt.Report = True,
    item_ids: opt.ItemIds = True,
    gate: opt.Gates = NONE,
    means: opt.Means,
    talk: opt.Talk,
) -> None:
    """Fit, and write every modality again without what they share."""
    from clear_cli.workflow import usecases

    console = read_console(talk)
    inputs = read_inputs(sources, group_column=group_column, name=name)
    others = {"on_invalid": sources.on_invalid, "report": report, "item_ids": item_ids}
    options = read_options([one.modality for one in inputs], solving, finishing, fitted, **others)
    machine, gates = read_machine(means, console), read_gates(gate)
    if dry_run:
        console.result(usecases.plan(inputs, out, options, machine), plan_text)
        return
    _show(usecases.run(inputs, out, options, overwrite=overwrite, resume=resume, machine=machine), console, gates)


@app.command(cls=Command)
@grouped
def fit(
    *,
    sources: opt.Sources,
    group_column: opt.GroupColumn = NONE,
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
    group_column: opt.GroupColumn = NONE,
    out: opt.AuditOut = None,
    overwrite: opt.Overwrite = False,
    curve: opt.Curve = False,
    solving: opt.Solving,
    fitted: opt.Fitted,
    gate: opt.Gates = NONE,
    means: opt.Means,
    talk: opt.Talk,
) -> None:
    """Say how redundant modalities are, and what removing it would do; write no embeddings."""
    from clear_cli.workflow import usecases

    console = read_console(talk)
    inputs = read_inputs(sources, group_column=group_column)
    options = read_options([one.modality for one in inputs], solving, fitted, on_invalid=sources.on_invalid)
    machine, gates = read_machine(means, console), read_gates(gate)
    found = usecases.diagnose(inputs, out, options, overlap_curve=curve, overwrite=overwrite, machine=machine)
    _show(found, console, gates)


@app.command(cls=Command)
@grouped
def apply(
    *,
    projector: opt.Projector,
    sources: opt.Sources,
    name: opt.OutputName = NONE,
    out: opt.Out,
    overwrite: opt.Overwrite = False,
    resume: opt.Resume = False,
    rank: opt.OtherRank = NONE,
    strength: opt.OtherStrength = NONE,
    report: opt.Report = True,
    item_ids: opt.ItemIds = True,
    gate: opt.Gates = NONE,
    means: opt.Means,
    talk: opt.Talk,
) -> None:
    """Project new items with a projector that was fitted before."""
    console, inputs, gates = read_console(talk), read_inputs(sources, name=name), read_gates(gate)
    given: dict[str, Any] = read_changes([one.modality for one in inputs], rank, strength)
    given |= {"on_invalid": sources.on_invalid, "report": report, "item_ids": item_ids, "overwrite": overwrite}
    from clear_cli.workflow import applying

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


@app.command(cls=Command)
@grouped
def check(path: opt.Checked, talk: opt.Talk, gate: opt.Gates = NONE) -> None:
    """Judge an output by gates, from its diagnostics: nothing is computed again."""
    from clear_cli.gates import judge
    from clear_cli.workflow.document import SCHEMA_VERSION
    from clear_cli.workflow.published import read_output

    gates = read_gates(gate)
    if not gates:
        raise UsageError("nothing to check", fix="--gate 'leftover_heldout<=0.1'")
    verdicts = judge(gates, read_output(path).diagnostics)
    judged = {"schema_version": SCHEMA_VERSION, "command": "check", "gates": list(map(asdict, verdicts))}
    read_console(talk).result(judged, gates_text)
    refuse_failed(verdicts, where=path)


@app.command()
def verify(
    directory: opt.Reported,
    as_json: opt.Json = False,
) -> None:
    """Compare every file of an output directory with the hash that its manifest keeps."""
    from clear_cli.workflow.document import SCHEMA_VERSION
    from clear_cli.workflow.verifying import verify as look

    verdict = look(directory)
    found = {"schema_version": SCHEMA_VERSION, "command": "verify", "out": str(directory), **asdict(verdict)}
    Console(as_json=as_json).result(found, lambda _: inspect_text(asdict(verdict)))
    verdict.refuse(directory)


@app.command()
def report(
    directory: opt.Reported,
    out: opt.ReportOut = None,
    item_ids: opt.ItemIds = True,
    overwrite: opt.OverwriteFile = False,
    as_json: opt.Json = False,
) -> None:
    """Make the report of an output directory again, as a page or as Markdown."""
    from clear_cli.workflow.document import SCHEMA_VERSION
    from clear_cli.workflow.rendering import report as make

    path = make(directory, out, item_ids=item_ids, overwrite=overwrite)
    made = {"schema_version": SCHEMA_VERSION, "command": "report", "out": str(path)}
    Console(as_json=as_json).result(made, lambda value: value["out"])


@app.command()
def compare(
    outputs: Annotated[
        list[Path],
        typer.Argument(parser=place, metavar="DIR", help="Output directories, or their diagnostics.json."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", parser=place, metavar="FILE", help="A page or Markdown to write. Default: none."),
    ] = None,
    overwrite: opt.OverwriteFile = False,
    as_json: opt.Json = False,
) -> None:
    """Set outputs side by side: what was asked for, what was removed and left, and what it cost."""
    from clear_cli.side_by_side import comparison_text
    from clear_cli.workflow.document import SCHEMA_VERSION
    from clear_cli.workflow.rendering import compare as set_side_by_side

    found = set_side_by_side(outputs, out, overwrite=overwrite)
    written = None if out is None else str(out)
    result = {"schema_version": SCHEMA_VERSION, "command": "compare", "out": written, **found.document()}
    Console(as_json=as_json).result(result, lambda _: comparison_text(found) + (f"\n\n{out}" if out else ""))


@app.command()
def inspect(
    path: opt.Inspected,
    embedding_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column, pattern or dataset of the embeddings.")
    ] = None,
    id_column: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column or dataset of the ids.")] = None,
    as_json: opt.Json = False,
) -> None:
    """Show what a file of embeddings, a projector or a moments file holds."""
    from clear_cli.workflow.inspecting import inspect as look

    Console(as_json=as_json).result(look(path, embedding_column=embedding_column, id_column=id_column), inspect_text)


@app.command()
def config(
    context: typer.Context,
    example: Annotated[bool, typer.Option("--example", help="Print a file of options to start from.")] = False,
) -> None:
    """Say what --config reads."""
    if not example:
        raise UsageError("nothing to show", fix="clear-cli config --example > clear.toml")
    helps = {key: one.help for key, one in described(context.find_root().command).items()}
    Console().result({}, lambda _: example_of(helps))


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
            "gates": list(map(asdict, verdicts)),
        },
        published_text,
    )
    console.warnings(diagnostics["warnings"])
    refuse_failed(verdicts, where=out)
