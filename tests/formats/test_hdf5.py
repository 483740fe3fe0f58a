"""HDF5: embeddings and ids anywhere in a file, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest

from clear_cli.embeddings import hdf5, hdf5_layouts, open_source
from clear_cli.errors import DataError
from tests.formats.hdf5_files import DIM, IDS, ROWS, X, make, message, opened, rewritten


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "items.h5"


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
            "  fix: --embedding-column image=embeddings, or ::embeddings behind the path"
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
        assert "  candidates: category, name\n  fix: --id-column image=NAME" in message(path)

    def test_of_several_usual_names_the_most_usual_is_suggested(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["embeddings"], file["asin"], file["item_id"], file["name"] = X, *[IDS] * 3
        assert "  candidates: asin, item_id, name\n  fix: --id-column image=item_id" in message(path)

    def test_only_what_could_be_ids_is_suggested_for_a_name_that_is_none(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["embeddings"], file["category"], file["score"] = X, np.zeros(ROWS, np.int64), np.zeros(ROWS)
        assert message(path, id_column="scores").endswith(
            "category, embeddings, score\n  fix: --id-column image=category"
        )

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
            "other matrices in the file are carried over as they are: "
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

    def test_floats_that_numpy_has_no_type_for(self, path: Path) -> None:
        wide = h5py.h5t.IEEE_F32LE.copy()
        wide.set_ebias(1 << 20)
        with h5py.File(make(path), "r+") as file:
            h5py.h5d.create(file.id, b"wide", wide, h5py.h5s.create_simple((ROWS, DIM)))
        assert opened(path).describe()["embedding_dataset"] == "embeddings"
        assert 'dataset "wide" cannot hold embeddings: shape (50, 8), type object' in message(
            path, embedding_column="wide"
        )

    @pytest.mark.parametrize(
        ("ids", "form"),
        [
            (np.arange(ROWS, dtype=np.float64), "float64"),
            (np.zeros(ROWS, bool), "bool"),
            (np.zeros(ROWS, [("id", "i8"), ("shop", "S2")]), "[('id', '<i8'), ('shop', 'S2')]"),
            (np.array([np.arange(3)] * ROWS + [None], object)[:-1], "object"),
        ],
        ids=["float", "bool", "compound", "lists"],
    )
    def test_ids_of_another_type(self, path: Path, ids: Any, form: str) -> None:
        with h5py.File(path, "w") as file:
            file["embeddings"] = X
            kind = h5py.vlen_dtype(np.int64) if form == "object" else ids.dtype
            file.create_dataset("item_id", data=ids, dtype=kind)
        assert message(path, id_column="item_id") == (
            f'dataset "item_id" cannot hold item ids: shape (50,), type {form}\n  in: {path}\n'
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


AGAIN = "\n  fix: copy or write the file again: it is cut short, or damaged"


class TestDamage:
    def test_what_is_not_hdf5(self, path: Path) -> None:
        path.write_bytes(b"item_id,embedding\n")
        assert message(path) == f"not a readable HDF5 file: file signature not found\n  in: {path}{AGAIN}"

    def test_no_file(self, path: Path) -> None:
        assert message(path) == f"cannot read the file: no such file or directory\n  in: {path}"

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

    @pytest.mark.parametrize("layout", [{}, {"chunks": (1000,)}, {"chunks": (1000,), "compression": "gzip"}], ids=str)
    def test_a_small_file_that_claims_a_great_many_rows(self, path: Path, layout: Any) -> None:
        """Nothing is allocated for them: ids that were never stored are refused."""
        rows = 10**12
        with h5py.File(path, "w") as file:
            file.create_dataset("embeddings", (rows, DIM), "f4", chunks=(1000, DIM))
            ids = file.create_dataset("item_id", (rows,), "i8", **layout)
            if layout:
                ids[:1000] = np.arange(1000)
        assert path.stat().st_size < 100_000
        assert message(path) == (
            'id dataset "item_id" says that it has 1,000,000,000,000 rows, but they are not all in the file\n'
            f"  in: {path}\n  fix: write the file again, with an id for each row"
        )

    def test_a_small_file_that_claims_a_great_many_dimensions(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("embeddings", (ROWS, 10**9), "f4", chunks=(1, 1000))
            file["item_id"] = np.arange(ROWS)
        with pytest.raises(DataError, match=r"^a row of 1,000,000,000 dimensions is no embedding\n"):
            open_source(path, modality="image")

    @pytest.mark.parametrize("name", ["embeddings", "item_id"])
    def test_values_that_go_beyond_the_end_of_the_file(self, path: Path, name: str) -> None:
        """A header that was damaged in place: HDF5 itself only looks at where it should end."""
        rows = 999_983
        with h5py.File(path, "w") as file:
            for one, shape in (("embeddings", (rows, 2)), ("item_id", (rows,))):
                early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY if one == name else h5py.h5d.ALLOC_TIME_LATE)
                early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
                kind = h5py.h5t.IEEE_F32LE if one == "embeddings" else h5py.h5t.STD_I64LE
                h5py.h5d.create(file.id, one.encode(), kind, h5py.h5s.create_simple(shape), early)
        content = path.read_bytes()
        end = len(content).to_bytes(8, "little")
        assert content.index(end) == 40, "the end of the file, as the superblock of the oldest version has it"
        cut = 100_000
        path.write_bytes(content[:40] + cut.to_bytes(8, "little") + content[48:cut])
        assert message(path).startswith(f'"{name}" cannot be read: ')


def damage(path: Path, name: str, chunk: int) -> None:
    with h5py.File(path) as file:
        stored = file[name].id.get_chunk_info(chunk)
    content = bytearray(path.read_bytes())
    content[stored.byte_offset + 5 : stored.byte_offset + 25] = b"\xa5" * 20
    path.write_bytes(content)
