"""Figures as SVG elements, whose colours are CSS variables of the page and whose letters are those of the page.

Matplotlib is slow to import, so this module is imported where a page is made and nowhere else. Figures are made without
pyplot, which would keep them, and the same data gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from io import StringIO
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

WIDTH, HEIGHT, DPI = 340, 224, 72

# Stand-ins, which become variables of the page: matplotlib knows nothing of these.
COLOURS = {
    "ink": "#010203",
    "muted": "#040506",
    "grid": "#070809",
    "before": "#0a0b0c",
    "after": "#0d0e0f",
    "chance": "#101112",
    "mark": "#131415",
    "card": "#161718",
}
INK, MUTED, GRID, BEFORE, AFTER, CHANCE, MARK, CARD = COLOURS.values()

STYLE: Any = {
    "svg.fonttype": "none",
    "path.simplify": False,
    "text.parse_math": False,
    "font.size": 11,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "text.color": MUTED,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.linewidth": 1,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "axes.titlecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def svg(draw: Callable[[Figure], None], key: str) -> str:
    """What is drawn on a figure, as an SVG element.

    Args:
        draw: Draws it.
        key: Keeps the names inside it apart from those in other elements of a page.
    """
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever the user's own settings are
        mpl.rcParams.update(STYLE)
        mpl.rcParams["svg.hashsalt"] = key
        figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI)
        draw(figure)
        out = StringIO()
        canvas: Any = FigureCanvasSVG(figure)  # its methods have no types
        canvas.print_svg(out, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _inline(out.getvalue())


def _inline(text: str) -> str:
    """An SVG file as an element of a page: no prolog, no style of its own, no names that nothing refers to."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"<svg [^>]*>", f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">', text, count=1)
    used = set(re.findall(r"#([\w-]+)[\")]", text))
    text = re.sub(r' id="([\w.-]+)"', lambda found: found[0] if found[1] in used else "", text)
    for name, stand_in in COLOURS.items():
        text = text.replace(stand_in, f"var(--{name})")
    text = re.sub(r" ?font-family: [^;\"]*;?", "", text)
    text = re.sub(r'="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), text)
    text = re.sub(r' transform="rotate\(-?0 [^"]*"|<g/>|xlink:(?=href)', "", text)
    text = re.sub(r"M (\S+) (\S+) L \1 \2 ", r"M\1 \2h0", text)
    return re.sub(r"\s*\n\s*", " ", text).replace("> <", "><").strip()
