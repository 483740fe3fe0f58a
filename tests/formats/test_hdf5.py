"""HDF5: embeddings and ids anywhere in a file, and an output that differs in the embedding values alone."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest

from clear_cli.embeddings import hdf5, hdf5_layouts
from clear_cli.embeddings.base import Chunk
from clear_cli.embeddings.hdf5 import Hdf5Source
from clear_cli.errors import DataError

ROWS, DIM = 50, 8
X = np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32)
IDS = [f"item-{i}" for i in range(ROWS)]

LAYOUTS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunked": {"chunks": (7, DIM)},
    "gzip, shuffle, fletcher32": {"chunks": (7, DIM), "compression": "gzip", "shuffle": True, "fletcher32": True},
    "lzf": {"chunks": (16, DIM), "compression": "lzf"},
    "chunks of a few columns": {"chunks": (7, 3)},
    "compressed chunks of a few columns": {"chunks": (7, 3), "compression": "gzip"},
    "extendible": {"chunks": (7, DIM), "maxshape": (None, DIM)},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "items.h5"


def make(path: Path, x: Any = X, ids: Any = IDS, **layout: Any) -> Path:
    """A file with `embeddings` and `item_id`."""
    with h5py.File(path, "w") as file:
        file.create_dataset("embeddings", data=x, **layout)
        file.create_dataset("item_id", data=ids)
    return path


def opened(path: Path, **names: Any) -> Hdf5Source:
    return Hdf5Source(path, modality="image", **names)


def rewritten(source: Hdf5Source, target: Path, factor: float = 2.0) -> Path:
    """The source written again with embeddings that are `factor` times as large."""
    with source.sink(target) as sink:
        for chunk in source.chunks():
            sink.write(source.modality, chunk, (chunk.embeddings * factor).astype(source.dtype))
    return target


def message(path: Path, **names: Any) -> str:
    with pytest.raises(DataError) as error:
        opened(path, **names)
    return str(error.value)


class TestReading:
    def test_rows_and_ids_come_in_file_order(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hdf5_layouts, "CHUNK_BYTES", 20 * DIM * 4)
        source = opened(make(path))
        chunks = list(source.chunks())
        assert [(chunk.start, len(chunk)) for chunk in chunks] == [(0, 20), (20, 20), (40, 10)]
        np.testing.assert_array_equal(np.concatenate([chunk.embeddings for chunk in chunks]), X)
        assert [chunk.start for chunk in source.chunks(20)] == [20, 40]
        assert all(chunk.null is None for chunk in chunks)
        assert chunks[1].where == f'{path}, dataset "embeddings", rows 20 to 39'
        assert (source.rows, source.dim, source.dtype, source.id_kind) == (ROWS, DIM, np.float32, "string")
        assert source.files() == [path]
        assert source.notes == []

    @pytest.mark.parametrize("order", "<>")
    @pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
    def test_every_float_type_comes_in_native_order_and_contiguous(self, path: Path, order: str, kind: str) -> None:
        source = opened(make(path, X.astype(order + kind)))
        (chunk,) = source.chunks()
        assert source.dtype == chunk.embeddings.dtype == np.dtype(kind)
        assert chunk.embeddings.dtype.isnative
        assert chunk.embeddings.flags.c_contiguous
        np.testing.assert_array_equal(chunk.embeddings, X.astype(kind))

    @pytest.mark.parametrize(
        ("ids", "expected"),
        [
            (np.array([b"a", b"bb", b"ccc"]), ["a", "bb", "ccc"]),
            (np.array([b"a", "é".encode(), b"a\0b"]), ["a", "é", "a\0b"]),
            (np.array(["a", "日本", ""], dtype=h5py.string_dtype()), ["a", "日本", ""]),
            (np.array(["a", "b", "c"], dtype=h5py.string_dtype("ascii")), ["a", "b", "c"]),
        ],
        ids=["fixed", "fixed, beyond ASCII", "utf-8", "ascii"],
    )
    def test_string_ids(self, path: Path, ids: Any, expected: list[str]) -> None:
        source = opened(make(path, X[:3], ids))
        assert source.id_kind == "string"
        (found,) = source.ids()
        assert found.type == pa.string()
        assert found.to_pylist() == expected

    @pytest.mark.parametrize("kind", ["i1", "<i2", ">i4", "i8", "u1", ">u2", "u4", "<u8", ">u8"])
    def test_integer_ids(self, path: Path, kind: str) -> None:
        largest = int(np.iinfo(kind).max)
        source = opened(make(path, X[:3], np.array([0, largest, 7], kind)))
        assert source.id_kind == "integer"
        (found,) = source.ids()
        assert found.type == (pa.uint64() if "u" in kind else pa.int64())
        assert found.to_pylist() == [0, largest, 7]

    def test_ids_are_read_in_blocks(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hdf5, "BLOCK_ROWS", 20)
        blocks = list(opened(make(path)).ids())
        assert [len(block) for block in blocks] == [20, 20, 10]
        assert pa.concat_arrays(blocks).to_pylist() == IDS

    def test_an_id_that_is_not_utf8_is_an_error(self, path: Path) -> None:
        source = opened(make(path, X[:2], np.array([b"a", b"\xff"])))
        with pytest.raises(DataError, match="not valid UTF-8") as error:
            list(source.ids())
        assert error.value.where == f'{path}, dataset "item_id", rows 0 to 1'

    def test_a_file_without_rows_has_no_chunks(self, path: Path, tmp_path: Path) -> None:
        source = opened(make(path, X[:0], np.array([], "S1")))
        assert (source.rows, list(source.chunks()), list(source.ids())) == (0, [], [])
        assert rewritten(source, tmp_path / "out.h5").read_bytes() == path.read_bytes()

    def test_the_file_is_open_only_while_it_is_read(self, path: Path) -> None:
        chunks = opened(make(path, chunks=(7, DIM))).chunks()
        next(chunks)
        with pytest.raises(OSError, match="already open"):
            h5py.File(path, "r+")
        chunks.close()  # type: ignore[attr-defined]
        h5py.File(path, "r+").close()

    def test_the_description_is_plain_and_names_no_folder(self, path: Path) -> None:
        source = opened(make(path, X.astype(">f4"), chunks=(7, DIM), compression="gzip", shuffle=True))
        description = json.loads(json.dumps(source.describe()))
        assert description == {
            "container": "hdf5",
            "rows": ROWS,
            "dim": DIM,
            "dtype": "float32",
            "byte_order": "big",
            "embedding_dataset": "embeddings",
            "id_dataset": "item_id",
            "chunks": [7, DIM],
            "filters": ["shuffle", "gzip"],
        }
        contiguous = opened(make(path)).describe()
        assert (contiguous["byte_order"], contiguous["chunks"], contiguous["filters"]) == ("little", None, [])


class TestBlocks:
    """How many rows are read at once depends on the dataset's layout, and on nothing else."""

    @pytest.mark.parametrize(
        ("chunk_rows", "expected"), [(None, 20), (1, 20), (7, 14), (20, 20), (25, 25), (40, 40), (45, 40)]
    )
    def test_blocks_are_whole_chunks_up_to_a_limit(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, chunk_rows: int | None, expected: int
    ) -> None:
        monkeypatch.setattr(hdf5_layouts, "CHUNK_BYTES", 20 * DIM * 4)
        monkeypatch.setattr(hdf5_layouts, "PIECE_BYTES", 40 * DIM * 4)
        source = opened(make(path, chunks=chunk_rows and (chunk_rows, DIM)))
        assert len(next(source.chunks())) == expected
        assert bool(source.notes) == (expected < (chunk_rows or 1))

    def test_wide_rows_come_one_by_one(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hdf5_layouts, "CHUNK_BYTES", 4)
        monkeypatch.setattr(hdf5_layouts, "PIECE_BYTES", 4)
        for layout in (None, (2, DIM)):
            assert {len(chunk) for chunk in opened(make(path, chunks=layout)).chunks()} == {1}

    def test_narrow_rows_are_limited_in_number(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hdf5_layouts, "BLOCK_ROWS", 30)
        assert [len(chunk) for chunk in opened(make(path)).chunks()] == [30, 20]

    def test_chunks_that_are_read_in_pieces_are_noted_and_written_all_the_same(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hdf5_layouts, "CHUNK_BYTES", 10 * DIM * 4)
        monkeypatch.setattr(hdf5_layouts, "PIECE_BYTES", 20 * DIM * 4)
        source = opened(make(path, chunks=(45, DIM), compression="gzip"))
        (note,) = source.notes
        assert note.startswith("HDF5 chunks of 45 rows take more than ")
        assert note.endswith(" side by side: they are read and written 20 rows at a time")
        with h5py.File(rewritten(source, tmp_path / "out.h5")) as file:
            np.testing.assert_array_equal(file["embeddings"], X * 2)

    def test_a_chunk_that_is_larger_than_the_dataset_is_no_reason_for_a_note(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hdf5_layouts, "CHUNK_BYTES", 10 * DIM * 4)
        monkeypatch.setattr(hdf5_layouts, "PIECE_BYTES", 60 * DIM * 4)
        source = opened(make(path, chunks=(100, DIM), maxshape=(None, DIM)))
        assert [len(chunk) for chunk in source.chunks()] == [ROWS]
        assert source.notes == []


class TestChoosing:
    """Which datasets are meant."""

    def test_datasets_are_found_in_any_group(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["vectors/image/x"] = X
            file["meta/asin"] = IDS
            file["meta/weights"] = np.ones((ROWS,), np.float32)
            file["meta/counts"] = np.ones((ROWS, 3), np.int64)
            file["meta/column"] = np.ones((ROWS, 1), np.float32)
        layout = opened(path).describe()
        assert (layout["embedding_dataset"], layout["id_dataset"]) == ("vectors/image/x", "meta/asin")

    @pytest.mark.parametrize("name", ["image/emb", "/image/emb", "/image//emb/"])
    def test_a_name_may_have_a_leading_slash(self, path: Path, name: str) -> None:
        with h5py.File(path, "w") as file:
            file["image/emb"], file["text/emb"], file["item_id"] = X, X + 1, IDS
        source = opened(path, embedding_column=name, id_column="/item_id")
        np.testing.assert_array_equal(next(source.chunks()).embeddings, X)
        assert source.describe()["embedding_dataset"] == "image/emb"

    def test_soft_and_hard_links_inside_the_file_are_followed(self, path: Path, tmp_path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["data/x"], file["data/item_id"] = X, IDS
            file["latest"] = h5py.SoftLink("/data")
            file["data/relative"], file["views/absolute"] = h5py.SoftLink("x"), h5py.SoftLink("/data/x")
            file["hard"] = file["data/x"]
        for name in ("latest/x", "latest/relative", "views/absolute", "hard"):
            source = opened(path, embedding_column=name)
            assert source.notes == [], "the same dataset under another name is no other matrix"
            with h5py.File(rewritten(source, tmp_path / "out.h5")) as file:
                np.testing.assert_array_equal(file["data/x"], X * 2)
                assert file.get("latest", getlink=True).path == "/data"

    def test_links_that_lead_nowhere_are_not_found(self, path: Path) -> None:
        with h5py.File(make(path), "r+") as file:
            file["circle"], file["dangling"] = h5py.SoftLink("/circle"), h5py.SoftLink("/nowhere")
        for name in ("circle", "dangling", "embeddings/x", "", "/"):
            assert message(path, embedding_column=name).startswith(f'dataset "{name}" not found')

    def test_a_wrong_name_is_answered_with_the_right_ones(self, path: Path) -> None:
        make(path)
        assert message(path, embedding_column="embeding") == (
            f'dataset "embeding" not found\n  in: {path}\n  datasets: embeddings, item_id\n'
            "  fix: --embedding-column image=embeddings"
        )
        assert message(path, id_column="item_ids") == (
            f'dataset "item_ids" not found\n  in: {path}\n  datasets: embeddings, item_id\n'
            "  fix: --id-column image=item_id"
        )

    def test_two_matrices_are_not_guessed_between(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["image/emb"], file["text/emb"], file["item_id"] = X, X, IDS
        assert message(path) == (
            f"more than one possible embedding dataset\n  in: {path}\n  candidates: image/emb, text/emb\n"
            "  fix: --embedding-column image=image/emb"
        )

    def test_a_file_without_a_matrix_says_what_it_has(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["a/1"], file["item_id"] = X[0], IDS
        assert message(path) == (
            f"no embedding dataset found\n  in: {path}\n  present: item_id, a/1\n"
            "  fix: name it: --embedding-column image=NAME"
        )

    def test_a_file_without_ids_asks_for_them(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["embeddings"], file["item_id"] = X, IDS[:-1]
        assert message(path) == (
            f"no item id column found\n  in: {path}\n  present: embeddings, item_id\n"
            "  fix: name it: --id-column image=NAME"
        )

    def test_ids_beside_the_embeddings_win_even_over_a_usual_name(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            for modality in ("image", "text"):
                file[f"{modality}/emb"], file[f"{modality}/names"] = X, IDS
            file["text/item_id"] = IDS
            file["item_id"] = IDS
        assert opened(path, embedding_column="image/emb").describe()["id_dataset"] == "image/names"

    def test_among_several_ids_beside_the_embeddings_a_usual_name_wins(self, path: Path) -> None:
        with h5py.File(make(path), "r+") as file:
            file["category"] = np.zeros(ROWS, np.int64)
        assert opened(path).describe()["id_dataset"] == "item_id"

    def test_ids_without_a_usual_name_are_not_guessed_between(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["embeddings"], file["category"], file["name"] = X, np.zeros(ROWS, np.int64), IDS
        assert "  candidates: category, name\n  fix: --id-column image=category" in message(path)

    def test_a_pandas_frame_is_read_by_its_block_and_index(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["frame/axis0"], file["frame/block0_items"] = [np.array([b"c%d" % i for i in range(DIM)])] * 2
            file["frame/axis1"], file["frame/block0_values"] = np.array(IDS, "S"), X
        layout = opened(path).describe()
        assert (layout["embedding_dataset"], layout["id_dataset"]) == ("frame/block0_values", "frame/axis1")

    def test_other_matrices_are_noted_for_they_keep_what_is_removed(self, path: Path) -> None:
        with h5py.File(make(path), "r+") as file:
            for i in range(7):
                file[f"other/{i}"] = X
        assert opened(path, embedding_column="embeddings").notes == [
            "other matrices in the file are carried over as they are, unless they are modalities too: "
            "other/0, other/1, other/2, other/3, other/4 and 2 more"
        ]

    def test_datasets_that_numpy_cannot_hold_are_passed_over(self, path: Path) -> None:
        with h5py.File(make(path), "r+") as file:
            h5py.h5d.create(file.id, b"time", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((ROWS,)))
            file["empty"], file["scalar"], file["type"] = h5py.Empty("f4"), 1.0, np.dtype("f8")
        assert opened(path).describe()["id_dataset"] == "item_id"
        assert 'dataset "time" cannot hold item ids: shape (50,), type object' in message(path, id_column="time")
        assert 'dataset "empty" cannot hold embeddings: shape None' in message(path, embedding_column="empty")
        assert 'dataset "type" not found' in message(path, embedding_column="type")


class TestRefusals:
    @pytest.mark.parametrize(
        ("x", "form"),
        [
            (X[0], "shape (8,), type float32"),
            (X[None], "shape (1, 50, 8), type float32"),
            (X[:, :0], "shape (50, 0), type float32"),
            (X.astype(np.int16), "shape (50, 8), type int16"),
            (X.astype(np.complex64), "shape (50, 8), type complex64"),
            (X.astype(np.longdouble), f"shape (50, 8), type {np.dtype(np.longdouble)}"),
            (np.array([[b"a"]]), "shape (1, 1), type string"),
        ],
    )
    def test_what_is_no_matrix_of_floats(self, path: Path, x: Any, form: str) -> None:
        assert message(make(path, x), embedding_column="embeddings") == (
            f'dataset "embeddings" cannot hold embeddings: {form}\n  in: {path}\n'
            "  supported: two dimensions (items, dimensions) of float16, float32 or float64"
        )

    def test_floats_that_would_change_their_type(self, path: Path) -> None:
        """h5py shows bfloat16 as float32, and would round what is assigned."""
        bfloat16 = h5py.h5t.IEEE_F32LE.copy()
        bfloat16.set_fields(15, 7, 8, 0, 7)
        bfloat16.set_size(2)
        bfloat16.set_ebias(127)
        with h5py.File(make(path), "r+") as file:
            h5py.h5d.create(file.id, b"brain", bfloat16, h5py.h5s.create_simple((ROWS, DIM)))
        assert opened(path).describe()["embedding_dataset"] == "embeddings"
        assert 'dataset "brain" cannot hold embeddings' in message(path, embedding_column="brain")

    def test_ids_that_are_floats(self, path: Path) -> None:
        assert message(make(path, ids=np.arange(ROWS, dtype=np.float64)), id_column="item_id") == (
            f'dataset "item_id" cannot hold item ids: shape (50,), type float64\n  in: {path}\n'
            "  supported: one dimension of strings, fixed or variable in length, or of integers"
        )

    @pytest.mark.parametrize("ids", [np.array(IDS, "S")[:, None], np.arange(ROWS - 1)])
    def test_ids_of_another_shape(self, path: Path, ids: Any) -> None:
        assert message(make(path, ids=ids), id_column="item_id") == (
            f'id dataset "item_id" has shape {ids.shape}, not (50,)\n  in: {path}\n'
            "  fix: one id for each row of embeddings, in one dimension"
        )

    def test_another_file_behind_an_external_link(self, path: Path, tmp_path: Path) -> None:
        make(tmp_path / "other.h5")
        with h5py.File(path, "w") as file:
            file["item_id"] = IDS
            file["x"] = h5py.ExternalLink("other.h5", "/embeddings")
            file["group"] = h5py.ExternalLink("other.h5", "/")
            file["alias"] = h5py.SoftLink("/x")
        for name in ("x", "group/embeddings", "alias"):
            assert message(path, embedding_column=name) == (
                f'"{name}" is in another file, behind an external link: other.h5\n  in: {path}\n'
                "  fix: give that file, or copy the dataset into this one"
            )
        assert message(path).startswith("no embedding dataset found")

    def test_a_virtual_dataset(self, path: Path, tmp_path: Path) -> None:
        make(tmp_path / "other.h5")
        layout = h5py.VirtualLayout((ROWS, DIM), np.float32)
        layout[:] = h5py.VirtualSource("other.h5", "embeddings", (ROWS, DIM))
        with h5py.File(path, "w") as file:
            file["item_id"] = IDS
            file.create_virtual_dataset("x", layout)
        assert message(path) == (
            f'dataset "x" is virtual: its values lie in other files\n  in: {path}\n'
            "  fix: write them into a dataset of this file"
        )

    @pytest.mark.parametrize("name", ["embeddings", "item_id"])
    def test_external_storage(self, path: Path, tmp_path: Path, name: str) -> None:
        data = {"embeddings": X, "item_id": np.arange(ROWS)}
        with h5py.File(path, "w") as file:
            for key, values in data.items():
                file.create_dataset(key, data=values, external=str(tmp_path / "values") if key == name else None)
        assert message(path).startswith(f'dataset "{name}" is external: its values lie in other files')


class TestDamage:
    def test_what_is_not_hdf5(self, path: Path) -> None:
        path.write_bytes(b"item_id,embedding\n")
        assert message(path) == f"not a readable HDF5 file: file signature not found\n  in: {path}"

    def test_no_file(self, path: Path) -> None:
        assert message(path) == f"not a readable HDF5 file: no such file or directory\n  in: {path}"

    def test_a_truncated_file(self, path: Path) -> None:
        make(path)
        path.write_bytes(path.read_bytes()[:-100])
        assert message(path).startswith("not a readable HDF5 file: truncated file: eof = ")

    def test_damaged_groups(self, path: Path) -> None:
        content = make(path).read_bytes()
        path.write_bytes(content.replace(b"SNOD", b"XXXX"))
        assert message(path).startswith("not a readable HDF5 file: ")

    @pytest.mark.parametrize("layout", [{"compression": "gzip"}, {"fletcher32": True}], ids=str)
    def test_a_damaged_chunk_is_located(self, path: Path, monkeypatch: pytest.MonkeyPatch, layout: Any) -> None:
        monkeypatch.setattr(hdf5_layouts, "CHUNK_BYTES", 10 * DIM * 4)
        damage(make(path, chunks=(10, DIM), **layout), "embeddings", 2)
        chunks = opened(path).chunks()
        assert [next(chunks).start, next(chunks).start] == [0, 10]
        with pytest.raises(DataError, match=r"^these rows cannot be read: ") as error:
            next(chunks)
        assert error.value.where == f'{path}, dataset "embeddings", rows 20 to 29'

    def test_damaged_ids_are_located(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["embeddings"] = X
            file.create_dataset("item_id", data=np.arange(ROWS), chunks=(ROWS,), compression="gzip")
        damage(path, "item_id", 0)
        source = opened(path)
        with pytest.raises(DataError, match="these rows cannot be read") as error:
            next(source.ids())
        assert error.value.where == f'{path}, dataset "item_id", rows 0 to 49'


def damage(path: Path, name: str, chunk: int) -> None:
    with h5py.File(path) as file:
        stored = file[name].id.get_chunk_info(chunk)
    content = bytearray(path.read_bytes())
    content[stored.byte_offset + 5 : stored.byte_offset + 25] = b"\xa5" * 20
    path.write_bytes(content)


class TestWriting:
    """The output is the input with other embedding values."""

    @pytest.mark.parametrize("libver", ["earliest", "latest"])
    @pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
    def test_everything_but_the_values_is_kept(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Any, libver: str
    ) -> None:
        monkeypatch.setattr(hdf5_layouts, "CHUNK_BYTES", 20 * DIM * 4)
        with h5py.File(path, "w", libver=libver, track_order=True) as file:
            file.attrs["encoder"] = "clip"
            group = file.create_group("image")
            group.attrs["size"] = np.arange(3)
            group.create_dataset("z", data=np.arange(5), compression="gzip")
            dataset = group.create_dataset("emb", data=X, fillvalue=-1, track_times=True, **layout)
            dataset.attrs["norm"] = "none"
            dataset.attrs["ids"] = group.create_dataset("id", data=IDS).ref
            group["titles"] = ["β", "α"]
            dataset.dims[0].label = "item"
            file["soft"], file["hard"] = h5py.SoftLink("/image/emb"), dataset
            file["away"] = h5py.ExternalLink("nowhere.h5", "/x")
        before = anatomy(path)
        out = rewritten(opened(path, embedding_column="image/emb"), tmp_path / "out.h5")
        assert anatomy(out) == before
        with h5py.File(out) as file:
            np.testing.assert_array_equal(file["image/emb"], X * 2)
        assert anatomy(path) == before

    def test_compact_datasets(self, path: Path, tmp_path: Path) -> None:
        compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        compact.set_layout(h5py.h5d.COMPACT)
        with h5py.File(path, "w") as file:
            file["item_id"] = IDS
            created = h5py.h5d.create(
                file.id, b"embeddings", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(X.shape), compact
            )
            h5py.Dataset(created)[...] = X
        with h5py.File(rewritten(opened(path), tmp_path / "out.h5")) as file:
            assert file["embeddings"].id.get_create_plist().get_layout() == h5py.h5d.COMPACT
            np.testing.assert_array_equal(file["embeddings"], X * 2)

    @pytest.mark.parametrize("kind", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
    def test_type_and_byte_order_on_disk_stay(self, path: Path, tmp_path: Path, kind: str) -> None:
        with h5py.File(rewritten(opened(make(path, X.astype(kind))), tmp_path / "out.h5")) as file:
            assert file["embeddings"].dtype == np.dtype(kind)
            np.testing.assert_array_equal(file["embeddings"], X.astype(kind) * 2)

    @pytest.mark.parametrize("kind", ["<f2", ">f4", "<f8"])
    def test_values_that_are_written_back_are_the_same_to_the_bit(self, path: Path, tmp_path: Path, kind: str) -> None:
        x = X.astype(kind)
        x[0, :5] = [np.nan, -np.nan, np.inf, -0.0, np.finfo(kind).smallest_subnormal]
        source = opened(make(path, x))
        with source.sink(tmp_path / "out.h5") as sink:
            for chunk in source.chunks():
                sink.write(source.modality, chunk, chunk.embeddings)
        assert (tmp_path / "out.h5").read_bytes() == path.read_bytes()

    @pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
    def test_two_runs_give_the_same_bytes(self, path: Path, tmp_path: Path, layout: Any) -> None:
        source = opened(make(path, track_times=True, **layout))
        assert rewritten(source, tmp_path / "1.h5").read_bytes() == rewritten(source, tmp_path / "2.h5").read_bytes()

    def test_no_time_is_recorded(self, path: Path, tmp_path: Path) -> None:
        source = opened(make(path, track_times=True, **LAYOUTS["gzip, shuffle, fletcher32"]))
        first = rewritten(source, tmp_path / "1.h5").read_bytes()
        time.sleep(1.05)  # HDF5 counts in seconds
        assert rewritten(source, tmp_path / "2.h5").read_bytes() == first

    def test_a_user_block_stays(self, path: Path, tmp_path: Path) -> None:
        with h5py.File(path, "w", userblock_size=512) as file:
            file["embeddings"], file["item_id"] = X, IDS
        path.write_bytes(b"#!/bin/sh\n" + path.read_bytes()[10:])
        out = rewritten(opened(path), tmp_path / "out.h5")
        assert out.read_bytes()[:512] == path.read_bytes()[:512] != bytes(512)
        np.testing.assert_array_equal(next(opened(out).chunks()).embeddings, X * 2)

    def test_the_output_of_a_read_only_file_is_writable(self, path: Path, tmp_path: Path) -> None:
        make(path).chmod(0o400)
        assert rewritten(opened(path), tmp_path / "out.h5").stat().st_mode & 0o200

    def test_two_modalities_of_one_file_do_not_touch_each_other(self, path: Path, tmp_path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["image/emb"], file["text/emb"], file["item_id"] = X, X + 1, IDS
        with h5py.File(rewritten(opened(path, embedding_column="text/emb"), tmp_path / "text.h5")) as file:
            np.testing.assert_array_equal(file["image/emb"], X)
            np.testing.assert_array_equal(file["text/emb"], (X + 1) * 2)

    def test_rows_that_were_never_stored_can_be_written(self, path: Path, tmp_path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["item_id"] = IDS
            file.create_dataset("embeddings", (ROWS, DIM), "f4", chunks=(7, DIM), compression="gzip")
        source = opened(path)
        with source.sink(tmp_path / "out.h5") as sink:
            for chunk in source.chunks():
                assert not chunk.embeddings.any()
                sink.write(source.modality, chunk, X)
        np.testing.assert_array_equal(next(opened(tmp_path / "out.h5").chunks()).embeddings, X)

    def test_rows_left_out_are_an_error_for_they_keep_their_old_values(self, path: Path, tmp_path: Path) -> None:
        source = opened(make(path))
        with (
            pytest.raises(ValueError, match=r"^20 of 50 rows of image were written"),
            source.sink(tmp_path / "out.h5") as sink,
        ):
            sink.write(source.modality, Chunk(0, X[:20], None, None, ""), X[:20])

    def test_an_error_on_the_way_is_not_masked_and_the_file_is_closed(self, path: Path, tmp_path: Path) -> None:
        source = opened(make(path))
        with pytest.raises(KeyError, match="mine"), source.sink(tmp_path / "out.h5"):
            raise KeyError("mine")
        h5py.File(tmp_path / "out.h5", "w").close()

    def test_a_target_that_cannot_be_written_is_an_oserror(self, path: Path, tmp_path: Path) -> None:
        source = opened(make(path))
        with pytest.raises(FileNotFoundError), source.sink(tmp_path / "nowhere" / "out.h5"):
            pass

    def test_a_full_disk_is_an_oserror_and_no_crash(self, path: Path, tmp_path: Path) -> None:
        """The cache of HDF5 hides it until the file is closed, and the process then ends in a segmentation fault."""
        rows = 4000
        make(path, np.zeros((rows, DIM), np.float32), np.arange(rows), chunks=(100, DIM), compression="gzip")
        limit = path.stat().st_size + 20_000
        done = subprocess.run(
            [sys.executable, "-c", FULL_DISK, str(path), str(tmp_path / "out.h5")],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, f"[Errno 27] File too large: '{tmp_path / 'out.h5'}'\n")


FULL_DISK = """
import sys
from pathlib import Path
import numpy as np
from clear_cli.embeddings.hdf5 import Hdf5Source

source = Hdf5Source(Path(sys.argv[1]), modality="image")
try:
    with source.sink(Path(sys.argv[2])) as sink:
        for chunk in source.chunks():
            sink.write(source.modality, chunk, np.random.default_rng(0).standard_normal(chunk.embeddings.shape).astype("f4"))
except OSError as error:
    print(error)
"""


def anatomy(path: Path) -> dict[str, Any]:
    """All that a file has, but for the values of `image/emb`."""
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        found["superblock"] = (file.userblock_size, file.libver, file.id.get_create_plist().get_link_creation_order())
        found["/"] = (attributes(file), list(file))

        def link(name: str, kind: Any) -> None:
            found[f"link {name}"] = (type(kind).__name__, getattr(kind, "path", None))

        def visit(name: str, item: Any) -> None:
            found[name] = (attributes(item), list(item) if isinstance(item, h5py.Group) else dataset(item))

        def dataset(item: h5py.Dataset) -> Any:
            pipeline = item.id.get_create_plist()
            filters = [pipeline.get_filter(i) for i in range(pipeline.get_nfilters())]
            layout = (item.shape, item.maxshape, item.chunks, item.dtype.str, pipeline.get_layout(), filters)
            more = (repr(item.fillvalue), pipeline.get_obj_track_times(), [d.label for d in item.dims])
            return layout, more, None if item == file["image/emb"] else item[()].tolist()

        file.visititems_links(link)
        file.visititems(visit)
    return found


def attributes(item: Any) -> list[tuple[str, str]]:
    return [(name, repr(value)) for name, value in item.attrs.items()]
