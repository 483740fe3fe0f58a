"""Ids of shards in Parquet files: the metadata that clip-retrieval writes beside its embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from clear_cli.embeddings import base
from clear_cli.embeddings.base import IdKind
from clear_cli.embeddings.parquet_find import find_ids
from clear_cli.embeddings.parquet_parts import find_files, opened, part_of, row_groups
from clear_cli.errors import DataError


class ShardIds:
    """An id column of Parquet files, which are paired with shards by the order of their names.

    Args:
        folder: The Parquet files.
        shards: Name and rows of each shard.
        modality: The modality's name, for messages.
        id_column: The column; None to find it.

    Raises:
        DataError: Other numbers of files or rows than the shards have, or no usable id column.
    """

    def __init__(
        self, folder: Path, shards: Sequence[tuple[str, int]], *, modality: str, id_column: str | None
    ) -> None:
        self.path = folder
        located = find_files(folder)
        self.paths = [located.root / name for name in located.names]
        if len(self.paths) != len(shards):
            raise DataError(
                f"{len(self.paths):,} metadata files do not fit {len(shards):,} shards",
                where=folder,
                fix=f"a file for each shard, or --ids {modality}=FILE",
            )
        self._parts = []
        for name, path, (shard, rows) in zip(located.names, self.paths, shards, strict=True):
            with opened(path) as file:
                column = find_ids(file.schema_arrow, id_column, modality=modality, where=path)
                kind = base.id_kind_of(file.schema_arrow.field(column).type)
                self._parts.append(part_of(name, path, file.metadata))
            if self._parts[-1].rows != rows:
                raise DataError(f"{self._parts[-1].rows:,} rows do not fit {rows:,} rows of {shard}", where=path)
        self._column = column
        self.count = sum(rows for _, rows in shards)
        self.kind: IdKind = kind or "string"

    def blocks(self, rows: int) -> Iterator[pa.Array]:
        """All ids in order, so many at a time."""
        for group in row_groups(self._parts):
            for batch in group.batches([self._column], rows):
                yield base.canonical_ids(batch.column(self._column), where=group.where)
