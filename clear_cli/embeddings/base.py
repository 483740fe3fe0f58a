"""The two protocols that every container format speaks: a Source is read, its Sink writes it back.

A source yields its embeddings in file order, as chunks, and its ids apart from them. A sink takes the same
rows with new values and writes the same container again: only the embedding values differ. What a container
holds besides is the business of its sink alone, which reads it where it writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from clear_cli.disk import instead_of
from clear_cli.errors import DataError, closest

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]

IdKind = Literal["string", "integer", "text", "row"]
"""`text` ids come from a text file, which has no types: they match strings or integers. `row`: row i is item i."""

CHUNK_BYTES = 4 << 20
"""Embeddings are read and projected about so much at a time: while it is in the cache."""

PIECE_BYTES = 128 << 20
"""A Parquet row group that takes more than this in memory is written in pieces, unless the caller has more to give."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of one source.

    Attributes:
        start: Row number of the first row, counted over the whole source.
        embeddings: (n, d), C-contiguous, native byte order, dtype of the source; often read-only. Null rows are zeros.
        null: (n,) True where the container says that there is no row; None where it says so nowhere.
        holes: Ascending positions in the flattened embeddings of values that are null in a row that is not; NaN there.
        where: The place of these rows, for messages.
    """

    start: int
    embeddings: Floats
    null: Mask | None
    holes: Integers | None
    where: str

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def stop(self) -> int:
        """Row number after the last row."""
        return self.start + len(self.embeddings)


class Sink(Protocol):
    """Writes a container again with new embeddings. A context manager; leaving it without an error ends the files."""

    def write(self, modality: str, chunk: Chunk, embeddings: Floats) -> None:
        """Write the rows of `chunk`, which came from `Source.chunks()`; the chunks of a modality come in order.

        Where the container holds several modalities, each goes its own pace, but the sink keeps in memory what the
        slower one has not reached yet.

        Args:
            modality: Which one of the container.
            chunk: The rows as read.
            embeddings: (n, d) of the source's dtype. Rows that are null in the chunk stay null.
        """

    def __enter__(self) -> Sink: ...

    def __exit__(self, *error: object) -> None: ...


@runtime_checkable
class PartSink(Sink, Protocol):
    """A sink that writes files one after the other, each from consecutive rows, and can go on after any of them."""

    parts: Sequence[tuple[Path, int]]
    """The paths of the files below the target, and the rows of each."""

    def resume(self, finished: int, written: Callable[[], None]) -> None:
        """Leave the first `finished` files, and their rows, alone; call `written` when a further one is complete."""
        ...


class Rows(Protocol):
    """Embeddings that can be read, again and again, in one order."""

    path: Path
    rows: int
    dim: int
    dtype: np.dtype[Any]
    id_kind: IdKind
    costly: bool
    """Whether reading is more than copying, so that rows are worth keeping in memory for a second reading."""
    held_bytes: int
    """What a sink collects of the embeddings before it writes them: the largest row group, or 0."""
    notes: list[str]
    """What a reader should know about the layout: a split row group, a file that is not carried over."""

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """The rows in file order, in chunks that the layout alone decides, from the one that begins at `start`."""
        ...

    def ids(self) -> Iterator[pa.Array]:
        """All ids in file order, without reading the embeddings: canonical, in arrays of any length.

        Nothing for a source of kind `row`.
        """
        ...


@runtime_checkable
class Source(Rows, Protocol):
    """The embeddings of one modality, in one container."""

    modality: str

    def sink(self, target: Path, beside: Sequence[Source] = ()) -> Sink:
        """A sink that writes the container again as `target` (a file, or a folder of parts where the source is one).

        Args:
            target: Where to.
            beside: The other modalities of the same container, which are written along.
        """
        ...

    def files(self) -> list[Path]:
        """The files that the source reads, in row order (an id file last)."""
        ...

    def describe(self) -> dict[str, Any]:
        """The layout, for people: container, columns or datasets, type, codec, row groups or chunks."""
        ...


def canonical_ids(ids: pa.Array | pa.ChunkedArray, *, where: object) -> pa.Array:
    """Bring ids of any supported type to `pa.string()`, `pa.int64()` or `pa.uint64()`.

    Raises:
        DataError: Null ids, bytes that are not UTF-8, or a type that cannot be an id (floats are refused: 0.1 + 0.2).
    """
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    if pa.types.is_dictionary(ids.type):
        ids = ids.dictionary_decode()
    if ids.null_count:
        row = int(np.flatnonzero(np.asarray(pc.is_null(ids)))[0])
        raise DataError(f"{ids.null_count} item ids are null, the first at row {row} of this part", where=where)
    if id_kind_of(ids.type) == "integer":
        return ids.cast(pa.uint64() if pa.types.is_unsigned_integer(ids.type) else pa.int64())
    if id_kind_of(ids.type) == "string":
        try:
            text = ids.cast(pa.string())
            text.validate(full=True)  # a column of strings can hold any bytes
            return text
        except pa.ArrowInvalid as error:
            raise DataError("an item id is not valid UTF-8", where=where) from error
    raise DataError(
        f"item ids of type {ids.type} are not supported",
        where=where,
        supported="string, binary, dictionary of these, any integer",
    )


def id_kind_of(kind: pa.DataType) -> IdKind | None:
    """The kind of ids that a column of this type can hold, or None if it cannot hold ids."""
    if pa.types.is_dictionary(kind):
        return id_kind_of(kind.value_type)
    if pa.types.is_integer(kind):
        return "integer"
    text = (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )
    return "string" if text else None


ID_NAMES = ("item_id", "itemid", "item", "id", "ids", "item_ids", "product_id", "asin", "sku", "iid", "key")
"""Names that mark a column as the id, best first, where several columns could be it."""


AGAIN = "copy or write the file again: it is cut short, or damaged"


def unreadable(error: OSError, where: object, fix: str | None = None) -> DataError:
    """The error for a file that the system does not let us read; `fix` is what to do where no name is like that one."""
    if isinstance(error, FileNotFoundError):
        return DataError("cannot read the file: no such file or directory", where=where, **instead_of(where, fix))
    about = instead_of(where, fix) if isinstance(error, NotADirectoryError) else {"fix": fix}
    return DataError(f"cannot read the file: {(error.strerror or str(error)).lower()}", where=where, **about)


def shown(names: Sequence[str], most: int = 20) -> str:
    """Names as a message lists them: there may be millions."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def setting(option: str, modality: str, value: str) -> str:
    """An option as it is to be typed; there is no modality where only one file is looked at."""
    return f"{option} {modality}={value}" if modality else f"{option} {value}"


def guess(
    candidates: Sequence[str],
    *,
    what: str,
    option: str,
    modality: str,
    where: object,
    present: Sequence[str],
    suggested: str | None = None,
) -> str:
    """The only sensible candidate; of several the one that is `suggested`, else the first, is what the error suggests.

    Raises:
        DataError: There is none, or more than one; the message lists them and names the option that decides.
    """
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise DataError(
            f"no {what} found",
            where=where,
            present=shown(present) or "nothing",
            fix=f"name it: {setting(option, modality, 'NAME')}",
        )
    raise DataError(
        f"more than one possible {what}",
        where=where,
        candidates=shown(candidates),
        fix=setting(option, modality, suggested or candidates[0]),
    )


def guess_id(candidates: Sequence[str], *, option: str, modality: str, where: object, present: Sequence[str]) -> str:
    """The id column: the only candidate, else the only one that bears a usual name. Errors as in `guess`."""
    places = {name: name.rsplit("/", 1)[-1].lower() for name in candidates}
    usual = sorted((one for one in candidates if places[one] in ID_NAMES), key=lambda one: ID_NAMES.index(places[one]))
    chosen = usual if len(usual) == 1 else candidates
    # Of names that say nothing, such as a title and a price in cents, none is worth a try.
    given: dict[str, Any] = {"suggested": (*usual, "NAME")[0], "where": where, "present": present}
    return guess(chosen, what="item id column", option=option, modality=modality, **given)


def named(
    name: str,
    present: Sequence[str],
    *,
    what: str,
    option: str,
    modality: str,
    where: object,
    likely: Sequence[str] | None = None,
) -> str:
    """`name`, if it is present.

    Raises:
        DataError: It is not; the message lists what is, and suggests the nearest, of those that are likely if that is
            known.
    """
    if name in present:
        return name
    nearest = closest(name, (present if likely is None else likely)[:1000])
    fix = setting(option, modality, nearest) if nearest else None
    if fix and modality and option == "--embedding-column":
        fix += f", or ::{nearest} behind the path"
    found: dict[str, Any] = {f"{what}s": shown(present) or "none"}
    raise DataError(f'{what} "{name}" not found', where=where, **found, flags=[option], said=name, fix=fix)


def ragged(dim: int, lengths: npt.NDArray[np.integer[Any]], *, start: int, where: object) -> DataError:
    """The error for rows of other lengths (n,) than `dim`, where `start` is the number of the first row."""
    bad = np.flatnonzero(lengths != dim)
    return DataError(
        f"embeddings differ in length: row {start + int(bad[0])} has {int(lengths[bad[0]])} values, not {dim}",
        where=where,
    )
