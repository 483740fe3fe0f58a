"""What a fit rests on: everything that was accumulated from the rows, and nothing that needs them again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clear_cli.health import Floats
from clear_cli.moments import CrossMoments
from clear_cli.sample import Sample
from clear_cli.subspace import Pair

FOLDS = 4
"""Parts that figures are held out of in turn. A fold is a range of buckets, so equal items are in one."""


def in_doubt(ids: str) -> str:
    """What to ask where a modality shares nothing, by what its items are known by."""
    if ids == "row":
        return "are the rows of the same items in the same order?"
    return "do equal ids stand for the same item in all modalities?"


@dataclass(frozen=True, eq=False)
class Described:
    """One modality as it was read.

    Attributes:
        rows: Its rows.
        dim: Its columns, d.
        dtype: Their type.
        where: What to name in an error.
        ids: What its items are known by: `string`, `integer`, `text`, or `row` where there are no ids.
    """

    rows: int
    dim: int
    dtype: np.dtype[Any]
    where: str
    ids: str


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was accumulated in one reading of all modalities.

    Attributes:
        modalities: Each as it was read.
        moments: Cross-moments of every pair.
        samples: The sample of complete items of every pair; none where nothing is to be reported.
        placeholders: Per modality its filler rows (p, d), in its own type.
        own: Of every pair, the moments of each of its modalities by itself; none where no fit needs them.
        settings: What decided how rows were accumulated, in JSON's types: only of equal settings there is a sum.
    """

    modalities: dict[str, Described]
    moments: dict[Pair, CrossMoments]
    samples: dict[Pair, Sample]
    placeholders: dict[str, Floats]
    own: dict[Pair, tuple[CrossMoments, CrossMoments]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
