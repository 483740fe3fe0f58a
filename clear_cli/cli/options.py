"""The options of the commands: what each is called, what it takes, and what its help says.

First every option by itself, then groups of options that several commands share: a command that takes a group has all
its options (see `command`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from clear_cli.cli.configfile import take
from clear_cli.remote import file_at, place

NONE: list[str] = []
"""Nothing given of an option that may be repeated."""


def _share(value: Any) -> float:
    from clear_cli.values import read_share

    return read_share(value, "--winsorise")


Modalities = Annotated[
    list[str],
    typer.Option(
        "-m",
        "--modality",
        metavar="NAME=PATH[::COLUMN]",
        help="Embeddings of one modality; give one for each. COLUMN (or dataset, or member) where there are several.",
    ),
]
Out = Annotated[
    Path, typer.Option("--out", "-o", parser=place, metavar="DIR", help="Directory to write; must not exist yet.")
]
AuditOut = Annotated[
    Path | None,
    typer.Option("--out", "-o", parser=place, metavar="DIR", help="Directory to write the figures to. Default: none."),
]
Curve = Annotated[
    bool,
    typer.Option(
        "--curve/--no-curve", help="Measure the neighbour overlap, too, at every rank and strength of the curve."
    ),
]
Rank = Annotated[
    list[str],
    typer.Option(
        metavar="[NAME=]K",
        help="Shared directions to remove: auto (as many as stand out from chance), a number, or a percentage of the "
        "shared energy. Default: auto.",
    ),
]
Strength = Annotated[
    list[str],
    typer.Option(
        metavar="[NAME=]S",
        help="How much of each direction to remove: 0 to 1, or soft (each just down to its chance level). Default: 1.",
    ),
]
OtherRank = Annotated[
    list[str], typer.Option("--rank", metavar="[NAME=]K", help="Another number of directions. Default: as fitted.")
]
OtherStrength = Annotated[
    list[str], typer.Option("--strength", metavar="[NAME=]S", help="Another strength, 0 to 1. Default: as fitted.")
]
Directions = Annotated[
    str,
    typer.Option(
        metavar="covariance|correlation",
        help="What is shared most: in variance, or in correlation, which also finds directions of low variance.",
    ),
]
Removal = Annotated[
    str,
    typer.Option(
        metavar="orthogonal|oblique",
        help="How it is removed: by projection, or with the least change of the rows that takes the same information.",
    ),
]
KeepMean = Annotated[bool, typer.Option("--keep-mean/--no-keep-mean", help="Leave the column means as they are.")]
Renorm = Annotated[
    str,
    typer.Option(metavar="none|original|unit", help="The norm that each row is given after the projection."),
]
Scale = Annotated[
    str,
    typer.Option(
        metavar="none|rms",
        help="rms: multiply each modality by one factor, so that all have the root-mean-square row norm 1 before.",
    ),
]
Winsorise = Annotated[
    float | None,
    typer.Option(
        parser=_share,
        metavar="PERCENT",
        help="For the fit alone, draw rows that are farther out than this share of all in to that distance, as in 99%.",
    ),
]
GroupColumn = Annotated[
    list[str],
    typer.Option(
        metavar="NAME=COLUMN",
        help="Column of one modality whose equal values keep items together when figures are held out.",
    ),
]
MaxRank = Annotated[
    int, typer.Option(min=0, help="Directions kept in the projector, so that the rank can be changed when applying.")
]
EmbeddingColumn = Annotated[
    list[str],
    typer.Option(metavar="[NAME=]COLUMN", help="Column, pattern of wide columns (emb_*) or dataset of the embeddings."),
]
IdColumn = Annotated[list[str], typer.Option(metavar="[NAME=]COLUMN", help="Column or dataset of the item ids.")]
Ids = Annotated[
    list[str],
    typer.Option(
        metavar="NAME=FILE",
        help="Item ids of NPY or NPZ: a file with one per line, or an NPY array; for shards also a folder of Parquet.",
    ),
]
OutputName = Annotated[
    list[str], typer.Option("--name", metavar="NAME=FILE", help="File name in the output, where two inputs share one.")
]
FitItems = Annotated[
    Path | None,
    typer.Option(parser=place, metavar="FILE", help="Item ids to fit on, one per line; all rows are projected."),
]
OnInvalid = Annotated[
    str,
    typer.Option(
        metavar="error|keep",
        help="Rows with NaN or infinity: stop, or leave them out of the fit and pass them through.",
    ),
]
MomentsOut = Annotated[
    Path | None,
    typer.Option(
        parser=file_at("--moments-out", "fit.moments"),
        metavar="FILE",
        help="File to keep what the fit rests on, which merge adds to that of other items.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite/--no-overwrite", help="Replace the output of an earlier run, once done.")
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume/--no-resume",
        help="Keep finished part files if stopped, and go on from those that were kept before.",
    ),
]
Gates = Annotated[
    list[str],
    typer.Option(
        "--gate",
        metavar="CONDITION",
        help="Exit with 5 unless this holds, as in 'leftover_heldout<=0.1' or 'image.variance_kept>=0.5'. Repeatable.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read headers and ids, say what would be done, write nothing.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads for arithmetic. Default: what the machine grants.")]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="Memory to use, as in 4GiB. Default: half of what the machine or its cgroup has."
    ),
]
Report = Annotated[
    bool,
    typer.Option(
        "--report/--no-report",
        help="Measure what the projection itself does not need, too, for a report and items.parquet.",
    ),
]
ItemIds = Annotated[
    bool,
    typer.Option("--item-ids/--no-item-ids", help="Name items by their ids in the report, and not only by their rows."),
]
TmpDir = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for scratch files.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only the result, warnings and errors.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say each step, and the value of each option and where it comes from.")
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        parser=place,
        metavar="FILE",
        is_eager=True,
        callback=take,
        help="Options from a TOML file (see clear-cli config --example), or those of an earlier output from its "
        "manifest.json. Each may be a variable, too, as in CLEAR_RANK=16.",
    ),
]
MomentsFiles = Annotated[
    list[Path], typer.Argument(parser=place, metavar="MOMENTS", help="Files that fit --moments-out or merge wrote.")
]
ProjectorOut = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        parser=file_at("--out", "projector.safetensors"),
        metavar="FILE",
        help="File to write the projector to.",
    ),
]
Projector = Annotated[
    Path, typer.Argument(parser=place, metavar="PROJECTOR", help="A projector, or the output directory that holds it.")
]
Reported = Annotated[
    Path, typer.Argument(parser=place, metavar="DIR", help="An output directory of run, fit, apply or diagnose.")
]
ReportOut = Annotated[
    Path | None,
    typer.Option("--out", "-o", parser=place, metavar="FILE", help="A page or Markdown. Default: report.html, here."),
]
OverwriteFile = Annotated[bool, typer.Option("--overwrite", help="Replace the file if there is one.")]
Inspected = Annotated[
    Path, typer.Argument(parser=place, metavar="PATH", help="A file of embeddings, a folder of parts, or a projector.")
]


@dataclass(frozen=True)
class Sources:
    """Where the embeddings are, and what their rows may be."""

    modality: Modalities
    embedding_column: EmbeddingColumn = field(default_factory=list)
    id_column: IdColumn = field(default_factory=list)
    ids: Ids = field(default_factory=list)
    on_invalid: OnInvalid = "error"


@dataclass(frozen=True)
class Solving:
    """What is shared, and how much of it is removed."""

    rank: Rank = field(default_factory=list)
    strength: Strength = field(default_factory=list)
    directions: Directions = "covariance"
    removal: Removal = "orthogonal"
    max_rank: MaxRank = 256


@dataclass(frozen=True)
class Finishing:
    """What else the projection does to the rows."""

    keep_mean: KeepMean = False
    renorm: Renorm = "none"
    scale: Scale = "none"


@dataclass(frozen=True)
class Fitted:
    """Which rows the fit rests on."""

    fit_items: FitItems = None
    winsorise: Winsorise = None


@dataclass(frozen=True)
class Means:
    """What the work may use."""

    threads: Threads = None
    memory: Memory = None
    tmp_dir: TmpDir = None


@dataclass(frozen=True)
class Voice:
    """What is said where."""

    as_json: Json = False
    quiet: Quiet = False
    verbose: Verbose = False


@dataclass(frozen=True)
class Talk(Voice):
    """What is said where, and where options come from."""

    config: Config = None
