"""The commands: parse, call a use-case, hand the result to the console. No arithmetic, no files.

Use-cases are imported inside the commands, so that `--help` and completion do not wait for NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clear_cli import __version__
from clear_cli import options as opt
from clear_cli.arguments import read_gates, read_inputs, read_machine, read_options, refuse_failed
from clear_cli.console import Console, gates_text, inspect_text, merged_text, plan_text, print_error, published_text
from clear_cli.errors import UsageError

if TYPE_CHECKING:
    from clear_cli.gates import Gate
    from clear_cli.workflow.job import Published

app = typer.Typer(
    name="clear-cli",
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


@app.command()
def run(
    modality: opt.Modalities,
    out: opt.Out,
    rank: opt.Rank = [],  # noqa: B006  (Typer copies defaults)
    strength: opt.Strength = [],  # noqa: B006
    directions: opt.Directions = "covariance",
    removal: opt.Removal = "orthogonal",
    keep_mean: opt.KeepMean = False,
    renorm: opt.Renorm = "none",
    scale: opt.Scale = "none",
    winsorise: opt.Winsorise = None,
    group_column: opt.GroupColumn = [],  # noqa: B006
    max_rank: opt.MaxRank = 256,
    embedding_column: opt.EmbeddingColumn = [],  # noqa: B006
    id_column: opt.IdColumn = [],  # noqa: B006
    ids: opt.Ids = [],  # noqa: B006
    name: opt.OutputName = [],  # noqa: B006
    fit_items: opt.FitItems = None,
    on_invalid: opt.OnInvalid = opt.Invalid.error,
    overwrite: opt.Overwrite = False,
    dry_run: opt.DryRun = False,
    no_report: opt.NoReport = False,
    no_item_ids: opt.NoItemIds = False,
    threads: opt.Threads = None,
    memory: opt.Memory = None,
    tmp_dir: opt.TmpDir = None,
    gate: opt.Gates = [],  # noqa: B006
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Fit, and write every modality again without what they share."""
    from clear_cli.workflow import usecases

    console = Console(as_json=as_json, quiet=quiet)
    inputs = read_inputs(modality, embedding_column, id_column, ids, name, group_column)
    options = read_options(
        inputs, rank, strength, winsorise, max_rank=max_rank, directions=directions, removal=removal,
        keep_mean=keep_mean, renorm=renorm, scale=scale, on_invalid=on_invalid.value, fit_items=fit_items,
        report=not no_report, item_ids=not no_item_ids,
    )  # fmt: skip
    machine, gates = read_machine(threads, memory, tmp_dir, console), read_gates(gate)
    if dry_run:
        console.result(usecases.plan(inputs, out, options, machine), plan_text)
        return
    _show(usecases.run(inputs, out, options, overwrite=overwrite, machine=machine), console, gates)


@app.command()
def fit(
    modality: opt.Modalities,
    out: opt.Out,
    rank: opt.Rank = [],  # noqa: B006
    strength: opt.Strength = [],  # noqa: B006
    directions: opt.Directions = "covariance",
    removal: opt.Removal = "orthogonal",
    keep_mean: opt.KeepMean = False,
    renorm: opt.Renorm = "none",
    scale: opt.Scale = "none",
    winsorise: opt.Winsorise = None,
    group_column: opt.GroupColumn = [],  # noqa: B006
    max_rank: opt.MaxRank = 256,
    embedding_column: opt.EmbeddingColumn = [],  # noqa: B006
    id_column: opt.IdColumn = [],  # noqa: B006
    ids: opt.Ids = [],  # noqa: B006
    fit_items: opt.FitItems = None,
    on_invalid: opt.OnInvalid = opt.Invalid.error,
    moments_out: opt.MomentsOut = None,
    overwrite: opt.Overwrite = False,
    no_report: opt.NoReport = False,
    threads: opt.Threads = None,
    memory: opt.Memory = None,
    tmp_dir: opt.TmpDir = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Fit, and write the projector but no embeddings."""
    from clear_cli.workflow import usecases

    console = Console(as_json=as_json, quiet=quiet)
    inputs = read_inputs(modality, embedding_column, id_column, ids, [], group_column)
    options = read_options(
        inputs, rank, strength, winsorise, max_rank=max_rank, directions=directions, removal=removal,
        keep_mean=keep_mean, renorm=renorm, scale=scale, on_invalid=on_invalid.value, fit_items=fit_items,
        report=not no_report,
    )  # fmt: skip
    machine = read_machine(threads, memory, tmp_dir, console)
    given: dict[str, Any] = {"moments_out": moments_out, "overwrite": overwrite, "machine": machine}
    _show(usecases.fit(inputs, out, options, **given), console)


@app.command()
def diagnose(
    modality: opt.Modalities,
    out: opt.AuditOut = None,
    curve: opt.Curve = False,
    rank: opt.Rank = [],  # noqa: B006
    strength: opt.Strength = [],  # noqa: B006
    directions: opt.Directions = "covariance",
    removal: opt.Removal = "orthogonal",
    winsorise: opt.Winsorise = None,
    group_column: opt.GroupColumn = [],  # noqa: B006
    max_rank: opt.MaxRank = 256,
    embedding_column: opt.EmbeddingColumn = [],  # noqa: B006
    id_column: opt.IdColumn = [],  # noqa: B006
    ids: opt.Ids = [],  # noqa: B006
    fit_items: opt.FitItems = None,
    on_invalid: opt.OnInvalid = opt.Invalid.error,
    overwrite: opt.Overwrite = False,
    threads: opt.Threads = None,
    memory: opt.Memory = None,
    tmp_dir: opt.TmpDir = None,
    gate: opt.Gates = [],  # noqa: B006
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Say how redundant modalities are, and what removing it would do; write no embeddings."""
    from clear_cli.workflow import usecases

    console = Console(as_json=as_json, quiet=quiet)
    inputs = read_inputs(modality, embedding_column, id_column, ids, [], group_column)
    options = read_options(
        inputs, rank, strength, winsorise, max_rank=max_rank, directions=directions, removal=removal,
        on_invalid=on_invalid.value, fit_items=fit_items,
    )  # fmt: skip
    machine, gates = read_machine(threads, memory, tmp_dir, console), read_gates(gate)
    found = usecases.diagnose(inputs, out, options, overlap_curve=curve, overwrite=overwrite, machine=machine)
    _show(found, console, gates)


@app.command()
def apply(
    projector: opt.Projector,
    modality: opt.Modalities,
    out: opt.Out,
    rank: opt.OtherRank = [],  # noqa: B006
    strength: opt.OtherStrength = [],  # noqa: B006
    embedding_column: opt.EmbeddingColumn = [],  # noqa: B006
    id_column: opt.IdColumn = [],  # noqa: B006
    ids: opt.Ids = [],  # noqa: B006
    name: opt.OutputName = [],  # noqa: B006
    on_invalid: opt.OnInvalid = opt.Invalid.error,
    overwrite: opt.Overwrite = False,
    no_report: opt.NoReport = False,
    no_item_ids: opt.NoItemIds = False,
    threads: opt.Threads = None,
    memory: opt.Memory = None,
    tmp_dir: opt.TmpDir = None,
    gate: opt.Gates = [],  # noqa: B006
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Project new items with a projector that was fitted before."""
    from clear_cli.rank import RankRule
    from clear_cli.values import PerModality, read_number, read_rank

    console = Console(as_json=as_json, quiet=quiet)
    inputs = read_inputs(modality, embedding_column, id_column, ids, name)
    names = [one.modality for one in inputs]
    from clear_cli.workflow import applying

    ranks: PerModality[RankRule | None] = PerModality.parse(rank, read_rank, None, names, "--rank")
    strengths: PerModality[float | None] = PerModality.parse(strength, read_number, None, names, "--strength")
    gates = read_gates(gate)
    published = applying.apply(
        projector,
        inputs,
        out,
        rank=ranks,
        strength=strengths,
        on_invalid=on_invalid.value,
        report=not no_report,
        item_ids=not no_item_ids,
        overwrite=overwrite,
        machine=read_machine(threads, memory, tmp_dir, console),
    )
    _show(published, console, gates)


@app.command()
def merge(
    moments: opt.MomentsFiles,
    out: opt.ProjectorOut,
    rank: opt.Rank = [],  # noqa: B006
    strength: opt.Strength = [],  # noqa: B006
    directions: opt.Directions = "covariance",
    removal: opt.Removal = "orthogonal",
    keep_mean: opt.KeepMean = False,
    renorm: opt.Renorm = "none",
    scale: opt.Scale = "none",
    max_rank: opt.MaxRank = 256,
    moments_out: opt.MomentsOut = None,
    overwrite: opt.Overwrite = False,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Fit the items of several fits together, from the moments that they kept; no rows are read."""
    from clear_cli.workflow.agreeing import agreed_modalities
    from clear_cli.workflow.merging import merge as add_up

    console = Console(as_json=as_json, quiet=quiet)
    options = read_options(
        agreed_modalities(moments), rank, strength, None, max_rank=max_rank, directions=directions,
        removal=removal, keep_mean=keep_mean, renorm=renorm, scale=scale,
    )  # fmt: skip
    given: dict[str, Any] = {"moments_out": moments_out, "overwrite": overwrite}
    result = add_up(moments, out, options, **given, machine=read_machine(None, None, None, console))
    console.result(result, merged_text)
    console.warnings(result["warnings"])


@app.command()
def check(
    path: opt.Checked,
    gate: opt.Gates = [],  # noqa: B006
    as_json: opt.Json = False,
) -> None:
    """Judge an output by gates, from its diagnostics: nothing is computed again."""
    from clear_cli.gates import judge
    from clear_cli.workflow.checking import read_document

    gates = read_gates(gate)
    if not gates:
        raise UsageError("nothing to check", fix="--gate 'leftover_heldout<=0.1'")
    verdicts = judge(gates, read_document(path))
    Console(as_json=as_json).result({"gates": list(map(asdict, verdicts))}, gates_text)
    refuse_failed(verdicts, where=path)


@app.command()
def report(
    directory: opt.Reported,
    out: opt.ReportOut = None,
    no_item_ids: opt.NoItemIds = False,
    overwrite: opt.OverwriteFile = False,
    as_json: opt.Json = False,
) -> None:
    """Make the report of an output directory again, as a page or as Markdown."""
    from clear_cli.workflow.document import SCHEMA_VERSION
    from clear_cli.workflow.reporting import report as make

    path = make(directory, out, item_ids=not no_item_ids, overwrite=overwrite)
    made = {"schema_version": SCHEMA_VERSION, "command": "report", "out": str(path)}
    Console(as_json=as_json).result(made, lambda value: value["out"])


@app.command()
def inspect(
    path: opt.Inspected,
    embedding_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column, pattern or dataset of the embeddings.")
    ] = None,
    id_column: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column or dataset of the ids.")] = None,
    as_json: opt.Json = False,
) -> None:
    """Show what a file of embeddings or a projector holds."""
    from clear_cli.workflow.inspecting import inspect as look

    Console(as_json=as_json).result(look(path, embedding_column=embedding_column, id_column=id_column), inspect_text)


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
