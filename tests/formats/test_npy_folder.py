"""Folders of NPY files: a vector per item, or shards with metadata beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clear_cli.embeddings import npy, npy_folder, open_source
from clear_cli.errors import DataError, UsageError

X = np.random.default_rng(0).standard_normal((11, 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of three rows of X."""
    monkeypatch.setattr(npy, "CHUNK_BYTES", 3 * 4 * 4)


def message(path: Path, **options: Any) -> str:
    with pytest.raises((DataError, UsageError)) as error:
        list(open_source(path, modality="image", **options).chunks())
    return str(error.value)


def rewritten(source: Any, target: Path) -> Path:
    with source.sink(target) as sink:
        for chunk in source.chunks():
            sink.write("image", chunk, chunk.embeddings * 2)
    return target


def item_folder(path: Path, rows: Any = X, shape: tuple[int, ...] = (-1,)) -> Path:
    path.mkdir()
    for i, row in enumerate(rows):
        np.save(path / f"{i}.npy", row.reshape(shape))
    return path


class TestItems:
    @pytest.mark.parametrize("shape", [(-1,), (1, -1)])
    @pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8"])
    def test_a_vector_per_item_is_read_and_written_file_by_file(self, tmp_path: Path, shape: Any, dtype: str) -> None:
        folder = item_folder(tmp_path / "visual", X.astype(dtype), shape)
        source = open_source(folder, modality="image")
        names = sorted(str(i) for i in range(len(X)))
        assert [one for ids in source.ids() for one in ids.to_pylist()] == names
        assert [len(chunk) for chunk in source.chunks()][:-1] == [len(next(source.chunks()))] * (
            len(list(source.chunks())) - 1
        )
        got = np.concatenate([chunk.embeddings for chunk in source.chunks()])
        np.testing.assert_array_equal(got, X.astype(dtype)[[int(name) for name in names]])
        out = rewritten(source, tmp_path / "out")
        assert sorted(path.name for path in out.iterdir()) == sorted(f"{name}.npy" for name in names)
        for i, row in enumerate(X.astype(dtype)):
            new = np.load(out / f"{i}.npy")
            assert new.shape == row.reshape(shape).shape
            assert new.dtype == row.dtype.newbyteorder("=")
            np.testing.assert_array_equal(new.ravel(), row * 2)

    def test_reading_can_begin_at_any_chunk(self, tmp_path: Path) -> None:
        source = open_source(item_folder(tmp_path / "visual"), modality="image")
        assert [chunk.start for chunk in source.chunks(6)] == [6, 9]

    def test_names_match_strings_and_integers(self, tmp_path: Path) -> None:
        assert open_source(item_folder(tmp_path / "visual"), modality="image").id_kind == "text"

    def test_other_files_are_noted(self, tmp_path: Path) -> None:
        folder = item_folder(tmp_path / "visual")
        (folder / "readme.txt").write_text("x")
        assert open_source(folder, modality="image").notes == ["not carried over: readme.txt"]

    @pytest.mark.parametrize("odd", [np.zeros(5, np.float32), np.zeros(4, np.float64), np.zeros((1, 4), np.float32)])
    def test_a_file_of_another_shape_or_type_is_named(self, tmp_path: Path, odd: Any) -> None:
        folder = item_folder(tmp_path / "visual")
        np.save(folder / "7.npy", odd)
        assert message(folder) == (
            f"files differ in shape or type\n  in: {folder}/7.npy\n  here: {odd.shape} of {odd.dtype}\n"
            "  first: (4,) of float32 (0.npy)"
        )

    def test_a_file_in_another_byte_order_is_read(self, tmp_path: Path) -> None:
        folder = item_folder(tmp_path / "visual")
        np.save(folder / "0.npy", X[0].astype(">f4"))
        np.save(folder / "10.npy", X[10].astype(">f4"))
        got = np.concatenate([chunk.embeddings for chunk in open_source(folder, modality="image").chunks()])
        np.testing.assert_array_equal(got[:3], X[[0, 1, 10]])

    def test_a_truncated_file_is_named(self, tmp_path: Path) -> None:
        folder = item_folder(tmp_path / "visual")
        (folder / "5.npy").write_bytes((folder / "5.npy").read_bytes()[:-3])
        assert message(folder).startswith(f"the file is not as long as its header says\n  in: {folder}/5.npy\n")

    def test_pickles_are_never_loaded(self, tmp_path: Path) -> None:
        folder = item_folder(tmp_path / "visual")
        np.save(folder / "0.npy", np.array([{}], dtype=object), allow_pickle=True)
        assert message(folder).startswith("embeddings of shape (1,) and type object are not supported")

    def test_options_that_do_not_apply(self, tmp_path: Path) -> None:
        folder = item_folder(tmp_path / "visual")
        assert message(folder, ids=folder) == (
            f"--ids is for NPY files; this container has its ids inside\n  in: {folder}\n"
            "  fix: name the files by their ids"
        )
        assert message(folder, id_column="x") == (
            f"--id-column does not apply to a folder of NPY files, which has no columns\n  in: {folder}"
        )

    def test_a_folder_of_both_kinds_is_refused(self, tmp_path: Path) -> None:
        folder = item_folder(tmp_path / "visual")
        pq.write_table(pa.table({"x": [1]}), folder / "a.parquet")
        assert message(folder) == (
            f"the folder holds both NPY and Parquet files\n  in: {folder}\n  npy: 0.npy\n  parquet: a.parquet"
        )


SIZES = (5, 0, 2, 4)


def shards(tmp_path: Path, *, metadata: bool = True, dtype: str = "<f2") -> Path:
    folder = tmp_path / "clip" / "img_emb"
    folder.mkdir(parents=True)
    (tmp_path / "clip" / "metadata").mkdir()
    start = 0
    for number, size in enumerate(SIZES):
        np.save(folder / f"img_emb_{number}.npy", X[start : start + size].astype(dtype))
        if metadata:
            keys = pa.array([f"key-{i}" for i in range(start, start + size)], pa.string())
            captions = pa.array(["a caption"] * size, pa.string())
            table = pa.table({"key": keys, "caption": captions})
            pq.write_table(table, tmp_path / "clip" / "metadata" / f"metadata_{number}.parquet")
        start += size
    if not metadata:
        (tmp_path / "clip" / "metadata").rmdir()
    return folder


class TestShards:
    @pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4"])
    def test_shards_keep_their_names_counts_and_type(self, tmp_path: Path, dtype: str) -> None:
        folder = shards(tmp_path, dtype=dtype)
        source = open_source(folder, modality="image", id_column="key")
        assert [one for ids in source.ids() for one in ids.to_pylist()] == [f"key-{i}" for i in range(11)]
        got = np.concatenate([chunk.embeddings for chunk in source.chunks()])
        np.testing.assert_array_equal(got, X.astype(dtype))
        out = rewritten(source, tmp_path / "out")
        assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in folder.iterdir())
        for path in folder.iterdir():
            old, new = np.load(path), np.load(out / path.name)
            assert (new.shape, new.dtype) == (old.shape, old.dtype.newbyteorder("="))
            np.testing.assert_array_equal(new, old * 2)

    def test_reading_can_begin_at_any_chunk(self, tmp_path: Path) -> None:
        source = open_source(shards(tmp_path), modality="image", id_column="key")
        starts = [chunk.start for chunk in source.chunks()]
        for start in starts:
            assert [chunk.start for chunk in source.chunks(start)] == [one for one in starts if one >= start]

    def test_without_metadata_row_i_is_item_i_over_all_shards(self, tmp_path: Path) -> None:
        source = open_source(shards(tmp_path, metadata=False), modality="image")
        assert (source.id_kind, source.rows) == ("row", 11)

    def test_ids_may_be_elsewhere(self, tmp_path: Path) -> None:
        folder = shards(tmp_path)
        (tmp_path / "clip" / "metadata").rename(tmp_path / "elsewhere")
        source = open_source(folder, modality="image", ids=tmp_path / "elsewhere", id_column="key")
        assert next(source.ids()).to_pylist() == [f"key-{i}" for i in range(5)]
        ids = tmp_path / "ids.txt"
        ids.write_text("".join(f"{i}\n" for i in range(11)))
        assert next(open_source(folder, modality="image", ids=ids).ids()).to_pylist() == [str(i) for i in range(11)]

    def test_metadata_must_fit_the_shards(self, tmp_path: Path) -> None:
        folder = shards(tmp_path)
        metadata = tmp_path / "clip" / "metadata"
        pq.write_table(pa.table({"key": ["x"]}), metadata / "metadata_2.parquet")
        assert message(folder, id_column="key") == (
            f"1 rows do not fit 2 rows of img_emb_2.npy\n  in: {metadata}/metadata_2.parquet"
        )
        (metadata / "metadata_2.parquet").unlink()
        assert message(folder, id_column="key") == (
            f"3 metadata files do not fit 4 shards\n  in: {metadata}\n  fix: a file for each shard, or --ids image=FILE"
        )

    def test_shards_must_agree(self, tmp_path: Path) -> None:
        folder = shards(tmp_path)
        np.save(folder / "img_emb_2.npy", np.zeros((2, 5), np.float16))
        assert message(folder) == (
            f"files differ in shape or type\n  in: {folder}/img_emb_2.npy\n  here: (2, 5) of float16\n"
            "  first: (5, 4) of float16 (img_emb_0.npy)"
        )

    def test_a_column_needs_columns(self, tmp_path: Path) -> None:
        folder = shards(tmp_path, metadata=False)
        assert message(folder, id_column="key") == (
            f"--id-column does not apply where there are no columns\n  in: {folder}"
        )

    def test_one_folder_cannot_be_two_modalities(self, tmp_path: Path) -> None:
        first, second = (open_source(shards(tmp_path / name), modality=name, id_column="key") for name in "ab")
        with pytest.raises(DataError, match="one folder of arrays cannot be several modalities: a, b"):
            first.sink(tmp_path / "out", [second])
        assert npy_folder.METADATA == "metadata"
