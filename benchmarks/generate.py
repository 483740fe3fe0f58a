"""Write a synthetic catalogue: image and text embeddings of the same items, with a known shared subspace.

Each row is a column offset + shared factors + private factors + noise. The shared factors of an item are the
same in both modalities and fade geometrically; everything else is independent. Row groups are drawn and
written one at a time, each from a seed of its own, so memory does not grow with the catalogue.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Float32 = npt.NDArray[np.float32]

DIMS = {"image": 768, "text": 384}
GROUP_ROWS = 10_000
SHARED_FACTORS, PRIVATE_FACTORS = 24, 64
SHARED_FADE, PRIVATE_FADE = 0.9, 0.95
NOISE, OFFSET = 0.2, 0.5
SCHEMA = pa.schema([("item_id", pa.string()), ("embedding", pa.list_(pa.float32()))])


@dataclass(frozen=True)
class Parameters:
    """What the catalogue depends on; kept in `catalogue.json` beside it."""

    items: int
    seed: int
    format: int = 1


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
    """Write `image.parquet` and `text.parquet`, unless they are there with the same parameters.

    Returns:
        Whether anything was written.
    """
    if _is_there(folder, parameters):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    for stale in ("catalogue.json", "text_shuffled.parquet"):
        (folder / stale).unlink(missing_ok=True)
    for number, (name, dim) in enumerate(DIMS.items()):
        modality = Modality.draw(np.random.default_rng([parameters.seed, 1, number]), dim)
        with pq.ParquetWriter(folder / f"{name}.parquet", SCHEMA, compression="snappy") as writer:
            for group, start in enumerate(range(0, parameters.items, GROUP_ROWS)):
                rows = range(start, min(start + GROUP_ROWS, parameters.items))
                factors = np.random.default_rng([parameters.seed, 0, group]).standard_normal(
                    (len(rows), SHARED_FACTORS), dtype=np.float32
                )
                x = modality.rows(np.random.default_rng([parameters.seed, 2, number, group]), factors)
                writer.write_table(table([f"item-{row:08d}" for row in rows], x), row_group_size=GROUP_ROWS)
    (folder / "catalogue.json").write_text(json.dumps(asdict(parameters), indent=1) + "\n", encoding="utf-8")
    return True


def shuffle(folder: Path, parameters: Parameters) -> bool:
    """Write `text_shuffled.parquet`: the rows of `text.parquet` in another order. Returns whether it was written.

    The rows go through a scratch file on disk, which is read back in random order.
    """
    target = folder / "text_shuffled.parquet"
    if target.exists():
        return False
    scratch, unfinished = folder / "scratch.f32", folder / "unfinished.parquet"
    dim = DIMS["text"]
    with scratch.open("wb") as file:
        for batch in _batches(folder / "text.parquet"):
            file.write(batch.column("embedding").flatten().to_numpy().tobytes())
    rows = np.memmap(scratch, np.float32, "r", shape=(parameters.items, dim))
    order = np.random.default_rng([parameters.seed, 3]).permutation(parameters.items)
    with pq.ParquetWriter(unfinished, SCHEMA, compression="snappy") as writer:
        for start in range(0, parameters.items, GROUP_ROWS):
            chosen = order[start : start + GROUP_ROWS]
            writer.write_table(table([f"item-{row:08d}" for row in chosen], rows[chosen]), row_group_size=GROUP_ROWS)
    del rows
    scratch.unlink()
    unfinished.rename(target)
    return True


def table(ids: list[str], x: Float32) -> pa.Table:
    """Rows (n, d) with their ids, as a table."""
    offsets = np.arange(0, x.size + 1, x.shape[1], dtype=np.int32)
    embeddings = pa.ListArray.from_arrays(offsets, x.ravel(), type=SCHEMA.field("embedding").type)
    return pa.table([pa.array(ids), embeddings], schema=SCHEMA)


def _batches(path: Path) -> Iterator[Any]:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=GROUP_ROWS)


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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shuffle", action="store_true", help="also write the text in another order")
    given = parser.parse_args()
    parameters = Parameters(given.items, given.seed)
    written = generate(given.folder, parameters)
    if given.shuffle:
        written = shuffle(given.folder, parameters) or written
    print(f"{'wrote' if written else 'kept'} {given.items:,} items in {given.folder}")


if __name__ == "__main__":
    main()
