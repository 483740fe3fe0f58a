"""How embeddings lie in an HDF5 file: what all layouts have in common, and the most usual one, a matrix.

A layout knows where its rows are. It reads and writes consecutive ones, and it names the bytes of the file that its
writing replaces, which a copy of the file may leave out.
"""

from __future__ import annotations

from array import array
from typing import Any, Protocol

import h5py
import numpy as np
import numpy.typing as npt

from clear_cli.embeddings.base import CHUNK_BYTES, PIECE_BYTES, Floats
from clear_cli.embeddings.hdf5_file import OpenFile, filters

BLOCK_ROWS = 1 << 17

LOSSY = ("scaleoffset", "zfp")

Ranges = npt.NDArray[np.int64]
"""(n, 2) first byte and length."""


class Layout(Protocol):
    """Where the rows of one modality are in a file.

    Attributes:
        name: The dataset, or the pattern of the datasets.
        stored: The type in the file, in its byte order.
        block: Rows to read at a time.
        identity: Equal for layouts of the same values, whatever their names.
        plain: All values are read and written without HDF5.
    """

    name: str
    rows: int
    dim: int
    stored: np.dtype[Any]
    block: int
    identity: tuple[Any, ...]
    plain: bool
    chunks: tuple[int, ...] | None
    filters: list[str]
    notes: list[str]

    def read(self, file: OpenFile, start: int, stop: int) -> Floats:
        """Rows start to stop, (n, d) of the stored type. OSError or EOFError where the file is damaged."""
        ...

    def write(self, file: OpenFile, start: int, values: Floats) -> None:
        """Replace the rows from `start` on by values (n, d). OSError or RuntimeError where the disk refuses."""
        ...

    def replaced(self, file: OpenFile) -> Ranges:
        """The bytes of the file that writing all rows replaces without reading them. May leave some out."""
        ...

    def where(self, start: int, stop: int) -> str:
        """The place of rows, for messages."""
        ...


class Matrix:
    """A dataset with a row for each item.

    Args:
        dataset: Two-dimensional, floats, in this file.
        file: The open file.
    """

    def __init__(self, dataset: h5py.Dataset, file: OpenFile) -> None:
        self.name = dataset.name.lstrip("/")
        self._path = file.path
        self.rows, self.dim = dataset.shape
        self.stored = dataset.dtype
        self.identity: tuple[Any, ...] = matrix_identity(dataset)
        self.chunks: tuple[int, ...] | None = dataset.chunks
        self.filters = [name for _, name in filters(dataset)]
        self.notes: list[str] = []
        self._row_bytes = self.dim * self.stored.itemsize
        self.block = block_rows(self._row_bytes, self.chunks)
        # None: in chunks, within the header, or nowhere yet.
        self._offset: int | None = dataset.id.get_offset() if self.rows else None
        self.plain = self._offset is not None
        if self.chunks and self.block < min(self.chunks[0], self.rows):
            self.notes.append(
                f"HDF5 chunks of {self.chunks[0]:,} rows take more than {PIECE_BYTES >> 20} MiB side by side: "
                f"they are read and written {self.block:,} rows at a time"
            )

        self.notes += [f'the filter "{name}" may round what is written' for name in self.filters if name in LOSSY]

    def read(self, file: OpenFile, start: int, stop: int) -> Floats:
        """Rows start to stop."""
        if self._offset is None:
            values: Floats = file.h5[self.name][start:stop]
            return values
        values = np.empty((stop - start, self.dim), self.stored)
        file.read(values, self._offset + start * self._row_bytes)
        return values

    def write(self, file: OpenFile, start: int, values: Floats) -> None:
        """Replace rows from `start` on."""
        if self._offset is not None:
            stored = np.ascontiguousarray(values, self.stored)
            file.write(stored, self._offset + start * self._row_bytes)
        elif self._in_slivers:
            self._write_slivers(file.h5[self.name], start, values)
        else:
            file.h5[self.name][start : start + len(values)] = values

    def replaced(self, file: OpenFile) -> Ranges:
        """All of a contiguous matrix; the chunks that lie wholly inside, where they are written whole."""
        if self._offset is not None:
            return np.array([[self._offset, self.rows * self._row_bytes]], np.int64)
        if not self.chunks or not self._whole_chunks or file.h5.userblock_size:
            return np.empty((0, 2), np.int64)  # with a user block, releases of HDF5 differ in where they count from
        (height, width), found = self.chunks, array("q")

        def note(chunk: h5py.h5d.StoreInfo) -> None:
            row, column = chunk.chunk_offset
            if row + height <= self.rows and column + width <= self.dim:
                found.extend((chunk.byte_offset, chunk.size))

        file.h5[self.name].id.chunk_iter(note)
        return np.array(found, np.int64).reshape(-1, 2)

    def where(self, start: int, stop: int) -> str:
        """The place of rows, for messages."""
        return f'{self._path}, dataset "{self.name}", rows {start} to {stop - 1}'

    @property
    def _whole_chunks(self) -> bool:
        return self.chunks is not None and self.block % self.chunks[0] == 0

    @property
    def _in_slivers(self) -> bool:
        """Chunks narrower than a row and without filters: an assignment would write each row of each by itself."""
        return self.chunks is not None and self.chunks[1] < self.dim and not self.filters and self._whole_chunks

    def _write_slivers(self, dataset: h5py.Dataset, start: int, values: Floats) -> None:
        assert self.chunks is not None
        (height, width), n = self.chunks, len(values)
        for row in range(0, n, height):
            for column in range(0, self.dim, width):
                part = values[row : row + height, column : column + width]
                if part.shape == self.chunks:
                    data = np.ascontiguousarray(part, self.stored)
                    dataset.id.write_direct_chunk((start + row, column), data.view(np.uint8).reshape(-1))
                else:  # what lies beyond the edge is to stay the fill value
                    dataset[start + row : start + row + len(part), column : column + width] = part


def matrix_identity(dataset: h5py.Dataset) -> tuple[Any, ...]:
    """The place of its header, which all its names share."""
    return "matrix", h5py.h5o.get_info(dataset.id).addr


def block_rows(row_bytes: int, chunks: tuple[int, ...] | None) -> int:
    """Rows to read at a time: whole HDF5 chunks, unless these pass `PIECE_BYTES` side by side."""
    rows = min(CHUNK_BYTES // row_bytes, BLOCK_ROWS)
    whole = chunks[0] if chunks else 1
    if whole <= rows:
        return rows // whole * whole
    return min(whole, max(PIECE_BYTES // row_bytes, 1))
