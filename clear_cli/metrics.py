"""What gates may be about: figures of the diagnostics, where these are, and which commands compute them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

from clear_cli import glossary

Document = Mapping[str, Any]

PAIR_METRICS = {
    "leftover_heldout": "leftover.held_out.value",
    "leftover_fit": "leftover.fit_algebraic",
    "leftover_sample": "leftover.sample_as_written",
    "leftover_new_items": "leftover.new_items_algebraic",
    "complete_items": "items",
    "rv": "sample.rv.after",
    "cka_debiased": "sample.cka_debiased.after",
    "canonical_correlation": "sample.canonical_correlation_top.after",
    "canonical_correlation_heldout": "sample.held_out.after.canonical_correlation_top.value",
    "significant_correlations": "sample.canonical_correlations_significant.after",
    "neighbour_overlap": "sample.neighbour_overlap.after",
}
MODALITY_METRICS = {
    "variance_kept": "variance_kept",
    "variance_kept_sample": "variance_kept_sample",
    "rank": "rank",
    "significant_rank": "significant_rank",
    "rows_missing": "rows_by_status.missing",
    "rows_placeholder": "rows_by_status.placeholder",
    "rows_non_finite": "rows_by_status.non_finite",
    "rows_zeroed": "rows_zeroed",
    "mean_squared_distortion": "mean_squared_distortion",
    "drift_mean_shift": "drift.mean_shift",
    "drift_variance_ratio": "drift.variance_ratio",
}
WHOLE_METRICS = {"scale_ratio": "scale_ratio.after"}
"""Of all modalities, where there are several."""
METRICS = (*PAIR_METRICS, *MODALITY_METRICS, *WHOLE_METRICS, "warnings")

_SHARES = glossary.shares()
SHARES = {one for one, path in PAIR_METRICS.items() if f"pairs[].{path}" in _SHARES}
SHARES |= {one for one, path in MODALITY_METRICS.items() if f"modalities.*.{path}" in _SHARES}
"""Those whose whole is 1."""

COMPUTED_BY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("significant_rank", "variance_kept_sample"), ("run", "diagnose", "fit")),
    **dict.fromkeys(PAIR_METRICS, ("run", "diagnose", "fit")),
    "complete_items": ("run", "diagnose", "fit", "apply"),
    **dict.fromkeys(("rows_missing", "rows_placeholder", "rows_non_finite"), ("run", "diagnose", "apply")),
    **dict.fromkeys(("variance_kept", "mean_squared_distortion", "rows_zeroed", "scale_ratio"), ("run", "apply")),
    **dict.fromkeys(("leftover_new_items", "drift_mean_shift", "drift_variance_ratio"), ("apply",)),
}
"""The commands that compute a figure, where not all of them do."""

_COUNTED = {"rank", "rows_missing", "rows_placeholder", "rows_non_finite", "rows_zeroed", "warnings"}
WITHOUT_REPORT = {"run": _COUNTED | {"leftover_fit", "complete_items", "significant_rank"}, "apply": _COUNTED}
"""What is computed with `--no-report`, too."""


def computes(command: str, metric: str) -> bool:
    """Whether a command computes a figure, with the options that let it."""
    return command in COMPUTED_BY.get(metric, (command,))


def places_of(metric: str, modalities: Iterable[str]) -> list[str]:
    """The modalities, or the pairs of them, that have a figure; an empty name where it is of the whole."""
    if metric in MODALITY_METRICS:
        return list(modalities)
    pairs = ["+".join(pair) for pair in combinations(modalities, 2)]
    if metric in PAIR_METRICS:
        return pairs
    return [""] if pairs or metric not in WHOLE_METRICS else []


def among(places: Iterable[str], asked: str) -> list[str]:
    """The place that is asked for, if it is there: a pair has no order."""
    return [one for one in places if sorted(one.split("+")) == sorted(asked.split("+"))]


def figures_of(metric: str, document: Document) -> Iterator[tuple[str, float | None]]:
    """A figure at every place that has it; None where it was not computed."""
    if metric in PAIR_METRICS:
        known = {"+".join(one["modalities"]): one for one in document["pairs"]}
        every = places_of(metric, document["modalities"])
        left_out = [pair for pair in every if not among(known, pair)]  # too few items in common
        for pair in (*known, *left_out):
            yield pair, _at(known.get(pair), PAIR_METRICS[metric])
    elif metric in MODALITY_METRICS:
        for name, one in document["modalities"].items():
            yield name, _at(one, MODALITY_METRICS[metric])
    else:
        yield "", len(document["warnings"]) if metric == "warnings" else _at(document, WHOLE_METRICS[metric])


def _at(figures: Any, path: str) -> float | None:
    for key in path.split("."):
        figures = figures.get(key) if isinstance(figures, Mapping) else None
    return figures if isinstance(figures, (int, float)) else None
