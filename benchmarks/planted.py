"""What every option takes out and what it leaves, beside peers, on factors that are known; as Markdown.

Catalogues with known shared and private factors (planting.py) are fitted with every option of the product and with
peers (rivals.py); everything is measured on fresh items. A peer dominates an option where it leaves less of the shared
factors and keeps more of the private ones, both by more than the seeds differ.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from measuring import machine, markdown, work_folder
from planting import FIT, FRESH, PRIVATE, SETTINGS, SHARED, Catalogue, Setting, figures, plant
from rivals import LEACE, clean_by_rivals
from scipy.stats import t as student
from threadpoolctl import threadpool_limits

import clear_cli

Figures = dict[str, float]
Runs = dict[str, list[Figures]]
"""Per row of a table, its figures for each seed."""

HEAD = {
    "rank": "rank",
    "shared": "shared left",
    "together": "shared left, all modalities together",
    "private": "private kept",
    "leftover": "leftover",
    "variance": "variance kept",
}
LEAST = 0.001
"""Smaller differences are not told from none, however well the seeds agree."""


@dataclass(frozen=True)
class Option:
    """A way to call the product."""

    rank: int | str
    removal: str = "orthogonal"
    directions: str = "covariance"
    others: dict[str, Any] = field(default_factory=dict)
    """Further parameters."""

    def __str__(self) -> str:
        others = [f"{name} {value}" for name, value in self.others.items()]
        if self.one_sided:
            others = [f"strength {ONE_SIDED}=0"]
        return ", ".join([self.removal, self.directions, f"rank {self.rank}", *others])

    def clean(self, catalogue: Catalogue) -> Figures:
        """Fit, apply to fresh rows, measure; with the mean rank of the modalities that are cleaned."""
        how: Any = {"removal": self.removal, "directions": self.directions, **self.others}
        fitted = clear_cli.fit(catalogue.fit, rank=self.rank, report=False, **how)
        clean = clear_cli.apply(fitted, catalogue.fresh)
        assert isinstance(clean, dict)
        cleaned = [name for name in clean if not (self.one_sided and name == ONE_SIDED)]
        rank = float(np.mean([fitted.projectors[name].rank for name in cleaned]))
        return {"rank": rank, **figures(catalogue, clean, cleaned)}

    @property
    def one_sided(self) -> bool:
        """Whether a modality is left as it is."""
        return isinstance(self.others.get("strength"), dict)

    @property
    def in_full(self) -> bool:
        """Whether it removes all it finds from all modalities, so that dominance can be asked of it."""
        return "strength" not in self.others


ONE_SIDED = "image"
"""The modality that one-sided removal leaves as it is."""


def options() -> Iterator[Option]:
    """Every option."""
    ways = [(removal, directions) for removal in REMOVALS for directions in DIRECTIONS]
    for rank in RANKS:
        yield from (Option(rank, *way) for way in ways)
        yield from (Option(rank, others={"strength": strength}) for strength in (0.5, "soft"))
    yield from (Option(SHARED, *way, {"strength": {ONE_SIDED: 0}}) for way in ways)
    yield from (Option(rank, *way, {"winsorise": 0.99}) for way in (ways[0], ways[-1]) for rank in RANKS)


RANKS: tuple[int | str, ...] = (SHARED, "auto")
REMOVALS, DIRECTIONS = ("orthogonal", "oblique"), ("covariance", "correlation")
OPTIONS = {str(option): option for option in options()}

MATCHING = {
    "scikit-learn PLSSVD": f"orthogonal, covariance, rank {SHARED}",
    LEACE: f"oblique, covariance, rank {SHARED}",
    "scikit-learn CCA, residual": f"oblique, correlation, rank {SHARED}",
    "scikit-learn regression, residual": f"oblique, correlation, rank {SHARED}",
}
"""For each peer the option that does the nearest thing."""


def run(setting: Setting, seeds: int, folder: Path) -> Runs:
    """All options and peers on the catalogues of one setting."""
    runs: Runs = {}
    for seed in range(seeds):
        catalogue = plant(setting, seed)
        everyone = list(catalogue.fresh)
        runs.setdefault("as it was", []).append({"rank": 0, **figures(catalogue, catalogue.fresh, everyone)})
        for called, option in OPTIONS.items():
            runs.setdefault(called, []).append(option.clean(catalogue))
        for called, clean in clean_by_rivals(catalogue, SHARED, folder).items():
            runs.setdefault(called, []).append({"rank": np.nan, **figures(catalogue, clean, everyone)})
        print(f"{setting.title}: seed {seed}", file=sys.stderr)
    return runs


def table(runs: Runs) -> str:
    """Means over the seeds, and standard deviations."""
    return markdown(["", *HEAD.values()], [[called, *(cell(one, key) for key in HEAD)] for called, one in runs.items()])


def cell(runs: Sequence[Figures], key: str) -> str:
    """`mean ± standard deviation`; of the rank the mean alone, and nothing of peers, who are given the true one."""
    values = np.array([one[key] for one in runs])
    if key == "rank":
        return "" if np.isnan(values).any() else f"{values.mean():.3g}"
    return f"{values.mean():.3f} ± {values.std(ddof=1) if len(values) > 1 else 0:.3f}"


@dataclass(frozen=True)
class Difference:
    """A figure of a peer less that of an option, seed by seed on the same catalogues: the mean, and its 95 % bound."""

    mean: float
    bound: float

    @classmethod
    def of(cls, peer: Sequence[Figures], option: Sequence[Figures], key: str) -> Difference:
        """From the runs of both."""
        apart = np.array([p[key] - o[key] for p, o in zip(peer, option, strict=True)])
        error = float(apart.std(ddof=1) / np.sqrt(len(apart)))
        return cls(float(apart.mean()), max(float(student.ppf(0.975, len(apart) - 1)) * error, LEAST))

    @property
    def sign(self) -> int:
        """1 or -1 where it is beyond its bound, else 0."""
        return int(np.sign(self.mean)) if abs(self.mean) > self.bound else 0

    def __str__(self) -> str:
        return f"{round(self.mean, 3) + 0.0:+.3f} (± {self.bound:.3f})"


def dominates(peer: Sequence[Figures], option: Sequence[Figures]) -> int:
    """1 where the peer leaves less shared and keeps more private, -1 where the option does both, else 0."""
    less, more = -Difference.of(peer, option, "shared").sign, Difference.of(peer, option, "private").sign
    return less if less == more else 0


WORDS = {1: "the peer dominates", -1: "the option dominates", 0: "neither dominates"}


def verdicts(results: Mapping[str, Runs]) -> Iterator[list[str]]:
    """For each setting and peer: beside the matching option, and which of all that remove in full it dominates."""
    for title, runs in results.items():
        for peer, option in MATCHING.items():
            pair = runs[peer], runs[option]
            in_full = [called for called, one in OPTIONS.items() if one.in_full]
            worse = [called for called in in_full if dominates(runs[peer], runs[called]) == 1]
            yield [
                title,
                peer,
                option.rpartition(",")[0],
                *(str(Difference.of(*pair, key)) for key in ("shared", "private", "leftover")),
                WORDS[dominates(*pair)],
                "; ".join(worse) or "none",
            ]


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("settings", nargs="*", help="first words of titles; default all")
    parser.add_argument("--seeds", type=int, default=5, help="at least 2; default 5")
    parser.add_argument("--work", type=Path, metavar="DIR", help="files of the peers; default benchmarks/.work")
    given = parser.parse_args()
    folder = work_folder(given.work)
    wanted = [one for one in SETTINGS if not given.settings or one.title.startswith(tuple(given.settings))]
    print(machine())
    print(
        f"- {FIT:,} items fitted, {FRESH:,} fresh ones measured; {SHARED} shared factors, {PRIVATE} private ones each"
    )
    print(f"- mean ± standard deviation over {given.seeds} seeds")
    results = {}
    with threadpool_limits(1, user_api="blas"):
        for setting in wanted:
            results[setting.title] = run(setting, given.seeds, folder)
            print(f"\n### {setting.title}\n\n{setting.told[0].upper()}{setting.told[1:]}.\n", flush=True)
            print(table(results[setting.title]), flush=True)
    head = ["setting", "peer", "matching option", "shared left", "private kept", "leftover", "", "options dominated"]
    print(f"\n### Peer less option\n\n{markdown(head, verdicts(results))}")


if __name__ == "__main__":
    main()
