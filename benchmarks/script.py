"""What a user would write instead: CLEAR on two Parquet files, whole in memory, with NumPy.

Usage: python benchmarks/script.py image.parquet text.parquet OUT [--rank 16]

No report, no diagnostics, no checks: rows must be complete and of one length, every id must be in both files.
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


def read(path: Path) -> tuple[pa.Table, Matrix]:
    """The table, its embedding column emptied out into a matrix."""
    table = pq.read_table(path)
    return table.drop_columns("embedding"), to_numpy(table["embedding"])


def shared_directions(a: Matrix, b: Matrix, rank: int) -> tuple[Matrix, Matrix]:
    """Leading singular vectors of the cross-covariance: (d_a, rank) and (d_b, rank)."""
    c = (a - a.mean(axis=0)).T @ (b - b.mean(axis=0)) / (len(a) - 1)
    u, _, vt = np.linalg.svd(c, full_matrices=False)
    return u[:, :rank], vt[:rank].T


def write(path: Path, table: pa.Table, x: Matrix) -> None:
    """The table with its embeddings put back as the last column."""
    column: Any = to_lists(x, pa.list_(pa.float32()))
    pq.write_table(table.append_column("embedding", column), path, row_group_size=10_000)


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
    same = image["item_id"].equals(text["item_id"])
    partner = b if same else b[pc.index_in(image["item_id"], text["item_id"]).to_numpy()]
    u, v = shared_directions(a, partner, given.rank)
    a -= (a @ u) @ u.T
    b -= (b @ v) @ v.T
    given.out.mkdir(parents=True)
    write(given.out / given.image.name, image, a)
    write(given.out / given.text.name, text, b)


if __name__ == "__main__":
    main()
