"""Merged files of moments are one fit over all their rows: however these are split, in whatever order they merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clear_cli.config import FitOptions
from clear_cli.projector import Projector
from clear_cli.rank import RankRule
from clear_cli.values import PerModality
from clear_cli.workflow.evidence import Evidence
from clear_cli.workflow.merging import combined
from clear_cli.workflow.moments_file import read_moments, write_moments
from clear_cli.workflow.solving import solve
from tests.laws.planted import Floats, angle, fit, planted

seeds = st.integers(0, 2**32 - 1)
ROWS, DIMS, RANK = 240, (12, 8, 6), 3
NAMES = ("image", "text", "audio")
OPTIONS = FitOptions(rank=PerModality(RankRule(str(RANK))))


def modalities(seed: int, count: int = 2, **how: Any) -> dict[str, Floats]:
    return dict(zip(NAMES[:count], planted(ROWS, DIMS[:count], seed=seed, **how), strict=True))


def kept(sides: Mapping[str, Floats], rows: Any = slice(None), **options: Any) -> Evidence:
    """What a fit of some of the rows rests on; ids are the numbers that these have among all."""
    ids = [f"item-{i}" for i in np.arange(ROWS)[rows]]
    found = []
    fit({n: x[rows] for n, x in sides.items()}, ids=dict.fromkeys(sides, ids), keep=found.append, **options)
    return found[0]


def stored(evidence: Evidence, path: Path) -> Evidence:
    write_moments(evidence, path)
    return read_moments(path)


def together(parts: Sequence[Evidence]) -> Evidence:
    merged = parts[0]
    for part in parts[1:]:
        merged = combined(merged, part, NAMES)
    return merged


def solved(evidence: Evidence, options: FitOptions = OPTIONS) -> dict[str, Projector]:
    return solve(evidence, options).projectors


def assert_same(one: Mapping[str, Projector], other: Mapping[str, Projector], tolerance: float) -> None:
    """Projectors agree up to `tolerance` sigma_1 / gap, and so do the figures beside them."""
    assert list(one) == list(other)
    for name, expected in other.items():
        mine, sigma = one[name], expected.spectrum
        assert mine.rank == expected.rank
        k = expected.rank
        gap = (sigma[k - 1] - sigma[k]) / sigma[0] if 0 < k < len(sigma) else 1.0
        assert angle(mine.directions[:, :k], expected.directions[:, :k]) <= tolerance / gap
        np.testing.assert_allclose(mine.spectrum, sigma, rtol=0, atol=tolerance * sigma[0])
        scale = np.abs(expected.mean).max() + np.sqrt(expected.total_variance)
        np.testing.assert_allclose(mine.mean, expected.mean, rtol=0, atol=tolerance * scale)
        assert mine.total_variance == pytest.approx(expected.total_variance, rel=tolerance)
        np.testing.assert_array_equal(mine.placeholders, expected.placeholders)


@given(seed=seeds, cuts=st.sets(st.sampled_from(range(20, ROWS, 20)), max_size=3), count=st.sampled_from([2, 3]))
def test_merged_files_are_one_fit(tmp_path_factory: Any, seed: int, cuts: set[int], count: int) -> None:
    folder = tmp_path_factory.mktemp("days")
    sides = modalities(seed, count, offset=3.0)
    days = [kept(sides, slice(a, b)) for a, b in pairwise([0, *sorted(cuts), ROWS])]
    merged = together([stored(day, folder / f"{i}.moments") for i, day in enumerate(days)])
    assert_same(solved(merged), solved(kept(sides)), 1e-10)


@given(seed=seeds)
def test_any_split_will_do(seed: int) -> None:
    sides = modalities(seed)
    days = np.random.default_rng(seed).integers(0, 3, ROWS)
    assert_same(solved(together([kept(sides, days == day) for day in range(3)])), solved(kept(sides)), 1e-10)


@given(seed=seeds, dtype=st.sampled_from([np.float16, np.float32]))
def test_merging_shorter_floats_costs_no_precision(seed: int, dtype: Any) -> None:
    sides = modalities(seed, dtype=dtype)
    merged = together([kept(sides, slice(0, 100)), kept(sides, slice(100, None))])
    assert_same(solved(merged), solved(kept(sides)), 1e-5)


@given(seed=seeds, count=st.sampled_from([2, 3]))
def test_merging_is_commutative_and_associative(seed: int, count: int) -> None:
    sides = modalities(seed, count)
    a, b, c = (kept(sides, rows) for rows in (slice(0, 70), slice(70, 150), slice(150, None)))
    expected = solved(together([a, b, c]))
    assert_same(solved(together([c, b, a])), expected, 1e-10)
    assert_same(solved(combined(a, combined(b, c, NAMES), NAMES)), expected, 1e-10)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_storing_changes_no_bit(tmp_path: Path, dtype: Any) -> None:
    evidence = kept(modalities(1, 3, dtype=dtype), directions="correlation")
    again = stored(evidence, tmp_path / "one.moments")
    write_moments(again, tmp_path / "two.moments")
    assert (tmp_path / "one.moments").read_bytes() == (tmp_path / "two.moments").read_bytes()
    for name, projector in solved(evidence).items():
        assert solved(again)[name].directions.tobytes() == projector.directions.tobytes()


def test_merging_changes_neither_part(tmp_path: Path) -> None:
    sides = modalities(2)
    parts = [kept(sides, slice(0, 100)), kept(sides, slice(100, None))]
    together(parts)
    for part, rows in zip(parts, (slice(0, 100), slice(100, None)), strict=True):
        write_moments(part, tmp_path / "after")
        write_moments(kept(sides, rows), tmp_path / "fresh")
        assert (tmp_path / "after").read_bytes() == (tmp_path / "fresh").read_bytes()


def test_the_merged_sample_is_that_of_all_items() -> None:
    sides = modalities(3)
    merged = together([kept(sides, slice(0, 100)), kept(sides, slice(100, None))]).samples["image", "text"]
    whole = kept(sides).samples["image", "text"]
    np.testing.assert_array_equal(merged.hashes, whole.hashes)
    for mine, theirs in zip((*merged.rows(), merged.contents), (*whole.rows(), whole.contents), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("how", [{"directions": "correlation"}, {"removal": "oblique"}])
def test_covariances_of_their_own_merge_too(tmp_path: Path, how: dict[str, Any]) -> None:
    sides, options = modalities(4), replace(OPTIONS, **how)
    days = [kept(sides, rows, **how) for rows in (slice(0, 100), slice(100, None))]
    merged = together([stored(day, tmp_path / f"{i}") for i, day in enumerate(days)])
    one, whole = solved(merged, options), solved(kept(sides, **how), options)
    assert_same(one, whole, 1e-9)
    for name in whole:
        np.testing.assert_allclose(one[name].weights, whole[name].weights, atol=1e-7)


def test_more_items_can_be_added_to_what_was_stored(tmp_path: Path) -> None:
    sides = modalities(5)
    again = stored(kept(sides, slice(0, 100)), tmp_path / "m").moments["image", "text"]
    hashes = np.arange(140, dtype=np.uint64) << np.uint64(56)
    again.update(sides["image"][100:], sides["text"][100:], hashes)
    expected = kept(sides).moments["image", "text"].cross_covariance()
    np.testing.assert_allclose(again.cross_covariance(), expected, atol=1e-12)


def test_a_pair_of_one_file_only_is_carried_over(tmp_path: Path) -> None:
    sides = modalities(6, 3)
    two = {name: sides[name].astype(np.float32) for name in NAMES[:2]}
    merged = together([kept(two, slice(0, 100)), kept(sides, slice(100, None))])
    assert {pair: one.items for pair, one in merged.moments.items()} == {
        ("image", "text"): 240,
        ("image", "audio"): 140,
        ("text", "audio"): 140,
    }
    assert {name: (one.rows, one.dtype.name) for name, one in merged.modalities.items()} == {
        "image": (240, "float64"),
        "text": (240, "float64"),
        "audio": (140, "float64"),
    }
    assert list(stored(merged, tmp_path / "m").samples) == list(merged.samples) == list(merged.moments)


def test_types_that_differ_end_in_the_wider_one(tmp_path: Path) -> None:
    sides = modalities(7)
    narrow = {name: x.astype(np.float32) for name, x in sides.items()}
    for parts in ((sides, narrow), (narrow, sides)):
        merged = together([kept(parts[0], slice(0, 100)), kept(parts[1], slice(100, None))])
        assert {one.dtype.name for one in merged.modalities.values()} == {"float64"}
        assert_same(solved(stored(merged, tmp_path / "m")), solved(kept(sides)), 1e-5)


def test_placeholders_of_all_are_known_once() -> None:
    sides = modalities(8)
    sides["image"][:30], sides["image"][100:130], sides["image"][130:150] = 0.5, 0.5, 0.25
    days = [kept(sides, slice(0, 100)), kept(sides, slice(100, None))]
    assert [len(day.placeholders["image"]) for day in days] == [1, 2]
    assert_same(solved(together(days)), solved(kept(sides)), 1e-10)


def test_a_pair_too_small_for_one_fit_is_enough_for_two() -> None:
    sides = modalities(9, 3)
    for day in (slice(0, 120), slice(120, None)):
        sides["text"][day][64:], sides["audio"][day][:56] = 0.0, 0.0
    days = [kept(sides, rows) for rows in (slice(0, 120), slice(120, None))]
    assert [day.moments["text", "audio"].items for day in days] == [8, 8]
    assert ("text", "audio") not in solve(days[0], OPTIONS).moments
    assert solve(together(days), OPTIONS).moments["text", "audio"].items == 16
    assert_same(solved(together(days)), solved(kept(sides)), 1e-10)
