"""What a user would write instead: CLEAR on two files, whole in memory, with NumPy.

Usage: python benchmarks/script.py image.parquet text.parquet OUT [--rank 16]

No report, no diagnostics, no checks: rows must be complete and of one length, and in the same order but for
Parquet, where they are put in order by id, and every id must be in both files.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

Matrix = npt.NDArray[np.float32]


def to_numpy(column: pa.ChunkedArray) -> Matrix:
    """(n, d) of a list column; the chunks are views, putting them together is the only copy."""
    return np.concatenate([chunk.flatten().to_numpy().reshape(len(chunk), -1) for chunk in column.chunks])


def to_lists(x: Matrix, kind: pa.DataType) -> pa.ListArray:
    """The list column of a matrix (n, d), without a copy."""
    offsets = np.arange(0, x.size + 1, x.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(x.ravel()), type=kind)


def read(path: Path) -> tuple[Any, Matrix]:
    """What the file has besides, and its embeddings as a matrix."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return table.drop_columns("embedding"), to_numpy(table["embedding"])
    if path.suffix == ".h5":
        import h5py

        with h5py.File(path) as file:
            return {name: file[name][:] for name in file if name != "embedding"}, file["embedding"][:]
    return None, np.load(path)


def write(path: Path, rest: Any, x: Matrix) -> None:
    """The file again, with new embeddings."""
    if path.suffix == ".parquet":
        column: Any = to_lists(x, pa.list_(pa.float32()))
        rows = min(10_000, (32 << 20) // (4 * x.shape[1]))  # as in the input
        pq.write_table(rest.append_column("embedding", column), path, row_group_size=rows)
    elif path.suffix == ".h5":
        import h5py

        with h5py.File(path, "w") as file:
            for name, values in {**rest, "embedding": x}.items():
                file[name] = values
    else:
        np.save(path, x)


def in_order(image: Any, text: Any, b: Matrix) -> Matrix:
    """The rows of the text in the order of the image."""
    if not isinstance(image, pa.Table) or image["item_id"].equals(text["item_id"]):
        return b
    return b[pc.index_in(image["item_id"], text["item_id"]).to_numpy()]


def shared_directions(a: Matrix, b: Matrix, rank: int) -> tuple[Matrix, Matrix]:
    """Leading singular vectors of the cross-covariance: (d_a, rank) and (d_b, rank)."""
    c = (a - a.mean(axis=0)).T @ (b - b.mean(axis=0)) / (len(a) - 1)
    u, _, vt = np.linalg.svd(c, full_matrices=False)
    return u[:, :rank], vt[:rank].T


def project(x: Matrix, u: Matrix) -> None:
    """Take the directions u (d, rank) off the rows, in place."""
    x -= (x @ u) @ u.T


def main() -> None:
    """Read both, fit, project both, write both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rank", type=int, default=16)
    given = parser.parse_args()
    image, a = read(given.image)
    text, b = read(given.text)
    u, v = shared_directions(a, in_order(image, text, b), given.rank)
    project(a, u)
    project(b, v)
    given.out.mkdir(parents=True)
    write(given.out / given.image.name, image, a)
    write(given.out / given.text.name, text, b)


if __name__ == "__main__":
    main()
