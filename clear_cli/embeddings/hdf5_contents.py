"""What an HDF5 file holds, and which of it is meant. Reads headers, never values.

Embeddings are a matrix, or a vector for each item: `items/<id>`, or `<id>/image` beside `<id>/text`. A pattern names
such vectors, with `*` for the item: `items/*`, `*/image`. There may be millions, so only the first names of a group
are looked at; what is named is found wherever it is.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from clear_cli.embeddings.base import IdKind, guess, guess_id, named, setting, shown
from clear_cli.embeddings.hdf5_file import OpenFile, dtype_of, is_float, links, reason, refuse_foreign
from clear_cli.embeddings.hdf5_frames import frame_index, refuse_table
from clear_cli.embeddings.hdf5_items import Items
from clear_cli.embeddings.hdf5_layouts import Layout, Matrix, matrix_identity
from clear_cli.errors import DataError, closest

GROUP_NAMES = 1000
"""So many members of a group are looked at."""

MOST_OBJECTS = 20_000
"""So many objects of a file are looked at."""

MAX_SOFT_LINKS = 16
"""On the way to one dataset, as in HDF5 itself; more of them are a circle."""

EMBEDDINGS, IDS = "--embedding-column", "--id-column"


class Contents:
    """The datasets of a file.

    Args:
        file: The open file.
        modality: The modality's name, for messages.
    """

    def __init__(self, file: OpenFile, modality: str) -> None:
        self._file, self._path = file, file.path
        self._modality = modality
        self._asker: dict[str, Any] = {"modality": modality, "where": file.path}
        self._names: list[str] = []
        self._matrices: list[str] = []
        self._id_lengths: dict[str, int] = {}
        vectors = {}
        for name, dataset in _datasets(file.h5):
            self._names.append(name)
            shape: tuple[int, ...] = dataset.shape or ()
            if is_float(dataset) and shape and shape[-1] > 1 and shape[:-1] in ((), (1,)):
                vectors[name] = (shape, dataset.dtype)
            if is_float(dataset) and len(shape) == 2 and shape[1] > 1:
                self._matrices.append(name)
            elif len(shape) == 1 and id_kind(dataset):
                self._id_lengths[name] = shape[0]
        self._families = _families(vectors)
        members = {name for family in self._families.values() for name in family}
        self._matrices = [name for name in self._matrices if name not in members]

    def embeddings(self, name: str | None) -> Layout:
        """The embeddings: as named, else the only matrix of floats, else the only family of vectors.

        Raises:
            DataError: None or several, or some that cannot be embeddings, are in other files or lack a filter.
        """
        if name is None:
            candidates = self._matrices or list(self._families)
            if not candidates:
                refuse_table(self._file.h5, self._path)
            asked = {"what": "embedding dataset", "option": EMBEDDINGS, "present": self._names, **self._asker}
            name = guess(candidates, **asked)
        item = self._walk(name)
        if isinstance(item, h5py.Group) and _steps(name):
            refuse_table(item, self._path)
            item = self._block(item, name) if _is_frame(item) else self._items(item, "", name)
        if item is None and _steps(name).count("*") == 1:
            before, _, after = "/".join(_steps(name)).partition("*")
            group = self._walk(before)
            item = self._items(group, after.strip("/"), name) if isinstance(group, h5py.Group) else None
        if isinstance(item, Items):
            return item
        dataset = self._dataset(item, name, EMBEDDINGS)
        if len(dataset.shape or ()) != 2 or not dataset.shape[1] or not is_float(dataset):
            raise DataError(
                f'dataset "{name}" cannot hold embeddings: {_form(dataset)}',
                where=self._path,
                supported="two dimensions (items, dimensions) of float16, float32 or float64",
            )
        return Matrix(dataset, self._file)

    def ids(self, name: str | None, embeddings: Layout) -> h5py.Dataset:
        """The id dataset: as named, else the index of a pandas frame, else the only one with an id for each row.

        Raises:
            DataError: None or several, or one whose type or shape cannot be, is in another file or lacks a filter, or
                that was never written.
        """
        rows, group = embeddings.rows, _group(embeddings.name)
        if name is None:
            name = frame_index(self._file.h5[group or "/"], group, setting(IDS, self._modality, "NAME"), self._path)
        if name is None:
            likely = self._likely_ids(embeddings)
            name = guess_id(likely, option=IDS, present=self._names, **self._asker)
        dataset = self._dataset(self._walk(name), name, IDS)
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
        _refuse_unwritten(dataset, name, self._path)
        return dataset

    def others(self, embeddings: Layout) -> dict[str, tuple[Any, ...]]:
        """What else could be embeddings, by name; with the identity of each matrix, as of a layout."""
        identities = {name: matrix_identity(self._file.h5[name]) for name in self._matrices}
        found = {name: identity for name, identity in identities.items() if identity != embeddings.identity}
        return found | {name: () for name in self._families if name != embeddings.name}

    def _likely_ids(self, embeddings: Layout) -> list[str]:
        """Datasets with an id for each row; of these the one beside the embeddings, or beside and named like them."""
        fitting = [name for name, length in self._id_lengths.items() if length == embeddings.rows]
        beside = [name for name in fitting if _group(name) == _group(embeddings.name)]
        alike = [name for name in beside if _stem(name) == _stem(embeddings.name)]
        return next((names for names in (beside, alike) if len(names) == 1), fitting)

    def _items(self, group: h5py.Group, suffix: str, name: str) -> Items:
        items = Items(group, suffix, self._file)
        if items.rows:
            return items
        nearest = closest(name, self._families)
        raise DataError(
            f'no dataset matches "{items.name}"',
            where=self._path,
            datasets=shown(self._names) or "none",
            fix=setting(EMBEDDINGS, self._modality, f"'{nearest}'") if nearest else None,
        )

    def _block(self, frame: h5py.Group, name: str) -> h5py.Dataset:
        """The block of floats of a pandas frame."""
        prefix = "/".join(_steps(name))
        blocks = [one for one in self._matrices if _group(one) == prefix]
        asked = {"what": "embedding dataset", "option": EMBEDDINGS, **self._asker}
        return frame[guess(blocks, present=[f"{prefix}/{one}" for one in frame], **asked).rpartition("/")[2]]

    def _dataset(self, item: Any, name: str, option: str) -> h5py.Dataset:
        if not isinstance(item, h5py.Dataset):
            likely = [*self._matrices, *self._families] if option == EMBEDDINGS else [*self._id_lengths]
            named(name, self._names, what="dataset", option=option, likely=likely, **self._asker)
        refuse_foreign(item, name, self._path)
        return item

    def _walk(self, name: str) -> Any:
        """What is at a path of the file, through its own groups and soft links; None where there is nothing."""
        item, steps, soft_links = self._file.h5, _steps(name), 0
        while steps and isinstance(item, h5py.Group) and soft_links <= MAX_SOFT_LINKS:
            step = steps.pop(0)
            link = item.get(step, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise DataError(
                    f'"{name}" is in another file, behind an external link: {link.filename}',
                    where=self._path,
                    fix="give that file, or copy the dataset into this one",
                )
            if isinstance(link, h5py.SoftLink):
                item = self._file.h5 if link.path.startswith("/") else item
                steps, soft_links = _steps(link.path) + steps, soft_links + 1
            else:
                item = item.get(step)
        return None if steps else item


def id_kind(dataset: h5py.Dataset) -> IdKind | None:
    """The kind of ids that a dataset of this type can hold, or None."""
    dtype = dtype_of(dataset)
    if dtype.kind in "iu":
        return "integer"
    return "string" if h5py.check_string_dtype(dtype) else None


def _datasets(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Datasets with their paths, upper ones first, each once; hard links only."""
    groups: deque[tuple[str, h5py.Group]] = deque([("", file)])
    seen = {_identity(file, "/", file)}
    while groups and len(seen) < MOST_OBJECTS:
        prefix, group = groups.popleft()
        for name, kind in links(group, GROUP_NAMES)[0]:
            if kind != h5py.h5l.TYPE_HARD or name.encode(errors="ignore").decode() != name:  # not UTF-8
                continue
            try:
                item = group[name]
            except (OSError, RuntimeError, KeyError) as error:
                raise DataError(f'"{prefix}{name}" cannot be read: {reason(error)}', where=file.filename) from error
            identity = _identity(item, prefix + name, file)
            if identity in seen:
                continue
            seen.add(identity)
            if isinstance(item, h5py.Dataset):
                yield prefix + name, item
            elif isinstance(item, h5py.Group):
                groups.append((f"{prefix}{name}/", item))


def _identity(item: h5py.HLObject, name: str, file: h5py.File) -> int:
    """The same for all names of one object."""
    try:
        return hash(item.id)
    except TypeError as error:  # where HDF5 cannot say what the object is
        raise DataError(f'"{name}" cannot be read', where=file.filename) from error


def _families(vectors: dict[str, Any]) -> dict[str, list[str]]:
    """Vectors of one form whose paths differ in one step, by their pattern; a vector is of its largest family."""
    patterns = {name: [_star(name, i) for i in range(name.count("/") + 1)] for name in vectors}
    sizes = Counter((pattern, vectors[name]) for name, mine in patterns.items() for pattern in mine)
    families: dict[str, list[str]] = {}
    for name, mine in patterns.items():
        largest = max(mine, key=lambda pattern: sizes[pattern, vectors[name]])
        if sizes[largest, vectors[name]] > 1:
            families.setdefault(largest, []).append(name)
    return families


def _star(name: str, step: int) -> str:
    steps = name.split("/")
    return "/".join([*steps[:step], "*", *steps[step + 1 :]])


def _refuse_unwritten(dataset: h5py.Dataset, name: str, path: Path) -> None:
    """Refuse ids of which some were never stored: a damaged or unfinished file, which may claim any number of rows."""
    if not dataset.shape[0]:
        return
    if dataset.chunks:
        wanted, stored = -(-dataset.shape[0] // dataset.chunks[0]), dataset.id.get_num_chunks()
    else:
        compact = dataset.id.get_create_plist().get_layout() == h5py.h5d.COMPACT
        wanted, stored = 1, int(compact or dataset.id.get_offset() is not None)
    if stored < wanted:
        raise DataError(
            f'id dataset "{name}" says that it has {dataset.shape[0]:,} rows, but they are not all in the file',
            where=path,
            fix="write the file again, with an id for each row",
        )


def _is_frame(group: h5py.Group) -> bool:
    return "pandas_type" in group.attrs


def _form(dataset: h5py.Dataset) -> str:
    return f"shape {dataset.shape}, type {'string' if id_kind(dataset) == 'string' else dtype_of(dataset)}"


def _steps(name: str) -> list[str]:
    return [step for step in name.split("/") if step not in ("", ".")]


def _group(name: str) -> str:
    return name.strip("/").rpartition("/")[0]


def _stem(name: str) -> str:
    """The first word of a dataset's name: `image` of `x/image_ids`."""
    return name.rpartition("/")[2].partition("_")[0]
