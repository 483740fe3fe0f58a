"""The commands that look at files and at outputs that were published: judge, verify, report, compare, inspect."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from clear_cli.cli import options as opt
from clear_cli.cli.arguments import counting_gates, read_console, refuse_failed
from clear_cli.cli.command import Command, Look, described, grouped
from clear_cli.cli.configfile import example_of
from clear_cli.cli.console import Console
from clear_cli.cli.program import app
from clear_cli.cli.texts import gates_text, inspect_text
from clear_cli.errors import UsageError
from clear_cli.remote import place


@app.command(cls=Command)
@grouped
def check(
    *,
    out: Annotated[
        Path | None,
        typer.Argument(
            parser=place,
            metavar="DIR",
            help="An output directory, or its diagnostics.json. Default: CLEAR_OUT, or out of --config.",
        ),
    ] = None,
    talk: opt.Talk,
    gate: opt.Gates = opt.NONE,
) -> None:
    """Judge an output by gates, from its diagnostics: nothing is computed again."""
    from clear_cli.gates import judge
    from clear_cli.workflow.document import SCHEMA_VERSION
    from clear_cli.workflow.published import read_output

    if out is None:
        raise UsageError("no output to check", fix="clear-cli check DIR, or out in the file of --config")
    nothing = UsageError("nothing to check", fix="--gate 'leftover_heldout<=0.1'")
    if not gate:
        raise nothing
    output = read_output(out)
    gates = counting_gates(gate, output.manifest.get("command"), list(output.diagnostics["modalities"]))
    if not gates:
        raise nothing
    verdicts = judge(gates, output.diagnostics)
    judged = {"schema_version": SCHEMA_VERSION, "command": "check", "gates": [one.document() for one in verdicts]}
    read_console(talk).result(judged, gates_text)
    refuse_failed(verdicts, where=out)


@app.command(cls=Look)
@grouped
def verify(directory: opt.Reported, voice: opt.Voice) -> None:
    """Compare every file of an output directory with the hash that its manifest keeps."""
    from clear_cli.workflow.document import SCHEMA_VERSION
    from clear_cli.workflow.verifying import verify as look

    verdict = look(directory)
    found = {"schema_version": SCHEMA_VERSION, "command": "verify", "out": str(directory), **asdict(verdict)}
    read_console(voice).result(found, lambda _: inspect_text(asdict(verdict)))
    verdict.refuse(directory)


@app.command(cls=Look)
@grouped
def report(
    *,
    directory: opt.Reported,
    out: opt.ReportOut = None,
    item_ids: opt.ItemIds = True,
    overwrite: opt.OverwriteFile = False,
    voice: opt.Voice,
) -> None:
    """Make the report of an output directory again, as a page or as Markdown."""
    from clear_cli.workflow.document import SCHEMA_VERSION
    from clear_cli.workflow.rendering import report as make

    path = make(directory, out, item_ids=item_ids, overwrite=overwrite)
    made = {"schema_version": SCHEMA_VERSION, "command": "report", "out": str(path)}
    read_console(voice).result(made, lambda value: value["out"])


@app.command(cls=Look)
@grouped
def compare(
    *,
    outputs: Annotated[
        list[Path],
        typer.Argument(parser=place, metavar="DIR", help="Output directories, or their diagnostics.json."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", parser=place, metavar="FILE", help="A page or Markdown to write. Default: none."),
    ] = None,
    overwrite: opt.OverwriteFile = False,
    voice: opt.Voice,
) -> None:
    """Set outputs side by side: what was asked for, what was removed and left, and what it cost."""
    from clear_cli.cli.side_by_side import comparison_text
    from clear_cli.workflow.document import SCHEMA_VERSION
    from clear_cli.workflow.rendering import compare as set_side_by_side

    found = set_side_by_side(outputs, out, overwrite=overwrite)
    written = None if out is None else str(out)
    result = {"schema_version": SCHEMA_VERSION, "command": "compare", "out": written, **found.document()}
    read_console(voice).result(result, lambda _: comparison_text(found) + (f"\n\n{out}" if out else ""))


@app.command(cls=Look)
@grouped
def inspect(
    *,
    path: opt.Inspected,
    embedding_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column, pattern or dataset of the embeddings.")
    ] = None,
    id_column: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column or dataset of the ids.")] = None,
    voice: opt.Voice,
) -> None:
    """Show what a file of embeddings, a projector or a moments file holds."""
    from clear_cli.workflow.inspecting import inspect as look

    read_console(voice).result(look(path, embedding_column=embedding_column, id_column=id_column), inspect_text)


@app.command()
def config(
    context: typer.Context,
    example: Annotated[bool, typer.Option("--example", help="Print a file of options to start from.")] = False,
) -> None:
    """Print a file of all options for --config, with --example."""
    helps = {key: one.help for key, one in described(context.find_root().command).items()}
    Console().result({}, lambda _: example_of(helps) if example else context.get_help())
