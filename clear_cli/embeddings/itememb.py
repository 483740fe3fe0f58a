"""RecBole's atomic files of item embeddings: text with tabs, whose header names and types the fields.

    iid:token<TAB>vec:float_seq
    42<TAB>0.5 -1.25 3

A vector is numbers with spaces in between. Values are float32, and are written with nine digits, which is what
float32 needs to come back the same. An empty vector is a missing row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from clear_cli.embeddings.base import Chunk, Floats, IdKind, Source, guess, guess_id, named, unreadable
from clear_cli.embeddings.npy import ID_ROWS, rows_of
from clear_cli.errors import DataError

VECTOR = ":float_seq"
TOKEN = ":token"
BLOCK_BYTES = 1 << 20


class ItemembSource:
    """The embeddings of one modality in an atomic file.

    Args:
        path: The file.
        modality: The modality's name, for messages.
        embedding_column: The field of the vectors; None: the only one of type float_seq.
        id_column: The field of the ids; None: the only one of type token.

    Raises:
        DataError: No such fields, several that could be meant, or no vector at all.
    """

    def __init__(
        self, path: Path, *, modality: str, embedding_column: str | None = None, id_column: str | None = None
    ) -> None:
        self.path, self.modality = path, modality
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self.id_kind: IdKind = "text"
        self.held_bytes, self.costly = 0, True
        self.notes: list[str] = []
        with _opened(path) as file:
            self.fields = _decoded(file.readline(), f"{path}, line 1").removeprefix("\ufeff").rstrip("\r\n").split("\t")
            blocks = iter(lambda: file.read(BLOCK_BYTES), b"")
            self.rows, last = 0, b"\n"
            for block in blocks:
                self.rows, last = self.rows + block.count(b"\n"), block[-1:]
            self.rows += last != b"\n"
        self._vector = self._field(embedding_column, VECTOR, "--embedding-column")
        self._id = self._field(id_column, TOKEN, "--id-column")
        self.dim = next((len(text.split()) for _, fields in self._lines() if (text := fields[self._vector].strip())), 0)
        if not self.dim:
            raise DataError("no embeddings: every vector is empty", where=path, rows=f"{self.rows:,}")

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """All rows in file order.

        Raises:
            DataError: A line with another number of fields or values, or with something that is no number.
        """
        rows, lines = rows_of(self.dim, self.dtype), self._lines()
        next(islice(lines, start, start), None)
        for at in range(start, self.rows, rows):
            texts = [fields[self._vector].split() for _, fields in islice(lines, rows)]
            null = np.array([not text for text in texts])
            block = np.zeros((len(texts), self.dim), self.dtype)
            for row, text in enumerate(texts):
                if text:
                    block[row] = self._numbers(text, at + row)
            where = f"{self.path}, lines {at + 2} to {at + 1 + len(texts)}"
            yield Chunk(at, block, null if null.any() else None, None, where)

    def ids(self) -> Iterator[pa.Array]:
        """All ids in file order."""
        lines = self._lines()
        while block := [fields[self._id] for _, fields in islice(lines, ID_ROWS)]:
            yield pa.array(block, pa.string())

    def sink(self, target: Path, beside: Sequence[Source] = ()) -> ItemembSink:
        """A sink that writes the file again."""
        if beside:
            raise DataError("several modalities of one atomic file are not supported", where=self.path)
        return ItemembSink(self, target)

    def files(self) -> list[Path]:
        """The file."""
        return [self.path]

    def describe(self) -> dict[str, Any]:
        """The layout."""
        return {
            "container": "itememb",
            "rows": self.rows,
            "dim": self.dim,
            "dtype": self.dtype.name,
            "embedding_field": self.fields[self._vector],
            "id_field": self.fields[self._id],
            "fields": self.fields,
        }

    def replaced(self, line: str, fields: list[str], row: Floats | None) -> str:
        """A line with another vector; as it is where there is none."""
        if row is None:
            return line
        ending = line[len(line.rstrip("\r\n")) :]
        text = " ".join(["%.9g"] * self.dim) % tuple(row.tolist())
        return "\t".join([*fields[: self._vector], text, *fields[self._vector + 1 :]]) + ending

    def lines(self) -> Iterator[tuple[str, list[str]]]:
        """Every line after the header, with its fields. Errors as in `chunks`."""
        return self._lines()

    def _field(self, asked: str | None, kind: str, option: str) -> int:
        typed = [field for field in self.fields if field.endswith(kind)]
        known: dict[str, Any] = {"option": option, "modality": self.modality, "where": self.path}
        if asked is None:
            what: dict[str, Any] = {"present": self.fields, **known}
            asked = guess(typed, what="vector field", **what) if kind == VECTOR else guess_id(typed, **what)
        elif asked + kind in typed:
            asked += kind
        return self.fields.index(named(asked, typed, what="field", **known))

    def _lines(self) -> Iterator[tuple[str, list[str]]]:
        with _opened(self.path) as file:
            file.readline()
            for number, data in enumerate(file, 2):
                line = _decoded(data, f"{self.path}, line {number}")
                fields = line.rstrip("\r\n").split("\t")
                if len(fields) != len(self.fields):
                    raise DataError(
                        f"{len(fields)} fields, where the header has {len(self.fields)}",
                        where=f"{self.path}, line {number}",
                    )
                yield line, fields

    def _numbers(self, text: list[str], row: int) -> Floats:
        where = f"{self.path}, line {row + 2}"
        if len(text) != self.dim:
            raise DataError(f"the vector has {len(text)} values, not {self.dim}", where=where)
        try:
            with np.errstate(over="ignore"):  # what float32 cannot hold is infinite
                return np.array(text, dtype=np.str_).astype(np.float32)
        except ValueError as error:
            raise DataError(f"the vector holds what is no number: {_first_wrong(text)!r}", where=where) from error


class ItemembSink:
    """Writes an atomic file again, line by line, with other vectors."""

    def __init__(self, source: ItemembSource, target: Path) -> None:
        self._source, self._target = source, target
        self._written = 0

    def __enter__(self) -> ItemembSink:
        with _opened(self._source.path) as file:
            header = file.readline()
        self._file = self._target.open("wb")
        self._file.write(header)
        self._lines = self._source.lines()
        return self

    def write(self, modality: str, chunk: Chunk, embeddings: Floats) -> None:  # noqa: ARG002  (there is only one)
        """Append the lines of the rows of the chunk."""
        null = np.zeros(len(chunk), dtype=bool) if chunk.null is None else chunk.null
        for (line, fields), row, missing in zip(islice(self._lines, len(chunk)), embeddings, null, strict=True):
            self._file.write(self._source.replaced(line, fields, None if missing else row).encode())
        self._written += len(chunk)

    def __exit__(self, *error: object) -> None:
        try:
            self._file.close()
        except OSError:
            if error[0] is None:
                raise
        if error[0] is None and self._written != self._source.rows:
            raise ValueError(f"{self._written} of {self._source.rows} rows were written")


def _decoded(line: bytes, where: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise DataError("the line is not valid UTF-8", where=where) from error


def _first_wrong(text: list[str]) -> str:
    for word in text:
        try:
            float(word)
        except ValueError:
            return word
    return ""


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise unreadable(error, path) from error
