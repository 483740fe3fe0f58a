"""Embeddings in Arrow tables: reading their columns as a matrix, and making columns of a matrix again.

They are one column of lists in some wrapping, or scalar columns side by side (emb_0, emb_1, ...).

Two things can be null here: a row, which is zeros in the matrix, and a value in another row, which is NaN
in the matrix and called a hole. Holes are kept as positions in the flattened matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from clear_cli.embeddings import base
from clear_cli.embeddings.base import Floats, Integers, Mask
from clear_cli.errors import DataError

VECTOR_FIELDS = ["type", "size", "indices", "values"]
"""What Spark ML stores a vector as: type 1 is dense and has values alone, type 0 is sparse."""


class Matrix(NamedTuple):
    """Rows as a chunk has them: (n, dim) embeddings, the null rows (n,) and the holes, None where there are none."""

    embeddings: Floats
    null: Mask | None
    holes: Integers | None


@dataclass(frozen=True, slots=True)
class ListColumn:
    """Embeddings in one column: a list of any kind, a one-dimensional tensor, or a vector of Spark ML.

    Attributes:
        name: The column.
        type: Its Arrow type.
        dim: Length of a row; 0 until it is known.
    """

    name: str
    type: pa.DataType
    dim: int

    @property
    def decode_bytes(self) -> int:
        """How much is best decoded at a time: while it is in the cache."""
        return base.CHUNK_BYTES

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that the embeddings take."""
        return (self.name,)

    @property
    def lists(self) -> pa.DataType:
        """The type of the lists inside."""
        return list_type(self.type)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return _dtype(self.lists.value_type)

    @property
    def layout(self) -> tuple[object, ...]:
        """What all parts share. The name and the nullability of list items may differ."""
        return self.type.id, self.lists.id, self.dtype, list_size(self.lists)

    def __str__(self) -> str:
        return str(self.type)

    def holds(self, leaf: str) -> bool:
        """Whether the Parquet column of this path holds values of the embeddings."""
        return leaf.startswith(f"{self.name}.values." if pa.types.is_struct(self.type) else f"{self.name}.")

    def first_length(self, batch: pa.RecordBatch, *, start: int, where: object) -> int:
        """The length of the first row that is neither null nor empty; 0 if there is none."""
        lengths = pc.list_value_length(self._unwrapped(batch, start, where)).fill_null(0).to_numpy()
        return int(lengths[np.flatnonzero(lengths)[0]]) if lengths.any() else 0

    def read(self, batch: pa.RecordBatch, *, start: int, where: object) -> Matrix:
        """The embeddings, as a view of the batch where nothing is null; `start` is the number of its first row.

        Raises:
            DataError: A row of another length, or a sparse vector.
        """
        rows = self._unwrapped(batch, start, where)
        lengths = pc.list_value_length(rows).fill_null(self.dim).to_numpy(zero_copy_only=False)
        if (lengths != self.dim).any():
            raise base.ragged(self.dim, lengths, start=start, where=where)
        values = rows.flatten()  # honours offsets, and leaves out what lies under null rows
        embeddings = values.to_numpy(zero_copy_only=False).reshape(-1, self.dim)
        null = _null(rows)
        holes = None
        if values.null_count:
            holes = np.flatnonzero(_among_null(np.asarray(values.is_null()).reshape(-1, self.dim), null))
        return Matrix(_among_null(embeddings, null), null, holes)

    def arrays(self, embeddings: Floats, null: Mask | None, holes: Integers | None) -> list[pa.Array]:
        """The column, over the memory of `embeddings` where no row is null. A hole stays one where it is NaN still."""
        missing = _missing(embeddings, holes)
        if null is not None and list_size(self.lists) is None:  # a list of fixed size has values under null rows
            embeddings, missing = embeddings[~null], None if missing is None else missing[~null]
        values = pa.array(embeddings.ravel(), mask=None if missing is None else missing.ravel())
        return [self._wrapped(values, null, len(values) // self.dim if null is None else len(null))]

    def _unwrapped(self, batch: pa.RecordBatch, start: int, where: object) -> pa.Array:
        """The lists inside of the column."""
        rows = batch.column(self.name)
        if isinstance(rows, pa.ExtensionArray):
            return rows.storage
        if not pa.types.is_struct(self.type):
            return rows
        kind, _, _, values = rows.flatten()  # all of which are null where the vector is
        sparse = np.flatnonzero(pc.equal(kind, 0).fill_null(False).to_numpy(zero_copy_only=False))
        if len(sparse):
            raise DataError(
                f'row {start + int(sparse[0])} of column "{self.name}" is a sparse vector',
                where=where,
                fix="make them dense, in Spark with pyspark.ml.functions.vector_to_array",
            )
        return values

    def _wrapped(self, values: pa.Array, null: Mask | None, rows: int) -> pa.Array:
        """A column of `rows` rows that has these values, a null row none (unless its lists are of fixed size)."""
        mask = None if null is None else pa.array(null)
        lengths = np.full(rows, self.dim) if null is None else np.where(null, 0, self.dim)
        lists = _lists(values, lengths, self.lists, mask)
        if isinstance(self.type, pa.BaseExtensionType):
            return pa.ExtensionArray.from_storage(self.type, lists)
        if pa.types.is_struct(self.type):
            kind, size, indices, _ = (self.type.field(name).type for name in VECTOR_FIELDS)
            dense = [pa.array(np.ones(rows, np.int8)).cast(kind), pa.nulls(rows, size), pa.nulls(rows, indices), lists]
            return pa.StructArray.from_arrays(dense, fields=list(self.type), mask=mask)
        return lists


@dataclass(frozen=True, slots=True)
class WideColumns:
    """Embeddings in scalar columns, one for each dimension, in the order of their numbers.

    Attributes:
        name: The glob that they match.
        type: The type that they share.
        columns: Their names.
    """

    name: str
    type: pa.DataType
    columns: tuple[str, ...]

    @property
    def decode_bytes(self) -> int:
        """How much is best decoded at a time: each time costs a call per column."""
        return 8 * base.CHUNK_BYTES

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

    def read(self, batch: pa.RecordBatch, *, start: int, where: object) -> Matrix:  # noqa: ARG002
        """The embeddings; a row is null if all its columns are."""
        columns = batch.select(self.columns)
        embeddings = columns.to_tensor(null_to_nan=True).to_numpy()
        if not any(column.null_count for column in columns.columns):
            return Matrix(embeddings, None, None)
        empty = np.stack([np.asarray(column.is_null()) for column in columns.columns], axis=1)
        null: Mask = np.all(empty, axis=1)
        embeddings[null] = 0
        holes = np.flatnonzero(empty & ~null[:, None])
        return Matrix(embeddings, null if null.any() else None, holes if len(holes) else None)

    def arrays(self, embeddings: Floats, null: Mask | None, holes: Integers | None) -> list[pa.Array]:
        """The columns. A hole stays one where it is NaN still."""
        missing = _missing(embeddings, holes)
        if null is not None:
            missing = np.zeros(embeddings.shape, np.bool_) if missing is None else missing
            missing[null] = True
        masks = [None] * self.dim if missing is None else np.ascontiguousarray(missing.T)
        return [
            pa.array(values, mask=mask) for values, mask in zip(np.ascontiguousarray(embeddings.T), masks, strict=True)
        ]


Embedding = ListColumn | WideColumns


def list_type(kind: pa.DataType) -> pa.DataType | None:
    """The type of the lists of floats that a column of this type consists of; None if it does not."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return list_type(kind.storage_type) if len(kind.shape) == 1 else None
    if pa.types.is_struct(kind):
        return list_type(kind.field("values").type) if [field.name for field in kind] == VECTOR_FIELDS else None
    lists = (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )
    return kind if lists and pa.types.is_floating(kind.value_type) else None


def list_size(kind: pa.DataType) -> int | None:
    """The length that a type of lists fixes."""
    return kind.list_size if pa.types.is_fixed_size_list(kind) else None


def _lists(values: pa.Array, lengths: Integers, kind: pa.DataType, mask: pa.Array | None) -> pa.Array:
    """Lists of these lengths (n,), one after the other."""
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=mask)
    ends = np.cumsum([0, *lengths])
    if pa.types.is_large_list(kind):
        return pa.LargeListArray.from_arrays(ends, values, type=kind, mask=mask)
    if pa.types.is_large_list_view(kind):
        return pa.LargeListViewArray.from_arrays(ends[:-1], lengths, values, type=kind, mask=mask)
    ends, lengths = ends.astype(np.int32), lengths.astype(np.int32)
    if pa.types.is_list_view(kind):
        return pa.ListViewArray.from_arrays(ends[:-1], lengths, values, type=kind, mask=mask)
    return pa.ListArray.from_arrays(ends, values, type=kind, mask=mask)


def _dtype(kind: pa.DataType) -> np.dtype[Any]:
    """The NumPy type of a float type; `to_pandas_dtype` would import pandas."""
    return np.dtype(f"float{kind.bit_width}")


def _null(values: pa.Array) -> Mask | None:
    """Where the values are null, None if nowhere."""
    return np.asarray(values.is_null()) if values.null_count else None


def _among_null(rows: npt.NDArray[Any], null: Mask | None) -> npt.NDArray[Any]:
    """The rows that are not null, put among null rows, which are zeros."""
    if null is None:
        return rows
    among = np.zeros((len(null), rows.shape[1]), rows.dtype)
    among[~null] = rows
    return among


def _missing(embeddings: Floats, holes: Integers | None) -> Mask | None:
    """Which of the values (n, dim) are holes that are NaN still, None if there are no holes."""
    if holes is None:
        return None
    missing = np.zeros(embeddings.shape, np.bool_)
    missing.flat[holes] = np.isnan(embeddings.ravel()[holes])
    return missing
