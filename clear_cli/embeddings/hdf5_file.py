"""An HDF5 file that is open: by h5py, and beside it by the system, for values that lie in it as plain bytes.

Where HDF5 says at which byte a contiguous dataset begins, its values are read and written there directly: h5py holds
one lock for the whole process, and needs ten times as long to find a dataset as the system to read one row.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from threading import Lock, Timer
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from clear_cli.embeddings.base import AGAIN, unreadable
from clear_cli.errors import DataError
from clear_cli.remote import is_remote

FILTERS = {
    1: "gzip",
    2: "shuffle",
    3: "fletcher32",
    4: "szip",
    5: "nbit",
    6: "scaleoffset",
    305: "lzo",
    307: "bzip2",
    32000: "lzf",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32026: "blosc2",
}
PLUGINS = (307, 32001, 32004, 32008, 32013, 32015, 32026)
"""The filters that come with hdf5plugin."""

PATIENCE = 600
"""Seconds for a read that takes a fraction of one."""


class OpenFile:
    """A file that is open for reading (`r`) or for changing it in place (`r+`). A context manager."""

    def __init__(self, path: Path, mode: str = "r") -> None:
        self.path = path
        self._mode = mode
        self._far: Any = path.open("rb") if is_remote(path) else None
        self._fd = -1 if self._far else os.open(path, os.O_RDONLY if mode == "r" else os.O_RDWR)
        self._lock = Lock()

    @cached_property
    def h5(self) -> h5py.File:
        """The file as h5py sees it, opened when it is first asked for.

        Without a cache in writing: a chunk goes to the disk at once, and a full disk is an error of the write. What
        waits in the cache for the closing of the file, when the disk is full, crashes the process at its end.
        """
        return h5py.File(self._far or self.path, self._mode, **({} if self._mode == "r" else {"rdcc_nbytes": 0}))

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return int(self.path.stat().st_size) if self._far else os.fstat(self._fd).st_size

    def read(self, into: npt.NDArray[Any], offset: int) -> None:
        """Fill a C-contiguous array with the bytes at an offset. EOFError where there are fewer."""
        view = into.view(np.uint8).reshape(-1).data
        while view:
            count = self._read_far(view, offset) if self._far else os.preadv(self._fd, [view], offset)
            if not count:
                raise EOFError("the file became shorter while it was read")
            view, offset = view[count:], offset + count

    def _read_far(self, view: memoryview, offset: int) -> int:
        with self._lock:
            self._far.seek(offset)
            return int(self._far.readinto(view))

    def write(self, values: npt.NDArray[Any], offset: int) -> None:
        """Put the bytes of a C-contiguous array at an offset."""
        view = values.view(np.uint8).reshape(-1).data
        while view:
            count = os.pwrite(self._fd, view, offset)
            view, offset = view[count:], offset + count

    def close(self) -> None:
        """Close both. OSError or RuntimeError where HDF5 cannot write what it still has to."""
        try:
            if "h5" in self.__dict__:
                self.h5.close()
        finally:
            if self._far:
                self._far.close()
            else:
                os.close(self._fd)


@contextmanager
def opened(path: Path) -> Iterator[OpenFile]:
    """The file, open for reading; damage that is found while it is open is a DataError."""
    try:
        file = OpenFile(path)
        try:
            yield file
        finally:
            file.close()
    except (OSError, RuntimeError, KeyError, EOFError) as error:  # which of these depends on who notices
        if isinstance(error, FileNotFoundError):
            raise unreadable(error, path) from error
        raise DataError(f"not a readable HDF5 file: {reason(error)}", where=path, fix=AGAIN) from error


@contextmanager
def patient(where: str) -> Iterator[None]:
    """For reading strings: in a damaged heap of them HDF5 goes round in circles, where no signal is heard.

    Nothing but the end of the process stops that: after PATIENCE seconds it ends, with the error and its exit code.
    """
    watch = Timer(PATIENCE, _give_up, [where])
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


def _give_up(where: str) -> None:
    error = DataError(
        f"HDF5 has not come back from these rows for {PATIENCE} s", where=where, fix="write the file again"
    )
    os.write(2, f"error: {error}\n".encode())
    os._exit(error.exit_code)


def code_of(error: Exception) -> int | None:
    """The error number of the system, which HDF5 hides in its message."""
    found = re.search(r"errno = (\d+)", str(error))
    return int(found[1]) if found else getattr(error, "errno", None)


def reason(error: Exception) -> str:
    """What the system says, else what HDF5 says inside its brackets."""
    code = code_of(error)
    if code:
        return os.strerror(code).lower()
    inner = re.search(r"\((.*)\)", str(error), re.DOTALL)
    return inner[1] if inner else str(error)


def links(group: h5py.Group, most: int, start: int = 0) -> tuple[list[tuple[str, int]], int]:
    """At most so many links of a group: by name, or as they were created where the group knows that.

    Returns:
        Name and type (`h5py.h5l.TYPE_...`) of each, and where to start for the next ones.
    """
    found: list[tuple[str, int]] = []

    def take(name: str | bytes, link: h5py.h5l.LinkInfo) -> bool:
        text = name.decode(errors="surrogateescape") if isinstance(name, bytes) else name
        found.append((text, link.type))
        return len(found) == most

    if start < len(group):
        tracked = group.id.get_create_plist().get_link_creation_order() & h5py.h5p.CRT_ORDER_TRACKED
        order = h5py.h5.INDEX_CRT_ORDER if tracked else h5py.h5.INDEX_NAME
        group.id.links.iterate(take, info=True, idx_type=order, idx=start)
    return found, start + len(found)


def filters(dataset: h5py.Dataset) -> list[tuple[int, str]]:
    """Number and name of each filter, in the order of writing."""
    pipeline = dataset.id.get_create_plist()
    codes = [pipeline.get_filter(i)[0] for i in range(pipeline.get_nfilters())]
    return [(code, FILTERS.get(code, "unknown")) for code in codes]


def refuse_foreign(dataset: h5py.Dataset, name: str, path: Path) -> None:
    """Refuse values that lie in other files (they would be neither checked nor carried over), and missing filters.

    Raises:
        DataError: Virtual or external storage, or a filter that cannot write here.
    """
    storage = "virtual" if dataset.is_virtual else "external" if dataset.external else None
    if storage:
        raise DataError(
            f'dataset "{name}" is {storage}: its values lie in other files',
            where=path,
            fix="write them into a dataset of this file",
        )
    for code, filter_name in filters(dataset):
        # Even where all chunks were written without it, an optional filter must not be lost silently in the output.
        if not _can_write(code):
            raise DataError(
                f'dataset "{name}" is stored with HDF5 filter {code} ({filter_name}), which is not installed',
                where=path,
                fix="pip install 'clear-cli[hdf5]'"
                if code in PLUGINS
                else "install its HDF5 plugin, and set HDF5_PLUGIN_PATH to the folder that holds it",
            )


def _can_write(code: int) -> bool:
    if not h5py.h5z.filter_avail(code) and code in PLUGINS:
        try:
            import hdf5plugin  # noqa: F401  (registers its filters)
        except ImportError:
            return False
    if not h5py.h5z.filter_avail(code):
        return False
    return bool(h5py.h5z.get_filter_info(code) & h5py.h5z.FILTER_CONFIG_ENCODE_ENABLED)


def dtype_of(dataset: h5py.Dataset) -> np.dtype[Any]:
    """The type in NumPy; of Python objects where NumPy has none."""
    try:
        dtype: np.dtype[Any] = dataset.dtype
    except (TypeError, ValueError):  # none at all, or none that is precise enough
        return np.dtype(object)
    return dtype


def is_float(dataset: h5py.Dataset) -> bool:
    """Whether the values are IEEE floats. HDF5 has others, such as bfloat16, that h5py shows as the next larger one."""
    dtype = dtype_of(dataset)
    return dtype.kind == "f" and dtype.itemsize <= 8 and h5py.h5t.py_create(dtype) == dataset.id.get_type()
