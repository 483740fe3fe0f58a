"""Gates: conditions on diagnostics that a pipeline stops at, such as `leftover_heldout<=0.1`.

A gate on a figure of pairs, or of modalities, holds where it holds for each of them; `image+text.` or `image.` in front
limits it to one. A figure that was not computed fails its gate: what is not known is not good.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from clear_cli.errors import UsageError, closest

Document = Mapping[str, Any]

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}

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
METRICS = (*PAIR_METRICS, *MODALITY_METRICS, *WHOLE_METRICS, "warnings")

COMPUTED_BY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("significant_rank", "variance_kept_sample"), ("run", "diagnose")),
    **dict.fromkeys(PAIR_METRICS, ("run", "diagnose")),
    "complete_items": ("run", "diagnose", "apply"),
    **dict.fromkeys(("variance_kept", "mean_squared_distortion", "rows_zeroed", "scale_ratio"), ("run", "apply")),
    **dict.fromkeys(("leftover_new_items", "drift_mean_shift", "drift_variance_ratio"), ("apply",)),
}
"""The commands that compute a figure, where not all of them do."""

_COUNTED = {"rank", "rows_missing", "rows_placeholder", "rows_non_finite", "rows_zeroed", "warnings"}
WITHOUT_REPORT = {"run": _COUNTED | {"leftover_fit", "complete_items", "significant_rank"}, "apply": _COUNTED}
"""What is computed with `--no-report`, too."""

_GATE = re.compile(r"\s*(?:(?P<place>[\w.+-]+?)\.)?(?P<metric>\w+)\s*(?P<sign><=|>=|==|<|>)\s*(?P<limit>\S+)\s*")


@dataclass(frozen=True)
class Gate:
    """One condition.

    Attributes:
        text: As it was given.
        metric: One of METRICS.
        place: The modality, or the pair joined by `+`, that it is limited to; None for all.
        sign: One of OPERATORS.
        limit: What the figure is compared with.
    """

    text: str
    metric: str
    place: str | None
    sign: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Gate:
        """Read `METRIC<=NUMBER`, with `NAME.` or `NAME+NAME.` in front or without.

        Raises:
            UsageError: It is no such condition, or there is no such metric.
        """
        found = _GATE.fullmatch(text)
        limit = _number(found["limit"]) if found else None
        if found is None or limit is None:
            raise UsageError(f'"{text}" is not a gate', where="--gate", said=text, fix="--gate 'leftover_heldout<=0.1'")
        if found["metric"] not in METRICS:
            raise UsageError(
                f'no metric "{found["metric"]}"',
                where="--gate",
                said=text,
                metrics=", ".join(METRICS),
                fix=f"--gate '{closest(found['metric'], METRICS)}{found['sign']}{found['limit']}'",
            )
        return cls(text.strip(), found["metric"], found["place"], found["sign"], limit)


@dataclass(frozen=True)
class Verdict:
    """What became of a gate at one place.

    Attributes:
        gate: The condition.
        place: The modality or pair; empty for the whole.
        value: The figure; None where it was not computed.
        passed: Whether it holds.
    """

    gate: Gate
    place: str
    value: float | None
    passed: bool

    def __str__(self) -> str:
        shown = "not computed" if self.value is None else f"{self.value:.6g}"
        return f"{self.gate.text}: {shown}" + (f" ({self.place})" if self.place else "")


def judge(gates: Sequence[Gate], document: Document) -> list[Verdict]:
    """Every gate at every place that it is about.

    Raises:
        UsageError: A gate names a modality or a pair that is not there.
    """
    return [verdict for gate in gates for verdict in _judged(gate, document)]


def refuse_unknowable(
    gates: Sequence[Gate], command: str, modalities: Sequence[str], *, report: bool = True, tested: bool = True
) -> None:
    """Refuse, before anything is read, gates on what a command does not compute.

    Args:
        gates: The gates.
        command: `run`, `diagnose` or `apply`.
        modalities: Their names, in the order that was given.
        report: Whether what the projection itself does not need is measured.
        tested: Whether it is tested what stands out from chance.

    Raises:
        UsageError: A gate on a figure that is not computed, or about a modality or a pair that is not there.
    """
    here = [one for one in METRICS if command in COMPUTED_BY.get(one, (command,))]
    known = [one for one in here if report or one in WITHOUT_REPORT[command]]
    known = [one for one in known if tested or one != "significant_rank"]
    for gate in gates:
        if gate.metric not in here:
            problem, fix = f"is not computed by {command}", f"clear-cli {COMPUTED_BY[gate.metric][0]}"
        elif gate.metric not in known and not report:
            problem, fix = "is not computed with --no-report", "--report"
        else:
            _refuse_nowhere(gate, modalities)
            continue
        raise UsageError(
            f'"{gate.metric}" {problem}',
            where="--gate",
            said=gate.text,
            metrics=", ".join(known),
            fix=f"{fix}, or one of these",
        )


def _refuse_nowhere(gate: Gate, modalities: Sequence[str]) -> None:
    """Refuse a gate that is about no modality or no pair of these."""
    places = [""]
    if gate.metric in MODALITY_METRICS:
        places = list(modalities)
    elif gate.metric in PAIR_METRICS:
        places = ["+".join(pair) for pair in combinations(modalities, 2)]
    if not places or gate.place not in (None, *places):
        raise _about_nothing(gate, places)


def _about_nothing(gate: Gate, places: Sequence[str]) -> UsageError:
    """The error for a gate on a modality or a pair that is not there."""
    named = set((gate.place or "").split("+"))
    nearest = next((one for one in places if set(one.split("+")) == named), closest(gate.place, places))
    prefix = f"{nearest}." if nearest else ""
    return UsageError(
        f'gate "{gate.text}" is about nothing here',
        where="--gate",
        said=gate.text,
        known=", ".join(places) or "one modality, and no pair",
        fix=f"--gate '{prefix}{gate.metric}{gate.sign}{gate.limit:g}'" if places else "another --gate",
    )


def _judged(gate: Gate, document: Document) -> Iterator[Verdict]:
    figures = dict(_figures(gate.metric, document))
    if gate.place is not None:
        if gate.place not in figures:
            raise _about_nothing(gate, list(figures))
        figures = {gate.place: figures[gate.place]}
    for place, value in figures.items() or [("", None)]:
        yield Verdict(gate, place, value, value is not None and OPERATORS[gate.sign](value, gate.limit))


def _figures(metric: str, document: Document) -> Iterator[tuple[str, float | None]]:
    if metric in PAIR_METRICS:
        for pair in document["pairs"]:
            yield "+".join(pair["modalities"]), _at(pair, PAIR_METRICS[metric])
    elif metric in MODALITY_METRICS:
        for name, one in document["modalities"].items():
            yield name, _at(one, MODALITY_METRICS[metric])
    else:
        yield "", len(document["warnings"]) if metric == "warnings" else _at(document, WHOLE_METRICS[metric])


def _at(figures: Any, path: str) -> float | None:
    for key in path.split("."):
        figures = figures.get(key) if isinstance(figures, Mapping) else None
    return figures if isinstance(figures, (int, float)) else None


def _number(text: str) -> float | None:
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None
    return number if number == number else None
