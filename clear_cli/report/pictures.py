"""The pictures of the report, but for the drawing: what each shows, in words for those who do not see it, and as numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import pstdev
from typing import Any

from clear_cli.report.modalities import Histogram, Modality
from clear_cli.report.pairs import CurvePoint, Pair, Points, Sample
from clear_cli.report.tables import Table
from clear_cli.report.words import count, interval, listed, number, percent, strength

ROWS = 16
"""Rows of the table under a picture."""

DIRECTIONS = 24
BINS = 24


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        kind: The function in `plots` that draws it.
        data: What that is given.
        title: Above it.
        alt: The same in words.
        legend: Colour and meaning of its series; a colour is the name of a CSS variable.
        table: The numbers.
        note: Below it.
    """

    kind: str
    data: tuple[Any, ...]
    title: str
    alt: str
    legend: tuple[tuple[str, str], ...]
    table: Table
    note: str = ""


@dataclass(frozen=True)
class Spectrum:
    """The spectrum of one modality, or of two that have one in common, relative to the largest value."""

    modalities: tuple[Modality, ...]
    values: tuple[float, ...]
    energy: tuple[float, ...]
    median: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def title(self) -> str:
        """Whose it is."""
        return " + ".join(one.name for one in self.modalities)

    @property
    def shown(self) -> int:
        """Directions to show: those that matter, and as many again."""
        marks = [one.rank for one in self.modalities] + [one.significant or 0 for one in self.modalities]
        return min(len(self.values), max(2 * max(marks), DIRECTIONS))


def spectra(modalities: Iterable[Modality]) -> list[Spectrum]:
    """The spectra, those that are equal once; none of a modality that shares nothing."""
    groups: dict[tuple[float, ...], list[Modality]] = {}
    for modality in modalities:
        if modality.spectrum and modality.spectrum[0] > 0:
            groups.setdefault(modality.spectrum, []).append(modality)
    return [
        Spectrum(
            tuple(group),
            *(tuple(one / values[0] for one in line) for line in (values,)),
            group[0].energy,
            *(tuple(one / values[0] for one in line) for line in group[0].chance),
        )
        for values, group in groups.items()
    ]


def spectrum(found: Spectrum) -> Iterable[Picture]:
    """How much is shared by each direction, and by all up to it."""
    removed = listed([f"{one.rank} removed from {one.name}" for one in found.modalities])
    tested = [one for one in found.modalities if one.significant is not None]
    stand = f"{tested[0].significant} stand out from chance; " if tested else ""
    cells = [
        (str(i + 1), number(found.values[i]), number(_at(found.median, i)), number(_at(found.high, i)))
        for i in range(min(found.shown, ROWS))
    ]
    legend = [("after", "shared by the direction")]
    legend += [("chance", "chance: median to 95th percentile")] if found.high else []
    legend += [("mark", f"rank: {removed}")]
    yield Picture(
        "spectrum", (found,), "Spectrum",
        f"Spectrum of {found.title}: {len(found.values)} directions, {stand}{removed}.",
        tuple(legend),
        Table(("direction", "value / largest", "chance, median", "chance, 95%"), tuple(cells), _first(found.shown)),
    )  # fmt: skip
    if found.energy:
        at = listed([f"{percent(_at(found.energy, one.rank - 1) if one.rank else 0.0)} at rank {one.rank}" for one in found.modalities])
        energy = tuple((str(i + 1), percent(one)) for i, one in enumerate(found.energy[: min(found.shown, ROWS)]))
        yield Picture(
            "energy", (found,), "Cumulative energy", f"Shared energy of {found.title} up to each direction: {at}.",
            (("after", "energy up to the direction"), ("mark", at)),
            Table(("direction", "energy"), energy, _first(found.shown)),
        )  # fmt: skip


def of_pair(pair: Pair, sides: tuple[Modality, ...]) -> Iterable[Picture]:
    """The pictures of a pair, those that there are figures for."""
    if pair.sample is not None and pair.sample.curves.before:
        yield _correlations(pair, pair.sample)
    if pair.heatmap[0] and pair.heatmap[1]:
        yield _heatmap(pair)
    if any(point.leftover is not None for point in pair.curve):
        yield _curve(pair, sides)
    if pair.sample is not None:
        shown = [(name, *points) for name, points in pair.sample.scatter.items() if points[0] and points[1]]
        if shown:
            yield _scatter(pair, shown)
        if any(one is not None for held in pair.sample.held_out for one in held.r2):
            yield _told(pair, pair.sample)
        if pair.sample.overlap.change.before is not None:
            yield _overlap(pair, pair.sample)


def _correlations(pair: Pair, sample: Sample) -> Picture:
    lines = sample.curves
    series = (lines.held_out_before, lines.held_out_after, lines.before, lines.after, lines.chance)
    cells = tuple(
        (str(i + 1), *(number(_at(one, i)) for one in series)) for i in range(min(len(lines.before), ROWS))
    )
    held = ""
    if lines.held_out_before and lines.held_out_after:
        held = f", held out {number(lines.held_out_before[0])} and {number(lines.held_out_after[0])}"
    return Picture(
        "correlations", (lines,), "Canonical correlations",
        f"Canonical correlations of {pair.title}: the strongest is {number(sample.top.before)} before and "
        f"{number(sample.top.after)} after in the fit{held}; by chance {number(sample.top.chance)} in the fit.",
        (("before", "before"), ("after", "after"), ("chance", "chance, fit")),
        Table(("direction", "before, held out", "after, held out", "before, fit", "after, fit", "chance, fit"), cells, _first(len(lines.before))),
        "Thick lines are held out, thin ones are of the fit, which flatters itself.",
    )  # fmt: skip


def _heatmap(pair: Pair) -> Picture:
    before, after = pair.heatmap
    largest = max((abs(one) for row in before for one in row), default=0.0) or 1.0
    loudest = max((abs(one) for row in after for one in row), default=0.0) / largest
    diagonal = tuple(
        (str(i + 1), number(before[i][i] / largest), number(after[i][i] / largest)) for i in range(min(len(before), 8))
    )
    a, b = pair.modalities
    return Picture(
        "heatmap", (pair,), "Cross-covariance",
        f"Cross-covariance of the leading {len(before)} shared directions of {a} and {b}, before and after: "
        f"the largest entry after is {percent(loudest)} of the largest before.",
        (("positive", "positive"), ("negative", "negative")),
        Table(("direction", "before / largest", "after / largest"), diagonal, "The diagonal: equal directions of both."),
        f"Rows: directions of {a}. Columns: directions of {b}.",
    )  # fmt: skip


def _curve(pair: Pair, sides: tuple[Modality, ...]) -> Picture:
    ranks = sorted({point.rank for point in pair.curve})
    strengths = sorted({point.strength for point in pair.curve})
    by = {(point.rank, point.strength): point for point in pair.curve}
    header = ("rank", *(f"left at {strength(one)}" for one in strengths), *(f"kept, {one}" for one in pair.modalities))
    cells = []
    for rank in ranks:
        full = by.get((rank, strengths[-1]))
        left = (by[rank, one].leftover if (rank, one) in by else None for one in strengths)
        cells.append((str(rank), *map(percent, left), *map(percent, full.kept if full else (None, None))))
    rank = max((one.rank for one in sides), default=0)
    kept = min((one.variance_kept for one in sides if one.variance_kept is not None), default=None)
    chosen = CurvePoint(rank, 1.0, pair.leftover_fit, (kept, kept)) if rank else None
    return Picture(
        "curve", (pair, chosen), "Other ranks and strengths",
        f"Shared signal left in the fit of {pair.title}, and variance kept, by rank and strength; chosen: rank {rank}, "
        f"which leaves {percent(pair.leftover_fit)} and keeps {percent(kept)} of the variance of the modality that loses most.",
        (("after", "strength " + " ".join(strength(one) for one in strengths) + ", light to dark"), ("mark", "chosen")),
        Table(header, tuple(cells), f"Variance kept is at strength {strength(strengths[-1])}."),
        "Variance kept is that of the modality that loses most.",
    )  # fmt: skip


def _scatter(pair: Pair, shown: list[tuple[str, Points, Points]]) -> Picture:
    cells = []
    for name, before, after in shown:
        for axis in range(len(before[0])):
            spread = pstdev([row[axis] for row in before])
            left = pstdev([row[axis] for row in after]) / spread if spread else None
            cells.append((name, str(axis + 1), percent(left)))
    words = listed([f"{left} of the spread of {name} along direction {axis}" for name, axis, left in cells])
    return Picture(
        "scatter", (tuple(shown),), "Items in the shared directions",
        f"Items in the first two shared directions before and after. After, there is {words}.",
        (("before", "before"), ("after", "after")),
        Table(("modality", "direction", "spread left"), tuple(cells)),
        "One dot for each of up to 250 sampled items; removed directions put all items on one line or point.",
    )  # fmt: skip


def _told(pair: Pair, sample: Sample) -> Picture:
    a, b = pair.modalities
    rows = tuple(
        (label, sample.held_out[0].r2[side], sample.held_out[1].r2[side])
        for side, label in enumerate((f"{b} from {a}", f"{a} from {b}"))
    )
    cells = tuple(
        (label, interval(before, shown="percent"), interval(after, shown="percent"), percent(before.chance if before else None))
        for label, before, after in rows
    )
    told = listed([f"{label} {percent(before and before.value)} before, {percent(after and after.value)} after" for label, before, after in rows])
    return Picture(
        "told", (rows,), "What one tells of the other",
        f"Share of the variance of one modality that is linear in the other, held out: {told}.",
        (("before", "before"), ("after", "after"), ("chance", "chance")),
        Table(("R², held out", "before", "after", "by chance"), cells),
        "Below 0, a prediction is worse than the mean.",
    )  # fmt: skip


def _overlap(pair: Pair, sample: Sample) -> Picture:
    found = sample.overlap
    values = (("before", found.change.before), ("after", found.change.after), ("chance", found.change.chance))
    text = listed([f"{number(value)} {'by chance' if label == 'chance' else label}" for label, value in values])
    return Picture(
        "overlap", (values,), "Common neighbours",
        f"Overlap of the {found.neighbours} nearest neighbours of an item in {pair.modalities[0]} and in {pair.modalities[1]}: {text}.",
        (("before", "before"), ("after", "after"), ("chance", "chance")),
        Table(("", "overlap (Jaccard)"), tuple((label, number(value)) for label, value in values)),
        f"Of the {found.neighbours} nearest by cosine, over {found.items:,} items.",
    )  # fmt: skip


def of_modality(modality: Modality) -> Iterable[Picture]:
    """The histograms of a modality, where rows were written."""
    norms, removed = coarser(modality.norms), modality.removed
    if norms.before:
        cells = tuple(
            (f"{low:.3g} to {high:.3g}", count(before), count(after))
            for low, high, before, after in zip(norms.edges, norms.edges[1:], norms.before, norms.after, strict=False)
        )
        yield Picture(
            "norms", (norms,), "Row norms",
            f"Row norms of {modality.name}: on average {number(modality.row_norm.before)} before and "
            f"{number(modality.row_norm.after)} after.",
            (("before", "before"), ("after", "after")),
            Table(("norm", "before", "after"), cells),
        )  # fmt: skip
    if removed.before:
        rows = [(percent(low), percent(high), n) for low, high, n in zip(removed.edges, removed.edges[1:], removed.before, strict=False)]
        kept = [i for i, (_, _, n) in enumerate(rows) if n]
        cells_removed = tuple((f"{low} to {high}", count(n)) for low, high, n in rows[kept[0] : kept[-1] + 1]) if kept else ()
        yield Picture(
            "removed", (removed,), "Share removed of each row",
            f"Share of its energy that each row of {modality.name} loses: {_extent(rows, kept)}.",
            (("after", "rows"),),
            Table(("removed", "rows"), cells_removed),
        )  # fmt: skip


def _extent(rows: list[tuple[str, str, float]], kept: list[int]) -> str:
    if not kept:
        return "no usable rows"
    peak = max(kept, key=lambda i: rows[i][2])
    return f"from {rows[kept[0]][0]} to {rows[kept[-1]][1]}, most often {rows[peak][0]} to {rows[peak][1]}"


def coarser(found: Histogram) -> Histogram:
    """The same rows in at most `BINS` bins."""
    step = -(-len(found.before) // BINS) or 1

    def merged(rows: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sum(rows[i : i + step]) for i in range(0, len(rows), step))

    edges = found.edges[:-1:step] + found.edges[-1:]
    return Histogram(edges, merged(found.before), merged(found.after))


def _at(values: tuple[float, ...], i: int) -> float | None:
    return values[i] if 0 <= i < len(values) else None


def _first(shown: int) -> str:
    return f"The first {ROWS} directions." if shown > ROWS else ""
