"""Moments are a sum over items: of any batches, shards and days, in any order, whatever their offsets and scales."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clear_cli.health import mix, pair_hashes, row_hashes
from clear_cli.moments import CrossMoments, bucket_count
from clear_cli.pooling import pooled
from tests.laws.planted import Floats, accumulated, dense_covariance, planted, random_hashes

seeds = st.integers(0, 2**32 - 1)
types = st.sampled_from([np.float16, np.float32, np.float64])
DIMS = (7, 5)


@st.composite
def shards(draw: st.DrawFn, offsets: Any = (0.0, 1.0, 1000.0, -50.0), scales: Any = (1.0, 1e-6, 1e6)) -> Any:
    """(a, b, hashes) of one shard, float64, with its own offset and scale; some shards are empty."""
    rows, seed = draw(st.integers(0, 60)), draw(seeds)
    offset, scale = draw(st.sampled_from(offsets)), draw(st.sampled_from(scales))
    a, b = planted(rows, DIMS, seed=seed, offset=offset, scale=scale)
    return a, b, random_hashes(rows, seed)


def size(moments: CrossMoments) -> float:
    """What a cross-covariance of these moments can be at most: the unit of its errors."""
    return float(np.sqrt(moments.total_variance(0) * moments.total_variance(1)))


def assert_same(one: CrossMoments, other: CrossMoments, tolerance: float) -> None:
    """All that can be read off two moments is the same, in total and bucket by bucket."""
    assert one.items == other.items
    np.testing.assert_array_equal(one.count, other.count)
    np.testing.assert_allclose(
        one.cross_covariance(), other.cross_covariance(), rtol=0, atol=tolerance * size(other) + 1e-300
    )
    for side in (0, 1):
        spread = np.sqrt(other.total_variance(side))
        assert one.total_variance(side) == pytest.approx(other.total_variance(side), rel=tolerance, abs=1e-300)
        scale = np.abs(other.mean(side)).max() + spread
        np.testing.assert_allclose(one.mean(side), other.mean(side), rtol=0, atol=tolerance * scale)
    for mine, theirs in zip(buckets(one), buckets(other), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance * other.items * size(other) + 1e-300)


def buckets(moments: CrossMoments) -> list[Floats]:
    """Per bucket the sum of products about the mean of all items, in the units of the data: (B, d_a, d_b)."""
    n = moments.count[:, None]
    gaps = [
        np.ldexp(moments.sums[side], -moments.exponents[side][:, None])
        - n * (moments.mean(side) - moments.pilots[side])
        for side in (0, 1)
    ]
    means = [np.ldexp(moments.sums[side], -moments.exponents[side][:, None]) / np.maximum(n, 1) for side in (0, 1)]
    inside = np.ldexp(moments.products, -sum(moments.exponents)[:, None, None]) - np.einsum(
        "b,bi,bj->bij", moments.count, *means
    )
    return list(inside + np.einsum("bi,bj->bij", gaps[0], gaps[1] / np.maximum(n, 1)))


@given(seed=seeds, rows=st.integers(2, 200), dtype=types, offset=st.sampled_from([0.0, 10.0, 1000.0]))
def test_they_are_those_of_the_dense_definition(seed: int, rows: int, dtype: Any, offset: float) -> None:
    a, b = planted(rows, DIMS, seed=seed, dtype=dtype, offset=offset)
    moments = accumulated(a, b, random_hashes(rows, seed), batch=64)
    tolerance = 1e-10 if dtype == np.float64 else 1e-5
    c = dense_covariance(a, b)
    variances = [float(x.astype(np.float64).var(axis=0, ddof=1).sum()) for x in (a, b)]
    atol = tolerance * np.sqrt(np.prod(variances))
    np.testing.assert_allclose(moments.cross_covariance(), c, rtol=0, atol=atol)
    for side, x in enumerate((a, b)):
        assert moments.total_variance(side) == pytest.approx(variances[side], rel=tolerance)
        np.testing.assert_allclose(moments.mean(side), x.mean(axis=0, dtype=np.float64), rtol=1e-7, atol=1e-7)


@given(seed=seeds, rows=st.integers(0, 100), dims=st.sampled_from([(3, 2), (1, 1), (1, 6)]))
def test_each_bucket_holds_the_items_of_its_hashes(seed: int, rows: int, dims: tuple[int, int]) -> None:
    a, b = planted(rows, dims, shared=1, seed=seed, offset=5)
    hashes = random_hashes(rows, seed)
    moments = accumulated(a, b, hashes, batch=17).settle()
    bucket = (hashes >> np.uint64(59)).astype(int)
    np.testing.assert_array_equal(moments.count, np.bincount(bucket, minlength=32))
    for i, found in enumerate(buckets(moments)):
        x, y = (rows_[bucket == i] - rows_.mean(axis=0) for rows_ in (a, b)) if rows else (a, b)
        np.testing.assert_allclose(found, x.T @ y, atol=1e-10)


@given(shards(), shards())
def test_merging_is_accumulating(first: Any, second: Any) -> None:
    merged = pooled(accumulated(*first), accumulated(*second))
    together = accumulated(*map(np.concatenate, zip(first, second, strict=True)))
    assert_same(merged, together, 1e-10)


@given(shards(), shards())
def test_merging_is_commutative(first: Any, second: Any) -> None:
    one, other = accumulated(*first), accumulated(*second)
    assert_same(pooled(one, other), pooled(other, one), 1e-10)


@given(shards(), shards(), shards())
def test_merging_is_associative(first: Any, second: Any, third: Any) -> None:
    a, b, c = accumulated(*first), accumulated(*second), accumulated(*third)
    assert_same(pooled(pooled(a, b), c), pooled(a, pooled(b, c)), 1e-10)


@given(shards(scales=(1e-30, 1.0, 1e30)), shards(scales=(1e-30, 1.0, 1e30)))
def test_merging_shards_of_any_scale_is_accumulating_them(first: Any, second: Any) -> None:
    merged = pooled(accumulated(*first), accumulated(*second))
    together = accumulated(*map(np.concatenate, zip(first, second, strict=True)))
    assert_same(merged, together, 1e-10)


@given(shards())
def test_merging_with_nothing_changes_nothing(shard: Any) -> None:
    moments, nothing = accumulated(*shard), CrossMoments(*DIMS)
    assert_same(pooled(moments, nothing), moments, 1e-12)
    assert_same(pooled(nothing, moments), moments, 1e-12)


@given(shards(), shards())
def test_merging_leaves_both_parts_as_they_were(first: Any, second: Any) -> None:
    one, other = accumulated(*first), accumulated(*second)
    before = [one.cross_covariance().tobytes(), other.cross_covariance().tobytes(), one.items, other.items]
    pooled(one, other)
    assert [one.cross_covariance().tobytes(), other.cross_covariance().tobytes(), one.items, other.items] == before


@given(shards(), shards(), shards())
def test_accumulation_goes_on_after_a_merge(first: Any, second: Any, third: Any) -> None:
    continued = pooled(accumulated(*first), accumulated(*second))
    continued.update(*third)
    together = accumulated(*map(np.concatenate, zip(first, second, third, strict=True)))
    assert_same(continued, together, 1e-10)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_accumulation_goes_on_after_a_merge_with_nothing(scale: float) -> None:
    a, b = planted(100, DIMS, dtype=np.float32, scale=scale)
    hashes = random_hashes(100, 0)
    nothing = CrossMoments(*DIMS)
    continued = pooled(nothing, accumulated(a[:50], b[:50], hashes[:50]))
    continued.update(a[50:], b[50:], hashes[50:])
    assert_same(continued, accumulated(a, b, hashes), 1e-5)


@given(seed=seeds, cut=st.integers(0, 200), offset=st.sampled_from([0.0, 10.0, 1000.0]))
def test_merging_float32_shards_costs_no_precision(seed: int, cut: int, offset: float) -> None:
    a, b = planted(200, DIMS, seed=seed, dtype=np.float32, offset=offset)
    hashes = random_hashes(200, seed)
    head, tail = slice(0, cut), slice(cut, None)
    merged = pooled(accumulated(a[head], b[head], hashes[head]), accumulated(a[tail], b[tail], hashes[tail]))
    assert np.abs(merged.cross_covariance() - dense_covariance(a, b)).max() < 1e-5


@given(seed=seeds, batch=st.integers(1, 130), offset=st.sampled_from([0.0, 1.0, 1000.0]))
def test_batches_of_any_size_are_the_whole(seed: int, batch: int, offset: float) -> None:
    a, b = planted(130, DIMS, seed=seed, offset=offset)
    hashes = random_hashes(130, seed)
    assert_same(accumulated(a, b, hashes, batch=batch), accumulated(a, b, hashes), 1e-10)


@given(seed=seeds)
def test_the_order_of_items_changes_nothing(seed: int) -> None:
    a, b = planted(130, DIMS, seed=seed, offset=100)
    hashes = random_hashes(130, seed)
    order = np.random.default_rng(seed).permutation(130)
    assert_same(accumulated(a[order], b[order], hashes[order], batch=50), accumulated(a, b, hashes), 1e-10)


@given(seed=seeds, dtype=types)
def test_threads_do_not_change_a_bit(seed: int, dtype: Any) -> None:
    a, b = planted(500, DIMS, seed=seed, dtype=dtype)
    hashes = random_hashes(500, seed)
    alone, together = CrossMoments(*DIMS), CrossMoments(*DIMS)
    with ThreadPoolExecutor(4) as pool:
        for rows in (slice(0, 300), slice(300, None)):
            alone.update(a[rows], b[rows], hashes[rows])
            together.update(a[rows], b[rows], hashes[rows], parallel=pool.map)
    assert alone.products.tobytes() == together.products.tobytes()
    assert [x.tobytes() for x in (*alone.sums, *alone.squares)] == [
        x.tobytes() for x in (*together.sums, *together.squares)
    ]


@given(seed=seeds, copies=st.lists(st.integers(0, 29), min_size=1, max_size=100), dtype=types)
def test_items_with_equal_contents_share_a_bucket(seed: int, copies: list[int], dtype: Any) -> None:
    a, b = (x[copies] for x in planted(30, DIMS, seed=seed, dtype=dtype))
    hashes = pair_hashes(row_hashes(a), row_hashes(b))
    for one in set(copies):
        same = np.array([i for i, copy in enumerate(copies) if copy == one])
        moments = accumulated(a[same], b[same], hashes[same])
        assert np.count_nonzero(moments.count) == 1


@given(seed=seeds)
def test_different_items_spread_over_all_buckets(seed: int) -> None:
    a, b = planted(3200, DIMS, seed=seed)
    count = accumulated(a, b, pair_hashes(row_hashes(a), row_hashes(b))).count
    # A hundred are expected in each; binomial bounds beyond six standard deviations.
    assert count.min() > 40
    assert count.max() < 160


@given(seed=seeds)
def test_items_that_share_one_of_their_two_rows_spread_over_all_buckets(seed: int) -> None:
    a, b = planted(3200, DIMS, seed=seed)
    same = np.broadcast_to(a[0], a.shape)
    for hashes in (
        pair_hashes(row_hashes(same), row_hashes(b)),
        pair_hashes(row_hashes(b), row_hashes(same)),
        pair_hashes(row_hashes(b), row_hashes(b)),
    ):
        count = np.bincount((hashes >> np.uint64(59)).astype(int), minlength=32)
        assert count.min() > 40
        assert count.max() < 160


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, unique=True))
def test_mixing_keeps_different_hashes_different(hashes: list[int]) -> None:
    mixed = mix(np.array(hashes, dtype=np.uint64))
    assert len(np.unique(mixed)) == len(hashes)


def test_the_number_of_buckets_depends_on_the_dimensions_alone() -> None:
    assert bucket_count(1, 1) == bucket_count(1024, 2048) == 32
    assert bucket_count(1024, 2049) == bucket_count(2048, 2048) == 16
    assert bucket_count(2048, 2049) == bucket_count(8192, 8192) == 8
