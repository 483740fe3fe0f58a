"""Sound files of every kind that is read, and the commands that read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.conftest import planted, write_hdf5, write_npy, write_parquet

ITEMS = 40
PLAIN = ("--no-report", "--threads", "1", "--memory", "256MiB", "-q")


@dataclass(frozen=True)
class Seed:
    """A sound file that is to be damaged.

    Attributes:
        name: Its path below the folder of the corpus.
        kind: How it is built, which decides how it is damaged.
        commands: The command lines that read it, from the folder that the corpus was copied to. All write to `out`.
    """

    name: str
    kind: str
    commands: Sequence[Sequence[str]]


def _run(image: str, *more: str, out: str = "out") -> tuple[str, ...]:
    return ("run", "-m", f"image={image}", "-m", "text=text.parquet", "-o", out, "--rank", "2", *PLAIN, *more)


def _reads(name: str, *more: str) -> list[tuple[str, ...]]:
    return [("inspect", name), _run(name, *more)]


SEEDS = (
    Seed("image.parquet", "parquet", _reads("image.parquet")),
    Seed("wide.parquet", "parquet", _reads("wide.parquet")),
    Seed("lists.parquet", "parquet", _reads("lists.parquet")),
    Seed("folder/part-1.parquet", "parquet", _reads("folder")),
    Seed("image.h5", "hdf5", _reads("image.h5")),
    Seed("items.h5", "hdf5", _reads("items.h5")),
    Seed("frame.h5", "hdf5", _reads("frame.h5")),
    Seed("image.npy", "npy", _reads("image.npy", "--ids", "image=image.txt")),
    Seed("ids.npy", "npy", [_run("image.npy", "--ids", "image=ids.npy")]),
    Seed("image.npz", "npz", _reads("image.npz", "--ids", "image=image.txt")),
    Seed("image.txt", "text", [_run("image.npy", "--ids", "image=image.txt")]),
    Seed("fit.txt", "text", [_run("image.parquet", "--fit-items", "fit.txt")]),
    Seed("image.itememb", "text", _reads("image.itememb")),
    Seed(
        "projector.safetensors",
        "safetensors",
        [
            ("inspect", "projector.safetensors"),
            ("apply", "projector.safetensors", "-m", "image=image.parquet", "-o", "out", *PLAIN),
        ],
    ),
    Seed(
        "day.moments",
        "safetensors",
        [("inspect", "day.moments"), ("merge", "day.moments", "sound.moments", "-o", "out", "-q")],
    ),
    Seed(
        "clean/diagnostics.json",
        "json",
        [("check", "clean", "--gate", "leftover_heldout<=0.5"), ("report", "clean", "-o", "out.html")],
    ),
    Seed(
        "clean/manifest.json",
        "json",
        [_run("image.parquet", "--overwrite", out="clean")],
    ),
)


def write_corpus(folder: Path, call: Callable[[Sequence[str]], int]) -> None:
    """Write all of it.

    Args:
        folder: Where to; it is also the current directory.
        call: Runs a command line, for what only the product can write.
    """
    found = planted(ITEMS)
    write_parquet(folder / "image.parquet", found.ids, found.image, row_group_size=16)
    write_parquet(folder / "text.parquet", found.ids, found.text)
    columns = {"item_id": found.ids, **{f"emb_{j}": found.image[:, j] for j in range(found.image.shape[1])}}
    pq.write_table(pa.table(columns), folder / "wide.parquet", compression="gzip")
    lists = pa.array([*found.image[:-1], None], pa.list_(pa.float32()))
    pq.write_table(pa.table({"item_id": found.ids, "emb": lists, "title": found.ids}), folder / "lists.parquet")
    half = ITEMS // 2
    write_parquet(folder / "folder/part-0.parquet", found.ids[:half], found.image[:half])
    write_parquet(folder / "folder/part-1.parquet", found.ids[half:], found.image[half:])
    write_hdf5(folder / "image.h5", found.ids, found.image)
    with h5py.File(folder / "items.h5", "w") as file:
        for one, row in zip(found.ids, found.image, strict=True):
            file[f"items/{one}"] = row
    with h5py.File(folder / "frame.h5", "w") as file:
        file.create_dataset("embeddings", data=found.image, chunks=(7, 24), compression="gzip", shuffle=True)
        file.create_dataset("item_id", data=found.ids, chunks=(16,), maxshape=(None,))
        file["embeddings"].attrs["model"] = "clip"
    write_npy(folder / "image.npy", found.image, found.ids)
    np.save(folder / "ids.npy", np.array(found.ids))
    np.savez_compressed(folder / "image.npz", embeddings=found.image)
    (folder / "fit.txt").write_text("\n".join(found.ids[::2]) + "\n")
    rows = (f"{one}\t{' '.join(map(str, row))}\n" for one, row in zip(found.ids, found.image, strict=True))
    (folder / "image.itememb").write_text("iid:token\titem_emb:float_seq\n" + "".join(rows))
    sides = ("-m", "image=image.parquet", "-m", "text=text.parquet", "--rank", "2", "-q")
    assert call(("run", *sides, "-o", "clean")) == 0
    assert call(("fit", *sides, "-o", "fitted", "--moments-out", "day.moments")) == 0
    (folder / "sound.moments").write_bytes((folder / "day.moments").read_bytes())
    (folder / "projector.safetensors").write_bytes((folder / "fitted/projector.safetensors").read_bytes())
