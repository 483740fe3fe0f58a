"""Embeddings in Parquet: one file, or a folder of part files.

A row group is one chunk; where its embeddings are larger than `SPLIT_BYTES` it is several, and is written
as several row groups. The sink (in `parquet_write`) walks the same pieces as the source, so that every
part, row group and row stays where it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clear_cli.embeddings import base
from clear_cli.embeddings.base import Chunk, IdKind
from clear_cli.embeddings.parquet_columns import Embedding, WideColumns, find_embedding, find_ids
from clear_cli.embeddings.parquet_write import Carried, ParquetSink
from clear_cli.errors import DataError

SUFFIXES = (".parquet", ".pq")
CARRIED_BYTES = 128 << 20
"""A row group with more than this in all columns is read and written in pieces, too."""

SIDECARS = ("_metadata", "_common_metadata")


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a source: the rows in each of its row groups, and the bytes of a row where they are most."""

    path: Path
    row_groups: tuple[int, ...]
    row_bytes: int


class ParquetSource:
    """The embeddings of one modality in Parquet. Opening reads footers, and the first rows of a list column.

    Args:
        path: A file, or a folder of part files (*.parquet, *.pq), which are read in the order of their names.
        modality: What the options that messages name are for.
        embedding_column: A list column, or a glob over float columns; guessed if None.
        id_column: The column of item ids; guessed if None.

    Raises:
        DataError: What is there is not Parquet, holds no usable columns or no rows, or its parts differ.
    """

    def __init__(
        self, path: Path, *, modality: str, embedding_column: str | None = None, id_column: str | None = None
    ) -> None:
        self.path = path
        files, self.notes = _part_files(path)
        with _opened(files[0]) as first:
            self._schema = schema = first.schema_arrow
        embedding = find_embedding(schema, embedding_column, modality=modality, where=files[0])
        self._id_column = find_ids(schema, id_column, modality=modality, where=files[0])
        self._id_type = schema.field(self._id_column).type
        self.parts = [self._part(file, embedding, modality) for file in files]

        self.rows = sum(sum(part.row_groups) for part in self.parts)
        self.embedding = self._measured(embedding)
        self.dim, self.dtype = self.embedding.dim, self.embedding.dtype
        self.id_kind: IdKind = "integer" if base.id_kind_of(self._id_type) == "integer" else "string"

        row_bytes = self.dim * self.dtype.itemsize
        # There may be pictures beside the embeddings, and all columns are carried.
        carried_bytes = max(row_bytes, *(part.row_bytes for part in self.parts))
        self._whole_rows = max(1, min(base.SPLIT_BYTES // row_bytes, CARRIED_BYTES // carried_bytes))
        self._batch_rows = min(self._whole_rows, max(1, self.embedding.batch_bytes // carried_bytes))
        self.notes += [
            f"{part.path.name}, row group {group} is written as {len(self.pieces(rows))} row groups"
            for part in self.parts
            for group, rows in enumerate(part.row_groups)
            if rows > self._whole_rows
        ]

    def chunks(self, *, carry: bool = False) -> Iterator[Chunk]:
        """All rows in file order, a chunk for each row group or piece of one.

        Raises:
            DataError: A damaged file, rows that differ in length, or ids that cannot be used.
        """
        columns = None if carry else [*self.embedding.columns, self._id_column]
        start = 0
        for where, rows, batches in self._pieces(columns):
            with _readable(where):
                chunk = self._chunk(batches, rows, start, where)
            yield chunk if carry else replace(chunk, carry=None)
            start += rows

    def ids(self) -> Iterator[pa.Array]:
        """All ids in file order. Raises as `chunks` does."""
        for where, _, batches in self._pieces([self._id_column]):
            with _readable(where):
                ids = pa.chunked_array([batch.column(self._id_column) for batch in batches])
            yield base.canonical_ids(ids, where=where)

    def sink(self, target: Path) -> ParquetSink:
        """A sink that writes `target`: a file, or a folder with the same part names."""
        return ParquetSink(self, target)

    def files(self) -> list[Path]:
        """The part files, in row order."""
        return [part.path for part in self.parts]

    def describe(self) -> dict[str, Any]:
        """The layout, in names and numbers. The codec is that of the first row group."""
        with self.footer(next(part for part in self.parts if part.row_groups)) as (_, metadata):
            leaves = [metadata.row_group(0).column(i) for i in range(metadata.num_columns)]
            codec = next(leaf.compression for leaf in leaves if self.embedding.holds(leaf.path_in_schema))
        used = (*self.embedding.columns, self._id_column)
        return {
            "container": "parquet",
            "files": [part.path.name for part in self.parts],
            "row_groups": sum(len(part.row_groups) for part in self.parts),
            "rows": self.rows,
            "dim": self.dim,
            "dtype": self.dtype.name,
            "embedding_column": self.embedding.name,
            "embedding_type": str(self.embedding),
            "id_column": self._id_column,
            "id_type": str(self._id_type),
            "codec": codec,
            "other_columns": [name for name in self._schema.names if name not in used],
        }

    def pieces(self, rows: int) -> list[int]:
        """How a row group of so many rows is read and written: whole, or in pieces of a fixed number of rows."""
        if rows <= self._whole_rows:
            return [rows]
        most = self._whole_rows // self._batch_rows * self._batch_rows
        return [min(most, rows - at) for at in range(0, rows, most)]

    @contextmanager
    def footer(self, part: Part) -> Iterator[tuple[pa.Schema, pq.FileMetaData]]:
        """The Arrow schema and the Parquet metadata of a part."""
        with _opened(part.path) as file, _readable(part.path):
            yield file.schema_arrow, file.metadata

    def _part(self, path: Path, first: Embedding, modality: str) -> Part:
        """Read the footer of a part, whose columns have to be those of the first."""
        with _opened(path) as file:
            schema, metadata = file.schema_arrow, file.metadata
        embedding = find_embedding(schema, first.name, modality=modality, where=path)
        if embedding.layout != first.layout:
            raise _differ(first.name, path, embedding, first)
        id_type = schema.field(find_ids(schema, self._id_column, modality=modality, where=path)).type
        if id_type != self._id_type:
            raise _differ(self._id_column, path, id_type, self._id_type)
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        row_bytes = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
        return Part(path, tuple(group.num_rows for group in groups), row_bytes)

    def _measured(self, embedding: Embedding) -> Embedding:
        """`embedding` with the length of its rows: where the type does not say it, that of the first row."""
        if not self.rows:
            raise DataError("no embeddings: there are no rows", where=self.path)
        if isinstance(embedding, WideColumns) or embedding.dim:
            return embedding
        for where, file, group, _ in self._row_groups():
            with _readable(where):
                for batch in file.iter_batches(batch_size=1024, row_groups=[group], columns=[embedding.name]):
                    lengths = embedding.lengths(batch)
                    if lengths.any():
                        return replace(embedding, dim=int(lengths[lengths > 0][0]))
        raise DataError("no embeddings: every row is null or empty", where=self.path, rows=f"{self.rows:,}")

    def _row_groups(self) -> Iterator[tuple[str, pq.ParquetFile, int, int]]:
        """The row groups that are not empty: place, open part, number in the part, and rows."""
        for part in self.parts:
            with _opened(part.path) as file:
                for group, rows in enumerate(part.row_groups):
                    if rows:
                        yield f"{part.path}, row group {group}", file, group, rows

    def _pieces(self, columns: list[str] | None) -> Iterator[tuple[str, int, Iterator[pa.RecordBatch]]]:
        """The pieces of all row groups: place, rows, and the batches that make them up."""
        for where, file, group, rows in self._row_groups():
            batches = file.iter_batches(batch_size=self._batch_rows, row_groups=[group], columns=columns)
            for size in self.pieces(rows):
                yield where, size, _take(batches, size)

    def _chunk(self, batches: Iterator[pa.RecordBatch], rows: int, start: int, where: str) -> Chunk:
        """The chunk that `batches` make up.

        Every way of decoding list<float> takes the same time, for the levels that Parquet keeps for each value,
        but decoding a whole row group takes several times the memory of the result. Batches that are copied
        while they are in the cache take next to none, and no more time.
        """
        embeddings = np.empty((rows, self.dim), self.dtype)
        null = np.zeros(rows, np.bool_)
        holes, others = [], []
        used = set(self.embedding.columns)
        at = 0
        for batch in batches:
            lengths = self.embedding.lengths(batch)
            if (lengths != self.dim).any():
                raise base.ragged(self.dim, lengths, start=start + at, where=where)
            here = slice(at, at + len(batch))
            embeddings[here], null[here], found = self.embedding.read(batch)
            holes.append(found + at * self.dim)
            others.append(batch.select([i for i, name in enumerate(batch.schema.names) if name not in used]))
            at += len(batch)
        rest = pa.Table.from_batches(others)
        ids = base.canonical_ids(rest.column(self._id_column), where=where)
        carry = Carried(rest, np.concatenate(holes))
        return Chunk(start, embeddings, null if null.any() else None, ids, where, carry)


def _take(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The batches that hold the next `rows` rows."""
    while rows > 0:
        batch = next(batches, None)
        if batch is None:
            raise pa.ArrowInvalid("fewer rows than the footer says")
        yield batch
        rows -= len(batch)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """A part, open for reading.

    Small buffered streams, for `pre_buffer` reads whole column chunks, and memory maps count as resident.
    Checksums are verified where pages have them; that takes next to no time.
    """
    with _readable(path):
        file = pq.ParquetFile(str(path), pre_buffer=False, buffer_size=1 << 16, page_checksum_verification=True)
    with file:
        yield file


@contextmanager
def _readable(where: object) -> Iterator[None]:
    """Turn what pyarrow raises about a file into a DataError that names the place.

    Raises:
        DataError: The file is not Parquet, truncated, damaged, or cannot be opened.
    """
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError("cannot be read as Parquet", where=where, reason=reason) from error


def _part_files(path: Path) -> tuple[list[Path], list[str]]:
    """The file itself, or the part files of a folder; and notes on the other files there."""
    if not path.is_dir():
        return [path], []
    with _readable(path):
        entries = sorted(path.iterdir(), key=lambda entry: entry.name)
    parts, notes = [], []
    for entry in entries:
        hidden = entry.name.startswith(("_", "."))
        if entry.suffix in SUFFIXES and not hidden and not entry.is_dir():
            parts.append(entry)
        elif entry.name in SIDECARS or not (hidden or entry.suffix == ".crc"):
            notes.append(f"{entry.name} is not a part file and is not carried over")
    if not parts:
        raise DataError("no part files in this folder", where=path, expected=", ".join(f"*{s}" for s in SUFFIXES))
    return parts, notes


def _differ(column: str, path: Path, here: object, first: object) -> DataError:
    return DataError(f'parts differ in the type of column "{column}"', where=path, here=here, first_part=first)
