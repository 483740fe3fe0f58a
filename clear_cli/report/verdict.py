"""What the figures mean, in words: how redundant a pair is, and whether to ship. The rules are part of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from clear_cli.report.modalities import Modality
from clear_cli.report.pairs import Pair
from clear_cli.report.words import listed, number, percent


class Level(StrEnum):
    """How redundant two modalities are."""

    HIGH = "high"
    MODERATE = "moderate"
    LOW = "low"
    NONE = "none"
    UNKNOWN = "not judged"


class Advice(StrEnum):
    """What to do with the result."""

    SHIP = "ship"
    LOOK = "look first"
    STOP = "do not ship"


HIGH_R, HIGH_RV = 0.7, 0.1
LOW_R, LOW_RV = 0.4, 0.02
HALF, QUARTER = 0.5, 0.25
MANY_ROWS = 0.05
LOUDER = 10.0
DRIFT_ROWS, FAR, SPREAD = 30, 0.5, 2.0

LEVEL_RULE = (
    f"Redundancy is high where the strongest shared direction correlates at {HIGH_R} or more on held-out items and the "
    f"debiased RV coefficient, the likeness of the two as a whole, is {HIGH_RV} or more; low where the correlation is "
    f"below {LOW_R} or debiased RV below {LOW_RV}; moderate in between; and none where no canonical correlation stands "
    "out from chance, or the held-out one is not above its chance level."
)
ADVICE_RULE = (
    f"Do not ship where more than {HALF:.0%} of the variance of a modality is removed, where no pair shares anything "
    f"that stands out from chance, or where new rows have drifted: their mean more than {FAR} standard deviations "
    f"away, or their variance more than {SPREAD:g}-fold different, inside the removed directions. Look first where "
    f"nothing is removed from redundant modalities; more than {QUARTER:.0%} of the variance is removed; a pair shares "
    "nothing, was not judged or has fewer items than"
    f" dimensions; more than {MANY_ROWS:.0%} of the rows are placeholders, or lose the shared signal for want of "
    f"another modality; rows came out all zeros, or look already cleaned by the projector; or row norms differ more "
    f"than {LOUDER:g}-fold. Ship otherwise."
)
PARTIAL = (
    "Where strength is below 1 a linear map can undo the projection, so canonical correlations and R² of the fit "
    "cannot change, and those held out only as far as they are regularised. The leftover, RV and common neighbours can."
)
NOTHING_AGAINST = "No figure speaks against it; whether the recommender gains is for its own evaluation to say."
NOTHING = "Nothing that is shared stands out from chance: keep the originals, or check that rows are of the same items."


@dataclass(frozen=True)
class Verdict:
    """How redundant a pair is, and why."""

    level: Level
    why: str


@dataclass(frozen=True)
class Recommendation:
    """What to do, and why."""

    advice: Advice
    reasons: tuple[str, ...]


def verdict(pair: Pair) -> Verdict:
    """How redundant a pair was before anything was removed, by `LEVEL_RULE`."""
    sample = pair.sample
    if sample is None:
        how = f"Both have {pair.items:,} of the new items" if pair.new_items else "No sample was measured"
        return Verdict(Level.UNKNOWN, f"{how}.")
    top, rv, significant = sample.held_out[0].top, sample.rv_debiased.before, sample.significant.before
    if significant == 0:
        return Verdict(Level.NONE, "No canonical correlation stands out from chance.")
    if top is None or top.value is None or rv is None:
        return Verdict(Level.UNKNOWN, "There are too few items to hold some out.")
    chance = "" if top.chance is None else f", {number(top.chance, 2)} by chance"
    held = f"The strongest shared direction correlates at {number(top.value, 2)} on held-out items{chance}"
    if top.low is not None and top.low <= max(top.chance or 0.0, 0.0):
        return Verdict(Level.NONE, f"{held}: not above it.")
    return Verdict(_level(top.value, rv), f"{held}. Debiased RV is {number(rv, 2)}.")


def _level(r: float, rv: float) -> Level:
    if r >= HIGH_R and rv >= HIGH_RV:
        return Level.HIGH
    return Level.LOW if r < LOW_R or rv < LOW_RV else Level.MODERATE


def recommendation(
    pairs: Sequence[Pair], modalities: Sequence[Modality], loudness: float | None, *, fitted: bool
) -> Recommendation:
    """Whether to ship, by `ADVICE_RULE`.

    Args:
        pairs: All pairs.
        modalities: All modalities.
        loudness: The largest mean row norm over the smallest, before.
        fitted: The modalities were fitted, and not only projected.
    """
    stop = [*_nothing_shared(pairs, fitted), *_removed(modalities, HALF)]
    stop += [f"New rows of {one.name} have drifted from those of the fit." for one in modalities if drifted(one)]
    look = [
        *_left_as_they_are(pairs, modalities, fitted),
        *_removed(modalities, QUARTER),
        *(one for pair in pairs for one in _doubtful(pair, modalities, fitted)),
        *_cleaned(modalities),
        *(one for modality in modalities for one in _odd(modality)),
    ]
    if loudness is not None and loudness > LOUDER:
        look.append(f"Row norms differ {loudness:.0f}-fold between modalities.")
    if stop:
        return Recommendation(Advice.STOP, tuple(stop))
    if look:
        return Recommendation(Advice.LOOK, tuple(look))
    return Recommendation(Advice.SHIP, (NOTHING_AGAINST,))


def drifted(modality: Modality) -> bool:
    """Whether new rows are unlike those of the fit inside the removed directions."""
    drift = modality.drift
    if drift is None or drift.rows < DRIFT_ROWS or drift.cleaned:
        return False
    return drift.mean_shift > FAR or not 1 / SPREAD < drift.variance_ratio < SPREAD


def _nothing_shared(pairs: Sequence[Pair], fitted: bool) -> list[str]:
    if not fitted or not pairs or any(verdict(pair).level != Level.NONE for pair in pairs):
        return []
    return [NOTHING]


def _left_as_they_are(pairs: Sequence[Pair], modalities: Sequence[Modality], fitted: bool) -> list[str]:
    """That there is redundancy, where nothing is removed from any modality."""
    levels = {verdict(pair).level for pair in pairs} & {Level.HIGH, Level.MODERATE}
    if not fitted or not levels or any(one.changed for one in modalities):
        return []
    return ["Nothing was removed, and the modalities are redundant."]


def _removed(modalities: Sequence[Modality], most: float) -> list[str]:
    """In one sentence, those that lose more than so much of their variance."""
    lost = {
        one.name: percent(1 - one.variance_kept)
        for one in modalities
        if one.changed and one.variance_kept is not None and one.variance_kept < 1 - most
    }
    if not lost:
        return []
    shares = [
        f"{share} of {'that of' if i else 'the variance of'} {name}" for i, (name, share) in enumerate(lost.items())
    ]
    return [f"The removal takes {listed(shares)}: compare with a lower rank or strength."]


def _cleaned(modalities: Sequence[Modality]) -> list[str]:
    """In one sentence, those whose rows look as if the projector had been applied to them before."""
    drifts = {one.name: one.drift for one in modalities if one.drift is not None}
    names = [name for name, drift in drifts.items() if drift.rows >= DRIFT_ROWS and drift.cleaned]
    return [f"The rows of {listed(names)} look already cleaned by this projector."] if names else []


def _doubtful(pair: Pair, modalities: Sequence[Modality], fitted: bool) -> list[str]:
    if not fitted:
        return []
    reasons, level = [], verdict(pair).level
    if level in (Level.NONE, Level.UNKNOWN):
        reasons.append(f"{pair.title}: {'nothing shared' if level == Level.NONE else 'not judged'}.")
    dims = sum(modality.dim for modality in modalities if modality.name in pair.modalities)
    if pair.items < dims:
        reasons.append(f"{pair.title}: {pair.items:,} items for {dims:,} dimensions.")
    return reasons


def _odd(modality: Modality) -> list[str]:
    reasons = []
    counts = {"placeholders": modality.statuses.get("placeholder", 0), "without another modality": modality.alone}
    for what, rows in counts.items():
        if rows > MANY_ROWS * modality.rows:
            reasons.append(f"{percent(rows / modality.rows)} of the rows of {modality.name} are {what}.")
    if modality.zeroed:
        zeroed = "1 row" if modality.zeroed == 1 else f"{modality.zeroed:,} rows"
        reasons.append(f"{zeroed} of {modality.name} came out all zeros.")
    return reasons
