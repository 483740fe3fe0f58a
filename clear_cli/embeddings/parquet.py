"""Embeddings in Parquet: one file, a folder of part files, or those that a pattern matches.

Reading and writing go by different measures. A chunk is what is best decoded at a time: a few megabytes of
embeddings, the other columns left alone. A piece is what is written at a time: a row group of the original, or
part of one that takes more memory in all its columns than there is to give. The sink (in `parquet_write`) collects
chunks until they make up a piece, and reads the other columns then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from clear_cli.embeddings import base
from clear_cli.embeddings.base import PIECE_BYTES, Chunk, IdKind, Source
from clear_cli.embeddings.parquet_columns import Embedding, WideColumns
from clear_cli.embeddings.parquet_find import find_embedding, find_ids
from clear_cli.embeddings.parquet_parts import Part, find_files, opened, part_of, row_groups
from clear_cli.embeddings.parquet_write import ParquetSink
from clear_cli.errors import DataError

ID_ROWS = 1 << 17
MOST_NOTES = 3


class ParquetSource:
    """The embeddings of one modality in Parquet. Opening reads footers, and the first rows of a list column.

    Args:
        path: A file; a folder of part files (*.parquet, *.pq, *.parq), with its subfolders; or a path with wildcards.
        modality: What the options that messages name are for.
        embedding_column: A list column, or a glob over float columns; guessed if None.
        id_column: The column of item ids; guessed if None.
        piece_bytes: A row group that takes more memory than this, in all its columns, is written in pieces.

    Raises:
        DataError: What is there is not Parquet, holds no usable columns or no rows, or its parts differ.
    """

    def __init__(
        self,
        path: Path,
        *,
        modality: str,
        embedding_column: str | None = None,
        id_column: str | None = None,
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        self.path, self.modality, self.piece_bytes = path, modality, piece_bytes
        self.located = find_files(path)
        self.parts: list[Part] = []
        schemas: list[pa.Schema] = []
        self.uniform, first_schema = True, None
        for name in self.located.names:
            with opened(self.located.root / name) as file:
                self.parts.append(part_of(name, self.located.root / name, file.metadata))
                schemas.append(file.schema_arrow)
                first_schema = first_schema or file.schema
                self.uniform = self.uniform and file.schema.equals(first_schema)
        self.rows = sum(part.rows for part in self.parts)
        # The columns of a part without rows do not matter: pandas writes them without types.
        first = next((i for i, part in enumerate(self.parts) if part.rows), 0)
        self._schema, where = schemas[first], self.parts[first].path
        embedding = find_embedding(self._schema, embedding_column, modality=modality, where=where)
        self._id_column = find_ids(self._schema, id_column, modality=modality, where=where)
        self._id_type = self._schema.field(self._id_column).type
        for part, schema in zip(self.parts, schemas, strict=True):
            if part.rows:
                self._check(part, schema, embedding)
        self.embedding = self._measured(embedding)
        self.dim, self.dtype = self.embedding.dim, self.embedding.dtype
        self.id_kind: IdKind = "integer" if base.id_kind_of(self._id_type) == "integer" else "string"
        self.costly = True
        self.held_bytes = min(piece_bytes, max(size for part in self.parts for size in part.sizes))
        self.notes = self._notes()

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """All rows in file order, in chunks that end where row groups end, from the one that begins at `start`.

        Raises:
            DataError: A damaged file, rows that differ in length, or a sparse vector.
        """
        row_bytes = self.dim * self.dtype.itemsize
        rows = max(base.CHUNK_BYTES // row_bytes, 1)
        batch_rows = max(self.embedding.decode_bytes // row_bytes // rows, 1) * rows
        for group in row_groups(self.parts, start):
            at = group.start
            for batch in group.batches(self.embedding.columns, batch_rows):
                for piece in (batch.slice(i, rows) for i in range(0, len(batch), rows)):
                    if at >= start:
                        yield Chunk(at, *self.embedding.read(piece, start=at, where=group.where), group.where)
                    at += len(piece)

    def ids(self) -> Iterator[pa.Array]:
        """All ids in file order.

        Raises:
            DataError: A damaged file, or ids that cannot be used.
        """
        for group in row_groups(self.parts):
            at = 0
            for batch in group.batches([self._id_column], ID_ROWS):
                where = f"{group.where}, from its row {at:,}" if at else group.where
                yield base.canonical_ids(batch.column(self._id_column), where=where)
                at += len(batch)

    def sink(self, target: Path, beside: Sequence[Source] = ()) -> ParquetSink:
        """A sink that writes `target`: a file, or a folder with the same parts."""
        siblings = cast("Sequence[ParquetSource]", beside)
        return ParquetSink([self, *siblings], target)

    def files(self) -> list[Path]:
        """The part files, in row order."""
        return [part.path for part in self.parts]

    def describe(self) -> dict[str, Any]:
        """The layout, in names and numbers. The codec is that of the first row group."""
        with opened(next(part for part in self.parts if part.rows).path) as file:
            leaves = [file.metadata.row_group(0).column(i) for i in range(file.metadata.num_columns)]
            codec = next(leaf.compression for leaf in leaves if self.embedding.holds(leaf.path_in_schema))
        used = (*self.embedding.columns, self._id_column)
        return {
            "container": "parquet",
            "files": [part.name.as_posix() for part in self.parts],
            "summaries": [name.as_posix() for name in self.located.sidecars],
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

    def _check(self, part: Part, schema: pa.Schema, first: Embedding) -> None:
        """Refuse a part whose columns are not those of the first."""
        embedding = find_embedding(schema, first.name, modality=self.modality, where=part.path)
        if embedding.layout != first.layout:
            raise _differ(first.name, part.path, embedding, first)
        id_type = schema.field(find_ids(schema, self._id_column, modality=self.modality, where=part.path)).type
        if id_type != self._id_type:
            raise _differ(self._id_column, part.path, id_type, self._id_type)

    def _measured(self, embedding: Embedding) -> Embedding:
        """`embedding` with the length of its rows: where the type does not say it, that of the first row."""
        if not self.rows:
            raise DataError("no embeddings: there are no rows", where=self.path)
        if isinstance(embedding, WideColumns) or embedding.dim:
            return embedding
        for group in row_groups(self.parts):
            at = group.start
            for batch in group.batches(embedding.columns, 1024):
                dim = embedding.first_length(batch, start=at, where=group.where)
                if dim:
                    return replace(embedding, dim=dim)
                at += len(batch)
        raise DataError("no embeddings: every row is null or empty", where=self.path, rows=f"{self.rows:,}")

    def _notes(self) -> list[str]:
        """What the output does not keep."""
        notes = []
        split = [
            f"{part.name.as_posix()}, row group {group} is written as {len(pieces)} row groups"
            for part in self.parts
            for group in range(len(part.row_groups))
            if len(pieces := part.pieces(group, self.piece_bytes)) > 1
        ]
        notes += split[:MOST_NOTES]
        if len(split) > MOST_NOTES:
            notes.append(f"{len(split) - MOST_NOTES:,} further row groups are written as several")
        if self.located.others:
            notes.append(f"not part files, and not carried over: {base.shown(self.located.others)}")
        if "_metadata" in (name.name for name in self.located.sidecars) and not self.uniform:
            notes.append("_metadata is not carried over: the schemas of the parts differ")
        return notes


def _differ(column: str, path: Path, here: object, first: object) -> DataError:
    return DataError(f'parts differ in the type of column "{column}"', where=path, here=here, first_part=first)
