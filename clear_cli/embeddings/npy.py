"""NPY: a matrix of embeddings in one file and, if there are ids, an id for each row in another.

NPY itself has no ids: without an id file, row i is item i. Nothing is ever unpickled.
"""

from __future__ import annotations

import io
import itertools
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clear_cli.embeddings.base import CHUNK_BYTES, Chunk, Floats, IdKind, Source, canonical_ids, unreadable
from clear_cli.errors import DataError

BLOCK_ROWS = 1 << 17
HEADER_BYTES = 1 << 16
"""A header is looked for in these first bytes only. NumPy refuses headers of a sixth of that."""

MAGIC = b"\x93NUMPY"
_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,  # only the encoding of field names differs, and floats have none
}


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
        self._array = array = _read_header(path)
        if len(array.shape) != 2 or not array.shape[1] or array.dtype.kind != "f" or array.dtype.itemsize > 8:
            raise DataError(
                f"embeddings of shape {array.shape} and type {array.dtype} are not supported",
                where=path,
                supported="two dimensions (items, dimensions) of float16, float32 or float64",
            )
        self.rows, self.dim = array.shape
        self.held_bytes, self.costly = 0, False
        self.dtype: np.dtype[Any] = array.dtype.newbyteorder("=")
        self._block = max(min(CHUNK_BYTES // (self.dim * self.dtype.itemsize), BLOCK_ROWS), 1)
        self._ids = None if ids is None else open_ids(ids)
        self.id_kind: IdKind = "row" if self._ids is None else self._ids.kind
        if self._ids is not None and self._ids.count != self.rows:
            raise DataError(
                f"{self._ids.count:,} ids do not fit {self.rows:,} rows of {path.name}",
                where=ids,
                fix=f"--ids {modality}=FILE with one id for each row",
            )
        self.notes = []
        if array.fortran:
            self.notes.append("the file is in Fortran order, the output in C order")
        if not array.dtype.isnative:
            self.notes.append(f"the file is {array.byte_order}-endian, the output {sys.byteorder}-endian")

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """All rows in file order."""
        for at in range(start, self.rows, self._block):
            stop = min(at + self._block, self.rows)
            embeddings = self._array.read(at, stop).astype(self.dtype, copy=False)
            yield Chunk(at, embeddings, None, None, self._array.where(at, stop))

    def ids(self) -> Iterator[pa.Array]:
        """All ids in file order."""
        if self._ids is not None:
            yield from self._ids.blocks(BLOCK_ROWS)

    def sink(self, target: Path, beside: Sequence[Source] = ()) -> NpySink:  # noqa: ARG002  (one array, one modality)
        """A sink that writes the same shape and type, in the order and byte order that every reader copes with."""
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
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": self._shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        return self

    def write(self, modality: str, chunk: Chunk, embeddings: Floats) -> None:
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


@dataclass(frozen=True)
class _Array:
    """An array in a file: what its header says, and `offset`, where its values begin."""

    path: Path
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int

    @property
    def byte_order(self) -> str:
        return "big" if self.dtype.str.startswith(">") else "little"

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows as a C-contiguous array of the file's type.

        By plain reads, since the pages of a memory map count as memory of the process. In Fortran order the rows
        are a piece of every column: one read for each.
        """
        rows = stop - start
        if not self.fortran:
            width = math.prod(self.shape[1:])
            return self._values(start * width, rows * width, start, stop).reshape(rows, *self.shape[1:])
        total, width = self.shape
        block = np.empty((rows, width), self.dtype)
        for column in range(width):
            block[:, column] = self._values(column * total + start, rows, start, stop)
        return block

    def _values(self, first: int, count: int, start: int, stop: int) -> npt.NDArray[Any]:
        values = np.fromfile(self.path, self.dtype, count, offset=self.offset + first * self.dtype.itemsize)
        if len(values) != count:
            raise DataError("the file became shorter while it was read", where=self.where(start, stop))
        return values

    def where(self, start: int, stop: int) -> str:
        return f"{self.path}, rows {start} to {stop - 1}"


def _read_header(path: Path) -> _Array:
    with _opened(path) as file:
        head = io.BytesIO(file.read(HEADER_BYTES))
        size = file.seek(0, io.SEEK_END)
    try:
        with warnings.catch_warnings(action="ignore"):  # the header of a file from Python 2 is read all the same
            shape, fortran, dtype = _READ_HEADER[np.lib.format.read_magic(head)](head)
    except Exception as error:  # the header is a Python literal: damage shows in any way that Python has
        raise DataError("no readable NPY header", where=path) from error
    array = _Array(path, shape, fortran and len(shape) == 2, dtype, head.tell())
    promised, present = math.prod(shape) * dtype.itemsize, size - array.offset
    if not dtype.hasobject and (promised != present or min(shape, default=0) < 0):
        raise DataError(
            "the file is not as long as its header says",
            where=path,
            header=f"shape {shape}, type {dtype}: {promised:,} bytes",
            file=f"{present:,} bytes after the header",
        )
    return array


class _Ids(Protocol):
    """The ids in a file, one per row of embeddings."""

    path: Path
    kind: IdKind
    count: int

    def blocks(self, rows: int) -> Iterator[pa.Array]: ...


def open_ids(path: Path) -> _Ids:
    """The ids in a text file, one per line, or in a one-dimensional NPY file. DataError where it is neither."""
    with _opened(path) as file:
        return _ArrayIds(path) if file.read(len(MAGIC)) == MAGIC else _TextIds(path)


class _TextIds:
    """One id per line; the last line may lack its end."""

    kind: IdKind = "text"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = sum(1 for _ in self._lines())

    def blocks(self, rows: int) -> Iterator[pa.Array]:
        lines = self._lines()
        while block := list(itertools.islice(lines, rows)):
            yield pa.array(block, pa.string())

    def _lines(self) -> Iterator[str]:
        try:
            with self.path.open(encoding="utf-8-sig", newline="\n") as file:
                for number, line in enumerate(file, 1):
                    text = line.removesuffix("\n").removesuffix("\r")
                    if not text or text.isspace():
                        raise DataError(f"line {number:,} is blank, where an item id should be", where=self.path)
                    yield text
        except UnicodeDecodeError as error:
            raise DataError("the id file is not valid UTF-8", where=self.path) from error
        except OSError as error:
            raise unreadable(error, self.path) from error


class _ArrayIds:
    """One-dimensional NPY of strings or integers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._array = array = _read_header(path)
        if len(array.shape) != 1 or array.dtype.kind not in "SUiu" or not array.dtype.itemsize:
            raise DataError(
                f"item ids of shape {array.shape} and type {array.dtype} are not supported",
                where=path,
                supported="one dimension of strings or integers",
            )
        self.count = array.shape[0]
        self.kind: IdKind = "string" if array.dtype.kind in "SU" else "integer"

    def blocks(self, rows: int) -> Iterator[pa.Array]:
        for start in range(0, self.count, rows):
            stop = min(start + rows, self.count)
            values, where = self._array.read(start, stop), self._array.where(start, stop)
            # Strings as a list, because Arrow ends those of a NumPy array at their first NUL.
            try:
                ids = pa.array(
                    values.astype(values.dtype.newbyteorder("=")) if self.kind == "integer" else values.tolist()
                )
            except ValueError as error:
                raise DataError("an item id is not valid Unicode", where=where) from error
            yield canonical_ids(ids, where=where)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise unreadable(error, path) from error
