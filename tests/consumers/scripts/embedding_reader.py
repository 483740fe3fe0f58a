"""embedding-reader: every .npy or .parquet file that it finds in a folder, as one sequence of embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
from embedding_reader import EmbeddingReader

Answer = tuple[Any, Any, dict[str, Any]]


def look(folder: str, **options: Any) -> Answer:
    """Formats are npy, parquet, and parquet_npy, which pairs img_emb/*.npy with metadata/*.parquet by sorted name."""
    reader = EmbeddingReader(folder, **options)
    batches = list(reader(batch_size=64, show_progress=False))
    ids = [] if options["file_format"] == "npy" else [one for _, meta in batches for one in meta["item_id"]]
    facts = {"count": int(reader.count), "dimension": int(reader.dimension), "bytes": int(reader.byte_per_item)}
    return ids, np.concatenate([vectors for vectors, _ in batches]), facts
