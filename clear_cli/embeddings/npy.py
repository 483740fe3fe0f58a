"""NPY: a matrix of embeddings in one file and, if there are ids, an id for each row in another.

NPY itself has no ids: without an id file, row i is item i, and nothing is guessed about where items begin.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from clear_cli.embeddings.base import CHUNK_BYTES, Chunk, Floats, IdKind, Source
from clear_cli.embeddings.npy_array import Array, header_of, read_header
from clear_cli.embeddings.npy_ids import Ids, open_ids
from clear_cli.errors import DataError

ID_ROWS = 1 << 17


class NpySource:
    """The embeddings of one modality in an NPY file.

    Args:
        path: The file.
        modality: The modality's name, for messages.
        ids: A text file with one id per line, or an NPY file with a string or integer per row. None: row i is item i.

    Raises:
        DataError: Not NPY, not a matrix of floats, not as long as its header says, or ids that do not fit its rows.
    """

    def __init__(self, path: Path, *, modality: str, ids: Path | None = None) -> None:
        self.path, self.modality = path, modality
        self._array = array = read_header(path)
        if not array.is_matrix:
            raise not_embeddings(array)
        self.rows, self.dim = array.shape
        self.held_bytes, self.costly = 0, False
        self.dtype: np.dtype[Any] = array.dtype.newbyteorder("=")
        self._ids = None if ids is None else ids_for(ids, self.rows, modality, path)
        self.id_kind: IdKind = "row" if self._ids is None else self._ids.kind
        self.notes = layout_notes(array)

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """All rows in file order."""
        for at, block in self._array.blocks(rows_of(self.dim, self.dtype), start):
            where = self._array.where(at, len(block))
            yield Chunk(at, block.astype(self.dtype, copy=False), None, None, where)

    def ids(self) -> Iterator[pa.Array]:
        """All ids in file order."""
        if self._ids is not None:
            yield from self._ids.blocks(ID_ROWS)

    def sink(self, target: Path, beside: Sequence[Source] = ()) -> NpySink:
        """A sink that writes the same shape and type, in the order and byte order that every reader copes with."""
        if beside:
            names = ", ".join([self.modality, *(source.modality for source in beside)])
            raise DataError(f"one array cannot be several modalities: {names}", where=self.path)
        return NpySink(target, (self.rows, self.dim), self.dtype)

    def files(self) -> list[Path]:
        """The file, and the id file if there is one."""
        return [self.path] if self._ids is None else [self.path, self._ids.path]

    def describe(self) -> dict[str, Any]:
        """The layout, and the name of the id file."""
        return {
            "container": "npy",
            "rows": self.rows,
            "dim": self.dim,
            "dtype": self.dtype.name,
            "byte_order": self._array.byte_order,
            "order": "Fortran" if self._array.fortran else "C",
            "id_file": None if self._ids is None else self._ids.path.name,
        }


class NpySink:
    """Writes rows as the file that `np.save` would make of the whole matrix, in C order and native byte order."""

    def __init__(self, target: Path, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self._target = target
        self._shape = shape
        self._dtype = dtype
        self._written = 0

    def __enter__(self) -> NpySink:
        self._file = self._target.open("wb")
        self._file.write(header_of(self._shape, self._dtype))
        return self

    def write(self, modality: str, chunk: Chunk, embeddings: Floats) -> None:  # noqa: ARG002  (there is only one)
        """Append the rows of the chunk."""
        self._file.write(np.ascontiguousarray(embeddings, self._dtype).data)
        self._written += len(chunk)

    def __exit__(self, *error: object) -> None:
        failed = error[0] is not None
        try:
            self._file.close()
        except OSError:
            if not failed:
                raise
        if not failed and self._written != self._shape[0]:
            raise ValueError(f"{self._written} of {self._shape[0]} rows were written")


def rows_of(dim: int, dtype: np.dtype[Any]) -> int:
    """Rows of a chunk."""
    return max(CHUNK_BYTES // (dim * dtype.itemsize), 1)


def not_embeddings(array: Array) -> DataError:
    """The error for an array that is no matrix of floats."""
    return DataError(
        f"embeddings of shape {array.shape} and type {array.dtype} are not supported",
        where=array.path,
        supported="two dimensions (items, dimensions) of float16, float32 or float64",
    )


def layout_notes(array: Array) -> list[str]:
    """What the output does not keep of the layout of an array."""
    notes = []
    if array.fortran:
        notes.append("the file is in Fortran order, the output in C order")
    if not array.dtype.isnative:
        notes.append(f"the file is {array.byte_order}-endian, the output {sys.byteorder}-endian")
    return notes


def ids_for(ids: Path, rows: int, modality: str, where: Path) -> Ids:
    """The ids in a file, one for each row.

    Raises:
        DataError: It cannot be read, or holds another number of them.
    """
    found = open_ids(ids)
    if found.count != rows:
        raise DataError(
            f"{found.count:,} ids do not fit {rows:,} rows of {where.name}",
            where=ids,
            fix=f"--ids {modality}=FILE with one id for each row",
        )
    return found
