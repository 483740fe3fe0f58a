"""Embeddings in Arrow tables: finding their columns, reading them as a matrix, making columns of a matrix.

They are one list column, or scalar columns side by side (emb_0, emb_1, ...), together called `emb_*`.

Two things can be null here: a row, which is zeros in the matrix, and a value in another row, which is NaN
in the matrix and called a hole. Holes are kept as positions in the flattened matrix.
"""

from __future__ import annotations

import fnmatch
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clear_cli.embeddings import base
from clear_cli.embeddings.base import Floats, Mask
from clear_cli.errors import DataError

Integers = npt.NDArray[np.integer[Any]]

SUPPORTED = "list, large_list or fixed_size_list of float16, float32 or float64; float columns as in emb_*"
OPTION = "--embedding-column"


@dataclass(frozen=True, slots=True)
class ListColumn:
    """Embeddings in one list, large_list or fixed_size_list column. `dim` is 0 until it is known."""

    batch_bytes: ClassVar[int] = 4 << 20
    """How much is best decoded at a time."""

    name: str
    type: pa.DataType
    dim: int

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that the embeddings take."""
        return (self.name,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return _dtype(self.type.value_type)

    @property
    def layout(self) -> tuple[object, ...]:
        """What all parts share. The name and the nullability of list items may differ."""
        return self.type.id, self.dtype, _list_size(self.type)

    def __str__(self) -> str:
        return str(self.type)

    def holds(self, leaf: str) -> bool:
        """Whether the Parquet column of this path belongs to the embeddings."""
        return leaf.startswith(f"{self.name}.")

    def lengths(self, batch: pa.RecordBatch) -> Integers:
        """The length of each row; null rows count as `dim` long."""
        lengths: Integers = batch.column(self.name).value_lengths().fill_null(self.dim).to_numpy()
        return lengths

    def read(self, batch: pa.RecordBatch) -> tuple[Floats, Mask, Integers]:
        """The embeddings (n, dim), without a copy where no row is null; the null rows (n,); the holes."""
        rows = batch.column(self.name)
        null = _null(rows)
        values = rows.flatten()  # honours offsets, and leaves out what lies under null rows
        embeddings = _among_null(values.to_numpy(zero_copy_only=False).reshape(-1, self.dim), null)
        holes = _among_null(_null(values).reshape(-1, self.dim), null)
        return embeddings, null, np.flatnonzero(holes)

    def arrays(self, embeddings: Floats, null: Mask | None, holes: Integers) -> list[pa.Array]:
        """The column. A hole stays one where the new value is NaN."""
        present = slice(None) if null is None else ~null
        missing = _missing(embeddings, null, holes)
        mask = None if missing is None else missing[present].ravel()
        values = pa.array(embeddings[present].ravel(), mask=mask)
        ends = np.arange(0, len(values) + 1, self.dim)
        if pa.types.is_fixed_size_list(self.type):
            rows = pa.FixedSizeListArray.from_arrays(values, type=self.type)
        elif pa.types.is_large_list(self.type):
            rows = pa.LargeListArray.from_arrays(ends, values, type=self.type)
        else:
            rows = pa.ListArray.from_arrays(ends.astype(np.int32), values, type=self.type)
        return [rows if null is None else rows.take(pa.array(np.cumsum(~null) - 1, mask=null))]


@dataclass(frozen=True, slots=True)
class WideColumns:
    """Embeddings in scalar columns, one for each dimension, in the order of their numbers."""

    batch_bytes: ClassVar[int] = 32 << 20
    """How much is best decoded at a time: each batch costs a call per column."""

    name: str
    type: pa.DataType
    columns: tuple[str, ...]

    @property
    def dim(self) -> int:
        """Length of a row."""
        return len(self.columns)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return _dtype(self.type)

    @property
    def layout(self) -> tuple[object, ...]:
        """What all parts share."""
        return self.type, self.columns

    def __str__(self) -> str:
        return f"{self.dim} columns of {self.type}, {self.columns[0]} to {self.columns[-1]}"

    def holds(self, leaf: str) -> bool:
        """Whether the Parquet column of this path belongs to the embeddings."""
        return leaf in self.columns

    def lengths(self, batch: pa.RecordBatch) -> Integers:
        """The length of each row."""
        return np.full(len(batch), self.dim)

    def read(self, batch: pa.RecordBatch) -> tuple[Floats, Mask, Integers]:
        """The embeddings (n, dim); the null rows (n,), whose columns are all null; the holes."""
        columns = [batch.column(name) for name in self.columns]
        embeddings = np.stack([column.to_numpy(zero_copy_only=False) for column in columns]).T
        empty: Mask = np.stack([_null(column) for column in columns]).T
        null: Mask = np.all(empty, axis=1)
        embeddings[null] = 0
        return embeddings, null, np.flatnonzero(empty & ~null[:, None])

    def arrays(self, embeddings: Floats, null: Mask | None, holes: Integers) -> list[pa.Array]:
        """The columns. A hole stays one where the new value is NaN."""
        missing = _missing(embeddings, null, holes)
        masks = [None] * self.dim if missing is None else np.ascontiguousarray(missing.T)
        return [
            pa.array(values, mask=mask) for values, mask in zip(np.ascontiguousarray(embeddings.T), masks, strict=True)
        ]


Embedding = ListColumn | WideColumns


def find_embedding(schema: pa.Schema, asked: str | None, *, modality: str, where: object) -> Embedding:
    """The embeddings that are asked for (a list column, or a glob over float columns), else the only ones there.

    Raises:
        DataError: There are none, or more than one, or their type is not supported.
    """
    if asked is None:
        candidates = [field.name for field in schema if _is_float_list(field.type)]
        candidates += [pattern for pattern, names in _numbered(schema).items() if len(names) > 1]
        present = [f"{name} ({kind})" for name, kind in _present(schema).items()]
        asked = base.guess(
            candidates, what="embedding column", option=OPTION, modality=modality, where=where, present=present
        )
    if asked not in schema.names:
        return _find_wide(schema, asked, modality, where)
    kind = _column_type(schema, asked, where)
    if not _is_float_list(kind):
        raise DataError(f'column "{asked}" of type {kind} cannot hold embeddings', where=where, supported=SUPPORTED)
    return ListColumn(asked, kind, _list_size(kind) or 0)


def _find_wide(schema: pa.Schema, asked: str, modality: str, where: object) -> WideColumns:
    """The float columns that match a glob, which have to share one pattern and one type."""
    groups = _numbered(schema)
    if asked in groups:
        matches = {asked: groups[asked]}
    else:
        matches = {pattern: kept for pattern, names in groups.items() if (kept := fnmatch.filter(names, asked))}
    present = list(_present(schema))
    if not matches:
        base.named(asked, present, what="column", option=OPTION, modality=modality, where=where)
    pattern = base.guess(
        list(matches), what="group of columns", option=OPTION, modality=modality, where=where, present=present
    )
    types = {name: _column_type(schema, name, where) for name in matches[pattern]}
    first, kind = next(iter(types.items()))
    for name, other in types.items():
        if other != kind:
            raise DataError(f"embedding columns differ in type: {first} is {kind}, {name} is {other}", where=where)
    return WideColumns(asked, kind, tuple(types))


def find_ids(schema: pa.Schema, asked: str | None, *, modality: str, where: object) -> str:
    """The id column that is asked for, else the one that looks like it.

    Raises:
        DataError: There is none, or more than one, or its type cannot be an id.
    """
    option = "--id-column"
    present = _present(schema)
    if asked is None:
        candidates = [field.name for field in schema if base.id_kind_of(field.type)]
        described = [f"{name} ({kind})" for name, kind in present.items()]
        asked = base.guess_id(candidates, option=option, modality=modality, where=where, present=described)
    if asked not in schema.names:
        base.named(asked, list(present), what="column", option=option, modality=modality, where=where)
    base.canonical_ids(pa.array([], _column_type(schema, asked, where)), where=where)
    return asked


def _numbered(schema: pa.Schema) -> dict[str, list[str]]:
    """Scalar float columns whose names end in a number, by what they have in common, in numeric order."""
    groups: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for field in schema:
        number = re.search(r"\d+$", field.name)
        if number and pa.types.is_floating(field.type):
            groups[f"{field.name[: number.start()]}*"].append((int(number[0]), field.name))
    return {pattern: [name for _, name in sorted(columns)] for pattern, columns in groups.items()}


def _present(schema: pa.Schema) -> dict[str, str]:
    """All columns with their types, as messages list them: numbered float columns as one."""
    wide = {pattern: names for pattern, names in _numbered(schema).items() if len(names) > 1}
    members = {name for names in wide.values() for name in names}
    present = {field.name: str(field.type) for field in schema if field.name not in members}
    return present | {pattern: f"{len(names)} columns" for pattern, names in wide.items()}


def _column_type(schema: pa.Schema, name: str, where: object) -> pa.DataType:
    if len(schema.get_all_field_indices(name)) > 1:
        raise DataError(f'more than one column is called "{name}"', where=where)
    return schema.field(name).type


def _is_float_list(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return lists and bool(pa.types.is_floating(kind.value_type))


def _list_size(kind: pa.DataType) -> int | None:
    return kind.list_size if pa.types.is_fixed_size_list(kind) else None


def _dtype(kind: pa.DataType) -> np.dtype[Any]:
    """The NumPy type of a float type; `to_pandas_dtype` would import pandas."""
    return np.dtype(f"float{kind.bit_width}")


def _null(values: pa.Array) -> Mask:
    """Where the values are null."""
    if not values.null_count:
        return np.zeros(len(values), np.bool_)
    null: Mask = np.asarray(values.is_null())
    return null


def _among_null(rows: npt.NDArray[Any], null: Mask) -> npt.NDArray[Any]:
    """The rows that are not null, put among null rows, which are zeros."""
    if not null.any():
        return rows
    among = np.zeros((len(null), rows.shape[1]), rows.dtype)
    among[~null] = rows
    return among


def _missing(embeddings: Floats, null: Mask | None, holes: Integers) -> Mask | None:
    """What of (n, dim) is to be null: null rows, and holes that are still NaN. None if nothing is."""
    if null is None and not len(holes):
        return None
    missing = np.zeros(embeddings.shape, np.bool_)
    missing.flat[holes] = np.isnan(embeddings.ravel()[holes])
    if null is not None:
        missing[null] = True
    return missing
