"""DuckDB: SQL over a file or a glob over the parts of a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np


def look(path: str, columns: list[str]) -> tuple[Any, Any, dict[str, Any]]:
    table = duckdb.read_parquet(f"{path}/*.parquet" if Path(path).is_dir() else path)
    names = ", ".join(columns)
    if len(columns) > 1:
        vectors = np.stack(list(table.select(names).fetchnumpy().values()), axis=1)
    else:
        floats = "float32" if str(table.select(names).types[0]).startswith("FLOAT") else "float64"
        vectors = np.array([one for (one,) in table.select(names).fetchall()], floats)
    others = table.select(f"* EXCLUDE ({names}, item_id)").fetchall()
    types = dict(zip(table.columns, map(str, table.types), strict=True))
    ids = [one for (one,) in table.select("item_id").fetchall()]
    return ids, vectors, {"types": types, "others": json.dumps(others)}
