"""What pages take for granted: a reader's own files, cut from the sample catalogue, under the names that pages use."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq

from tests.conftest import write_hdf5, write_npy, write_parquet
from tests.docs.blocks import put_on_path

ROOT = Path(__file__).parents[2]


def lay_out(folder: Path, items: int = 600) -> None:
    """Fill the directory that a page runs in.

    There are sample_data/ as it is, and `make demo` works; image and text of some items as Parquet, HDF5 and NPY; the
    same in two days, and texts of a third; and what MMRec calls a data set.
    """
    sample = folder / "sample_data"
    shutil.copytree(ROOT / "sample_data", sample, ignore=shutil.ignore_patterns("*.py", "*.png", "__pycache__"))
    put_on_path(folder / "bin")
    _makefile(folder)
    ids, image, text = (one[:items] for one in complete(sample))
    write_parquet(folder / "image.parquet", ids, image)
    write_hdf5(folder / "text.h5", ids, text)
    for name, rows in (("image", image), ("text", text)):
        write_npy(folder / f"{name}.npy", rows)
        write_npy(_within(folder / "baby") / f"{name}_feat.npy", rows)
        for day, part in enumerate((slice(0, items // 2), slice(items // 2, items)), start=1):
            write_parquet(folder / f"day{day}/{name}.parquet", ids[part], rows[part])
    write_npy(folder / "price.npy", np.linspace(1, 9, len(ids)))
    with h5py.File(folder / "feats.h5", "w") as file:
        file["ids"], file["image/emb"], file["text/emb"] = ids, image, text
    (folder / "baby/baby.inter").write_text("userID\titemID\trating\ttimestamp\tx_label\n0\t0\t5.0\t0\t0\n")
    with h5py.File(sample / "new_items_text.h5") as file:
        write_parquet(folder / "new_items.parquet", [key.decode() for key in file["item_id"]], file["embedding"][:])


def complete(sample: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Ids, images and texts of the items of the sample catalogue that have both."""
    table = pq.read_table(sample / "image.parquet", columns=["item_id", "embedding"])
    images = dict(zip(table["item_id"].to_pylist(), np.stack(table["embedding"].to_numpy()), strict=True))
    with h5py.File(sample / "text.h5") as file:
        texts = dict(zip([key.decode() for key in file["item_id"]], file["embedding"][:], strict=True))
    ids = [one for one in images if one in texts and texts[one].any()]
    return ids, np.stack([images[one] for one in ids]), np.stack([texts[one] for one in ids])


def _within(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _makefile(folder: Path) -> None:
    """The Makefile of the project, which finds its environment ready."""
    for name in ("Makefile", "requirements-dev.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    put_on_path(_within(folder / ".venv") / "bin")
    (folder / ".venv/.ready").touch()
