"""The sample holds the K items of smallest hash, whatever the order and the batches they come in."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clear_cli.sample import MAX_SAMPLE_BYTES, SAMPLE_ITEMS, Sample, sample_items
from tests.laws.planted import Floats, Hashes

A, B = (3, np.dtype(np.float32)), (2, np.dtype(np.float64))
seeds = st.integers(0, 2**32 - 1)
capacities = st.integers(1, 40)
hashes = st.lists(st.integers(0, 2**64 - 1), max_size=80, unique=True).map(lambda one: np.array(one, dtype=np.uint64))


def rows_of(hashes: Hashes) -> tuple[Floats, Floats]:
    """Rows that tell whose they are."""
    low = (hashes & np.uint64(0xFFFF)).astype(np.float64)[:, None]
    return (low + np.arange(3)).astype(np.float32), low * np.array([1, -1])


def offered(hashes: Hashes, capacity: int, batch: int = 10**9) -> Sample:
    sample = Sample(A, B, capacity)
    for start in range(0, len(hashes), batch):
        part = hashes[start : start + batch]
        sample.update(*rows_of(part), part, ~part)
    return sample


def assert_holds(sample: Sample, expected: Hashes) -> None:
    np.testing.assert_array_equal(sample.hashes, expected)
    np.testing.assert_array_equal(sample.contents, ~expected)
    for rows, right in zip(sample.rows(), rows_of(expected), strict=True):
        assert rows.dtype == right.dtype
        np.testing.assert_array_equal(rows, right)


@given(hashes, capacities, st.integers(1, 90))
def test_it_holds_the_items_of_smallest_hash_in_batches_of_any_size(hashes: Hashes, capacity: int, batch: int) -> None:
    assert_holds(offered(hashes, capacity, batch), np.sort(hashes)[:capacity])


@given(hashes, capacities, seeds)
def test_the_order_of_items_changes_nothing(hashes: Hashes, capacity: int, seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(hashes)
    assert_holds(offered(shuffled, capacity, 7), np.sort(hashes)[:capacity])


@given(hashes, capacities, st.integers(0, 80))
def test_merging_is_sampling_the_whole(hashes: Hashes, capacity: int, cut: int) -> None:
    merged = offered(hashes[:cut], capacity).merge(offered(hashes[cut:], capacity))
    assert_holds(merged, np.sort(hashes)[:capacity])


@given(hashes, capacities, st.integers(0, 80), st.integers(0, 80))
def test_merging_is_commutative_and_associative(hashes: Hashes, capacity: int, first: int, second: int) -> None:
    low, high = sorted((first, second))
    a, b, c = (offered(part, capacity) for part in (hashes[:low], hashes[low:high], hashes[high:]))
    expected = np.sort(hashes)[:capacity]
    assert_holds(a.merge(b).merge(c), expected)
    assert_holds(a.merge(b.merge(c)), expected)
    assert_holds(c.merge(b).merge(a), expected)


@given(hashes, st.tuples(capacities, capacities))
def test_merging_samples_of_two_sizes_gives_the_smaller(hashes: Hashes, sizes: tuple[int, int]) -> None:
    half = len(hashes) // 2
    merged = offered(hashes[:half], sizes[0]).merge(offered(hashes[half:], sizes[1]))
    assert merged.capacity == min(sizes)
    assert_holds(merged, np.sort(hashes)[: min(sizes)])


@given(hashes, capacities)
def test_merging_leaves_both_parts_as_they_were(hashes: Hashes, capacity: int) -> None:
    half = len(hashes) // 2
    one, other = offered(hashes[:half], capacity), offered(hashes[half:], capacity)
    one.merge(other)
    assert_holds(one, np.sort(hashes[:half])[:capacity])
    assert_holds(other, np.sort(hashes[half:])[:capacity])


@given(hashes, st.integers(0, 80))
def test_merging_counts_an_item_of_both_parts_twice(hashes: Hashes, shared: int) -> None:
    one = offered(hashes, 200)
    merged = one.merge(offered(hashes[:shared], 200))
    expected = np.sort(np.concatenate([hashes, hashes[:shared]]))
    assert_holds(merged, expected)


def test_it_keeps_its_rows_when_the_arrays_it_was_offered_change() -> None:
    a: Any = np.ones((5, 3), np.float32)
    b: Any = np.ones((5, 2))
    sample = Sample(A, B)
    sample.update(a, b, *2 * [np.arange(5, dtype=np.uint64)])
    a[:], b[:] = 7, 7
    assert all((rows == 1).all() for rows in sample.rows())


def test_it_is_bounded_in_items_and_in_bytes() -> None:
    assert sample_items(A, B) == SAMPLE_ITEMS == Sample(A, B).capacity
    wide = (8192, np.dtype(np.float64))
    assert sample_items(wide, wide) == MAX_SAMPLE_BYTES // (2 * 8192 * 8) < SAMPLE_ITEMS
    odd = (8191, np.dtype(np.float32))
    for sides in ((A, odd), (odd, A), (odd, odd)):
        expected = min(MAX_SAMPLE_BYTES // sum(dim * dtype.itemsize for dim, dtype in sides), SAMPLE_ITEMS)
        assert sample_items(*sides) == Sample(*sides).capacity == expected
    assert [x.dtype for x in Sample(B, A).rows()] == [np.float64, np.float32]
    absurd = (10**9, np.dtype(np.float64))
    assert sample_items(absurd, absurd) == 1
