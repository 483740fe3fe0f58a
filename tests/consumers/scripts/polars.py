"""polars: a lazy scan of a file or a folder of parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl


def look(path: str, columns: list[str]) -> tuple[Any, Any, dict[str, Any]]:
    frame = pl.scan_parquet(path).collect()
    vectors = frame[columns].to_numpy() if len(columns) > 1 else np.stack([one.to_numpy() for one in frame[columns[0]]])
    return (
        frame["item_id"].to_list(),
        vectors,
        {
            "types": {name: str(one) for name, one in frame.schema.items()},
            "others": frame.drop([*columns, "item_id"]).write_json(),
        },
    )
