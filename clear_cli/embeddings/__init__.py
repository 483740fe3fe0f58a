"""Embeddings in containers: one family of modules per format, behind the protocols of `base`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from clear_cli.config import wildcard_root
from clear_cli.embeddings.base import PIECE_BYTES, Source, refuse_long_rows, unreadable
from clear_cli.errors import DataError, UsageError

HDF5 = b"\x89HDF\r\n\x1a\n"
PADDING = "row 0 is all zeros: taken as padding, it stays as it is"
SUPPORTED = "Parquet (a file or a folder of parts), HDF5, NPY (a file or a folder), NPZ, .itememb"

OPTIONS = {
    "parquet": ("--embedding-column", "--id-column"),
    "hdf5": ("--embedding-column", "--id-column"),
    "npy": ("--ids",),
    "npz": ("--embedding-column", "--id-column", "--ids"),
    "npy items": (),
    "npy shards": ("--id-column", "--ids"),
    "itememb": ("--embedding-column", "--id-column"),
}
"""What may be said about a container, besides where it is."""


def open_source(
    path: Path,
    *,
    modality: str,
    embedding_column: str | None = None,
    id_column: str | None = None,
    ids: Path | None = None,
    piece_bytes: int = PIECE_BYTES,
) -> Source:
    """Open the embeddings of one modality; the container is known by its first bytes, not by its name.

    `piece_bytes` is what a Parquet row group may take in memory before it is written in pieces.

    Raises:
        UsageError: An option that this container has no use for.
        DataError: No such file, not a container we read, no embeddings in it, or rows that are too long to be any.
    """
    container = container_of(path)
    given = {"--embedding-column": embedding_column, "--id-column": id_column, "--ids": ids}
    for option, value in given.items():
        if value is not None and option not in OPTIONS[container]:
            raise _useless(option, container, modality, path)
    columns = {"embedding_column": embedding_column, "id_column": id_column}
    source = _source(container, path, modality, columns, ids, piece_bytes)
    refuse_long_rows(source.dim, source.dtype, path)
    if source.id_kind == "row" and source.rows and not next(source.chunks()).embeddings[0].any():
        source.notes.append(PADDING)
    return source


def _source(
    container: str, path: Path, modality: str, columns: dict[str, Any], ids: Path | None, piece_bytes: int
) -> Source:
    """Of the class that reads the container, imported where it is needed: h5py alone takes a tenth of a second."""
    if container == "npy":
        from clear_cli.embeddings.npy import NpySource

        return NpySource(path, modality=modality, ids=ids)
    if container == "npz":
        from clear_cli.embeddings.npz import NpzSource

        return NpzSource(path, modality=modality, ids=ids, **columns)
    if container == "npy items":
        from clear_cli.embeddings.npy_folder import ItemFolder

        return ItemFolder(path, modality=modality)
    if container == "npy shards":
        from clear_cli.embeddings.npy_folder import ShardFolder

        return ShardFolder(path, modality=modality, ids=ids, id_column=columns["id_column"])
    if container == "itememb":
        from clear_cli.embeddings.itememb import ItemembSource

        return ItemembSource(path, modality=modality, **columns)
    if container == "hdf5":
        from clear_cli.embeddings.hdf5 import Hdf5Source

        return Hdf5Source(path, modality=modality, **columns)
    from clear_cli.embeddings.parquet import ParquetSource

    return ParquetSource(path, modality=modality, piece_bytes=piece_bytes, **columns)


def container_of(path: Path) -> str:
    """The kind of container, one of OPTIONS.

    Raises:
        DataError: No such file, or none of these.
    """
    if wildcard_root(path) is not None:
        return "parquet"
    if path.is_dir():
        return _folder(path)
    try:
        with path.open("rb") as file:
            head = file.read(1 << 12)
            # HDF5 may have a block of the user's own in front, of 512 bytes or a power of two more.
            user_block = any(file.seek(512 << i) and file.read(8) == HDF5 for i in range(12))
    except OSError as error:
        raise unreadable(error, path) from error
    magics = {b"PAR1": "parquet", HDF5: "hdf5", b"\x93NUMPY": "npy", b"PK\x03\x04": "npz", b"PK\x05\x06": "npz"}
    found = next((name for magic, name in magics.items() if head.startswith(magic)), None)
    if found is None and user_block:
        return "hdf5"
    if found is None and b":float_seq" in head.partition(b"\n")[0]:
        return "itememb"
    if found is None:
        problem = "not a file of embeddings" if head else "the file is empty"
        raise DataError(problem, where=path, supported=SUPPORTED)
    return found


def _folder(path: Path) -> str:
    """What a folder holds: its first files say it, for there may be millions."""
    names = [entry.name for entry in islice(path.iterdir(), 1000)]
    arrays = [name for name in names if name.endswith(".npy")]
    parts = [name for name in names if name.endswith((".parquet", ".pq", ".parq"))]
    if not arrays:
        return "parquet"
    if parts:
        raise DataError("the folder holds both NPY and Parquet files", where=path, npy=min(arrays), parquet=min(parts))
    from clear_cli.embeddings.npy_array import read_header

    shape = read_header(path / min(arrays)).shape
    return "npy items" if len(shape) == 1 or (len(shape) == 2 and shape[0] == 1) else "npy shards"


def _useless(option: str, container: str, modality: str, path: Path) -> UsageError:
    kind = {"npy": "NPY", "npy items": "a folder of NPY files", "npy shards": "NPY shards"}.get(container, container)
    if option == "--ids":
        fix = f"--id-column {modality}=NAME" if OPTIONS[container] else "name the files by their ids"
        return UsageError("--ids is for NPY files; this container has its ids inside", where=path, fix=fix)
    return UsageError(f"{option} does not apply to {kind}, which has no columns", where=path)
