"""From evidence to projectors: decompose, choose ranks, and say what the user should know. No rows are read here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from clear_cli.chance import Significance
from clear_cli.config import FitOptions
from clear_cli.errors import DataError
from clear_cli.moments import CrossMoments, ParallelMap
from clear_cli.projector import Projector
from clear_cli.rank import RankRule, energy_rank, tied_at
from clear_cli.sample import Sample
from clear_cli.subspace import Decomposition, Pair, SharedSubspace, own_covariance, shared_subspaces
from clear_cli.whitening import rounding, whitening
from clear_cli.workflow.evidence import Evidence, in_doubt

Float64 = npt.NDArray[np.float64]

MIN_COMPLETE_ITEMS = 10
MAX_MAGNITUDE = 240
"""Values are between 2 ** -240 and 2 ** 240, some 1e72, so that fourth powers of them are numbers in float64."""


@dataclass(frozen=True, eq=False)
class Solution:
    """What a fit found.

    Attributes:
        projectors: One per modality.
        evidence: What they rest on: of the pairs that have enough items, the moments and samples.
        warnings: What the user should know.
        significances: Per modality, how far its spectrum stands out from chance; none where that was not asked.
    """

    projectors: dict[str, Projector]
    evidence: Evidence
    warnings: list[str]
    significances: dict[str, Significance]

    @property
    def moments(self) -> dict[Pair, CrossMoments]:
        """Of the pairs that entered the fit."""
        return self.evidence.moments

    @property
    def samples(self) -> dict[Pair, Sample]:
        """Of the same pairs; none where nothing is to be reported."""
        return self.evidence.samples

    @property
    def provenance(self) -> dict[str, dict[str, int | str]]:
        """What to remember of the evidence beside the projectors."""
        modalities = self.evidence.modalities
        return {
            "complete_items": {"|".join(pair): moments.items for pair, moments in self.moments.items()},
            "rows": {name: one.rows for name, one in modalities.items()},
            "dtype": {name: one.dtype.name for name, one in modalities.items()},
        }


def solve(evidence: Evidence, options: FitOptions, *, parallel: ParallelMap = map) -> Solution:
    """Decompose the shared subspace of every modality and choose its rank.

    Args:
        evidence: What was accumulated.
        options: Parameters of the fit.
        parallel: Runs the tests against chance. The result does not depend on it.

    Raises:
        DataError: Too few complete items.
        UsageError: A rank that does not fit.
    """
    warnings: list[str] = []
    evidence = _enough(evidence, warnings)
    how = _decomposition(evidence, options, chance=options.tested, parallel=parallel)
    subspaces = shared_subspaces(evidence.moments, list(evidence.modalities), how, evidence.own)
    ranks = _ranks(subspaces, evidence, options, warnings)
    projectors = {}
    for name, subspace in subspaces.items():
        kept = _kept(subspace, options)
        directions = np.ascontiguousarray(subspace.directions[:, :kept])
        projectors[name] = Projector(
            modality=name,
            mean=_mean(name, evidence.moments),
            directions=directions,
            spectrum=subspace.spectrum,
            rank=ranks[name],
            strength=_strength(name, subspace, ranks, options)[:kept],
            scale=1 / (root_mean_square(name, evidence.moments) or 1.0) if options.scale == "rms" else 1.0,
            placeholders=evidence.placeholders[name],
            weights=_weights(name, directions, evidence, how) if options.removal == "oblique" else np.empty((0, 0)),
            keep_mean=options.keep_mean,
            renorm=options.renorm,
            variances=_variances(name, directions, evidence.samples),
            total_variance=_total_variance(name, evidence.moments),
        )
    significances = {name: one.significance for name, one in subspaces.items() if one.significance is not None}
    return Solution(projectors, evidence, warnings, significances)


def refitted(projectors: Mapping[str, Projector], evidence: Evidence, options: FitOptions) -> dict[str, Projector]:
    """The projectors of other evidence of the same modalities, at the ranks and strengths of these."""
    how = _decomposition(evidence, options, chance=False)
    again = {}
    for name, subspace in shared_subspaces(evidence.moments, list(evidence.modalities), how, evidence.own).items():
        before = projectors[name]
        directions = np.ascontiguousarray(subspace.directions[:, : before.rank])
        again[name] = replace(
            before,
            mean=_mean(name, evidence.moments),
            directions=directions,
            spectrum=subspace.spectrum,
            strength=before.strength[: before.rank],
            variances=np.empty(0),
            weights=_weights(name, directions, evidence, how) if before.weights.size else before.weights,
        )
    return again


def _decomposition(
    evidence: Evidence, options: FitOptions, *, chance: bool, parallel: ParallelMap = map
) -> Decomposition:
    return Decomposition(
        correlation=options.directions == "correlation",
        within=options.removal == "oblique",
        cuts={name: rounding(one.dtype) for name, one in evidence.modalities.items()},
        chance=chance,
        parallel=parallel,
    )


def _kept(subspace: SharedSubspace, options: FitOptions) -> int:
    return min(options.max_rank, subspace.dim - 1, len(subspace.spectrum))


def _ranks(
    subspaces: Mapping[str, SharedSubspace], evidence: Evidence, options: FitOptions, warnings: list[str]
) -> dict[str, int]:
    ranks = {}
    for name, one in subspaces.items():
        rule, kept = options.rank[name], _kept(one, options)
        # Whitened modalities have no directions where they do not vary: the data are like that, no option is wrong.
        others = sum(pair.dims[1 - names.index(name)] for names, pair in evidence.moments.items() if name in names)
        shareable = min(one.dim, others)
        ranks[name] = rule.choose(one.spectrum, one.significance, dim=one.dim, kept=kept, shareable=shareable)
        _warn_rank(name, ranks[name], one, rule, evidence.modalities[name].ids, warnings)
    return ranks


def _strength(name: str, subspace: SharedSubspace, ranks: Mapping[str, int], options: FitOptions) -> Float64:
    """(r,) the strength of each direction.

    The soft one shrinks sigma_j just to its chance level tau_j: where the partner does the same, a root of it falls to
    each side; where the partner removes a share of its own, the rest falls to this side.
    """
    own, spectrum = options.strength[name], subspace.spectrum
    if own != "soft":
        return np.full(len(spectrum), own)
    assert subspace.significance is not None
    j = np.arange(len(spectrum))
    soft, taken = np.zeros(len(spectrum), bool), np.zeros(len(spectrum))
    for partner in ranks.keys() - {name}:
        # Directions beyond the rank of this side matter once both ranks are raised.
        removed = (j < ranks[partner]) | (j >= ranks[name])
        strength = options.strength[partner]
        if strength == "soft":
            soft |= removed
        else:
            taken = np.maximum(taken, strength * removed)
    left = np.where(soft, 1.0, 1.0 - taken) * spectrum
    share = np.divide(subspace.significance.high, left, out=np.ones(len(spectrum)), where=left > 0)
    share = np.minimum(share, 1.0)
    return 1.0 - np.where(soft, np.sqrt(share), share)


def _weights(name: str, directions: Float64, evidence: Evidence, how: Decomposition) -> Float64:
    return whitening(own_covariance(name, evidence.own), cut=how.cuts[name]).solve(directions)


def _variances(name: str, directions: Float64, samples: Mapping[Pair, Sample]) -> Float64:
    """(k,) of the sampled rows of a modality along its directions; (0,) without a sample."""
    rows = max(
        (sample.rows()[pair.index(name)] for pair, sample in samples.items() if name in pair), key=len, default=None
    )
    if rows is None or len(rows) < 2:
        return np.empty(0)
    working = np.result_type(rows, np.float32)
    # A shift first, for the precision of rows that are far from zero.
    centred = np.subtract(rows, rows.mean(axis=0, dtype=np.float64).astype(working), dtype=working)
    scores: Float64 = (centred @ directions.astype(working)).astype(np.float64)
    variances: Float64 = scores.var(axis=0, ddof=1)
    return variances


def _total_variance(name: str, moments: Mapping[Pair, CrossMoments]) -> float:
    parts = [(one.items, one.total_variance(pair.index(name))) for pair, one in moments.items() if name in pair]
    return float(np.average([variance for _, variance in parts], weights=[n for n, _ in parts]))


def root_mean_square(name: str, moments: Mapping[Pair, CrossMoments]) -> float:
    """The root-mean-square row norm of a modality over the complete items of its pairs."""
    squares, items = 0.0, 0
    for pair, one in moments.items():
        if name in pair:
            side = pair.index(name)
            squares += one.total_variance(side) * (one.items - 1) + one.items * float(np.sum(one.mean(side) ** 2))
            items += one.items
    return float(np.sqrt(squares / max(items, 1)))


def _mean(name: str, moments: Mapping[Pair, CrossMoments]) -> Float64:
    """The mean over the complete items of all pairs of a modality, each pair weighted by its items."""
    parts = [(pair.items, pair.mean(names.index(name))) for names, pair in moments.items() if name in names]
    return np.average([mean for _, mean in parts], axis=0, weights=[n for n, _ in parts])


def _enough(evidence: Evidence, warnings: list[str]) -> Evidence:
    """What is known of the pairs with enough complete items; at least one for each modality."""
    moments = {}
    for (a, b), pair in evidence.moments.items():
        dims = sum(pair.dims)
        if pair.items >= MIN_COMPLETE_ITEMS:
            _check_magnitude(evidence, (a, b))
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
            most = max((pair.items for names, pair in evidence.moments.items() if name in names), default=0)
            raise DataError(
                f'"{name}" has {most:,} complete items with another modality, and the fit needs {MIN_COMPLETE_ITEMS}',
                where=modality.where,
                fix="check that the ids match and that the rows are not missing",
            )
    samples = {pair: evidence.samples[pair] for pair in moments if pair in evidence.samples}
    return replace(evidence, moments=moments, samples=samples)


def _check_magnitude(evidence: Evidence, pair: Pair) -> None:
    moments = evidence.moments[pair].settle()
    for side, name in enumerate(pair):
        powers = -moments.scale(side)
        if abs(powers) > MAX_MAGNITUDE:
            raise DataError(
                f'values of "{name}" are about 1e{powers * np.log10(2):+.0f}, and products of them are beyond float64',
                where=evidence.modalities[name].where,
                fix=f"multiply them by 1e{-powers * np.log10(2):+.0f} first",
            )


def _warn_rank(name: str, rank: int, subspace: SharedSubspace, rule: RankRule, ids: str, warnings: list[str]) -> None:
    spectrum = subspace.spectrum
    wanted = rule.count
    if rule.share is not None:
        wanted = energy_rank(spectrum, rule.share)
    elif rule.automatic and subspace.significance is not None:
        wanted = subspace.significance.rank
    if wanted is not None and rank < wanted:
        warnings.append(f'"{name}" can lose only {rank} of the {wanted} directions that rank {rule.text} asks for')
    elif rank == 0 and rule.automatic:
        warnings.append(
            f'"{name}" shares nothing that stands out from chance, so nothing is removed from it: {in_doubt(ids)}'
        )
    elif rank == 0 and wanted != 0:
        warnings.append(f'"{name}" shares nothing that can be removed: its output equals its input')
    if tied_at(spectrum, rank):
        warnings.append(
            f'the singular values of "{name}" are tied at rank {rank}: which directions fall below the cut is arbitrary'
        )
