"""Parquet: the output differs from the input in the embedding values alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clear_cli.embeddings import base
from tests.formats.parquet_tables import (
    DIM,
    IDS,
    KINDS,
    LAYOUTS,
    ROWS,
    Floats,
    X,
    cells,
    embeddings,
    layout,
    opened,
    others,
    patched,
    rewritten,
    rich_table,
    size_in_memory,
    table,
    write,
)

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
    for before, after in zip(source.chunks(), again.chunks(), strict=True):
        np.testing.assert_array_equal(after.null, before.null)
        np.testing.assert_array_equal(after.holes, before.holes)


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
    [chunk] = out.chunks()
    assert chunk.embeddings[3, 0] == 7
    assert np.flatnonzero(chunk.null).tolist() == [4]
    assert chunk.holes.tolist() == [3 * DIM + 1]  # a new NaN is a number to Arrow, not a null
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
    monkeypatch.setattr(base, "CHUNK_BYTES", 3 * DIM * 4)
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


@pytest.mark.parametrize("kind", ["list", "wide"])
def test_embeddings_get_no_dictionary_even_where_they_had_one(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.parquet", table(kind), use_dictionary=True)
    group = pq.read_metadata(rewritten(opened(path), tmp_path / "out.parquet")).row_group(0)
    leaves = [group.column(i) for i in range(group.num_columns)]
    dictionaries = {leaf.path_in_schema for leaf in leaves if "RLE_DICTIONARY" in leaf.encodings}
    assert "item_id" in dictionaries
    assert not any(path.startswith("emb") for path in dictionaries)


# Row groups that are too large


@pytest.mark.parametrize(("kind", "floats"), [("list", "float32"), ("fixed_size_list", "float16"), ("wide", "float64")])
@pytest.mark.parametrize("chunk_rows", [4, 100])
def test_a_large_row_group_is_written_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, floats: str, chunk_rows: int
) -> None:
    monkeypatch.setattr(base, "CHUNK_BYTES", chunk_rows * DIM * np.dtype(floats).itemsize)
    rows = cells()
    rows[6] = None
    plain = rich_table(kind, floats, rows).drop_columns(["image"])
    path = write(tmp_path / "a.parquet", plain, row_group_size=13, use_dictionary=False)
    source = opened(path, piece_bytes=size_in_memory(path) * 9 // 20)
    assert source.notes == [f"a.parquet, row group {i} is written as {k} row groups" for i, k in enumerate((3, 2))]
    assert [chunk.start for chunk in source.chunks()] == ([0, 4, 8, 12, 13, 17, 21] if chunk_rows == 4 else [0, 13])
    out = rewritten(source, tmp_path / "out.parquet")
    assert layout(out)["row groups"] == [5, 5, 3, 5, 5]
    assert layout(out)["arrow schema"] == layout(path)["arrow schema"]
    assert others(out).to_pylist() == others(path).to_pylist()
    np.testing.assert_array_equal(embeddings(opened(out)), -embeddings(source))


def test_all_columns_count_in_what_a_row_group_takes(tmp_path: Path) -> None:
    pictures = pa.array([bytes([i]) * 10_000 for i in range(ROWS)])
    path = write(tmp_path / "a.parquet", table().append_column("picture", pictures), row_group_size=ROWS)
    out = rewritten(opened(path, piece_bytes=100_500), tmp_path / "out.parquet")
    assert layout(out)["row groups"] == [9, 9, 5]


def test_numbers_count_as_in_memory_where_a_dictionary_makes_them_small(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", table(rows=[cells()[0]] * ROWS), row_group_size=ROWS, use_dictionary=True)
    plain = ROWS * DIM * 4
    assert size_in_memory(path) < plain
    assert opened(path, piece_bytes=plain).notes == ["a.parquet, row group 0 is written as 2 row groups"]


def test_a_row_group_of_exactly_the_limit_is_not_split(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", table(), use_dictionary=False, row_group_size=ROWS)
    assert opened(path, piece_bytes=size_in_memory(path)).notes == []
    assert len(opened(path, piece_bytes=size_in_memory(path) - 1).notes) == 1


def test_a_row_larger_than_the_limit_is_a_piece_and_notes_stay_few(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "a.parquet", table(), row_group_size=5), piece_bytes=1)
    out = rewritten(source, tmp_path / "out.parquet")
    assert layout(out)["row groups"] == [1] * ROWS
    assert source.notes == [
        *(f"a.parquet, row group {i} is written as 5 row groups" for i in range(3)),
        "2 further row groups are written as several",
    ]


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
    assert [len(chunk) for chunk in source.chunks()] == [5, 5, 5, 5, 1, 2]
    out = rewritten(source, tmp_path / "out.parquet")
    monkeypatch.undo()
    assert layout(out) == layout(source.path)
    assert others(out).equals(others(source.path))
    np.testing.assert_array_equal(embeddings(opened(out)), -X)
