"""The pictures of spectra and modalities, but for the drawing: what each shows, in words and as numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from clear_cli.report.modalities import Histogram, Modality
from clear_cli.report.tables import Table
from clear_cli.report.words import count, listed, number, percent

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
    found = []
    for values, group in groups.items():
        relative, median, high = (tuple(one / values[0] for one in line) for line in (values, *group[0].chance))
        found.append(Spectrum(tuple(group), relative, group[0].energy, median, high))
    return found


def of_spectrum(found: Spectrum) -> Iterable[Picture]:
    """How much is shared by each direction, and by all up to it."""
    ranks = ("mark", "rank " + listed([str(one) for one in sorted({one.rank for one in found.modalities})]))
    shown = range(min(found.shown, ROWS))
    tested = [one.significant for one in found.modalities if one.significant is not None]
    stand = f"{tested[0]} significant; " if tested else ""
    removed = listed([f"{one.removed_rank} removed from {one.name}" for one in found.modalities])
    lines = (found.values, found.median, found.high)
    yield Picture(
        "spectrum",
        (found,),
        "Spectrum",
        f"Spectrum of {found.title}: {len(found.values)} directions, {stand}{removed}.",
        (("after", "spectrum"), *((("chance", "chance"),) if found.high else ()), ranks),
        Table(
            ("direction", "value / largest", "chance, median", "chance, 95%"),
            tuple((str(i + 1), *(number(at(line, i)) for line in lines)) for i in shown),
            first(found.shown),
        ),
        "Relative to the largest value." + (" The band is chance: median to 95th percentile." if found.high else ""),
    )
    if not found.energy:
        return
    held = [(one.rank, at(found.energy, one.rank - 1) if one.rank else 0.0) for one in found.modalities]
    energy = listed(list(dict.fromkeys(f"{percent(share)} at rank {rank}" for rank, share in held)))
    yield Picture(
        "energy",
        (found,),
        "Cumulative energy",
        f"Shared energy of {found.title} up to each direction: {energy}.",
        (("after", "energy"), ranks),
        Table(
            ("direction", "energy"),
            tuple((str(i + 1), percent(at(found.energy, i))) for i in shown),
            first(found.shown),
        ),
        f"Squared singular values up to each direction: {energy}.",
    )


def of_modality(modality: Modality) -> Iterable[Picture]:
    """The histograms of a modality, where rows were written."""
    norms = coarser(modality.norms)
    if norms.before:
        bins = zip(norms.edges, norms.edges[1:], norms.before, norms.after, strict=False)
        mean = modality.row_norm
        yield Picture(
            "norms",
            (norms,),
            "Row norms",
            f"Row norms of {modality.name}: on average {number(mean.before)} before and {number(mean.after)} after.",
            (("before", "before"), ("after", "after")),
            Table(
                ("norm", "before", "after"),
                tuple((f"{low:.3g} to {high:.3g}", count(one), count(two)) for low, high, one, two in bins),
            ),
        )
    removed = modality.removed
    if any(removed.before):
        edges = [percent(edge) for edge in removed.edges]
        rows = [(f"{edges[i]} to {edges[i + 1]}", n) for i, n in enumerate(removed.before)]
        filled = [i for i, (_, n) in enumerate(rows) if n]
        most, _ = max(rows, key=lambda row: row[1])
        yield Picture(
            "removed",
            (removed,),
            "Energy removed from each row",
            f"Share of its energy that each row of {modality.name} loses: from {edges[filled[0]]} to "
            f"{edges[filled[-1] + 1]}, most often {most}.",
            (("after", "rows"),),
            Table(("energy removed", "rows"), tuple((bin_, count(n)) for bin_, n in rows[filled[0] : filled[-1] + 1])),
            "Energy: the squared distance of a row from the mean of the fit.",
        )


def coarser(found: Histogram) -> Histogram:
    """The same rows in at most `BINS` bins."""
    step = -(-len(found.before) // BINS) or 1

    def merged(rows: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sum(rows[i : i + step]) for i in range(0, len(rows), step))

    edges = found.edges[:-1:step] + found.edges[-1:]
    return Histogram(edges, merged(found.before), merged(found.after))


def at(values: tuple[float, ...], i: int) -> float | None:
    """The value at a place, if there is one."""
    return values[i] if 0 <= i < len(values) else None


def first(shown: int) -> str:
    """The note of a table that holds not all that is shown."""
    return f"The first {ROWS} directions." if shown > ROWS else ""
