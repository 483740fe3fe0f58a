"""The floor: the bare streaming job that any tool of this kind has to do, and nothing else.

Usage: python benchmarks/floor.py image.parquet text.parquet OUT [--rank 16] [--threads 2]

Decode both files, multiply each block (float32) into one cross product, decode again, take the projection off,
encode. No ids are read into the fit, no row is inspected, nothing is centred, measured or reported: what it writes
is a usable file, but not the product's result. Rows must be complete and in the same order in both files.

It is written to be fast on few cores. Each file is decoded in a thread of its own; the blocks are multiplied by
`--threads` workers on one BLAS thread each, each into its own sum, so nobody waits for anybody. In the second pass
each file has one thread that decodes and projects and one that encodes, which share the work about evenly. Memory is
bounded: queues are short, and of what is projected there are three row groups at most.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import cycle
from pathlib import Path
from queue import Queue
from threading import Lock, Thread
from typing import Any, Protocol, TypeVar

os.environ.update(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")  # before NumPy is imported

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import cores

Float32 = npt.NDArray[np.float32]
Projection = Callable[[Float32, Float32], None]
T = TypeVar("T")

BATCH_BYTES = 4 << 20
FEWEST_ROWS = 1024
"""Rows of a block: fewer, and adding the product of wide blocks to the sum costs as much as the product."""

PAGE_BYTES = 512 << 10
"""`data_page_size` of the Parquet that is written, as in the product."""


class Container(Protocol):
    """A file of rows."""

    dim: int

    def batches(self, rows: int) -> Iterator[Float32]:
        """The rows, about `rows` at a time, in arrays (n, dim) that the caller may keep."""

    def rewrite(self, target: Path, rows: int, project: Projection) -> None:
        """Write the file again with its rows projected."""


class Parquet:
    """A list column of float32 beside an id column, by Arrow; the batches are views of what it decodes."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path, pre_buffer=False)
        self._schema = self._file.schema_arrow
        column = self._file.metadata.row_group(0).column(self._schema.names.index("embedding"))
        self.dim = column.num_values // self._file.metadata.row_group(0).num_rows

    def batches(self, rows: int) -> Iterator[Float32]:
        for batch in self._file.iter_batches(rows, columns=["embedding"], use_threads=False):
            yield self._matrix(batch)

    def rewrite(self, target: Path, rows: int, project: Projection) -> None:
        with pq.ParquetWriter(
            target, self._schema, compression="snappy", use_dictionary=["item_id"], data_page_size=PAGE_BYTES
        ) as writer:
            for table in ahead(self._projected(rows, project), 1):
                writer.write_table(table, row_group_size=len(table))

    def _projected(self, rows: int, project: Projection) -> Iterator[pa.Table]:
        """The row groups, projected. Three take turns in the same memory: being made, waiting, being encoded."""
        sizes = [self._file.metadata.row_group(number).num_rows for number in range(self._file.num_row_groups)]
        buffers = cycle([np.empty((max(sizes), self.dim), np.float32) for _ in range(3)])
        offsets = pa.array(np.arange(0, max(sizes) * self.dim + 1, self.dim, dtype=np.int32))
        for number, size in enumerate(sizes):
            x = next(buffers)[:size]
            ids: list[pa.Array] = []
            start = 0
            for batch in self._file.iter_batches(rows, row_groups=[number], use_threads=False):
                stop = start + len(batch)
                project(self._matrix(batch), x[start:stop])
                ids.append(batch.column("item_id"))
                start = stop
            yield self._table(ids, offsets[: size + 1], x)

    def _matrix(self, batch: pa.RecordBatch) -> Float32:
        return batch.column("embedding").flatten().to_numpy().reshape(len(batch), self.dim)

    def _table(self, ids: list[pa.Array], offsets: pa.Array, x: Float32) -> pa.Table:
        kind = self._schema.field("embedding").type
        embedding: Any = pa.ListArray.from_arrays(offsets, pa.array(x.ravel()), type=kind)
        columns = {"item_id": pa.chunked_array(ids), "embedding": embedding}
        return pa.table([columns[name] for name in self._schema.names], schema=self._schema)


class Raw:
    """Rows that lie one after the other in a file: NPY, or a contiguous HDF5 dataset."""

    def __init__(self, path: Path, offset: int, shape: tuple[int, int]) -> None:
        self._path, self._offset, self._rows, self.dim = path, offset, shape[0], shape[1]

    def batches(self, rows: int) -> Iterator[Float32]:
        with self._path.open("rb", buffering=0) as file:
            file.seek(self._offset)
            for start in range(0, self._rows, rows):
                x = np.empty((min(rows, self._rows - start), self.dim), np.float32)
                if file.readinto(x.data) != x.nbytes:
                    raise SystemExit(f"{self._path} is shorter than its header says")
                yield x

    def _write_rows(self, path: Path, offset: int, rows: int, project: Projection) -> None:
        with path.open("r+b", buffering=0) as file:
            file.seek(offset)
            projected = np.empty((rows, self.dim), np.float32)
            for x in ahead(self.batches(rows)):
                project(x, projected[: len(x)])
                file.write(projected[: len(x)].data)


class Npy(Raw):
    """An NPY matrix of float32; ids, if any, are in a file of their own, which stays as it is."""

    def __init__(self, path: Path) -> None:
        matrix = np.lib.format.open_memmap(path, mode="r")
        super().__init__(path, matrix.offset, matrix.shape)

    def rewrite(self, target: Path, rows: int, project: Projection) -> None:
        matrix = np.lib.format.open_memmap(target, "w+", np.float32, (self._rows, self.dim))
        self._write_rows(target, matrix.offset, rows, project)


class Hdf5(Raw):
    """A contiguous dataset `embedding` of float32; the other datasets are copied.

    HDF5 tells where the rows lie, and they are read and written there: its library lets one thread in at a time.
    """

    def __init__(self, path: Path) -> None:
        with h5py.File(path) as file:
            dataset = file["embedding"]
            super().__init__(path, dataset.id.get_offset(), dataset.shape)

    def rewrite(self, target: Path, rows: int, project: Projection) -> None:
        with h5py.File(self._path) as old, h5py.File(target, "w") as new:
            for name in old:
                if name != "embedding":
                    old.copy(name, new)
            layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            layout.set_layout(h5py.h5d.CONTIGUOUS)
            layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            space = h5py.h5s.create_simple((self._rows, self.dim))
            made = h5py.h5d.create(new.id, b"embedding", h5py.h5t.IEEE_F32LE, space, layout)
            offset = made.get_offset()
        self._write_rows(target, offset, rows, project)


CONTAINERS: dict[str, Callable[[Path], Container]] = {".parquet": Parquet, ".h5": Hdf5, ".npy": Npy}


def ahead(items: Iterable[T], most: int = 2) -> Iterator[T]:
    """The same items, made in a thread, of which at most so many wait."""
    queue: Queue[Any] = Queue(most)
    end = object()

    def make() -> None:
        for item in items:
            queue.put(item)
        queue.put(end)

    Thread(target=make, daemon=True).start()
    while (item := queue.get()) is not end:
        yield item


def paired(left: Iterable[Float32], right: Iterable[Float32]) -> Iterator[tuple[Float32, Float32]]:
    """Batches of the same rows: views, cut where either side ends."""
    others = iter(right)
    b = np.empty((0, 0), np.float32)
    for a in left:
        while len(a):
            if not len(b):
                b = next(others)
            n = min(len(a), len(b))
            yield a[:n], b[:n]
            a, b = a[n:], b[n:]


def cross_product(left: Container, right: Container, rows: int, threads: int) -> Float32:
    """The sum of A^T B over blocks, (d_a, d_b), in float32."""
    pairs = paired(ahead(left.batches(rows)), ahead(right.batches(rows)))
    lock = Lock()

    def work() -> Float32:
        total = np.zeros((left.dim, right.dim), np.float32)
        product = np.empty_like(total)
        while True:
            with lock:
                pair = next(pairs, None)
            if pair is None:
                return total
            np.matmul(pair[0].T, pair[1], out=product)
            total += product

    with closing(pairs), ThreadPoolExecutor(threads) as pool:
        totals = [future.result() for future in [pool.submit(work) for _ in range(threads)]]
    return np.add.reduce(totals)


def directions(c: Float32, rank: int) -> tuple[Float32, Float32]:
    """Leading singular vectors, (d_a, rank) and (d_b, rank), from the eigenvectors of the smaller side."""
    if c.shape[0] < c.shape[1]:
        v, u = directions(np.ascontiguousarray(c.T), rank)
        return u, v
    v = np.linalg.eigh(c.T @ c)[1][:, ::-1][:, :rank]
    return np.linalg.qr(c @ v)[0], np.ascontiguousarray(v)


def without(u: Float32) -> Projection:
    """The projection that takes u (d, rank) off: it writes the batch (n, d) projected into another, of its size."""

    def project(x: Float32, projected: Float32) -> None:
        np.matmul(x @ u, u.T, out=projected)
        np.subtract(x, projected, out=projected)

    return project


def main() -> None:
    """Fit on both files, write both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("image", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--threads", type=int, default=cores(), help="that multiply")
    parser.add_argument("--fit-only", action="store_true", help="stop before anything is written")
    given = parser.parse_args()
    paths = given.image, given.text
    left, right = (CONTAINERS[path.suffix](path) for path in paths)
    rows = max(FEWEST_ROWS, BATCH_BYTES // (4 * max(left.dim, right.dim)))
    shared = directions(cross_product(left, right, rows, given.threads), given.rank)
    if given.fit_only:
        return
    given.out.mkdir(parents=True)
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(file.rewrite, given.out / path.name, rows, without(u))
            for file, path, u in zip((left, right), paths, shared, strict=True)
        ]
        for job in jobs:
            job.result()


if __name__ == "__main__":
    main()
