"""What the diagnostics document says of pairs of modalities, typed, with what is missing as None.

Documents differ by command (`apply` knows no spectrum of chance, `fit` no rows that were written), by options and by
data, so nothing but the names, sizes and ranks of the modalities is taken for granted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]
Number = float | None
Points = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Estimate:
    """A figure on held-out items: mean over folds, 95 % interval, chance level."""

    value: Number
    low: Number
    high: Number
    chance: Number

    @classmethod
    def of(cls, found: Document | None) -> Estimate | None:
        """From what `spread` wrote; None without a value."""
        if not found or found.get("value") is None:
            return None
        return cls(*(number_of(found.get(key)) for key in ("value", "low", "high", "chance")))


@dataclass(frozen=True)
class Change:
    """A figure before and after, and what it would be by chance before."""

    before: Number
    after: Number
    chance: Number = None

    @classmethod
    def of(cls, found: Document | None, chance: Number = None, side: int | None = None) -> Change:
        """From `{"before": ..., "after": ...}`, whose values are lists where a side is given."""
        found = found or {}
        before, after = (found.get(key) for key in ("before", "after"))
        if side is not None:
            before, after = (None if one is None else one[side] for one in (before, after))
        return cls(number_of(before), number_of(after), number_of(chance))


@dataclass(frozen=True)
class Curves:
    """Canonical correlations in descending order."""

    before: tuple[float, ...]
    after: tuple[float, ...]
    chance: tuple[float, ...]
    held_out_before: tuple[float, ...]
    held_out_after: tuple[float, ...]

    @classmethod
    def of(cls, found: Document, held: Document) -> Curves:
        """From `sample`, and what it holds of held-out items."""
        fit = found.get("canonical_correlations") or {}
        before, after = (numbers_of(fit.get(side)) for side in ("before", "after"))
        held_before, held_after = (numbers_of(held[side].get("canonical_correlations")) for side in ("before", "after"))
        chance = numbers_of(_before(found, "canonical_correlations_chance"))
        # There are no directions beyond those of the fit, and correlations of what has no variance mean nothing.
        return cls(before, after, chance, held_before[: len(before)], held_after[: len(after)])


@dataclass(frozen=True)
class HeldOut:
    """Figures of the sample on held-out items, before or after."""

    top: Estimate | None
    mean: Estimate | None
    r2: tuple[Estimate | None, Estimate | None]

    @classmethod
    def of(cls, found: Document | None) -> HeldOut:
        """From `sample.held_out.before` or `.after`."""
        found = found or {}
        r2 = [Estimate.of(one) for one in found.get("linear_r2") or [None, None]]
        top, mean = (_correlation(found.get(f"canonical_correlation_{one}")) for one in ("top", "mean"))
        return cls(top, mean, (r2[0], r2[1]))


@dataclass(frozen=True)
class Overlap:
    """How many nearest neighbours two modalities have in common, as a mean Jaccard index."""

    change: Change
    neighbours: int
    items: int


@dataclass(frozen=True)
class Sample:
    """What was measured on the sample of a pair; R^2 is of the second modality from the first, then the reverse."""

    items: int
    rv: Change
    rv_debiased: Change
    top: Change
    mean: Change
    significant: Change
    curves: Curves
    held_out: tuple[HeldOut, HeldOut]
    r2: tuple[Change, Change]
    effective_rank: tuple[Change, Change]
    overlap: Overlap
    variance_kept: tuple[Number, Number]
    scatter: Mapping[str, tuple[Points, Points]]

    @classmethod
    def of(cls, found: Document | None) -> Sample | None:
        """From `pairs[].sample`."""
        if not found:
            return None
        held = {side: (found.get("held_out") or {}).get(side) or {} for side in ("before", "after")}
        overlap = found.get("neighbour_overlap") or {}
        kept = found.get("variance_kept") or (None, None)

        def both(key: str) -> tuple[Change, Change]:
            return Change.of(found.get(key), side=0), Change.of(found.get(key), side=1)

        return cls(
            items=int(found.get("items") or 0),
            rv=Change.of(found.get("rv")),
            rv_debiased=Change.of(found.get("cka_debiased")),
            top=Change.of(found.get("canonical_correlation_top"), _before(found, "canonical_correlation_top_chance")),
            mean=Change.of(found.get("canonical_correlation_mean")),
            significant=Change.of(found.get("canonical_correlations_significant")),
            curves=Curves.of(found, held),
            held_out=(HeldOut.of(held["before"]), HeldOut.of(held["after"])),
            r2=both("linear_r2"),
            effective_rank=both("effective_rank"),
            overlap=Overlap(
                Change.of(overlap, overlap.get("chance")),
                int(overlap.get("neighbours") or 0),
                int(overlap.get("items") or 0),
            ),
            variance_kept=(number_of(kept[0]), number_of(kept[1])),
            scatter={
                str(name): (points_of(one.get("before")), points_of(one.get("after")))
                for name, one in sorted((found.get("scatter") or {}).items())
            },
        )


@dataclass(frozen=True)
class CurvePoint:
    """What another rank and strength would leave, and keep of each side."""

    rank: int
    strength: float
    leftover: Number
    kept: tuple[Number, Number]


@dataclass(frozen=True)
class Pair:
    """What two modalities share, and what is left over.

    Attributes:
        leftover: On held-out items.
        leftover_fit: On the items of the fit, or on new items where there was no fit.
        heatmap: The cross-covariance in the leading shared directions before and after; empty where unknown.
    """

    modalities: tuple[str, str]
    items: int
    over_chance: Number
    leftover: Estimate | None
    leftover_fit: Number
    new_items: bool
    heatmap: tuple[Points, Points]
    curve: tuple[CurvePoint, ...]
    sample: Sample | None

    @property
    def title(self) -> str:
        """Both names."""
        return " + ".join(self.modalities)

    @classmethod
    def of(cls, found: Document) -> Pair:
        """From `pairs[]`."""
        left, heat = found.get("leftover") or {}, found.get("heatmap") or {}
        a, b = found["modalities"]
        new = "new_items_algebraic" in left
        return cls(
            modalities=(str(a), str(b)),
            items=int(found["items"]),
            over_chance=number_of(found.get("covariance_over_chance")),
            leftover=Estimate.of(left.get("held_out")),
            leftover_fit=number_of(left.get("new_items_algebraic" if new else "fit_algebraic")),
            new_items=new,
            heatmap=(points_of(heat.get("before")), points_of(heat.get("after"))),
            curve=tuple(_curve_point(one) for one in found.get("curve") or () if one.get("strength")),
            sample=Sample.of(found.get("sample")),
        )


def _correlation(found: Document | None) -> Estimate | None:
    """A correlation; beyond 1 it is of directions without variance, and none."""
    known = Estimate.of(found)
    return known if known is not None and known.value is not None and abs(known.value) <= 1 else None


def _curve_point(found: Document) -> CurvePoint:
    a, b = found.get("variance_kept") or (None, None)
    return CurvePoint(
        int(found["rank"]), float(found["strength"]), number_of(found.get("leftover")), (number_of(a), number_of(b))
    )


def _before(found: Document, key: str) -> Any:
    return (found.get(key) or {}).get("before")


def number_of(value: Any) -> Number:
    """A number, if there is one."""
    return None if value is None else float(value)


def numbers_of(values: Sequence[Any] | None) -> tuple[float, ...]:
    """Numbers up to the first that is missing."""
    known = []
    for value in values or ():
        if value is None:
            break
        known.append(float(value))
    return tuple(known)


def points_of(rows: Sequence[Sequence[Any]] | None) -> Points:
    """Rows of numbers; what is not finite was written as null, and is nothing here."""
    return tuple(tuple(0.0 if one is None else float(one) for one in row) for row in rows or ())
