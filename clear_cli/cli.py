"""The commands: parse, call a use-case, hand the result to the console. No arithmetic, no files.

Use-cases are imported inside the commands, so that `--help` and completion do not wait for NumPy.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clear_cli import __version__
from clear_cli.console import Console, inspect_text, plan_text, print_error, published_text
from clear_cli.errors import UsageError
from clear_cli.options import (
    AuditOut,
    Curve,
    Directions,
    DryRun,
    EmbeddingColumn,
    FitItems,
    GroupColumn,
    IdColumn,
    Ids,
    Inspected,
    Invalid,
    Json,
    KeepMean,
    MaxRank,
    Memory,
    Modalities,
    NoItemIds,
    NoReport,
    OnInvalid,
    OtherRank,
    OtherStrength,
    Out,
    OutputName,
    Overwrite,
    OverwriteFile,
    Projector,
    Quiet,
    Rank,
    Removal,
    Renorm,
    Reported,
    ReportOut,
    Scale,
    Strength,
    Threads,
    TmpDir,
    Winsorise,
)
from clear_cli.remote import place

if TYPE_CHECKING:
    from clear_cli.config import FitOptions, Input
    from clear_cli.machine import Machine
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
    modality: Modalities,
    out: Out,
    rank: Rank = [],  # noqa: B006  (Typer copies defaults)
    strength: Strength = [],  # noqa: B006
    directions: Directions = "covariance",
    removal: Removal = "orthogonal",
    keep_mean: KeepMean = False,
    renorm: Renorm = "none",
    scale: Scale = "none",
    winsorise: Winsorise = None,
    group_column: GroupColumn = [],  # noqa: B006
    max_rank: MaxRank = 256,
    embedding_column: EmbeddingColumn = [],  # noqa: B006
    id_column: IdColumn = [],  # noqa: B006
    ids: Ids = [],  # noqa: B006
    name: OutputName = [],  # noqa: B006
    fit_items: FitItems = None,
    on_invalid: OnInvalid = Invalid.error,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    no_report: NoReport = False,
    no_item_ids: NoItemIds = False,
    threads: Threads = None,
    memory: Memory = None,
    tmp_dir: TmpDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit, and write every modality again without what they share."""
    from clear_cli.workflow import usecases

    console = Console(as_json=as_json, quiet=quiet)
    inputs = _inputs(modality, embedding_column, id_column, ids, name, group_column)
    options = _options(
        inputs, rank, strength, winsorise, max_rank=max_rank, directions=directions, removal=removal,
        keep_mean=keep_mean, renorm=renorm, scale=scale, on_invalid=on_invalid.value, fit_items=fit_items,
        report=not no_report, item_ids=not no_item_ids,
    )  # fmt: skip
    machine = _machine(threads, memory, tmp_dir, console)
    if dry_run:
        console.result(usecases.plan(inputs, out, options, machine), plan_text)
        return
    _show(usecases.run(inputs, out, options, overwrite=overwrite, machine=machine), console)


@app.command()
def fit(
    modality: Modalities,
    out: Out,
    rank: Rank = [],  # noqa: B006
    strength: Strength = [],  # noqa: B006
    directions: Directions = "covariance",
    removal: Removal = "orthogonal",
    keep_mean: KeepMean = False,
    renorm: Renorm = "none",
    scale: Scale = "none",
    winsorise: Winsorise = None,
    group_column: GroupColumn = [],  # noqa: B006
    max_rank: MaxRank = 256,
    embedding_column: EmbeddingColumn = [],  # noqa: B006
    id_column: IdColumn = [],  # noqa: B006
    ids: Ids = [],  # noqa: B006
    fit_items: FitItems = None,
    on_invalid: OnInvalid = Invalid.error,
    overwrite: Overwrite = False,
    no_report: NoReport = False,
    threads: Threads = None,
    memory: Memory = None,
    tmp_dir: TmpDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit, and write the projector but no embeddings."""
    from clear_cli.workflow import usecases

    console = Console(as_json=as_json, quiet=quiet)
    inputs = _inputs(modality, embedding_column, id_column, ids, [], group_column)
    options = _options(
        inputs, rank, strength, winsorise, max_rank=max_rank, directions=directions, removal=removal,
        keep_mean=keep_mean, renorm=renorm, scale=scale, on_invalid=on_invalid.value, fit_items=fit_items,
        report=not no_report,
    )  # fmt: skip
    machine = _machine(threads, memory, tmp_dir, console)
    _show(usecases.fit(inputs, out, options, overwrite=overwrite, machine=machine), console)


@app.command()
def diagnose(
    modality: Modalities,
    out: AuditOut = None,
    curve: Curve = False,
    rank: Rank = [],  # noqa: B006
    strength: Strength = [],  # noqa: B006
    directions: Directions = "covariance",
    removal: Removal = "orthogonal",
    winsorise: Winsorise = None,
    group_column: GroupColumn = [],  # noqa: B006
    max_rank: MaxRank = 256,
    embedding_column: EmbeddingColumn = [],  # noqa: B006
    id_column: IdColumn = [],  # noqa: B006
    ids: Ids = [],  # noqa: B006
    fit_items: FitItems = None,
    on_invalid: OnInvalid = Invalid.error,
    overwrite: Overwrite = False,
    threads: Threads = None,
    memory: Memory = None,
    tmp_dir: TmpDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say how redundant modalities are, and what removing it would do; write no embeddings."""
    from clear_cli.workflow import usecases

    console = Console(as_json=as_json, quiet=quiet)
    inputs = _inputs(modality, embedding_column, id_column, ids, [], group_column)
    options = _options(
        inputs, rank, strength, winsorise, max_rank=max_rank, directions=directions, removal=removal,
        on_invalid=on_invalid.value, fit_items=fit_items,
    )  # fmt: skip
    machine = _machine(threads, memory, tmp_dir, console)
    _show(usecases.diagnose(inputs, out, options, overlap_curve=curve, overwrite=overwrite, machine=machine), console)


@app.command()
def apply(
    projector: Projector,
    modality: Modalities,
    out: Out,
    rank: OtherRank = [],  # noqa: B006
    strength: OtherStrength = [],  # noqa: B006
    embedding_column: EmbeddingColumn = [],  # noqa: B006
    id_column: IdColumn = [],  # noqa: B006
    ids: Ids = [],  # noqa: B006
    name: OutputName = [],  # noqa: B006
    on_invalid: OnInvalid = Invalid.error,
    overwrite: Overwrite = False,
    no_report: NoReport = False,
    no_item_ids: NoItemIds = False,
    threads: Threads = None,
    memory: Memory = None,
    tmp_dir: TmpDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Project new items with a projector that was fitted before."""
    from clear_cli.config import PerModality, read_number, read_rank
    from clear_cli.rank import RankRule
    from clear_cli.workflow import usecases

    console = Console(as_json=as_json, quiet=quiet)
    inputs = _inputs(modality, embedding_column, id_column, ids, name)
    names = [one.modality for one in inputs]
    ranks: PerModality[RankRule | None] = PerModality.parse(rank, read_rank, None, names, "--rank")
    strengths: PerModality[float | None] = PerModality.parse(strength, read_number, None, names, "--strength")
    published = usecases.apply(
        projector,
        inputs,
        out,
        rank=ranks,
        strength=strengths,
        on_invalid=on_invalid.value,
        report=not no_report,
        item_ids=not no_item_ids,
        overwrite=overwrite,
        machine=_machine(threads, memory, tmp_dir, console),
    )
    _show(published, console)


@app.command()
def report(
    directory: Reported,
    out: ReportOut = None,
    no_item_ids: NoItemIds = False,
    overwrite: OverwriteFile = False,
    as_json: Json = False,
) -> None:
    """Make the report of an output directory again, as a page or as Markdown."""
    from clear_cli.workflow.document import SCHEMA_VERSION
    from clear_cli.workflow.reporting import report as make

    path = make(directory, out, item_ids=not no_item_ids, overwrite=overwrite)
    made = {"schema_version": SCHEMA_VERSION, "command": "report", "out": str(path)}
    Console(as_json=as_json).result(made, lambda value: value["out"])


@app.command()
def inspect(
    path: Inspected,
    embedding_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column, pattern or dataset of the embeddings.")
    ] = None,
    id_column: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column or dataset of the ids.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a file of embeddings or a projector holds."""
    from clear_cli.workflow.inspecting import inspect as look

    Console(as_json=as_json).result(look(path, embedding_column=embedding_column, id_column=id_column), inspect_text)


def _inputs(
    modality: list[str],
    embedding_column: list[str],
    id_column: list[str],
    ids: list[str],
    name: list[str],
    group_column: list[str] | None = None,
) -> list[Input]:
    from clear_cli.config import Input, PerModality

    places = []
    for text in modality:
        one, equals, where = text.partition("=")
        if not equals or not where:
            raise UsageError(f'"{text}" does not say which modality it is', where="-m", fix=f"-m image={text}")
        path, _, inside = where.partition("::")
        places.append((one, place(path), inside or None))
    names = [one for one, _, _ in places]
    nothing: dict[str, Any] = {"plain": None, "modalities": names}
    embedding = PerModality.parse(embedding_column, str, option="--embedding-column", **nothing)
    key = PerModality.parse(id_column, str, option="--id-column", **nothing)
    files = PerModality.parse(ids, place, option="--ids", **nothing)
    outputs = PerModality.parse(name, str, option="--name", **nothing)
    groups = PerModality.parse(group_column or [], str, option="--group-column", **nothing)
    return [
        Input(one, path, inside or embedding[one], key[one], files[one], outputs[one], groups[one])
        for one, path, inside in places
    ]


def _options(
    inputs: list[Input], rank: list[str], strength: list[str], winsorise: str | None, **others: Any
) -> FitOptions:
    from clear_cli.config import FitOptions, PerModality, read_rank, read_share, read_strength
    from clear_cli.rank import DEFAULT_RANK

    names = [one.modality for one in inputs]
    return FitOptions(
        rank=PerModality.parse(rank, read_rank, DEFAULT_RANK, names, "--rank"),
        strength=PerModality.parse(strength, read_strength, 1.0, names, "--strength"),
        winsorise=None if winsorise is None else read_share(winsorise, "--winsorise"),
        **others,
    )


def _machine(threads: int | None, memory: str | None, tmp_dir: Path | None, console: Console) -> Machine:
    from clear_cli.machine import Machine, read_size

    size = None if memory is None else read_size(memory)
    given: dict[str, Any] = {"threads": threads, "memory": size, "tmp_dir": tmp_dir}
    machine = Machine(progress=console, **{key: value for key, value in given.items() if value is not None})
    tempfile.tempdir = str(machine.tmp_dir)  # also for those who make scratch files and do not know the machine
    return machine


def _show(published: Published, console: Console) -> None:
    out, diagnostics = published.out, published.diagnostics
    console.result(
        {
            "schema_version": diagnostics["schema_version"],
            "command": published.manifest["command"],
            "up_to_date": published.current,
            "out": None if out is None else str(out),
            "outputs": []
            if out is None
            else [str(out / name) for name in (*published.manifest["outputs"], "manifest.json")],
            "modalities": diagnostics["modalities"],
            "pairs": diagnostics["pairs"],
            "warnings": diagnostics["warnings"],
        },
        published_text,
    )
    console.warnings(diagnostics["warnings"])
