"""What an HDF5 file holds, and which of it is meant. Reads headers, never values.

A dataset whose values lie in other files is refused: they would be neither checked nor carried over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from clear_cli.embeddings.base import IdKind, guess, guess_id, named
from clear_cli.errors import DataError

FILTERS = {
    1: "gzip",
    2: "shuffle",
    3: "fletcher32",
    4: "szip",
    5: "nbit",
    6: "scaleoffset",
    32000: "lzf",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32026: "blosc2",
}
MAX_SOFT_LINKS = 16
"""On the way to one dataset, as in HDF5 itself; more of them are a circle."""


class Contents:
    """The datasets of a file.

    Args:
        file: The open file.
        path: Its path, for messages.
        modality: The modality's name, for messages.
    """

    def __init__(self, file: h5py.File, path: Path, modality: str) -> None:
        self._file = file
        self._path = path
        self._asker: dict[str, Any] = {"modality": modality, "where": path}
        self._names: list[str] = []
        self._matrices: list[str] = []
        self._id_lengths: dict[str, int] = {}
        file.visititems(self._sort)  # follows hard links only, each object once

    def _sort(self, name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        self._names.append(name)
        shape: tuple[int, ...] = item.shape or ()
        if len(shape) == 2 and shape[1] > 1 and _is_float(item):
            self._matrices.append(name)
        elif len(shape) == 1 and id_kind(item):
            self._id_lengths[name] = shape[0]

    def embeddings(self, name: str | None) -> h5py.Dataset:
        """The embedding dataset: as named, else the only matrix of floats.

        Raises:
            DataError: None or several, or one that is no matrix of floats, refers to other files or lacks a filter.
        """
        option = "--embedding-column"
        if name is None:
            asked = {"what": "embedding dataset", "option": option, "present": self._names, **self._asker}
            name = guess(self._matrices, **asked)
        dataset = self._dataset(name, option)
        if len(dataset.shape or ()) != 2 or not dataset.shape[1] or not _is_float(dataset):
            raise DataError(
                f'dataset "{name}" cannot hold embeddings: {_form(dataset)}',
                where=self._path,
                supported="two dimensions (items, dimensions) of float16, float32 or float64",
            )
        return dataset

    def ids(self, name: str | None, embeddings: h5py.Dataset) -> h5py.Dataset:
        """The id dataset: as named, else the only one with an id for each row, best in the group of the embeddings.

        Raises:
            DataError: None or several, or one whose type or shape cannot be, refers to other files or lacks a filter.
        """
        option, rows = "--id-column", len(embeddings)
        if name is None:
            fitting = [name for name, length in self._id_lengths.items() if length == rows]
            beside = [name for name in fitting if _group(name) == _group(embeddings.name)]
            likely = beside if len(beside) == 1 else fitting
            name = guess_id(likely, option=option, present=self._names, **self._asker)
        dataset = self._dataset(name, option)
        if id_kind(dataset) is None:
            raise DataError(
                f'dataset "{name}" cannot hold item ids: {_form(dataset)}',
                where=self._path,
                supported="one dimension of strings, fixed or variable in length, or of integers",
            )
        if dataset.shape != (rows,):
            raise DataError(
                f'id dataset "{name}" has shape {dataset.shape}, not ({rows},)',
                where=self._path,
                fix="one id for each row of embeddings, in one dimension",
            )
        return dataset

    def notes(self, embeddings: h5py.Dataset) -> list[str]:
        """What the copy holds besides: other embeddings, from which nothing is removed."""
        others = [name for name in self._matrices if self._file[name] != embeddings]
        if not others:
            return []
        names = ", ".join(others[:5]) + (f" and {len(others) - 5:,} more" if len(others) > 5 else "")
        return [f"other matrices in the file are carried over as they are: {names}"]

    def _dataset(self, name: str, option: str) -> h5py.Dataset:
        dataset = _walk(self._file, name, self._path)
        if not isinstance(dataset, h5py.Dataset):
            named(name, self._names, what="dataset", option=option, **self._asker)
        _refuse_foreign(dataset, name, self._path)
        return dataset


def filters(dataset: h5py.Dataset) -> list[tuple[int, str]]:
    """Number and name of each filter, in the order of writing."""
    pipeline = dataset.id.get_create_plist()
    codes = [pipeline.get_filter(i)[0] for i in range(pipeline.get_nfilters())]
    return [(code, FILTERS.get(code, "unknown")) for code in codes]


def id_kind(dataset: h5py.Dataset) -> IdKind | None:
    """The kind of ids that a dataset of this type can hold, or None."""
    dtype = _dtype(dataset)
    if dtype.kind in "iu":
        return "integer"
    return "string" if h5py.check_string_dtype(dtype) else None


def _walk(file: h5py.File, name: str, path: Path) -> Any:
    """What is at a path of the file, through its own groups and soft links; None where there is nothing."""
    item, steps, soft_links = file, _steps(name), 0
    while steps and isinstance(item, h5py.Group) and soft_links <= MAX_SOFT_LINKS:
        step = steps.pop(0)
        link = item.get(step, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise DataError(
                f'"{name}" is in another file, behind an external link: {link.filename}',
                where=path,
                fix="give that file, or copy the dataset into this one",
            )
        if isinstance(link, h5py.SoftLink):
            item = file if link.path.startswith("/") else item
            steps, soft_links = _steps(link.path) + steps, soft_links + 1
        else:
            item = item.get(step)
    return None if steps else item


def _refuse_foreign(dataset: h5py.Dataset, name: str, path: Path) -> None:
    """Refuse values that lie in other files, and filters that are not installed."""
    storage = "virtual" if dataset.is_virtual else "external" if dataset.external else None
    if storage:
        raise DataError(
            f'dataset "{name}" is {storage}: its values lie in other files',
            where=path,
            fix="write them into a dataset of this file",
        )
    for code, filter_name in filters(dataset):
        # Even where all chunks were written without it, an optional filter must not be lost silently in the output.
        if not h5py.h5z.filter_avail(code):
            raise DataError(
                f'dataset "{name}" is stored with HDF5 filter {code} ({filter_name}), which is not installed',
                where=path,
                fix="pip install hdf5plugin, and set HDF5_PLUGIN_PATH to what hdf5plugin.PLUGIN_PATH is",
            )


def _dtype(dataset: h5py.Dataset) -> np.dtype[Any]:
    """The type in NumPy; of Python objects where NumPy has none."""
    try:
        dtype: np.dtype[Any] = dataset.dtype
    except TypeError:
        return np.dtype(object)
    return dtype


def _is_float(dataset: h5py.Dataset) -> bool:
    """Whether the values are IEEE floats. HDF5 has others, such as bfloat16, that h5py shows as the next larger one."""
    dtype = _dtype(dataset)
    return dtype.kind == "f" and dtype.itemsize <= 8 and h5py.h5t.py_create(dtype) == dataset.id.get_type()


def _form(dataset: h5py.Dataset) -> str:
    return f"shape {dataset.shape}, type {'string' if id_kind(dataset) == 'string' else _dtype(dataset)}"


def _steps(name: str) -> list[str]:
    return [step for step in name.split("/") if step not in ("", ".")]


def _group(name: str) -> str:
    return name.strip("/").rpartition("/")[0]
