"""The shared subspace of each modality: ordered directions, their spectrum, and how many of them to remove.

Two modalities: the singular vectors of their cross-covariance, C = U diag(sigma) V^T (CLEAR, Zhan et al.
2026, arXiv 2603.01536, section 3). More than two: for modality m the left singular vectors of the row of
blocks [C_mq / sqrt(tr S_q) for q != m]. C_mq grows with the units of the partner q, and the root of its
total variance takes them out, so that every partner speaks at the same volume: without it the loudest
decides, and divided by tr S_q itself the quietest. At two modalities it changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clear_cli.errors import UsageError
from clear_cli.moments import CrossMoments

Float64 = npt.NDArray[np.float64]
Pair = tuple[str, str]

DEFAULT_MAX_RANK = 256
TIE = 1e-6
"""Two singular values closer than this share of the first are tied: their vectors rotate freely."""


@dataclass(frozen=True, eq=False)
class SharedSubspace:
    """What one modality shares with the others.

    Attributes:
        directions: (d, r) orthonormal columns, in descending order of the spectrum.
        spectrum: (r,) singular values, descending: of the cross-covariance itself at two modalities, of the
            row of normalised blocks at more.
    """

    directions: Float64
    spectrum: Float64

    @property
    def dim(self) -> int:
        """Columns of the modality, d."""
        return len(self.directions)

    @property
    def numeric_rank(self) -> int:
        """How many singular values stand above rounding, relative to the first (0 for an all-zero spectrum)."""
        return numeric_rank(self.spectrum, self.dim)


def shared_subspaces(moments: Mapping[Pair, CrossMoments], modalities: Sequence[str]) -> dict[str, SharedSubspace]:
    """The shared subspace of every modality that occurs in `moments`.

    Args:
        moments: Cross-moments of each pair (a, b) that can be used; each modality may have several partners.
        modalities: All names, which fixes the order of the blocks.

    Returns:
        One subspace per modality. At two modalities column j of both belongs to the same singular value.

    Source: Zhan et al. 2026, equations 4 to 6, for the two-modality case.
    """
    if len(modalities) == 2:
        ((pair, only),) = moments.items()
        u, sigma, vt = _svd(only.cross_covariance())
        signs = _signs(u)
        return {
            pair[0]: SharedSubspace(u * signs, sigma),
            pair[1]: SharedSubspace(np.ascontiguousarray(vt.T) * signs, sigma),
        }
    subspaces = {}
    for modality in modalities:
        u, sigma, _ = _svd(_row_of_blocks(moments, modality, modalities))
        subspaces[modality] = SharedSubspace(u * _signs(u), sigma)
    return subspaces


def numeric_rank(spectrum: Float64, dim: int) -> int:
    """Singular values above max(d, r) eps sigma_1; `>`, so that an all-zero spectrum has rank 0."""
    if not len(spectrum):
        return 0
    eps = float(np.finfo(np.float64).eps)
    return int(np.count_nonzero(spectrum > spectrum[0] * max(dim, len(spectrum)) * eps))


@dataclass(frozen=True)
class RankRule:
    """How the rank of a modality is chosen from its spectrum: `default`, a fixed number, or a share of the energy."""

    text: str

    @classmethod
    def parse(cls, text: str) -> RankRule:
        """Read `16`, `90%` or `default`.

        Raises:
            UsageError: Anything else.
        """
        rule = cls(text.strip())
        if rule.text == "default" or rule.count is not None or 0 < (rule.share or 0.0) <= 1:
            return rule
        raise UsageError(f'rank "{text}" is not a number of directions or a percentage', fix="--rank 16 or --rank 90%")

    @property
    def count(self) -> int | None:
        """The fixed number of directions, if the rule is one."""
        return int(self.text) if self.text.isascii() and self.text.isdigit() else None

    @property
    def share(self) -> float | None:
        """The share of energy in (0, 1], if the rule is one."""
        try:
            return float(self.text.removesuffix("%")) / 100 if self.text.endswith("%") else None
        except ValueError:
            return None

    def choose(self, spectrum: Float64, *, dim: int, partners: int, kept: int) -> int:
        """The rank for one modality.

        Args:
            spectrum: (r,) all singular values.
            dim: Columns of the modality; the rank stays below it.
            partners: Columns of all other modalities together: the default is capped at a quarter of the smaller.
            kept: Directions that are there to be removed.

        Raises:
            UsageError: The fixed number is not below `dim`, or more than can be shared, or more than is kept.
        """
        if self.count is not None:
            if self.count >= dim:
                raise UsageError(
                    f"rank {self.count} would remove the whole modality: it has {dim} dimensions",
                    fix=f"a rank of at most {min(dim - 1, len(spectrum))}",
                )
            if self.count > len(spectrum):
                raise UsageError(
                    f"rank {self.count} is more than the {len(spectrum)} directions that the modalities can share",
                    fix=f"a rank of at most {len(spectrum)}",
                )
            if self.count > kept:
                raise UsageError(
                    f"rank {self.count} is more than the {kept} directions that are kept",
                    fix=f"--max-rank {self.count} when fitting, or a rank of at most {kept}",
                )
            return min(self.count, numeric_rank(spectrum, dim))
        rank = energy_rank(spectrum, 0.9 if self.share is None else self.share)
        cap = max(min(dim, partners) // 4, 1) if self.share is None else dim - 1
        return min(rank, cap, kept, numeric_rank(spectrum, dim))


DEFAULT_RANK = RankRule("default")


def energy_rank(spectrum: Float64, share: float) -> int:
    """Smallest k whose leading squared singular values hold this share of their sum; 0 for an all-zero spectrum."""
    energy = cumulative_energy(spectrum)
    # Rounding may leave the last sum a little short of 1.
    return min(int(np.searchsorted(energy, share * (1 - 1e-12)) + 1), len(energy)) if len(energy) and energy[-1] else 0


def cumulative_energy(spectrum: Float64) -> Float64:
    """(r,) share of sum sigma^2 in the first 1, 2, ... singular values; zeros for an all-zero spectrum."""
    # Relative to the first, so that values of 1e-200 do not underflow when squared.
    relative = spectrum / spectrum[0] if len(spectrum) and spectrum[0] else np.zeros_like(spectrum)
    total = np.cumsum(relative**2)
    shares: Float64 = total / total[-1] if len(total) and total[-1] else total
    return shares


def tied_at(spectrum: Float64, rank: int) -> bool:
    """Whether the cut at this rank falls between equal singular values, so that the subspace is not determined."""
    if not 0 < rank < len(spectrum):
        return False
    return bool(spectrum[rank - 1] - spectrum[rank] < TIE * spectrum[0])


def _row_of_blocks(moments: Mapping[Pair, CrossMoments], modality: str, modalities: Sequence[str]) -> Float64:
    blocks = []
    for partner in modalities:
        if (modality, partner) in moments:
            pair = moments[modality, partner]
            block, variance = pair.cross_covariance(), pair.total_variance(1)
        elif (partner, modality) in moments:
            pair = moments[partner, modality]
            block, variance = pair.cross_covariance().T, pair.total_variance(0)
        else:
            continue
        blocks.append(block / np.sqrt(variance) if variance else np.zeros_like(block))
    return np.concatenate(blocks, axis=1)


def _svd(c: Float64) -> tuple[Float64, Float64, Float64]:
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
    return u, np.ldexp(sigma, exponent), vt


def _signs(u: Float64) -> npt.NDArray[Any]:
    """(r,) the sign that makes the largest component of each column positive: the SVD leaves it open."""
    largest = u[np.argmax(np.abs(u), axis=0), np.arange(u.shape[1])]
    return np.where(largest < 0, -1.0, 1.0)
