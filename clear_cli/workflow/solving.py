"""From evidence to projectors: decompose, choose ranks, and say what the user should know. No rows are read here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from clear_cli.config import FitOptions
from clear_cli.errors import DataError
from clear_cli.moments import CrossMoments
from clear_cli.projector import Projector
from clear_cli.sample import Sample
from clear_cli.subspace import Pair, RankRule, energy_rank, numeric_rank, shared_subspaces, tied_at
from clear_cli.workflow.evidence import Evidence

MIN_COMPLETE_ITEMS = 10


@dataclass(frozen=True, eq=False)
class Solution:
    """What a fit found.

    Attributes:
        projectors: One per modality.
        evidence: What they rest on: of the pairs that have enough items, the moments and samples.
        warnings: What the user should know.
    """

    projectors: dict[str, Projector]
    evidence: Evidence
    warnings: list[str]

    @property
    def moments(self) -> dict[Pair, CrossMoments]:
        """Of the pairs that entered the fit."""
        return self.evidence.moments

    @property
    def samples(self) -> dict[Pair, Sample]:
        """Of the same pairs; none where nothing is to be reported."""
        return self.evidence.samples


def solve(evidence: Evidence, options: FitOptions) -> Solution:
    """Decompose the shared subspace of every modality and choose its rank.

    Raises:
        DataError: Too few complete items.
        UsageError: A rank that does not fit.
    """
    warnings: list[str] = []
    evidence = _enough(evidence, warnings)
    modalities = evidence.modalities
    projectors = {}
    for name, subspace in shared_subspaces(evidence.moments, list(modalities)).items():
        kept = min(options.max_rank, subspace.dim - 1, len(subspace.spectrum))
        others = sum(one.dim for other, one in modalities.items() if other != name)
        rank = options.rank[name].choose(subspace.spectrum, dim=subspace.dim, partners=others, kept=kept)
        _warn_rank(name, rank, subspace.spectrum, options.rank[name], warnings)
        projectors[name] = Projector(
            modality=name,
            mean=_mean(name, evidence.moments),
            directions=np.ascontiguousarray(subspace.directions[:, :kept]),
            spectrum=subspace.spectrum,
            rank=rank,
            strength=options.strength[name],
            placeholders=evidence.placeholders[name],
        )
    return Solution(projectors, evidence, warnings)


def _mean(name: str, moments: Mapping[Pair, CrossMoments]) -> npt.NDArray[np.float64]:
    """The mean over the complete items of all pairs of a modality, each pair weighted by its items."""
    parts = [(pair.items, pair.mean(names.index(name))) for names, pair in moments.items() if name in names]
    return np.average([mean for _, mean in parts], axis=0, weights=[n for n, _ in parts])


def _enough(evidence: Evidence, warnings: list[str]) -> Evidence:
    """What is known of the pairs with enough complete items; at least one for each modality."""
    moments = {}
    for (a, b), pair in evidence.moments.items():
        dims = sum(pair.dims)
        if pair.items >= MIN_COMPLETE_ITEMS:
            moments[a, b] = pair
            if pair.items < dims:
                warnings.append(
                    f'"{a}" and "{b}" have {pair.items:,} complete items, fewer than their {dims:,} dimensions '
                    "together: the fit follows noise"
                )
        elif len(evidence.moments) > 1:
            warnings.append(
                f'"{a}" and "{b}" have {pair.items:,} complete items, fewer than {MIN_COMPLETE_ITEMS}: '
                "the pair is left out of the fit"
            )
    for name, modality in evidence.modalities.items():
        if not any(name in pair for pair in moments):
            most = max(pair.items for names, pair in evidence.moments.items() if name in names)
            raise DataError(
                f'"{name}" has {most:,} complete items with another modality, and the fit needs {MIN_COMPLETE_ITEMS}',
                where=modality.where,
                fix="check that the ids match and that the rows are not missing",
            )
    samples = {pair: evidence.samples[pair] for pair in moments if pair in evidence.samples}
    return replace(evidence, moments=moments, samples=samples)


def _warn_rank(name: str, rank: int, spectrum: npt.NDArray[np.float64], rule: RankRule, warnings: list[str]) -> None:
    wanted = rule.count if rule.share is None else energy_rank(spectrum, rule.share)
    if wanted is not None and rank < wanted:
        warnings.append(f'"{name}" can lose only {rank} of the {wanted} directions that rank {rule.text} asks for')
    elif numeric_rank(spectrum, len(spectrum)) == 0 and wanted != 0:
        warnings.append(f'"{name}" shares nothing that can be removed: its output equals its input')
    if tied_at(spectrum, rank):
        warnings.append(
            f'the singular values of "{name}" are tied at rank {rank}: which directions fall below the cut is arbitrary'
        )
