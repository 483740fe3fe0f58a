"""Parquet: embeddings in any kind of column, and an output that differs in the embedding values alone."""

from __future__ import annotations

import datetime
import decimal
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clear_cli.embeddings import base
from clear_cli.embeddings.base import Sink
from clear_cli.embeddings.parquet import ParquetSource
from clear_cli.embeddings.parquet_columns import ListColumn, WideColumns
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


@pytest.mark.parametrize("kind", ["list", "wide"])
def test_embeddings_get_no_dictionary_even_where_they_had_one(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.parquet", table(kind), use_dictionary=True)
    group = pq.read_metadata(rewritten(opened(path), tmp_path / "out.parquet")).row_group(0)
    leaves = [group.column(i) for i in range(group.num_columns)]
    dictionaries = {leaf.path_in_schema for leaf in leaves if "RLE_DICTIONARY" in leaf.encodings}
    assert "item_id" in dictionaries
    assert not any(path.startswith("emb") for path in dictionaries)


def others(path: Path) -> pa.Table:
    whole = pq.read_table(path)
    return whole.select([name for name in whole.column_names if not name.startswith("emb")])


def error_of(action: Callable[[], object]) -> str:
    with pytest.raises(DataError) as raised:
        action()
    return str(raised.value)


# Reading


@pytest.mark.parametrize(("kind", "floats"), LAYOUTS)
def test_embeddings_come_as_a_matrix_of_their_own_type(tmp_path: Path, kind: str, floats: str) -> None:
    source = opened(write(tmp_path / "a.parquet", table(kind, floats)))
    chunks = list(source.chunks())
    assert (source.rows, source.dim, source.dtype) == (ROWS, DIM, np.dtype(floats))
    assert [chunk.start for chunk in chunks] == [0, 10, 20]
    assert [chunk.where for chunk in chunks] == [f"{tmp_path}/a.parquet, row group {i}" for i in range(3)]
    for chunk in chunks:
        rows = slice(chunk.start, chunk.start + len(chunk))
        assert chunk.embeddings.dtype == source.dtype
        assert chunk.embeddings.flags.c_contiguous
        assert chunk.null is None
        np.testing.assert_array_equal(chunk.embeddings, X[rows])
        assert chunk.ids is not None
        assert chunk.ids.to_pylist() == IDS[rows]


@pytest.mark.parametrize(("kind", "floats"), LAYOUTS)
def test_null_rows_are_zeros_and_null_values_nan(tmp_path: Path, kind: str, floats: str) -> None:
    rows = cells()
    rows[0] = rows[11] = rows[22] = None
    rows[12] = [None, *rows[12][1:]]  # type: ignore[index]
    source = opened(write(tmp_path / "a.parquet", table(kind, floats, rows)))
    expected = X.copy()
    expected[[0, 11, 22]] = 0
    expected[12, 0] = np.nan
    np.testing.assert_array_equal(embeddings(source), expected)
    assert [np.flatnonzero(chunk.null).tolist() for chunk in source.chunks()] == [[0], [1], [2]]


def test_only_chunks_that_carry_can_be_written(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "a.parquet", rich_table()))
    assert all(chunk.carry is None for chunk in source.chunks())
    assert all(chunk.carry is not None for chunk in source.chunks(carry=True))


@pytest.mark.parametrize("kind", ["list", "wide"])
def test_the_size_of_decoded_batches_makes_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    rows = cells()
    rows[4] = rows[9] = None
    rows[3] = [*rows[3][:-1], None]  # type: ignore[index]
    rows[8] = [None, *rows[8][1:]]  # type: ignore[index]
    path = write(tmp_path / "a.parquet", rich_table(kind, rows=rows), row_group_size=ROWS)
    whole = list(opened(path).chunks())
    reference = rewritten(opened(path), tmp_path / "whole.parquet")
    for embedding in (ListColumn, WideColumns):
        monkeypatch.setattr(embedding, "batch_bytes", 3 * DIM * 4)
    parts = list(opened(path).chunks())
    assert len(parts) == len(whole) == 1
    np.testing.assert_array_equal(parts[0].embeddings, whole[0].embeddings)
    np.testing.assert_array_equal(parts[0].null, whole[0].null)
    out = rewritten(opened(path), tmp_path / "parts.parquet")
    assert pq.read_table(out).equals(pq.read_table(reference))
    # Dictionaries did not end at batches: each column takes the bytes that it took.
    sizes = [
        [group["columns"][i]["total_uncompressed_size"] for i in range(group["num_columns"])]
        for group in (pq.read_metadata(file).row_group(0).to_dict() for file in (out, reference))
    ]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (pa.array(IDS), "string"),
        (pa.array(IDS, pa.large_string()), "string"),
        (pa.array(IDS, pa.string_view()), "string"),
        (pa.array(IDS).cast(pa.binary()), "string"),
        (pa.array(IDS).dictionary_encode(), "string"),
        (pa.array(range(ROWS), pa.int32()), "integer"),
        (pa.array(range(2**63, 2**63 + ROWS), pa.uint64()), "integer"),
        (pa.array(range(ROWS), pa.int16()).dictionary_encode(), "integer"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else value,
)
def test_ids_of_any_type_come_canonical(tmp_path: Path, ids: pa.Array, kind: str) -> None:
    source = opened(write(tmp_path / "a.parquet", table(ids=ids)))
    found = pa.chunked_array(source.ids())
    assert source.id_kind == kind
    assert found.type in (pa.string(), pa.int64(), pa.uint64())
    assert found.to_pylist() == [one.decode() if isinstance(one, bytes) else one for one in ids.to_pylist()]
    assert found.equals(pa.chunked_array([chunk.ids for chunk in source.chunks()]))
    out = pq.read_table(rewritten(source, tmp_path / "out.parquet"))
    assert out["item_id"].equals(pq.read_table(source.path)["item_id"])


def test_ids_are_read_without_the_embeddings(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", table(), compression="snappy", use_dictionary=False)
    source = opened(path)
    damage(path, "emb.list.element", 1)
    assert pa.chunked_array(source.ids()).to_pylist() == IDS


# Which columns


def test_the_only_possible_columns_are_found(tmp_path: Path) -> None:
    rows = rich_table()
    for j in range(3):  # numbered, but no floats
        rows = rows.append_column(f"shelf_{j}", pa.array(range(ROWS)))
    assert opened(write(tmp_path / "a.parquet", rows)).describe()["embedding_column"] == "emb"
    assert opened(write(tmp_path / "b.parquet", rich_table("wide"))).describe()["embedding_column"] == "emb_*"


@pytest.mark.parametrize("pattern", ["emb_*", "emb*", "e?b_*", "*"])
def test_wide_columns_are_found_by_a_glob_and_ordered_by_number(tmp_path: Path, pattern: str) -> None:
    rows = table("wide").append_column("emb_norm", pa.array(X[:, 0])).append_column("emb_dim", pa.array(range(ROWS)))
    source = opened(write(tmp_path / "a.parquet", rows), embedding_column=pattern)
    np.testing.assert_array_equal(embeddings(source), X)


def test_a_glob_may_leave_columns_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", table("wide"))
    source = opened(path, embedding_column="emb_[0-9]")
    np.testing.assert_array_equal(embeddings(source), X[:, :10])
    out = pq.read_table(rewritten(source, tmp_path / "out.parquet"))
    np.testing.assert_array_equal(out["emb_9"], -X[:, 9])
    np.testing.assert_array_equal(out["emb_11"], X[:, 11])


def test_a_single_wide_column_has_to_be_named_by_a_glob(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.table({"id": IDS, "emb_0": pa.array(X[:, 0])}))
    assert "present: id (string), emb_0 (halffloat)" in error_of(lambda: opened(path))
    assert opened(path, embedding_column="emb_*").dim == 1


def test_no_embedding_column_is_an_error_that_lists_the_columns_and_types(tmp_path: Path) -> None:
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((2, 3), np.float32))
    path = write(tmp_path / "a.parquet", pa.table({"id": ["a", "b"], "codes": [[1], [2]], "emb": tensor}))
    assert error_of(lambda: opened(path)) == (
        "no embedding column found\n"
        f"  in: {path}\n"
        f"  present: id (string), codes (list<element: int64>), emb ({tensor.type})\n"
        "  fix: name it: --embedding-column image=NAME"
    )


def test_more_than_one_embedding_column_is_an_error_that_lists_them(tmp_path: Path) -> None:
    rows = table("wide").append_column("vector", pa.array(cells(), pa.list_(pa.float32())))
    path = write(tmp_path / "a.parquet", rows)
    assert error_of(lambda: opened(path)) == (
        "more than one possible embedding column\n"
        f"  in: {path}\n"
        "  candidates: vector, emb_*\n"
        "  fix: --embedding-column image=vector"
    )


def test_a_glob_over_two_groups_is_an_error_and_the_name_of_one_is_not(tmp_path: Path) -> None:
    rows = pa.table({"id": IDS, **{f"emb_{m}{j}": pa.array(X[:, j]) for m in ("", "text_") for j in range(3)}})
    path = write(tmp_path / "a.parquet", rows)
    assert error_of(lambda: opened(path, embedding_column="e*")) == (
        "more than one possible group of columns\n"
        f"  in: {path}\n"
        "  candidates: emb_*, emb_text_*\n"
        "  fix: --embedding-column image=emb_*"
    )
    assert opened(path, embedding_column="emb_*").dim == 3


@pytest.mark.parametrize("pattern", ["embeding", "vec*"])
def test_an_unknown_column_is_an_error_that_suggests_the_nearest(tmp_path: Path, pattern: str) -> None:
    path = write(
        tmp_path / "a.parquet", table("wide").append_column("vectors", pa.array(cells(), pa.list_(pa.float32())))
    )
    nearest = "emb_*" if pattern == "embeding" else "vectors"
    assert error_of(lambda: opened(path, embedding_column=pattern)) == (
        f'column "{pattern}" not found\n'
        f"  in: {path}\n"
        "  columns: item_id, vectors, emb_*\n"
        f"  fix: --embedding-column image={nearest}"
    )


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1], [2]]),
        pa.array([1.0, 2.0]),
        pa.array([[[1.0]], [[2.0]]]),
        pa.array(["a", "b"]),
        pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((2, 3), np.float32)),
    ],
    ids=lambda column: str(column.type),
)
def test_a_column_of_another_type_is_an_error_that_says_what_is_supported(tmp_path: Path, column: pa.Array) -> None:
    path = write(tmp_path / "a.parquet", pa.table({"id": ["a", "b"], "emb": column}))
    stored = pq.read_schema(path).field("emb").type
    assert error_of(lambda: opened(path, embedding_column="emb")) == (
        f'column "emb" of type {stored} cannot hold embeddings\n'
        f"  in: {path}\n"
        "  supported: list, large_list or fixed_size_list of float16, float32 or float64; float columns as in emb_*"
    )


def test_wide_columns_of_different_types_are_an_error(tmp_path: Path) -> None:
    rows = pa.table({"id": ["a"], "emb_0": pa.array([1.0], pa.float32()), "emb_1": [1.0]})
    path = write(tmp_path / "a.parquet", rows)
    assert error_of(lambda: opened(path)) == (
        f"embedding columns differ in type: emb_0 is float, emb_1 is double\n  in: {path}"
    )


@pytest.mark.parametrize("names", [["id", "id", "emb"], ["id", "emb", "emb"]])
def test_two_columns_of_one_name_cannot_be_used(tmp_path: Path, names: list[str]) -> None:
    embedding = pa.array([[1.0]], pa.list_(pa.float32()))
    arrays = [pa.array(["a"]) if name == "id" else embedding for name in names]
    path = write(tmp_path / "a.parquet", pa.Table.from_arrays(arrays, names=names))
    twice = names[1]
    message = error_of(lambda: opened(path, embedding_column="emb", id_column="id"))
    assert message == f'more than one column is called "{twice}"\n  in: {path}'


def test_other_columns_may_share_a_name_or_begin_like_the_embeddings(tmp_path: Path) -> None:
    arrays = [
        pa.array(cells(), pa.list_(pa.float32())),
        *(pa.array(range(i, i + ROWS)) for i in range(3)),
        pa.array(IDS),
    ]
    path = write(tmp_path / "a.parquet", pa.Table.from_arrays(arrays, names=["emb", "x", "emb.x", "x", "item_id"]))
    source = opened(path, id_column="item_id")
    np.testing.assert_array_equal(embeddings(source), X)
    out = pq.ParquetFile(rewritten(source, tmp_path / "out.parquet")).read()
    assert out.column_names == ["emb", "x", "emb.x", "x", "item_id"]
    assert [out.column(i).to_pylist() for i in range(1, 5)] == [array.to_pylist() for array in arrays[1:]]


def test_the_usual_name_decides_between_id_columns(tmp_path: Path) -> None:
    rows = table().append_column("shelf", pa.array(range(ROWS)))
    path = write(tmp_path / "a.parquet", rows)
    assert opened(path).describe()["id_column"] == "item_id"
    assert opened(path, id_column="shelf").id_kind == "integer"
    rows = rows.rename_columns(["name", "emb", "shelf"])
    assert error_of(lambda: opened(write(path, rows))) == (
        f"more than one possible item id column\n  in: {path}\n  candidates: name, shelf\n  fix: --id-column image=name"
    )


def test_ids_that_are_missing_unknown_or_floats_are_errors(tmp_path: Path) -> None:
    rows = pa.table({"weight": [1.5], "emb": pa.array([[1.0]], pa.list_(pa.float32()))})
    path = write(tmp_path / "a.parquet", rows)
    assert error_of(lambda: opened(path)) == (
        "no item id column found\n"
        f"  in: {path}\n"
        "  present: weight (double), emb (list<element: float>)\n"
        "  fix: name it: --id-column image=NAME"
    )
    assert error_of(lambda: opened(path, id_column="wait")) == (
        f'column "wait" not found\n  in: {path}\n  columns: weight, emb\n  fix: --id-column image=weight'
    )
    assert error_of(lambda: opened(path, id_column="weight")).startswith("item ids of type double are not supported")


# What the output keeps


@pytest.mark.parametrize(("kind", "floats"), LAYOUTS)
def test_only_the_embedding_values_change(tmp_path: Path, kind: str, floats: str) -> None:
    rows = cells()
    rows[0] = rows[11] = rows[12] = None
    rows[13] = [None, *rows[13][1:]]  # type: ignore[index]
    source = opened(write(tmp_path / "a.parquet", rich_table(kind, floats, rows)))
    out = rewritten(source, tmp_path / "out.parquet")
    assert layout(out) == layout(source.path)
    assert others(out).equals(others(source.path))
    again = opened(out)
    np.testing.assert_array_equal(embeddings(again), -embeddings(source))
    assert [chunk.null is not None for chunk in again.chunks()] == [True, True, False]
    for before, after in zip(source.chunks(carry=True), again.chunks(carry=True), strict=True):
        np.testing.assert_array_equal(after.null, before.null)
        np.testing.assert_array_equal(after.carry.holes, before.carry.holes)


@pytest.mark.parametrize("kind", [*KINDS, "wide"])
def test_a_null_value_is_filled_when_it_gets_a_number(tmp_path: Path, kind: str) -> None:
    rows = cells()
    rows[3] = [None, None, *rows[3][2:]]  # type: ignore[index]
    rows[4] = None

    def fill(y: Floats) -> Floats:
        y = y.copy()
        y[3:5, 0] = 7
        y[:, 11] = np.nan
        return y

    source = opened(write(tmp_path / "a.parquet", table(kind, rows=rows), row_group_size=ROWS))
    out = opened(rewritten(source, tmp_path / "out.parquet", fill))
    [chunk] = out.chunks(carry=True)
    assert chunk.embeddings[3, 0] == 7
    assert np.flatnonzero(chunk.null).tolist() == [4]
    assert chunk.carry.holes.tolist() == [3 * DIM + 1]  # a new NaN is a number to Arrow, not a null
    assert np.isnan(chunk.embeddings[3, [1, 11]]).all()


@pytest.mark.parametrize(
    "options",
    [
        {"compression": {"emb.list.element": "none", "item_id": "zstd"}},
        {"compression": "gzip"},
        {"compression": "brotli"},
        {"compression": "lz4"},
        {"use_dictionary": ["category", "item_id"]},
        {"use_dictionary": False},
        {"use_dictionary": ["item_id"], "use_byte_stream_split": ["emb.list.element"]},
        {"use_dictionary": False, "column_encoding": {"item_id": "DELTA_BYTE_ARRAY", "small": "DELTA_BINARY_PACKED"}},
        {"write_statistics": ["item_id", "price"]},
        {"write_statistics": False},
        {"write_page_index": True},
        {"sorting_columns": [pq.SortingColumn(11), pq.SortingColumn(2, descending=True, nulls_first=True)]},
        {"version": "1.0"},
        {"version": "2.4"},
        {"use_compliant_nested_type": False},
        {"store_schema": False},
        {"store_schema": False, "use_compliant_nested_type": False},
        {"store_schema": False, "use_deprecated_int96_timestamps": True},
        {"store_schema": False, "store_decimal_as_integer": True},
        {"row_group_size": 4},
        {"row_group_size": ROWS},
    ],
    ids=str,
)
def test_the_layout_is_kept(tmp_path: Path, options: dict[str, Any]) -> None:
    path = write(tmp_path / "a.parquet", rich_table(), **options)
    out = rewritten(opened(path), tmp_path / "out.parquet")
    assert layout(out) == layout(path)
    assert others(out).equals(others(path))


def test_metadata_is_kept_where_the_arrow_schema_is_not_stored(tmp_path: Path) -> None:
    path = tmp_path / "spark.parquet"
    rows = rich_table().replace_schema_metadata(None)
    with pq.ParquetWriter(path, rows.schema, store_schema=False, use_deprecated_int96_timestamps=True) as writer:
        writer.write_table(rows)
        writer.add_key_value_metadata({"org.apache.spark.version": "3.5.0", "spark.row.metadata": '{"type": "struct"}'})
    out = rewritten(opened(path), tmp_path / "out.parquet")
    assert layout(out) == layout(path)
    assert layout(out)["keys"][b"org.apache.spark.version"] == b"3.5.0"


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


def test_types_come_before_the_format_version_where_both_cannot_be_kept(tmp_path: Path) -> None:
    # DuckDB writes unsigned integers under format version 1, where Arrow would make them wider.
    path = patched(write(tmp_path / "duck.parquet", rich_table(), store_schema=False), (b"^\x15\x04", b"\x15\x02"))
    assert pq.read_metadata(path).format_version == "1.0"
    out = rewritten(opened(path), tmp_path / "out.parquet")
    assert pq.read_schema(out).equals(pq.read_schema(path), check_metadata=True)
    assert others(out).equals(others(path))


def test_types_come_before_the_parquet_schema_where_both_cannot_be_kept(tmp_path: Path) -> None:
    # INT96 beside other timestamps: Arrow writes all of them as INT96, or none.
    rows = rich_table().append_column("at", pa.nulls(ROWS, pa.int64()))
    path = write(tmp_path / "mixed.parquet", rows, store_schema=False, row_group_size=ROWS)
    patched(path, (b"\x15\x04(%\x02\x18\x02at)", b"\x15\x06\\1"), (b"\x15\x04(\x195...\x19\x18\x02at)", b"\x15\x06\\1"))
    assert pq.read_schema(path).field("at").type == pa.timestamp("ns")
    out = rewritten(opened(path), tmp_path / "out.parquet")
    assert pq.read_schema(out).equals(pq.read_schema(path), check_metadata=True)
    assert others(out).equals(others(path))


def test_dictionary_encoding_comes_before_others_where_a_column_has_both(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", table(), row_group_size=ROWS)
    patched(path, (b"\x195\x00\x06\x10(\x19\x18\x07item_id)", b"\x195\x0e\x06\x10\\1"))
    assert pq.read_metadata(path).row_group(0).column(0).encodings == ("DELTA_BYTE_ARRAY", "RLE", "RLE_DICTIONARY")
    out = rewritten(opened(path), tmp_path / "out.parquet")
    assert "RLE_DICTIONARY" in pq.read_metadata(out).row_group(0).column(0).encodings


@pytest.mark.parametrize("column", ["category", "item_id"])
def test_a_dictionary_that_ends_within_a_row_group_is_read_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    monkeypatch.setattr(ListColumn, "batch_bytes", 3 * DIM * 4)
    rows = table().append_column("category", pa.array([f"a rather long category {i}" for i in range(ROWS)]))
    index = rows.schema.get_field_index(column)
    rows = rows.set_column(index, column, rows[column].dictionary_encode())
    limits = {"dictionary_pagesize_limit": 100, "data_page_size": 50, "write_batch_size": 2}
    path = write(tmp_path / "a.parquet", rows, row_group_size=ROWS, **limits)
    assert pa.chunked_array(opened(path).ids()).to_pylist() == IDS
    out = rewritten(opened(path), tmp_path / "out.parquet")
    assert pq.read_table(out)[column].to_pylist() == rows[column].to_pylist()
    assert pq.read_schema(out).equals(pq.read_schema(path), check_metadata=True)


def test_a_sort_order_ends_where_it_depends_on_embeddings(tmp_path: Path) -> None:
    order = [pq.SortingColumn(0), pq.SortingColumn(1), pq.SortingColumn(2)]
    rows = (
        table("wide")
        .append_column("shelf", pa.array(range(ROWS)))
        .select(["item_id", "emb_0", "shelf", *(f"emb_{j}" for j in range(1, DIM))])
    )
    path = write(tmp_path / "a.parquet", rows, sorting_columns=order)
    out = rewritten(opened(path), tmp_path / "out.parquet")
    assert pq.read_metadata(out).row_group(0).sorting_columns == (order[0],)


@pytest.mark.parametrize("names", [("bag_", "array_element"), ("list", "array"), ("list", "item")])
def test_lists_with_legacy_names_are_read_and_keep_their_arrow_type(tmp_path: Path, names: tuple[str, str]) -> None:
    group, item = names
    kind = pa.list_(pa.field(item, pa.float32()))
    rows = table().set_column(1, "emb", pa.array(cells(), kind))
    path = write(tmp_path / "a.parquet", rows, use_compliant_nested_type=False, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"\x04list", b"\x04" + group.encode()))
    assert pq.read_metadata(path).row_group(0).column(1).path_in_schema == f"emb.{group}.{item}"
    source = opened(path)
    np.testing.assert_array_equal(embeddings(source), X)
    out = rewritten(source, tmp_path / "out.parquet")
    assert pq.read_schema(out).equals(pq.read_schema(path), check_metadata=True)
    assert str(pq.read_schema(out).field("emb").type) == f"list<{item}: float>"
    assert pq.read_metadata(out).row_group(0).column(1).path_in_schema == f"emb.list.{item}"


@pytest.mark.parametrize("kind", ["list", "fixed_size_list"])
def test_items_that_cannot_be_null_and_field_ids_are_kept(tmp_path: Path, kind: str) -> None:
    item = pa.field("element", pa.float32(), nullable=False, metadata={"PARQUET:field_id": "7"})
    field = pa.field("emb", pa.list_(item, DIM if kind != "list" else -1), nullable=False)
    rows = pa.Table.from_arrays(
        [pa.array(IDS), pa.array(cells(), field.type)], schema=pa.schema([("id", "string"), field])
    )
    path = write(tmp_path / "a.parquet", rows)
    out = rewritten(opened(path), tmp_path / "out.parquet")
    assert layout(out) == layout(path)
    assert "required float field_id=7 element" in layout(out)["parquet schema"]


def test_empty_row_groups_are_carried_through(tmp_path: Path) -> None:
    path, rows = tmp_path / "a.parquet", rich_table()
    with pq.ParquetWriter(path, rows.schema) as writer:
        for piece in (rows[:0], rows[:9], rows[:0], rows[9:], rows[:0]):
            writer.write_table(piece)
    source = opened(path)
    assert [len(chunk) for chunk in source.chunks()] == [9, 14]
    out = rewritten(source, tmp_path / "out.parquet")
    assert layout(out)["row groups"] == [0, 9, 0, 14, 0]
    assert layout(out) == layout(path)


# Row groups that are too large


@pytest.mark.parametrize(("kind", "floats"), [("list", "float32"), ("fixed_size_list", "float16"), ("wide", "float64")])
def test_a_large_row_group_is_read_and_written_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, floats: str
) -> None:
    monkeypatch.setattr(base, "SPLIT_BYTES", 5 * DIM * np.dtype(floats).itemsize + 1)
    rows = cells()
    rows[6] = None
    path = write(tmp_path / "a.parquet", rich_table(kind, floats, rows), row_group_size=13)
    source = opened(path)
    assert source.notes == [f"a.parquet, row group {i} is written as {k} row groups" for i, k in enumerate((3, 2))]
    chunks = list(source.chunks())
    assert [len(chunk) for chunk in chunks] == [5, 5, 3, 5, 5]
    assert [chunk.start for chunk in chunks] == [0, 5, 10, 13, 18]
    assert [chunk.where for chunk in chunks] == [f"{path}, row group {i}" for i in (0, 0, 0, 1, 1)]
    assert pa.chunked_array(source.ids()).to_pylist() == IDS
    out = rewritten(source, tmp_path / "out.parquet")
    assert layout(out)["row groups"] == [5, 5, 3, 5, 5]
    assert {**layout(out), "row groups": 0}["arrow schema"] == layout(path)["arrow schema"]
    assert others(out).equals(others(path))
    np.testing.assert_array_equal(embeddings(opened(out)), -embeddings(source))


def test_a_row_group_of_exactly_the_limit_is_not_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "SPLIT_BYTES", 10 * DIM * 4)
    monkeypatch.setattr(ListColumn, "batch_bytes", 3 * DIM * 4)
    source = opened(write(tmp_path / "a.parquet", table()))
    assert source.notes == []
    assert [len(chunk) for chunk in source.chunks()] == [10, 10, 3]


def test_a_row_larger_than_the_limit_is_a_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "SPLIT_BYTES", 1)
    source = opened(write(tmp_path / "a.parquet", table(), row_group_size=ROWS - 1))
    assert [len(chunk) for chunk in source.chunks()] == [1] * ROWS
    assert source.notes == [f"a.parquet, row group 0 is written as {ROWS - 1} row groups"]


def test_batches_that_come_shorter_than_asked_for_are_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pq.ParquetFile.iter_batches

    def halves(*args: Any, **options: Any) -> Any:
        for batch in whole(*args, **options):
            middle = len(batch) // 2
            yield from (part for part in (batch[:middle], batch[middle:]) if len(part))

    source = opened(write(tmp_path / "a.parquet", rich_table()))
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", halves)
    assert [len(chunk) for chunk in source.chunks()] == [10, 10, 3]
    np.testing.assert_array_equal(embeddings(source), X)


# Folders


def folder_of(path: Path, rows: pa.Table | None = None, **options: Any) -> Path:
    rows = rich_table() if rows is None else rows
    write(path / "part-1.parquet", rows[:7], row_group_size=4, **options)
    write(path / "part-10.parquet", rows[7:7], **options)
    write(path / "part-2.pq", rows[7:], row_group_size=5, compression="zstd")
    return path


def test_a_folder_is_read_part_by_part_in_the_order_of_names(tmp_path: Path) -> None:
    source = opened(folder_of(tmp_path / "items"))
    assert [path.name for path in source.files()] == ["part-1.parquet", "part-10.parquet", "part-2.pq"]
    assert source.rows == ROWS
    np.testing.assert_array_equal(embeddings(source), X)
    assert [chunk.start for chunk in source.chunks()] == [0, 4, 7, 12, 17, 22]
    assert [chunk.where for chunk in source.chunks()][3] == f"{tmp_path}/items/part-2.pq, row group 1"


@pytest.mark.parametrize("kind", ["list", "wide"])
def test_a_folder_is_written_as_the_same_parts(tmp_path: Path, kind: str) -> None:
    source = opened(folder_of(tmp_path / "items", rich_table(kind)))
    out = rewritten(source, tmp_path / "new" / "items")
    assert sorted(path.name for path in out.iterdir()) == ["part-1.parquet", "part-10.parquet", "part-2.pq"]
    for path in source.files():
        assert layout(out / path.name) == layout(path)
        assert others(out / path.name).equals(others(path))
    np.testing.assert_array_equal(embeddings(opened(out)), -X)


def test_other_files_of_a_folder_are_named_or_silently_left(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "items")
    for name in ("_SUCCESS", "_metadata", "_common_metadata", ".part-1.parquet.crc", "part-1.crc", ".x", "_x.parquet"):
        (folder / name).touch()
    (folder / "README.md").touch()
    (folder / "day=1.parquet").mkdir()
    source = opened(folder)
    assert source.notes == [
        f"{name} is not a part file and is not carried over"
        for name in ("README.md", "_common_metadata", "_metadata", "day=1.parquet")
    ]
    assert len(list(rewritten(source, tmp_path / "out").iterdir())) == 3


def test_a_folder_without_parts_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "_x.parquet").touch()
    assert error_of(lambda: opened(tmp_path)) == (
        f"no part files in this folder\n  in: {tmp_path}\n  expected: *.parquet, *.pq"
    )


@pytest.mark.parametrize(
    ("other", "column", "here", "first"),
    [
        (table(floats="float64"), "emb", "list<element: double>", "list<element: float>"),
        (table("large_list"), "emb", "large_list<element: float>", "list<element: float>"),
        (table(ids=list(range(ROWS))), "item_id", "int64", "string"),
    ],
    ids=["value type", "kind of list", "ids"],
)
def test_parts_of_different_types_are_an_error_with_both(
    tmp_path: Path, other: pa.Table, column: str, here: str, first: str
) -> None:
    write(tmp_path / "a.parquet", table())
    write(tmp_path / "b.parquet", other)
    assert error_of(lambda: opened(tmp_path)) == (
        f'parts differ in the type of column "{column}"\n'
        f"  in: {tmp_path}/b.parquet\n"
        f"  here: {here}\n"
        f"  first part: {first}"
    )


def test_parts_of_different_dimension_are_an_error(tmp_path: Path) -> None:
    for kind in ("fixed_size_list", "wide"):
        folder = tmp_path / kind
        write(folder / "a.parquet", table(kind))
        write(
            folder / "b.parquet",
            pa.table({"item_id": ["x"], **{f"emb_{j}": pa.array([1], pa.float32()) for j in range(3)}}),
        )
        if kind == "fixed_size_list":
            write(
                folder / "b.parquet", pa.table({"item_id": ["x"], "emb": pa.array([[1, 2]], pa.list_(pa.float32(), 2))})
            )
    assert error_of(lambda: opened(tmp_path / "fixed_size_list")).endswith(
        "here: fixed_size_list<element: float>[2]\n  first part: fixed_size_list<element: float>[12]"
    )
    assert error_of(lambda: opened(tmp_path / "wide")).endswith(
        "here: 3 columns of float, emb_0 to emb_2\n  first part: 12 columns of float, emb_0 to emb_11"
    )
    write(tmp_path / "list" / "a.parquet", table())
    write(tmp_path / "list" / "b.parquet", table(rows=cells(X[:, :5])))
    source = opened(tmp_path / "list")
    assert error_of(lambda: embeddings(source)).startswith(
        f"embeddings differ in length: row 23 has 5 values, not 12\n  in: {tmp_path}/list/b.parquet, row group 0"
    )


def test_a_part_without_the_column_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", table())
    write(tmp_path / "b.parquet", table().rename_columns(["item_id", "embeddings"]))
    assert error_of(lambda: opened(tmp_path)) == (
        'column "emb" not found\n'
        f"  in: {tmp_path}/b.parquet\n"
        "  columns: item_id, embeddings\n"
        "  fix: --embedding-column image=embeddings"
    )


def test_list_items_and_other_columns_may_differ_between_parts(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.parquet", rich_table(), use_compliant_nested_type=False)
    write(tmp_path / "in" / "b.parquet", table())
    full = pa.list_(pa.field("element", pa.float32(), nullable=False))
    write(tmp_path / "in" / "c.parquet", table().set_column(1, "emb", pa.array(cells(), full)))
    source = opened(tmp_path / "in")
    out = rewritten(source, tmp_path / "out")
    assert [layout(out / path.name) for path in source.files()] == [layout(path) for path in source.files()]


# No embeddings, or uneven ones


def test_no_rows_are_no_embeddings(tmp_path: Path) -> None:
    for kind in ("list", "fixed_size_list", "wide"):
        path = write(tmp_path / "a.parquet", table(kind)[:0])
        assert error_of(lambda path=path: opened(path)) == f"no embeddings: there are no rows\n  in: {path}"


@pytest.mark.parametrize("nothing", [None, []])
def test_only_null_or_empty_rows_are_no_embeddings(tmp_path: Path, nothing: Any) -> None:
    path = write(tmp_path / "a.parquet", table(rows=[nothing] * ROWS))
    assert error_of(lambda: opened(path)) == (f"no embeddings: every row is null or empty\n  in: {path}\n  rows: 23")


def test_the_dimension_is_that_of_the_first_row_that_has_one(tmp_path: Path) -> None:
    rows = [*[None] * 12, *cells()[12:]]
    assert opened(write(tmp_path / "a.parquet", table(rows=rows))).dim == DIM


@pytest.mark.parametrize("kind", ["list", "large_list"])
@pytest.mark.parametrize(("row", "length"), [(14, 0), (14, 11), (22, 13)])
def test_a_row_of_another_length_is_named_with_its_place(tmp_path: Path, kind: str, row: int, length: int) -> None:
    rows = cells()
    rows[2] = None
    rows[row] = [0.5] * length
    path = write(tmp_path / "a.parquet", table(kind, rows=rows))
    source = opened(path)
    assert error_of(lambda: embeddings(source)) == (
        f"embeddings differ in length: row {row} has {length} values, not 12\n  in: {path}, row group {row // 10}"
    )


# Damage


def damage(path: Path, column: str, group: int) -> None:
    """Overwrite a column of one row group."""
    leaves = pq.read_metadata(path).row_group(group).to_dict()["columns"]
    leaf = next(leaf for leaf in leaves if leaf["path_in_schema"] == column)
    start = leaf["dictionary_page_offset"] or leaf["data_page_offset"]
    data = bytearray(path.read_bytes())
    data[start : start + leaf["total_compressed_size"]] = b"\xff" * leaf["total_compressed_size"]
    path.write_bytes(data)


def test_rows_are_counted_over_all_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ListColumn, "batch_bytes", 3 * DIM * 4)
    source = opened(write(tmp_path / "a.parquet", table(rows=[*cells()[:17], [1.0], *cells()[18:]])))
    assert "row 17 has 1 values" in error_of(lambda: embeddings(source))


def test_what_is_not_parquet_or_cut_short_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", table())
    whole = path.read_bytes()
    for data in (b"", b"not parquet at all", whole[:-1], whole[: len(whole) // 2], whole[:4]):
        path.write_bytes(data)
        assert error_of(lambda: opened(path)).startswith(f"cannot be read as Parquet\n  in: {path}\n  reason: ")
    path.write_bytes(whole)
    patched(path, (b"\x18\x07item_id(.*)\x18\x07item_id", b"\x18\x07item_i\xff\\1\x18\x07item_i\xff"))
    assert "reason: 'utf-8' codec can't decode byte 0xff" in error_of(lambda: opened(path))
    path.unlink()
    assert "No such file" in error_of(lambda: opened(path))


def test_damage_in_the_last_row_group_is_found_and_placed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", table())
    source = opened(path)
    damage(path, "emb.list.element", 2)
    chunks = source.chunks()
    assert [len(next(chunks)), len(next(chunks))] == [10, 10]
    assert error_of(lambda: next(chunks)).startswith(
        f"cannot be read as Parquet\n  in: {path}, row group 2\n  reason: "
    )


def test_damage_in_a_column_that_is_only_carried_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rich_table())
    source = opened(path)
    damage(path, "image", 1)
    np.testing.assert_array_equal(embeddings(source), X)
    assert f"in: {path}, row group 1" in error_of(lambda: list(source.chunks(carry=True)))


def test_damage_of_ids_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", table())
    source = opened(path)
    damage(path, "item_id", 1)
    assert f"in: {path}, row group 1" in error_of(lambda: list(source.ids()))


def test_damage_that_only_a_checksum_shows_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", table(), compression="none", use_dictionary=False, write_page_checksum=True)
    source = opened(path)
    value = X[21].astype(np.float32).tobytes()
    path.write_bytes(path.read_bytes().replace(value, value[:-1] + bytes([value[-1] ^ 1])))
    assert "CRC checksum" in error_of(lambda: embeddings(source))


def test_fewer_rows_than_the_footer_says_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pq.ParquetFile.iter_batches
    source = opened(write(tmp_path / "a.parquet", table()))
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *a, **k: (batch[:-1] for batch in whole(*a, **k)))
    assert "fewer rows than the footer says" in error_of(lambda: list(source.chunks()))
    assert "fewer rows than the footer says" in error_of(lambda: list(source.ids()))


# The sink


def test_embeddings_of_another_shape_type_or_place_are_refused(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "a.parquet", table()))
    first, second, _ = source.chunks(carry=True)
    with pytest.raises(ValueError, match="expected first row"), source.sink(tmp_path / "out.parquet") as sink:
        sink.write(first, first.embeddings[:, 1:])
    with pytest.raises(ValueError, match="expected first row"), source.sink(tmp_path / "out.parquet") as sink:
        sink.write(first, first.embeddings.astype(np.float64))
    with pytest.raises(ValueError, match="expected first row"), source.sink(tmp_path / "out.parquet") as sink:
        sink.write(second, second.embeddings)
    with pytest.raises(ValueError, match="only 10 of 23 rows"), source.sink(tmp_path / "out.parquet") as sink:
        sink.write(first, first.embeddings)


def test_an_error_leaves_no_file_that_looks_whole_and_is_not_masked(tmp_path: Path) -> None:
    source = opened(folder_of(tmp_path / "items"))
    chunks = list(source.chunks(carry=True))

    def fail(sink: Sink) -> None:
        for chunk in chunks[:4]:
            sink.write(chunk, chunk.embeddings)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), source.sink(tmp_path / "out") as sink:
        fail(sink)
    assert error_of(lambda: opened(tmp_path / "out" / "part-2.pq")).startswith("cannot be read as Parquet")


def test_a_full_disk_is_an_os_error(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "a.parquet", table()))
    with pytest.raises(OSError, match="No space left") as raised, source.sink(Path("/dev/full")):
        pass
    assert raised.value.errno == 28


def test_a_disk_that_fills_up_is_an_os_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise pa.ArrowException("no space")

    source = opened(write(tmp_path / "a.parquet", table()))
    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match=r"out\.parquet cannot be written: no space"):
        rewritten(source, tmp_path / "out.parquet")


def test_a_matrix_in_any_memory_order_is_written(tmp_path: Path) -> None:
    for kind in ("list", "wide"):
        source = opened(write(tmp_path / "a.parquet", table(kind)))
        out = rewritten(source, tmp_path / "out.parquet", np.asfortranarray)
        np.testing.assert_array_equal(embeddings(opened(out)), X)


def test_the_description_is_plain_and_knows_no_folders(tmp_path: Path) -> None:
    described = opened(folder_of(tmp_path / "items")).describe()
    assert json.loads(json.dumps(described)) == {
        "container": "parquet",
        "files": ["part-1.parquet", "part-10.parquet", "part-2.pq"],
        "row_groups": 7,
        "rows": 23,
        "dim": 12,
        "dtype": "float32",
        "embedding_column": "emb",
        "embedding_type": "list<element: float>",
        "id_column": "item_id",
        "id_type": "string",
        "codec": "SNAPPY",
        "other_columns": ["category", "tags", "price", "seen", "box", "names", "image", "small"],
    }
