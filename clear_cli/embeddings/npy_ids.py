"""Ids in a file of their own, for containers that hold none: a text file with one per line, or an NPY array."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clear_cli.embeddings.base import IdKind, canonical_ids, unreadable
from clear_cli.embeddings.npy_array import MAGIC, opened, read_header
from clear_cli.errors import DataError

_FIX = "a text file with one id per line, or an NPY array of one dimension"


class Ids(Protocol):
    """The ids in a file, one per row of embeddings."""

    path: Path
    kind: IdKind
    count: int

    def blocks(self, rows: int) -> Iterator[pa.Array]:
        """All of them, in order, so many at a time."""
        ...


def open_ids(path: Path) -> Ids:
    """The ids in a text file, one per line, or in a one-dimensional NPY file. DataError where it is neither."""
    with opened(path) as file:
        return _ArrayIds(path) if file.read(len(MAGIC)) == MAGIC else _TextIds(path)


class _TextIds:
    """One id per line; the last line may lack its end."""

    kind: IdKind = "text"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = sum(1 for _ in self._lines())

    def blocks(self, rows: int) -> Iterator[pa.Array]:
        lines = self._lines()
        while block := list(itertools.islice(lines, rows)):
            yield pa.array(block, pa.string())

    def _lines(self) -> Iterator[str]:
        try:
            with self.path.open(encoding="utf-8-sig", newline="\n") as file:
                for number, line in enumerate(file, 1):
                    text = line.removesuffix("\n").removesuffix("\r")
                    if not text or text.isspace():
                        raise DataError(f"line {number:,} is blank, where an item id should be", where=self.path)
                    yield text
        except UnicodeDecodeError as error:
            raise DataError("the id file is not valid UTF-8", where=self.path, fix=_FIX) from error
        except OSError as error:
            raise unreadable(error, self.path) from error


class _ArrayIds:
    """One-dimensional NPY of strings or integers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._array = array = read_header(path)
        if len(array.shape) != 1 or array.dtype.kind not in "SUiu" or not array.dtype.itemsize:
            fix = "the file of the ids: this one holds embeddings" if array.is_matrix else None
            raise DataError(
                f"item ids of shape {array.shape} and type {array.dtype} are not supported",
                where=path,
                supported="one dimension of strings or integers",
                fix=fix,
            )
        self.count = array.shape[0]
        self.kind: IdKind = "string" if array.dtype.kind in "SU" else "integer"

    def blocks(self, rows: int) -> Iterator[pa.Array]:
        for start, values in self._array.blocks(rows):
            yield ids_in(values, self._array.where(start, len(values)))


def ids_in(values: npt.NDArray[Any], where: str) -> pa.Array:
    """Ids from an array of strings or integers, as it is in a file. DataError where they are none."""
    native = values.astype(values.dtype.newbyteorder("="))
    try:
        # NumPy makes anything of what is beyond Unicode.
        if native.dtype.kind == "U" and native.view(np.uint32).max(initial=0) > sys.maxunicode:
            raise ValueError("beyond Unicode")
        # Strings as a list, because Arrow ends those of a NumPy array at their first NUL.
        ids = pa.array(native if native.dtype.kind in "iu" else native.tolist())
    except ValueError as error:
        raise DataError("an item id is not valid Unicode", where=where) from error
    return canonical_ids(ids, where=where)
