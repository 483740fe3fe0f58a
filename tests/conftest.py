"""A small planted catalogue: two modalities that share four factors, and a third one."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clear_cli import __main__

Floats = npt.NDArray[Any]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session", autouse=True)
def _nothing_frozen() -> Iterator[None]:
    """Commands called in this process would hide from hypothesis what refers to its generators."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "freeze", lambda: None)
        yield


@dataclass
class Catalogue:
    """Planted embeddings and their ids."""

    ids: list[str]
    image: Floats
    text: Floats
    audio: Floats


def planted(items: int = 400, seed: int = 0, shared: int = 4) -> Catalogue:
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(items, shared)) * np.linspace(3, 1, shared)

    def modality(dim: int) -> Floats:
        rows = common @ rng.normal(size=(shared, dim)) + rng.normal(size=(items, dim)) + rng.normal(size=dim)
        return rows.astype(np.float32)

    return Catalogue([f"item-{i:05d}" for i in range(items)], modality(24), modality(16), modality(12))


@pytest.fixture
def catalogue() -> Catalogue:
    return planted()


def write_parquet(path: Path, ids: Any, rows: Floats, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = pa.array(np.ascontiguousarray(rows).ravel())
    embedding = pa.FixedSizeListArray.from_arrays(values, rows.shape[1])
    pq.write_table(pa.table({"item_id": pa.array(ids), "embedding": embedding}), path, **options)
    return path


def write_hdf5(path: Path, ids: list[str], rows: Floats) -> Path:
    with h5py.File(path, "w") as file:
        file["embeddings"] = rows
        file["ids"] = ids
    return path


def write_npy(path: Path, rows: Floats, ids: list[Any] | None = None) -> Path:
    np.save(path, rows)
    if ids is not None:
        path.with_suffix(".txt").write_text("".join(f"{one}\n" for one in ids))
    return path


def read_parquet(path: Path, column: str = "embedding") -> Floats:
    array = pq.read_table(path)[column].combine_chunks()
    return np.array(array.to_pylist(), dtype=array.type.value_type.to_pandas_dtype())


@pytest.fixture
def files(tmp_path: Path, catalogue: Catalogue) -> tuple[Path, Path]:
    """Image as Parquet, text as HDF5 in reverse order."""
    folder = tmp_path / "in"
    image = write_parquet(folder / "image.parquet", catalogue.ids, catalogue.image, row_group_size=150)
    return image, write_hdf5(folder / "text.h5", catalogue.ids[::-1], catalogue.text[::-1])


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command line in this process: (exit code, stdout, stderr)."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def run(*arguments: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["clear-cli", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            __main__.main()
        output = capsys.readouterr()
        code = exit_.value.code
        return (code if isinstance(code, int) else 0), output.out, output.err

    return run
