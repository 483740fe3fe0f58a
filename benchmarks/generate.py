"""Write a synthetic catalogue: embeddings of the same items in several modalities, with a known shared subspace.

Each row is a column offset + shared factors + private factors + noise. The shared factors of an item are the
same in every modality and fade geometrically; everything else is independent. Rows are drawn and written a few
thousand at a time, each block from a seed of its own: memory does not grow with the catalogue, and the same rows
come out in every container.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Float32 = npt.NDArray[np.float32]
Write = Callable[[Sequence[str], Float32], None]

DIMS = {"image": 768, "text": 384}
BLOCK_ROWS = 10_000
GROUP_BYTES = 32 << 20
"""Row groups of Parquet have at most so many, and at most `BLOCK_ROWS` rows."""

SHARED_FACTORS, PRIVATE_FACTORS = 24, 64
SHARED_FADE, PRIVATE_FADE = 0.9, 0.95
NOISE, OFFSET = 0.2, 0.5
SCHEMA = pa.schema([("item_id", pa.string()), ("embedding", pa.list_(pa.float32()))])


@dataclass(frozen=True)
class Parameters:
    """What the catalogue depends on; kept in `catalogue.json` beside it."""

    items: int
    seed: int
    dims: dict[str, int]
    container: str
    format: int = 2


@dataclass(frozen=True, eq=False)
class Modality:
    """How the rows of one modality are made.

    Attributes:
        offset: (d,) column means.
        shared: (SHARED_FACTORS, d) loadings of the factors that both modalities have.
        private: (PRIVATE_FACTORS, d) loadings of its own.
    """

    offset: Float32
    shared: Float32
    private: Float32

    @classmethod
    def draw(cls, rng: np.random.Generator, dim: int) -> Modality:
        """Orthonormal directions, scaled by fading weights."""
        factors = SHARED_FACTORS + PRIVATE_FACTORS
        directions = np.linalg.qr(rng.standard_normal((dim, factors)))[0].T
        weights = np.r_[SHARED_FADE ** np.arange(SHARED_FACTORS), PRIVATE_FADE ** np.arange(PRIVATE_FACTORS)]
        loadings = (directions * weights[:, None]).astype(np.float32)
        offset = (OFFSET / dim**0.5 * rng.standard_normal(dim)).astype(np.float32)
        return cls(offset, loadings[:SHARED_FACTORS], loadings[SHARED_FACTORS:])

    def rows(self, rng: np.random.Generator, factors: Float32) -> Float32:
        """(n, d) rows of items with these shared factors (n, SHARED_FACTORS)."""
        n, dim = len(factors), len(self.offset)
        x = rng.standard_normal((n, dim), dtype=np.float32)
        x *= np.float32(NOISE / dim**0.5)
        x += self.offset
        x += factors @ self.shared
        x += rng.standard_normal((n, PRIVATE_FACTORS), dtype=np.float32) @ self.private
        return x


def generate(folder: Path, parameters: Parameters) -> bool:
    """Write one file per modality, and `ids.txt` beside NPY, unless they are there with the same parameters.

    Returns:
        Whether anything was written.
    """
    if _is_there(folder, parameters):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    for stale in ("catalogue.json", "text_shuffled.parquet"):
        (folder / stale).unlink(missing_ok=True)
    for number, (name, dim) in enumerate(parameters.dims.items()):
        modality = Modality.draw(np.random.default_rng([parameters.seed, 1, number]), dim)
        path = folder / f"{name}.{parameters.container}"
        with WRITERS[parameters.container](path, parameters.items, dim) as write:
            for block, start in enumerate(range(0, parameters.items, BLOCK_ROWS)):
                rows = range(start, min(start + BLOCK_ROWS, parameters.items))
                factors = np.random.default_rng([parameters.seed, 0, block]).standard_normal(
                    (len(rows), SHARED_FACTORS), dtype=np.float32
                )
                x = modality.rows(np.random.default_rng([parameters.seed, 2, number, block]), factors)
                write([item_id(row) for row in rows], x)
    (folder / "catalogue.json").write_text(json.dumps(asdict(parameters), indent=1) + "\n", encoding="utf-8")
    return True


def item_id(row: int) -> str:
    return f"item-{row:08d}"


@contextmanager
def parquet(path: Path, items: int, dim: int) -> Iterator[Write]:  # noqa: ARG001
    """A string and a list column, with the settings that Arrow has by itself, in row groups of usual size."""
    rows = min(BLOCK_ROWS, GROUP_BYTES // (4 * dim))
    with pq.ParquetWriter(path, SCHEMA, compression="snappy") as writer:
        yield lambda ids, x: writer.write_table(table(ids, x), row_group_size=rows)


@contextmanager
def hdf5(path: Path, items: int, dim: int) -> Iterator[Write]:
    """A contiguous dataset of the embeddings, and one of the ids."""
    with h5py.File(path, "w") as file:
        embeddings = file.create_dataset("embedding", (items, dim), np.float32)
        names = file.create_dataset("item_id", (items,), f"S{len(item_id(0))}")
        done = 0

        def write(ids: Sequence[str], x: Float32) -> None:
            nonlocal done
            embeddings[done : done + len(x)] = x
            names[done : done + len(x)] = np.array(ids, "S")
            done += len(x)

        yield write


@contextmanager
def npy(path: Path, items: int, dim: int) -> Iterator[Write]:
    """A matrix, and the ids in a text file beside it."""
    with path.open("wb") as file, (path.parent / "ids.txt").open("w", encoding="utf-8") as names:
        header = {"descr": "<f4", "fortran_order": False, "shape": (items, dim)}
        np.lib.format.write_array_header_1_0(file, header)

        def write(ids: Sequence[str], x: Float32) -> None:
            file.write(x.data)
            names.writelines(f"{one}\n" for one in ids)

        yield write


WRITERS: dict[str, Callable[[Path, int, int], AbstractContextManager[Write]]] = {
    "parquet": parquet,
    "h5": hdf5,
    "npy": npy,
}


def shuffle(folder: Path, parameters: Parameters) -> bool:
    """Write `text_shuffled.parquet`: the rows of `text.parquet` in another order. Returns whether it was written.

    The rows go through a scratch file on disk, which is read back in random order.
    """
    target = folder / "text_shuffled.parquet"
    if target.exists():
        return False
    scratch, unfinished = folder / "scratch.f32", folder / "unfinished.parquet"
    dim = parameters.dims["text"]
    with scratch.open("wb") as file:
        for batch in _batches(folder / "text.parquet"):
            file.write(batch.column("embedding").flatten().to_numpy().tobytes())
    rows = np.memmap(scratch, np.float32, "r", shape=(parameters.items, dim))
    order = np.random.default_rng([parameters.seed, 3]).permutation(parameters.items)
    with parquet(unfinished, parameters.items, dim) as write:
        for start in range(0, parameters.items, BLOCK_ROWS):
            chosen = order[start : start + BLOCK_ROWS]
            write([item_id(row) for row in chosen], rows[chosen])
    del rows
    scratch.unlink()
    unfinished.rename(target)
    return True


def table(ids: Sequence[str], x: Float32) -> pa.Table:
    """Rows (n, d) with their ids, as a table."""
    offsets = np.arange(0, x.size + 1, x.shape[1], dtype=np.int32)
    embeddings = pa.ListArray.from_arrays(offsets, x.ravel(), type=SCHEMA.field("embedding").type)
    return pa.table([pa.array(ids, pa.string()), embeddings], schema=SCHEMA)


def _batches(path: Path) -> Iterator[Any]:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=BLOCK_ROWS)


def _is_there(folder: Path, parameters: Parameters) -> bool:
    try:
        return bool(json.loads((folder / "catalogue.json").read_text(encoding="utf-8")) == asdict(parameters))
    except (OSError, ValueError):
        return False


def main() -> None:
    """Parse the command line and write the catalogue."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=int, default=400_000)
    parser.add_argument("--modalities", nargs="+", metavar="NAME=DIM", default=[f"{n}={d}" for n, d in DIMS.items()])
    parser.add_argument("--container", choices=WRITERS, default="parquet")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shuffle", action="store_true", help="Parquet: also write the text in another order")
    given = parser.parse_args()
    if given.shuffle and given.container != "parquet":
        parser.error("--shuffle is for Parquet")
    dims = {name: int(dim) for name, dim in (one.split("=") for one in given.modalities)}
    parameters = Parameters(given.items, given.seed, dims, given.container)
    written = generate(given.folder, parameters)
    if given.shuffle:
        written = shuffle(given.folder, parameters) or written
    print(f"{'wrote' if written else 'kept'} {given.items:,} items in {given.folder}")


if __name__ == "__main__":
    main()
