"""The tables of the report: figures of a pair and of a modality, as text in cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clear_cli.report.modalities import Item, Modality
from clear_cli.report.pairs import Estimate, Pair, Sample
from clear_cli.report.words import MISSING, change, count, interval, number, percent, strength

HELD_OUT = "held out"
KEPT = "variance kept"


@dataclass(frozen=True)
class Table:
    """Cells by row; the first of each row is its header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def pair_figures(pair: Pair) -> Table:
    """Every figure of a pair before, after and by chance."""
    of = "new items" if pair.new_items else "fit"
    rows: list[tuple[str, ...]] = [(f"Leftover, {of}", "100%", percent(pair.leftover_fit), MISSING)]
    if pair.leftover is not None:
        after = interval(pair.leftover, shown="percent")
        rows.insert(0, (f"Leftover, {HELD_OUT}", "100%", after, percent(pair.leftover.chance)))
    rows.append(("Shared covariance over its chance level", number(pair.over_chance), MISSING, "1"))
    note = ""
    if pair.sample is not None:
        rows += _sample_rows(pair, pair.sample)
        note = f"All figures are of the {pair.items:,} items that both have."
        if pair.sample.items < pair.items:
            note = (
                f"Leftover and covariance are of all {pair.items:,} items that both have, the rest is of a sample "
                f"of {pair.sample.items:,}."
            )
    return Table(("figure", "before", "after", "by chance"), tuple(rows), note)


def _sample_rows(pair: Pair, sample: Sample) -> Iterable[tuple[str, ...]]:
    a, b = pair.modalities
    before, after = sample.held_out
    yield _held_out("Strongest canonical correlation", before.top, after.top)
    yield _held_out("Mean of the leading canonical correlations", before.mean, after.mean)
    for side, (of, by) in enumerate(((b, a), (a, b))):
        yield _held_out(f"Share of {of} that is linear in {by} (R²)", before.r2[side], after.r2[side])
    yield ("Strongest canonical correlation, fit", *change(sample.top))
    significant = sample.significant
    yield ("Significant canonical correlations, fit", count(significant.before), count(significant.after), MISSING)
    yield ("RV, plain (linear CKA)", *change(sample.rv))
    yield ("RV, debiased", *change(sample.rv_debiased)[:2], "0")
    yield (f"Overlap of {sample.overlap.neighbours} nearest neighbours", *change(sample.overlap.change))
    for name, found in zip(pair.modalities, sample.effective_rank, strict=True):
        yield (f"Effective rank of {name}", *change(found))


def _held_out(label: str, before: Estimate | None, after: Estimate | None) -> tuple[str, ...]:
    chance = None if before is None else before.chance
    return f"{label}, {HELD_OUT}", interval(before), interval(after), number(chance)


STATUSES = {
    "used": "used in the fit",
    "incomplete": "incomplete: projected, not in the fit",
    "excluded": "excluded: projected, not in the fit",
    "placeholder": "placeholder: projected, not in the fit",
    "new": "new: projected by an earlier fit",
    "missing": "missing: left as they were",
    "non_finite": "not finite: left as they were",
}


def statuses(modality: Modality) -> Table:
    """Rows by what became of them: each row has one status."""
    counts = sorted(((n, status) for status, n in modality.statuses.items() if n), key=lambda one: -one[0])
    rows = [(STATUSES.get(status, status), count(n), percent(n / max(modality.rows, 1))) for n, status in counts]
    rows.append(("all rows", count(sum(n for n, _ in counts)), percent(1.0)))
    lost = " (the shared signal is lost)" if modality.changed else ""
    among = {f"without another modality{lost}": modality.alone, "all zeros afterwards": modality.zeroed}
    notes = [f"Projected, but {what}: {count(n)}." for what, n in among.items() if n]
    return Table(("status", "rows", "share"), tuple(rows), " ".join(notes))


def affected(items: tuple[Item, ...]) -> Table:
    """Rows by the share of their energy that is removed."""
    named = any(one.item_id is not None for one in items)
    header = ("item", "row", "energy removed")[not named :]
    cells = ((one.item_id or MISSING, str(one.row), percent(one.removed)) for one in items)
    return Table(header, tuple(one if named else one[1:] for one in cells))


def modality_figures(modality: Modality) -> Table:
    """Every figure of a modality."""
    before, after, _ = change(modality.row_norm)
    rows = [
        ("Rows", count(modality.rows)),
        ("Dimensions", str(modality.dim)),
        ("Type", modality.dtype),
        ("Directions removed", str(modality.removed_rank)),
        ("Significant directions", count(modality.significant)),
        ("Effective number of directions", number(modality.effective)),
        ("Shared energy in what is removed", percent(modality.energy_at_rank if modality.changed else 0.0)),
        ("Variance kept", percent(modality.variance_kept)),
        ("Mean row norm", f"{before} → {after}" if modality.row_norm.before is not None else MISSING),
        ("Mean squared distance moved", number(modality.distortion)),
    ]
    if modality.drift is not None:
        drift = modality.drift
        rows += [
            ("Drift of the mean, in standard deviations", number(drift.mean_shift)),
            ("Variance inside what is removed, new over fitted", number(drift.variance_ratio)),
        ]
    return Table(("figure", "value"), _known(rows))


def summary(modalities: Sequence[Modality]) -> Table:
    """What was removed from each modality, and what it cost; of new items, how far they are from those of the fit."""
    drifts = [one.drift for one in modalities]
    columns = {
        "modality": [one.name for one in modalities],
        "directions removed": [str(one.removed_rank) for one in modalities],
        "significant": [count(one.significant) for one in modalities],
        "strength": [strength(one.strength) for one in modalities],
        KEPT: [percent(one.variance_kept) for one in modalities],
        "drift": [MISSING if one is None else f"{number(one.mean_shift)} sd" for one in drifts],
        "variance, new over fitted": [MISSING if one is None else number(one.variance_ratio) for one in drifts],
    }
    known = {name: cells for name, cells in columns.items() if set(cells) != {MISSING}}
    notes = []
    if "significant" in known:
        notes.append("Significant directions stand out from chance.")
        if len(modalities) > 2:
            notes.append("Directions are those that a modality shares with all others together.")
    if "drift" in known:
        notes.append("Drift is how far the mean of these rows is from that of the fit, inside the removed directions.")
    return Table(tuple(known), tuple(zip(*known.values(), strict=True)), " ".join(notes))


def ranks(modalities: Sequence[Modality]) -> Table:
    """The ways to count shared directions, side by side."""
    rows = (
        ("Removed", *(str(one.removed_rank) for one in modalities)),
        ("Significant", *(count(one.significant) for one in modalities)),
        ("Effective number", *(number(one.effective) for one in modalities)),
        ("Dimensions", *(str(one.dim) for one in modalities)),
    )
    return Table(("", *(one.name for one in modalities)), _known(rows))


def _known(rows: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """The rows that have any figure."""
    return tuple(row for row in rows if any(cell != MISSING for cell in row[1:]))
