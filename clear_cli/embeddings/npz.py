"""NPZ: embeddings, and maybe their ids, as members of a zip archive of NPY arrays.

Members are read and written as streams, a block at a time. They are written one after the other, in their old order;
rows of a modality whose member does not have its turn yet wait in a scratch file.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
import pyarrow as pa

from clear_cli.embeddings.base import Chunk, Floats, IdKind, Source, guess, guess_id, named, setting
from clear_cli.embeddings.npy import ID_ROWS, ids_for, layout_notes, not_embeddings, rows_of
from clear_cli.embeddings.npy_array import Array, header_of
from clear_cli.embeddings.npy_ids import ids_in
from clear_cli.embeddings.npz_archive import Members, open_archive, read_members, readable, stem_of
from clear_cli.errors import DataError, UsageError

MAGIC = b"PK\x03\x04"
COPY_BYTES = 1 << 20


class NpzSource:
    """The embeddings of one modality in an NPZ archive.

    Args:
        path: The archive.
        modality: The modality's name, for messages.
        embedding_column: The member; None: the only matrix of floats.
        id_column: The member of the ids; None: the only one with an id for each row, if there is one.
        ids: A file of ids instead.

    Raises:
        DataError: No readable archive, no such member, several that could be meant, or one that cannot be used.
        UsageError: Both an id member and an id file.
    """

    def __init__(
        self,
        path: Path,
        *,
        modality: str,
        embedding_column: str | None = None,
        id_column: str | None = None,
        ids: Path | None = None,
    ) -> None:
        self.path, self.modality = path, modality
        if ids is not None and id_column is not None:
            raise UsageError("--ids and --id-column exclude each other", where=path)
        members = read_members(path)
        self.member = _matrix(members, embedding_column, modality, path)
        self.info, self._array = members[self.member]
        self.rows, self.dim = self._array.shape
        self.dtype: np.dtype[Any] = self._array.dtype.newbyteorder("=")
        self.held_bytes, self.costly = 0, self.info.compress_type != zipfile.ZIP_STORED
        self.notes = layout_notes(self._array)
        self._file = None if ids is None else ids_for(ids, self.rows, modality, path)
        self._ids = None if ids is not None else _id_member(members, id_column, self, path)
        self.id_kind: IdKind = "row"
        if self._file is not None:
            self.id_kind = self._file.kind
        elif self._ids is not None:
            self.id_kind = "integer" if self._ids[1].dtype.kind in "iu" else "string"

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """All rows in file order."""
        for at, block in self._blocks((self.info, self._array), rows_of(self.dim, self.dtype), start):
            where = f'{self.path}, member "{self.member}", rows {at} to {at + len(block) - 1}'
            yield Chunk(at, block.astype(self.dtype, copy=False), None, None, where)

    def ids(self) -> Iterator[pa.Array]:
        """All ids in file order."""
        if self._file is not None:
            yield from self._file.blocks(ID_ROWS)
        if self._ids is not None:
            for _, values in self._blocks(self._ids, ID_ROWS):
                yield ids_in(values, f'{self.path}, member "{self._id_name}"')

    def sink(self, target: Path, beside: Sequence[Source] = ()) -> NpzSink:
        """A sink that writes the archive again.

        Raises:
            DataError: Two modalities are the same member.
        """
        replaced: dict[str, NpzSource] = {}
        for source in (self, *beside):
            assert isinstance(source, NpzSource)
            if source.member in replaced:
                names = f'"{replaced[source.member].modality}" and "{source.modality}"'
                raise DataError(f'modalities {names} are the same: member "{source.member}"', where=self.path)
            replaced[source.member] = source
        return NpzSink(self.path, target, list(replaced.values()))

    def files(self) -> list[Path]:
        """The archive, and the id file if there is one."""
        return [self.path] if self._file is None else [self.path, self._file.path]

    def describe(self) -> dict[str, Any]:
        """The layout."""
        return {
            "container": "npz",
            "rows": self.rows,
            "dim": self.dim,
            "dtype": self.dtype.name,
            "member": self.member,
            "id_member": self._id_name,
            "compressed": self.costly,
        }

    @property
    def _id_name(self) -> str | None:
        return None if self._ids is None else stem_of(self._ids[0])

    def _blocks(self, member: tuple[zipfile.ZipInfo, Array], rows: int, start: int = 0) -> Iterator[tuple[int, Any]]:
        info, array = member
        width = math.prod(array.shape[1:]) * array.dtype.itemsize
        with readable(self.path, info), open_archive(self.path) as archive, archive.open(info) as stream:
            stream.seek(array.offset + start * width)
            for at in range(start, array.shape[0], rows):
                block = np.empty((min(rows, array.shape[0] - at), *array.shape[1:]), array.dtype)
                view = block.view(np.uint8).reshape(-1).data
                while view:
                    count = stream.readinto(view)  # type: ignore[attr-defined]
                    if not count:
                        raise zipfile.BadZipFile("it ends early")
                    view = view[count:]
                yield at, block
            stream.read(1)  # at the end the check sum is compared


class NpzSink:
    """The archive written again, with other values in some members.

    Args:
        source: The archive.
        target: The new one.
        replaced: The modalities that are written anew.
    """

    def __init__(self, source: Path, target: Path, replaced: Sequence[NpzSource]) -> None:
        self._source, self._target = source, target
        self._replaced = {one.info.filename: one for one in replaced}
        self._left = {one.modality: one.rows for one in replaced}
        self._lock = Lock()
        self._stack = ExitStack()

    def __enter__(self) -> NpzSink:
        with ExitStack() as stack:
            waiting = {name: tempfile.TemporaryFile(prefix="clear-") for name in self._left}  # noqa: SIM115
            self._waiting = {name: stack.enter_context(file) for name, file in waiting.items()}
            self._old = stack.enter_context(open_archive(self._source))
            self._new = stack.enter_context(zipfile.ZipFile(stack.enter_context(self._target.open("wb")), "w"))
            self._todo = iter(self._old.infolist())
            self._current: NpzSource | None = None
            self._member: IO[bytes] | None = None
            self._go_on()
            self._stack = stack.pop_all()
        return self

    def write(self, modality: str, chunk: Chunk, embeddings: Floats) -> None:
        """Append rows to their member, or keep them until it has its turn."""
        with self._lock:
            data = np.ascontiguousarray(embeddings).data.cast("B")
            if self._current is not None and self._current.modality == modality:
                assert self._member is not None
                self._member.write(data)
            else:
                self._waiting[modality].write(data)
            self._left[modality] -= len(chunk)
            if self._current is not None and not self._left[self._current.modality]:
                self._go_on()

    def __exit__(self, *error: Any) -> None:
        try:
            with self._stack:
                if self._member is not None:
                    self._member.close()
        except OSError:
            if error[0] is None:  # else it is a consequence, and would hide the cause
                raise
        if error[0] is None and any(self._left.values()):
            raise ValueError(f"rows were not written: {self._left}")

    def _go_on(self) -> None:
        """End the current member, copy what follows, and begin the next one whose rows have to come."""
        if self._member is not None:
            self._member.close()
        self._current = self._member = None
        for info in self._todo:
            member = self._new.open(_like(info), "w", force_zip64=info.file_size >= 1 << 30)
            if info.filename not in self._replaced:
                with member:
                    for data in self._carried(info):
                        member.write(data)
                continue
            one = self._replaced[info.filename]
            member.write(header_of((one.rows, one.dim), one.dtype))
            waiting = self._waiting[one.modality]
            waiting.seek(0)
            shutil.copyfileobj(waiting, member, COPY_BYTES)
            waiting.close()
            if self._left[one.modality]:
                self._current, self._member = one, member
                return
            member.close()

    def _carried(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """A member as it is. Only its reading is watched for damage: an error of writing is none of the archive."""
        with readable(self._source, info), self._old.open(info) as stream:
            while data := stream.read(COPY_BYTES):
                yield data


def _matrix(members: Members, asked: str | None, modality: str, path: Path) -> str:
    option = "--embedding-column"
    matrices = [name for name, (_, array) in members.items() if array.is_matrix and array.shape[1] > 1]
    if asked is None:
        asked = guess(
            matrices, what="embedding member", option=option, modality=modality, where=path, present=list(members)
        )
    present = list(members)
    name = named(asked, present, what="member", option=option, modality=modality, where=path, likely=matrices)
    array = members[name][1]
    if not array.is_matrix:
        raise not_embeddings(array)
    if array.fortran:
        raise DataError(
            f'member "{name}" is in Fortran order, which cannot be read as a stream',
            where=path,
            fix=f"numpy.savez(..., {name}=numpy.ascontiguousarray(x))",
        )
    return name


def _id_member(
    members: Members, asked: str | None, source: NpzSource, path: Path
) -> tuple[zipfile.ZipInfo, Array] | None:
    option = "--id-column"
    fitting = [
        name
        for name, (_, array) in members.items()
        if array.dtype.kind in "SUiu" and array.shape == (source.rows,) and array.dtype.itemsize
    ]
    if asked is None and not fitting:
        pickled = [name for name, (_, one) in members.items() if one.dtype.hasobject and one.shape == (source.rows,)]
        if pickled:
            raise DataError(
                f'the ids may be in member "{pickled[0]}", which is pickled, and pickles are never loaded',
                where=path,
                fix=f"numpy.savez(..., {pickled[0]}=ids.astype(str)), or {setting('--ids', source.modality, 'FILE')}",
            )
        return None
    if asked is None:
        asked = guess_id(fitting, option=option, modality=source.modality, where=path, present=list(members))
    known: dict[str, Any] = {"modality": source.modality, "where": path, "likely": fitting}
    name = named(asked, list(members), what="member", option=option, **known)
    if name not in fitting:
        array = members[name][1]
        raise DataError(
            f'member "{name}" of shape {array.shape} and type {array.dtype} cannot hold the ids',
            where=path,
            supported=f"one dimension of {source.rows:,} strings or integers",
        )
    return members[name]


def _like(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """A new member that is called, dated and compressed as an old one."""
    new = zipfile.ZipInfo(info.filename, info.date_time)
    new.compress_type, new.external_attr, new.comment = info.compress_type, info.external_attr, info.comment
    return new
