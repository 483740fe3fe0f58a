"""Item ids as keys: fixed-size, comparable across modalities, findable.

An id of any length becomes 128 bits, which is all that is kept of it: a hash for strings (at ten million
items two ids collide with probability 1e-25), the value itself for integers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from clear_cli.embeddings.base import IdKind, Rows, Source
from clear_cli.errors import DataError

Keys = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.signedinteger[Any]]

FIND_ROWS = 1 << 20
"""Keys that are looked up at a time: what a look-up needs per key is needed for these only."""


def common_kind(sources: Mapping[str, Rows]) -> IdKind:
    """The kind that the ids of all modalities can be compared as.

    Raises:
        DataError: There is none, or rows without ids that cannot be the same items.
    """
    kinds = {name: source.id_kind for name, source in sources.items()}
    shown = {name: _KIND_NAMES[kind] for name, kind in kinds.items()}
    present = set(kinds.values())
    if "row" in present and len(present) > 1:
        bare = next(name for name, kind in kinds.items() if kind == "row")
        raise DataError(
            f'"{bare}" has no item ids, but other modalities have',
            where=sources[bare].path,
            ids=", ".join(f"{name}: {kind}" for name, kind in shown.items()),
            fix=f"--ids {bare}=ids.txt (one id per line, in row order)",
        )
    if {"string", "integer"} <= present:
        raise DataError(
            "item ids are strings in one modality and integers in another, so none would match",
            ids=", ".join(f"{name}: {kind}" for name, kind in shown.items()),
            fix="write the ids of all modalities with one type",
        )
    lengths = {name: source.rows for name, source in sources.items()}
    if present == {"row"} and len(set(lengths.values())) > 1:
        raise DataError(
            "without item ids row i of every modality must be the same item, but the lengths differ",
            rows=", ".join(f"{name}: {rows:,}" for name, rows in lengths.items()),
            fix="--ids NAME=ids.txt for each modality",
        )
    return "integer" if "integer" in present else "row" if present == {"row"} else "string"


_KIND_NAMES = {
    "string": "strings",
    "integer": "integers",
    "text": "a text file",
    "row": "none, row i is item i",
}


def read_keys(source: Rows, kind: IdKind) -> Keys:
    """Keys of all rows of a source: (rows, 2)."""
    keys, start = np.empty((source.rows, 2), dtype=np.uint64), 0
    for ids in source.ids():
        keys[start : start + len(ids)] = keys_of(as_kind(ids, kind, where=source.path))
        start += len(ids)
    return keys


def folded_in_one_order(sources: Mapping[str, Rows], kind: IdKind) -> npt.NDArray[np.uint64] | None:
    """(rows,) folded keys of the ids, where they are the same in all sources row by row; else None.

    The ids themselves are compared, side by side, until they differ.
    """
    first, *others = sources.values()
    if any(source.rows != first.rows for source in others):
        return None
    folded, start = np.empty(first.rows, dtype=np.uint64), 0
    steps = [_in_step(as_kind(ids, kind, where=source.path) for ids in source.ids()) for source in others]
    for ids in (as_kind(ids, kind, where=first.path) for ids in first.ids()):
        if not all(step(len(ids)).equals(ids) for step in steps):
            return None
        folded[start : start + len(ids)] = fold(keys_of(ids))
        start += len(ids)
    return folded


def table_id_type(sources: Iterable[Rows]) -> pa.DataType:
    """The Arrow type that holds the ids of all sources: that of all, or strings where they differ."""
    types = {
        next(source.ids(), pa.array([], pa.int64())).type
        if source.id_kind == "integer"
        else _TABLE_TYPES[source.id_kind]
        for source in sources
    }
    return types.pop() if len(types) == 1 else pa.string()


def ids_in_step(source: Rows, kind: pa.DataType) -> Callable[[int, int], pa.Array]:
    """The ids of consecutive rows, for whoever walks through the chunks of a source: (start, rows) -> ids as `kind`.

    Row numbers where the source has no ids.
    """
    if source.id_kind == "row":
        return lambda start, rows: pa.array(np.arange(start, start + rows)).cast(kind)
    take = _in_step(ids.cast(kind) for ids in source.ids())
    return lambda _, rows: take(rows)


def _in_step(arrays: Iterator[pa.Array]) -> Callable[[int], pa.Array]:
    """The next so many values of arrays of any length."""
    waiting: list[pa.Array] = []

    def take(rows: int) -> pa.Array:
        ready = sum(map(len, waiting))
        while ready < rows or not waiting:
            waiting.append(next(arrays, pa.array([])))
            ready += len(waiting[-1])
        together = waiting[0] if len(waiting) == 1 else pa.concat_arrays(waiting)
        waiting[:] = [together[rows:]]
        return together[:rows]

    return take


_TABLE_TYPES = {"string": pa.string(), "text": pa.string(), "row": pa.int64()}


def keys_of(ids: pa.Array) -> Keys:
    """(n, 2) 128-bit keys: XXH3 of the bytes of strings, the value and its sign of integers."""
    if pa.types.is_integer(ids.type):
        values = ids.to_numpy(zero_copy_only=False)
        return np.stack([values.view(np.uint64), (values < 0).astype(np.uint64)], axis=1)
    digests = b"".join(map(xxhash.xxh3_128_digest, ids.cast(pa.binary()).to_pylist()))
    return np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2)


def fold(keys: Keys) -> npt.NDArray[np.uint64]:
    """(n,) 64 bits of each key. Different for different integers of one type; strings may collide."""
    return keys[:, 0] ^ keys[:, 1]


def keys_of_rows(rows: int) -> Keys:
    """Keys of row numbers: (rows, 2)."""
    return np.stack([np.arange(rows, dtype=np.uint64), np.zeros(rows, dtype=np.uint64)], axis=1)


def as_kind(ids: pa.Array, kind: IdKind, *, where: object) -> pa.Array:
    """Ids of a text file as the kind that the other modalities have; others as they are.

    Raises:
        DataError: The others have integers and a line is not one.
    """
    if kind != "integer" or not pa.types.is_string(ids.type):
        return ids
    for wanted in (pa.int64(), pa.uint64()):
        with suppress(pa.ArrowInvalid):
            numbers = ids.cast(wanted)
            if numbers.cast(pa.string()).equals(ids):
                return numbers
    first = next((text for text in ids.to_pylist() if not _NUMBER.fullmatch(text)), "a number beyond 64 bits")
    raise DataError(f'ids must be integers here, as in the other modalities, but "{first}" is none', where=where)


_NUMBER = re.compile(r"0|-?[1-9][0-9]*")


class Index:
    """Looks keys up: the first halves of (n, 2) keys, sorted."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._order = np.argsort(keys[:, 0]).astype(np.int32 if len(keys) < 1 << 31 else np.int64)
        self._sorted = keys[self._order, 0]

    def find(self, keys: Keys) -> Positions:
        """Row number of each key in the index, -1 where it is not there: (n,)."""
        found = np.full(len(keys), -1, dtype=self._order.dtype)
        for start in range(0, len(keys), FIND_ROWS):
            self._find(keys[start : start + FIND_ROWS], found[start : start + FIND_ROWS])
        return found

    def _find(self, keys: Keys, found: Positions) -> None:
        place = np.searchsorted(self._sorted, keys[:, 0])
        open_ = np.arange(len(keys))
        # Different keys with one first half stand side by side; almost always there is just one.
        while len(open_):
            open_ = open_[place[open_] < len(self._sorted)]
            open_ = open_[self._sorted[place[open_]] == keys[open_, 0]]
            rows = self._order[place[open_]]
            hit = self._keys[rows, 1] == keys[open_, 1]
            found[open_[hit]] = rows[hit]
            open_ = open_[~hit]
            place[open_] += 1


def refuse_duplicates(halves: npt.NDArray[np.uint64], modality: str, source: Rows) -> None:
    """Raise a DataError that names the first few ids that occur twice, if there are any.

    Args:
        halves: (n,) something of each id that equal ids have in common, and few others.
        modality: Whose ids they are.
        source: Where they are, to be read again if there are suspects.
    """
    ordered = np.sort(halves)
    common = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    if not len(common):
        return
    suspects = np.flatnonzero(np.isin(halves, common))
    seen: dict[Any, list[int]] = {}
    start = 0
    for ids in source.ids():
        here = suspects[(suspects >= start) & (suspects < start + len(ids))]
        for row, value in zip(here, ids.take(pa.array(here - start)).to_pylist(), strict=True):
            seen.setdefault(value, []).append(int(row))
        start += len(ids)
    twice = {value: rows for value, rows in seen.items() if len(rows) > 1}
    if not twice:
        return
    first = [f"{value} (rows {', '.join(map(str, rows[:3]))})" for value, rows in list(twice.items())[:3]]
    raise DataError(
        f'{len(twice):,} item ids of "{modality}" occur more than once',
        where=source.path,
        first="; ".join(first),
        fix=f"one row per item, for example {_mean_by_item(source)}",
    )


def _mean_by_item(source: Rows) -> str:
    """How to make one row of those of an item: for Parquet, which pandas reads by itself, as it is to be typed."""
    layout = source.describe() if isinstance(source, Source) else {}
    if layout.get("container") != "parquet":
        return "their mean"
    id_column, embedding = layout["id_column"], layout["embedding_column"]
    if not {"*", "?", "["}.isdisjoint(embedding):  # the mean of what is there, of the columns that match
        mean, own = ".mean(numeric_only=True)", f".filter(regex='^' + fnmatch.translate({embedding!r}))"
        return f"the mean: pandas.read_parquet(path).groupby({id_column!r}){mean}{own}"
    # A null of another column says nothing of the embedding.
    rows = f"pandas.read_parquet(path, columns={[id_column, embedding]}).dropna()"
    mean = "apply(lambda rows: numpy.mean(numpy.stack(rows), axis=0))"
    return f"the mean: {rows}.groupby({id_column!r})[{embedding!r}].{mean}"
