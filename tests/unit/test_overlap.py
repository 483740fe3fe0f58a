"""Items in more than one file are found in samples, whatever part of the items these hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from clear_cli.sample import Sample
from clear_cli.workflow.evidence import Described, Evidence
from clear_cli.workflow.overlap import Overlap, SampledHashes

PAIR = ("image", "text")


def sampled(hashes: Any, capacity: int = 10_000) -> SampledHashes:
    side = (1, np.dtype(np.float32))
    sample = Sample(side, side, capacity)
    rows = np.zeros((len(hashes), 1), np.float32)
    sample.update(rows, rows, hashes, hashes)
    described = {name: Described(len(hashes), 1, np.dtype(np.float32), "", "string") for name in PAIR}
    found = SampledHashes.of(Evidence(described, {}, {PAIR: sample}, {}), PAIR)
    assert found is not None
    return found


def overlap(parts: Sequence[Any], capacity: int = 10_000) -> Overlap:
    return Overlap.of([sampled(part, capacity) for part in parts])


def hashes(count: int) -> Any:
    return np.random.default_rng(0).integers(0, 2**64, count, dtype=np.uint64)


def test_of_samples_that_hold_all_it_is_exact() -> None:
    all_ = hashes(1000)
    assert overlap([all_[:600], all_[600:]]) == Overlap(1000, 0)
    assert overlap([all_[:600], all_[500:]]) == Overlap(1000, 100)
    assert overlap([all_, all_]).share == 1.0
    assert overlap([all_[:400], all_[300:600], all_[350:]]) == Overlap(1000, 300)
    assert overlap([all_[:0], all_]) == Overlap(1000, 0)


@pytest.mark.parametrize("shared", [0, 500, 5000, 20_000])
def test_of_full_samples_it_is_an_estimate(shared: int) -> None:
    all_ = hashes(40_000)
    found = overlap([all_[: 20_000 + shared // 2], all_[20_000 - shared // 2 :]], capacity=2000)
    assert found.sampled < 4000
    assert found.share == pytest.approx(shared / 40_000, abs=0.02)


def test_a_small_increment_beside_a_full_sample() -> None:
    all_ = hashes(40_000)
    assert overlap([all_[:39_000], all_[39_000:]], capacity=2000).shared == 0
    assert overlap([all_, all_[39_000:]], capacity=2000).shared > 10


def test_an_item_twice_in_one_file_is_not_in_two() -> None:
    all_ = hashes(100)
    assert overlap([np.concatenate([all_[:50], all_[:50]]), all_[50:]]) == Overlap(100, 0)
