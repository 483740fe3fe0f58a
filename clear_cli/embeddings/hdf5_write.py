"""HDF5 is written as a copy of the file, in which the embeddings get new values.

To build the file anew would take knowing all that HDF5 has, now and later: attributes, filters, links, creation
order, dimension scales, a user block. A copy keeps what it does not know. But the copy leaves out the bytes that are
about to be replaced, so that a large file is not written twice: they are holes in it until the values come.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from clear_cli.embeddings.base import Chunk, Floats
from clear_cli.embeddings.hdf5_file import OpenFile, code_of, opened
from clear_cli.embeddings.hdf5_layouts import Layout, Ranges
from clear_cli.remote import uploaded

HOLE_BYTES = 64 << 10
"""Less is not worth the leap: vectors of single items share the pages of the disk with the headers between them."""

COPY_BYTES = 1 << 20


class Hdf5Sink:
    """A copy of an HDF5 file in which some embeddings get new values.

    Args:
        source: The file to copy.
        target: The copy.
        layouts: By modality, the embeddings to replace.
    """

    def __init__(self, source: Path, target: Path, layouts: Mapping[str, Layout]) -> None:
        self._source = source
        self._target = target
        self._uploads = ExitStack()
        self._layouts = layouts
        self._written: Counter[str] = Counter()

    def __enter__(self) -> Hdf5Sink:
        with opened(self._source) as file:
            holes = _merged(np.concatenate([layout.replaced(file) for layout in self._layouts.values()]))
        # HDF5 is written here and there, which no store can do: such a file is made on this machine first.
        near = self._uploads.enter_context(uploaded(self._target))
        try:
            copy_around(self._source, near, holes)
        except OSError as error:
            raise error if error.filename else self._refused(error) from error
        self._file = OpenFile(near, "r+")
        if not all(layout.plain for layout in self._layouts.values()):
            _ = self._file.h5  # now, because modalities may be written in threads of their own
        return self

    def write(self, modality: str, chunk: Chunk, embeddings: Floats) -> None:
        """Put the rows of the chunk where the old ones were."""
        try:
            self._layouts[modality].write(self._file, chunk.start, embeddings)
        except (OSError, RuntimeError) as error:
            raise self._refused(error) from error
        self._written[modality] += len(chunk)

    def __exit__(self, *error: Any) -> None:
        failed = error[0] is not None
        try:
            self._file.close()
        except (OSError, RuntimeError) as refusal:
            if not failed:
                raise self._refused(refusal) from refusal
        for modality, layout in self._layouts.items():
            if not failed and self._written[modality] != layout.rows:
                raise ValueError(f"{self._written[modality]} of {layout.rows} rows of {modality} were written")
        self._uploads.__exit__(*error)

    def _refused(self, error: Exception) -> OSError:
        code = code_of(error) or errno.EIO
        return OSError(code, os.strerror(code), str(self._target))


def copy_around(source: Path, target: Path, holes: Ranges) -> int:
    """Copy a file without some of its bytes, which read as zeros in the copy.

    Not its mode either: the copy of a read-only file is writable.

    Args:
        source: The file.
        target: The copy, of the same length.
        holes: (n, 2) first byte and length, ascending, apart.

    Returns:
        How many bytes were copied.
    """
    copied, at = 0, 0
    with source.open("rb") as file, target.open("wb", buffering=0) as copy:
        size = file.seek(0, os.SEEK_END)
        for start, length in [*holes.tolist(), (size, 0)]:
            copied += _copy(file, copy, at, start)
            at = start + length
        copy.truncate(size)
    return copied


def _copy(file: BinaryIO, copy: BinaryIO, start: int, stop: int) -> int:
    """Copy the bytes from `start` to `stop`, as far as there are so many; their number."""
    at = start
    file.seek(start)
    copy.seek(start)
    while at < stop and (data := file.read(min(stop - at, COPY_BYTES))):
        at += copy.write(data)
    return at - start


def _merged(ranges: Ranges) -> Ranges:
    """Ranges in ascending order, adjacent ones as one, without those that are too short."""
    start, length = ranges[np.argsort(ranges[:, 0], kind="stable")].T
    first = np.flatnonzero(np.concatenate([[True], start[1:] > (start + length)[:-1]])[: len(start)])
    if not len(first):
        return ranges
    end = np.maximum.reduceat(start + length, first)
    merged = np.stack([start[first], end - start[first]], axis=1)
    return merged[merged[:, 1] >= HOLE_BYTES]
