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
    """Warnings for each modality with rows in the fit that are placeholders among all rows, or in another file.

    Args:
        evidence: Of all files together. No file has rows in its sample that it knew for placeholders itself.
    """
    warnings = []
    for name, rows in _largest(evidence.samples).items():
        hashes = row_hashes(rows)
        repeated = RepeatedRows()
        repeated.update(hashes)
        frequent = np.isin(hashes, repeated.placeholders())
        # How many rows the file left out is not known, and so neither whether these are placeholders among all.
        elsewhere = np.isin(hashes, row_hashes(evidence.placeholders[name].astype(rows.dtype))) & ~frequent
        of = f'of {len(rows):,} sampled rows of "{name}"'
        if frequent.any():
            warnings.append(
                f"{frequent.sum():,} {of} are placeholders of which a file had too few to know them: they are part of "
                "the fit (a fit over all rows at once leaves them out)"
            )
        if elsewhere.any():
            one = elsewhere.sum() == 1
            what = "is a placeholder in another file: it is" if one else "are placeholders in another file: they are"
            warnings.append(
                f"{elsewhere.sum():,} {of} {what} part of the fit (a fit over all rows at once takes all equal rows, "
                "or none)"
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
