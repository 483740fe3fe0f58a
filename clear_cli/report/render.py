"""The report and the comparison as files: a page that needs nothing else, and Markdown.

Everything that comes from data is escaped.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from clear_cli import __version__
from clear_cli.report import pictures, tables, verdict, words
from clear_cli.report.comparison import Comparison
from clear_cli.report.model import Report
from clear_cli.report.pair_pictures import of_pair
from clear_cli.report.pairs import Pair
from clear_cli.report.pictures import Picture

TEMPLATES = Path(__file__).parent / "templates"
DRAWN, DRAWN_OF_MORE = 6, 4
"""Pairs, modalities and spectra with pictures, and of more than that: a page stays small, others have tables."""


@dataclass(frozen=True)
class Drawn:
    """A picture and its SVG."""

    picture: Picture
    svg: Markup


def html(report: Report) -> str:
    """The report as a page that loads nothing and runs nothing."""
    shown = DRAWN if len(report.pairs) <= DRAWN else DRAWN_OF_MORE
    spectra = pictures.spectra(report.modalities)[:shown]
    drawn = [(one.title, two) for i, one in enumerate(spectra) for two in _drawn(pictures.of_spectrum(one), f"s{i}")]
    return _template("report.html.j2").render(
        report=report,
        shown=shown,
        spectra=spectra,
        spectrum_pictures=sorted(drawn, key=lambda one: one[1].picture.kind == "energy"),  # those of a kind together
        pairs=[
            (pair, found, _drawn(_of_pair(report, pair), f"p{i}") if i < shown else [])
            for i, (pair, found) in enumerate(zip(report.pairs, report.verdicts, strict=True))
        ],
        modalities=[
            (one, _drawn(pictures.of_modality(one), f"m{i}") if i < shown else [])
            for i, one in enumerate(report.modalities)
        ],
    )


def markdown(report: Report) -> str:
    """The report as Markdown: its words and tables, without pictures."""
    return _tidy(_template("report.md.j2").render(report=report))


def comparison_html(comparison: Comparison) -> str:
    """Runs side by side, as a page that loads nothing and runs nothing."""
    return _template("comparison.html.j2").render(comparison=comparison, version=__version__)


def comparison_markdown(comparison: Comparison) -> str:
    """Runs side by side, as Markdown."""
    return _tidy(_template("comparison.md.j2").render(comparison=comparison))


def encoded(text: str) -> bytes:
    """The bytes of a file; an id may hold what is no character."""
    return text.encode("utf-8", "backslashreplace")


def _tidy(text: str) -> str:
    """Markdown with one empty line where templates leave several."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _of_pair(report: Report, pair: Pair) -> Iterable[Picture]:
    return of_pair(pair, tuple(one for one in report.modalities if one.name in pair.modalities))


def _drawn(found: Iterable[Picture], key: str) -> list[Drawn]:
    with _silenced("matplotlib"):
        from clear_cli.report.plots import drawn  # slow to import, and Markdown does without

        # Matplotlib escapes the text inside.
        return [Drawn(one, Markup(drawn(one, f"{key}-{one.kind}"))) for one in found]


@contextmanager
def _silenced(library: str) -> Iterator[None]:
    """Without the log of a library, which tells of its caches and fonts."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _template(name: str) -> Template:
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
    return environment.get_template(name)


def _markdown(text: Any) -> Markup:
    """Text that Markdown, and the HTML that it becomes, show as it is: on one line, with no sign that means more."""
    line = " ".join(str(text).split())
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        line = line.replace(sign, entity)
    return Markup(re.sub(r"([\\`*_{}\[\]|~])", r"\\\1", line))


def _size(count: int) -> str:
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << power:
            return f"{count / (1 << power):.1f} {unit}"
    return f"{count} bytes"


def _width(share: float | None) -> str:
    return f"{100 * min(max(share or 0.0, 0.0), 1.0):.1f}%"
