"""The pictures of a pair, but for the drawing: what each shows, in words and as numbers."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import pstdev

from clear_cli.report.modalities import Modality
from clear_cli.report.pairs import CurvePoint, Pair, Points, Sample
from clear_cli.report.pictures import ROWS, Picture, at, first
from clear_cli.report.tables import Table
from clear_cli.report.words import interval, listed, number, percent, strength

SCATTER_ITEMS = 250
DIAGONAL = 8


def of_pair(pair: Pair, sides: tuple[Modality, ...]) -> Iterable[Picture]:
    """The pictures of a pair, those that there are figures for."""
    sample = pair.sample
    if sample is not None and sample.curves.before:
        yield _correlations(pair, sample)
    if pair.heatmap[0] and pair.heatmap[1]:
        yield _heatmap(pair)
    if any(point.leftover is not None for point in pair.curve):
        yield _curve(pair, sides)
    if sample is None:
        return
    shown = [(name, *sample.scatter.get(name, ((), ()))) for name in pair.modalities]
    if all(before and after for _, before, after in shown):
        yield _scatter([(name, before[:SCATTER_ITEMS], after[:SCATTER_ITEMS]) for name, before, after in shown])
    if any(one is not None for held in sample.held_out for one in held.r2):
        yield _told(pair, sample)
    if sample.overlap.change.before is not None:
        yield _overlap(pair, sample)


def _correlations(pair: Pair, sample: Sample) -> Picture:
    lines = sample.curves
    named = {
        "before, held out": lines.held_out_before,
        "after, held out": lines.held_out_after,
        "before, fit": lines.before,
        "after, fit": lines.after,
        "chance, fit": lines.chance,
    }
    rows = range(min(len(lines.before), ROWS))
    first_ones = listed([f"{number(at(line, 0))} {name}" for name, line in named.items()])
    return Picture(
        "correlations",
        (lines,),
        "Canonical correlations",
        f"Canonical correlations of {pair.title} in descending order. The strongest is {first_ones}.",
        (("before", "before"), ("after", "after"), ("chance", "chance, fit")),
        Table(
            ("direction", *named),
            tuple((str(i + 1), *(number(at(line, i)) for line in named.values())) for i in rows),
            first(len(lines.before)),
        ),
        "Thick: held out. Thin: on the items of the fit, which flatters itself.",
    )


def _heatmap(pair: Pair) -> Picture:
    (a, b), (before, after) = pair.modalities, pair.heatmap
    largest = max((abs(one) for row in before for one in row), default=0.0) or 1.0
    left = max((abs(one) for row in after for one in row), default=0.0) / largest
    diagonal = range(min(len(before), len(after), len(before[0]), DIAGONAL))
    return Picture(
        "heatmap",
        (pair,),
        "Cross-covariance",
        f"Cross-covariance of the leading {len(before)} shared directions of {a} and {b}, before and after: the "
        f"largest entry after is {percent(left)} of the largest before.",
        (("positive", "positive"), ("negative", "negative")),
        Table(
            ("direction", "before / largest", "after / largest"),
            tuple((str(i + 1), number(before[i][i] / largest), number(after[i][i] / largest)) for i in diagonal),
            "The diagonal: the same direction of both.",
        ),
        f"Rows: directions of {a}. Columns: of {b}.",
    )


def _curve(pair: Pair, sides: tuple[Modality, ...]) -> Picture:
    strengths = sorted({point.strength for point in pair.curve})
    rank = max((one.rank for one in sides), default=0)
    kept = min((one.variance_kept for one in sides if one.variance_kept is not None), default=None)
    chosen = CurvePoint(rank, 1.0, pair.leftover_fit, (kept, kept)) if rank else None
    return Picture(
        "curve",
        (pair, chosen),
        "Other ranks and strengths",
        f"Leftover of {pair.title} in the fit, and variance kept, by rank and strength. The chosen rank {rank} "
        f"has a leftover of {percent(pair.leftover_fit)} and keeps {percent(kept)} of the variance of what loses most.",
        (("after", "strength " + ", ".join(map(strength, strengths))), ("mark", "chosen")),
        _curve_table(pair, strengths),
        "Leftover in the fit. The stronger, the darker. Variance kept is that of the modality that loses most.",
    )


def _curve_table(pair: Pair, strengths: list[float]) -> Table:
    by = {(point.rank, point.strength): point for point in pair.curve}
    rows = []
    for rank in sorted({point.rank for point in pair.curve}):
        points = [by.get((rank, one)) for one in strengths]
        kept = points[-1].kept if points[-1] is not None else (None, None)
        rows.append((str(rank), *(percent(one.leftover if one else None) for one in points), *map(percent, kept)))
    left, full = [f"leftover at {strength(one)}" for one in strengths], strength(strengths[-1])
    header = ("rank", *left, *(f"{name} kept" for name in pair.modalities))
    return Table(header, tuple(rows), f"Variance kept is at strength {full}.")


def _scatter(shown: list[tuple[str, Points, Points]]) -> Picture:
    rows = []
    for name, before, after in shown:
        for axis in range(len(before[0])):
            spread = pstdev([row[axis] for row in before])
            left = pstdev([row[axis] for row in after]) / spread if spread else None
            rows.append((name, str(axis + 1), percent(left)))
    words = listed([f"{left} along direction {axis} of {name}" for name, axis, left in rows])
    return Picture(
        "scatter",
        (tuple(shown),),
        "Items in the shared directions",
        f"Items in the first two shared directions, before and after. Their spread after is {words}, of that before.",
        (("before", "before"), ("after", "after")),
        Table(("modality", "direction", "spread after / before"), tuple(rows)),
        f"{len(shown[0][1])} sampled items, each modality about its mean: where a direction is removed, they coincide.",
    )


def _told(pair: Pair, sample: Sample) -> Picture:
    a, b = pair.modalities
    before, after = (held.r2 for held in sample.held_out)
    rows = ((f"{b} from {a}", before[0], after[0]), (f"{a} from {b}", before[1], after[1]))
    cells = tuple(
        (label, interval(one, shown="percent"), interval(two, shown="percent"), percent(one.chance if one else None))
        for label, one, two in rows
    )
    words = listed([f"{label} {one} before, {two} after, {chance} by chance" for label, one, two, chance in cells])
    return Picture(
        "told",
        (rows,),
        "What one tells of the other",
        f"Share of the variance of one modality that is linear in the other, held out: {words}.",
        (("before", "before"), ("after", "after"), ("chance", "chance")),
        Table(("R², held out", "before", "after", "by chance"), cells),
        "Held out, with 95% intervals. Below 0 a prediction is worse than the mean.",
    )


def _overlap(pair: Pair, sample: Sample) -> Picture:
    found, (a, b) = sample.overlap, pair.modalities
    values = (("before", found.change.before), ("after", found.change.after), ("chance", found.change.chance))
    words = listed([f"{label} {number(value)}" for label, value in values])
    return Picture(
        "overlap",
        (values,),
        "Common neighbours",
        f"Overlap of the {found.neighbours} nearest neighbours of an item in {a} and of those in {b}: {words}.",
        tuple((label, label) for label, _ in values),
        Table(("", "overlap (Jaccard)"), tuple((label, number(value)) for label, value in values)),
        f"Overlap (Jaccard) of the {found.neighbours} nearest by cosine, over {found.items:,} items.",
    )
