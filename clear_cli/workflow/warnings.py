"""What the user should know, each in one line, and from which figure on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clear_cli.chance import Significance
from clear_cli.diagnostics import Figures, scale_ratio
from clear_cli.norms import row_norms
from clear_cli.projector import Projector
from clear_cli.report.verdict import DRIFT_ROWS, FAR, HALF, LOUDER, SPREAD
from clear_cli.report.words import percent
from clear_cli.workflow.evidence import in_doubt
from clear_cli.workflow.solving import Solution

UNIT_NORM = 1e-3
"""How far the mean row norm of unit-norm rows is from 1 at most, and"""
UNIT_NORMS = 0.9, 1.1
"""between which norms all of them are."""


def chance_warnings(
    projectors: Mapping[str, Projector], significances: Mapping[str, Significance], ids: Mapping[str, str]
) -> list[str]:
    """A warning for each modality that loses directions though none stands out; `ids` is what items are known by."""
    return [
        f'nothing that "{name}" shares stands out from chance, and what is removed is noise: {in_doubt(ids[name])}'
        for name, found in significances.items()
        if not found.significant and not projectors[name].identity and projectors[name].rank
    ]


def audit_warnings(modalities: Mapping[str, Figures], solution: Solution) -> list[str]:
    """What the rows of a fit would lead to, were they written."""
    warnings = []
    for name, one in modalities.items():
        changed = not solution.projectors[name].identity
        if changed and _hardly_kept(one.get("variance_kept_sample")):
            warnings.append(_variance_warning(name, one["variance_kept_sample"]))
        if changed and _sampled_unit_norm(name, solution):
            warnings.append(_norm_warning(name, "a run with --renorm original hides it"))
        warnings += [*_alone_warnings(name, one, changed=changed), *_filler_warnings(name, one)]
    scales = scale_ratio([one["row_norm_rms"] for one in modalities.values()])
    if scales and scales > LOUDER:
        warnings.append(_scale_warning(scales))
    return warnings


def outcome_warnings(
    modalities: Mapping[str, Figures], scales: Mapping[str, float | None] | None, projectors: Mapping[str, Projector]
) -> list[str]:
    """What became of the rows that were written, and how loud the modalities are; parameters as in the document."""
    warnings = []
    for name, one in modalities.items():
        changed = not projectors[name].identity
        kept = one.get("variance_kept")
        if changed and kept is not None and _hardly_kept(kept):
            warnings.append(_variance_warning(name, kept))
        if changed and projectors[name].renorm == "none" and "histograms" in one and _unit_norm(one):
            warnings.append(_norm_warning(name, "--renorm original hides it"))
        warnings += _alone_warnings(name, one, changed=changed)
        warnings += _drift_warnings(name, one.get("drift"))
        zeroed = "held only shared signal and"
        warnings += _of_rows(name, one["rows_zeroed"], f"{zeroed} is now all zeros", f"{zeroed} are now all zeros")
        warnings += _filler_warnings(name, one)
    # A scale that was asked for has put them right.
    if scales and scales["before"] and min(scales["before"], scales["after"] or 0.0) > LOUDER:
        warnings.append(_scale_warning(scales["before"]))
    return warnings


def _drift_warnings(name: str, drift: Figures | None) -> list[str]:
    if not drift or drift["rows"] < DRIFT_ROWS:
        return []
    if drift["cleaned"]:
        return [
            f'the rows of "{name}" look already cleaned by this projector: nothing of what it removes is in them '
            "(apply it to rows as the encoder gives them)"
        ]
    shift, ratio = drift["mean_shift"], drift["variance_ratio"]
    if shift <= FAR and 1 / SPREAD < ratio < SPREAD:
        return []
    return [
        f'new rows of "{name}" differ from those of the fit inside the removed directions: their mean is {shift:.2f} '
        f"standard deviations away, their variance is {ratio:.2f} times as large (fit again, or check that the encoder "
        "is the same)"
    ]


def _alone_warnings(name: str, one: Figures, *, changed: bool) -> list[str]:
    return _of_rows(
        name,
        one["rows_without_other_modality"] if changed else 0,
        "has no other modality: its item loses the shared signal altogether",
        "have no other modality: their items lose the shared signal altogether",
    )


def _filler_warnings(name: str, one: Figures) -> list[str]:
    what = "left out of the fit, but projected"
    fillers = one["rows_by_status"]["placeholder"]
    return _of_rows(name, fillers, f"is a placeholder: {what}", f"are placeholders: {what}")


def _of_rows(name: str, rows: int, of_one: str, of_many: str) -> list[str]:
    """A warning of what is so of some rows of a modality; none of no rows."""
    if not rows:
        return []
    return [f'1 row of "{name}" {of_one}' if rows == 1 else f'{rows:,} rows of "{name}" {of_many}']


def _hardly_kept(kept: float | None) -> bool:
    return kept is not None and kept < 1 - HALF


def _variance_warning(name: str, kept: float) -> str:
    return (
        f'{percent(1 - kept)} of the variance of "{name}" is removed: the shared directions are most of it '
        "(a lower rank or strength removes less)"
    )


def _scale_warning(ratio: float) -> str:
    return (
        f"row norms differ {ratio:.0f}-fold between modalities: recommenders that concatenate them "
        "hear the loudest one only (--scale rms)"
    )


def _norm_warning(name: str, hint: str) -> str:
    return f'"{name}" has unit-norm rows: after projection the norm of a row tells what was removed ({hint})'


def _unit_norm(one: Figures) -> bool:
    """Whether the row norms before are 1 on average, and all fall into the bins around it."""
    histogram = one["histograms"]["row_norm"]
    low, high = UNIT_NORMS
    return abs(one["row_norm_mean"]["before"] - 1) < UNIT_NORM and all(
        low < edge < high for edge, rows in zip(histogram["edges"], histogram["before"], strict=False) if rows
    )


def _sampled_unit_norm(name: str, solution: Solution) -> bool:
    """The same of the rows in the samples."""
    norms = [
        row_norms(rows)
        for pair, sample in solution.samples.items()
        for side, rows in zip(pair, sample.rows(), strict=True)
        if side == name and len(rows)
    ]
    low, high = UNIT_NORMS
    return bool(norms) and all(
        abs(float(one.mean()) - 1) < UNIT_NORM and bool(np.all((low < one) & (one < high))) for one in norms
    )
