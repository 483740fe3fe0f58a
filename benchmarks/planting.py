"""Modalities whose shared and private factors are known, and what of these factors is in their rows.

    x = scale (Z L + P M + noise)

Z are factors that all modalities share, P factors of one modality alone. All have variance 1; the rows of L and M say
how loud each is and in which direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FIT, FRESH = 4_000, 20_000
"""Items that are fitted, and others on which everything is measured."""
DIMS = {"image": 96, "text": 64, "audio": 48}
SHARED, PRIVATE = 6, 16
CUT = 1e-12
"""Directions with less than this share of the largest variance are rounding, and predict nothing."""


@dataclass(frozen=True)
class Setting:
    """How the catalogue is made.

    Attributes:
        title: Its name.
        told: What is special about it.
        loud: Standard deviation of each shared factor; that of a private one is 1.
        slant: Cosine between the direction of a shared factor and that of a private one; 0 for orthogonal ones.
        noise: Standard deviation of the noise of each dimension.
        freedom: Degrees of freedom of Student's t, which lengthens whole rows; None for the normal distribution.
        scales: One for each modality.
    """

    title: str
    told: str
    loud: tuple[float, ...] = (1.0,) * SHARED
    slant: float = 0.0
    noise: float = 0.2
    freedom: float | None = None
    scales: tuple[float, ...] = (1.0, 1.0)


SETTINGS = (
    Setting("Plain", "shared and private factors are equally loud, and all directions orthogonal"),
    Setting(
        "Fading", "each shared factor is 0.8 times as loud as the one before", tuple(0.8**j for j in range(SHARED))
    ),
    Setting("Quiet", "shared factors are 0.3 times as loud as private ones", (0.3,) * SHARED, noise=0.1),
    Setting("Slanted", "each shared direction has a cosine of 0.7 with a private one", slant=0.7),
    Setting("Slanted and quiet", "both of these", (0.3,) * SHARED, slant=0.7, noise=0.1),
    Setting(
        "Heavy tails",
        "all that makes up an item is drawn from a multivariate t with 3 degrees of freedom: a few rows are very long",
        freedom=3,
    ),
    Setting("Scales", "the image is 30 times as large as the text", scales=(30.0, 1.0)),
    Setting("Three modalities", "image, text and audio of one scale", scales=(1.0, 1.0, 1.0)),
    Setting(
        "Three modalities, scales",
        "the image 30 times, the audio 0.1 times as large as the text",
        scales=(30.0, 1.0, 0.1),
    ),
)


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Rows to fit on, other rows to measure on, and the truth about the latter.

    Attributes:
        fit: Per modality (FIT, d).
        fresh: Per modality (FRESH, d).
        shared: (FRESH, SHARED) Z.
        private: Per modality (FRESH, PRIVATE) P.
    """

    fit: dict[str, Floats]
    fresh: dict[str, Floats]
    shared: Floats
    private: dict[str, Floats]


def plant(setting: Setting, seed: int) -> Catalogue:
    """Draw a catalogue."""
    rng = np.random.default_rng(seed)

    n = FIT + FRESH
    lengths = np.ones((n, 1))
    if setting.freedom is not None:
        lengths = np.sqrt((setting.freedom - 2) / rng.chisquare(setting.freedom, (n, 1)))

    def drawn(columns: int) -> Floats:
        return lengths * rng.standard_normal((n, columns))

    z = drawn(SHARED)
    rows, private = {}, {}
    for (name, dim), scale in zip(DIMS.items(), setting.scales, strict=False):
        directions = np.linalg.qr(rng.standard_normal((dim, SHARED + PRIVATE)))[0].T
        m = directions[SHARED:]
        l = np.sqrt(1 - setting.slant**2) * directions[:SHARED] + setting.slant * m[:SHARED]  # noqa: E741
        p = drawn(PRIVATE)
        rows[name] = scale * (z * setting.loud @ l + p @ m + setting.noise * drawn(dim))
        private[name] = p[FIT:]
    fit, fresh = ({name: x[part] for name, x in rows.items()} for part in (slice(FIT), slice(FIT, None)))
    return Catalogue(fit, fresh, z[FIT:], private)


def figures(catalogue: Catalogue, clean: Mapping[str, Floats], cleaned: list[str]) -> dict[str, float]:
    """What is left in fresh rows.

    Args:
        catalogue: As it was planted.
        clean: Per modality the fresh rows without what they shared.
        cleaned: The modalities that were to lose something; the figures of single modalities are means over these.
    """
    everything = np.hstack([x / np.sqrt(x.var(axis=0).sum()) for x in clean.values()])
    pairs = list(combinations(clean, 2))
    left = [norm_of_cross(clean, *pair) / norm_of_cross(catalogue.fresh, *pair) for pair in pairs]
    return {
        "shared": _mean(explained(clean[name], catalogue.shared) for name in cleaned),
        "together": explained(everything, catalogue.shared),
        "private": _mean(explained(clean[name], catalogue.private[name]) for name in cleaned),
        "leftover": _mean(left),
        "variance": _mean(clean[name].var(axis=0).sum() / catalogue.fresh[name].var(axis=0).sum() for name in cleaned),
    }


def norm_of_cross(rows: Mapping[str, Floats], a: str, b: str) -> float:
    """||C||_F of two modalities."""
    x, y = (rows[name] - rows[name].mean(axis=0) for name in (a, b))
    return float(np.linalg.norm(x.T @ y)) / (len(x) - 1)


def explained(x: Floats, truth: Floats) -> float:
    """R^2 of factors (n, k) by least squares from rows (n, d): fitted on one half, measured on the other, and back.

    Where x knows nothing it is a little below zero, by d over the rows of a half.
    """
    first, second = slice(len(x) // 2), slice(len(x) // 2, None)
    return _mean(_explained(x, truth, *halves) for halves in ((first, second), (second, first)))


def _explained(x: Floats, truth: Floats, known: slice, asked: slice) -> float:
    mean, middle = x[known].mean(axis=0), truth[known].mean(axis=0)
    c = x[known] - mean
    values, vectors = np.linalg.eigh(c.T @ c)
    kept = values > CUT * values[-1]
    weights = (vectors[:, kept] / values[kept]) @ (vectors[:, kept].T @ (c.T @ (truth[known] - middle)))
    wrong = truth[asked] - middle - (x[asked] - mean) @ weights
    return 1 - float((wrong**2).sum() / ((truth[asked] - middle) ** 2).sum())


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))
