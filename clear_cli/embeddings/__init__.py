"""Embeddings in containers: one module per format, behind the protocols of `base`."""

from __future__ import annotations

from pathlib import Path

from clear_cli.config import wildcard_root
from clear_cli.embeddings.base import PIECE_BYTES, Source, unreadable
from clear_cli.errors import DataError, UsageError

HDF5 = b"\x89HDF\r\n\x1a\n"


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
        DataError: No such file, not a container we read, or no embeddings in it.
    """
    container = container_of(path)
    if container == "npy":
        from clear_cli.embeddings.npy import NpySource

        for option, value in (("--embedding-column", embedding_column), ("--id-column", id_column)):
            if value is not None:
                raise UsageError(f"{option} does not apply to NPY, which has no columns", where=path)
        return NpySource(path, modality=modality, ids=ids)
    if ids is not None:
        raise UsageError(
            "--ids is for NPY files; this container has its ids inside",
            where=path,
            fix=f"--id-column {modality}=NAME",
        )
    if container == "hdf5":
        from clear_cli.embeddings.hdf5 import Hdf5Source

        return Hdf5Source(path, modality=modality, embedding_column=embedding_column, id_column=id_column)
    from clear_cli.embeddings.parquet import ParquetSource

    return ParquetSource(
        path,
        modality=modality,
        embedding_column=embedding_column,
        id_column=id_column,
        piece_bytes=piece_bytes,
    )


def container_of(path: Path) -> str:
    """`parquet`, `hdf5` or `npy`.

    Raises:
        DataError: No such file, or none of these.
    """
    if path.is_dir() or wildcard_root(path) is not None:
        return "parquet"
    try:
        with path.open("rb") as file:
            magic = file.read(8)
            # HDF5 may have a block of the user's own in front, of 512 bytes or a power of two more.
            user_block = any(file.seek(512 << i) and file.read(8) == HDF5 for i in range(12))
    except OSError as error:
        raise unreadable(error, path) from error
    if magic.startswith(b"PAR1"):
        return "parquet"
    if magic == HDF5 or user_block:
        return "hdf5"
    if magic.startswith(b"\x93NUMPY"):
        return "npy"
    raise DataError(
        "not a file of embeddings" if magic else "the file is empty",
        where=path,
        supported="Parquet (a file or a folder of parts), HDF5, NPY",
    )
