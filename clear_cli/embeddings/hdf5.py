"""HDF5: a dataset of embeddings and a dataset of item ids, anywhere in the groups of one file.

The output is a copy of the file in which slices of the embedding dataset are assigned: whatever else the
file holds stays as it is. (h5py is slow to import; this module is imported when there is such a file.)
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa

from clear_cli.embeddings.base import CHUNK_BYTES, PIECE_BYTES, Chunk, Floats, IdKind, Source, canonical_ids
from clear_cli.embeddings.hdf5_contents import Contents, filters, id_kind
from clear_cli.errors import DataError

BLOCK_ROWS = 1 << 17


class Hdf5Source:
    """The embeddings of one modality in an HDF5 file.

    Args:
        path: The file.
        modality: The modality's name, for messages.
        embedding_column: Path of the embedding dataset in the file. None: the only matrix of floats.
        id_column: Path of the id dataset. None: the only one with an id for each row, or the only one of these
            that lies beside the embeddings or has a usual name.

    Raises:
        DataError: Not HDF5, no such dataset, several that could be meant, or one that cannot be used.
    """

    def __init__(
        self, path: Path, *, modality: str, embedding_column: str | None = None, id_column: str | None = None
    ) -> None:
        self.path, self.modality = path, modality
        with _opened(path) as file:
            contents = Contents(file, path, modality)
            dataset = contents.embeddings(embedding_column)
            ids = contents.ids(id_column, dataset)
            self.rows, self.dim = dataset.shape
            self.piece_bytes = 0
            self.dtype: np.dtype[Any] = dataset.dtype.newbyteorder("=")
            self.id_kind: IdKind = id_kind(ids) or "string"
            self.notes = contents.notes(dataset)
            self._name, self._id_name = dataset.name.lstrip("/"), ids.name.lstrip("/")
            self._byte_order = "big" if dataset.dtype.str.startswith(">") else "little"
            self._chunks: tuple[int, ...] | None = dataset.chunks
            self._filters = [name for _, name in filters(dataset)]
        self._block = _block_rows(self.dim * self.dtype.itemsize, self._chunks)
        if self._chunks and self._block < min(self._chunks[0], self.rows):
            self.notes.append(
                f"HDF5 chunks of {self._chunks[0]:,} rows take more than {PIECE_BYTES >> 20} MiB side by side: "
                f"they are read and written {self._block:,} rows at a time"
            )

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """All rows in file order, in blocks whose size depends on the layout of the dataset alone."""
        with _opened(self.path) as file:
            dataset = file[self._name]
            for at in range(start, self.rows, self._block):
                stop = min(at + self._block, self.rows)
                embeddings = self._read(dataset, at, stop).astype(self.dtype, copy=False)
                yield Chunk(at, embeddings, None, None, self._where(dataset, at, stop))

    def ids(self) -> Iterator[pa.Array]:
        """All ids in file order."""
        with _opened(self.path) as file:
            for start in range(0, self.rows, BLOCK_ROWS):
                yield self._read_ids(file[self._id_name], start, min(start + BLOCK_ROWS, self.rows))

    def sink(self, target: Path, beside: Sequence[Source] = ()) -> Hdf5Sink:  # noqa: ARG002
        """A sink that writes the file again with other embeddings."""
        slivers = self._chunks is not None and self._chunks[1] < self.dim and not self._filters
        return Hdf5Sink(self.path, target, self._name, cached=slivers)

    def files(self) -> list[Path]:
        """The file."""
        return [self.path]

    def describe(self) -> dict[str, Any]:
        """The names of both datasets and the layout of the embeddings; `chunks` is None for a contiguous one."""
        return {
            "container": "hdf5",
            "rows": self.rows,
            "dim": self.dim,
            "dtype": self.dtype.name,
            "byte_order": self._byte_order,
            "embedding_dataset": self._name,
            "id_dataset": self._id_name,
            "chunks": self._chunks and list(self._chunks),
            "filters": self._filters,
        }

    def _read(self, dataset: h5py.Dataset, start: int, stop: int) -> Any:
        try:
            return dataset[start:stop]
        except OSError as error:
            where = self._where(dataset, start, stop)
            raise DataError(f"these rows cannot be read: {_reason(error)}", where=where) from error

    def _read_ids(self, dataset: h5py.Dataset, start: int, stop: int) -> pa.Array:
        values = self._read(dataset, start, stop)
        if self.id_kind == "integer":
            ids = pa.array(values.astype(values.dtype.newbyteorder("="), copy=False))
        else:  # as a list, because Arrow ends the strings of a NumPy array at their first NUL
            ids = pa.array(values.tolist(), pa.binary())
        return canonical_ids(ids, where=self._where(dataset, start, stop))

    def _where(self, dataset: h5py.Dataset, start: int, stop: int) -> str:
        return f'{self.path}, dataset "{dataset.name.lstrip("/")}", rows {start} to {stop - 1}'


class Hdf5Sink:
    """A copy of an HDF5 file in which one dataset gets new values.

    To build the file anew would take knowing all that HDF5 has, now and later: attributes, filters, links, creation
    order, dimension scales, a user block. A copy keeps what it does not know.

    Args:
        source: The file to copy.
        target: The copy.
        name: The dataset to assign.
        cached: Let HDF5 collect what is written, which chunks narrower than a row need for speed. Otherwise it is
            written at once, and a full disk is an OSError from `write`. What waits in the cache for the closing of
            the file, when the disk is full, crashes the process at its end.
    """

    def __init__(self, source: Path, target: Path, name: str, *, cached: bool) -> None:
        self._source = source
        self._target = target
        self._name = name
        self._cache_bytes = None if cached else 0
        self._written = 0

    def __enter__(self) -> Hdf5Sink:
        shutil.copyfile(self._source, self._target)  # without its mode: the copy of a read-only file is writable
        self._file = h5py.File(self._target, "r+", rdcc_nbytes=self._cache_bytes)
        self._dataset = self._file[self._name]
        self._rows = len(self._dataset)
        return self

    def write(self, modality: str, chunk: Chunk, embeddings: Floats) -> None:
        """Assign the rows of the chunk."""
        try:
            self._dataset[chunk.start : chunk.start + len(chunk)] = embeddings
        except (OSError, RuntimeError) as error:
            raise self._refused(error) from error
        self._written += len(chunk)

    def __exit__(self, *error: object) -> None:
        failed = error[0] is not None
        try:
            self._file.close()
        except (OSError, RuntimeError) as refusal:
            if not failed:
                raise self._refused(refusal) from refusal
        if not failed and self._written != self._rows:
            raise ValueError(f"{self._written} of {self._rows} rows were written: the others keep their old values")

    def _refused(self, error: Exception) -> OSError:
        code = _code(error) or errno.EIO
        return OSError(code, os.strerror(code), str(self._target))


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading; damage that is found while it is open is a DataError."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:  # which of these depends on the layer of h5py that notices
        raise DataError(f"not a readable HDF5 file: {_reason(error)}", where=path) from error


def _block_rows(row_bytes: int, chunks: tuple[int, ...] | None) -> int:
    """Rows to read at a time: whole HDF5 chunks, unless these pass `PIECE_BYTES` side by side."""
    rows = min(CHUNK_BYTES // row_bytes, BLOCK_ROWS)
    whole = chunks[0] if chunks else 1
    if whole <= rows:
        return rows // whole * whole
    return min(whole, max(PIECE_BYTES // row_bytes, 1))


def _code(error: Exception) -> int | None:
    """The error number of the system in a message of HDF5."""
    found = re.search(r"errno = (\d+)", str(error))
    return int(found[1]) if found else None


def _reason(error: Exception) -> str:
    """What the system says, else what HDF5 says inside its brackets."""
    code = _code(error)
    if code:
        return os.strerror(code).lower()
    inner = re.search(r"\((.*)\)", str(error), re.DOTALL)
    return inner[1] if inner else str(error)
