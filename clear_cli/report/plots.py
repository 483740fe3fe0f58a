"""The drawing of the pictures. As slow to import as matplotlib: only where a page is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator, NullLocator

from clear_cli.report.modalities import Histogram
from clear_cli.report.pairs import CurvePoint, Curves, Estimate, Pair, Points
from clear_cli.report.pictures import Picture, Spectrum
from clear_cli.report.svg import AFTER, BEFORE, CARD, CHANCE, GRID, HEIGHT, INK, MARK, WIDTH, svg

POSITIVE, NEGATIVE = (0.16, 0.45, 0.80), (0.85, 0.42, 0.12)
FLOOR = 1e-3
"""What is below this share of the largest is drawn there."""


def drawn(picture: Picture, key: str) -> str:
    """A picture as an SVG element; the key keeps the names inside it apart from those of other pictures."""
    return svg(lambda figure: DRAW[picture.kind](figure, *picture.data), key)


def _axes(figure: Figure, left: float, right: float, *, top: float = 12, bottom: float = 38) -> Axes:
    """Axes between two edges, in points."""
    axes: Axes = figure.add_axes(
        (left / WIDTH, bottom / HEIGHT, (right - left) / WIDTH, (HEIGHT - top - bottom) / HEIGHT)
    )
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.spines["left"].set_visible(False)
    return axes


def _halves(figure: Figure, left: float = 38, **margins: float) -> tuple[Axes, Axes]:
    middle = (left + WIDTH - 8) / 2
    return _axes(figure, left, middle - 13, **margins), _axes(figure, middle + 13, WIDTH - 8, **margins)


def _logarithmic(axis: Axis, ticks: Sequence[float], base: int = 10) -> None:
    """A logarithmic scale with these ticks and no other."""
    scale = axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale
    scale("log", base=base)
    axis.set_minor_locator(NullLocator())
    axis.set_ticks(ticks, [f"{one:.3g}" for one in ticks])


def _dots(axes: Axes, at: Any, colour: str, size: float, alpha: float = 1.0) -> None:
    """Dots as one path of lines without length and with round ends: a tenth of the bytes of markers."""
    points = np.repeat(np.unique(np.asarray(at, dtype=float).round(3), axis=0), 2, axis=0)
    codes = np.tile([Path.MOVETO, Path.LINETO], len(points) // 2)
    patch = PathPatch(
        Path(points, codes), fill=False, edgecolor=colour, linewidth=size, capstyle="round", alpha=alpha, zorder=3
    )
    axes.add_patch(patch)


def _percent(value: float, _: float) -> str:
    """The label of a tick, which lies where it says, but for the rounding that may put 0 below itself."""
    return f"{value:z.0%}".replace("-", "−")


def _percent_axis(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(_percent)


def _ranks(axes: Axes, found: Spectrum) -> None:
    for rank in sorted({one.rank for one in found.modalities}):
        axes.axvline(rank + 0.5, color=MARK, linewidth=1.2)


def _directions(axes: Axes, shown: int) -> None:
    axes.set_xlim(0.5, shown + 0.5)
    step = next(one for one in (1, 5, 10, 20, 50, 100, 200, 500) if shown <= 6 * one or one == 500)
    axes.set_xticks([1, *range(step if step > 1 else 2, shown + 1, step)])
    axes.set_xlabel("direction")


def _spectrum(figure: Figure, found: Spectrum) -> None:
    axes = _axes(figure, 38, WIDTH - 8)
    x = np.arange(1, found.shown + 1)
    values = np.maximum(found.values[: found.shown], FLOOR)
    known = min(len(found.median), len(found.high), found.shown)
    if known:
        median, high = (np.maximum(one[:known], FLOOR) for one in (found.median, found.high))
        axes.fill_between(x[:known], median, high, color=CHANCE, alpha=0.45, linewidth=0)
        axes.plot(x[:known], high, color=CHANCE, linewidth=1, linestyle=(0, (3, 2)))
    axes.plot(x, values, color=AFTER, linewidth=1.6)
    _ranks(axes, found)
    low = max(float(values.min()) * 0.7, FLOOR)
    _logarithmic(axes.yaxis, [one for one in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1) if one >= low])
    axes.set_ylim(low, 1.3)
    _directions(axes, found.shown)


def _energy(figure: Figure, found: Spectrum) -> None:
    axes = _axes(figure, 38, WIDTH - 8)
    shown = min(found.shown, len(found.energy))
    axes.fill_between(np.arange(1, shown + 1), found.energy[:shown], color=AFTER, alpha=0.12, linewidth=0)
    axes.plot(np.arange(1, shown + 1), found.energy[:shown], color=AFTER, linewidth=1.6)
    _ranks(axes, found)
    axes.set_ylim(0, 1.03)
    _percent_axis(axes)
    _directions(axes, shown)


def _correlations(figure: Figure, found: Curves) -> None:
    axes = _axes(figure, 38, WIDTH - 8)
    shown = min(len(found.before), 32)
    for line, colour, width in (
        (found.before, BEFORE, 0.8),
        (found.after, AFTER, 0.8),
        (found.held_out_before, BEFORE, 2.2),
        (found.held_out_after, AFTER, 2.2),
    ):
        axes.plot(np.arange(1, len(line[:shown]) + 1), line[:shown], color=colour, linewidth=width)
    chance = found.chance[:shown]
    axes.plot(np.arange(1, len(chance) + 1), chance, color=CHANCE, linewidth=1.2, linestyle=(0, (3, 2)))
    axes.axhline(0, color=GRID, linewidth=1)
    low = min((*found.held_out_before[:shown], *found.held_out_after[:shown], 0.0))
    axes.set_ylim(max(low * 1.1, -1), 1.02)
    _directions(axes, shown)


def _heatmap(figure: Figure, pair: Pair) -> None:
    before, after = (np.array(one) for one in pair.heatmap)
    largest = float(np.abs(before).max(initial=0.0)) or 1.0
    for axes, (title, values) in zip(
        _halves(figure, 26, top=26, bottom=26), (("before", before), ("after", after)), strict=True
    ):
        axes.imshow(_coloured(values / largest), interpolation="none", aspect="auto")
        axes.grid(visible=False)
        axes.spines[:].set_visible(True)
        ticks = sorted({0, len(values) // 2, len(values) - 1})
        axes.set_xticks(ticks, [str(one + 1) for one in ticks])
        axes.set_yticks(ticks, [str(one + 1) for one in ticks])
        axes.set_title(title)
        axes.tick_params(labelleft=title == "before")


def _coloured(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The sign as a hue, the size as opacity, so that nothing is the colour of the page, light or dark."""
    hue = np.where(values[..., None] >= 0, POSITIVE, NEGATIVE)
    return np.concatenate([hue, np.sqrt(np.minimum(np.abs(values), 1.0))[..., None]], axis=-1)


def _curve(figure: Figure, pair: Pair, chosen: CurvePoint | None) -> None:
    left, kept = _halves(figure, top=26)
    strengths = sorted({point.strength for point in pair.curve})
    ranks = sorted({point.rank for point in pair.curve})
    for i, strength in enumerate(strengths):
        line = [point for point in pair.curve if point.strength == strength]
        for axes, values in ((left, [one.leftover for one in line]), (kept, [_least(one) for one in line])):
            y = [np.nan if one is None else one for one in values]
            alpha = (i + 1.5) / (len(strengths) + 0.5)
            axes.plot([one.rank for one in line], y, color=AFTER, linewidth=1.5, alpha=alpha)
    for axes, value, title in (
        (left, chosen and chosen.leftover, "leftover"),
        (kept, chosen and _least(chosen), "variance kept"),
    ):
        if chosen is not None and value is not None:
            _dots(axes, [(chosen.rank, value)], MARK, 8)
        _logarithmic(axes.xaxis, [one for one in (1, 4, 16, 64, 256) if ranks[0] <= one <= ranks[-1]] or ranks, base=2)
        axes.set_xlim(ranks[0] / 1.2, ranks[-1] * 1.2)
        axes.set_ylim(-0.02, 1.03)
        axes.set_title(title)
        axes.set_xlabel("rank")
        _percent_axis(axes)
    kept.tick_params(labelleft=False)


def _least(point: CurvePoint) -> float | None:
    return min((one for one in point.kept if one is not None), default=None)


def _scatter(figure: Figure, shown: tuple[tuple[str, Points, Points], ...]) -> None:
    for axes, (name, before, after) in zip(_halves(figure, 10, top=26, bottom=14), shown, strict=False):
        x, y = (_plane(one) for one in (before, after))
        reach = float(np.abs(np.concatenate([x, y])).max(initial=0.0)) or 1.0
        _dots(axes, x / reach, BEFORE, 2.6, 0.8)
        _dots(axes, y / reach, AFTER, 3.6 if np.abs(y).max(initial=0.0) > reach / 50 else 6.0, 0.9)
        axes.grid(visible=False)
        axes.axhline(0, color=GRID, linewidth=0.6, zorder=0)
        axes.axvline(0, color=GRID, linewidth=0.6, zorder=0)
        axes.spines[:].set_visible(False)
        axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), xticks=[], yticks=[])
        axes.set_title(name)


def _plane(points: Points) -> npt.NDArray[np.float64]:
    """(n, 2) points about their mean; with one direction only, on its line."""
    rows = np.array(points, dtype=float)
    return np.pad((rows - rows.mean(axis=0))[:, :2], ((0, 0), (0, 2 - min(rows.shape[1], 2))))


def _told(figure: Figure, rows: tuple[tuple[str, Estimate | None, Estimate | None], ...]) -> None:
    axes = _axes(figure, 16, WIDTH - 16, top=10)
    for i, (label, before, after) in enumerate(rows):
        y = len(rows) - 1 - i
        box = {"facecolor": CARD, "edgecolor": "none", "pad": 1}
        axes.text(0, y + 0.28, label, color=INK, transform=axes.get_yaxis_transform(), va="bottom", bbox=box)
        for found, colour in ((before, BEFORE), (after, AFTER)):
            if found is None or found.value is None:
                continue
            if found.low is not None and found.high is not None:
                axes.plot([found.low, found.high], [y, y], color=colour, linewidth=2.2, solid_capstyle="round")
            _dots(axes, [(found.value, y)], colour, 9)
        if before is not None and before.chance is not None:
            axes.plot([before.chance] * 2, [y - 0.16, y + 0.16], color=CHANCE, linewidth=1.6)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.axvline(0, color=GRID, linewidth=1.2)
    axes.set(ylim=(-0.5, len(rows) - 0.25), yticks=[])
    axes.margins(x=0.06)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(_percent)
    axes.set_xlabel("variance that is predicted")


def _overlap(figure: Figure, values: tuple[tuple[str, float | None], ...]) -> None:
    axes = _axes(figure, 58, WIDTH - 52, top=8, bottom=12)
    largest = max((value for _, value in values if value is not None), default=0.0) or 1.0
    for i, ((label, value), colour) in enumerate(zip(values, (BEFORE, AFTER, CHANCE), strict=True)):
        y = len(values) - 1 - i
        axes.text(-0.04, y, label, color=INK, transform=axes.get_yaxis_transform(), va="center", ha="right")
        if value is not None:
            axes.barh(y, value, 0.5, color=colour)
            axes.text(value + largest * 0.03, y, f"{value:.3f}", color=INK, va="center")
    axes.grid(visible=False)
    axes.set(xlim=(0, largest), ylim=(-0.6, len(values) - 0.4), xticks=[], yticks=[])
    axes.spines["bottom"].set_visible(False)
    axes.axvline(0, color=GRID, linewidth=1.5)


def _norms(figure: Figure, found: Histogram) -> None:
    axes = _axes(figure, 44, WIDTH - 18)
    edges = np.log10(found.edges)  # of any range, where a logarithmic axis would overflow
    axes.stairs(found.before, edges, color=BEFORE, fill=True, alpha=0.35)
    axes.stairs(found.after, edges, color=AFTER, linewidth=1.8)
    ticks = sorted({0, len(edges) // 2, len(edges) - 1})
    axes.set_xticks(edges[ticks], [f"{found.edges[i]:.3g}" for i in ticks])
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel("norm of a row")
    _counted(axes, max(*found.before, *found.after))


def _removed(figure: Figure, found: Histogram) -> None:
    axes = _axes(figure, 44, WIDTH - 18)
    axes.stairs(found.before, found.edges, color=AFTER, fill=True, alpha=0.8)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(_percent)
    axes.set_xlabel("share of its energy that a row loses")
    _counted(axes, max(found.before))


def _counted(axes: Axes, most: float) -> None:
    axes.set_ylim(0, 1.08 * max(most, 1.0))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value < 10_000 else f"{value / 1000:,.0f}k")


DRAW: dict[str, Callable[..., None]] = {
    "spectrum": _spectrum,
    "energy": _energy,
    "correlations": _correlations,
    "heatmap": _heatmap,
    "curve": _curve,
    "scatter": _scatter,
    "told": _told,
    "overlap": _overlap,
    "norms": _norms,
    "removed": _removed,
}
