"""Containers as real systems write them, and what the tool makes of them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from clear_cli import __main__
from tests.conftest import Floats, planted, write_hdf5

RANK = 4


@dataclass(frozen=True)
class Items:
    """Ids in no order, and embeddings of two modalities; `text` lists the items in reverse."""

    ids: list[str]
    image: Floats
    text: Floats


def items(count: int = 200, ids: list[str] | None = None) -> Items:
    """A planted catalogue whose row 0 is padding and whose row 5 has no embedding: all zeros, both."""
    catalogue = planted(count)
    order = np.random.default_rng(1).permutation(count)
    image = catalogue.image
    image[[0, 5]] = 0
    return Items(ids or [catalogue.ids[i] for i in order], image, catalogue.text[::-1])


def run_cli(*arguments: Any) -> None:
    """`clear-cli run`, which must succeed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signal, "signal", lambda *_: None)
        patch.setattr(sys, "argv", ["clear-cli", "run", *map(str, arguments), "--rank", str(RANK), "--quiet"])
        with pytest.raises(SystemExit) as exit_:
            __main__.main()
    assert exit_.value.code == 0


def clean(image: Path, text: Path, out: Path, *options: Any) -> Path:
    """The folder of embeddings that the tool writes for two modalities."""
    run_cli("-m", f"image={image}", "-m", f"text={text}", "--out", out, *options)
    return out / "embeddings"


def projected(embeddings: Path, rows: Floats, modality: str = "image") -> Floats:
    """Rows after the formula of the README, in float64."""
    p = load_file(embeddings.parent / "projector.safetensors")
    u = p[f"{modality}.directions"][:, : p[f"{modality}.rank"].item()]
    x = rows.astype(np.float64)
    s = p[f"{modality}.strength"][: u.shape[1]]
    clean: Floats = p[f"{modality}.scale"] * (x - (x @ u) * s @ u.T)
    return clean


def assert_projected(actual: Floats, before: Floats, expected: Floats, stored: Any = None) -> None:
    """Embeddings of the type and shape of the input, changed in every row but the zero ones, as they should be.

    `stored` is the type in the file, where the reader has one that is more precise.
    """
    assert actual.dtype == before.dtype
    assert actual.shape == before.shape
    zero = ~before.any(axis=1)
    assert np.array_equal(~actual.any(axis=1), zero)
    assert np.array_equal((actual != before).any(axis=1), ~zero)
    tolerance = {2: 2e-3, 4: 2e-6, 8: 1e-12}[np.dtype(stored or actual.dtype).itemsize]
    np.testing.assert_allclose(actual.astype(np.float64), expected, rtol=0, atol=tolerance * np.abs(before).max())


def parquet_table(
    ids: list[str],
    rows: Floats,
    kind: str = "list",
    *,
    name: str = "embedding",
    null: tuple[int, ...] = (),
) -> pa.Table:
    """A table with a column before the embeddings and one behind, and metadata on schema and field."""
    columns: dict[str, Any] = {"item_id": ids}
    if kind == "wide":
        columns |= {f"{name}_{j}": np.ascontiguousarray(rows[:, j]) for j in range(rows.shape[1])}
    else:
        columns[name] = vectors(rows, kind, null)
    table = pa.table(columns | {"price": np.arange(len(ids)) / 4})
    schema = table.schema.with_metadata({"made by": "a test"})
    first = next(i for i, field in enumerate(schema) if field.name.startswith(name))
    return table.cast(schema.set(first, schema.field(first).with_metadata({"encoder": "planted"})))


def vectors(rows: Floats, kind: str, null: tuple[int, ...] = ()) -> pa.Array:
    values, count, dim = pa.array(np.ascontiguousarray(rows).ravel()), *rows.shape
    mask = pa.array(np.isin(np.arange(count), null))
    if kind == "fixed_size_list":
        return pa.FixedSizeListArray.from_arrays(values, dim, mask=mask)
    offsets = np.arange(count + 1) * dim
    if kind == "list":
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=mask)
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values, mask=mask)


def _write_parquet(path: Path, ids: list[str], rows: Floats, kind: str) -> None:
    null = () if kind == "wide" else (9,)
    pq.write_table(parquet_table(ids, rows, kind, null=null), path, row_group_size=70, compression="zstd")


def _read_parquet(path: Path) -> tuple[list[Any], Floats]:
    """Null vectors come as NaN."""
    table = pq.read_table(path)
    names = [name for name in table.column_names if name.startswith("embedding")]
    if len(names) > 1:
        return table["item_id"].to_pylist(), np.stack([table[name].to_numpy() for name in names], axis=1)
    column = table[names[0]]
    dim = next(len(one) for one in column if one.is_valid)
    rows = [one.values.to_numpy(zero_copy_only=False) if one.is_valid else [np.nan] * dim for one in column]
    return table["item_id"].to_pylist(), np.array(rows, column.type.value_type.to_pandas_dtype())


def _write_hdf5(path: Path, ids: list[str], rows: Floats) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "embeddings", data=rows, chunks=(64, rows.shape[1]), compression="gzip", maxshape=(None, 24)
        )
        file["embeddings"].attrs["encoder"] = "planted"
        file["ids"] = ids
        file["price"] = np.arange(len(ids)) / 4


def _read_hdf5(path: Path) -> tuple[list[Any], Floats]:
    with h5py.File(path) as file:
        return [one.decode() for one in file["ids"][:]], file["embeddings"][:]


def _write_npy(path: Path, ids: list[str], rows: Floats, order: Any, byte_order: Any) -> None:  # noqa: ARG001
    np.save(path, np.asarray(rows, rows.dtype.newbyteorder(byte_order), order=order))


def _read_npy(path: Path) -> tuple[list[Any], Floats]:
    rows = np.load(path)
    return [], rows.astype(rows.dtype.newbyteorder("="))


@dataclass(frozen=True)
class Container:
    """A way to keep embeddings of one type: how its file is called, written and read."""

    name: str
    floats: str
    file: str
    write: Callable[[Path, list[str], Floats], None]
    read: Callable[[Path], tuple[list[Any], Floats]]

    def __str__(self) -> str:
        return f"{self.name}-{self.floats}"


def _containers() -> list[Container]:
    forms: list[tuple[str, str, Any, Any]] = [
        (kind, "image.parquet", partial(_write_parquet, kind=kind), _read_parquet)
        for kind in ("list", "large_list", "fixed_size_list", "wide")
    ]
    forms.append(("hdf5", "image.h5", _write_hdf5, _read_hdf5))
    for name, order, byte_order in (("npy", "C", "<"), ("npy-fortran", "F", "<"), ("npy-big-endian", "C", ">")):
        forms.append((name, "image.npy", partial(_write_npy, order=order, byte_order=byte_order), _read_npy))
    return [
        Container(name, floats, file, write, read)
        for name, file, write, read in forms
        for floats in ("float16", "float32", "float64")
    ]


CONTAINERS = _containers()


def write_text(folder: Path, some: Items, *, with_ids: bool = True) -> Path:
    """The other modality: HDF5 with its items in reverse, or NPY with its items in the order of the ids."""
    if with_ids:
        return write_hdf5(folder / "text.h5", some.ids[::-1], some.text)
    np.save(folder / "text.npy", some.text[::-1])
    return folder / "text.npy"
