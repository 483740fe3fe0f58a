"""How many shared directions to remove: a number, a share of the energy, or as many as stand out from chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clear_cli.chance import Significance
from clear_cli.errors import UsageError

Float64 = npt.NDArray[np.float64]

DEFAULT_MAX_RANK = 256
TIE = 1e-6
"""Two singular values closer than this share of the first are tied: their vectors rotate freely."""


def numeric_rank(spectrum: Float64, dim: int) -> int:
    """Singular values above max(d, r) eps sigma_1; `>`, so that an all-zero spectrum has rank 0."""
    if not len(spectrum):
        return 0
    eps = float(np.finfo(np.float64).eps)
    return int(np.count_nonzero(spectrum > spectrum[0] * max(dim, len(spectrum)) * eps))


@dataclass(frozen=True)
class RankRule:
    """How the rank of a modality is chosen: `auto`, a fixed number, or a share of the energy."""

    text: str

    @classmethod
    def parse(cls, text: str) -> RankRule:
        """Read `16`, `90%` or `auto`.

        Raises:
            UsageError: Anything else.
        """
        rule = cls(text.strip())
        if rule.automatic or rule.count is not None or 0 < (rule.share or 0.0) <= 1:
            return rule
        raise UsageError(
            f'rank "{text}" is not auto, a number of directions or a percentage',
            fix="--rank 16 or --rank 90%",
            flags=["--rank"],
            said=text,
        )

    @property
    def automatic(self) -> bool:
        """Whether the rank is what stands out from chance."""
        return self.text == "auto"

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

    def choose(
        self,
        spectrum: Float64,
        significance: Significance | None,
        *,
        dim: int,
        kept: int,
        shareable: int | None = None,
    ) -> int:
        """The rank for one modality. A fixed number that could be there and is not becomes what is there.

        Args:
            spectrum: (r,) all singular values.
            significance: How far it stands out from chance; None where that was not tested, and `auto` cannot be told.
            dim: Columns of the modality; the rank stays below it.
            kept: Directions that are there to be removed.
            shareable: Directions that modalities of these dimensions can share; by default as many as the spectrum has.

        Raises:
            UsageError: The fixed number is not below `dim`, or more than can be shared, or more than is kept.
        """
        if self.count is not None:
            self._refuse_count(self.count, dim, kept, len(spectrum), len(spectrum) if shareable is None else shareable)
            return min(self.count, numeric_rank(spectrum, dim))
        if self.share is not None:
            rank = energy_rank(spectrum, self.share)
        elif significance is not None:
            rank = significance.rank
        else:
            raise UsageError(
                "nothing is known of what stands out from chance here",
                fix="--rank 16 or --rank 90%",
                flags=["--rank"],
                said=self.text,
            )
        return min(rank, dim - 1, kept, numeric_rank(spectrum, dim))

    def _refuse_count(self, count: int, dim: int, kept: int, found: int, shareable: int) -> None:
        """Raise a UsageError for a number that no data of these dimensions could have, or that is not kept."""
        about: dict[str, Any] = {"flags": ["--rank"], "said": self.text}
        if count >= dim:
            raise UsageError(
                f"rank {count} would remove the whole modality: it has {dim} dimensions",
                fix=f"--rank {min(dim - 1, shareable)} or less",
                **about,
            )
        if count > shareable:
            raise UsageError(
                f"rank {count} is more than the {shareable} directions that the modalities can share",
                fix=f"--rank {shareable} or less",
                **about,
            )
        if count > kept and kept < found:
            raise UsageError(
                f"rank {count} is more than the {kept} directions that are kept",
                fix=f"--max-rank {count} when fitting, or --rank {kept} or less",
                **about,
            )


DEFAULT_RANK = RankRule("auto")


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
