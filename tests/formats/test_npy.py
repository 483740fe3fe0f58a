"""NPY: a matrix in one file, ids if any in another, and an output that every reader of NPY copes with."""

from __future__ import annotations

import io
import json
import os
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from clear_cli.embeddings import npy, npy_array, open_source
from clear_cli.embeddings.base import Chunk
from clear_cli.embeddings.npy import NpySource
from clear_cli.errors import DataError

ROWS, DIM = 50, 8
X = np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32)
IDS = [f"item-{i}" for i in range(ROWS)]
KINDS = [order + kind for kind in ("f2", "f4", "f8") for order in "<>"]
FULL = Path("/dev/full")
SWAPPED = ">" if sys.byteorder == "little" else "<"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "items.npy"


@pytest.fixture
def id_file(tmp_path: Path) -> Path:
    return tmp_path / "ids.txt"


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 20 rows of X."""
    monkeypatch.setattr(npy, "CHUNK_BYTES", 20 * DIM * 4)
    monkeypatch.setattr(npy, "ID_ROWS", 20)
    monkeypatch.setattr(npy_array, "COLUMN_BYTES", 1)


def opened(path: Path, x: Any = None, ids: Path | None = None) -> NpySource:
    if x is not None:
        np.save(path, x)
    return NpySource(path, modality="image", ids=ids)


def message(path: Path, x: Any = None, ids: Path | None = None) -> str:
    with pytest.raises(DataError) as error:
        opened(path, x, ids)
    return str(error.value)


@contextmanager
def at_most(memory: int) -> Iterator[None]:
    """Fails if more bytes than this are taken at any one time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < memory
    finally:
        tracemalloc.stop()


def with_header(path: Path, header: str, values: bytes = b"", version: tuple[int, int] = (1, 0)) -> Path:
    """A file with this text as its header."""
    length = len(header).to_bytes(2 if version == (1, 0) else 4, "little")
    path.write_bytes(np.lib.format.magic(*version) + length + header.encode() + values)
    return path


class TestReading:
    @pytest.mark.usefixtures("small_blocks")
    @pytest.mark.parametrize("order", "CF")
    def test_rows_come_in_file_order(self, path: Path, order: Any) -> None:
        source = opened(path, np.asarray(X, order=order))
        chunks = list(source.chunks())
        assert [(chunk.start, len(chunk)) for chunk in chunks] == [(0, 20), (20, 20), (40, 10)]
        np.testing.assert_array_equal(np.concatenate([chunk.embeddings for chunk in chunks]), X)
        assert [chunk.where for chunk in chunks][1] == f"{path}, rows 20 to 39"
        assert all(chunk.null is None and chunk.holes is None for chunk in chunks)
        assert (source.rows, source.dim, source.dtype, source.id_kind) == (ROWS, DIM, np.float32, "row")
        assert list(source.ids()) == []
        assert source.files() == [path]

    @pytest.mark.parametrize("order", "CF")
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_float_type_comes_in_native_order_and_contiguous(self, path: Path, kind: str, order: Any) -> None:
        source = opened(path, np.asarray(X.astype(kind), order=order))
        (chunk,) = source.chunks()
        assert source.dtype == chunk.embeddings.dtype == np.dtype(kind[1:])
        assert chunk.embeddings.dtype.isnative
        assert chunk.embeddings.flags.c_contiguous
        assert type(chunk.embeddings) is np.ndarray
        np.testing.assert_array_equal(chunk.embeddings, X.astype(kind))

    @pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
    def test_every_version_of_the_format(self, path: Path, version: tuple[int, int]) -> None:
        with path.open("wb") as file:
            np.lib.format.write_array(file, X, version)
        (chunk,) = opened(path).chunks()
        np.testing.assert_array_equal(chunk.embeddings, X)

    def test_files_from_python_2_are_read_without_a_warning(self, path: Path) -> None:
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({ROWS}L, {DIM}L)}}\n"
        (chunk,) = opened(with_header(path, header, X.astype("<f4").tobytes())).chunks()
        np.testing.assert_array_equal(chunk.embeddings, X)

    @pytest.mark.parametrize("order", "CF")
    def test_no_more_than_two_blocks_are_in_memory(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, order: Any
    ) -> None:
        monkeypatch.setattr(npy, "CHUNK_BYTES", 1 << 18)
        monkeypatch.setattr(npy_array, "COLUMN_BYTES", 1 << 18)
        x = np.zeros((200_000, DIM), np.float32, order)
        chunks = opened(path, x).chunks()
        with at_most(4 << 18):
            assert sum(len(chunk) for chunk in chunks) == len(x)

    def test_wide_rows_come_one_by_one(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(npy, "CHUNK_BYTES", 4)
        assert {len(chunk) for chunk in opened(path, X).chunks()} == {1}

    def test_reading_can_begin_at_any_chunk(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(npy, "CHUNK_BYTES", 20 * DIM * 4)
        for order in "CF":
            source = opened(path, np.array(X, order=order))
            assert [chunk.start for chunk in source.chunks(20)] == [20, 40]
            np.testing.assert_array_equal(np.concatenate([c.embeddings for c in source.chunks(20)]), X[20:])

    def test_a_first_row_of_zeros_is_taken_as_padding_where_there_are_no_ids(self, path: Path, id_file: Path) -> None:
        padded = X.copy()
        padded[0] = 0
        np.save(path, padded)
        assert open_source(path, modality="image").notes == ["row 0 is all zeros: taken as padding, it stays as it is"]
        id_file.write_text("\n".join(IDS))
        assert open_source(path, modality="image", ids=id_file).notes == []

    def test_a_first_row_of_signalling_nan_is_no_padding(self, path: Path) -> None:
        np.save(path, np.full((9, DIM), np.uint32(0x7F800001)).view(np.float32))
        assert open_source(path, modality="image").notes == []

    def test_a_row_that_is_no_embedding(self, path: Path) -> None:
        """Nothing is allocated for it; a sparse file takes no room on the disk, either."""
        path.write_bytes(npy_array.header_of((3, 10**10), np.dtype(np.float32)))
        os.truncate(path, path.stat().st_size + 3 * 10**10 * 4)
        with pytest.raises(DataError) as error:
            open_source(path, modality="image")
        assert str(error.value) == (
            f"a row of 10,000,000,000 dimensions is no embedding\n  in: {path}\n"
            "  supported: up to 16,777,216 dimensions of float32"
        )

    def test_a_file_without_rows_has_no_chunks(self, path: Path) -> None:
        assert list(opened(path, X[:0]).chunks()) == []

    def test_a_usual_file_needs_no_note(self, path: Path) -> None:
        assert opened(path, X).notes == []

    def test_what_the_output_normalises_is_noted(self, path: Path) -> None:
        big, little = ("big", "little") if SWAPPED == ">" else ("little", "big")
        assert opened(path, np.asfortranarray(X.astype(SWAPPED + "f4"))).notes == [
            "the file is in Fortran order, the output in C order",
            f"the file is {big}-endian, the output {little}-endian",
        ]

    def test_the_description_is_plain_and_names_no_folder(self, path: Path, id_file: Path) -> None:
        id_file.write_text("\n".join(IDS))
        description = opened(path, np.asfortranarray(X.astype(">f4")), id_file).describe()
        assert json.loads(json.dumps(description)) == {
            "container": "npy",
            "rows": ROWS,
            "dim": DIM,
            "dtype": "float32",
            "byte_order": "big",
            "order": "Fortran",
            "id_file": "ids.txt",
        }
        plain = opened(path, X.astype("<f2")).describe()
        assert (plain["dtype"], plain["byte_order"], plain["order"], plain["id_file"]) == (
            "float16",
            "little",
            "C",
            None,
        )


class TestRefusals:
    @pytest.mark.parametrize(
        "x",
        [
            X[0],
            X[None],
            X[:, :0],
            np.float32(1),
            X.astype(np.int64),
            X.astype(np.complex64),
            X.astype(np.longdouble),
            np.zeros(3, [("id", "i4"), ("x", "f4", (4,))]),
        ],
        ids=lambda x: f"{x.shape} {x.dtype}",
    )
    def test_what_is_no_matrix_of_floats(self, path: Path, x: Any) -> None:
        assert message(path, x) == (
            f"embeddings of shape {x.shape} and type {x.dtype} are not supported\n  in: {path}\n"
            "  supported: two dimensions (items, dimensions) of float16, float32 or float64"
        )

    def test_pickled_objects_are_never_loaded(self, path: Path) -> None:
        class Bomb:
            def __reduce__(self) -> Any:
                return os.abort, ()

        np.save(path, np.array([[Bomb()]], dtype=object), allow_pickle=True)
        assert message(path).startswith("embeddings of shape (1, 1) and type object are not supported")
        assert message(path.with_name("x.npy"), X[:1], path).startswith(
            "item ids of shape (1, 1) and type object are not supported"
        )

    @pytest.mark.parametrize("change", [-1, 1])
    @pytest.mark.parametrize("order", "CF")
    def test_a_length_other_than_the_header_says(self, path: Path, change: int, order: Any) -> None:
        np.save(path, np.asarray(X, order=order))
        path.write_bytes((path.read_bytes() + b"x")[: change - 1 or None])
        assert message(path) == (
            f"the file is not as long as its header says\n  in: {path}\n"
            f"  header: shape (50, 8), type float32: 1,600 bytes\n  file: {1600 + change:,} bytes after the header\n"
            "  fix: copy or write the file again: it is cut short, or damaged"
        )

    @pytest.mark.parametrize(
        "shape", ["(1000000000000, 1000000)", f"({10**40}, 8)", "(-1, -8)", "(-1, 8)", "(1000000000000, -8)"]
    )
    def test_an_absurd_shape_is_refused_before_any_memory_is_taken(self, path: Path, shape: str) -> None:
        with_header(path, f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}", bytes(32))
        with at_most(1 << 20):
            assert message(path).startswith("the file is not as long as its header says")

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "nonsense",
            "[1, 2]",
            "{'descr': '<f4'}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2.5, 2)}",
            "{'descr': '<f4', 'fortran_order': 'yes', 'shape': (2, 2)}",
            "{'descr': '<q9', 'fortran_order': False, 'shape': (2, 2)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)",
            "(" * 5000,
            "__import__('os').abort()",
            "\0" * 50,
            " " * 20_000,
        ],
        ids=lambda header: header[:60],
    )
    def test_damaged_headers(self, path: Path, header: str) -> None:
        assert message(with_header(path, header, bytes(16))) == f"no readable NPY header\n  in: {path}"

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x93NUMPY",
            b"\x93NUMPY\x09\x00" + bytes(100),
            b"PK\x03\x04" + bytes(100),
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        ],
    )
    def test_what_is_not_npy(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        assert message(path) == f"no readable NPY header\n  in: {path}"

    def test_a_header_that_claims_to_be_huge_is_not_read(self, path: Path) -> None:
        with path.open("wb") as file:
            file.write(b"\x93NUMPY\x02\x00" + (1 << 27).to_bytes(4, "little"))
            file.truncate(1 << 28)  # sparse
        with at_most(1 << 20):
            assert message(path).startswith("no readable NPY header")

    def test_no_file(self, path: Path) -> None:
        assert message(path) == f"cannot read the file: no such file or directory\n  in: {path}"

    @pytest.mark.usefixtures("small_blocks")
    @pytest.mark.parametrize("order", "CF")
    def test_a_file_that_becomes_shorter_meanwhile(self, path: Path, order: Any) -> None:
        chunks = opened(path, np.asarray(X, order=order)).chunks()
        next(chunks)
        os.truncate(path, path.stat().st_size - 32 * DIM * 4)
        with pytest.raises(DataError, match="became shorter") as error:
            next(chunks)
        assert error.value.where == f"{path}, rows 20 to 39"


class TestTextIds:
    """One id per line."""

    @pytest.mark.parametrize(
        "text",
        [b"a\nb\xc3\xa9\n c\n", b"a\nb\xc3\xa9\n c", b"a\r\nb\xc3\xa9\r\n c\r\n", b"\xef\xbb\xbfa\nb\xc3\xa9\n c"],
        ids=["LF", "no last LF", "CRLF", "byte order mark"],
    )
    def test_line_ends_and_marks_are_no_part_of_ids(self, path: Path, id_file: Path, text: bytes) -> None:
        id_file.write_bytes(text)
        source = opened(path, X[:3], id_file)
        (ids,) = source.ids()
        assert source.id_kind == "text"
        assert ids.type == pa.string()
        assert ids.to_pylist() == ["a", "bé", " c"]
        assert source.files() == [path, id_file]

    def test_only_a_line_feed_ends_a_line(self, path: Path, id_file: Path) -> None:
        odd = ["a\u2028b", "c\x0bd", "e\x85f", "g\rh"]
        id_file.write_text("\n".join(odd), encoding="utf-8", newline="\n")
        (ids,) = opened(path, X[:4], id_file).ids()
        assert ids.to_pylist() == odd

    @pytest.mark.usefixtures("small_blocks")
    @pytest.mark.parametrize("order", "CF")
    def test_chunks_bear_the_ids_of_their_rows(self, path: Path, id_file: Path, order: Any) -> None:
        id_file.write_text("\n".join(IDS))
        source = opened(path, np.asarray(X, order=order), id_file)
        for _ in range(2):
            assert [ids.to_pylist() for ids in source.ids()] == [IDS[:20], IDS[20:40], IDS[40:]]

    @pytest.mark.parametrize("count", [0, 49, 51, 1200])
    def test_both_numbers_are_said_if_they_differ(self, path: Path, id_file: Path, count: int) -> None:
        id_file.write_text("x\n" * count)
        assert message(path, X, id_file) == (
            f"{count:,} ids do not fit 50 rows of items.npy\n  in: {id_file}\n"
            "  fix: --ids image=FILE with one id for each row"
        )

    @pytest.mark.parametrize("text", ["a\n\nb\n", "a\n \nb\n", "a\nb\n\n", "a\r\n\r\nb"])
    def test_blank_lines_are_located(self, path: Path, id_file: Path, text: str) -> None:
        id_file.write_text(text, newline="")
        line = 3 if text == "a\nb\n\n" else 2
        assert message(path, X[:3], id_file) == (f"line {line} is blank, where an item id should be\n  in: {id_file}")

    def test_what_is_not_utf8(self, path: Path, id_file: Path) -> None:
        id_file.write_bytes(b"a\n\xff\n")
        assert message(path, X[:2], id_file) == (
            f"the id file is not valid UTF-8\n  in: {id_file}\n"
            "  fix: a text file with one id per line, or an NPY array of one dimension"
        )

    def test_no_file(self, path: Path, id_file: Path) -> None:
        assert message(path, X, id_file) == f"cannot read the file: no such file or directory\n  in: {id_file}"


class TestArrayIds:
    """A second NPY file, of strings or integers."""

    @pytest.mark.parametrize(
        ("ids", "kind", "expected"),
        [
            (np.array(["a", "é", "a\0b"]), "string", ["a", "é", "a\0b"]),
            (np.array(["a", "é", "c"]).astype(SWAPPED + "U2"), "string", ["a", "é", "c"]),
            (np.array([b"a", "é".encode(), b"a\0b"]), "string", ["a", "é", "a\0b"]),
            (np.array([1, -2, 3], "i2"), "integer", [1, -2, 3]),
            (np.array([1, 2, 3], ">i8"), "integer", [1, 2, 3]),
            (np.array([1, 2, 2**64 - 1], "u8"), "integer", [1, 2, 2**64 - 1]),
        ],
        ids=["str", "swapped str", "bytes", "int16", "swapped int64", "uint64"],
    )
    def test_strings_and_integers(self, path: Path, ids: Any, kind: str, expected: list[Any]) -> None:
        id_path = path.with_name("ids.npy")
        np.save(id_path, ids)
        source = opened(path, X[:3], id_path)
        (found,) = source.ids()
        assert source.id_kind == kind
        assert found.type == (pa.string() if kind == "string" else pa.uint64() if ids.dtype.kind == "u" else pa.int64())
        assert found.to_pylist() == expected

    @pytest.mark.usefixtures("small_blocks")
    def test_they_are_read_in_blocks(self, path: Path) -> None:
        np.save(path.with_name("ids.npy"), np.array(IDS))
        source = opened(path, X, path.with_name("ids.npy"))
        assert [ids.to_pylist() for ids in source.ids()] == [IDS[:20], IDS[20:40], IDS[40:]]

    @pytest.mark.parametrize(
        "ids",
        [np.zeros(3), np.zeros((3, 1), "S3"), np.zeros(3, bool), np.zeros(3, "M8[s]"), np.zeros((), "i4")],
        ids=str,
    )
    def test_other_types_and_shapes(self, path: Path, ids: Any) -> None:
        id_path = path.with_name("ids.npy")
        np.save(id_path, ids)
        assert message(path, X[:3], id_path) == (
            f"item ids of shape {ids.shape} and type {ids.dtype} are not supported\n  in: {id_path}\n"
            "  supported: one dimension of strings or integers"
        )

    def test_one_dimension_is_in_either_order(self, path: Path) -> None:
        header = "{'descr': '<i8', 'fortran_order': True, 'shape': (3,)}"
        id_path = with_header(path.with_name("ids.npy"), header, np.array([5, 6, 7], "<i8").tobytes())
        (ids,) = opened(path, X[:3], id_path).ids()
        assert ids.to_pylist() == [5, 6, 7]

    def test_strings_without_characters(self, path: Path) -> None:
        id_path = with_header(path.with_name("ids.npy"), "{'descr': '|S0', 'fortran_order': False, 'shape': (3,)}")
        assert message(path, X[:3], id_path).startswith("item ids of shape (3,) and type |S0 are not supported")

    def test_another_number_of_ids(self, path: Path) -> None:
        np.save(path.with_name("ids.npy"), np.arange(49))
        assert message(path, X, path.with_name("ids.npy")).startswith("49 ids do not fit 50 rows of items.npy")

    @pytest.mark.parametrize("ids", [np.array([b"a", b"\xff"]), np.array([0xD800, 65], "u4").view("U1")], ids=repr)
    def test_strings_that_are_not_unicode(self, path: Path, ids: Any) -> None:
        id_path = path.with_name("ids.npy")
        np.save(id_path, ids)
        source = opened(path, X[:2], id_path)
        with pytest.raises(DataError, match="an item id is not valid") as error:
            list(source.ids())
        assert error.value.where == f"{id_path}, rows 0 to 1"


class TestWriting:
    """The output is what `np.save` makes of the matrix."""

    @pytest.mark.usefixtures("small_blocks")
    @pytest.mark.parametrize("order", "CF")
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_output_equals_np_save_to_the_byte(self, path: Path, tmp_path: Path, kind: str, order: Any) -> None:
        source = opened(path, np.asarray(X.astype(kind), order=order))
        target = tmp_path / "out.npy"
        with source.sink(target) as sink:
            for chunk in source.chunks():
                sink.write("image", chunk, chunk.embeddings * 2)
        expected = io.BytesIO()
        np.save(expected, X.astype(kind[1:]) * 2)
        assert target.read_bytes() == expected.getvalue()

    def test_values_in_another_memory_order_are_written_right(self, path: Path, tmp_path: Path) -> None:
        source = opened(path, X)
        with source.sink(tmp_path / "out.npy") as sink:
            sink.write("image", next(source.chunks()), np.asfortranarray(X))
        assert (tmp_path / "out.npy").read_bytes() == path.read_bytes()

    def test_a_file_without_rows(self, path: Path, tmp_path: Path) -> None:
        with opened(path, X[:0]).sink(tmp_path / "out.npy"):
            pass
        assert (tmp_path / "out.npy").read_bytes() == path.read_bytes()

    def test_rows_left_out_are_an_error(self, path: Path, tmp_path: Path) -> None:
        source = opened(path, X)
        with pytest.raises(ValueError, match=r"^20 of 50 rows were written$"), source.sink(tmp_path / "o.npy") as sink:
            sink.write("image", Chunk(0, X[:20], None, None, ""), X[:20])

    def test_an_error_on_the_way_is_not_masked(self, path: Path, tmp_path: Path) -> None:
        with pytest.raises(KeyError, match="mine"), opened(path, X).sink(tmp_path / "out.npy"):
            raise KeyError("mine")

    @pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
    def test_a_full_disk_is_an_oserror(self, path: Path) -> None:
        source = opened(path, X)
        with pytest.raises(OSError, match="No space left"), source.sink(FULL) as sink:
            sink.write("image", next(source.chunks()), X)

    @pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
    def test_an_error_on_the_way_is_not_masked_by_a_full_disk(self, path: Path) -> None:
        with pytest.raises(KeyError, match="mine"), opened(path, X).sink(FULL):
            raise KeyError("mine")
