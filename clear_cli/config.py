"""What a caller decides, resolved and frozen: inputs, parameters, and the means to work with."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from clear_cli.errors import UsageError
from clear_cli.projector import Renorm
from clear_cli.rank import DEFAULT_MAX_RANK, DEFAULT_RANK, RankRule
from clear_cli.remote import is_remote, place
from clear_cli.values import PerModality, Strength, check_choice

OnInvalid = Literal["error", "keep"]
Directions = Literal["covariance", "correlation"]
Removal = Literal["orthogonal", "oblique"]
Scale = Literal["none", "rms"]


def wildcard_root(path: Path) -> Path | None:
    """The folder before the first wildcard of a path; None if it has none, or if there is something of that name."""
    wild = [part for part in (path, *path.parents) if any(sign in part.name for sign in "*?[")]
    return None if not wild or _exists(path) else wild[-1].parent


def _exists(path: Path) -> bool:
    return path.exists() if is_remote(path) else os.path.lexists(path)


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Input:
    """Where the embeddings of one modality are.

    Attributes:
        modality: Its name.
        path: A file, a folder of Parquet parts, or a path with wildcards that match some.
        embedding_column: Column, `emb_*` pattern or dataset; None to find it.
        id_column: Column or dataset; None to find it.
        ids: File of ids for a container that has none.
        name: File name in the output; None for the input's own.
        group_column: Column or dataset whose equal values keep items together when figures are held out.
    """

    modality: str
    path: Path
    embedding_column: str | None = None
    id_column: str | None = None
    ids: Path | None = None
    name: str | None = None
    group_column: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.modality):
            raise UsageError(
                f'"{self.modality}" cannot name a modality',
                flags=["-m"],
                said=self.modality,
                fix="letters, digits, and _ - . after the first character",
            )
        if self.name is not None and (self.name in ("", ".", "..") or Path(self.name).name != self.name):
            raise UsageError(
                f'"{self.name}" is not a file name',
                where="--name",
                said=self.name,
                fix=f"--name {self.modality}={Path(self.name).name}",
            )

    @property
    def base_name(self) -> str:
        """Its file name in the output; for a path with wildcards, that of the folder they start from."""
        root = wildcard_root(self.path) or self.path
        if self.name is not None:
            return self.name
        return root.name if is_remote(root) else Path(os.path.abspath(root)).name  # noqa: PTH100  (a link keeps its name: resolve would follow it)


DETAILS: dict[str, Callable[[Any], Any]] = {
    "embedding_column": str,
    "id_column": str,
    "ids": place,
    "name": str,
    "group_column": str,
}
"""What else may be said of an input, and what reads it."""


def inputs_of(paths: Iterable[tuple[str, Path]], details: Mapping[str, PerModality[Any]]) -> list[Input]:
    """Inputs from the path of each modality, and what is said of all or of some of them. Errors as in `Input`."""
    return [Input(name, path, **{key: one[name] for key, one in details.items()}) for name, path in paths]


@dataclass(frozen=True)
class FitOptions:
    """Parameters of the fit.

    Attributes:
        rank: Shared directions to remove.
        strength: How much of each, 0 to 1; `soft` to shrink each just to its chance level.
        max_rank: Directions kept in the projector.
        directions: Of the largest covariance, or of the largest correlation.
        removal: Orthogonal projection, or the oblique one that changes the rows least.
        keep_mean: Leave the column means as they are.
        renorm: The norm that each row is given after the projection.
        scale: `rms` to give every modality the same root-mean-square row norm, 1 before the projection.
        winsorise: Share of the rows whose norms are taken as they are by the fit; longer rows are shortened to the
            longest of these. None to take all as they are.
        on_invalid: What rows with NaN or infinity do: stop the run, or pass through.
        fit_items: Ids that the fit is restricted to; the projection is not.
        report: Measure, on a sample and on each row, what the projection does, and make a report of it.
        item_ids: Name items by their ids in the report, and not only by their rows.
    """

    rank: PerModality[RankRule] = field(default_factory=lambda: PerModality(DEFAULT_RANK))
    strength: PerModality[Strength] = field(default_factory=lambda: PerModality(1.0))
    max_rank: int = DEFAULT_MAX_RANK
    directions: Directions = "covariance"
    removal: Removal = "orthogonal"
    keep_mean: bool = False
    renorm: Renorm = "none"
    scale: Scale = "none"
    winsorise: float | None = None
    on_invalid: OnInvalid = "error"
    fit_items: Path | None = None
    report: bool = True
    item_ids: bool = True

    def __post_init__(self) -> None:
        if self.max_rank < 0:
            raise UsageError(f"max rank {self.max_rank} is negative", flags=["--max-rank"])
        check_choice(self.on_invalid, OnInvalid, "--on-invalid")
        check_choice(self.directions, Directions, "--directions")
        check_choice(self.removal, Removal, "--removal")
        check_choice(self.renorm, Renorm, "--renorm")
        check_choice(self.scale, Scale, "--scale")
        for problem, fix, *flags in self._contradictions():
            raise UsageError(problem, fix=fix, flags=flags)

    def _contradictions(self) -> Iterator[tuple[str, ...]]:
        """What cannot hold together, the way out, and the options."""
        if self.soft and self.directions == "correlation":
            yield (
                "soft strength shrinks singular values of covariance, not correlations",
                "--directions covariance",
                "--directions",
            )
        if self.soft and self.removal == "oblique":
            yield "soft strength shrinks what an orthogonal removal takes", "--removal orthogonal", "--removal"
        if self.renorm != "none" and self.scale != "none":
            yield (
                "rows that are given a norm cannot also be scaled",
                "--scale none or --renorm none",
                "--scale",
                "--renorm",
            )
        if self.renorm != "none" and self.keep_mean:
            problem, fix = (
                "column means do not stay where rows are given a norm",
                "--renorm none, or without --keep-mean",
            )
            yield problem, fix, "--renorm", "--keep-mean"

    @property
    def soft(self) -> bool:
        """Whether the strength of any modality is."""
        return "soft" in (self.strength.plain, *self.strength.named.values())

    @property
    def tested(self) -> bool:
        """Whether the chance level of the spectrum is needed."""
        rules = (self.rank.plain, *self.rank.named.values())
        return self.report or self.soft or any(rule.automatic for rule in rules)

    @property
    def own(self) -> bool:
        """Whether the covariance of each modality by itself is needed."""
        return self.directions == "correlation" or self.removal == "oblique"


@dataclass(frozen=True)
class ApplyOptions:
    """Parameters of a projection without a fit.

    Attributes:
        on_invalid: What rows with NaN or infinity do: stop the run, or pass through.
        report: Measure what the projection does to each row, and make a report of it.
        item_ids: Name items by their ids in the report, and not only by their rows.
    """

    on_invalid: OnInvalid = "error"
    report: bool = True
    item_ids: bool = True

    def __post_init__(self) -> None:
        check_choice(self.on_invalid, OnInvalid, "--on-invalid")
