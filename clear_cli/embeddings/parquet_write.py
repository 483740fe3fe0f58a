"""Parquet written again with new embeddings, in the layout it had.

The layout is what the footer of the original says: row groups, codecs, encodings, statistics, page index,
sorting columns, schemas and metadata. What a footer does not say cannot be kept: page sizes and versions,
checksums, compression levels. Bloom filters are left out. Lists of the legacy forms (`bag.array_element`,
a bare repeated field) come out as `list.<name of the item>`, which reads back as the same Arrow type.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from clear_cli.embeddings.base import Chunk, Floats
from clear_cli.embeddings.parquet_columns import Embedding, Integers

if TYPE_CHECKING:
    from clear_cli.embeddings.parquet import ParquetSource

DICTIONARY = {"RLE_DICTIONARY", "PLAIN_DICTIONARY"}
OTHER_ENCODINGS = {"BYTE_STREAM_SPLIT", "DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"}
CODECS = {"UNCOMPRESSED": "NONE"}


@dataclass(frozen=True, slots=True)
class Carried:
    """What a chunk brings to the sink: its other columns, and the values that are null (see `parquet_columns`)."""

    rest: pa.Table
    holes: Integers


class ParquetSink:
    """Writes the parts of a source again, one at a time. Use as a context manager."""

    def __init__(self, source: ParquetSource, target: Path) -> None:
        self._source = source
        self._target = target
        self._written = 0
        self._steps = self._write_parts()

    def __enter__(self) -> ParquetSink:
        if self._source.path.is_dir():
            self._target.mkdir(parents=True, exist_ok=True)
        next(self._steps)
        return self

    def __exit__(self, *error: object) -> None:
        self._steps.close()
        if error[0] is None and self._written < self._source.rows:
            raise ValueError(f"only {self._written} of {self._source.rows} rows were written")

    def write(self, chunk: Chunk, embeddings: Floats) -> None:
        """Write the rows of `chunk` with new embeddings (n, dim) of the source's dtype.

        Nulls stay null: rows, and values within a row where the new value is NaN.

        Raises:
            ValueError: Chunks out of order, or embeddings of another shape or dtype.
            OSError: The file cannot be written.
        """
        got = chunk.start, embeddings.shape, embeddings.dtype
        expected = self._written, (len(chunk), self._source.dim), self._source.dtype
        if got != expected:
            raise ValueError(f"expected first row, shape and dtype {expected}, got {got}")
        self._steps.send((chunk, embeddings))
        self._written += len(chunk)

    def _write_parts(self) -> Generator[None, tuple[Chunk, Floats], None]:
        """Take the rows of one row group after the other; empty row groups and parts come by themselves."""
        for part in self._source.parts:
            with self._source.footer(part) as (schema, metadata):
                settings = _settings(schema, metadata, self._source.embedding)
            target = self._target / part.path.name if self._source.path.is_dir() else self._target
            with _part_writer(target, schema, settings) as writer:
                for rows in (piece for group in part.row_groups for piece in self._source.pieces(group)):
                    # No name for the table: it would outlive its writing by one chunk.
                    writer.write_table(
                        self._table(schema, *(yield)) if rows else schema.empty_table(), row_group_size=max(rows, 1)
                    )
        yield

    def _table(self, schema: pa.Schema, chunk: Chunk, embeddings: Floats) -> pa.Table:
        embedding, carried = self._source.embedding, chunk.carry
        arrays = embedding.arrays(embeddings, chunk.null, carried.holes)
        new = dict(zip(embedding.columns, arrays, strict=True))
        rest = iter(carried.rest.columns)
        # from_arrays casts: parts may differ in the name and nullability of list items.
        return pa.Table.from_arrays([new[name] if name in new else next(rest) for name in schema.names], schema=schema)


@contextmanager
def _part_writer(path: Path, schema: pa.Schema, settings: dict[str, Any]) -> Iterator[pq.ParquetWriter]:
    """A writer of one file. After an error the file is left without a footer: it cannot pass for a whole one."""
    try:
        with pa.OSFile(str(path), "wb") as file:
            writer = _writer(file, schema, settings)
            try:
                yield writer
                writer.close()
            except BaseException:
                writer.is_open = False  # else it closes itself when collected, and complains
                raise
    except pa.ArrowException as error:
        raise OSError(f"{path} cannot be written: {error}") from error


def _writer(file: pa.NativeFile, schema: pa.Schema, settings: dict[str, Any]) -> pq.ParquetWriter:
    writer = pq.ParquetWriter(file, schema, **settings)
    if schema.metadata and not settings["store_schema"]:
        writer.add_key_value_metadata(schema.metadata)  # which otherwise goes with the stored schema
    return writer


def _settings(schema: pa.Schema, metadata: pq.FileMetaData, embedding: Embedding) -> dict[str, Any]:
    """The arguments of ParquetWriter that reproduce a part, as far as its footer tells them."""
    columns = [metadata.schema.column(i) for i in range(metadata.num_columns)]
    settings = _column_settings(metadata, embedding) | {
        "version": metadata.format_version,
        "store_schema": b"ARROW:schema" in (metadata.metadata or {}),
        # Arrow calls list items what Parquet calls them ("element", "item"): those names are to stay.
        "use_compliant_nested_type": False,
        "use_deprecated_int96_timestamps": any(column.physical_type == "INT96" for column in columns),
        "store_decimal_as_integer": any(
            column.converted_type == "DECIMAL" and column.physical_type in ("INT32", "INT64") for column in columns
        ),
        "sorting_columns": _sorting(metadata, embedding),
    }
    # Other writers combine these in ways that Arrow cannot (uint32 in version 1.0): then the Arrow types come first.
    for exception in ({}, {"version": "2.6"}, {"use_deprecated_int96_timestamps": False}):
        settings |= exception
        if _reads_back(schema, settings):
            break
    return settings


def _column_settings(metadata: pq.FileMetaData, embedding: Embedding) -> dict[str, Any]:
    """Codec, encoding, statistics and page index of the columns: what any row group of the part has."""
    codecs: dict[str, str] = {}
    encodings: dict[str, set[str]] = defaultdict(set)
    statistics = set()
    page_index = False
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    for column in (group.column(i) for group in groups for i in range(group.num_columns)):
        path = column.path_in_schema
        codecs.setdefault(path, CODECS.get(column.compression, column.compression))
        encodings[path].update(column.encodings)
        if column.is_stats_set:
            statistics.add(path)
        page_index = page_index or column.has_offset_index
    # Projected values hardly repeat: a dictionary of them takes time (seven times, for wide columns) and saves nothing.
    dictionaries = {path for path, found in encodings.items() if found & DICTIONARY and not embedding.holds(path)}
    others = {path: found & OTHER_ENCODINGS for path, found in encodings.items() if path not in dictionaries}
    return {
        "compression": codecs,
        "use_dictionary": dictionaries,
        "column_encoding": {path: min(found) for path, found in others.items() if found},
        "write_statistics": statistics,
        "write_page_index": page_index,
    }


def _sorting(metadata: pq.FileMetaData, embedding: Embedding) -> list[pq.SortingColumn] | None:
    """The sort order, up to the first embedding column: new values are in no order."""
    if not metadata.num_row_groups:
        return None
    group = metadata.row_group(0)
    kept = takewhile(
        lambda key: not embedding.holds(group.column(key.column_index).path_in_schema), group.sorting_columns
    )
    return list(kept) or None


def _reads_back(schema: pa.Schema, settings: dict[str, Any]) -> bool:
    """Whether a file with these settings has the same Arrow schema, metadata included."""
    buffer = pa.BufferOutputStream()
    _writer(buffer, schema, settings).close()
    return bool(pq.read_schema(pa.BufferReader(buffer.getvalue())).equals(schema, check_metadata=True))


def table_writer(path: Path, schema: pa.Schema, *, repeating: list[str]) -> pq.ParquetWriter:
    """A writer for a table of our own, of whose columns these have few different values."""
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeating)
