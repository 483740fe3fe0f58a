"""Frames that pandas wrote in HDF5.

The file beside this one was written by pandas 3.1 and PyTables 3.11, which the other tests do not need: per frame of 12
rows of float32 `e0` to `e3`, `store.put(name, frame, format="fixed")`. It is written again with all that is in it by

    text_ids     index sku-0 to sku-10 and 日本     integer_ids  float64, index 0, 7, 14, ...
    two_blocks   with a column of float64          square       its first 4 rows: as many as columns
    mixed_ids    index of strings and integers     levels       index of two levels
    dates        index of days                     table        format="table"
"""

from __future__ import annotations

import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.formats.hdf5_files import ids, message, opened, rewritten, values

STORE = Path(__file__).with_suffix(".h5.gz")
X = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
IDS = [*(f"sku-{i}" for i in range(11)), "日本"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "frames.h5").write_bytes(gzip.decompress(STORE.read_bytes()))
    return tmp_path / "frames.h5"


@pytest.mark.parametrize(
    ("frame", "x", "index"),
    [
        ("text_ids", X, IDS),
        ("integer_ids", X.astype(np.float64), list(range(0, 84, 7))),
        ("two_blocks", X, IDS),
        ("square", X[:4], IDS[:4]),
    ],
)
def test_a_frame_is_its_block_of_floats_and_its_index(
    path: Path, tmp_path: Path, frame: str, x: np.ndarray, index: list[object]
) -> None:
    for name in (frame, f"/{frame}/block0_values"):
        source = opened(path, embedding_column=name)
        assert ids(source) == index
        assert source.dtype == x.dtype
        np.testing.assert_array_equal(values(source), x)
    with h5py.File(rewritten(source, tmp_path / "out.h5")) as file:
        np.testing.assert_array_equal(file[f"{frame}/block0_values"], x * 2)
        assert file[f"{frame}/block0_values"].attrs["transposed"] == 1


def test_a_file_of_one_frame_needs_no_name(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        for name in set(file) - {"square", "table"}:
            del file[name]
    assert ids(opened(path)) == IDS[:4]


def test_frames_are_not_guessed_between(path: Path) -> None:
    assert "  fix: --embedding-column image=dates/block0_values" in message(path)


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        ("mixed_ids", "it is pickled, and pickles are not loaded"),
        ("levels", "it is of several levels"),
        ("dates", "it is of datetime64[us]"),
    ],
)
def test_an_index_that_cannot_be_ids(path: Path, frame: str, why: str) -> None:
    assert message(path, embedding_column=frame) == (
        f'the index of the pandas frame "{frame}" cannot hold item ids: {why}\n  in: {path}\n'
        "  fix: store the frame with an index of strings or of integers, or --id-column image=NAME"
    )


def test_ids_may_be_elsewhere(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["names"] = IDS
    assert ids(opened(path, embedding_column="mixed_ids", id_column="names")) == IDS


def test_the_table_format(path: Path) -> None:
    expected = (
        f'"table" is a pandas frame in table format, which is not supported\n  in: {path}\n'
        "  fix: store it in fixed format: frame.to_hdf(path, key=..., format='fixed')"
    )
    assert message(path, embedding_column="table") == expected
    with h5py.File(path, "r+") as file:
        for name in set(file) - {"table"}:
            del file[name]
    assert message(path) == expected
