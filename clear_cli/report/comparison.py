"""Runs side by side as one typed object, which the terminal, JSON, the page and Markdown render.

A line is one figure of all runs. Where a run has no such figure its value is None; where runs have it and do not say
the same, the line differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePath
from typing import Any

from clear_cli.errors import DataError
from clear_cli.report.caveats import caveats
from clear_cli.report.modalities import Modality
from clear_cli.report.model import Report
from clear_cli.report.pairs import Change, Estimate, Number, Pair
from clear_cli.report.words import MISSING, count, number, strength

Names = tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """A figure or a parameter of all runs, in their order.

    Attributes:
        name: As machines read it: that of a gate where there is one.
        label: As people read it.
        values: Numbers, texts, `Change`s or `Estimate`s; None where a run has none.
        texts: The same in words.
        share: The values are shares of a whole, which bars show.
    """

    name: str
    label: str
    values: tuple[Any, ...]
    texts: tuple[str, ...]
    share: bool = False

    @property
    def differs(self) -> bool:
        """Whether the runs that have it do not say the same."""
        return len(set(self.texts) - {MISSING}) > 1

    @property
    def known(self) -> bool:
        """Whether any run has it."""
        return set(self.texts) != {MISSING}

    @property
    def bars(self) -> tuple[tuple[Number, Number] | None, ...]:
        """By run how long its bar is and where chance has its mark; None for no bar."""
        return tuple(_bar(one) if self.share and one is not None else None for one in self.values)


@dataclass(frozen=True)
class Section:
    """What all runs say of one modality, or of two."""

    modalities: Names
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """The names."""
        return " + ".join(self.modalities)


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        runs: What they are called here.
        about: What was done, and whether to ship it.
        parameters: Those in which they differ; the version is one.
        pairs: Of each pair of modalities that two runs have.
        modalities: Of each modality that two runs have.
        notes: Where they cannot be compared, and why.
    """

    runs: Names
    about: tuple[Line, ...]
    parameters: tuple[Line, ...]
    pairs: tuple[Section, ...]
    modalities: tuple[Section, ...]
    notes: Names

    @classmethod
    def of(cls, paths: Sequence[str], reports: Sequence[Report]) -> Comparison:
        """From what each output says of itself.

        Args:
            paths: Where they are, as it was given.
            reports: What they say.

        Raises:
            DataError: No modality is in two of them.
        """
        runs = _named(paths)
        names = list(dict.fromkeys(name for report in reports for name in report.names))
        if not any(sum(name in report.names for report in reports) > 1 for name in names):
            held = (f"{run}: {', '.join(report.names)}" for run, report in zip(runs, reports, strict=True))
            raise DataError(
                "the outputs have no modality in common",
                modalities="; ".join(held),
                fix="give the same modality the same name (-m NAME=PATH)",
            )
        pairs: dict[frozenset[str], Names] = {}
        for pair in (pair for report in reports for pair in report.pairs):
            pairs.setdefault(frozenset(pair.modalities), pair.modalities)
        return cls(
            runs=runs,
            about=tuple(_about(reports)),
            parameters=tuple(_parameters(reports)),
            pairs=_sections((pair, _pair_lines(pair, reports)) for pair in pairs.values()),
            modalities=_sections(((name,), _modality_lines(name, reports)) for name in names),
            notes=tuple(caveats(runs, reports, names, list(pairs.values()))),
        )

    def document(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "runs": list(self.runs),
            "about": _figures(self.about),
            "parameters": _figures(self.parameters),
            "pairs": [{"modalities": list(one.modalities), "figures": _figures(one.lines)} for one in self.pairs],
            "modalities": {one.title: {"figures": _figures(one.lines)} for one in self.modalities},
            "notes": list(self.notes),
        }


def _figures(lines: Iterable[Line]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return vars(value) if isinstance(value, Change | Estimate) else value

    return {one.name: {"values": list(map(plain, one.values)), "differs": one.differs} for one in lines}


def _named(paths: Sequence[str]) -> Names:
    """Paths as they were given; of absolute ones, without the folders that all have in common. No two are the same."""
    parts = [PurePath(path).parts for path in paths]
    folders = zip(*(one[:-1] for one in parts), strict=False)
    common = len(list(takewhile(lambda same: len(set(same)) == 1, folders))) if all(map(_absolute, paths)) else 0
    names = ["/".join(one[common:]) if common else path for path, one in zip(paths, parts, strict=True)]
    # A run that is given twice, or one that is called by the name of its folder and one that lies in it.
    called: list[str] = []
    for name in names:
        numbered = (f"{name} ({i})" for i in range(1, 2 * len(names) + 1))
        free = (one for one in numbered if one not in called and one not in names)
        called.append(next(free) if names.count(name) > 1 else name)
    return tuple(called)


def _absolute(path: str) -> bool:
    return PurePath(path).is_absolute() or "://" in path


def _line(name: str, label: str, values: Iterable[Any], write: Callable[[Any], str], *, share: bool = False) -> Line:
    kept = tuple(values)
    return Line(name, label, kept, tuple(MISSING if one is None else write(one) for one in kept), share)


def _about(reports: Sequence[Report]) -> Iterator[Line]:
    yield _line("command", "Command", (one.command or None for one in reports), str)
    yield _line("advice", "Advice", (str(one.recommendation.advice) for one in reports), str)


def _parameters(reports: Sequence[Report]) -> Iterator[Line]:
    others = sorted({name for report in reports for name in report.parameters})
    lines = [
        _line("version", "Version", (one.version or None for one in reports), str),
        *(
            _line(name, name.replace("_", " ").capitalize(), (one.parameters.get(name) for one in reports), str)
            for name in others
        ),
    ]
    yield from (one for one in lines if one.differs)


def _pair_lines(names: Names, reports: Sequence[Report]) -> Iterator[Line]:
    found = [next((one for one in report.pairs if set(one.modalities) == set(names)), None) for report in reports]

    def each(of: Callable[[Pair], Any]) -> list[Any]:
        return [None if pair is None else of(pair) for pair in found]

    def sampled(of: Callable[[Any], Any]) -> list[Any]:
        return each(lambda pair: None if pair.sample is None else of(pair.sample))

    yield _line("complete_items", "Items in both", each(lambda pair: pair.items), count)
    yield _line("leftover_heldout", "Leftover, held out", each(lambda pair: pair.leftover), _spread, share=True)
    left_by_chance = each(lambda pair: pair.leftover and pair.leftover.chance)
    yield _line("leftover_chance", "Leftover by chance", left_by_chance, _number)
    for name, label, new in (
        ("leftover_fit", "Leftover, fit", False),
        ("leftover_new_items", "Leftover, new items", True),
    ):
        values = [one and one.leftover_fit if one is None or one.new_items == new else None for one in found]
        yield _line(name, label, values, _number)
    yield _line("cka_debiased", "RV, debiased", sampled(lambda one: _change(one.rv_debiased)), _arrow)
    yield _line("rv", "RV, plain", sampled(lambda one: _change(one.rv)), _arrow)
    top = sampled(lambda one: _held_out(*(side.top for side in one.held_out)))
    yield _line("canonical_correlation_heldout", "Strongest canonical correlation, held out", top, _arrow)
    for of, by in ((names[1], names[0]), names):
        # R² of the second modality is first, in whatever order a run has the two.
        r2 = [
            None
            if pair is None or pair.sample is None
            else _held_out(*(side.r2[pair.modalities.index(by)] for side in pair.sample.held_out))
            for pair in found
        ]
        yield _line(f"{of}.linear_r2_heldout", f"R² of {of} from {by}, held out", r2, _arrow)
    yield _line("neighbour_overlap", "Neighbour overlap", sampled(lambda one: _change(one.overlap.change)), _arrow)


def _modality_lines(name: str, reports: Sequence[Report]) -> Iterator[Line]:
    found = [next((one for one in report.modalities if one.name == name), None) for report in reports]

    def each(of: Callable[[Modality], Any]) -> list[Any]:
        return [None if one is None else of(one) for one in found]

    yield _line("rows", "Rows", each(lambda one: one.rows), count)
    yield _line("rank", "Rank", each(lambda one: one.rank), count)
    yield _line("significant_rank", "Significant directions", each(lambda one: one.significant), count)
    # None is soft, where the modality is there.
    strengths = each(lambda one: "soft" if one.strength is None else one.strength)
    yield _line("strength", "Strength", strengths, lambda one: one if isinstance(one, str) else strength(one))
    yield _line("variance_kept", "Variance kept", each(lambda one: one.variance_kept), _number, share=True)
    yield _line("mean_squared_distortion", "Mean squared distance moved", each(lambda one: one.distortion), number)
    yield _line("row_norm_mean", "Mean row norm", each(lambda one: _change(one.row_norm)), _arrow)


def _sections(found: Iterable[tuple[Names, Iterable[Line]]]) -> tuple[Section, ...]:
    """Those that more than one run has, without the lines that none has."""
    sections = (Section(names, tuple(one for one in lines if one.known)) for names, lines in found)
    return tuple(one for one in sections if sum(value is not None for value in one.lines[0].values) > 1)


def _bar(value: Estimate | float) -> tuple[Number, Number]:
    return (value.value, value.chance) if isinstance(value, Estimate) else (value, None)


def _change(found: Change) -> Change | None:
    return None if found.before is None and found.after is None else found


def _held_out(before: Estimate | None, after: Estimate | None) -> Change | None:
    if before is None or after is None:
        return None
    return Change(before.value, after.value, before.chance)


def _number(value: Number) -> str:
    return number(value, 3)


def _spread(found: Estimate) -> str:
    value = _number(found.value)
    return value if found.high is None or found.value is None else f"{value} ± {_number(found.high - found.value)}"


def _arrow(found: Change) -> str:
    return f"{_number(found.before)} → {_number(found.after)}"
