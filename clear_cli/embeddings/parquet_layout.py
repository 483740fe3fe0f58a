"""How a Parquet file was written, as far as its footer tells, and a writer that does it the same way.

Kept are row groups, codecs, encodings, statistics, page index, sorting columns, schemas and metadata. What a footer
does not say cannot be kept: page sizes and versions, checksums, compression levels. Bloom filters are left out. Lists
of the legacy forms (`bag.array_element`, a bare repeated field) come out as `list.<name of the item>`, which reads
back as the same Arrow type.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clear_cli.remote import is_remote

PAGE_BYTES = 512 << 10
"""Pages of this size are compressed while they are in the cache."""

DICTIONARY = {"RLE_DICTIONARY", "PLAIN_DICTIONARY"}
OTHER_ENCODINGS = {"BYTE_STREAM_SPLIT", "DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"}
CODECS = {"UNCOMPRESSED": "NONE"}

Holds = Callable[[str], bool]
"""Whether the Parquet column of this path holds embeddings that are new."""


@contextmanager
def part_writer(path: Path, schema: pa.Schema, settings: dict[str, Any]) -> Iterator[pq.ParquetWriter]:
    """A writer of one file. After an error the file is left without a footer: it cannot pass for a whole one.

    Raises:
        OSError: The file cannot be written.
    """
    try:
        with pa.PythonFile(path.open("wb")) if is_remote(path) else pa.OSFile(str(path), "wb") as file:
            writer = _writer(file, schema, settings)
            try:
                yield writer
                writer.close()
            except BaseException:
                writer.is_open = False  # else it closes itself when collected, and complains
                raise
    except pa.ArrowException as error:
        raise OSError(f"{path} cannot be written: {error}") from error


def write_summary(path: Path, root: Path, names: Sequence[Path]) -> None:
    """Write the footers of several files of one schema, which are below `root`, as a file of its own."""
    footers = [pq.read_metadata(str(root / name)) for name in names]
    for footer, name in zip(footers, names, strict=True):
        footer.set_file_path(name.as_posix())
    whole, *further = footers
    for footer in further:
        whole.append_row_groups(footer)
    whole.write_metadata_file(str(path))


def write_schema(path: Path, part: Path) -> None:
    """Write the footer of a file, without its row groups, as a file of its own."""
    footer = pq.read_metadata(str(part))
    schema = footer.schema.to_arrow_schema()
    _writer(str(path), schema, settings_of(schema, footer, lambda _: False)).close()


def _writer(file: pa.NativeFile | str, schema: pa.Schema, settings: dict[str, Any]) -> pq.ParquetWriter:
    writer = pq.ParquetWriter(file, schema, **settings)
    if schema.metadata and not settings["store_schema"]:
        writer.add_key_value_metadata(schema.metadata)  # which otherwise goes with the stored schema
    return writer


def settings_of(schema: pa.Schema, metadata: pq.FileMetaData, holds: Holds) -> dict[str, Any]:
    """The arguments of ParquetWriter that reproduce a part, as far as its footer tells them."""
    columns = [metadata.schema.column(i) for i in range(metadata.num_columns)]
    settings = _column_settings(metadata, holds) | {
        "version": metadata.format_version,
        "data_page_size": PAGE_BYTES,
        "store_schema": b"ARROW:schema" in (metadata.metadata or {}),
        # Arrow calls list items what Parquet calls them ("element", "item"): those names are to stay.
        "use_compliant_nested_type": False,
        "use_deprecated_int96_timestamps": any(column.physical_type == "INT96" for column in columns),
        "store_decimal_as_integer": any(
            column.converted_type == "DECIMAL" and column.physical_type in ("INT32", "INT64") for column in columns
        ),
        "sorting_columns": _sorting(metadata, holds),
    }
    # Other writers combine these in ways that Arrow cannot (uint32 in version 1.0): then the Arrow types come first.
    for exception in ({}, {"version": "2.6"}, {"use_deprecated_int96_timestamps": False}):
        settings |= exception
        if _reads_back(schema, settings):
            break
    return settings


def _column_settings(metadata: pq.FileMetaData, holds: Holds) -> dict[str, Any]:
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
    dictionaries = {path for path, found in encodings.items() if found & DICTIONARY and not holds(path)}
    others = {path: found & OTHER_ENCODINGS for path, found in encodings.items() if path not in dictionaries}
    return {
        "compression": codecs,
        "use_dictionary": dictionaries,
        "column_encoding": {path: min(found) for path, found in others.items() if found},
        "write_statistics": statistics,
        "write_page_index": page_index,
    }


def _sorting(metadata: pq.FileMetaData, holds: Holds) -> list[pq.SortingColumn] | None:
    """The sort order, up to the first embedding column: new values are in no order."""
    if not metadata.num_row_groups:
        return None
    group = metadata.row_group(0)
    kept = takewhile(lambda key: not holds(group.column(key.column_index).path_in_schema), group.sorting_columns)
    return list(kept) or None


def _reads_back(schema: pa.Schema, settings: dict[str, Any]) -> bool:
    """Whether a file with these settings has the same Arrow schema, metadata included."""
    buffer = pa.BufferOutputStream()
    _writer(buffer, schema, settings).close()
    return bool(pq.read_schema(pa.BufferReader(buffer.getvalue())).equals(schema, check_metadata=True))


@contextmanager
def table_writer(path: Path, schema: pa.Schema, *, repeating: list[str]) -> Iterator[pq.ParquetWriter]:
    """A writer for a table of our own, of whose columns these have few different values."""
    with (
        path.open("wb") as file,
        pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=repeating) as writer,
    ):
        yield writer
