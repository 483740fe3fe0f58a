"""Parquet in many files: folders of parts, patterns, and summaries of footers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import dataset

from clear_cli.config import Input
from clear_cli.embeddings import open_source
from tests.conftest import Catalogue, Run, write_parquet
from tests.formats.parquet_tables import (
    IDS,
    ROWS,
    X,
    cells,
    damage,
    embeddings,
    error_of,
    folder_of,
    layout,
    opened,
    others,
    rewritten,
    rich_table,
    table,
    write,
)

# Folders


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
        "  fix: --embedding-column image=embeddings, or ::embeddings behind the path"
    )


def test_list_items_and_other_columns_may_differ_between_parts(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.parquet", rich_table(), use_compliant_nested_type=False)
    write(tmp_path / "in" / "b.parquet", table())
    full = pa.list_(pa.field("element", pa.float32(), nullable=False))
    write(tmp_path / "in" / "c.parquet", table().set_column(1, "emb", pa.array(cells(), full)))
    source = opened(tmp_path / "in")
    out = rewritten(source, tmp_path / "out")
    assert [layout(out / path.name) for path in source.files()] == [layout(path) for path in source.files()]


def hive(path: Path) -> Path:
    rows = rich_table().replace_schema_metadata({"huggingface": '{"info": 1}'})
    write(path / "country=de" / "part-0.parquet", rows[:7], row_group_size=4)
    write(path / "country=fr" / "lang=fr" / "part-0.parquet", rows[7:9])
    write(path / "country=fr" / "part-0.parquet", rows[9:])
    return path


HIVE_PARTS = ["country=de/part-0.parquet", "country=fr/lang=fr/part-0.parquet", "country=fr/part-0.parquet"]


def test_subfolders_are_read_and_written_with_their_paths(tmp_path: Path) -> None:
    source = opened(hive(tmp_path / "items"))
    assert source.describe()["files"] == HIVE_PARTS
    assert [chunk.start for chunk in source.chunks()] == [0, 4, 7, 9, 19]
    np.testing.assert_array_equal(embeddings(source), X)
    out = rewritten(source, tmp_path / "out" / "items")
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.parquet")) == HIVE_PARTS
    for name in HIVE_PARTS:
        assert layout(out / name) == layout(source.path / name)
    read = pq.read_table(out).sort_by("item_id")
    assert read["country"].to_pylist() == ["de"] * 7 + ["fr"] * 16
    np.testing.assert_array_equal(np.array(read["emb"].to_pylist()), -X)


def test_parts_are_in_the_order_of_their_paths_folder_by_folder(tmp_path: Path) -> None:
    names = ["a/10.parquet", "a/2.parquet", "a-b/1.parquet", "b.parquet"]  # as strings "a-b/" comes before "a/"
    for name in reversed(names):
        write(tmp_path / name, table())
    assert opened(tmp_path).describe()["files"] == names


def test_a_partition_key_is_no_id_column(tmp_path: Path) -> None:
    folder = hive(tmp_path / "items")
    assert error_of(lambda: opened(folder, id_column="country")).startswith(
        f'column "country" not found\n  in: {folder}/country=de/part-0.parquet\n  columns: emb, category'
    )


def test_other_files_of_a_folder_are_named_or_silently_left(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "items")
    for name in ("_SUCCESS", ".part-1.parquet.crc", "part-1.crc", ".x", "_x.parquet", "README.md"):
        (folder / name).touch()
    for name in ("_temporary/0/part.parquet", ".ipynb_checkpoints/part.parquet", "docs/a.txt"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    source = opened(folder)
    assert source.notes == ["not part files, and not carried over: README.md, docs/a.txt"]
    out = rewritten(source, tmp_path / "out")
    assert sorted(path.name for path in out.iterdir()) == ["part-1.parquet", "part-10.parquet", "part-2.pq"]


def test_a_folder_without_parts_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "_x.parquet").touch()
    assert error_of(lambda: opened(tmp_path)) == (
        f"no part files in this folder\n  in: {tmp_path}\n  expected: *.parquet, *.pq, *.parq"
    )


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refused)
    assert error_of(lambda: opened(tmp_path)) == f"cannot read the file: permission denied\n  in: {tmp_path}"


def test_a_delta_table_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "items")
    (folder / "_delta_log").mkdir()
    assert error_of(lambda: opened(folder)) == (
        "this folder is a Delta table, whose log decides which of its files count\n"
        f"  in: {folder}\n"
        "  fix: write its rows as plain Parquet, and read that"
    )


# Patterns


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("country=fr/*.parquet", ["part-0.parquet"]),
        ("**/*.parquet", HIVE_PARTS),
        ("country=*", HIVE_PARTS),
        ("country=f?/**/part-[0-9].parquet", HIVE_PARTS[1:]),
        ("country=*/part-*", [HIVE_PARTS[0], HIVE_PARTS[2]]),
    ],
)
def test_a_pattern_stands_for_the_files_that_it_matches(tmp_path: Path, pattern: str, names: list[str]) -> None:
    folder = hive(tmp_path / "items")
    for name in ("_temporary/part-0.parquet", "country=fr/_part-0.parquet", "country=fr/.part-0.parquet.crc"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    source = opened(folder / pattern)
    assert source.describe()["files"] == names
    assert source.notes == []
    out = rewritten(source, tmp_path / "out")
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == names
    np.testing.assert_array_equal(embeddings(opened(out)), -embeddings(source))


def test_the_output_of_a_pattern_is_called_like_the_folder_it_starts_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = hive(tmp_path / "items")
    for pattern in ("**/*.parquet", "country=*/part-?.parquet"):
        assert Input("image", folder / pattern).base_name == "items"
    assert Input("image", folder / "country=fr" / "*.parquet").base_name == "country=fr"
    monkeypatch.chdir(folder)
    assert Input("image", Path("*.parquet")).base_name == "items"
    assert opened(Path("country=de/*.parquet")).rows == 7
    assert Input("image", Path("*.parquet"), name="x").base_name == "x"


def test_wildcards_in_a_name_that_exists_are_just_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a[1].parquet", table())
    assert opened(path).files() == [path]
    assert Input("image", path).base_name == "a[1].parquet"
    assert open_source(path, modality="image").rows == ROWS


def test_a_pattern_without_matches_is_an_error(tmp_path: Path) -> None:
    pattern = tmp_path / "part-*.parquet"
    assert error_of(lambda: open_source(pattern, modality="image")) == (
        f"no file matches\n  in: {pattern}\n  fix: ** stands for any folders, as in 'items/**/*.parquet'"
    )


# Summaries of footers


def with_summaries(folder: Path) -> Path:
    """Add `_metadata` and `_common_metadata`, as Spark, Dask and pyarrow do."""
    names = sorted(path.relative_to(folder) for path in folder.rglob("*.parquet"))
    footers = [pq.read_metadata(folder / name) for name in names]
    for name, footer in zip(names, footers, strict=True):
        footer.set_file_path(name.as_posix())
    schema = pq.read_schema(folder / names[0])
    pq.write_metadata(schema, folder / "_metadata", metadata_collector=footers)
    pq.write_metadata(schema, folder / "_common_metadata")
    return folder


@pytest.mark.parametrize("piece_bytes", [1, 1 << 20])
def test_summaries_of_footers_are_those_of_the_new_files(tmp_path: Path, piece_bytes: int) -> None:
    source = opened(with_summaries(hive(tmp_path / "items")), piece_bytes=piece_bytes)
    assert not any("_metadata" in note for note in source.notes)
    assert source.describe()["summaries"] == ["_common_metadata", "_metadata"]
    out = rewritten(source, tmp_path / "out")
    read = dataset.parquet_dataset(out / "_metadata", partitioning="hive")
    assert [Path(path).relative_to(out).as_posix() for path in read.files] == HIVE_PARTS
    rows = read.to_table()
    np.testing.assert_array_equal(np.array(rows["emb"].to_pylist()), -X)
    assert rows["country"].to_pylist() == ["de"] * 7 + ["fr"] * 16
    assert pq.read_schema(out / "_common_metadata").equals(pq.read_schema(out / HIVE_PARTS[0]), check_metadata=True)
    new = [pq.read_metadata(out / name) for name in HIVE_PARTS]
    summary = pq.read_metadata(out / "_metadata")
    assert summary.num_rows == ROWS
    assert summary.num_row_groups == sum(footer.num_row_groups for footer in new)
    assert summary.metadata == new[0].metadata
    if piece_bytes > 1:  # else each row is a row group
        assert summary.num_row_groups == pq.read_metadata(source.path / "_metadata").num_row_groups
    assert pq.read_table(out).num_rows == ROWS
    assert len(pandas.read_parquet(out)) == ROWS


def test_summaries_without_a_stored_arrow_schema_keep_the_keys_of_spark(tmp_path: Path) -> None:
    rows = table()
    for name in ("a.parquet", "b.parquet"):
        with pq.ParquetWriter(tmp_path / name, rows.schema, store_schema=False) as writer:
            writer.write_table(rows)
            writer.add_key_value_metadata({"org.apache.spark.version": "3.5.0"})
    for name in ("_metadata", "_common_metadata"):
        (tmp_path / name).touch()
    out = rewritten(opened(tmp_path), tmp_path / "out")
    for name in ("_metadata", "_common_metadata"):
        assert pq.read_metadata(out / name).metadata == {b"org.apache.spark.version": b"3.5.0"}


def test_every_folder_has_its_own_summary(tmp_path: Path) -> None:
    folder = hive(tmp_path / "items")
    for name in ("_metadata", "country=fr/_metadata", "country=fr/_common_metadata"):
        (folder / name).touch()
    out = rewritten(opened(folder), tmp_path / "out")
    for place, rows in ((out, ROWS), (out / "country=fr", 16)):
        assert pq.read_metadata(place / "_metadata").num_rows == rows
        assert dataset.parquet_dataset(place / "_metadata").to_table().num_rows == rows
    assert pq.read_metadata(out / "country=fr" / "_common_metadata").num_rows == 0


def test_parts_of_different_schemas_cannot_be_summarised(tmp_path: Path) -> None:
    folder = tmp_path / "items"
    write(folder / "a.parquet", table())
    write(folder / "b.parquet", rich_table())
    for name in ("_metadata", "_common_metadata", "empty/_metadata"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    source = opened(folder)
    assert source.notes == ["_metadata is not carried over: the schemas of the parts differ"]
    out = rewritten(source, tmp_path / "out")
    assert sorted(path.name for path in out.iterdir()) == ["_common_metadata", "a.parquet", "b.parquet"]


# Bad parts


def test_a_part_that_is_empty_or_cut_short_is_an_error(tmp_path: Path) -> None:
    folder = hive(tmp_path / "items")
    part = folder / "country=fr" / "part-0.parquet"
    whole = part.read_bytes()
    for data, reason in ((b"", "Parquet file size is 0 bytes"), (whole[:1000], "Parquet magic bytes not found")):
        part.write_bytes(data)
        message = error_of(lambda: opened(folder))
        assert message.startswith(f"cannot be read as Parquet\n  in: {part}\n  reason: {reason}")


@pytest.mark.parametrize("first", [True, False])
def test_a_part_without_rows_is_carried_through_whatever_its_types(tmp_path: Path, first: bool) -> None:
    rows = rich_table()
    write(tmp_path / "in" / "b.parquet", rows)
    untyped = pa.table({"item_id": pa.nulls(0), "emb": pa.nulls(0)})
    empty = write(tmp_path / "in" / ("a.parquet" if first else "c.parquet"), untyped)
    source = opened(empty.parent)
    assert [chunk.start for chunk in source.chunks()] == [0, 10, 20]
    assert pa.chunked_array(source.ids()).to_pylist() == IDS
    out = rewritten(source, tmp_path / "out")
    assert layout(out / empty.name) == layout(empty)
    np.testing.assert_array_equal(embeddings(opened(out)), -X)


def test_a_corrupt_last_row_group_is_named_and_nothing_is_published(
    tmp_path: Path, call: Run, catalogue: Catalogue
) -> None:
    image = write_parquet(tmp_path / "image.parquet", catalogue.ids, catalogue.image, row_group_size=150)
    text = write_parquet(tmp_path / "text.parquet", catalogue.ids, catalogue.text)
    damage(image, "embedding.list.element", 2)
    code, out, err = call("run", "-m", f"image={image}", "-m", f"text={text}", "--out", tmp_path / "out")
    assert (code, out) == (3, "")
    assert f"cannot be read as Parquet\n  in: {image}, row group 2\n  reason: " in err
    assert not (tmp_path / "out").exists()


def test_a_null_id_is_named_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [None if i == 17 else one for i, one in enumerate(IDS)]
    source = opened(write(tmp_path / "a.parquet", table(ids=ids)))
    message = "1 item ids are null, the first at row {} of this part\n  in: " + f"{source.path}, row group 1"
    assert error_of(lambda: list(source.ids())) == message.format(7)
    monkeypatch.setattr("clear_cli.embeddings.parquet.ID_ROWS", 5)
    assert error_of(lambda: list(source.ids())) == message.format(2) + ", from its row 5"
