"""HDF5 filters: those of h5py, those of hdf5plugin (loaded when one is met), and those that are missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.formats.hdf5_files import DIM, IDS, ROWS, X, make, message, opened, rewritten, values

hdf5plugin = pytest.importorskip("hdf5plugin")

PLUGINS: dict[str, Any] = {
    "blosc": hdf5plugin.Blosc(),
    "blosc2": hdf5plugin.Blosc2(),
    "bitshuffle": hdf5plugin.Bitshuffle(),
    "bzip2": hdf5plugin.BZip2(),
    "lz4": hdf5plugin.LZ4(),
    "zstd": hdf5plugin.Zstd(),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "items.h5"


@pytest.mark.parametrize("name", PLUGINS)
def test_filters_of_hdf5plugin_are_read_and_kept(path: Path, tmp_path: Path, name: str) -> None:
    make(path, chunks=(10, DIM), **PLUGINS[name])
    source = opened(path)
    assert source.describe()["filters"] == [name]
    np.testing.assert_array_equal(values(source), X)
    out = opened(rewritten(source, tmp_path / "out.h5"))
    assert out.describe() == source.describe()
    np.testing.assert_array_equal(values(out), X * 2)


@pytest.mark.skipif(not h5py.h5z.filter_avail(4), reason="this HDF5 has no szip")
def test_szip(path: Path, tmp_path: Path) -> None:
    if not h5py.h5z.get_filter_info(4) & h5py.h5z.FILTER_CONFIG_ENCODE_ENABLED:
        pytest.skip("this HDF5 reads szip only")
    source = opened(make(path, chunks=(10, DIM), compression="szip"))
    assert source.describe()["filters"] == ["szip"]
    np.testing.assert_array_equal(values(opened(rewritten(source, tmp_path / "out.h5"))), X * 2)


def test_hdf5plugin_is_loaded_only_when_it_is_needed(path: Path, tmp_path: Path) -> None:
    gzip = make(tmp_path / "gzip.h5", chunks=(10, DIM), compression="gzip")
    make(path, chunks=(10, DIM), **PLUGINS["zstd"])
    code = (
        "import sys; from pathlib import Path; from clear_cli.embeddings.hdf5 import Hdf5Source\n"
        "for path in sys.argv[1:]:\n"
        "    next(Hdf5Source(Path(path), modality='image').chunks()); print('hdf5plugin' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, gzip, path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


class TestMissing:
    @pytest.fixture(autouse=True)
    def nothing_is_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        available = h5py.h5z.filter_avail
        monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: code < 32001 and code != 307 and available(code))
        monkeypatch.setitem(sys.modules, "hdf5plugin", None)

    @pytest.mark.parametrize(
        ("code", "name"),
        [
            (307, "bzip2"),
            (32001, "blosc"),
            (32004, "lz4"),
            (32008, "bitshuffle"),
            (32013, "zfp"),
            (32015, "zstd"),
            (32026, "blosc2"),
        ],
    )
    def test_the_extra_that_has_it_is_named(self, path: Path, code: int, name: str) -> None:
        with h5py.File(path, "w") as file:
            file["item_id"] = IDS
            filtered(file, b"x", (ROWS, DIM), code)
        assert message(path) == (
            f'dataset "x" is stored with HDF5 filter {code} ({name}), which is not installed\n  in: {path}\n'
            "  fix: pip install 'clear-cli[hdf5]'"
        )

    def test_a_filter_of_the_ids_and_one_that_nobody_knows(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["embeddings"] = X
            filtered(file, b"item_id", (ROWS,), 40000, h5py.h5t.NATIVE_INT64)
        assert message(path) == (
            'dataset "item_id" is stored with HDF5 filter 40000 (unknown), which is not installed\n'
            f"  in: {path}\n"
            "  fix: install its HDF5 plugin, and set HDF5_PLUGIN_PATH to the folder that holds it"
        )

    def test_a_filter_of_one_item(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["items/1"] = X[0]
            filtered(file, b"items/2", (DIM,), 32015)
        assert message(path).startswith('dataset "items/2" is stored with HDF5 filter 32015 (zstd)')

    def test_a_filter_that_only_reads(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make(path, compression="gzip")
        monkeypatch.setattr(h5py.h5z, "get_filter_info", lambda _: h5py.h5z.FILTER_CONFIG_DECODE_ENABLED)
        assert message(path).startswith('dataset "embeddings" is stored with HDF5 filter 1 (gzip), which is not')


def filtered(file: h5py.File, name: bytes, shape: tuple[int, ...], code: int, kind: Any = None) -> None:
    """A dataset with a filter that HDF5 skipped in writing because it is optional."""
    pipeline = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    pipeline.set_chunk(shape)
    pipeline.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (0,) if code != 307 else ())
    h5py.h5d.create(file.id, name, kind or h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(shape), pipeline)
