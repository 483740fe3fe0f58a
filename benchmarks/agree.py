"""Whether two folders hold the same projected embeddings, on some row groups of each file.

Singular vectors may differ in sign and rotation, projected values may not: those are what is compared.

Usage: python benchmarks/agree.py OUT OTHER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

Rows = npt.NDArray[np.floating[Any]]


def rows(file: pq.ParquetFile, group: int) -> tuple[list[str], Rows]:
    """Ids and embeddings (n, d) of one row group."""
    table = file.read_row_group(group)
    x = np.concatenate([chunk.flatten().to_numpy() for chunk in table["embedding"].chunks])
    return table["item_id"].to_pylist(), x.reshape(len(table), -1).astype(np.float64)


def difference(ours: Path, theirs: Path) -> tuple[float, float, int]:
    """Largest absolute difference, root mean square of the values, and rows compared.

    Raises:
        SystemExit: The files do not have the same rows in the same order.
    """
    with pq.ParquetFile(ours) as a, pq.ParquetFile(theirs) as b:
        if a.num_row_groups != b.num_row_groups or a.metadata.num_rows != b.metadata.num_rows:
            raise SystemExit(f"{ours.name}: the outputs differ in rows or row groups")
        largest, squares, values, compared = 0.0, 0.0, 0, 0
        for group in sorted({0, a.num_row_groups // 2, a.num_row_groups - 1}):
            (ids, x), (other_ids, y) = rows(a, group), rows(b, group)
            if ids != other_ids:
                raise SystemExit(f"{ours.name}: the outputs differ in ids in row group {group}")
            largest = max(largest, float(np.abs(x - y).max()))
            squares, values, compared = squares + float((y**2).sum()), values + y.size, compared + len(ids)
    return largest, (squares / values) ** 0.5, compared


def main() -> None:
    """Compare the files of the first folder with those of the same name in the second."""
    ours, theirs = map(Path, sys.argv[1:])
    for path in sorted(ours.glob("*.parquet")):
        largest, size, compared = difference(path, theirs / path.name)
        print(
            f"- {path.name}: largest difference {largest:.1e} between the outputs, whose values have "
            f"a root mean square of {size:.1e} ({compared:,} rows compared)"
        )


if __name__ == "__main__":
    main()
