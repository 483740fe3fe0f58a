"""The shared subspace of each modality: ordered directions, their spectrum, and how far it stands out from chance.

Two modalities: the singular vectors of their cross-covariance, C = U diag(sigma) V^T (CLEAR, Zhan et al.
2026, arXiv 2603.01536, section 3). More than two: for modality m the left singular vectors of the row of
blocks [C_mq / sqrt(tr S_q) for q != m]. C_mq grows with the units of the partner q, and the root of its
total variance takes them out, so that every partner speaks at the same volume: without it the loudest
decides, and divided by tr S_q itself the quietest. At two modalities it changes nothing.

Directions of correlation instead of covariance: the same of the whitened W_m^T C_mq W_q, whose singular values are
canonical correlations; each left vector l then stands for the pattern S_m W_m l in the data, and the patterns are
made orthonormal in their order. (The weights W_m l are no directions of the data: removing those leaves most of C.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from clear_cli.chance import Float32, Significance, draws_of, significance
from clear_cli.moments import CrossMoments, ParallelMap
from clear_cli.whitening import Whitening, whitening

Float64 = npt.NDArray[np.float64]
Pair = tuple[str, str]
Own = Mapping[Pair, tuple[CrossMoments, CrossMoments]]


@dataclass(frozen=True, eq=False)
class SharedSubspace:
    """What one modality shares with the others.

    Attributes:
        directions: (d, r) orthonormal columns, in descending order of the spectrum.
        spectrum: (r,) singular values, descending: of the cross-covariance itself at two modalities, of the
            row of normalised blocks at more; canonical correlations where the directions are those of correlation,
            of shrunk covariances: of few items the first may exceed 1.
        significance: How far the spectrum stands out from chance; None where that was not asked.
    """

    directions: Float64
    spectrum: Float64
    significance: Significance | None = None

    @property
    def dim(self) -> int:
        """Columns of the modality, d."""
        return len(self.directions)


@dataclass(frozen=True)
class Decomposition:
    """How the shared subspaces are found.

    Attributes:
        correlation: Whiten each modality first, so that directions of low variance count as much as those of high.
        within: Look only where each modality varies by more than its cut, so that its covariance can be inverted there.
        cuts: Per modality, the relative eigenvalue cut of its covariance where that is inverted.
        chance: Test what is found against chance.
        parallel: Runs the tests. The result does not depend on it.
    """

    correlation: bool = False
    within: bool = False
    cuts: Mapping[str, float] = field(default_factory=dict)
    chance: bool = False
    parallel: ParallelMap = map


def shared_subspaces(
    moments: Mapping[Pair, CrossMoments], modalities: Sequence[str], how: Decomposition, own: Own | None = None
) -> dict[str, SharedSubspace]:
    """The shared subspace of every modality that occurs in `moments`.

    Args:
        moments: Cross-moments of each pair (a, b) that can be used; each modality may have several partners.
        modalities: All names, which fixes the order of the blocks.
        how: What is decomposed.
        own: Moments of the modalities by themselves, where their covariances are inverted.

    Returns:
        One subspace per modality. At two modalities column j of both belongs to the same singular value.

    Source: Zhan et al. 2026, equations 4 to 6, for the two-modality case.
    """
    inverted = how.correlation or how.within
    spans = {name: _whitened(name, own or {}, how.cuts[name]) for name in modalities} if inverted else {}
    whitened = spans if how.correlation else {}
    if len(modalities) == 2:
        (pair,) = moments
        u, sigma, v, tested = _block(moments, pair, spans, how).decomposed(how)
        sides = zip(pair, (u, v), strict=True)
        return {name: SharedSubspace(_patterns(side, whitened.get(name)), sigma, tested) for name, side in sides}
    subspaces = {}
    for name in modalities:
        u, sigma, _, tested = _row_of_blocks(moments, name, modalities, spans, how).decomposed(how)
        subspaces[name] = SharedSubspace(_patterns(u, whitened.get(name)), sigma, tested)
    return subspaces


def own_covariance(name: str, own: Own) -> Float64:
    """S of a modality (d, d) over the complete items of all its pairs, each pair weighted by its items."""
    parts = [(own[pair][pair.index(name)]) for pair in own if name in pair]
    covariances = [one.cross_covariance() for one in parts]
    return np.average(covariances, axis=0, weights=[one.items for one in parts])


def _whitened(name: str, own: Own, cut: float) -> Whitening:
    items = sum(own[pair][0].items for pair in own if name in pair)
    return whitening(own_covariance(name, own), cut=cut, items=items)


@dataclass(frozen=True, eq=False)
class _Block:
    """Cross-covariances of one modality with another, or with several side by side.

    Attributes:
        c: (d, d_q).
        draws: (D, d, d_q) what chance makes of it; None where nothing is tested.
        unit: What the draws are to be multiplied by.
    """

    c: Float64
    draws: Float32 | None
    unit: float = 1.0

    @classmethod
    def of(cls, moments: CrossMoments, how: Decomposition) -> _Block:
        draws, unit = draws_of(moments, parallel=how.parallel) if how.chance else (None, 1.0)
        return cls(moments.cross_covariance(), draws, unit)

    @property
    def transposed(self) -> _Block:
        """The same seen from the other side."""
        return _Block(self.c.T, None if self.draws is None else self.draws.transpose(0, 2, 1), self.unit)

    def times(self, factor: float) -> _Block:
        """All of it multiplied."""
        return _Block(self.c * factor, self.draws, self.unit * factor)

    def whitened(self, a: Whitening, b: Whitening) -> _Block:
        """W_a^T C W_b."""
        w_a, w_b = a.whitener, b.whitener
        # The unit may lie outside the range of float32, which what it is whitened to does not.
        draws = (
            None if self.draws is None else [((self.unit * w_a.T) @ one @ w_b).astype(np.float32) for one in self.draws]
        )
        return _Block(w_a.T @ self.c @ w_b, None if draws is None else np.stack(draws))

    def within(self, a: Whitening, b: Whitening) -> _Block:
        """What of C lies in the spans of both. The draws stay: what lies outside is too little to matter by chance."""
        inner = a.vectors.T @ self.c @ b.vectors
        return _Block(a.vectors @ inner @ b.vectors.T, self.draws, self.unit)

    def decomposed(self, how: Decomposition) -> tuple[Float64, Float64, Float64, Significance | None]:
        """U, sigma, V, with the signs that make the largest entry of each column of U positive; tested."""
        u, sigma, v = svd(self.c)
        # A modality that is constant has no direction at all once it is whitened.
        signs = np.where(u[np.argmax(np.abs(u), axis=0), np.arange(len(sigma))] < 0, -1.0, 1.0) if len(sigma) else 1.0
        tested = (
            None if self.draws is None else significance(sigma, u, v, self.draws, unit=self.unit, parallel=how.parallel)
        )
        return u * signs, sigma, v * signs, tested


def _block(
    moments: Mapping[Pair, CrossMoments], pair: Pair, spans: Mapping[str, Whitening], how: Decomposition
) -> _Block:
    block = _Block.of(moments[pair], how)
    if not spans:
        return block
    a, b = (spans[name] for name in pair)
    return block.whitened(a, b) if how.correlation else block.within(a, b)


def _row_of_blocks(
    moments: Mapping[Pair, CrossMoments],
    name: str,
    modalities: Sequence[str],
    spans: Mapping[str, Whitening],
    how: Decomposition,
) -> _Block:
    blocks = []
    for partner in modalities:
        pair = (name, partner) if (name, partner) in moments else (partner, name)
        if pair not in moments:
            continue
        block = _block(moments, pair, spans, how)
        if not how.correlation:
            variance = moments[pair].total_variance(pair.index(partner))
            block = block.times(1 / np.sqrt(variance) if variance else 0.0)
        blocks.append(block if pair[0] == name else block.transposed)
    return _beside(blocks)


def _beside(blocks: Sequence[_Block]) -> _Block:
    unit = max(block.unit for block in blocks)
    draws = [block.draws * np.float32(block.unit / (unit or 1.0)) for block in blocks if block.draws is not None]
    return _Block(
        np.concatenate([block.c for block in blocks], axis=1), np.concatenate(draws, axis=2) if draws else None, unit
    )


def _patterns(u: Float64, whitened: Whitening | None) -> Float64:
    """Orthonormal directions of the data for the left singular vectors."""
    if whitened is None:
        return np.ascontiguousarray(u)
    q, r = np.linalg.qr(whitened.root @ u)
    # QR leaves the signs open; the pattern itself has one.
    directions: Float64 = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return directions


def svd(c: Float64) -> tuple[Float64, Float64, Float64]:
    """U (d, r), sigma (r,) and V (d_q, r) of C (d, d_q): C = U diag(sigma) V^T."""
    # An exact power of two first: LAPACK squares entries, and 1e-200 would vanish.
    largest = float(np.abs(c).max(initial=0.0))
    exponent = int(np.frexp(largest)[1]) if largest else 0
    scaled = np.ldexp(c, -exponent)
    try:
        u, sigma, vt = np.linalg.svd(scaled, full_matrices=False)
    except np.linalg.LinAlgError:
        # Divide and conquer fails on rare matrices; plain QR iteration is slower and does not.
        import scipy.linalg  # slow to import

        u, sigma, vt = scipy.linalg.svd(scaled, full_matrices=False, check_finite=False, lapack_driver="gesvd")
    return u, np.ldexp(sigma, exponent), np.ascontiguousarray(vt.T)
