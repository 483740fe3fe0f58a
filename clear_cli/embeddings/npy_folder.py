"""Folders of NPY files: one vector per item (Ducho, Elliot), or shards of a matrix (clip-retrieval).

Which it is, the first file says: a vector (d,) or (1, d) is an item, whose id is the name of its file; a matrix
(n, d) is a shard. Files come in the order of their names, compared as strings, as embedding-reader has it. The ids
of shards are in Parquet files beside them (`metadata/`), a file for each shard, or in an id file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clear_cli.embeddings.base import Chunk, Floats, IdKind, Source, shown, unreadable
from clear_cli.embeddings.npy import ID_ROWS, NpySink, ids_for, layout_notes, not_embeddings, rows_of
from clear_cli.embeddings.npy_array import Array, header_of, is_float, opened, read_header
from clear_cli.embeddings.parquet_ids import ShardIds
from clear_cli.errors import DataError, UsageError

SUFFIX = ".npy"
METADATA = "metadata"


def npy_names(folder: Path) -> tuple[pa.Array, list[str]]:
    """The names of the NPY files in a folder, sorted, in one Arrow array: there may be millions. And the others."""
    try:
        if isinstance(folder, Path):
            with os.scandir(folder) as entries:
                names = pa.array((entry.name for entry in entries if not entry.name.startswith(".")), pa.string())
        else:
            names = pa.array((path.name for path in folder.iterdir()), pa.string())
    except OSError as error:
        raise unreadable(error, folder) from error
    ours = pc.ends_with(names, SUFFIX)
    mine = names.filter(ours)
    return mine.take(pc.array_sort_indices(mine)), names.filter(pc.invert(ours)).to_pylist()


class ItemFolder:
    """A folder with a vector per item, each in a file that is called `<item>.npy`.

    Args:
        path: The folder.
        modality: The modality's name, for messages.

    Raises:
        DataError: The first file is no vector of floats.
    """

    def __init__(self, path: Path, *, modality: str) -> None:
        self.path, self.modality = path, modality
        self._names, others = npy_names(path)
        self._first = first = read_header(path / self._names[0].as_py())
        if first.shape[-1:] in ((), (0,)) or not is_float(first.dtype):
            raise not_embeddings(first)
        self.rows, self.dim = len(self._names), first.shape[-1]
        self.dtype: np.dtype[Any] = first.dtype.newbyteorder("=")
        self.id_kind: IdKind = "text"  # names have no types
        self.held_bytes, self.costly = 0, True
        self.notes = layout_notes(first)
        if others:
            self.notes.append(f"not carried over: {shown(sorted(others), 5)}")
        with opened(first.path) as file:
            self._head = file.read(first.offset)

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """All rows in the order of the names.

        Raises:
            DataError: A file of another shape or type.
        """
        rows = rows_of(self.dim, self.dtype)
        for at in range(start, self.rows, rows):
            names = self._names[at : at + rows].to_pylist()
            block = np.empty((len(names), self.dim), self.dtype)
            for row, name in enumerate(names):
                block[row] = self._vector(name)
            yield Chunk(at, block, None, None, f"{self.path}, {names[0]} to {names[-1]}")

    def ids(self) -> Iterator[pa.Array]:
        """The names of the files, without their ending."""
        for at in range(0, self.rows, ID_ROWS):
            yield pc.utf8_slice_codeunits(self._names[at : at + ID_ROWS], 0, -len(SUFFIX))

    def sink(self, target: Path, beside: Sequence[Source] = ()) -> ItemFolderSink:
        """A sink that writes a folder of the same names, shapes and type, and nothing else."""
        _refuse_beside(self, beside)
        return ItemFolderSink(target, self._names, header_of(self._first.shape, self.dtype))

    def files(self) -> list[Path]:
        """The files, in row order."""
        return [self.path / name for name in self._names.to_pylist()]

    def describe(self) -> dict[str, Any]:
        """The layout."""
        return {
            "container": "folder of npy, one per item",
            "rows": self.rows,
            "dim": self.dim,
            "dtype": self.dtype.name,
            "shape": list(self._first.shape),
        }

    def _vector(self, name: str) -> Floats:
        path = self.path / name
        with opened(path) as file:
            data = file.read()
        if not data.startswith(self._head) or len(data) != len(self._head) + self.dim * self.dtype.itemsize:
            here = read_header(path)
            if here.shape != self._first.shape or here.dtype.newbyteorder("=") != self.dtype:
                raise _differ(path, here, self._first)
            return np.frombuffer(data, here.dtype, offset=here.offset)
        return np.frombuffer(data, self._first.dtype, offset=self._first.offset)


class ItemFolderSink:
    """Writes a file for each row."""

    def __init__(self, target: Path, names: pa.Array, header: bytes) -> None:
        self._target, self._names, self._header = target, names, header
        self._written = 0

    def __enter__(self) -> ItemFolderSink:
        self._target.mkdir(parents=True, exist_ok=True)
        return self

    def write(self, modality: str, chunk: Chunk, embeddings: Floats) -> None:  # noqa: ARG002  (there is only one)
        """Write the files of the rows of the chunk."""
        for name, row in zip(self._names[chunk.start : chunk.stop].to_pylist(), embeddings, strict=True):
            with (self._target / name).open("wb") as file:
                file.write(self._header + row.tobytes())
        self._written += len(chunk)

    def __exit__(self, *error: object) -> None:
        if error[0] is None and self._written != len(self._names):
            raise ValueError(f"{self._written} of {len(self._names)} files were written")


class ShardFolder:
    """A folder of NPY matrices, one after the other.

    Args:
        path: The folder.
        modality: The modality's name, for messages.
        ids: A file of ids over all rows, or a folder of Parquet files, one for each shard. None: the folder `metadata`
            beside this one, if there is one; else row i is item i.
        id_column: The column of the ids in these Parquet files.

    Raises:
        DataError: A file that is no matrix of floats, or of another dimension or type than the first; ids that do not
            fit the rows.
        UsageError: An id column where there are no Parquet files.
    """

    def __init__(self, path: Path, *, modality: str, ids: Path | None, id_column: str | None) -> None:
        self.path, self.modality = path, modality
        names, others = npy_names(path)
        self._shards = [read_header(path / name) for name in names.to_pylist()]
        first = self._shards[0]
        for shard in self._shards:
            if not shard.is_matrix:
                raise not_embeddings(shard)
            if shard.shape[1] != first.shape[1] or shard.dtype != first.dtype:
                raise _differ(shard.path, shard, first)
        self.rows, self.dim = sum(shard.shape[0] for shard in self._shards), first.shape[1]
        self.dtype: np.dtype[Any] = first.dtype.newbyteorder("=")
        self.held_bytes, self.costly = 0, False
        self.notes = layout_notes(first)
        if others:
            self.notes.append(f"not carried over: {shown(sorted(others), 5)}")
        folder = ids if ids is not None else path.parent / METADATA
        if folder.is_dir():
            shapes = [(shard.path.name, shard.shape[0]) for shard in self._shards]
            self._ids: Any = ShardIds(folder, shapes, modality=modality, id_column=id_column)
        elif id_column is not None:
            raise UsageError("--id-column does not apply where there are no columns", where=path)
        else:
            self._ids = None if ids is None else ids_for(ids, self.rows, modality, path)
        self.id_kind: IdKind = "row" if self._ids is None else self._ids.kind

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """All rows in file order, in chunks that end where shards end."""
        rows, first = rows_of(self.dim, self.dtype), 0
        for shard in self._shards:
            if first + shard.shape[0] > start:
                for at, block in shard.blocks(rows, max(start - first, 0)):
                    embeddings = block.astype(self.dtype, copy=False)
                    yield Chunk(first + at, embeddings, None, None, shard.where(at, len(block)))
            first += shard.shape[0]

    def ids(self) -> Iterator[pa.Array]:
        """All ids in file order."""
        if self._ids is not None:
            yield from self._ids.blocks(ID_ROWS)

    def sink(self, target: Path, beside: Sequence[Source] = ()) -> ShardFolderSink:
        """A sink that writes a folder of the same shards."""
        _refuse_beside(self, beside)
        return ShardFolderSink(target, self._shards, self.dtype)

    def files(self) -> list[Path]:
        """The shards in row order, then what holds the ids."""
        shards = [shard.path for shard in self._shards]
        return shards if self._ids is None else [*shards, *getattr(self._ids, "paths", [self._ids.path])]

    def describe(self) -> dict[str, Any]:
        """The layout."""
        return {
            "container": "folder of npy shards",
            "rows": self.rows,
            "dim": self.dim,
            "dtype": self.dtype.name,
            "shards": len(self._shards),
            "ids": None if self._ids is None else self._ids.path.name,
        }


class ShardFolderSink:
    """Writes a shard after the other."""

    def __init__(self, target: Path, shards: Sequence[Array], dtype: np.dtype[Any]) -> None:
        self._target = target
        self._shards = [(shard.path.name, (shard.shape[0], shard.shape[1])) for shard in shards]
        self._dtype = dtype
        self._sinks = self._opened()

    def _opened(self) -> Iterator[tuple[NpySink, int]]:
        """A sink for each shard and the number of the row after its last; closed when the next one is asked for."""
        stop = 0
        for name, shape in self._shards:
            stop += shape[0]
            with NpySink(self._target / name, shape, self._dtype) as sink:
                yield sink, stop

    def __enter__(self) -> ShardFolderSink:
        self._target.mkdir(parents=True, exist_ok=True)
        self._sink, self._stop = next(self._sinks)
        return self

    def write(self, modality: str, chunk: Chunk, embeddings: Floats) -> None:
        """Append the rows of the chunk, which are all of one shard."""
        while chunk.start >= self._stop:
            self._sink, self._stop = next(self._sinks)
        self._sink.write(modality, chunk, embeddings)

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            for _ in islice(self._sinks, len(self._shards)):  # empty ones at the end
                pass
        else:
            self._sinks.close()  # type: ignore[attr-defined]


def _refuse_beside(source: Source, beside: Sequence[Source]) -> None:
    if beside:
        names = ", ".join([source.modality, *(one.modality for one in beside)])
        raise DataError(f"one folder of arrays cannot be several modalities: {names}", where=source.path)


def _differ(path: Path, here: Array, first: Array) -> DataError:
    return DataError(
        "files differ in shape or type",
        where=path,
        here=f"{here.shape} of {here.dtype}",
        first=f"{first.shape} of {first.dtype} ({first.path.name})",
    )
