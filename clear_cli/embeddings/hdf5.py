"""HDF5: embeddings anywhere in the groups of one file, with ids in a dataset or as the names of datasets.

`hdf5_contents` finds them, `hdf5_layouts` reads and writes them, `hdf5_write` copies what is around them. (h5py is
slow to import; these modules are imported when there is such a file.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa

from clear_cli.embeddings.base import Chunk, IdKind, Source, canonical_ids, shown
from clear_cli.embeddings.hdf5_contents import Contents, id_kind
from clear_cli.embeddings.hdf5_file import OpenFile, opened, patient, reason
from clear_cli.embeddings.hdf5_items import Items
from clear_cli.embeddings.hdf5_layouts import BLOCK_ROWS, Layout
from clear_cli.embeddings.hdf5_write import Hdf5Sink
from clear_cli.errors import DataError, UsageError
from clear_cli.remote import is_remote


class Hdf5Source:
    """The embeddings of one modality in an HDF5 file.

    Args:
        path: The file.
        modality: The modality's name, for messages.
        embedding_column: Path of the embedding dataset in the file, or a pattern (`items/*`, `*/image`) of the
            datasets of single items. None: the only matrix of floats, else the only such pattern.
        id_column: Path of the id dataset. None: the only one with an id for each row, or the only one of these
            that lies beside the embeddings, is named like them or has a usual name.

    Raises:
        DataError: Not HDF5, no such dataset, several that could be meant, or one that cannot be used.
        UsageError: An id dataset where the names of the datasets are the ids.
    """

    def __init__(
        self, path: Path, *, modality: str, embedding_column: str | None = None, id_column: str | None = None
    ) -> None:
        self.path, self.modality = path, modality
        self.held_bytes = 0
        with opened(path) as file:
            contents = Contents(file, modality)
            self._layout: Layout = contents.embeddings(embedding_column)
            self._id_name: str | None = None
            self.id_kind: IdKind = "string"
            if not isinstance(self._layout, Items):
                ids = contents.ids(id_column, self._layout)
                self._id_name, self.id_kind = ids.name.lstrip("/"), id_kind(ids) or "string"
            elif id_column is not None:
                raise UsageError(
                    f'--id-column does not apply to "{self._layout.name}": the names of the datasets are the ids',
                    where=path,
                )
            self.costly = not self._layout.plain
            self._others = contents.others(self._layout)
        self.beside(())
        self.rows, self.dim = self._layout.rows, self._layout.dim
        self.dtype: np.dtype[Any] = self._layout.stored.newbyteorder("=")

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """All rows in file order, in blocks whose size depends on the layout of the dataset alone."""
        with opened(self.path) as file:
            for at in range(start, self.rows, self._layout.block):
                stop = min(at + self._layout.block, self.rows)
                where = self._layout.where(at, stop)
                try:
                    embeddings = self._layout.read(file, at, stop).astype(self.dtype, copy=False)
                except (OSError, EOFError) as error:
                    raise _damaged(error, where) from error
                yield Chunk(at, embeddings, None, None, where)

    def ids(self) -> Iterator[pa.Array]:
        """All ids in file order."""
        if isinstance(self._layout, Items):
            yield from self._layout.names
            return
        with opened(self.path) as file:
            for start in range(0, self.rows, BLOCK_ROWS):
                yield self._read_ids(file, start, min(start + BLOCK_ROWS, self.rows))

    def beside(self, sources: Sequence[Source]) -> dict[str, Layout]:
        """Take note of the other modalities of the same file, which are not carried over as they are.

        Returns:
            The layouts of all of them, by modality.

        Raises:
            DataError: Two modalities are the same dataset.
        """
        layouts = {self.modality: self._layout}
        for source in sources:
            assert isinstance(source, Hdf5Source)
            for name, layout in layouts.items():
                if layout.identity == source._layout.identity:
                    raise DataError(
                        f'modalities "{name}" and "{source.modality}" are the same: {layout.name}', where=self.path
                    )
            layouts[source.modality] = source._layout
        known = {layout.identity for layout in layouts.values()} | {layout.name for layout in layouts.values()}
        others = [name for name, identity in self._others.items() if name not in known and identity not in known]
        self.notes = list(self._layout.notes)
        if others:
            self.notes.append(f"other matrices in the file are carried over as they are: {shown(others, 5)}")
        return layouts

    def sink(self, target: Path, beside: Sequence[Source] = ()) -> Hdf5Sink:
        """A sink that writes the file again with other embeddings. Errors as in `beside`."""
        return Hdf5Sink(self.path, target, self.beside(beside))

    def files(self) -> list[Path]:
        """The file."""
        return [self.path]

    def describe(self) -> dict[str, Any]:
        """The names of both datasets and the layout of the embeddings.

        `id_dataset` is None where the names of the datasets are the ids, `chunks` for contiguous ones.
        """
        layout = self._layout
        return {
            "container": "hdf5",
            "rows": self.rows,
            "dim": self.dim,
            "dtype": self.dtype.name,
            "byte_order": "big" if layout.stored.str.startswith(">") else "little",
            "embedding_dataset": layout.name,
            "id_dataset": self._id_name,
            "chunks": layout.chunks and list(layout.chunks),
            "filters": layout.filters,
        }

    def _read_ids(self, file: OpenFile, start: int, stop: int) -> pa.Array:
        dataset: h5py.Dataset = file.h5[self._id_name]
        where = f'{self.path}, dataset "{self._id_name}", rows {start} to {stop - 1}'
        try:
            with patient(where) if self.id_kind == "string" and not is_remote(self.path) else nullcontext():
                values = dataset[start:stop]
        except OSError as error:
            raise _damaged(error, where) from error
        if self.id_kind == "integer":
            ids = pa.array(values.astype(values.dtype.newbyteorder("="), copy=False))
        else:  # as a list, because Arrow ends the strings of a NumPy array at their first NUL
            ids = pa.array(values.tolist(), pa.binary())
        return canonical_ids(ids, where=where)


def _damaged(error: Exception, where: str) -> DataError:
    return DataError(f"these rows cannot be read: {reason(error)}", where=where)
