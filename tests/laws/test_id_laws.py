"""Items match exactly as the keys of a Python dict would, whatever their ids are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from clear_cli.embeddings.align import align
from clear_cli.embeddings.arrays import ArrayRows
from clear_cli.embeddings.base import canonical_ids
from clear_cli.embeddings.ids import Index, keys_of
from tests.laws.planted import Floats

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
tricky = st.sampled_from(["", "a", "A", " a", "a ", "a\x00", "\x00", "é", "é", "1", "01", "1.0", "null", "\ufeffa"])
int64 = st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))
uint64 = st.one_of(st.integers(0, 3), st.integers(2**63 - 2, 2**63 + 2), st.integers(0, 2**64 - 1))


def unique(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(elements, min_size=1, max_size=30, unique=True)


@st.composite
def two_lists(draw: st.DrawFn, elements: st.SearchStrategy[Any]) -> tuple[list[Any], list[Any]]:
    """Unique ids of two modalities that have some of them in common."""
    first = draw(unique(elements))
    second = draw(unique(st.one_of(st.sampled_from(first), elements)))
    return first, second


def rows(ids: Any, modality: str) -> ArrayRows:
    return ArrayRows(np.ones((len(ids), 1)), modality=modality, ids=ids)


def assert_joined_like_a_dict(
    first: Sequence[Any], second: Sequence[Any], column: Callable[[Sequence[Any]], Any] = list, other: Any = None
) -> None:
    alignment = align({"image": rows(column(first), "image"), "text": rows((other or column)(second), "text")})
    where = {one: row for row, one in enumerate(first)}
    assert alignment.items == len(first)
    assert alignment.item_numbers("text", 0, len(second)).tolist() == [where.get(one, -1) for one in second]
    assert alignment.item_numbers("image", 0, len(first)).tolist() == list(range(len(first)))
    assert alignment.shared_items("image", "text") == len(set(first) & set(second))


@given(two_lists(st.one_of(text, tricky)))
def test_strings(lists: tuple[list[str], list[str]]) -> None:
    assert_joined_like_a_dict(*lists)


@given(two_lists(st.one_of(text, tricky)))
def test_bytes_are_the_strings_they_spell(lists: tuple[list[str], list[str]]) -> None:
    assert_joined_like_a_dict(*lists, lambda ids: [one.encode() for one in ids], list)


@given(two_lists(int64))
def test_integers(lists: tuple[list[int], list[int]]) -> None:
    assert_joined_like_a_dict(*lists)


@given(two_lists(uint64))
def test_unsigned_integers_beyond_the_signed_range(lists: tuple[list[int], list[int]]) -> None:
    assert_joined_like_a_dict(*lists, lambda ids: np.array(ids, dtype=np.uint64))


@given(unique(int64), unique(uint64))
def test_signed_and_unsigned_integers_match_by_value(signed: list[int], unsigned: list[int]) -> None:
    assert_joined_like_a_dict(
        signed, unsigned, lambda ids: np.array(ids, dtype=np.int64), lambda ids: np.array(ids, dtype=np.uint64)
    )


@given(two_lists(st.integers(-128, 127)))
def test_integers_of_any_width_match_by_value(lists: tuple[list[int], list[int]]) -> None:
    assert_joined_like_a_dict(*lists, lambda ids: np.array(ids, np.int8), lambda ids: np.array(ids, np.int32))


@given(unique(text))
def test_a_column_has_the_same_keys_in_every_arrow_type(ids: list[str]) -> None:
    plain = pa.array(ids, pa.string())
    keys = keys_of(plain)
    for other in (
        plain.cast(pa.large_string()),
        plain.cast(pa.binary()),
        plain.cast(pa.large_binary()),
        plain.cast(pa.string_view()),
        plain.dictionary_encode(),
        pa.chunked_array([plain[:1], plain[1:]]),
        pa.concat_arrays([pa.array(["before"]), plain])[1:],
    ):
        np.testing.assert_array_equal(keys_of(canonical_ids(other, where=None)), keys)


small = st.integers(0, 3)
keys = st.lists(st.tuples(small, small), max_size=16, unique=True)


def as_keys(pairs: list[tuple[int, int]]) -> Any:
    return np.array(pairs, dtype=np.uint64).reshape(-1, 2)


@given(keys, st.lists(st.tuples(small, small), max_size=20))
def test_keys_that_agree_in_one_half_are_told_apart(known: list[tuple[int, int]], wanted: Any) -> None:
    where = {key: row for row, key in enumerate(known)}
    found = Index(as_keys(known)).find(as_keys(wanted))
    assert found.tolist() == [where.get(key, -1) for key in wanted]


@given(unique(int64))
def test_items_are_hashed_by_their_id_alone(ids: list[int]) -> None:
    first = align({"image": rows(ids, "image"), "text": rows(ids, "text")})
    back = align({"image": rows(ids[::-1], "image"), "text": rows(ids, "text")})
    np.testing.assert_array_equal(first.hashes(slice(0, len(ids))), back.hashes(slice(0, len(ids)))[::-1])


def test_item_hashes_are_spread_evenly() -> None:
    x: Floats = np.ones((6400, 1))
    for ids in (None, list(range(6400)), [f"item-{i}" for i in range(6400)]):
        sources = {name: ArrayRows(x, modality=name, ids=ids) for name in ("image", "text")}
        count = np.bincount((align(sources).hashes(slice(0, 6400)) >> np.uint64(58)).astype(int), minlength=64)
        assert count.min() > 40
        assert count.max() < 160
