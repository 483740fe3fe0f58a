"""What the diagnostics document says of one modality, typed, with what is missing as None or empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clear_cli.report.pairs import Change, Document, Number, number_of, numbers_of

LONGEST = 80
"""Characters shown of an item id."""


@dataclass(frozen=True)
class Histogram:
    """Rows between edges; `after` is empty where there is only one series."""

    edges: tuple[float, ...]
    before: tuple[float, ...]
    after: tuple[float, ...] = ()

    @classmethod
    def of(cls, found: Document | None, before: str, after: str | None = None) -> Histogram:
        """From `edges` and the rows under these keys; empty where they do not fit together."""
        edges, *series = (numbers_of((found or {}).get(key)) for key in ("edges", before, after) if key is not None)
        whole = all(len(one) == len(edges) - 1 for one in series)
        return cls(edges, *series) if whole else cls((), ())


@dataclass(frozen=True)
class Item:
    """A row at an end of the scale of what was removed."""

    item_id: str | None
    row: int
    removed: Number


@dataclass(frozen=True)
class Drift:
    """How far new rows are from those of the fit, inside the removed directions; cleaned rows were projected before."""

    rows: int
    mean_shift: float
    variance_ratio: float
    cleaned: bool


@dataclass(frozen=True)
class Modality:
    """One modality; figures of rows are None or empty where none were written."""

    name: str
    rows: int
    dim: int
    dtype: str
    rank: int
    strength: Number
    significant: int | None
    effective: Number
    energy_at_rank: Number
    spectrum: tuple[float, ...]
    energy: tuple[float, ...]
    chance: tuple[tuple[float, ...], tuple[float, ...]]
    variance_kept: Number
    statuses: Mapping[str, int]
    alone: int
    zeroed: int
    row_norm: Change
    distortion: Number
    norms: Histogram
    removed: Histogram
    most: tuple[Item, ...]
    least: tuple[Item, ...]
    drift: Drift | None

    @property
    def changed(self) -> bool:
        """Whether anything is removed from it."""
        return self.rank > 0 and self.strength != 0

    @property
    def removed_rank(self) -> int:
        """Directions that are removed: none at strength 0, whatever the rank."""
        return self.rank if self.changed else 0

    @classmethod
    def of(cls, name: str, found: Document, kept: Number, *, item_ids: bool) -> Modality:
        """From `modalities.<name>`; `kept` is the variance kept in a sample, for want of that of all rows."""
        chance, bins = found.get("chance") or {}, found.get("histograms") or {}
        written = number_of(found.get("variance_kept"))
        return cls(
            name=name,
            rows=int(found["rows"]),
            dim=int(found["dim"]),
            dtype=str(found.get("dtype") or "unknown type"),
            rank=int(found["rank"]),
            strength=number_of(found.get("strength")),
            significant=None if found.get("significant_rank") is None else int(found["significant_rank"]),
            effective=number_of(found.get("effective_shared_rank")),
            energy_at_rank=number_of(found.get("energy_at_rank")),
            spectrum=numbers_of(found.get("spectrum")),
            energy=numbers_of(found.get("cumulative_energy")),
            chance=(numbers_of(chance.get("median")), numbers_of(chance.get("high"))),
            variance_kept=kept if written is None else written,
            statuses={key: int(rows or 0) for key, rows in sorted((found.get("rows_by_status") or {}).items())},
            alone=int(found.get("rows_without_other_modality") or 0),
            zeroed=int(found.get("rows_zeroed") or 0),
            row_norm=Change.of(found.get("row_norm_mean")),
            distortion=number_of(found.get("mean_squared_distortion")),
            norms=Histogram.of(bins.get("row_norm"), "before", "after"),
            removed=Histogram.of(bins.get("removed"), "rows"),
            most=tuple(_item(one, item_ids) for one in found.get("most_affected") or ()),
            least=tuple(_item(one, item_ids) for one in found.get("least_affected") or ()),
            drift=_drift(found.get("drift")),
        )


def _drift(found: Document | None) -> Drift | None:
    if not found or found.get("mean_shift") is None or found.get("variance_ratio") is None:
        return None
    shift, variance = float(found["mean_shift"]), float(found["variance_ratio"])
    return Drift(int(found["rows"]), shift, variance, bool(found.get("cleaned", False)))


def _item(found: Document, item_ids: bool) -> Item:
    named = item_ids and found.get("item_id") is not None
    text = str(found["item_id"]) if named else None
    if text is not None and len(text) > LONGEST:
        text = text[:LONGEST] + "…"
    return Item(text, int(found["row"]), number_of(found.get("removed")))
