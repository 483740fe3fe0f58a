"""pandas: read_parquet on a file or a folder of parts, and HDFStore."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

Answer = tuple[Any, Any, dict[str, Any]]


def look(path: str, columns: list[str]) -> Answer:
    frame = pd.read_parquet(path)
    vectors = frame[columns].to_numpy() if len(columns) > 1 else np.stack(frame[columns[0]].to_list())
    return (
        frame["item_id"].to_list(),
        vectors,
        {
            "types": {name: str(one) for name, one in frame.dtypes.items()},
            "index": str(frame.index),
            "others": frame.drop(columns=[*columns, "item_id"]).to_json(),
        },
    )


def write_hdf(path: str, rows: str) -> None:
    with np.load(rows) as file:
        frame = pd.DataFrame(file["embeddings"], index=pd.Index(file["ids"].astype(object), name="item_id"))
    frame.to_hdf(path, key="items")


def look_hdf(path: str) -> Answer:
    frame = pd.read_hdf(path, key="items")
    facts = {"columns": frame.columns.to_list(), "index": frame.index.name, "types": str(frame.dtypes.unique())}
    return frame.index.to_list(), frame.to_numpy(), facts
