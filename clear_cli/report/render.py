"""The report as files: one page that needs nothing else, and Markdown. Everything that comes from data is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from clear_cli.report import pictures, tables, verdict, words
from clear_cli.report.model import Report
from clear_cli.report.pairs import Pair

TEMPLATES = Path(__file__).parent / "templates"
DRAWN_PAIRS = 10
"""Pairs with pictures: those beyond have their figures in a table, so that a page stays small."""


@dataclass(frozen=True)
class Drawn:
    """A picture and its SVG."""

    picture: pictures.Picture
    svg: Markup


def html(report: Report) -> str:
    """The report as a page that loads nothing and runs nothing."""
    with_pictures = report.pairs[:DRAWN_PAIRS]
    return _environment().get_template("report.html.j2").render(
        report=report,
        spectra=[(one.title, _drawn(pictures.spectrum(one), f"s{i}")) for i, one in enumerate(pictures.spectra(report.modalities))],
        pairs=[(pair, found, _drawn(_of_pair(report, pair), f"p{i}") if pair in with_pictures else []) for i, (pair, found) in enumerate(zip(report.pairs, report.verdicts, strict=True))],
        modalities=[(one, _drawn(pictures.of_modality(one), f"m{i}")) for i, one in enumerate(report.modalities)],
    )  # fmt: skip


def markdown(report: Report) -> str:
    """The report as Markdown: its words and tables, without pictures."""
    text = _environment().get_template("report.md.j2").render(report=report)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _of_pair(report: Report, pair: Pair) -> Iterable[pictures.Picture]:
    return pictures.of_pair(pair, tuple(one for one in report.modalities if one.name in pair.modalities))


def _drawn(found: Iterable[pictures.Picture], key: str) -> list[Drawn]:
    from clear_cli.report.plots import svg  # slow to import, and Markdown does without

    # Text inside is escaped by matplotlib; names of modalities are the only text that comes from outside.
    return [Drawn(one, Markup(svg(one, f"{key}-{one.kind}"))) for one in found]  # noqa: S704


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": words.number,
        "percent": words.percent,
        "count": words.count,
        "listed": words.listed,
        "strength": words.strength,
        "size": _size,
        "md": _markdown,
    }
    environment.globals |= {"tables": tables, "rules": verdict, "interval": words.interval, "width": _width}
    return environment


def _markdown(text: Any) -> Markup:
    """Text that Markdown, and the HTML that it becomes, show as it is: on one line, with nothing that means anything."""
    line = " ".join(str(text).split())
    return Markup(re.sub(r"([\\`*_{}\[\]#|~!])", r"\\\1", str(escape(line))))  # noqa: S704


def _size(count: int) -> str:
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << power:
            return f"{count / (1 << power):.1f} {unit}"
    return f"{count} bytes"


def _width(share: float | None) -> str:
    return f"{100 * min(max(share or 0.0, 0.0), 1.0):.1f}%"
