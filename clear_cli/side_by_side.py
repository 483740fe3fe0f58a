"""A comparison of runs as it is read on a terminal."""

from __future__ import annotations

from clear_cli.console import columns
from clear_cli.report.comparison import Comparison

_ASCII = str.maketrans({"→": "->", "±": "+-", "–": "-", "−": "-", "²": "2"})


def comparison_text(comparison: Comparison) -> str:
    """A column for each run; what differs has a star."""
    sections = [("", comparison.about + comparison.parameters), *((one.title, one.lines) for one in comparison.pairs)]
    sections += [(one.title, one.lines) for one in comparison.modalities]
    rows = [
        row
        for title, lines in sections
        for row in (
            *([[""] * (len(comparison.runs) + 1), [title, *[""] * len(comparison.runs)]] if title else []),
            *(
                [
                    f"{'*' if one.differs else ' '} {one.label}".translate(_ASCII),
                    *(x.translate(_ASCII) for x in one.texts),
                ]
                for one in lines
            ),
        )
    ]
    lines = [line.rstrip() for line in columns(["* differs", *comparison.runs], rows)]
    return "\n".join([*lines, *(["", *comparison.notes] if comparison.notes else [])])
