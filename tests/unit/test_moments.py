"""Moments of items whose size changes on the way, of few of them, of some buckets; and the rows that wait for more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clear_cli.buffers import BUFFER_ROWS, Buffers
from clear_cli.moments import CrossMoments, buckets_of
from clear_cli.pooling import pooled
from tests.laws.planted import Floats, accumulated, dense_covariance, planted, random_hashes

DIMS = (4, 3)


def assert_those_of(moments: CrossMoments, a: Floats, b: Floats, tolerance: float) -> None:
    """The moments are those of the rows, worked out at once and in float64."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    assert moments.items == len(a)
    variances = [float(x.var(axis=0, ddof=1).sum()) for x in (a, b)]
    size = np.sqrt(variances[0]) * np.sqrt(variances[1])
    np.testing.assert_allclose(moments.cross_covariance(), dense_covariance(a, b), rtol=0, atol=tolerance * size)
    for side, x in enumerate((a, b)):
        assert moments.total_variance(side) == pytest.approx(variances[side], rel=tolerance)
        atol = tolerance * float(np.abs(x).max())
        np.testing.assert_allclose(moments.mean(side), x.mean(axis=0), rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [(1.0, 1e30), (1e30, 1.0), (1e-30, 1e30), (1e-30, 1e-30), (1e8, 1e22), (1.0, 3e5)])
@pytest.mark.parametrize("one_bucket", [True, False])
def test_rows_may_change_their_size_on_the_way(dtype: Any, sizes: tuple[float, float], one_bucket: bool) -> None:
    a, b = (np.concatenate(parts) for parts in zip(*(planted(1300, DIMS, scale=one) for one in sizes), strict=True))
    a, b = a.astype(dtype), b.astype(dtype)
    hashes = np.full(len(a), 7, dtype=np.uint64) if one_bucket else random_hashes(len(a), 0)
    moments = accumulated(a, b, hashes, batch=700)
    assert_those_of(moments, a, b, 1e-5 if dtype == np.float32 else 1e-10)


@pytest.mark.parametrize("side", [0, 1])
def test_each_column_has_an_offset_of_its_own_which_costs_float32_no_precision(side: int) -> None:
    offsets = np.array([1e5 + 0.3, -3e4, 7.7, 1e3 + 1 / 3])
    x = (planted(900, (4, 4))[side] + offsets).astype(np.float32)
    y = planted(900, DIMS)[1].astype(np.float32)
    moments = accumulated(*((x, y) if side == 0 else (y, x)), random_hashes(900, 0))
    exact = dense_covariance(x, y) if side == 0 else dense_covariance(y, x)
    np.testing.assert_allclose(moments.cross_covariance(), exact, rtol=0, atol=1e-6)
    # In units of the spread: the shift is known exactly, however large it is.
    np.testing.assert_allclose(moments.mean(side), x.mean(axis=0, dtype=np.float64), rtol=0, atol=1e-6)
    assert moments.total_variance(side) == pytest.approx(np.trace(dense_covariance(x, x)), rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch", [1, 100, 512, 1000])
def test_how_items_arrive_changes_no_bit(dtype: Any, batch: int) -> None:
    a, b = planted(1500, DIMS, dtype=dtype, offset=3)
    hashes = random_hashes(1500, 0) & np.uint64(2**60 - 1)  # two buckets, which fill up
    whole, parts = accumulated(a, b, hashes).settle(), accumulated(a, b, hashes, batch=batch).settle()
    for one, other in ((whole.products, parts.products), *zip(whole.sums, parts.sums, strict=True)):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_single_entry_may_be_large(sign: float) -> None:
    a, b = planted(700, DIMS)
    a[600, 2] = sign * 1e30
    a = a.astype(np.float32)
    assert_those_of(accumulated(a, b.astype(np.float32), np.zeros(700, np.uint64)), a, b.astype(np.float32), 1e-5)


@pytest.mark.parametrize("small", [0, 1])
def test_only_one_side_may_grow(small: int) -> None:
    sides = [np.concatenate(planted(1300, (3, 3))) for _ in range(2)]
    sides[1 - small] = np.concatenate([sides[1 - small][:1300], 1e25 * sides[1 - small][1300:]])
    a, b = (x.astype(np.float32) for x in sides)
    assert_those_of(accumulated(a, b, np.zeros(2600, np.uint64), batch=650), a, b, 1e-5)


def test_scaled_values_stay_below_the_limit_and_scales_are_only_lowered_as_far_as_needed() -> None:
    a, b = (1e25 * x.astype(np.float32) for x in planted(600, DIMS))
    a[:BUFFER_ROWS] /= 1e25
    moments = accumulated(a, b, np.zeros(600, np.uint64)).settle()
    largest = np.ldexp(np.linalg.norm(a.astype(np.float64), axis=1).max(), moments.scale(0))
    assert 2.0**46 <= largest <= 2.0**48
    # The other side was large from the start: its rows are brought near 1.
    assert 0.25 < np.ldexp(np.abs(b.astype(np.float64) - moments.pilots[1]).max(), moments.scale(1)) < 4


@pytest.mark.parametrize("size", [2.0**-15, 1.0, 2.0**15])
def test_rows_of_ordinary_size_are_not_scaled(size: float) -> None:
    a, b = (size * np.sign(x) for x in planted(BUFFER_ROWS, DIMS))
    moments = accumulated(a, b, random_hashes(BUFFER_ROWS, 0)).settle()
    assert (moments.scale(0), moments.scale(1)) == (0, 0)


@pytest.mark.parametrize("value", [1e-25, 1e25])
def test_first_rows_that_are_all_alike_tell_the_scale_of_those_to_come(value: float) -> None:
    x = np.full((BUFFER_ROWS + 200, 2), value, np.float32)
    x[BUFFER_ROWS:] *= np.random.default_rng(0).uniform(0.5, 2, size=(200, 2)).astype(np.float32)
    assert_those_of(accumulated(x, x.copy(), np.zeros(len(x), np.uint64)), x, x, 1e-5)


def test_types_may_change_on_the_way_and_the_wider_keeps_its_precision() -> None:
    a, b = planted(900, DIMS, offset=100)
    a[:200], b[:200] = a[:200].astype(np.float32), b[:200].astype(np.float32)
    moments = CrossMoments(*DIMS)
    hashes = random_hashes(900, 0)
    moments.update(a[:200].astype(np.float32), b[:200].astype(np.float32), hashes[:200])
    moments.update(a[200:], b[200:], hashes[200:])
    assert_those_of(moments, a, b, 1e-5)
    # All that came as float64 was multiplied as such.
    wide = accumulated(a[200:], b[200:], hashes[200:])
    assert_those_of(wide, a[200:], b[200:], 1e-12)
    for x, y in ((a.astype(np.float32), b), (a, b.astype(np.float32))):
        assert_those_of(accumulated(x, y, hashes), x, y, 1e-11)


@pytest.mark.parametrize("items", [0, 1, 2])
def test_few_items_have_no_variance_or_little(items: int) -> None:
    a, b = planted(items, DIMS, offset=3)
    moments = accumulated(a, b, random_hashes(items, 0))
    if items == 2:
        assert_those_of(moments, a, b, 1e-12)
        return
    assert moments.cross_covariance().tolist() == np.zeros(DIMS).tolist()
    assert (moments.total_variance(0), moments.total_variance(1)) == (0.0, 0.0)
    np.testing.assert_allclose(moments.mean(0), a[0] if items else np.zeros(4))
    np.testing.assert_allclose(moments.mean(1), b[0] if items else np.zeros(3))


def test_constant_rows_have_no_variance() -> None:
    a, b = np.full((50, 4), 0.1), np.full((50, 3), 1e5 + 0.1)
    moments = accumulated(a, b, random_hashes(50, 0))
    assert 0 <= moments.total_variance(0) < 1e-30
    assert 0 <= moments.total_variance(1) < 1e-18


@pytest.mark.parametrize(
    "shapes", [((5, 3), (5, 3)), ((5, 4), (5, 4)), ((4, 4), (5, 3)), ((5, 4), (4, 3)), ((5,), (5, 3))]
)
def test_rows_that_do_not_fit_are_refused_and_leave_nothing_behind(shapes: Any) -> None:
    moments = CrossMoments(*DIMS)
    with pytest.raises(ValueError, match=r"rows of .* with 5 hashes do not fit \(4, 3\)"):
        moments.update(np.ones(shapes[0]), np.ones(shapes[1]), np.zeros(5, np.uint64))
    assert moments.items == 0


def test_products_of_different_buckets_may_run_at_once_and_each_is_asked_for_once() -> None:
    a, b = planted(32 * BUFFER_ROWS, DIMS)
    asked: list[int] = []

    def parallel(function: Any, items: list[int]) -> Any:
        asked.extend(items)
        return map(function, items)

    moments = CrossMoments(*DIMS)
    moments.update(a, b, np.arange(len(a), dtype=np.uint64) << np.uint64(59), parallel=parallel)
    assert sorted(asked) == list(range(32))
    assert_those_of(moments, a, b, 1e-10)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_a_part_is_the_moments_of_the_items_in_its_buckets_and_takes_more(scale: float) -> None:
    a, b = planted(700, DIMS, offset=2, scale=scale)
    hashes = random_hashes(700, 0)
    chosen = np.array([0, 5, 31])
    inside = np.isin(buckets_of(hashes, 32), chosen)
    part = accumulated(a, b, hashes).part(chosen)
    assert len(part.count) == 1
    assert_those_of(part, a[inside], b[inside], 1e-10)
    part.update(a[~inside], b[~inside], hashes[~inside])
    assert_those_of(part, a, b, 1e-10)


def test_stored_moments_take_more_items() -> None:
    a, b = planted(700, DIMS, offset=2, scale=1e20)
    hashes = random_hashes(700, 0)
    one = accumulated(a[:300], b[:300], hashes[:300]).settle()
    again = CrossMoments.of(one.count, one.sums, one.squares, one.products, one.pilots, one.exponents)
    assert again.dims == DIMS
    again.update(a[300:], b[300:], hashes[300:])
    assert_those_of(again, a, b, 1e-10)
    nothing = CrossMoments(*DIMS, 8).settle()
    empty = CrossMoments.of(
        nothing.count, nothing.sums, nothing.squares, nothing.products, nothing.pilots, nothing.exponents
    )
    empty.update(a, b, hashes)
    assert len(empty.count) == 8
    assert_those_of(empty, a, b, 1e-10)


def test_a_merge_keeps_the_shift_exact_for_rows_of_float32_that_come_later() -> None:
    offsets = np.array([1e5 + 0.3, -3e4, 7.7, 1e3 + 1 / 3])
    x = (planted(900, (4, 4))[0] + offsets).astype(np.float32)
    hashes = random_hashes(900, 0)
    first, second, third = (slice(start, start + 300) for start in (0, 300, 600))
    merged = pooled(accumulated(x[first], x[first], hashes[first]), accumulated(x[second], x[second], hashes[second]))
    merged.update(x[third], x[third], hashes[third])
    np.testing.assert_allclose(merged.mean(0), x.mean(axis=0, dtype=np.float64), rtol=0, atol=1e-6)
    np.testing.assert_allclose(merged.cross_covariance(), dense_covariance(x, x), rtol=0, atol=1e-6)


def test_moments_beyond_float32_merge_and_those_of_other_dimensions_do_not() -> None:
    a, b = planted(400, DIMS, offset=3, scale=1e100)
    hashes = random_hashes(400, 0)
    merged = pooled(accumulated(a[:150], b[:150], hashes[:150]), accumulated(a[150:], b[150:], hashes[150:]))
    assert_those_of(merged, a, b, 1e-10)
    with pytest.raises(ValueError, match=r"moments of \(4, 3\) and \(4, 4\) dimensions cannot be merged"):
        pooled(merged, CrossMoments(4, 4))


def test_reading_on_the_way_changes_little() -> None:
    a, b = planted(1200, DIMS, offset=5)
    hashes = random_hashes(1200, 0)
    moments = CrossMoments(*DIMS)
    for start in range(0, 1200, 100):
        rows = slice(start, start + 100)
        moments.update(a[rows], b[rows], hashes[rows])
        assert_those_of(moments, a[: start + 100], b[: start + 100], 1e-10)


def test_a_bucket_of_few_holds_whole_buckets_of_many() -> None:
    hashes = random_hashes(1000, 0)
    many = buckets_of(hashes, 32)
    assert many.dtype == np.uint8
    assert sorted(set(many.tolist())) == list(range(32))
    for few in (1, 2, 8, 16):
        np.testing.assert_array_equal(buckets_of(hashes, few), many // (32 // few))


class TestBuffers:
    """What waits comes out whole, in the order of its arrival."""

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("batch", [1, 7, 511, 512, 513, 2000])
    def test_rows_come_out_in_order_as_soon_as_there_are_enough(self, dtype: Any, batch: int) -> None:
        n = 1800 if batch > 1 else 600
        a = np.arange(n, dtype=np.float64)[:, None] + np.array([0.0, 0.5])
        b, buckets = -a[:, :1], (np.arange(n) % 3 == 0).astype(np.uint8)
        buffers = Buffers(2, (2, 1), np.dtype(dtype))
        found: list[list[Floats]] = [[], []]

        def collect(bucket: int) -> None:
            x, y = buffers.take(bucket)
            assert x.dtype == y.dtype == dtype
            np.testing.assert_array_equal(y, -x[:, :1])
            found[bucket].append(x.copy())

        for start in range(0, n, batch):
            rows = slice(start, start + batch)
            for full in buffers.add(a[rows], b[rows], buckets[rows]):
                for bucket in full:
                    collect(bucket)
                    assert len(found[bucket][-1]) == BUFFER_ROWS
                assert set(full).isdisjoint(buffers.waiting())
        for bucket in buffers.waiting():
            collect(bucket)
        assert buffers.waiting() == []
        for bucket in (0, 1):
            np.testing.assert_array_equal(np.concatenate(found[bucket]), a[buckets == bucket].astype(dtype))
