"""One array in an NPY file: what its header says, and its rows, read a block at a time. Nothing is ever unpickled."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from clear_cli.embeddings.base import AGAIN, unreadable
from clear_cli.errors import DataError

MAGIC = b"\x93NUMPY"
HEADER_BYTES = 1 << 16
"""A header is looked for in these first bytes only. NumPy refuses headers of a sixth of that."""

COLUMN_BYTES = 64 << 20
"""Of a Fortran-ordered matrix, where each block takes a read in every column, so much is read at a time."""

_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,  # only the encoding of field names differs, and floats have none
}


@dataclass(frozen=True)
class Array:
    """An array in a file: what its header says, and `offset`, where its values begin."""

    path: Path
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int

    @property
    def byte_order(self) -> str:
        """`big` or `little`."""
        return "big" if self.dtype.str.startswith(">") else "little"

    @property
    def is_matrix(self) -> bool:
        """Whether it can hold embeddings: two dimensions of float16, float32 or float64."""
        return len(self.shape) == 2 and bool(self.shape[1]) and is_float(self.dtype)

    def blocks(self, rows: int, start: int = 0) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """The rows from `start`, so many at a time, with the number of the first: C-contiguous, of the file's type.

        By plain reads, since the pages of a memory map count as memory of the process.
        """
        with opened(self.path) as file:
            if self.fortran:
                yield from self._columns(file, rows, start)
                return
            width = math.prod(self.shape[1:])
            file.seek(self.offset + start * width * self.dtype.itemsize)
            for at in range(start, self.shape[0], rows):
                block = np.empty((min(rows, self.shape[0] - at), *self.shape[1:]), self.dtype)
                self._fill(file, block, at)
                yield at, block

    def where(self, start: int, rows: int) -> str:
        """The place of some rows, for messages."""
        return f"{self.path}, rows {start} to {start + rows - 1}"

    def _columns(self, file: BinaryIO, rows: int, start: int) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        total, width = self.shape
        many = max(COLUMN_BYTES // max(width * self.dtype.itemsize * rows, 1), 1) * rows
        for at in range(start, total, many):
            count = min(many, total - at)
            columns = np.empty((width, count), self.dtype)
            for number, column in enumerate(columns):
                file.seek(self.offset + (number * total + at) * self.dtype.itemsize)
                self._fill(file, column, at)
            for piece in range(0, count, rows):
                yield at + piece, np.ascontiguousarray(columns[:, piece : piece + rows].T)

    def _fill(self, file: BinaryIO, values: npt.NDArray[Any], start: int) -> None:
        view = values.view(np.uint8).reshape(-1).data
        while view:
            count = file.readinto(view)  # type: ignore[attr-defined]
            if not count:
                raise DataError("the file became shorter while it was read", where=self.where(start, len(values)))
            view = view[count:]


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether values of this type can be embeddings."""
    return dtype.kind == "f" and dtype.itemsize <= 8


def read_header(path: Path) -> Array:
    """The array that a file holds.

    Raises:
        DataError: It cannot be opened, is not NPY, or is not as long as its header says.
    """
    with opened(path) as file:
        head = file.read(HEADER_BYTES)
        size = file.seek(0, io.SEEK_END)
    array = parsed_header(head, path)
    promised, present = math.prod(array.shape) * array.dtype.itemsize, size - array.offset
    if not array.dtype.hasobject and (promised != present or min(array.shape, default=0) < 0):
        raise DataError(
            "the file is not as long as its header says",
            where=path,
            header=f"shape {array.shape}, type {array.dtype}: {promised:,} bytes",
            file=f"{present:,} bytes after the header",
            fix=AGAIN,
        )
    return array


def parsed_header(head: bytes, where: Path) -> Array:
    """What the first bytes of a file, or of a member of an archive, say. DataError where they say nothing."""
    stream = io.BytesIO(head)
    try:
        with warnings.catch_warnings(action="ignore"):  # the header of a file from Python 2 is read all the same
            shape, fortran, dtype = _READ_HEADER[np.lib.format.read_magic(stream)](stream)
    except Exception as error:  # the header is a Python literal: damage shows in any way that Python has
        raise DataError("no readable NPY header", where=where) from error
    return Array(where, shape, fortran and len(shape) == 2, dtype, stream.tell())


def header_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The header of an array in C order and native byte order, as `np.save` writes it."""
    stream = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(dtype.newbyteorder("=")), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def opened(path: Path) -> BinaryIO:
    """A file, open for reading without a buffer of our own. DataError where it cannot be."""
    try:
        return path.open("rb") if not isinstance(path, Path) else path.open("rb", buffering=0)
    except OSError as error:
        raise unreadable(error, path) from error
