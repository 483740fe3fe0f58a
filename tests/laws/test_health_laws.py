"""What a row is, by its values alone and by how often it repeats."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from clear_cli.health import (
    FAMILY_SHARE,
    MAX_PLACEHOLDERS,
    PLACEHOLDER_ROWS,
    RepeatedRows,
    Status,
    mix,
    pair_hashes,
    row_hashes,
    row_status,
)
from tests.laws.planted import Floats, Hashes

types = st.sampled_from([np.float16, np.float32, np.float64])
batches = st.lists(st.integers(1, 400), max_size=20)


def any_rows(dtype: Any) -> st.SearchStrategy[Floats]:
    extremes = [0.0, -0.0, np.nan, np.inf, -np.inf, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max, 1.0]
    elements = st.one_of(st.sampled_from([dtype(one) for one in extremes]), arrays.from_dtype(np.dtype(dtype)))
    return arrays.arrays(dtype, st.tuples(st.integers(0, 12), st.integers(1, 5)), elements=elements)


@given(types.flatmap(any_rows))
def test_a_row_is_missing_if_all_is_zero_and_unusable_if_anything_is_not_finite(x: Floats) -> None:
    for row, status in zip(x, row_status(x), strict=True):
        if not all(np.isfinite(row)):
            assert status == Status.NON_FINITE
        elif not any(value != 0 for value in row):
            assert status == Status.MISSING
        else:
            assert status == Status.USED


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_of_each_kind_may_lie_beside_each_other(dtype: Any) -> None:
    least, most = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    rows = [[0, 0], [np.inf, 1], [1, 1], [np.nan, 0], [-0.0, 0], [least, 0], [most, most], [0.5, 0]]
    status = row_status(np.array(rows, dtype))
    assert status.dtype == np.uint8
    missing, broken, used = Status.MISSING, Status.NON_FINITE, Status.USED
    assert status.tolist() == [missing, broken, used, broken, missing, used, used, used]


@given(types.flatmap(any_rows))
def test_rows_have_equal_hashes_exactly_where_their_bytes_are_equal(x: Floats) -> None:
    hashes = row_hashes(x)
    contents = [row.tobytes() for row in x]
    for i in range(len(x)):
        for j in range(i):
            assert (hashes[i] == hashes[j]) == (contents[i] == contents[j])


@given(types.flatmap(any_rows))
def test_a_hash_does_not_depend_on_how_rows_lie_in_memory(x: Floats) -> None:
    np.testing.assert_array_equal(row_hashes(np.asfortranarray(x)), row_hashes(x))
    np.testing.assert_array_equal(row_hashes(x[::-1])[::-1], row_hashes(x))


def repeats(counts: list[int], singles: int, seed: int) -> Hashes:
    """Hashes in random order, where value i occurs counts[i] times beside many that occur once."""
    values = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
    once = np.arange(1000, 1000 + singles, dtype=np.uint64)
    return np.random.default_rng(seed).permutation(np.concatenate([values, once]))


def in_batches(hashes: Hashes, sizes: list[int]) -> RepeatedRows:
    rows = RepeatedRows()
    start = 0
    for size in [*sizes, len(hashes)]:
        rows.update(hashes[start : start + size])
        start += size
    return rows


@given(st.lists(st.integers(1, 30), max_size=12), st.integers(0, 3000), st.integers(0, 2**32 - 1), batches)
def test_while_values_are_few_the_placeholders_are_exact(
    counts: list[int], singles: int, seed: int, sizes: list[int]
) -> None:
    hashes = repeats(counts, singles, seed)
    often = max(PLACEHOLDER_ROWS, 0.001 * len(hashes))
    repeated = {value: count for value, count in Counter(hashes.tolist()).items() if count >= often}
    scattered = sum(repeated.values()) < len(hashes) / 2
    if len(repeated) > MAX_PLACEHOLDERS:
        repeated = {value: count for value, count in repeated.items() if count >= FAMILY_SHARE * len(hashes)}
    fillers = sorted(repeated) if len(repeated) <= MAX_PLACEHOLDERS else []
    # Values that are nearly all there is may be categories.
    assert in_batches(hashes, sizes).placeholders().tolist() in ([fillers] if scattered else [fillers, []])


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_among_more_values_than_are_remembered_none_that_fills_enough_is_lost(seed: int, heavy: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RepeatedRows, "CAPACITY", 64)
        patch.setattr(RepeatedRows, "BUFFER", 70)
        # Counts may be low by 1 / CAPACITY of the stream, about 68 of these 80: ten are left at the least.
        hashes = repeats([80] * heavy, 4000, seed)
        found = in_batches(hashes, [37] * 120).placeholders().tolist()
        assert found == list(range(heavy))


@given(st.lists(st.integers(1, 9), max_size=200), st.integers(0, 2**32 - 1), batches)
def test_a_value_in_fewer_than_ten_rows_is_never_a_placeholder(counts: list[int], seed: int, sizes: list[int]) -> None:
    assert len(in_batches(repeats(counts, 100, seed), sizes).placeholders()) == 0


def test_mixing_is_the_finaliser_of_splitmix64() -> None:
    # The first outputs of the generator from seed 0, as published with it: each adds the golden gamma to its state.
    gamma = 0x9E3779B97F4A7C15
    states = np.array([(i * gamma) % 2**64 for i in range(3)], dtype=np.uint64)
    assert [hex(one) for one in mix(states).tolist()] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


def test_a_pair_is_its_two_contents_in_their_order() -> None:
    a, b = np.arange(5, dtype=np.uint64), np.arange(10, 15, dtype=np.uint64)
    assert len({*pair_hashes(a, b).tolist(), *pair_hashes(b, a).tolist()}) == 10


def test_a_row_is_hashed_by_its_bytes() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    assert row_hashes(x[:, ::2]).tolist() == [xxhash.xxh3_64_intdigest(row[::2].tobytes()) for row in x]
    assert row_hashes(x).dtype == np.uint64


@pytest.mark.parametrize("often", [PLACEHOLDER_ROWS - 1, PLACEHOLDER_ROWS])
def test_ten_rows_are_enough_where_they_are_one_in_a_thousand(often: int) -> None:
    assert in_batches(repeats([often], 3000, 0), []).placeholders().tolist() == ([0] if often == 10 else [])
    assert in_batches(repeats([often], 10_000 - often, 0), []).placeholders().tolist() == ([0] if often == 10 else [])
    assert in_batches(repeats([often], 10_001 - often, 0), []).placeholders().tolist() == []


def test_many_repeated_values_are_fillers_only_where_each_fills_a_hundredth() -> None:
    families = [20] * MAX_PLACEHOLDERS
    assert in_batches(repeats(families, 1840, 0), []).placeholders().tolist() == list(range(8))
    # One more, and these are twelve in two thousand: only those in twenty rows stay.
    assert in_batches(repeats([*families, 12], 1828, 0), []).placeholders().tolist() == list(range(8))
    # Of so few, none has to fill a hundredth.
    assert in_batches(repeats([12] * MAX_PLACEHOLDERS, 1904, 0), []).placeholders().tolist() == list(range(8))
    assert in_batches(repeats([20] * (MAX_PLACEHOLDERS + 1), 1820, 0), []).placeholders().tolist() == []


@pytest.mark.parametrize(("others", "coarse"), [(99, True), (100, True), (101, False)])
def test_where_other_values_stand_for_three_rows_each_a_modality_is_coarse(others: int, coarse: bool) -> None:
    rest = [3] * 100 if others == 100 else [3] * 99 + ([1, 1] if others == 101 else [])
    found = in_batches(repeats([50, *rest], 0, 0), []).placeholders().tolist()
    assert found == ([] if coarse else [0])


def test_how_much_is_remembered_is_bounded() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RepeatedRows, "CAPACITY", 64)
        patch.setattr(RepeatedRows, "BUFFER", 70)
        rows = in_batches(repeats([200], 4000, 0), [37] * 120)
        assert rows.rows == 4200
        assert rows.placeholders().tolist() == [0]
        assert len(rows._hashes) <= 64
        # Of 64 values in 70 rows, none has to go.
        exact = in_batches(repeats([11] * 2, 62, 0), [70])
        assert exact.placeholders().tolist() == [0, 1]


def test_asking_early_does_not_change_the_answer() -> None:
    hashes = repeats([50, 20], 500, 0)
    rows = RepeatedRows()
    for part in np.array_split(hashes, 5):
        rows.update(part)
        rows.placeholders()
    assert rows.placeholders().tolist() == [0, 1]
    assert rows.rows == len(hashes)
