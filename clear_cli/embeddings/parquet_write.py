"""Parquet written again with new embeddings, in the layout it had.

The sink walks the pieces of the original, a row group or part of one each. The chunks of every modality are
collected, as views, until they make up the piece that comes next; then the other columns of it are read, and it is
written and forgotten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import pyarrow as pa

from clear_cli.embeddings import base
from clear_cli.embeddings.base import Chunk, Floats
from clear_cli.embeddings.parquet_layout import part_writer, settings_of, write_schema, write_summary
from clear_cli.embeddings.parquet_parts import Part, RowGroup, opened, readable
from clear_cli.errors import DataError

if TYPE_CHECKING:
    from clear_cli.embeddings.parquet import ParquetSource


class ParquetSink:
    """Writes the parts of a container again, one at a time. Use as a context manager; threads may share it.

    Args:
        sources: The modalities that the container holds and that are written anew.
        target: A file, or a folder for the parts.

    Raises:
        DataError: Two modalities have the same column.
    """

    def __init__(self, sources: Sequence[ParquetSource], target: Path) -> None:
        self._source, self._target = sources[0], target
        self._sources = {source.modality: source for source in sources}
        self._columns = _columns(sources)
        self._written = dict.fromkeys(self._sources, 0)
        self._waiting = {name: _Rows() for name in self._sources}
        self.parts = [(part.name, part.rows) for part in self._source.parts]
        self._finished = 0
        self._part_written: Callable[[], None] = lambda: None
        self._steps = self._write_parts()
        self._needed: int | None = 0
        self._lock = Lock()

    def resume(self, finished: int, written: Callable[[], None]) -> None:
        """Leave the first `finished` parts alone, and tell of every further one. See `base.PartSink`."""
        self._finished, self._part_written = finished, written
        self._written = dict.fromkeys(self._sources, sum(rows for _, rows in self.parts[:finished]))

    def __enter__(self) -> ParquetSink:
        self._needed = next(self._steps, None)
        return self

    def __exit__(self, *error: object) -> None:
        self._steps.close()
        if error[0] is None and self._needed is not None:
            written = ", ".join(f"{rows:,} of {name}" for name, rows in self._written.items())
            raise ValueError(f"only {written} of {self._source.rows:,} rows were written")

    def write(self, modality: str, chunk: Chunk, embeddings: Floats) -> None:
        """Take the rows of `chunk` with new embeddings (n, dim) of the source's dtype, and write what is complete.

        `embeddings` is not copied: it must stay as it is. Nulls stay null: rows, and values within a row where the
        new value is NaN.

        Raises:
            ValueError: Chunks out of order, or embeddings of another shape or dtype.
            DataError: Another column of the original is damaged.
            OSError: The file cannot be written.
        """
        source = self._sources[modality]
        got = chunk.start, embeddings.shape, embeddings.dtype
        expected = self._written[modality], (len(chunk), source.dim), source.dtype
        if got != expected:
            raise ValueError(f"expected first row, shape and dtype {expected}, got {got}")
        arrays = source.embedding.arrays(embeddings, chunk.null, chunk.holes)
        with self._lock:
            self._written[modality] += len(chunk)
            self._waiting[modality].put(pa.table(arrays, names=list(source.embedding.columns)))
            while self._needed is not None and all(one.count >= self._needed for one in self._waiting.values()):
                self._needed = next(self._steps, None)

    def _write_parts(self) -> Generator[int]:
        """Write everything; yields the rows of the piece that comes next, and goes on when these are there."""
        for part in self._source.parts[self._finished :]:
            yield from self._write_part(part)
            self._part_written()
        self._write_sidecars()

    def _write_part(self, part: Part) -> Generator[int]:
        target = self._target if self._source.located.single else self._target / part.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with opened(part.path) as file:
            schema = file.schema_arrow
            others = list(dict.fromkeys(name for name in schema.names if name not in self._columns))
            with readable(part.path):
                settings = settings_of(schema, file.metadata, self._holds)
            with part_writer(target, schema, settings) as writer:
                for number, rows in enumerate(part.row_groups):
                    group = RowGroup(file, number, 0, rows, f"{part.path}, row group {number}")
                    batches = group.batches(others, part.rows_in(number, base.CHUNK_BYTES))
                    carried = _Rows()
                    for size in part.pieces(number, self._source.piece_bytes):
                        if size:
                            yield size
                        while carried.count < size:
                            carried.put(pa.Table.from_batches([next(batches)]))
                        # No name for the table: it would live until the next piece is complete.
                        writer.write_table(self._piece(schema, carried, size), row_group_size=max(size, 1))

    def _piece(self, schema: pa.Schema, carried: _Rows, rows: int) -> pa.Table:
        """The next rows, in all columns."""
        if not rows:
            return schema.empty_table()
        new: dict[str, pa.ChunkedArray] = {}
        for waiting in self._waiting.values():
            taken = waiting.take(rows)
            new |= zip(taken.column_names, taken.columns, strict=True)
        rest = carried.take(rows)
        # Columns may share a name; those that do come in order, but next to each other.
        places = {name: iter(rest.schema.get_all_field_indices(name)) for name in rest.column_names}
        columns = [new[name] if name in new else rest.column(next(places[name])) for name in schema.names]
        # from_arrays casts: parts may differ in the name and nullability of list items.
        return pa.Table.from_arrays(columns, schema=schema)

    def _holds(self, leaf: str) -> bool:
        return any(source.embedding.holds(leaf) for source in self._sources.values())

    def _write_sidecars(self) -> None:
        """Summaries of the new footers, where the original has some, of all parts in the folder and below it."""
        for sidecar in self._source.located.sidecars:
            below = [part.name for part in self._source.parts if part.name.is_relative_to(sidecar.parent)]
            folder = self._target / sidecar.parent
            names = [name.relative_to(sidecar.parent) for name in below]
            if names and sidecar.name == "_common_metadata":
                write_schema(folder / sidecar.name, folder / names[0])
            elif names and self._source.uniform:
                write_summary(folder / sidecar.name, folder, names)


class _Rows:
    """Rows that have come and are not written yet."""

    def __init__(self) -> None:
        self.count = 0
        self._tables: deque[pa.Table] = deque()

    def put(self, table: pa.Table) -> None:
        """Take rows in."""
        self._tables.append(table)
        self.count += len(table)

    def take(self, rows: int) -> pa.Table:
        """Give out the first ones, without copying them."""
        self.count -= rows
        taken = []
        while rows:
            table = self._tables.popleft()
            taken.append(table[:rows])
            if len(table) > rows:
                self._tables.appendleft(table[rows:])
            rows -= len(taken[-1])
        return pa.concat_tables(taken)


def _columns(sources: Sequence[ParquetSource]) -> set[str]:
    """All columns that hold embeddings."""
    owners: dict[str, str] = {}
    for source in sources:
        for column in source.embedding.columns:
            if owners.setdefault(column, source.modality) != source.modality:
                raise DataError(
                    f'"{owners[column]}" and "{source.modality}" are both read from column "{column}"',
                    where=source.path,
                    fix=f"-m {source.modality}={source.path}::COLUMN",
                )
    return set(owners)
