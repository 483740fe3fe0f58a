"""Embeddings in an HDF5 file as a dataset of its own for each item, whose name is the item's id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
import pyarrow as pa

from clear_cli.embeddings.base import Floats, Integers, canonical_ids
from clear_cli.embeddings.hdf5_file import OpenFile, dtype_of, filters, is_float, links, refuse_foreign
from clear_cli.embeddings.hdf5_layouts import BLOCK_ROWS, Ranges, block_rows
from clear_cli.errors import DataError


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

    chunks: tuple[int, ...] | None = None

    def __init__(self, group: h5py.Group, suffix: str, file: OpenFile) -> None:
        self._path, self._group, self._suffix = file.path, group.name.strip("/"), suffix
        self.name = "/".join(step for step in (self._group, "*", suffix) if step)
        about = h5py.h5o.get_info(group.id)
        self.identity: tuple[Any, ...] = ("items", about.addr, suffix)
        self._file_number = about.fileno
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
        self.block = block_rows(self._row_bytes, None)
        if self._passed_over:
            self.notes.append(f'{self._passed_over:,} members of "{self._group or "/"}" are no embeddings of an item')

    def read(self, file: OpenFile, start: int, stop: int) -> Floats:
        """Rows start to stop."""
        values = np.empty((stop - start, self.dim), self.stored)
        for row, place in zip(values, self._places[start:stop].tolist(), strict=True):
            if place >= 0:
                file.read(row, place)
        for i in np.flatnonzero(self._places[start:stop] < 0).tolist():
            values[i] = self._dataset(file, start + i)[()].reshape(-1)
        return values

    def write(self, file: OpenFile, start: int, values: Floats) -> None:
        """Replace rows from `start` on."""
        stored = np.ascontiguousarray(values, self.stored)
        places = self._places[start : start + len(values)]
        for row, place in zip(stored, places.tolist(), strict=True):
            if place >= 0:
                file.write(row, place)
        for i in np.flatnonzero(places < 0).tolist():
            self._dataset(file, start + i)[...] = values[i].reshape(self._shape)

    def replaced(self, file: OpenFile) -> Ranges:  # noqa: ARG002
        """The values of each item, where HDF5 tells where they are."""
        plain = self._places[self._places >= 0]
        return np.stack([plain, np.full(len(plain), self._row_bytes)], axis=1)

    def where(self, start: int, stop: int) -> str:
        """The place of rows, for messages."""
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
        if h5py.h5o.get_info(found).fileno != self._file_number:
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
