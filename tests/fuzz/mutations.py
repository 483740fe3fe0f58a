"""Damage: to bytes, and to what they mean."""

from __future__ import annotations

import ast
import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Mutation = Callable[[Path, Random], None]

NUMBERS = (
    0,
    1,
    2,
    7,
    127,
    128,
    255,
    256,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    10**12,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
ABSOLUTE = f"/clear-cli-fuzz-{os.getpid() % 10**6:06}"
"""A path that no command has any business with; the worker looks whether anything is there. No other process has it."""
TEXTS = (
    "",
    "../escape",
    ABSOLUTE,
    "a/b",
    "\0",
    "\ud7ff",
    "<script>",
    "image",
    "x" * 5000,
    "NaN",
    "1e999",
    "-1",
    "{}",
)
HEAD = 400
"""Bytes at either end of a file where most of its structure is."""


def damage(path: Path, kind: str, random: Random) -> None:
    """Damage a file of this kind in one to three ways."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        known = BY_KIND.get(kind)
        mutation = known if known is not None and random.random() < 0.5 else _bytes
        try:
            mutation(path, random)
        except Exception:  # what is damaged already may not be read as what it was
            _bytes(path, random)


def _bytes(path: Path, random: Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        at = _place(len(data), random)
        match random.randrange(9):
            case 0 if data:
                data[at] ^= 1 << random.randrange(8)
            case 1 if data:
                data[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                size = random.choice((2, 4, 8))
                data[at : at + size] = (random.choice(NUMBERS) % 2 ** (8 * size)).to_bytes(size, "little")
            case 3:
                del data[at:]
            case 4:
                del data[at : at + random.choice((1, 4, 8, 100))]
            case 5:
                data[at:at] = random.randbytes(random.choice((1, 4, 8, 100)))
            case 6:
                other = _place(len(data), random)
                data[at : at + 16] = data[other : other + 16]
            case 7:
                data += bytes(random.choice((1, 8, 4096)))
            case _:
                data[at : at + 8] = random.randbytes(8)
    path.write_bytes(data)


def _place(length: int, random: Random) -> int:
    if not length:
        return 0
    near = min(HEAD, length)
    return random.choice((random.randrange(length), random.randrange(near), length - 1 - random.randrange(near)))


def _value(random: Random) -> Any:
    return random.choice(
        (None, True, -1, 0.5, 1e300, float("nan"), [], {}, random.choice(NUMBERS), random.choice(TEXTS))
    )


def _tree(value: Any, random: Random) -> Any:
    """A JSON value with one thing in it changed."""
    if not isinstance(value, (dict, list)) or not value or random.random() < 0.1:
        return _value(random)
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = random.choice(list(keys))
    copy = value.copy()
    match random.randrange(8):
        case 0:
            del copy[key]
        case 1 if isinstance(copy, dict):
            copy[random.choice(TEXTS)] = copy.pop(key)
        case 2 if isinstance(copy, list):
            copy.append(value[key])
        case _:
            copy[key] = _tree(value[key], random)
    return copy


def _json(path: Path, random: Random) -> None:
    path.write_text(json.dumps(_tree(json.loads(path.read_text()), random)))


def _safetensors(path: Path, random: Random) -> None:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    ours = header["__metadata__"].get("clear_cli")
    if ours is not None and random.random() < 0.5:
        header["__metadata__"]["clear_cli"] = json.dumps(_tree(json.loads(ours), random))
    else:
        header = _tree(header, random)
    text = json.dumps(header).encode()
    size = len(text) if random.random() < 0.9 else random.choice(NUMBERS) % 2**64
    path.write_bytes(struct.pack("<Q", size) + text + data[8 + length :])


def _npy(path: Path, random: Random) -> None:
    data = path.read_bytes()
    end = 10 + int.from_bytes(data[8:10], "little")
    header = ast.literal_eval(data[10:end].decode())
    match random.randrange(4):
        case 0:
            header["descr"] = random.choice(
                ("<f2", "<f8", ">f4", "|O", "<c16", "<i8", "|b1", "<U9", "<M8[s]", "<f16", [("a", "<f4")], "x", 3)
            )
        case 1:
            dims = [random.choice((*NUMBERS, -1, header["shape"][0])) for _ in range(random.randrange(4))]
            header["shape"] = tuple(dims)
        case 2:
            header["fortran_order"] = random.choice((True, 1, "no", None))
        case _:
            header[random.choice(TEXTS)] = _value(random)
    text = repr(header).encode()
    path.write_bytes(data[:8] + (len(text) % 65536).to_bytes(2, "little") + text + data[end:])


def _npz(path: Path, random: Random) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name, data = random.choice(list(members.items()))
    match random.randrange(5):
        case 0:
            members[random.choice(TEXTS[:5]) + ".npy"] = members.pop(name)
        case 1:  # much from little
            members[name] = data + bytes(50 << 20)
        case 2:
            buffer = io.BytesIO()
            np.lib.format.write_array_header_2_0(
                buffer, {"descr": "<f4", "fortran_order": False, "shape": (random.choice(NUMBERS), 24)}
            )
            members[name] = buffer.getvalue() + data[128:]
        case 3:
            members[random.choice(("ids.npy", "other.npy", "x.txt"))] = data
        case _:
            members[name] = data[: random.randrange(len(data))]
    with zipfile.ZipFile(path, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for one, content in members.items():
            archive.writestr(one, content)


ARROW = (
    pa.null(), pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.string(), pa.large_binary(),
    pa.decimal128(10, 2), pa.timestamp("ns"), pa.list_(pa.float32()), pa.list_(pa.string()), pa.list_(pa.float64(), 3),
    pa.list_(pa.list_(pa.float32())), pa.struct({"values": pa.list_(pa.float64()), "x": pa.int32()}),
    pa.map_(pa.string(), pa.float32()), pa.dictionary(pa.int32(), pa.string()),
)  # fmt: skip


def _parquet(path: Path, random: Random) -> None:
    table = pq.read_table(path)
    at = random.randrange(table.num_columns)
    match random.randrange(5):
        case 0:
            name = random.choice((*table.column_names, *TEXTS))
            table = table.set_column(at, name, table.column(at))
        case 1:
            table = table.set_column(at, table.column_names[at], pa.nulls(len(table), random.choice(ARROW)))
        case 2:
            table = table.slice(0, random.choice((0, 1, 3)))
        case 3:
            table = table.append_column(random.choice(table.column_names), table.column(at))
        case _:
            table = table.replace_schema_metadata(
                {"pandas": random.choice(TEXTS), "huggingface": json.dumps(_value(random))}
            )
    pq.write_table(
        table, path, compression=random.choice(("snappy", "zstd", "none")), row_group_size=random.choice((1, 7, 999))
    )


def _hdf5(path: Path, random: Random) -> None:
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = random.choice(names)
        match random.randrange(8):
            case 0:
                del file[name]
                file[name] = random.choice(
                    (3, "text", np.zeros(0), np.zeros((2, 0)), np.zeros((3, 3, 3)), np.array([b"a"]))
                )
            case 1:  # rows that no byte stands for
                del file[name]
                shape = (random.choice((10**6, 10**12, 2**40)), random.choice((1, 24, 2**20)))
                file.create_dataset(name, shape, "f4", chunks=(1024, min(shape[1], 1024)))
            case 2:
                del file[name]
                file[name] = h5py.ExternalLink(random.choice(("/etc/passwd", "text.h5", "missing.h5")), "/embeddings")
            case 3:
                del file[name]
                file[name] = h5py.SoftLink(random.choice((f"/{name}", "/nowhere", "/")))
            case 4:
                del file[name]
                file.create_dataset(name, (40, 24), "f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
            case 5:
                file.create_dataset(random.choice(("other", "embedding", "ids", "a/b/c")), data=np.ones((40, 24)))
            case 6:
                dtype = random.choice(
                    (np.dtype([("a", "f4")]), h5py.vlen_dtype("f4"), h5py.string_dtype(), "c8", "i8", "f2")
                )
                del file[name]
                file.create_dataset(name, (40,), dtype)
            case _:
                file[name].attrs[random.choice(("pandas_type", "index", "x"))] = random.choice(
                    (1, "frame", b"\xff", np.zeros(9))
                )


def _text(path: Path, random: Random) -> None:
    lines = path.read_text().splitlines(keepends=True)
    at = random.randrange(len(lines))
    match random.randrange(5):
        case 0:
            del lines[at]
        case 1:
            lines[at] = random.choice(lines)
        case 2:
            lines.insert(at, random.choice(("\n", "\r", "\ufeff", "\u2028", "\0", *(f"{one}\n" for one in TEXTS))))
        case 3:
            lines[at] = lines[at].replace(" ", random.choice(("  ", ",", "\t", "")), 1)
        case _:
            lines[at] = lines[at].replace("0", random.choice(("inf", "nan", "1e400", "-", "०")), 1)
    path.write_bytes("".join(lines).encode("utf-8", "surrogatepass"))


BY_KIND: dict[str, Mutation] = {
    "json": _json,
    "safetensors": _safetensors,
    "npy": _npy,
    "npz": _npz,
    "parquet": _parquet,
    "hdf5": _hdf5,
    "text": _text,
}
