"""HDF5 files for tests, and what to do with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from clear_cli.embeddings.hdf5 import Hdf5Source
from clear_cli.errors import DataError

ROWS, DIM = 50, 8
X = np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32)
IDS = [f"item-{i}" for i in range(ROWS)]

LAYOUTS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunked": {"chunks": (7, DIM)},
    "gzip, shuffle, fletcher32": {"chunks": (7, DIM), "compression": "gzip", "shuffle": True, "fletcher32": True},
    "lzf": {"chunks": (16, DIM), "compression": "lzf"},
    "chunks of a few columns": {"chunks": (7, 3)},
    "compressed chunks of a few columns": {"chunks": (7, 3), "compression": "gzip"},
    "extendible": {"chunks": (7, DIM), "maxshape": (None, DIM)},
}


def make(path: Path, x: Any = X, ids: Any = IDS, **layout: Any) -> Path:
    """A file with `embeddings` and `item_id`."""
    with h5py.File(path, "w") as file:
        file.create_dataset("embeddings", data=x, **layout)
        file.create_dataset("item_id", data=ids)
    return path


def opened(path: Path, modality: str = "image", **names: Any) -> Hdf5Source:
    return Hdf5Source(path, modality=modality, **names)


def rewritten(source: Hdf5Source, target: Path, factor: float = 2.0) -> Path:
    """The source written again with embeddings that are `factor` times as large."""
    with source.sink(target) as sink:
        for chunk in source.chunks():
            sink.write(source.modality, chunk, (chunk.embeddings * factor).astype(source.dtype))
    return target


def message(path: Path, **names: Any) -> str:
    with pytest.raises(DataError) as error:
        opened(path, **names)
    return str(error.value)


def written_together(sources: list[Hdf5Source], target: Path, factor: float = 2.0) -> Path:
    """Several modalities of one file written again, a chunk of each in turn."""
    first, *beside = sources
    with first.sink(target, beside) as sink:
        pace = {source.modality: source.chunks() for source in sources}
        while pace:
            for modality in list(pace):
                chunk = next(pace[modality], None)
                if chunk is None:
                    del pace[modality]
                else:
                    sink.write(modality, chunk, (chunk.embeddings * factor).astype(chunk.embeddings.dtype))
    return target


def values(source: Hdf5Source) -> np.ndarray:
    """All rows."""
    return np.concatenate([chunk.embeddings for chunk in source.chunks()])


def ids(source: Hdf5Source) -> list[object]:
    """All ids."""
    return [one for part in source.ids() for one in part.to_pylist()]
