"""What the rows of two modalities share, from a bounded sample of complete items: correlations, regressions, spectra.

Figures of the fit use all sampled items at once and flatter themselves; held-out ones are learned without a fold and
measured on it. Beside each stands what the same arithmetic gives by chance, with the buckets of one modality's partner
signed as in `chance`. Matrices are (items, dimensions), covariances have ddof = 1, and all figures are plain numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clear_cli.chance import DRAWS, Signs, balanced_signs, signed_sums, significance
from clear_cli.norms import norm, ratio
from clear_cli.spread import spread
from clear_cli.subspace import svd
from clear_cli.whitening import Whitening, oas, of_eigenpairs

Floats = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]
Figures = dict[str, Any]

BUCKETS = 32
MAX_CORRELATIONS = 64
ROUNDINGS = 4.0
VARYING = 1e-9
"""Variance on a fold of a variate that has 1 where it was learned, from which on it is one."""


class Shared:
    """What two modalities share.

    Args:
        a: (n, d_a) rows of the first modality.
        b: (n, d_b) rows of the same items in the second.
        buckets: (n,) bucket of each item, below BUCKETS; equal items are in one.
        folds: A divisor of BUCKETS: fold i holds the i-th part of the buckets.
    """

    def __init__(self, a: Floats, b: Floats, buckets: npt.NDArray[np.uint8], folds: int) -> None:
        self.items = len(a)
        self._parts = _Parts.of(a, b, buckets, folds)
        self.c, self.s_a, self.s_b = self._parts.total(slice(None))
        self._spectra = [np.linalg.eigh(s) for s in (self.s_a, self.s_b)]
        self._whitenings = [
            of_eigenpairs(values, vectors, cut=_rounding(x, values[-1]))
            for (values, vectors), x in zip(self._spectra, (a, b), strict=True)
        ]

    @property
    def shared_norm(self) -> float:
        """||C||_F of the sample."""
        return norm(self.c)

    def rv(self) -> float | None:
        """RV coefficient, which is linear CKA: ||C||^2 / (||S_a|| ||S_b||) (Robert & Escoufier 1976)."""
        return ratio(norm(self.c) ** 2, norm(self.s_a) * norm(self.s_b))

    def cka_debiased(self) -> float | None:
        """Linear CKA from the unbiased HSIC estimator (Song et al. 2012); near 0 for independent modalities."""
        p, q = self._parts.squares
        n = self.items
        if n < 4:
            return None
        # A root of each: their product would leave the range, and of two that are negative it would look sound.
        roots = [np.sqrt(max(_hsic(s, x, x, n), 0.0)) for s, x in ((self.s_a, p), (self.s_b, q))]
        return ratio(_hsic(self.c, p, q, n), float(roots[0] * roots[1]))

    def canonical_correlations(self) -> Float64:
        """Canonical correlations, descending, over the directions above the relative rank cut."""
        return self._whitened()[1]

    def linear_r2(self) -> tuple[float | None, float | None]:
        """Share of the variance of b that is linear in a, and of a that is linear in b (variance-weighted R^2)."""
        w_a, w_b = (one.whitener for one in self._whitenings)
        forward, backward = norm(w_a.T @ self.c) ** 2, norm(self.c @ w_b) ** 2
        shares = ratio(forward, float(np.trace(self.s_b))), ratio(backward, float(np.trace(self.s_a)))
        # Rounding may leave a little more explained than there is.
        return tuple(None if share is None else min(share, 1.0) for share in shares)  # type: ignore[return-value]

    def effective_ranks(self) -> tuple[float, float]:
        """Exp of the entropy of the normalised singular values of a and of b (Roy & Vetterli 2007; RankMe)."""
        ranks = [_effective_rank(values) for values, _ in self._spectra]
        return ranks[0], ranks[1]

    def figures(self, rank: int) -> Figures:
        """All of the above as plain numbers; means of held-out correlations are over the first `rank` directions."""
        u, correlations, v = self._whitened()
        draws = self._parts.draws(self._whitenings)
        tested = significance(correlations, u, v, draws)
        return {
            "rv": self.rv(),
            "cka_debiased": self.cka_debiased(),
            "canonical_correlation_top": float(correlations[0]) if len(correlations) else None,
            "canonical_correlation_top_chance": float(tested.median[0]) if len(correlations) else None,
            "canonical_correlation_mean": float(correlations.mean()) if len(correlations) else None,
            "canonical_correlations": correlations[:MAX_CORRELATIONS].tolist(),
            "canonical_correlations_chance": tested.median[:MAX_CORRELATIONS].tolist(),
            "canonical_correlations_significant": tested.significant,
            "linear_r2": list(self.linear_r2()),
            "effective_rank": list(self.effective_ranks()),
            "held_out": self.held_out(rank),
        }

    def held_out(self, rank: int) -> Figures | None:
        """Correlations and R^2 on each fold, of what was learned on the others; None for fewer than 4 items a fold."""
        folds = [fold for fold in range(self._parts.folds) if self._parts.count(fold) >= 4]
        learned = [self._parts.without(fold) for fold in folds]
        if len(folds) < 2 or not all(np.trace(s) > 0 for one in learned for s in one[1:]):
            return None
        signs = balanced_signs(BUCKETS)
        seen = [self._learned(fold, rank) for fold in folds]
        # One draw of chance for each fold.
        drawn = [self._learned(fold, rank, signs[fold]) for fold in folds]
        figures = {key: spread([one[key] for one in seen], [one[key] for one in drawn]) for key in ("top", "mean")}
        r2 = [spread([one["r2"][side] for one in seen], [one["r2"][side] for one in drawn]) for side in (0, 1)]
        correlations = np.mean([one["correlations"] for one in seen], axis=0)
        return {
            "canonical_correlation_top": figures["top"],
            "canonical_correlation_mean": figures["mean"],
            "canonical_correlations": correlations[:MAX_CORRELATIONS].tolist(),
            "linear_r2": r2,
        }

    def _whitened(self) -> tuple[Float64, Float64, Float64]:
        """U, canonical correlations, V of W_a^T C W_b."""
        w_a, w_b = (one.whitener for one in self._whitenings)
        u, correlations, v = svd(w_a.T @ self.c @ w_b)
        return u, np.minimum(correlations, 1.0), v

    def _learned(self, fold: int, rank: int, signs: Signs | None = None) -> Figures:
        """Learned on the other folds, measured on this one; of the draw of chance with these signs, where given."""
        train = self._parts.without(fold, signs)
        c, s_a, s_b = self._parts.total(fold, signs)
        n = self.items - self._parts.count(fold)
        l_a, l_b = (_cholesky(oas(s, n)) for s in train[1:])
        half_a, half_b = _solve(l_a, train[0]), _solve(l_b, train[0].T)
        u, _, v = svd(_solve(l_b, half_a.T).T)
        w, v = (
            _solve(l_a, u[:, :MAX_CORRELATIONS], transposed=True),
            _solve(l_b, v[:, :MAX_CORRELATIONS], transposed=True),
        )
        # Variates that are constant on the fold, as those of removed directions are, correlate with nothing.
        spread_a, spread_b = _column_products(w, s_a @ w), _column_products(v, s_b @ v)
        varying = (spread_a > VARYING) & (spread_b > VARYING)
        scales = np.sqrt(np.where(varying, spread_a * spread_b, 1.0))
        correlations = np.where(varying, np.clip(_column_products(w, c @ v) / scales, -1.0, 1.0), 0.0)
        forward, backward = _solve(l_a, half_a, transposed=True), _solve(l_b, half_b, transposed=True)
        return {
            "correlations": correlations,
            "top": float(correlations[0]),
            "mean": float(correlations[: max(rank, 1)].mean()),
            "r2": (_explained(forward, c, s_a, s_b, train[2]), _explained(backward, c.T, s_b, s_a, train[1])),
        }


@dataclass(frozen=True, eq=False)
class _Parts:
    """Second moments of the sample about its mean: C by bucket, S_a and S_b by fold.

    Attributes:
        counts: (BUCKETS,) items.
        c: (BUCKETS, d_a, d_b) sums of products.
        sums: per side, (BUCKETS, d) sums of centred rows.
        s: per side, (folds, d, d) sums of products.
        squares: per side, (n,) squared norms of the centred rows.
    """

    counts: npt.NDArray[np.int64]
    c: Float64
    sums: tuple[Float64, Float64]
    s: tuple[Float64, Float64]
    squares: tuple[Float64, Float64]

    @classmethod
    def of(cls, a: Floats, b: Floats, buckets: npt.NDArray[np.uint8], folds: int) -> _Parts:
        from scipy.linalg.blas import dsyrk  # slow to import

        means = tuple(x.mean(axis=0, dtype=np.float64) for x in (a, b))
        c = np.zeros((BUCKETS, a.shape[1], b.shape[1]))
        s = tuple([np.zeros((x.shape[1],) * 2, order="F") for _ in range(folds)] for x in (a, b))
        sums = (np.zeros((BUCKETS, a.shape[1])), np.zeros((BUCKETS, b.shape[1])))
        squares = (np.empty(len(a)), np.empty(len(b)))
        for bucket in range(BUCKETS):
            rows = np.flatnonzero(buckets == bucket)
            fold = bucket * folds // BUCKETS
            centred = a[rows] - means[0], b[rows] - means[1]
            c[bucket] = centred[0].T @ centred[1]
            for side, x in enumerate(centred):
                if len(x):  # half of a symmetric product is enough
                    s[side][fold] = dsyrk(1.0, x.T, 1.0, s[side][fold], lower=1, overwrite_c=1)
                    sums[side][bucket] = x.sum(axis=0)
                squares[side][rows] = np.einsum("ij,ij->i", x, x)
        whole = tuple(np.stack([np.tril(one) + np.tril(one, -1).T for one in side]) for side in s)
        return cls(np.bincount(buckets, minlength=BUCKETS), c, sums, (whole[0], whole[1]), squares)

    @property
    def folds(self) -> int:
        return len(self.s[0])

    def count(self, fold: int) -> int:
        """Items of a fold."""
        return int(self.counts.reshape(self.folds, -1)[fold].sum())

    def total(self, fold: int | slice, signs: Signs | None = None) -> tuple[Float64, Float64, Float64]:
        """C, S_a, S_b of a fold, or of all: ddof = 1. With signs a draw of chance in the place of C."""
        chosen = np.zeros(self.folds)
        chosen[fold] = 1
        return self._of(chosen, signs)

    def without(self, fold: int, signs: Signs | None = None) -> tuple[Float64, Float64, Float64]:
        """The same of all folds but one."""
        chosen = np.ones(self.folds)
        chosen[fold] = 0
        return self._of(chosen, signs)

    def _of(self, chosen: Float64, signs: Signs | None) -> tuple[Float64, Float64, Float64]:
        """About the means of the chosen items: those of all would tell each fold of a hub in another."""
        buckets = np.repeat(chosen, BUCKETS // self.folds)
        counts = self.counts * (buckets > 0)
        sums = (self.sums[0] * buckets[:, None], self.sums[1] * buckets[:, None])
        (a, b), n = (one.sum(axis=0) for one in sums), max(int(counts.sum()), 2)
        if signs is None:
            c = np.tensordot(buckets, self.c, 1) - np.outer(a, b / n)
        else:
            c = signed_sums(self.c, counts, sums, (buckets * signs)[None], self.c.dtype)[0]
        s_a, s_b = (np.tensordot(chosen, s, 1) - np.outer(x, x / n) for s, x in zip(self.s, (a, b), strict=True))
        return c / (n - 1), s_a / (n - 1), s_b / (n - 1)

    def draws(self, whitenings: Sequence[Whitening]) -> npt.NDArray[np.float32]:
        """Draws of what the whitened cross-covariance is by chance: (D, r_a, r_b)."""
        n = max(float(self.counts.sum()) - 1, 1.0)
        w_a, w_b = (one.whitener for one in whitenings)
        draws = np.empty((DRAWS, w_a.shape[1], w_b.shape[1]), np.float32)
        signs = balanced_signs(BUCKETS).astype(np.float64)
        for some in np.array_split(np.arange(DRAWS), 4):
            for i, signed in zip(
                some, signed_sums(self.c, self.counts, self.sums, signs[some], self.c.dtype), strict=True
            ):
                draws[i] = w_a.T @ (signed / n) @ w_b
        return draws


def _rounding(x: Floats, largest: float) -> float:
    """The share of the largest variance of rows x (n, d) that is no more than the rounding of their type.

    Directions below it hold no information to correlate; a removed direction is such a one.
    """
    square = float(np.einsum("ij,ij->j", x, x, dtype=np.float64).max(initial=0.0)) / max(len(x), 1)
    return ROUNDINGS * float(np.finfo(x.dtype).eps) ** 2 * max(ratio(square, largest) or 0.0, 1.0)


def _cholesky(s: Float64) -> Float64:
    lower: Float64 = np.linalg.cholesky(s).astype(np.float64, copy=False)
    return lower


def _solve(lower: Float64, b: Float64, *, transposed: bool = False) -> Float64:
    from scipy.linalg import solve_triangular  # slow to import

    solved: Float64 = solve_triangular(lower, b, lower=True, trans=int(transposed), check_finite=False)
    return solved


def _column_products(x: Float64, y: Float64) -> Float64:
    products: Float64 = np.einsum("ij,ij->j", x, y)
    return products


def _explained(weights: Float64, c: Float64, s_x: Float64, s_y: Float64, learned: Float64) -> float | None:
    """Share of the variance of y that x @ weights takes away, on items with these covariances; below 0 if it adds.

    None where y is constant there, but for the rounding of what it was `learned` on, S_y (d, d).
    """
    total = float(np.trace(s_y))
    if total <= VARYING * float(np.trace(learned)):
        return None
    unexplained = total - 2 * float(np.sum(weights * c)) + float(np.sum(weights * (s_x @ weights)))
    return 1 - unexplained / total


def _hsic(c: Float64, p: Float64, q: Float64, n: int) -> float:
    """Unbiased HSIC of linear kernels from centred features (Song et al. 2012, eq. 5), without an n x n matrix.

    With centred features the kernels' row sums without the diagonal are -p and -q, the squared norms of the rows.
    """
    cross = norm(c * (n - 1)) ** 2
    common = float(p @ q)
    total = cross - common + float(p.sum() * q.sum()) / ((n - 1) * (n - 2)) - 2 * common / (n - 2)
    return total / (n * (n - 3))


def _effective_rank(eigenvalues: Float64) -> float:
    values = np.sqrt(np.clip(eigenvalues, 0, None))
    shares = values[values > 0] / (values.sum() or 1.0)
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0
