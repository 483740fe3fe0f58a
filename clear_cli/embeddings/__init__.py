"""Embeddings in containers: one family of modules per format, behind the protocols of `base`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from clear_cli.config import wildcard_root
from clear_cli.disk import HDF5, container_by
from clear_cli.embeddings.base import PIECE_BYTES, Source, unreadable
from clear_cli.errors import DataError, UsageError

PADDING = "row 0 is all zeros: taken as padding, it stays as it is"
SUPPORTED = "Parquet (a file or a folder of parts), HDF5, NPY (a file or a folder), NPZ, .itememb"


@dataclass(frozen=True)
class Container:
    """A kind of container.

    Attributes:
        module: What reads it, imported where it is needed: h5py alone takes a tenth of a second.
        source: The name of its source there.
        takes: What may be said about it, besides where it is.
    """

    module: str
    source: str
    takes: tuple[str, ...] = ()


LONGEST_ROW = 64 << 20
"""Bytes. Memory is taken for at least a row at a time, and a file may claim any number of dimensions."""

COLUMNS = ("embedding_column", "id_column")
CONTAINERS = {
    "parquet": Container("parquet", "ParquetSource", COLUMNS),
    "hdf5": Container("hdf5", "Hdf5Source", COLUMNS),
    "npy": Container("npy", "NpySource", ("ids",)),
    "npz": Container("npz", "NpzSource", (*COLUMNS, "ids")),
    "npy items": Container("npy_folder", "ItemFolder"),
    "npy shards": Container("npy_folder", "ShardFolder", ("id_column", "ids")),
    "itememb": Container("itememb", "ItemembSource", COLUMNS),
}


def open_source(path: Path, *, modality: str, piece_bytes: int = PIECE_BYTES, **details: Any) -> Source:
    """Open the embeddings of one modality; the container is known by its first bytes, not by its name.

    Args:
        path: Where they are.
        modality: Its name.
        piece_bytes: What a Parquet row group may take in memory before it is written in pieces.
        **details: `embedding_column`, `id_column`, `ids`, as in `Input`.

    Raises:
        UsageError: An option that this container has no use for.
        DataError: No such file, not a container we read, no embeddings in it, or rows that are too long to be any.
    """
    kind = container_of(path)
    container = CONTAINERS[kind]
    for key, value in details.items():
        if value is not None and key not in container.takes:
            raise _useless(f"--{key.replace('_', '-')}", kind, modality, path)
    given = {key: details.get(key) for key in container.takes}
    if kind == "parquet":
        given["piece_bytes"] = piece_bytes
    module = import_module(f"{__name__}.{container.module}")
    source: Source = getattr(module, container.source)(path, modality=modality, **given)
    _refuse_long_rows(source.dim, source.dtype, path)
    # Counted, for `any` warns of a NaN whose first bit is not set.
    if source.id_kind == "row" and source.rows and not np.count_nonzero(next(source.chunks()).embeddings[0]):
        source.notes.append(PADDING)
    return source


def _refuse_long_rows(dim: int, dtype: np.dtype[Any], where: object) -> None:
    """Raise a DataError where a row alone would take more memory than any embedding."""
    if dim * dtype.itemsize > LONGEST_ROW:
        raise DataError(
            f"a row of {dim:,} dimensions is no embedding",
            where=where,
            supported=f"up to {LONGEST_ROW // dtype.itemsize:,} dimensions of {dtype.name}",
        )


def container_of(path: Path) -> str:
    """The kind of container, one of CONTAINERS.

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
    found = (container_by(head) or "").lower()
    if found in CONTAINERS:
        return found
    if user_block:
        return "hdf5"
    if b":float_seq" in head.partition(b"\n")[0]:
        return "itememb"
    problem = "not a file of embeddings" if head else "the file is empty"
    raise DataError(problem, where=path, supported=SUPPORTED)


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
        fix = f"--id-column {modality}=NAME" if CONTAINERS[container].takes else "name the files by their ids"
        problem = "--ids is for NPY files; this container has its ids inside"
        return UsageError(problem, where=path, fix=fix, flags=[option], said=modality)
    problem = f"{option} does not apply to {kind}, which has no columns"
    return UsageError(problem, where=path, flags=[option], said=modality)
