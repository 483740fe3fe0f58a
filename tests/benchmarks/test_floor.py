"""The floor that speed is measured against does its job: a mark against one that skips work would be worth nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
DIMS = {"image": 128, "text": 96}
ITEMS, RANK = 12_345, 5

Rows = npt.NDArray[np.float32]


def benchmark(name: str, *arguments: object) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / name), *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


def read(path: Path) -> tuple[Any, Rows]:
    """Item ids (none in NPY) and embeddings."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return table["item_id"].to_pylist(), np.array(table["embedding"].to_pylist(), np.float32)
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return file["item_id"][:].tolist(), file["embedding"][:]
    return None, np.load(path)


@pytest.mark.parametrize("container", ["parquet", "h5", "npy"])
def test_the_floor_takes_the_shared_directions_off_every_row_and_keeps_the_ids(tmp_path: Path, container: str) -> None:
    sizes = [f"{name}={dim}" for name, dim in DIMS.items()]
    benchmark("generate.py", tmp_path, "--items", ITEMS, "--container", container, "--modalities", *sizes)
    files = [tmp_path / f"{name}.{container}" for name in DIMS]
    benchmark("floor.py", *files, tmp_path / "out", "--rank", RANK, "--threads", 2)

    (ids, a), (_, b) = map(read, files)
    u, _, vt = np.linalg.svd(a.astype(np.float64).T @ b)
    for path, x, directions in zip(files, (a, b), (u[:, :RANK], vt[:RANK].T), strict=True):
        kept_ids, written = read(tmp_path / "out" / path.name)
        assert kept_ids == ids
        np.testing.assert_allclose(written, x - (x @ directions) @ directions.T, atol=1e-5)


def test_the_catalogue_is_the_same_in_every_container(tmp_path: Path) -> None:
    rows = []
    for container in ("parquet", "h5", "npy"):
        folder = tmp_path / container
        benchmark("generate.py", folder, "--items", 500, "--container", container, "--modalities", "text=96")
        rows.append(read(folder / f"text.{container}")[1])
    assert all(np.array_equal(one, rows[0]) for one in rows)
