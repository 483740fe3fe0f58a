"""The files of Parquet embeddings: which there are, in which order, and how they are opened.

Embeddings are one file; a folder, with all its subfolders (`country=de/part-0.parquet`); or the files that a path
with wildcards matches. Parts are in the order of their paths below the root, compared folder by folder as
strings: `part-10` comes before `part-2`, as it does for pandas, Arrow and Spark.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from clear_cli.config import wildcard_root
from clear_cli.embeddings import base
from clear_cli.errors import DataError
from clear_cli.remote import below, files_below, is_remote

SUFFIXES = (".parquet", ".pq", ".parq")
SIDECARS = ("_metadata", "_common_metadata")
DELTA_LOG = "_delta_log"

_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8}


@dataclass(frozen=True)
class Files:
    """What a path stands for.

    Attributes:
        root: The folder that the names are relative to.
        names: The part files, in order.
        single: The path is one file, and so is its output.
        sidecars: Summaries of footers, which are made anew.
        others: Files that are neither, and are not carried over.
    """

    root: Path
    names: list[Path]
    single: bool = False
    sidecars: list[Path] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """One file of a source.

    Attributes:
        path: Where it is.
        name: Its path below the root.
        row_groups: The rows of each row group.
        sizes: The bytes that all columns of each row group take in memory, as far as a footer tells.
    """

    path: Path
    name: Path
    row_groups: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Rows of all row groups."""
        return sum(self.row_groups)

    def pieces(self, group: int, most: int) -> list[int]:
        """The rows of the pieces that a row group is written in: as many as take `most` bytes in all columns."""
        rows = self.rows_in(group, most)
        return [min(rows, self.row_groups[group] - at) for at in range(0, self.row_groups[group], rows)] or [0]

    def rows_in(self, group: int, memory: int) -> int:
        """How many rows of a row group, in all columns, take so many bytes; at least one, at most all."""
        return max(min(self.row_groups[group], self.row_groups[group] * memory // max(self.sizes[group], 1)), 1)


@dataclass(frozen=True)
class RowGroup:
    """A row group of an open file.

    Attributes:
        file: The open file.
        number: Which of its row groups.
        start: Row number of its first row, counted over the whole source.
        rows: Its rows.
        where: The place, for messages.
    """

    file: pq.ParquetFile
    number: int
    start: int
    rows: int
    where: str

    def batches(self, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Its rows, decoded so many at a time.

        Raises:
            DataError: It is damaged.
        """
        done = 0
        with readable(self.where):
            for batch in self.file.iter_batches(
                batch_size=batch_rows, row_groups=[self.number], columns=list(columns), use_threads=False
            ):
                done += len(batch)
                yield batch
            if done != self.rows:
                raise pa.ArrowInvalid(f"{done:,} rows, and the footer says {self.rows:,}")


def row_groups(parts: Sequence[Part], start: int = 0) -> Iterator[RowGroup]:
    """The row groups that are not empty, from the one that holds row `start`; parts before it are not opened."""
    at = 0
    for part in parts:
        if at + part.rows <= start:
            at += part.rows
            continue
        with opened(part.path) as file:
            for number, rows in enumerate(part.row_groups):
                if rows and at + rows > start:
                    yield RowGroup(file, number, at, rows, f"{part.path}, row group {number}")
                at += rows


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """A file, open for reading. Errors as in `readable`.

    Small buffered streams, for `pre_buffer` reads whole column chunks, and memory maps count as resident; but a store
    far away is asked for as much as possible at a time. Checksums are verified where pages have them; that takes next
    to no time.
    """
    with ExitStack() as stack:
        with readable(path):
            where, ahead = (stack.enter_context(path.open("rb")), True) if is_remote(path) else (str(path), False)
            file = pq.ParquetFile(where, pre_buffer=ahead, buffer_size=1 << 16, page_checksum_verification=True)
        yield stack.enter_context(file)


@contextmanager
def readable(where: object) -> Iterator[None]:
    """Turn what pyarrow raises about a file into a DataError that names the place.

    Raises:
        DataError: The file is not Parquet, truncated, damaged, or cannot be opened.
    """
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError("cannot be read as Parquet", where=where, reason=reason, fix=base.AGAIN) from error


def part_of(name: Path, path: Path, metadata: pq.FileMetaData) -> Part:
    """A part, by its footer. Errors as in `readable`."""
    with readable(path):
        _raise_damage(metadata)
    leaves = [metadata.schema.column(i) for i in range(metadata.num_columns)]
    widths = [_WIDTHS.get(leaf.physical_type, max(leaf.length, 0)) for leaf in leaves]
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    return Part(path, name, tuple(group.num_rows for group in groups), tuple(_size(group, widths) for group in groups))


def _raise_damage(metadata: pq.FileMetaData) -> None:
    """Begin to read all columns of each row group from a file without bytes.

    To ask the footer for a damaged column chunk (`RowGroupMetaData.column`) ends the whole process, for there Arrow
    does not catch what it throws. To read from it raises the same as an exception, before the first byte is asked for.

    Raises:
        OSError: A column chunk is damaged.
    """
    file = pq.ParquetFile(pa.PythonFile(_NoBytes(), mode="r"), metadata=metadata, buffer_size=1 << 16)
    columns = list(range(metadata.num_columns))
    for group in range(metadata.num_row_groups):
        with suppress(EOFError, pa.ArrowNotImplementedError):
            next(file.reader.iter_batches(1, [group], columns, use_threads=False), None)


class _NoBytes(io.RawIOBase):
    """A file as large as you like, of which nothing can be read."""

    _at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: 1 << 60}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        raise EOFError(f"{size} bytes")


def _size(group: pq.RowGroupMetaData, widths: Sequence[int]) -> int:
    """Bytes of a row group in memory: dictionaries make numbers smaller in the file than they are there."""
    columns = (group.column(i) for i in range(group.num_columns))
    return sum(
        max(column.total_uncompressed_size, column.num_values * width)
        for column, width in zip(columns, widths, strict=True)
    )


def find_files(path: Path) -> Files:
    """The files that a path stands for.

    Raises:
        DataError: There are none, they cannot be listed, or a log decides which of them count.
    """
    root = wildcard_root(path)
    if root is not None:
        return _matched(path, root)
    if not path.is_dir():
        return Files(path.parent, [Path(path.name)], single=True)
    if (path / DELTA_LOG).is_dir():
        raise DataError(
            "this folder is a Delta table, whose log decides which of its files count",
            where=path,
            fix="write its rows as plain Parquet, and read that",
        )
    present = _listed(path)
    names = [name for name in present if name.suffix in SUFFIXES and not _hidden(name)]
    if not names:
        raise DataError("no part files in this folder", where=path, expected=", ".join(f"*{s}" for s in SUFFIXES))
    # Far away, summaries would take reading every new footer once more.
    sidecars = [name for name in present if name.name in SIDECARS and not is_remote(path)]
    others = [
        name.as_posix()
        for name in present
        if name.suffix not in SUFFIXES and not (_hidden(name) or name.suffix == ".crc")
    ]
    return Files(path, names, sidecars=sidecars, others=others)


def _matched(pattern: Path, root: Path) -> Files:
    """The files that a pattern matches, and the part files in the folders that it matches."""
    names: set[Path] = set()
    for found in root.glob(below(pattern, root)):
        name = Path(below(found, root))
        names |= {name / part for part in _listed(found) if part.suffix in SUFFIXES} if found.is_dir() else {name}
    shown = sorted((name for name in names if not _hidden(name)), key=lambda name: name.parts)
    if not shown:
        raise DataError("no file matches", where=pattern, fix="** stands for any folders, as in 'items/**/*.parquet'")
    return Files(root, shown)


def _listed(root: Path) -> list[Path]:
    """All files below a folder, in order, by their paths below it. Hidden folders, and links to folders, stay closed.

    Raises:
        DataError: A folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise base.unreadable(error, error.filename) from error

    if is_remote(root):
        return sorted((Path(name) for name in files_below(root)), key=lambda name: name.parts)
    found = []
    for folder, folders, files in os.walk(root, onerror=refuse):
        folders[:] = [name for name in folders if not _hidden(Path(name))]
        found += [Path(folder, name).relative_to(root) for name in files]
    return sorted(found, key=lambda name: name.parts)


def _hidden(name: Path) -> bool:
    """Whether a file, or a folder on the way to it, is none of the data: as Spark has it."""
    return any(part.startswith(("_", ".")) and "=" not in part for part in name.parts)
