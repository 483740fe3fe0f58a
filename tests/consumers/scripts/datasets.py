"""Hugging Face datasets: a Parquet file that it wrote itself, read back with its features."""

from __future__ import annotations

import os
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import datasets
import numpy as np

datasets.disable_progress_bars()


def write(path: str, rows: str, fixed: bool) -> None:
    with np.load(rows) as file:
        ids, embeddings = file["ids"].tolist(), file["embeddings"]
    features = datasets.Features(
        {
            "item_id": datasets.Value("string"),
            "embedding": datasets.List(datasets.Value("float32"), length=embeddings.shape[1] if fixed else -1),
            "category": datasets.ClassLabel(names=["shoe", "hat", "coat"]),
        }
    )
    columns = {"item_id": ids, "embedding": embeddings.tolist(), "category": [i % 3 for i in range(len(ids))]}
    datasets.Dataset.from_dict(columns, features=features).to_parquet(path)


def look(path: str, cache: str) -> tuple[Any, Any, dict[str, Any]]:
    found = datasets.Dataset.from_parquet(path, cache_dir=cache)
    facts = {"features": str(found.features), "category": found.features["category"].int2str(found["category"][:])}
    return found["item_id"][:], found.with_format("numpy")["embedding"][:], facts


def look_together(paths: list[str], cache: str) -> tuple[Any, Any, dict[str, Any]]:
    """Concatenating is refused where the types differ, be it list and large_list."""
    found = datasets.concatenate_datasets([datasets.Dataset.from_parquet(path, cache_dir=cache) for path in paths])
    return found["item_id"][:], found.with_format("numpy")["embedding"][:], {}
