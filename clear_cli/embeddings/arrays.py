"""Embeddings that are in memory already, read as any other source is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from clear_cli.embeddings.base import CHUNK_BYTES, Chunk, IdKind, canonical_ids
from clear_cli.errors import DataError


class ArrayRows:
    """Rows of an array.

    Args:
        x: (n, d) float16, float32 or float64.
        modality: The name to show in messages.
        ids: n item ids; None where row i is item i.

    Raises:
        DataError: Another shape or type, or another number of ids than rows.
    """

    def __init__(self, x: Any, *, modality: str, ids: Sequence[Any] | None = None) -> None:
        self.path = Path(f"<array {modality}>")
        x = np.asarray(x)
        if x.ndim != 2 or x.dtype.kind != "f" or x.dtype.itemsize > 8 or not x.shape[1]:
            raise DataError(
                f"embeddings of shape {x.shape} and type {x.dtype} are not supported",
                where=self.path,
                supported="two dimensions (items, dimensions) of float16, float32 or float64",
            )
        self._x = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("="))
        self._ids = None if ids is None else _as_ids(ids, self.path)
        if self._ids is not None and len(self._ids) != len(x):
            raise DataError(f"{len(self._ids):,} ids do not fit {len(x):,} rows", where=self.path)
        self.rows, self.dim = self._x.shape
        self.notes: list[str] = []
        self.held_bytes, self.costly = 0, False
        self.dtype = self._x.dtype
        self.id_kind: IdKind = (
            "row" if self._ids is None else "integer" if pa.types.is_integer(self._ids.type) else "string"
        )

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """Slices of the array."""
        rows = max(CHUNK_BYTES // max(self.dim * self.dtype.itemsize, 1), 1)
        for at in range(start, self.rows, rows):
            yield Chunk(at, self._x[at : at + rows], None, None, str(self.path))

    def ids(self) -> Iterator[pa.Array]:
        """All ids at once."""
        if self._ids is not None:
            yield self._ids


def _as_ids(ids: Sequence[Any], where: Path) -> pa.Array:
    for kind in (None, pa.uint64()):  # integers beyond int64 are not guessed
        try:
            return canonical_ids(pa.array(ids, kind), where=where)
        except (pa.ArrowException, OverflowError, TypeError, UnicodeError) as error:
            problem = str(error)
    raise DataError(f"these ids cannot be used: {problem}", where=where, supported="strings, or integers of 64 bits")
