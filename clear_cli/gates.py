"""Gates: conditions on diagnostics that a pipeline stops at, such as `leftover_heldout<=0.1`.

A gate on a figure of pairs, or of modalities, holds where it holds for each of them; `image+text.` or `image.` in front
limits it to one. A figure that was not computed fails its gate: what is not known is not good. A file of options may
hold gates for several commands, so those that it has for others do not count; one that is asked for has to.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clear_cli.errors import UsageError, closest
from clear_cli.metrics import (
    COMPUTED_BY,
    METRICS,
    SHARES,
    WITHOUT_REPORT,
    Document,
    among,
    computes,
    figures_of,
    places_of,
)

FLAG = "--gate"
MOST = 2
"""Above this, a limit of a share is meant in percent. (Of new items more may be kept than there was.)"""

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}

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
        where: Where it was set: FLAG, or the key of a file of options.
    """

    text: str
    metric: str
    place: str | None
    sign: str
    limit: float
    where: str = FLAG

    @classmethod
    def parse(cls, text: str, where: str = FLAG) -> Gate:
        """Read `METRIC<=NUMBER`, with `NAME.` or `NAME+NAME.` in front or without.

        Raises:
            UsageError: It is no such condition, there is no such metric, or it is a share and the limit a percentage.
        """
        found = _GATE.fullmatch(text)
        limit = _number(found["limit"]) if found else None
        if found is None or limit is None:
            fix = _written(where, None, "leftover_heldout", "<=0.1")
            raise UsageError(f'"{text}" is not a gate', where=where, said=text, fix=fix)
        place, metric, sign = found["place"], found["metric"], found["sign"]
        if metric not in METRICS:
            fix = _written(where, place, _nearest(metric), sign + found["limit"])
            raise UsageError(f'no metric "{metric}"', where=where, said=text, metrics=", ".join(METRICS), fix=fix)
        if metric in SHARES and limit > MOST:
            share = f"{found['limit']}%" if limit <= 100 and not found["limit"].endswith("%") else "100%"
            fix = _written(where, place, metric, sign + share)
            raise UsageError(f'"{metric}" is a share: the whole is 1, or 100%', where=where, said=text, fix=fix)
        return cls(text.strip(), metric, place, sign, limit, where)

    @property
    def of_file(self) -> bool:
        """Whether it is of a file of options, which may serve several commands."""
        return self.where != FLAG

    def document(self) -> dict[str, Any]:
        """What is printed of it as JSON: the condition."""
        return {key: value for key, value in vars(self).items() if key != "where"}


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

    def document(self) -> dict[str, Any]:
        """What is printed of it as JSON."""
        return {**vars(self), "gate": self.gate.document()}


def judge(gates: Sequence[Gate], document: Document) -> list[Verdict]:
    """Every gate at every place that it is about.

    Raises:
        UsageError: A gate names a modality or a pair that is not there.
    """
    return [verdict for gate in gates for verdict in _judged(gate, document)]


def divided(
    gates: Iterable[Gate], command: str, modalities: Collection[str], known: Collection[str] = ()
) -> tuple[list[Gate], list[Gate]]:
    """The gates that count for a command, and those of a file on what it does not compute, for other commands do.

    Args:
        gates: The gates.
        command: `run`, `diagnose`, `fit` or `apply`.
        modalities: Those that it is given.
        known: Others that there are: a gate that names one of them is for another time, and not a typing error.
    """
    counting: list[Gate] = []
    for_others: list[Gate] = []
    for gate in gates:
        named = set(gate.place.split("+")) if gate.place else set()
        elsewhere = named <= {*modalities, *known} and not named <= {*modalities}
        computed = computes(command, gate.metric) and (named or places_of(gate.metric, modalities))
        (for_others if gate.of_file and (elsewhere or not computed) else counting).append(gate)
    return counting, for_others


def refuse_unknowable(
    gates: Sequence[Gate], command: str, modalities: Sequence[str], *, report: bool = True, tested: bool = True
) -> None:
    """Refuse, before anything is read, gates on what a command does not compute.

    Args:
        gates: The gates.
        command: `run`, `diagnose` or `apply`.
        modalities: Their names, in the order that was given.
        report: Whether what the projection itself does not need is measured.
        tested: Whether it is tested what stands out from chance, which the projection itself may need: a report does.

    Raises:
        UsageError: A gate on a figure that is not computed, or about a modality or a pair that is not there.
    """
    here = [one for one in METRICS if computes(command, one)]
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
            where=gate.where,
            said=gate.text,
            metrics=", ".join(known),
            fix=f"{fix}, or one of these",
        )


def _refuse_nowhere(gate: Gate, modalities: Sequence[str]) -> None:
    """Refuse a gate that is about no modality or no pair of these."""
    places = places_of(gate.metric, modalities)
    if not places or (gate.place is not None and not among(places, gate.place)):
        raise _about_nothing(gate, places)


def _about_nothing(gate: Gate, places: Sequence[str]) -> UsageError:
    """The error for a gate on a modality or a pair that is not there."""
    fix = _written(gate.where, closest(gate.place, places), gate.metric, f"{gate.sign}{gate.limit:.15g}")
    return UsageError(
        f'gate "{gate.text}" is about nothing here',
        where=gate.where,
        said=gate.text,
        known=", ".join(places) or "one modality, and no pair",
        fix=fix if places else "another gate",
    )


def _written(where: str, place: str | None, metric: str, condition: str) -> str:
    """A gate as it is to be typed where the one at fault was set; in a file that is under `[gates]`."""
    if where == FLAG:
        return f"{FLAG} '{f'{place}.' if place else ''}{metric}{condition}'"
    quoted = f'"{place}"' if place and "+" in place else place  # no bare key of TOML holds a plus
    return f'{f"{quoted}." if quoted else ""}{metric} = "{condition}"'


def _nearest(word: str) -> str:
    """The metric that is meant: the first that the word is a part of, as of `leftover_heldout`, or the most alike."""
    return next((one for one in METRICS if word in one), None) or str(closest(word, METRICS))


def _judged(gate: Gate, document: Document) -> Iterator[Verdict]:
    figures = dict(figures_of(gate.metric, document))
    if gate.place is not None:
        asked = among(figures, gate.place)
        if not asked:
            raise _about_nothing(gate, list(figures))
        figures = {one: figures[one] for one in asked}
    for place, value in figures.items() or [("", None)]:
        yield Verdict(gate, place, value, value is not None and OPERATORS[gate.sign](value, gate.limit))


def _number(text: str) -> float | None:
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None
    return number if number == number else None
