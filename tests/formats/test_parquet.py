"""Parquet: embeddings in any kind of column are read as a matrix, and written back by the sink."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clear_cli.embeddings import base
from clear_cli.embeddings.base import Sink
from clear_cli.errors import DataError
from tests.formats.parquet_tables import (
    DIM,
    IDS,
    KINDS,
    LAYOUTS,
    ROWS,
    X,
    cells,
    damage,
    embeddings,
    error_of,
    folder_of,
    opened,
    patched,
    rewritten,
    rich_table,
    table,
    write,
)

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
        assert chunk.holes is None
        np.testing.assert_array_equal(chunk.embeddings, X[rows])


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
    assert [chunk.holes is None or chunk.holes.tolist() for chunk in source.chunks()] == [True, [2 * DIM], True]


@pytest.mark.parametrize("kind", KINDS)
def test_lists_without_nulls_are_not_copied(tmp_path: Path, kind: str) -> None:
    for chunk in opened(write(tmp_path / "a.parquet", table(kind))).chunks():
        assert not chunk.embeddings.flags.owndata
        assert not chunk.embeddings.flags.writeable


@pytest.mark.parametrize("kind", [*KINDS, "wide"])
def test_chunks_are_small_and_end_where_row_groups_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(base, "CHUNK_BYTES", 3 * DIM * 4 + 5)
    path = write(tmp_path / "in" / "a.parquet", table(kind))
    write(tmp_path / "in" / "b.parquet", table(kind)[:4])
    source = opened(path.parent)
    starts = [0, 3, 6, 9, 10, 13, 16, 19, 20, 23, 26]
    assert [chunk.start for chunk in source.chunks()] == starts
    np.testing.assert_array_equal(embeddings(source), np.concatenate([X, X[:4]]))
    for i, start in enumerate(starts):
        rest = list(source.chunks(start))
        assert [chunk.start for chunk in rest] == starts[i:]
        np.testing.assert_array_equal(rest[0].embeddings, next(iter(source.chunks(start))).embeddings)


def test_what_lies_before_the_first_chunk_asked_for_is_not_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "items")
    source = opened(folder)
    damage(folder / "part-2.pq", "emb.list.element", 0)
    (folder / "part-1.parquet").unlink()
    [chunk] = source.chunks(22)
    np.testing.assert_array_equal(chunk.embeddings, X[22:])


@pytest.mark.parametrize("kind", ["list", "wide"])
def test_the_size_of_chunks_makes_no_difference_to_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    rows = cells()
    rows[4] = rows[9] = None
    rows[3] = [*rows[3][:-1], None]  # type: ignore[index]
    rows[8] = [None, *rows[8][1:]]  # type: ignore[index]
    path = write(tmp_path / "a.parquet", rich_table(kind, rows=rows), row_group_size=ROWS)
    reference = rewritten(opened(path), tmp_path / "whole.parquet")
    monkeypatch.setattr(base, "CHUNK_BYTES", 3 * DIM * 4)
    out = rewritten(opened(path), tmp_path / "parts.parquet")
    assert pq.read_table(out).equals(pq.read_table(reference))
    # Dictionaries did not end at chunks: each column takes the bytes that it took.
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
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((2, 3, 3), np.float32))
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
        f"  fix: --embedding-column image={nearest}, or ::{nearest} behind the path"
    )


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1], [2]]),
        pa.array([1.0, 2.0]),
        pa.array([[[1.0]], [[2.0]]]),
        pa.array(["a", "b"]),
        pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((2, 3, 3), np.float32)),
        pa.array([{"type": 1, "values": [1.0]}, None]),
    ],
    ids=lambda column: str(column.type),
)
def test_a_column_of_another_type_is_an_error_that_says_what_is_supported(tmp_path: Path, column: pa.Array) -> None:
    path = write(tmp_path / "a.parquet", pa.table({"id": ["a", "b"], "emb": column}))
    stored = pq.read_schema(path).field("emb").type
    assert error_of(lambda: opened(path, embedding_column="emb")) == (
        f'column "emb" of type {stored} cannot hold embeddings\n'
        f"  in: {path}\n"
        "  supported: list, large_list or fixed_size_list of float16, float32 or float64, views of these; "
        "a one-dimensional tensor; a vector of Spark ML; float columns as in emb_*"
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
        f"more than one possible item id column\n  in: {path}\n  candidates: name, shelf\n  fix: --id-column image=NAME"
    )
    rows = rows.rename_columns(["sku", "emb", "product_id"])
    assert error_of(lambda: opened(write(path, rows))).endswith("sku, product_id\n  fix: --id-column image=product_id")
    assert error_of(lambda: opened(path, id_column="em")).endswith("sku, emb, product_id\n  fix: --id-column image=sku")


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
        f'column "wait" not found\n  in: {path}\n  columns: weight, emb'
    )
    assert error_of(lambda: opened(path, id_column="weight")).startswith("item ids of type double are not supported")


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


def test_rows_are_counted_over_all_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "CHUNK_BYTES", 3 * DIM * 4)
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


def test_damage_in_another_column_is_found_when_it_is_written(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rich_table())
    source = opened(path)
    damage(path, "image", 1)
    np.testing.assert_array_equal(embeddings(source), X)
    assert f"in: {path}, row group 1" in error_of(lambda: rewritten(source, tmp_path / "out.parquet"))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_strings_that_are_not_utf8_are_no_ids(tmp_path: Path, kind: pa.DataType) -> None:
    offsets, data = pa.array(
        [b"item", b"\xed\xa0\x80"], type=pa.large_binary() if "large" in str(kind) else pa.binary()
    ).buffers()[1:]
    ids = pa.Array.from_buffers(kind, 2, [None, offsets, data])
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"item_id": ids, "embedding": [[1.0, 2.0], [3.0, 4.0]]}), path)
    assert error_of(lambda: list(opened(path).ids())).startswith(f"an item id is not valid UTF-8\n  in: {path}")


def test_damage_of_ids_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", table())
    source = opened(path)
    damage(path, "item_id", 1)
    assert f"in: {path}, row group 1" in error_of(lambda: list(source.ids()))


def test_a_footer_that_would_end_the_process_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(table(), path)
    # Values may be null no more, and the histogram of definition levels is too long.
    patched(path, (b"\x25\x02\x18\x07element", b"\x25\x00\x18\x07element"))
    reason = "Definition level histogram size mismatch, size: 4, expected: 3"
    assert error_of(lambda: opened(path)).startswith(f"cannot be read as Parquet\n  in: {path}\n  reason: {reason}\n")


def test_a_name_in_the_footer_that_is_not_utf8_is_found_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(table(), path)
    source = opened(patched(path, (b"\x19\x18\x07item_id", b"\x19\x18\x07item\xffid")))
    error = error_of(lambda: rewritten(source, tmp_path / "out.parquet"))
    assert error.startswith(f"cannot be read as Parquet\n  in: {path}\n  reason: 'utf-8' codec can't decode byte 0xff")


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
    first = f"  in: {source.path}, row group 0\n  reason: 9 rows, and the footer says 10"
    for action in (lambda: list(source.chunks()), lambda: list(source.ids())):
        assert first in error_of(action)


def test_fewer_rows_of_another_column_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = opened(write(tmp_path / "a.parquet", table()))
    chunks = list(source.chunks())
    whole = pq.ParquetFile.iter_batches
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *a, **k: (batch[:-1] for batch in whole(*a, **k)))
    with pytest.raises(DataError, match="9 rows, and the footer says 10"), source.sink(tmp_path / "out") as sink:
        sink.write("image", chunks[0], chunks[0].embeddings)


# The sink


def test_embeddings_of_another_shape_type_or_place_are_refused(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "a.parquet", table()))
    first, second, _ = source.chunks()
    with pytest.raises(ValueError, match="expected first row"), source.sink(tmp_path / "out.parquet") as sink:
        sink.write("image", first, first.embeddings[:, 1:])
    with pytest.raises(ValueError, match="expected first row"), source.sink(tmp_path / "out.parquet") as sink:
        sink.write("image", first, first.embeddings.astype(np.float64))
    with pytest.raises(ValueError, match="expected first row"), source.sink(tmp_path / "out.parquet") as sink:
        sink.write("image", second, second.embeddings)
    with pytest.raises(ValueError, match="only 10 of image of 23 rows"), source.sink(tmp_path / "out.parquet") as sink:
        sink.write("image", first, first.embeddings)


def test_an_error_leaves_no_file_that_looks_whole_and_is_not_masked(tmp_path: Path) -> None:
    source = opened(folder_of(tmp_path / "items"))
    chunks = list(source.chunks())

    def fail(sink: Sink) -> None:
        for chunk in chunks[:4]:
            sink.write("image", chunk, chunk.embeddings)
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
        "summaries": [],
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
