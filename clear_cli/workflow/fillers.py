"""Fillers that a file of moments did not know of, as they were too rare among its rows: looked for in merged samples.

The items of a sample are those with the smallest hashes, so a filler has about the share of them that it has of all
complete items.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clear_cli.health import Floats, RepeatedRows, row_hashes
from clear_cli.sample import Sample
from clear_cli.subspace import Pair
from clear_cli.workflow.evidence import Evidence


def filler_warnings(evidence: Evidence) -> list[str]:
    """A warning for each modality with rows in the fit that one fit over all rows would take for placeholders.

    Args:
        evidence: Of all files together. No file has rows in its sample that it knew for placeholders itself.
    """
    warnings = []
    for name, rows in _largest(evidence.samples).items():
        hashes = row_hashes(rows)
        repeated = RepeatedRows()
        repeated.update(hashes)
        fillers = np.concatenate([repeated.placeholders(), row_hashes(evidence.placeholders[name].astype(rows.dtype))])
        found = int(np.isin(hashes, fillers).sum())
        if found:
            warnings.append(
                f'{found:,} of {len(rows):,} sampled rows of "{name}" are placeholders of which a file had too few to '
                "know them: they are part of the fit (a fit over all rows at once leaves them out)"
            )
    return warnings


def _largest(samples: Mapping[Pair, Sample]) -> dict[str, Floats]:
    """The most rows that are sampled of each modality: (n, d) by name."""
    largest: dict[str, Floats] = {}
    for pair, sample in samples.items():
        for name, rows in zip(pair, sample.rows(), strict=True):
            if name not in largest or len(rows) > len(largest[name]):
                largest[name] = rows
    return largest
