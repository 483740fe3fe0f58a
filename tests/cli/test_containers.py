"""Whole runs on containers of every kind: one in, one of the same kind out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clear_cli
from tests.conftest import Catalogue, Run, read_parquet, write_hdf5, write_npy, write_parquet

Floats = Any


@pytest.fixture
def expected(catalogue: Catalogue) -> dict[str, Floats]:
    """The embeddings that a run on plain arrays would give."""
    sides = {"image": catalogue.image, "text": catalogue.text}
    clean = clear_cli.apply(clear_cli.fit(sides, rank=3), sides)
    assert isinstance(clean, dict)
    return clean


def assert_close(got: Floats, wanted: Floats) -> None:
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def succeed(call: Run, *arguments: Any) -> str:
    code, out, err = call("run", *arguments, "--rank", "3", "-q")
    assert code == 0, err
    return out


def test_two_columns_of_one_parquet_file(
    call: Run, tmp_path: Path, catalogue: Catalogue, expected: dict[str, Floats]
) -> None:
    path = tmp_path / "items.parquet"
    columns = {name: list(getattr(catalogue, name)) for name in ("image", "text")}
    table = pa.table({"item_id": catalogue.ids, **columns, "price": np.arange(400)})
    pq.write_table(table, path, row_group_size=130)
    succeed(call, "-m", f"image={path}::image", "-m", f"text={path}::text", "--out", tmp_path / "out")
    out = tmp_path / "out" / "embeddings"
    assert [one.name for one in out.iterdir()] == ["items.parquet"]
    for name in ("image", "text"):
        assert_close(read_parquet(out / "items.parquet", name), expected[name])
    assert pq.read_table(out / "items.parquet").select(["item_id", "price"]).equals(table.select(["item_id", "price"]))
    assert pq.read_metadata(out / "items.parquet").num_row_groups == 4


def test_two_datasets_of_one_hdf5_file(
    call: Run, tmp_path: Path, catalogue: Catalogue, expected: dict[str, Floats]
) -> None:
    path = tmp_path / "feats.h5"
    with h5py.File(path, "w") as file:
        for name in ("image", "text"):
            file[f"{name}/emb"] = getattr(catalogue, name)
            file[f"{name}/ids"] = catalogue.ids
        file["note"] = "kept"
    out = succeed(
        call, "-m", f"image={path}::/image/emb", "-m", f"text={path}::/text/emb", "--out", tmp_path / "out", "--json"
    )
    assert not any("carried over" in warning for warning in json.loads(out)["warnings"])
    with h5py.File(tmp_path / "out/embeddings/feats.h5") as file:
        for name in ("image", "text"):
            assert_close(file[f"{name}/emb"][:], expected[name])
        assert file["note"][()] == b"kept"


def test_two_members_of_one_npz(call: Run, tmp_path: Path, catalogue: Catalogue, expected: dict[str, Floats]) -> None:
    path = tmp_path / "feats.npz"
    np.savez_compressed(path, text=catalogue.text, ids=np.array(catalogue.ids), image=catalogue.image)
    succeed(call, "-m", f"image={path}::image", "-m", f"text={path}::text", "--out", tmp_path / "out")
    out = np.load(tmp_path / "out/embeddings/feats.npz")
    assert out.files == ["text", "ids", "image"]
    for name in ("image", "text"):
        assert_close(out[name], expected[name])


@pytest.mark.parametrize(("kind", "problem"), [
    ("parquet", 'error: "image" and "text" are both read from column "embedding"\n'),
    ("h5", 'error: modalities "image" and "text" are the same: embeddings\n'),
    ("npy", "error: one array cannot be several modalities: image, text\n"),
])  # fmt: skip
def test_one_matrix_cannot_be_two_modalities(
    call: Run, tmp_path: Path, catalogue: Catalogue, kind: str, problem: str
) -> None:
    path = tmp_path / f"items.{kind}"
    if kind == "parquet":
        write_parquet(path, catalogue.ids, catalogue.image)
    elif kind == "h5":
        write_hdf5(path, catalogue.ids, catalogue.image)
    else:
        write_npy(path, catalogue.image)
    code, _, err = call("run", "-m", f"image={path}", "-m", f"text={path}", "--out", tmp_path / "out")
    assert code == 3
    assert err.startswith(problem)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_vectors_beside_hive_partitions(
    call: Run, tmp_path: Path, catalogue: Catalogue, expected: dict[str, Floats]
) -> None:
    folder = tmp_path / "visual"
    folder.mkdir()
    for key, row in zip(catalogue.ids, catalogue.image, strict=True):
        np.save(folder / f"{key}.npy", row)
    for i, part in enumerate((slice(0, 150), slice(150, 400))):
        write_parquet(tmp_path / f"text/country={i}/part-0.parquet", catalogue.ids[part], catalogue.text[part])
    succeed(call, "-m", f"image={folder}", "-m", f"text={tmp_path}/text", "--out", tmp_path / "out")
    out = tmp_path / "out/embeddings"
    got = np.stack([np.load(out / "visual" / f"{key}.npy") for key in catalogue.ids])
    assert_close(got, expected["image"])
    parts = [read_parquet(out / f"text/country={i}/part-0.parquet") for i in range(2)]
    assert_close(np.concatenate(parts), expected["text"])


def test_shards_and_an_atomic_file(
    call: Run, tmp_path: Path, catalogue: Catalogue, expected: dict[str, Floats]
) -> None:
    (tmp_path / "clip/img_emb").mkdir(parents=True)
    (tmp_path / "clip/metadata").mkdir()
    for i, part in enumerate((slice(0, 150), slice(150, 400))):
        np.save(tmp_path / f"clip/img_emb/img_emb_{i}.npy", catalogue.image[part])
        pq.write_table(pa.table({"key": catalogue.ids[part]}), tmp_path / f"clip/metadata/metadata_{i}.parquet")
    lines = [f"{key}\t{' '.join(f'{value:.9g}' for value in row)}\n"
             for key, row in zip(catalogue.ids, catalogue.text, strict=True)]  # fmt: skip
    (tmp_path / "text.itememb").write_text("iid:token\tvec:float_seq\n" + "".join(lines))
    succeed(
        call, "-m", f"image={tmp_path}/clip/img_emb", "-m", f"text={tmp_path}/text.itememb", "--out", tmp_path / "out"
    )
    out = tmp_path / "out/embeddings"
    got = np.concatenate([np.load(out / f"img_emb/img_emb_{i}.npy") for i in range(2)])
    assert_close(got, expected["image"])
    rows = [line.split("\t")[1] for line in (out / "text.itememb").read_text().splitlines()[1:]]
    assert_close(np.array([row.split(" ") for row in rows], dtype=np.float32), expected["text"])


def test_without_a_report_there_are_the_same_embeddings_and_less_beside_them(
    call: Run, files: Any, tmp_path: Path
) -> None:
    inputs = ["-m", f"image={files[0]}", "-m", f"text={files[1]}"]
    succeed(call, *inputs, "--out", tmp_path / "full")
    text = succeed(call, *inputs, "--out", tmp_path / "bare", "--no-report")
    assert " - " not in text, "no columns of what was not measured"
    assert "variance kept" not in text
    for path in (tmp_path / "full/embeddings").iterdir():
        assert path.read_bytes() == (tmp_path / "bare/embeddings" / path.name).read_bytes()
    for name in ("items.parquet", "report.html", "report.md"):
        assert (tmp_path / "full" / name).exists()
        assert not (tmp_path / "bare" / name).exists()
    bare = json.loads((tmp_path / "bare/diagnostics.json").read_text())
    full = json.loads((tmp_path / "full/diagnostics.json").read_text())
    assert bare["pairs"][0]["leftover"]["fit_algebraic"] == full["pairs"][0]["leftover"]["fit_algebraic"]
    assert bare["modalities"]["image"]["rows_by_status"] == full["modalities"]["image"]["rows_by_status"]
    assert "sample" not in bare["pairs"][0]
    assert "variance_kept" not in bare["modalities"]["image"]


@pytest.mark.parametrize("memory", ["300MiB", "1GiB", "8GiB"])
@pytest.mark.parametrize("threads", [1, 3])
def test_memory_and_threads_change_no_byte(call: Run, files: Any, tmp_path: Path, memory: str, threads: int) -> None:
    inputs = ["-m", f"image={files[0]}", "-m", f"text={files[1]}"]
    succeed(call, *inputs, "--out", tmp_path / "a")
    succeed(call, *inputs, "--out", tmp_path / "b", "--memory", memory, "--threads", threads)
    for path in (tmp_path / "a").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_memory_is_printed_where_it_is_scarce_and_obeyed(call: Run, files: Any, tmp_path: Path) -> None:
    inputs = ["run", "-m", f"image={files[0]}", "-m", f"text={files[1]}", "--out", tmp_path / "out"]
    code, _, err = call(*inputs, "--memory", "300MiB")
    assert code == 0
    assert err.startswith("memory: 300 MiB granted, about ")
    more = [*inputs, "--memory", "8GiB", "--overwrite"]
    assert "memory:" not in call(*more)[2]
    assert "\nmemory: 8,192 MiB granted, about " in call(*more, "--rank", "3", "-v")[2]
    code, _, err = call(*inputs[:-1], tmp_path / "other", "--memory", "10MiB")
    assert code == 2
    assert err.startswith("error: this takes more memory than is granted\n  in: --memory\n  granted: 10 MiB\n")
    assert not (tmp_path / "other").exists()
    code, out, _ = call(*inputs, "--memory", "lots")
    assert (code, out) == (2, "")
