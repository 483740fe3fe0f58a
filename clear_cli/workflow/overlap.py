"""Items that are in more than one file of moments, and so count twice: looked for in the samples.

Which items are sampled depends on their hashes alone. Below the largest hash of every sample that is full, each
sample holds all items of its file, so that an item of two files is in both samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clear_cli.health import Hashes
from clear_cli.sample import Sample
from clear_cli.subspace import Pair
from clear_cli.workflow.evidence import Evidence

Figures = dict[str, Any]


@dataclass(frozen=True)
class Overlap:
    """What samples tell about items that are in more than one file.

    Attributes:
        sampled: Different items that were looked at.
        shared: How many of them are in more than one file.
    """

    sampled: int
    shared: int

    @property
    def share(self) -> float:
        """Estimated share of the items that are in more than one file."""
        return self.shared / max(self.sampled, 1)

    def figures(self) -> Figures:
        """As JSON."""
        return {"sampled": self.sampled, "shared": self.shared, "share": self.share}

    @classmethod
    def of(cls, samples: Sequence[SampledHashes]) -> Overlap:
        """Of the samples of one pair, one from each file."""
        limit = min((one.limit for one in samples), default=_ALL)
        found = np.concatenate([one.hashes[one.hashes <= limit] for one in samples])
        _, files = np.unique(found, return_counts=True)
        return cls(len(files), int(np.count_nonzero(files > 1)))


@dataclass(frozen=True, eq=False)
class SampledHashes:
    """What is remembered of a sample.

    Attributes:
        hashes: (n,) different item hashes.
        limit: No item of the file with a hash up to this is missing from the sample.
    """

    hashes: Hashes
    limit: np.uint64

    @classmethod
    def of(cls, evidence: Evidence, pair: Pair) -> SampledHashes | None:
        """Of the sample of a pair; None without a sample, and without ids, where hashes are of row numbers."""
        sample = evidence.samples.get(pair)
        if sample is None or any(evidence.modalities[name].ids == "row" for name in pair):
            return None
        hashes = np.unique(sample.hashes)
        return cls(hashes, hashes[-1] if _full(sample) else _ALL)


def overlap_warnings(pairs: Sequence[Figures]) -> list[str]:
    """A warning for each pair that counts items twice, or of which that is not known.

    Args:
        pairs: Of each `modalities`, the number of `files` that have it, and what `overlap` they have, if that is known.
    """
    warnings = []
    for one in pairs:
        (a, b), overlap = one["modalities"], one["overlap"]
        if overlap is None and one["files"] > 1:
            warnings.append(
                f'items of "{a}" and "{b}" that are in more than one file were not looked for: '
                "it takes item ids, and samples in every file (fit without --no-report)"
            )
        elif overlap and overlap["shared"]:
            warnings.append(
                f'about {overlap["share"]:.2%} of the items of "{a}" and "{b}" are in more than one file, and count '
                f"twice ({overlap['shared']:,} of {overlap['sampled']:,} sampled): fit each increment on new items only"
            )
    return warnings


_ALL = np.uint64(2**64 - 1)


def _full(sample: Sample) -> bool:
    return len(sample.hashes) == sample.capacity
