"""What keeps runs from being compared, and what to know where they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clear_cli.report.model import Report
from clear_cli.report.words import listed

Names = tuple[str, ...]


def caveats(runs: Names, reports: Sequence[Report], names: Sequence[str], pairs: Sequence[Names]) -> Iterator[str]:
    """In a sentence each: what is not in all runs, and why figures may differ that are.

    Args:
        runs: What the runs are called.
        reports: What they say.
        names: All modalities.
        pairs: All pairs of them.
    """
    for name in names:
        yield from _absent(name, runs, [name in report.names for report in reports])
        yield from _unlike(name, runs, reports)
    for pair in pairs:
        held = [set(pair) <= set(report.names) for report in reports]
        there = [any(set(one.modalities) == set(pair) for one in report.pairs) for report in reports]
        yield from _absent(" + ".join(pair), runs, [a or not b for a, b in zip(there, held, strict=True)])
    yield from _other_chance(pairs, reports)
    versions = list(dict.fromkeys(report.version for report in reports if report.version))
    if len(versions) > 1:
        yield f"Versions {' and '.join(versions)} made these: where figures differ, that may be the reason."
    bare = [run for run, report in zip(runs, reports, strict=True) if not report.command]
    if bare:
        yield f"There is no manifest of {', '.join(bare)}: its inputs and parameters are not known."


def _other_chance(pairs: Sequence[Names], reports: Sequence[Report]) -> Iterator[str]:
    """That leftovers have chance levels of their own, where these are farther apart than a leftover is uncertain."""
    apart = []
    for names in pairs:
        of = (one.leftover for report in reports for one in report.pairs if set(one.modalities) == set(names))
        left = [one for one in of if one is not None]
        chance = [one.chance for one in left if one.chance is not None]
        uncertain = [one.high - one.value for one in left if one.high is not None and one.value is not None]
        if chance and max(chance) - min(chance) > max(uncertain, default=0.0):
            apart.append(" + ".join(names))
    if apart:
        yield (
            f"The leftover by chance of {listed(apart)} differs between runs, as it depends on the items and on "
            "what is removed: compare how far each leftover is above its own."
        )


def _unlike(name: str, runs: Names, reports: Sequence[Report]) -> Iterator[str]:
    """What to say where runs read a modality from other files."""
    read = [next((one for one in report.inputs if one.modality == name), None) for report in reports]
    known = [(run, one) for run, one in zip(runs, read, strict=True) if one is not None]
    alike: dict[Names, list[str]] = {}
    for run, one in known:
        alike.setdefault(one.digests, []).append(run)
    if len(alike) < 2:
        return
    # Tags of a store say nothing of contents that were read elsewhere.
    sure = all(one.hashed for _, one in known)
    groups = " and by ".join(", ".join(one) for one in alike.values())
    yield (
        f"{name} was read from {'' if sure else 'what may be '}different files by {groups}: where its figures differ, "
        "the data may be the reason."
    )


def _absent(what: str, runs: Names, there: Sequence[bool]) -> Iterator[str]:
    lacking = [run for run, here in zip(runs, there, strict=True) if not here]
    if lacking and len(runs) - len(lacking) == 1:
        yield f"{what} is in {runs[there.index(True)]} alone, and not shown."
    elif lacking:
        yield f"{what} is not in {', '.join(lacking)}."
