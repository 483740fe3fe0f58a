"""A comparison of runs as it is read on a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from clear_cli.cli.texts import ascii_of, columns
from clear_cli.report.comparison import Comparison, Line


def comparison_text(comparison: Comparison) -> str:
    """A column for each run; what differs has a star."""
    nothing = [""] * len(comparison.runs)
    rows = _rows(comparison.about + comparison.parameters)
    for one in comparison.pairs + comparison.modalities:
        rows += [["", *nothing], [one.title, *nothing], *_rows(one.lines)]
    lines = [line.rstrip() for line in columns(["* differs", *comparison.runs], rows)]
    return "\n".join([*lines, *(["", *comparison.notes] if comparison.notes else [])])


def _rows(lines: Iterable[Line]) -> list[list[str]]:
    labelled = ((f"{'*' if one.differs else ' '} {one.label}", *one.texts) for one in lines)
    return [[ascii_of(cell) for cell in row] for row in labelled]
