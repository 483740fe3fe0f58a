"""Parquet: wrappings of lists beyond the plain ones, and several modalities in one container."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clear_cli.embeddings import base
from clear_cli.embeddings.parquet import ParquetSource
from tests.conftest import Catalogue, Run
from tests.formats.parquet_tables import (
    DIM,
    FLOATS,
    IDS,
    ROWS,
    Cells,
    X,
    cells,
    embeddings,
    error_of,
    folder_of,
    layout,
    opened,
    others,
    rewritten,
    rich_table,
    size_in_memory,
    table,
    write,
)

SPARK_KEY = "org.apache.spark.sql.parquet.row.metadata"


def vector_type(values: pa.DataType) -> pa.DataType:
    """What Spark's VectorUDT is in Arrow."""
    return pa.struct(
        [
            pa.field("type", pa.int8(), nullable=False),
            pa.field("size", pa.int32()),
            pa.field("indices", pa.list_(pa.field("element", pa.int32(), nullable=False))),
            pa.field("values", pa.list_(pa.field("element", values, nullable=False))),
        ]
    )


def wrapped(kind: str, values: pa.DataType, rows: Cells) -> pa.Array:
    if kind == "vector":
        dense = [None if row is None else {"type": 1, "values": row} for row in rows]
        return pa.array(dense, vector_type(values))
    if kind == "tensor":
        tensor = pa.fixed_shape_tensor(values, [DIM])
        return pa.ExtensionArray.from_storage(tensor, pa.array(rows, tensor.storage_type))
    return pa.array(rows, pa.list_view(values) if kind == "list_view" else pa.large_list_view(values))


WRAPPINGS = [
    (kind, name)
    for kind in ("tensor", "vector", "list_view", "large_list_view")
    for name in ("float16", "float32", "float64")
]


@pytest.mark.parametrize(("kind", "floats"), WRAPPINGS)
@pytest.mark.parametrize("nulls", [False, True])
def test_lists_in_a_wrapping_are_read_and_written_like_plain_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, floats: str, nulls: bool
) -> None:
    monkeypatch.setattr(base, "CHUNK_BYTES", 3 * DIM * np.dtype(floats).itemsize)
    rows = cells()
    if nulls:
        rows[0] = rows[7] = rows[8] = rows[22] = None
        if kind != "vector":
            rows[12] = [None, *rows[12][1:]]  # type: ignore[index]
    whole = rich_table().set_column(0, "emb", wrapped(kind, FLOATS[floats], rows))
    path = write(tmp_path / "a.parquet", whole)
    source = opened(path, piece_bytes=size_in_memory(path) // 2)
    assert (source.dim, source.dtype) == (DIM, np.dtype(floats))
    expected = X.copy()
    expected[[i for i, row in enumerate(rows) if row is None]] = 0
    expected[12, 0] = X[12, 0] if rows[12][0] is not None else np.nan  # type: ignore[index]
    np.testing.assert_array_equal(embeddings(source), expected)
    out = rewritten(source, tmp_path / "out.parquet")
    assert pq.read_schema(out).equals(pq.read_schema(path), check_metadata=True)
    assert len(layout(out)["row groups"]) > 3
    assert others(out).to_pylist() == others(path).to_pylist()
    before, after = (pq.read_table(one)["emb"].to_pylist() for one in (path, out))
    assert [i for i, row in enumerate(after) if row is None] == [i for i, row in enumerate(before) if row is None]
    np.testing.assert_array_equal(embeddings(opened(out)), -expected)


def test_a_file_of_spark_ml_comes_out_as_spark_wrote_it(tmp_path: Path) -> None:
    rows = pa.table({"item_id": IDS, "emb": wrapped("vector", pa.float64(), [None, *cells()[1:]])})
    path = tmp_path / "part-00000.snappy.parquet"
    with pq.ParquetWriter(path, rows.schema, store_schema=False) as writer:
        writer.write_table(rows)
        writer.add_key_value_metadata({SPARK_KEY: '{"type":"struct","fields":[{"name":"emb","type":{"type":"udt"}}]}'})
    source = opened(path)
    assert source.describe()["embedding_column"] == "emb"
    out = rewritten(source, tmp_path / "out.parquet")
    assert layout(out) == layout(path)
    read = pq.read_table(out)["emb"].to_pylist()
    assert read[0] is None
    assert read[1] == {"type": 1, "size": None, "indices": None, "values": (-X[1]).tolist()}


@pytest.mark.parametrize("row", [0, 14])
def test_a_sparse_vector_is_an_error_that_names_the_row(tmp_path: Path, row: int) -> None:
    vectors = wrapped("vector", pa.float64(), cells()).to_pylist()
    vectors[row] = {"type": 0, "size": DIM, "indices": [3], "values": [1.0]}
    rows = pa.table({"item_id": IDS, "emb": pa.array(vectors, vector_type(pa.float64()))})
    path = write(tmp_path / "a.parquet", rows)
    assert error_of(lambda: embeddings(opened(path))) == (
        f'row {row} of column "emb" is a sparse vector\n'
        f"  in: {path}, row group {row // 10}\n"
        "  fix: make them dense, in Spark with pyspark.ml.functions.vector_to_array"
    )


# Several modalities in one container


def shared_table() -> pa.Table:
    rows = cells(2 * X[:, :5])
    rows[3] = rows[20] = None
    text = pa.array(rows, pa.list_(pa.float64(), 5))
    return rich_table("wide").append_column("text_emb", text)


def both(path: Path, **options: Any) -> tuple[ParquetSource, ParquetSource]:
    image = ParquetSource(path, modality="image", embedding_column="emb_*", **options)
    return image, ParquetSource(path, modality="text", embedding_column="text_emb", **options)


def rewritten_together(sources: Sequence[ParquetSource], target: Path, image_first: bool | None = None) -> Path:
    """In turn, or one after the other."""
    steps = [(source.modality, chunk) for source in sources for chunk in source.chunks()]
    order = {None: lambda step: step[1].start, True: lambda step: step[0], False: lambda step: step[0] != "text"}
    with sources[0].sink(target, sources[1:]) as sink:
        for modality, chunk in sorted(steps, key=order[image_first]):
            sink.write(modality, chunk, -chunk.embeddings)
    return target


@pytest.mark.parametrize("image_first", [None, True, False])
@pytest.mark.parametrize("piece_rows", [3, 100])
@pytest.mark.parametrize("chunk_bytes", [3 * DIM * 4, 1 << 20])
def test_modalities_of_one_file_are_written_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_first: bool | None, piece_rows: int, chunk_bytes: int
) -> None:
    monkeypatch.setattr(base, "CHUNK_BYTES", chunk_bytes)
    path = write(tmp_path / "a.parquet", shared_table())
    sources = both(path, piece_bytes=size_in_memory(path) * piece_rows // 10)
    assert sources[0].notes == sources[1].notes
    out = rewritten_together(sources, tmp_path / "out.parquet", image_first)
    for before, after in zip(sources, both(out), strict=True):
        np.testing.assert_array_equal(embeddings(after), -embeddings(before))
    assert pq.read_table(out)["text_emb"].is_null().to_pylist() == [i in (3, 20) for i in range(ROWS)]
    kept = [name for name in pq.read_schema(path).names if "emb" not in name]
    assert pq.read_table(out, columns=kept).to_pylist() == pq.read_table(path, columns=kept).to_pylist()
    if piece_rows == 100:
        assert layout(out)["row groups"] == [10, 10, 3]
        assert layout(out)["arrow schema"] == layout(path)["arrow schema"]


def test_modalities_of_one_folder_are_written_together(tmp_path: Path) -> None:
    sources = both(folder_of(tmp_path / "items", shared_table()))
    out = rewritten_together(sources, tmp_path / "out")
    assert sorted(path.name for path in out.iterdir()) == ["part-1.parquet", "part-10.parquet", "part-2.pq"]
    for before, after in zip(sources, both(out), strict=True):
        np.testing.assert_array_equal(embeddings(after), -embeddings(before))


def test_two_modalities_cannot_have_one_column(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", table())
    image, text = (ParquetSource(path, modality=name) for name in ("image", "text"))
    assert error_of(lambda: image.sink(tmp_path / "out.parquet", [text])) == (
        f'"image" and "text" are both read from column "emb"\n  in: {path}\n  fix: -m text={path}::COLUMN'
    )


def test_a_modality_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    image, text = both(write(tmp_path / "a.parquet", shared_table()))

    def half() -> None:
        with image.sink(tmp_path / "out.parquet", [text]) as sink:
            for chunk in image.chunks():
                sink.write("image", chunk, chunk.embeddings)

    with pytest.raises(ValueError, match="only 23 of image, 0 of text of 23 rows were written"):
        half()


def test_one_command_cleans_both_columns_of_a_file(tmp_path: Path, call: Run, catalogue: Catalogue) -> None:
    columns = {f"{name}_emb": pa.array(list(getattr(catalogue, name))) for name in ("image", "text")}
    rows = pa.table({"item_id": catalogue.ids, **columns, "price": pa.array(range(len(catalogue.ids)))})
    items = write(tmp_path / "items.parquet", rows, row_group_size=150, use_dictionary=["item_id"])
    modalities = [f"-m{name}={items}::{name}_emb" for name in ("image", "text")]
    code, _, err = call("run", *modalities, "--out", tmp_path / "out", "--rank", 4)
    assert code == 0, err
    [out] = (tmp_path / "out" / "embeddings").iterdir()
    assert out.name == "items.parquet"
    assert layout(out) == layout(items)
    assert pq.read_table(out)["price"].equals(rows["price"])
    clean = {name: np.array(pq.read_table(out)[f"{name}_emb"].to_pylist()) for name in ("image", "text")}
    before, after = (
        np.linalg.norm((image - image.mean(0)).T @ (text - text.mean(0)))
        for image, text in ((catalogue.image, catalogue.text), (clean["image"], clean["text"]))
    )
    assert after < 0.05 * before
