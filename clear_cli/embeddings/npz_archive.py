"""The members of an NPZ archive: what their headers say, and what is refused before any memory is taken for it."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clear_cli.embeddings.base import AGAIN
from clear_cli.embeddings.npy_array import HEADER_BYTES, Array, parsed_header
from clear_cli.errors import DataError

LIMITS = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032, zipfile.ZIP_LZMA: 10_000, zipfile.ZIP_BZIP2: 1_300_000}
"""A method of compression makes no more of one byte than this."""

Members = dict[str, tuple[zipfile.ZipInfo, Array]]


def read_members(path: Path) -> Members:
    """The arrays of an archive by their names, without their ending, as `np.load` has them."""
    members: Members = {}
    with readable(path), open_archive(path) as archive:
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue
            if info.flag_bits & 1:
                raise DataError(f'member "{stem_of(info)}" is encrypted', where=path)
            if stem_of(info) in members:
                raise DataError(f'more than one member is called "{stem_of(info)}"', where=path)
            _refuse_lies(info, path)
            with readable(path, info), archive.open(info) as stream:
                array = parsed_header(stream.read(HEADER_BYTES), path / info.filename)
            promised = math.prod(array.shape) * array.dtype.itemsize + array.offset
            if not array.dtype.hasobject and (promised != info.file_size or min(array.shape, default=0) < 0):
                raise DataError(
                    f'member "{stem_of(info)}" is not as long as its header says',
                    where=path,
                    header=f"shape {array.shape}, type {array.dtype}: {promised:,} bytes",
                    member=f"{info.file_size:,} bytes",
                )
            members[stem_of(info)] = info, array
    return members


def _refuse_lies(info: zipfile.ZipInfo, path: Path) -> None:
    """Raise a DataError where a member would be longer than its bytes can make it: memory is taken by its length."""
    if info.file_size > info.compress_size * LIMITS.get(info.compress_type, info.file_size):
        raise DataError(
            f'member "{stem_of(info)}" cannot be as long as the archive says',
            where=path,
            archive=f"{info.file_size:,} bytes, from {info.compress_size:,}",
        )


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive, open for reading, wherever it is."""
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        yield archive


def stem_of(info: zipfile.ZipInfo) -> str:
    """The name of a member as `np.load` has it."""
    return info.filename.removesuffix(".npy")


@contextmanager
def readable(path: Path, info: zipfile.ZipInfo | None = None) -> Iterator[None]:
    """Damage in an archive, or in a member of it, as a DataError."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError) as error:
        what = "not a readable NPZ archive" if info is None else f'member "{stem_of(info)}" cannot be read'
        raise DataError(f"{what}: {str(error).lower() or type(error).__name__}", where=path, fix=AGAIN) from error
