"""Tables and files that the tests of Parquet share."""

from __future__ import annotations

import datetime
import decimal
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clear_cli.embeddings.parquet import ParquetSource
from clear_cli.errors import DataError

Floats = npt.NDArray[Any]

ROWS, DIM = 23, 12
X = np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float16)  # exact in every type
X[5] = 0
IDS = [f"item-{i:02d}" for i in range(ROWS)]

FLOATS = {"float16": pa.float16(), "float32": pa.float32(), "float64": pa.float64()}
KINDS: dict[str, Callable[[pa.DataType], pa.DataType]] = {
    "list": pa.list_,
    "large_list": pa.large_list,
    "fixed_size_list": lambda value: pa.list_(value, DIM),
}
LAYOUTS = [(kind, name) for kind in (*KINDS, "wide") for name in FLOATS]

Cells = list[list[Any] | None]


def cells(x: Floats = X) -> Cells:
    return [list(row) for row in x]


def columns(kind: str, values: pa.DataType, rows: Cells) -> dict[str, pa.Array]:
    """The embeddings as one column `emb`, or as columns emb_0, emb_1, ... out of order."""
    if kind != "wide":
        return {"emb": pa.array(rows, KINDS[kind](values))}
    order = sorted(range(DIM), key=str)  # 0, 1, 10, 11, 2, ...
    return {f"emb_{j}": pa.array([None if row is None else row[j] for row in rows], values) for j in order}


def table(kind: str = "list", floats: str = "float32", rows: Cells | None = None, ids: Any = IDS) -> pa.Table:
    embeddings = columns(kind, FLOATS[floats], cells() if rows is None else rows)
    return pa.table({"item_id": ids, **embeddings})


def rich_table(kind: str = "list", floats: str = "float32", rows: Cells | None = None) -> pa.Table:
    """With columns of every sort around the embeddings, and metadata on schema and fields."""
    n = range(ROWS)
    plain = table(kind, floats, rows)
    others = {
        "category": pa.array([["red", "green", None][i % 3] for i in n]).dictionary_encode(),
        "tags": pa.array([[f"t{i}"] * (i % 4) if i % 5 else None for i in n]),
        "price": pa.array([decimal.Decimal(i).scaleb(-2) for i in n], pa.decimal128(9, 2)),
        "seen": pa.array([datetime.datetime(2024, 1, 1) + datetime.timedelta(i) for i in n], pa.timestamp("us", "UTC")),
        "box": pa.array([{"w": i, "inner": [{"h": 1.5}]} if i % 2 else None for i in n]),
        "names": pa.array([[("en", f"n{i}")] for i in n], pa.map_(pa.string(), pa.string())),
        "image": pa.array([bytes([i]) * i for i in n], pa.large_binary()),
        "small": pa.array(n, pa.uint32()),
    }
    whole = pa.table({**{name: plain[name] for name in plain.column_names}, **others})
    whole = whole.select([*plain.column_names[1:], *others, "item_id"])
    fields = [field.with_metadata({"note": f"about {field.name}"}) for field in whole.schema]
    fields[-1] = fields[-1].with_nullable(False)
    metadata = {"pandas": '{"index_columns": []}', "huggingface": '{"info": 1}', "geo": "\u00e9"}
    return whole.cast(pa.schema(fields, metadata))


def write(path: Path, rows: pa.Table, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path, **{"row_group_size": 10, **options})
    return path


def opened(path: Path, **names: Any) -> ParquetSource:
    return ParquetSource(path, modality="image", **names)


def negative(y: Floats) -> Floats:
    return -y


def rewritten(source: ParquetSource, target: Path, change: Callable[[Floats], Floats] = negative) -> Path:
    with source.sink(target) as sink:
        for chunk in source.chunks():
            sink.write(source.modality, chunk, change(chunk.embeddings))
    return target


def embeddings(source: ParquetSource) -> Floats:
    return np.concatenate([chunk.embeddings for chunk in source.chunks()])


def layout(path: Path) -> dict[str, Any]:
    """All that a footer says but sizes, values, and who wrote it."""
    with pq.ParquetFile(path) as file:
        metadata = file.metadata
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        leaves = [[group.column(i) for i in range(group.num_columns)] for group in groups]
        keys = metadata.metadata or {}
        return {
            "parquet schema": str(file.schema).split("\n", 1)[1],
            "arrow schema": file.schema_arrow.to_string(show_field_metadata=True, truncate_metadata=False),
            "version": metadata.format_version,
            "keys": {key: value for key, value in keys.items() if key != b"ARROW:schema"},
            "stores the arrow schema": b"ARROW:schema" in keys,
            "row groups": [group.num_rows for group in groups],
            "sorting": [group.sorting_columns for group in groups],
            "columns": [[leaf.path_in_schema for leaf in group] for group in leaves],
            "codecs": [[leaf.compression for leaf in group] for group in leaves],
            "encodings": [[encodings_kept(leaf) for leaf in group if leaf.num_values] for group in leaves],
            "statistics": [[leaf.is_stats_set for leaf in group] for group in leaves],
            "page index": [[(leaf.has_column_index, leaf.has_offset_index) for leaf in group] for group in leaves],
        }


def encodings_kept(leaf: pq.ColumnChunkMetaData) -> list[str]:
    """Dictionaries of embeddings are not written again: projected values do not repeat."""
    if leaf.path_in_schema.startswith("emb"):
        return sorted(set(leaf.encodings) - {"RLE_DICTIONARY", "PLAIN_DICTIONARY", "PLAIN"})
    return sorted(leaf.encodings)


def others(path: Path) -> pa.Table:
    whole = pq.read_table(path)
    return whole.select([name for name in whole.column_names if not name.startswith("emb")])


def error_of(action: Callable[[], object]) -> str:
    with pytest.raises(DataError) as raised:
        action()
    return str(raised.value)


def damage(path: Path, column: str, group: int) -> None:
    """Overwrite a column of one row group."""
    leaves = pq.read_metadata(path).row_group(group).to_dict()["columns"]
    leaf = next(leaf for leaf in leaves if leaf["path_in_schema"] == column)
    start = leaf["dictionary_page_offset"] or leaf["data_page_offset"]
    data = bytearray(path.read_bytes())
    data[start : start + leaf["total_compressed_size"]] = b"\xff" * leaf["total_compressed_size"]
    path.write_bytes(data)


def folder_of(path: Path, rows: pa.Table | None = None, **options: Any) -> Path:
    rows = rich_table() if rows is None else rows
    write(path / "part-1.parquet", rows[:7], row_group_size=4, **options)
    write(path / "part-10.parquet", rows[7:7], **options)
    write(path / "part-2.pq", rows[7:], row_group_size=5, compression="zstd")
    return path


def size_in_memory(path: Path, group: int = 0) -> int:
    return int(pq.read_metadata(path).row_group(group).total_byte_size)


def patched(path: Path, *edits: tuple[bytes, bytes]) -> Path:
    """Edit the footer, to get what only other writers write."""
    data = path.read_bytes()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer = data[start:]
    for old, new in edits:
        footer, found = re.subn(old, new, footer, flags=re.DOTALL)
        assert found == 1
    path.write_bytes(data[:start] + footer)
    return path
