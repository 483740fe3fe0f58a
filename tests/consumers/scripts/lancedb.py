"""LanceDB: a table of vectors, and the nearest neighbours in it."""

from __future__ import annotations

from typing import Any

import lancedb
import numpy as np
import pyarrow.parquet as pq


def look(path: str, database: str, queries: int) -> tuple[Any, Any, dict[str, Any]]:
    table = lancedb.connect(database).create_table("items", data=pq.read_table(path))
    rows = table.to_arrow()
    vectors = np.stack(rows["vector"].to_numpy())
    nearest = [
        [one["item_id"] for one in table.search(vector).distance_type("l2").limit(5).to_list()]
        for vector in vectors[-queries:]
    ]
    return rows["item_id"].to_pylist(), vectors, {"schema": str(table.schema), "nearest": nearest}
