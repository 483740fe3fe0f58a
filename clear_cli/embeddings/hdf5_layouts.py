"""How embeddings lie in an HDF5 file: as one matrix, or as a dataset of its own for each item.

A layout knows where its rows are. It reads and writes consecutive ones, and it names the bytes of the file that its
writing replaces, which a copy of the file may leave out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clear_cli.embeddings.base import CHUNK_BYTES, PIECE_BYTES, Floats, Integers, canonical_ids
from clear_cli.embeddings.hdf5_file import OpenFile, dtype_of, filters, is_float, links, refuse_foreign
from clear_cli.errors import DataError

BLOCK_ROWS = 1 << 17

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

    Raises:
        DataError: The file ends before the values do.
    """

    def __init__(self, dataset: h5py.Dataset, file: OpenFile) -> None:
        self.name = dataset.name.lstrip("/")
        self._path = file.path
        self.rows, self.dim = dataset.shape
        self.stored = dataset.dtype
        self.identity = ("matrix", h5py.h5o.get_info(dataset.id).addr)
        self.chunks: tuple[int, ...] | None = dataset.chunks
        self.filters = [name for _, name in filters(dataset)]
        self.notes: list[str] = []
        self._row_bytes = self.dim * self.stored.itemsize
        self.block = _block_rows(self._row_bytes, self.chunks)
        # None: in chunks, within the header, or nowhere yet.
        self._offset: int | None = dataset.id.get_offset() if self.rows else None
        self.plain = self._offset is not None
        if self._offset is not None:
            _refuse_cut_off(f'dataset "{self.name}"', self._offset + self.rows * self._row_bytes, file)
        if self.chunks and self.block < min(self.chunks[0], self.rows):
            self.notes.append(
                f"HDF5 chunks of {self.chunks[0]:,} rows take more than {PIECE_BYTES >> 20} MiB side by side: "
                f"they are read and written {self.block:,} rows at a time"
            )

    def read(self, file: OpenFile, start: int, stop: int) -> Floats:
        if self._offset is None:
            values: Floats = file.h5[self.name][start:stop]
            return values
        values = np.empty((stop - start, self.dim), self.stored)
        file.read(values, self._offset + start * self._row_bytes)
        return values

    def write(self, file: OpenFile, start: int, values: Floats) -> None:
        if self._offset is not None:
            stored = np.ascontiguousarray(values, self.stored)
            file.write(stored, self._offset + start * self._row_bytes)
        elif self._in_slivers:
            self._write_slivers(file.h5[self.name], start, values)
        else:
            file.h5[self.name][start : start + len(values)] = values

    def replaced(self, file: OpenFile) -> Ranges:
        if self._offset is not None:
            return np.array([[self._offset, self.rows * self._row_bytes]], np.int64)
        if not self.chunks or not self._whole_chunks or file.h5.userblock_size:
            return np.empty((0, 2), np.int64)  # with a user block, releases of HDF5 differ in where they count from
        (height, width), found = self.chunks, []

        def note(chunk: h5py.h5d.StoreInfo) -> None:
            row, column = chunk.chunk_offset
            if row + height <= self.rows and column + width <= self.dim:
                found.append((chunk.byte_offset, chunk.size))

        file.h5[self.name].id.chunk_iter(note)
        return np.array(found, np.int64).reshape(-1, 2)

    def where(self, start: int, stop: int) -> str:
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


class Items:
    """A dataset for each item: those in a group, or those of one name in the groups in a group.

    Their names, and the place of the values of each, are kept (about 30 bytes an item); nothing else is.

    Args:
        group: The group.
        suffix: Path from a group in it to its dataset; empty where the group holds the datasets themselves.
        file: The open file.

    Raises:
        DataError: Datasets that differ in shape or type, that are no vectors of floats, or that are in other files.
    """

    chunks = None

    def __init__(self, group: h5py.Group, suffix: str, file: OpenFile) -> None:
        self._path, self._group, self._suffix = file.path, group.name.strip("/"), suffix
        self.name = "/".join(step for step in (self._group, "*", suffix) if step)
        self.identity = ("items", h5py.h5o.get_info(group.id).addr, suffix)
        self.names: list[pa.Array] = []
        self.filters: list[str] = []
        self.notes: list[str] = []
        self._shape: tuple[int, ...] = ()
        self._kind: Any = None
        self._passed_over = 0
        places: list[Integers] = []
        for batch in _batches(group):
            found = [(name, place) for name in batch if (place := self._place(group, name)) is not None]
            if found:
                self.names.append(self._canonical([name for name, _ in found]))
                places.append(np.array([place for _, place in found], np.int64))
        self._places = np.concatenate([np.empty(0, np.int64), *places])
        self.rows, self.dim = len(self._places), self._shape[-1] if self._shape else 0
        if not self.rows:
            return
        self.plain = bool((self._places >= 0).all())
        self._row_bytes = self.dim * self.stored.itemsize
        self.block = _block_rows(self._row_bytes, None)
        _refuse_cut_off(f'a dataset of "{self.name}"', int(self._places.max()) + self._row_bytes, file)
        if self._passed_over:
            self.notes.append(f'{self._passed_over:,} members of "{self._group or "/"}" are no embeddings of an item')

    def read(self, file: OpenFile, start: int, stop: int) -> Floats:
        values = np.empty((stop - start, self.dim), self.stored)
        for row, place in zip(values, self._places[start:stop].tolist(), strict=True):
            if place >= 0:
                file.read(row, place)
        for i in np.flatnonzero(self._places[start:stop] < 0).tolist():
            values[i] = self._dataset(file, start + i)[()].reshape(-1)
        return values

    def write(self, file: OpenFile, start: int, values: Floats) -> None:
        stored = np.ascontiguousarray(values, self.stored)
        places = self._places[start : start + len(values)]
        for row, place in zip(stored, places.tolist(), strict=True):
            if place >= 0:
                file.write(row, place)
        for i in np.flatnonzero(places < 0).tolist():
            self._dataset(file, start + i)[...] = values[i].reshape(self._shape)

    def replaced(self, file: OpenFile) -> Ranges:  # noqa: ARG002
        plain = self._places[self._places >= 0]
        return np.stack([plain, np.full(len(plain), self._row_bytes)], axis=1)

    def where(self, start: int, stop: int) -> str:
        return f'{self._path}, datasets "{self.name}", rows {start} to {stop - 1}'

    def _dataset(self, file: OpenFile, row: int) -> h5py.Dataset:
        for names in self.names:
            if row < len(names):
                return file.h5["/".join(filter(None, (self._group, names[row].as_py(), self._suffix)))]
            row -= len(names)
        raise IndexError(row)

    def _place(self, group: h5py.Group, item: str) -> int | None:
        """Where the values of an item begin; -1 where only HDF5 can read them, None where there are none."""
        name = f"{item}/{self._suffix}" if self._suffix else item
        try:
            found = h5py.h5o.open(group.id, name.encode())
        except (KeyError, UnicodeEncodeError) as error:
            if isinstance(error, UnicodeEncodeError):
                raise DataError("an item id is not valid UTF-8", where=self._path) from error
            return None
        full = f"{self._group}/{name}".lstrip("/")
        if h5py.h5o.get_info(found).fileno != h5py.h5o.get_info(group.id).fileno:
            raise DataError(f'"{full}" is in another file, behind an external link', where=self._path)
        if not isinstance(found, h5py.h5d.DatasetID) or isinstance(found.get_type(), h5py.h5t.TypeStringID):
            self._passed_over += 1
            return None
        if not self._shape:
            self._first(h5py.Dataset(found), full)
        elif found.shape != self._shape or found.get_type() != self._kind:
            raise self._other(h5py.Dataset(found), full)
        offset: int | None = found.get_offset()
        if offset is None:
            refuse_foreign(h5py.Dataset(found), full, self._path)
        return -1 if offset is None else offset

    def _first(self, dataset: h5py.Dataset, name: str) -> None:
        shape = dataset.shape or ()
        if not is_float(dataset) or not shape or not shape[-1] or len(shape) > 2 or shape[:-1] not in ((), (1,)):
            raise DataError(
                f'dataset "{name}" cannot hold the embedding of an item: shape {dataset.shape}, '
                f"type {dtype_of(dataset)}",
                where=self._path,
                supported="shape (d,) or (1, d) of float16, float32 or float64",
            )
        self._shape, self._kind, self.stored = shape, dataset.id.get_type(), dataset.dtype
        self._example = name
        self.filters = [one for _, one in filters(dataset)]

    def _other(self, dataset: h5py.Dataset, name: str) -> DataError:
        return DataError(
            f'the datasets of the items differ: "{name}" has shape {dataset.shape} and type {dtype_of(dataset)}, '
            f'"{self._example}" has shape {self._shape} and type {self.stored}',
            where=self._path,
        )

    def _canonical(self, names: Sequence[str]) -> pa.Array:
        return canonical_ids(pa.array(names, pa.string()), where=self._path)


def _batches(group: h5py.Group) -> Iterator[list[str]]:
    """The names in a group, some at a time."""
    batch, at = links(group, BLOCK_ROWS)
    while batch:
        yield [name for name, _ in batch]
        batch, at = links(group, BLOCK_ROWS, at)


def _block_rows(row_bytes: int, chunks: tuple[int, ...] | None) -> int:
    """Rows to read at a time: whole HDF5 chunks, unless these pass `PIECE_BYTES` side by side."""
    rows = min(CHUNK_BYTES // row_bytes, BLOCK_ROWS)
    whole = chunks[0] if chunks else 1
    if whole <= rows:
        return rows // whole * whole
    return min(whole, max(PIECE_BYTES // row_bytes, 1))


def _refuse_cut_off(what: str, end: int, file: OpenFile) -> None:
    if end > file.size:
        raise DataError(
            f"{what} is cut off: its values end at byte {end:,}, and the file at byte {file.size:,}", where=file.path
        )
