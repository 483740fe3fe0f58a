"""RecBole's atomic files: text in, the same text with other vectors out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clear_cli.embeddings import itememb, npy, open_source
from clear_cli.errors import DataError

X = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of two rows."""
    monkeypatch.setattr(npy, "CHUNK_BYTES", 2 * 3 * 4)


def written(path: Path, rows: Any = X, *, end: str = "\n", last: str = "\n") -> Path:
    lines = ["iid:token\tname:token_seq\tvec:float_seq"]
    lines += [f"{i + 10}\tname {i}\t" + " ".join(f"{value:.9g}" for value in row) for i, row in enumerate(rows)]
    path.write_bytes((end.join(lines) + (end if last else "")).encode())
    return path


def message(path: Path, text: str | None = None, **options: Any) -> str:
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError) as error:
        list(open_source(path, modality="image", **options).chunks())
    return str(error.value)


def rewritten(source: Any, target: Path, factor: float = 1.0) -> bytes:
    with source.sink(target) as sink:
        for chunk in source.chunks():
            sink.write("image", chunk, chunk.embeddings * np.float32(factor))
    return target.read_bytes()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["\n", ""])
def test_the_same_vectors_are_the_same_bytes(tmp_path: Path, end: str, last: str) -> None:
    path = written(tmp_path / "a.itememb", end=end, last=last)
    source = open_source(path, modality="image")
    assert (source.rows, source.dim, source.dtype, source.id_kind) == (7, 3, np.float32, "text")
    assert rewritten(source, tmp_path / "out") == path.read_bytes()


def test_float32_comes_back_exactly_and_other_fields_stay(tmp_path: Path) -> None:
    source = open_source(written(tmp_path / "a.itememb"), modality="image")
    assert [(chunk.start, len(chunk)) for chunk in source.chunks()] == [(0, 2), (2, 2), (4, 2), (6, 1)]
    np.testing.assert_array_equal(np.concatenate([chunk.embeddings for chunk in source.chunks()]), X)
    assert [chunk.start for chunk in source.chunks(4)] == [4, 6]
    assert next(source.ids()).to_pylist() == [str(i + 10) for i in range(7)]
    rewritten(source, tmp_path / "out", factor=3)
    again = open_source(tmp_path / "out", modality="image")
    np.testing.assert_array_equal(np.concatenate([chunk.embeddings for chunk in again.chunks()]), X * np.float32(3))
    lines = [line.split("\t")[:2] for line in (tmp_path / "out").read_text().splitlines()]
    assert lines == [line.split("\t")[:2] for line in (tmp_path / "a.itememb").read_text().splitlines()]


def test_an_empty_vector_is_a_missing_row_and_stays_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.itememb"
    path.write_text("id:token\tv:float_seq\n1\t\n2\t1 2\n")
    source = open_source(path, modality="image")
    (chunk,) = source.chunks()
    assert chunk.null is not None
    assert chunk.null.tolist() == [True, False]
    assert chunk.embeddings.tolist() == [[0, 0], [1, 2]]
    assert rewritten(source, tmp_path / "out", factor=2) == b"id:token\tv:float_seq\n1\t\n2\t2 4\n"


def test_bad_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.itememb"
    header = "id:token\tv:float_seq\n1\t1 2\n"
    assert message(path, header + "2\t1 x\n") == (f"the vector holds what is no number: 'x'\n  in: {path}, line 3")
    assert message(path, header + "2\t1 2 3\n") == f"the vector has 3 values, not 2\n  in: {path}, line 3"
    assert message(path, header + "2\n") == f"1 fields, where the header has 2\n  in: {path}, line 3"
    assert message(path, header + "\n") == f"1 fields, where the header has 2\n  in: {path}, line 3"
    path.write_bytes(header.encode() + b"\xff\t1 2\n")
    assert message(path) == f"the line is not valid UTF-8\n  in: {path}, line 3"


def test_files_without_vectors(tmp_path: Path) -> None:
    path = tmp_path / "a.itememb"
    assert message(path, "id:token\tv:float_seq\n") == (
        f"no embeddings: every vector is empty\n  in: {path}\n  rows: 0"
    )


def test_fields_must_be_clear(tmp_path: Path) -> None:
    path = tmp_path / "a.itememb"
    two = "id:token\ta:float_seq\tb:float_seq\n1\t1 2\t3 4\n"
    assert message(path, two) == (
        f"more than one possible vector field\n  in: {path}\n  candidates: a:float_seq, b:float_seq\n"
        "  fix: --embedding-column image=a:float_seq"
    )
    for name in ("b", "b:float_seq"):
        (chunk,) = open_source(path, modality="image", embedding_column=name).chunks()
        assert chunk.embeddings.tolist() == [[3, 4]]
    assert 'field "c" not found' in message(path, embedding_column="c")
    assert "no item id column found" in message(path, "a:float_seq\n1 2\n")
    assert itememb.TOKEN == ":token"
