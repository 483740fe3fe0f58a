"""The diagnostics document: everything that the fit and the projection found, as one JSON-able object."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clear_cli import __version__
from clear_cli.chance import Significance
from clear_cli.config import FitOptions
from clear_cli.curve import STRENGTHS, curve
from clear_cli.diagnostics import Figures, heatmap, leftover, over_chance, scale_ratio
from clear_cli.embeddings.base import Rows
from clear_cli.moments import CrossMoments
from clear_cli.norms import ratio
from clear_cli.projector import Projector
from clear_cli.rank import cumulative_energy, numeric_rank
from clear_cli.subspace import Pair
from clear_cli.workflow.evidence import Described
from clear_cli.workflow.heldout import held_out_leftover
from clear_cli.workflow.projecting import Extreme, Outcome
from clear_cli.workflow.sampled import add_overlap, sampled
from clear_cli.workflow.solving import Solution, root_mean_square
from clear_cli.workflow.warnings import audit_warnings, chance_warnings, outcome_warnings

SCHEMA_VERSION = 1
"""Of the documents that are written: see report/*-v1.schema.json."""


def document(
    sources: Mapping[str, Rows],
    projectors: Mapping[str, Projector],
    pairs: list[Figures] | None = None,
    warnings: Sequence[str] = (),
    significances: Mapping[str, Significance] | None = None,
) -> Figures:
    """What is known before any row is written.

    Args:
        sources: The modalities.
        projectors: Their projectors.
        pairs: What the pairs share, from `pair_figures`; none where nothing was fitted.
        warnings: What the user should know.
        significances: Per modality, how far its spectrum stands out from chance, where that was tested.

    Returns:
        `schema_version`, `tool`, `modalities` by name, `pairs` and `warnings`.
    """
    tested = significances or {}
    ids = {name: source.id_kind for name, source in sources.items()}
    notes = [f'"{name}": {note}' for name, source in sources.items() for note in source.notes]
    known: Figures = plain(
        {
            "schema_version": SCHEMA_VERSION,
            "tool": {"name": "clear_cli", "version": __version__},
            "modalities": {
                name: modality_figures(sources[name], one, tested.get(name)) for name, one in projectors.items()
            },
            "pairs": pairs or [],
            "warnings": [*notes, *warnings, *chance_warnings(projectors, tested, ids)],
        }
    )
    return known


def fitted_document(
    sources: Mapping[str, Rows], solution: Solution, options: FitOptions, *, overlap_curve: bool = False
) -> Figures:
    """The document of a fit; parameters as in `pair_figures`."""
    pairs = pair_figures(solution, options, overlap_curve=overlap_curve)
    found = document(sources, solution.projectors, pairs, solution.warnings, solution.significances)
    for pair in pairs:
        for name, kept in zip(pair["modalities"], pair.get("sample", {}).get("variance_kept", ()), strict=False):
            # Of several pairs the first: their samples differ by the items that one of the partners lacks.
            found["modalities"][name].setdefault("variance_kept_sample", plain(kept))
    for name, one in found["modalities"].items():
        one["row_norm_rms"] = plain(root_mean_square(name, solution.moments))
    return found


def audited(found: Figures, outcomes: Mapping[str, Outcome], solution: Solution) -> Figures:
    """The document of a fit whose rows are counted and not written, with what these would have been warned of."""
    modalities = {name: {**found["modalities"][name], **_counts(outcome)} for name, outcome in outcomes.items()}
    warnings = [*found["warnings"], *audit_warnings(modalities, solution)]
    return {**found, "modalities": modalities, "warnings": warnings}


def with_outcomes(known: Figures, outcomes: Mapping[str, Outcome], projectors: Mapping[str, Projector]) -> Figures:
    """The document of a fit (or of nothing but projectors) with what became of the rows that were written."""
    modalities = {
        name: {**known["modalities"][name], **_outcome_figures(outcome)} for name, outcome in outcomes.items()
    }
    norms = [one["row_norm_mean"] for one in modalities.values() if "row_norm_mean" in one]
    scales = (
        {side: scale_ratio([one[side] for one in norms]) for side in ("before", "after")} if len(norms) > 1 else None
    )
    warnings = [*known["warnings"], *outcome_warnings(modalities, scales, projectors)]
    complete: Figures = plain({**known, "modalities": modalities, "scale_ratio": scales, "warnings": warnings})
    return complete


def modality_figures(source: Rows | Described, projector: Projector, tested: Significance | None) -> Figures:
    """One modality: what it is, its spectrum, and what is removed of it."""
    energy = cumulative_energy(projector.spectrum)
    rank = projector.rank
    return {
        "rows": source.rows,
        "dim": source.dim,
        "dtype": source.dtype.name,
        "rank": rank,
        "strength": projector.uniform_strength,
        "strengths": projector.strength[:rank].tolist(),
        "directions_kept": projector.directions.shape[1],
        "numeric_rank": numeric_rank(projector.spectrum, projector.dim),
        "spectrum": projector.spectrum.tolist(),
        "cumulative_energy": energy.tolist(),
        "energy_at_rank": float(energy[rank - 1]) if rank else 0.0,
        "gap_at_rank": _gap(projector),
        "placeholders": len(projector.placeholders),
        "significant_rank": None if tested is None else tested.significant,
        "effective_shared_rank": None if tested is None else tested.effective,
        "chance": None if tested is None else {"median": tested.median.tolist(), "high": tested.high.tolist()},
    }


def pair_figures(solution: Solution, options: FitOptions, *, overlap_curve: bool = False) -> list[Figures]:
    """Every pair that entered the fit: leftover from its moments, the rest from its sample if there is one.

    Args:
        solution: What the fit found.
        options: Its parameters.
        overlap_curve: Measure the neighbour overlap at every point of the curve, which takes a while.
    """
    held_out = held_out_leftover(solution, options) if options.report else {}
    figures = []
    for pair, moments in solution.moments.items():
        a, b = (solution.projectors[name] for name in pair)
        one = _pair(pair, moments, a, b)
        if pair in held_out:
            one["leftover"]["held_out"] = held_out[pair]
        if options.report:
            measured = sampled(solution.samples[pair], pair, a, b)
            one["leftover"]["sample_as_written"], one["sample"] = measured.leftover, measured.figures
            one["curve"] = curve(moments, a, b, measured.covariances, STRENGTHS)
            if overlap_curve:
                add_overlap(one["curve"], solution.samples[pair], a, b)
        figures.append(one)
    return figures


def _pair(pair: Pair, moments: CrossMoments, a: Projector, b: Projector) -> Figures:
    return {
        "modalities": list(pair),
        "items": moments.items,
        "total_variance": [moments.total_variance(side) for side in (0, 1)],
        "covariance_over_chance": over_chance(moments),
        "leftover": {"fit_algebraic": leftover(moments, a, b)},
        "heatmap": heatmap(moments, a, b),
    }


def _gap(projector: Projector) -> float | None:
    """(sigma_k - sigma_k+1) / sigma_1: how clear the cut at the rank is."""
    spectrum, rank = projector.spectrum, projector.rank
    if not 0 < rank < len(spectrum):
        return None
    return ratio(spectrum[rank - 1] - spectrum[rank], spectrum[0])


def _counts(outcome: Outcome) -> Figures:
    return {"rows_by_status": dict(outcome.by_status), "rows_without_other_modality": outcome.alone}


def _outcome_figures(outcome: Outcome) -> Figures:
    def listed(extremes: list[Extreme]) -> list[Figures]:
        return [{"item_id": one.item_id, "row": one.row, "removed": one.removed} for one in extremes]

    counts = {**_counts(outcome), "rows_zeroed": outcome.zeroed}
    if outcome.impact is None:
        return counts
    return {
        **counts,
        **outcome.impact.figures(),
        "drift": None if outcome.drift is None else outcome.drift.figures(),
        "most_affected": listed(outcome.most),
        "least_affected": listed(outcome.least),
    }


def plain(value: Any) -> Any:
    """The same value in types that JSON knows; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
