"""Results as text: what each command prints where it is not asked for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clear_cli.report.words import percent

_ASCII = str.maketrans({"→": "->", "±": "+-", "–": "-", "−": "-", "²": "2"})
_UNKNOWN = "-"


def published_text(value: Mapping[str, Any]) -> str:
    """The summary of run, fit and apply: what was found, what was removed, where it is."""
    lines = []
    if value["up_to_date"]:
        lines.append("up to date: same inputs, parameters and version")
    if value["pairs"]:
        lines += columns(
            *_known(
                [
                    "shared by",
                    "items",
                    "leftover (chance)",
                    "top canonical r",
                    "RV, debiased",
                    "neighbour overlap (chance)",
                ],
                [_pair_row(pair) for pair in value["pairs"]],
            )
        )
        lines.append("")
    lines += columns(
        *_known(
            ["modality", "rows", "usable", "dim", "rank (significant)", "strength", "energy at rank", "variance kept"],
            [_modality_row(name, one) for name, one in value["modalities"].items()],
        )
    )
    return "\n".join([*lines, "", *value["outputs"]])


def _known(header: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Without the columns that a command knows nothing of: `fit` counts no rows, and new items have no sample."""
    shown = [i for i in range(len(header)) if any(row[i] != _UNKNOWN for row in rows)]
    return [header[i] for i in shown], [[row[i] for i in shown] for row in rows]


def _pair_row(pair: Mapping[str, Any]) -> list[str]:
    cells = [" + ".join(pair["modalities"]), f"{pair['items']:,}", _leftover(pair["leftover"])]
    sample = pair.get("sample")
    if sample is None:
        return [*cells, *[_UNKNOWN] * 3]
    overlap = sample["neighbour_overlap"]
    return [
        *cells,
        _change(sample["canonical_correlation_top"]),
        _change(sample["cka_debiased"]),
        f"{_change(overlap)} ({_figure(overlap['chance'])})",
    ]


def _leftover(figures: Mapping[str, Any]) -> str:
    """Held out with its chance level where that is known, else of the fit, else of new items."""
    held = figures.get("held_out")
    if held and held["value"] is not None:
        return f"{_figure(held['value'])} ({_figure(held['chance'])})"
    return _figure(figures.get("fit_algebraic", figures.get("new_items_algebraic")))


def _modality_row(name: str, one: Mapping[str, Any]) -> list[str]:
    statuses = one.get("rows_by_status")
    kept = one.get("variance_kept", one.get("variance_kept_sample"))
    unusable = sum(statuses[status] for status in ("missing", "placeholder", "non_finite")) if statuses else None
    return [
        name,
        f"{one['rows']:,}",
        _UNKNOWN if unusable is None else f"{one['rows'] - unusable:,}",
        str(one["dim"]),
        str(one["rank"]) if one.get("significant_rank") is None else f"{one['rank']} ({one['significant_rank']})",
        _strength(one),
        ascii_of(percent(one["energy_at_rank"])),
        ascii_of(percent(kept)),
    ]


def merged_text(value: Mapping[str, Any]) -> str:
    """The summary of merge: what was added up, what is removed, where it is."""
    lines = columns(
        ["shared by", "items", "files", "in several files"],
        [
            [" + ".join(pair["modalities"]), f"{pair['items']:,}", str(pair["files"]), _overlap(pair["overlap"])]
            for pair in value["pairs"]
        ],
    )
    lines.append("")
    lines += columns(
        ["modality", "rows", "dim", "rank", "strength", "energy at rank"],
        [
            [
                name,
                f"{one['rows']:,}",
                str(one["dim"]),
                str(one["rank"]),
                _strength(one),
                ascii_of(percent(one["energy_at_rank"])),
            ]
            for name, one in value["modalities"].items()
        ],
    )
    return "\n".join([*lines, "", *value["outputs"]])


def _overlap(overlap: Mapping[str, Any] | None) -> str:
    return "-" if overlap is None else f"{overlap['shared']:,} of {overlap['sampled']:,} sampled"


def _strength(one: Mapping[str, Any]) -> str:
    return "soft" if one["strength"] is None else f"{one['strength']:g}"


def plan_text(value: Mapping[str, Any]) -> str:
    """What a dry run found."""
    lines = columns(
        ["modality", "rows", "dim", "dtype", "container"],
        [
            [name, f"{one['rows']:,}", str(one["dim"]), one["dtype"], one["container"]]
            for name, one in value["modalities"].items()
        ],
    )
    lines.append("")
    lines += [f"{' + '.join(pair['modalities'])}: {pair['shared_items']:,} items in both" for pair in value["pairs"]]
    if value["output_exists"]:
        lines.append("the output exists: the same run again is up to date, another one needs --overwrite")
    granted, needed, kept = (f"{value['memory'][key] / 2**20:,.0f} MiB" for key in ("granted", "needed", "kept"))
    lines.append(f"memory: {granted} granted, about {needed} needed, {kept} to keep rows in")
    return "\n".join([*lines, "would write:", *(f"  {path}" for path in value["outputs"])])


def gates_text(value: Mapping[str, Any]) -> str:
    """What became of each gate."""
    rows = [
        [
            one["gate"]["text"],
            one["place"] or "-",
            "-" if one["value"] is None else f"{one['value']:.4g}",
            "passed" if one["passed"] else "FAILED",
        ]
        for one in value["gates"]
    ]
    return "\n".join(columns(["gate", "of", "value", ""], rows))


def inspect_text(value: Mapping[str, Any]) -> str:
    """What is in a file, as indented names and values."""
    return "\n".join(_outline({key: one for key, one in value.items() if key not in ("schema_version", "command")}, ""))


def _outline(value: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    for key, one in value.items():
        label = f"{indent}{key.replace('_', ' ')}:"
        if isinstance(one, Mapping):
            lines += [label, *_outline(one, indent + "  ")]
        else:
            lines.append(f"{label} {_value(one)}")
    return lines


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value, value)) if value else "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "none" if value is None else str(value)


def _figure(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.3f}"


def _change(figures: Mapping[str, Any]) -> str:
    return f"{_figure(figures['before'])} -> {_figure(figures['after'])}"


def ascii_of(text: str) -> str:
    """Text of the report as any terminal can show it."""
    return text.translate(_ASCII)


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell; the first is flush left, the others flush right. No box to grep around."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (header, *rows)
    ]
