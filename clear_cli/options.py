"""The options of the commands: what each is called, what it takes, and what its help says. Defaults are in `cli`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clear_cli.remote import place


class Invalid(StrEnum):
    """What rows with NaN or infinity do."""

    error = "error"
    keep = "keep"


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
    typer.Option("--curve", help="Measure the neighbour overlap, too, at every rank and strength of the curve."),
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
KeepMean = Annotated[bool, typer.Option("--keep-mean", help="Leave the column means as they are.")]
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
    str | None,
    typer.Option(
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
    Invalid, typer.Option(help="Rows with NaN or infinity: stop, or leave them out of the fit and pass them through.")
]
MomentsOut = Annotated[
    Path | None,
    typer.Option(
        parser=place,
        metavar="FILE",
        help="File to keep what the fit rests on, which merge adds to that of other items.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output of an earlier run, once done.")]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Keep finished part files if stopped, and go on from those that were kept before."),
]
Gates = Annotated[
    list[str],
    typer.Option(
        "--gate",
        metavar="CONDITION",
        help="Exit with 5 unless this holds, as in 'leftover_heldout<=0.1' or 'image.variance_kept>=0.5'. Repeatable.",
    ),
]
Checked = Annotated[
    Path, typer.Argument(parser=place, metavar="DIR", help="An output directory, or its diagnostics.json.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read headers and ids, say what would be done, write nothing.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads for arithmetic. Default: what the machine grants.")]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="Memory to use, as in 4GiB. Default: half of what the machine or its cgroup has."
    ),
]
NoReport = Annotated[
    bool,
    typer.Option(
        "--no-report", help="Measure nothing that the projection itself does not need; no report, no items.parquet."
    ),
]
NoItemIds = Annotated[
    bool, typer.Option("--no-item-ids", help="Name no item by its id in the report, only by its row.")
]
TmpDir = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for scratch files.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no hints.")]
MomentsFiles = Annotated[
    list[Path], typer.Argument(parser=place, metavar="MOMENTS", help="Files that fit --moments-out or merge wrote.")
]
ProjectorOut = Annotated[
    Path, typer.Option("--out", "-o", parser=place, metavar="FILE", help="File to write the projector to.")
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
