"""Whether two folders hold the same projected embeddings, on some rows of each file.

Singular vectors may differ in sign and rotation, projected values may not: those are what is compared.

Usage: python benchmarks/agree.py OUT OTHER
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

Rows = npt.NDArray[np.floating[Any]]
ROWS = 10_000


def samples(path: Path) -> tuple[tuple[int, ...], list[tuple[Sequence[Any], Rows]]]:
    """The shape of a file (rows, and row groups or dim), and ids and embeddings (n, d) at three places in it."""
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            groups = file.num_row_groups
            chosen = [file.read_row_group(group) for group in sorted({0, groups // 2, groups - 1})]
            return (file.metadata.num_rows, groups), [
                (table["item_id"].to_pylist(), _matrix(table)) for table in chosen
            ]
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            places = _places(len(file["embedding"]))
            return file["embedding"].shape, [(list(file["item_id"][one]), file["embedding"][one]) for one in places]
    matrix = np.load(path, mmap_mode="r")
    return matrix.shape, [((), np.asarray(matrix[one])) for one in _places(len(matrix))]


def _matrix(table: Any) -> Rows:
    return np.concatenate([chunk.flatten().to_numpy() for chunk in table["embedding"].chunks]).reshape(len(table), -1)


def _places(rows: int) -> list[slice]:
    return [slice(start, start + ROWS) for start in sorted({0, rows // 2, max(rows - ROWS, 0)})]


def difference(ours: Path, theirs: Path) -> tuple[float, float, int]:
    """Largest absolute difference, root mean square of the values, and rows compared.

    Raises:
        SystemExit: The files do not have the same rows in the same order.
    """
    (shape, places), (other_shape, other_places) = samples(ours), samples(theirs)
    if shape != other_shape:
        raise SystemExit(f"{ours.name}: the outputs differ in rows or row groups")
    largest, squares, values, compared = 0.0, 0.0, 0, 0
    for (ids, x), (other_ids, y) in zip(places, other_places, strict=True):
        if ids != other_ids:
            raise SystemExit(f"{ours.name}: the outputs differ in ids")
        largest = max(largest, float(np.abs(x - y).max()))
        squares, values, compared = (
            squares + float((y.astype(np.float64) ** 2).sum()),
            values + y.size,
            compared + len(y),
        )
    return largest, (squares / values) ** 0.5, compared


def main() -> None:
    """Compare the files of the first folder with those of the same name in the second."""
    ours, theirs = map(Path, sys.argv[1:])
    for path in sorted(ours.iterdir()):
        largest, size, compared = difference(path, theirs / path.name)
        print(
            f"- {path.name}: largest difference {largest:.1e} between the outputs, whose values have "
            f"a root mean square of {size:.1e} ({compared:,} rows compared)"
        )


if __name__ == "__main__":
    main()
