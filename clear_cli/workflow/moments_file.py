"""The moments file: what a fit rests on, in one safetensors file, so that days are merged without their rows.

Per pair `<a>|<b>`, of B buckets:

    <pair>.moments.count         (B,)  int64      complete items
    <pair>.moments.products      (B, d_a, d_b)    sums of outer products
    <pair>.moments.sums_a        (B, d_a)         sums of shifted and scaled rows; likewise _b
    <pair>.moments.squares_a     (B,)             sums of their squared norms
    <pair>.moments.pilot_a       (d_a,)           the shift, in the units of the data
    <pair>.moments.exponents_a   (B,)  int64      the scale is 2 ** exponent
    <pair>.own_a.*, .own_b.*                      the same of each modality by itself, where a fit needed them
    <pair>.sample.hashes         (K,)  uint64     ascending hashes of the sampled items
    <pair>.sample.contents       (K,)  uint64     hashes of their contents
    <pair>.sample.rows_a         (K, d_a)         their rows, in the type of the input; likewise _b
    <modality>.placeholders      (p, d)           filler rows, in the type of the input

The metadata holds one JSON object under "clear_cli": the format version, and what is not an array.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clear_cli import __version__
from clear_cli.moments import CrossMoments, bucket_count
from clear_cli.publish_file import FilePublication
from clear_cli.subspace import Pair
from clear_cli.workflow.evidence import FOLDS, Described, Evidence
from clear_cli.workflow.moments_checked import KIND, Array, opened

_CODES = {"float16": "F16", "float32": "F32", "float64": "F64", "int64": "I64", "uint64": "U64"}


def moments_publication(target: Path, *, overwrite: bool) -> FilePublication:
    """The place of a moments file that is to be written."""
    return FilePublication(target, what="the moments file", option="--moments-out", overwrite=overwrite)


def write_moments(evidence: Evidence, path: Path) -> None:
    """Write evidence; equal evidence gives the same bytes."""
    arrays: dict[str, Array] = {f"{name}.placeholders": rows for name, rows in evidence.placeholders.items()}
    for pair, moments in evidence.moments.items():
        arrays |= _flat(f"{_key(pair)}.moments", moments)
    for pair, sides in evidence.own.items():
        for side, own in zip("ab", sides, strict=True):
            arrays |= _flat(f"{_key(pair)}.own_{side}", own)
    for pair, sample in evidence.samples.items():
        prefix, (a, b) = f"{_key(pair)}.sample", sample.rows()
        arrays |= {f"{prefix}.hashes": sample.hashes, f"{prefix}.contents": sample.contents}
        arrays |= {f"{prefix}.rows_a": a, f"{prefix}.rows_b": b}
    header = {
        "version": __version__,
        "modalities": [
            {"name": name, "rows": one.rows, "dim": one.dim, "dtype": one.dtype.name, "ids": one.ids}
            for name, one in evidence.modalities.items()
        ],
        "pairs": [
            {
                "modalities": list(pair),
                "own": pair in evidence.own,
                "sample_capacity": evidence.samples[pair].capacity if pair in evidence.samples else None,
            }
            for pair in evidence.moments
        ],
        "settings": evidence.settings,
    }
    _write(path, arrays, KIND.metadata(**header))


def read_described(path: Path) -> tuple[dict[str, Described], dict[str, Any]]:
    """The modalities and the settings of a moments file, without its arrays.

    Raises:
        DataError: Not there, not ours, damaged, or of a later format.
    """
    with opened(path) as stored:
        return stored.modalities, stored.settings


def read_moments(path: Path) -> Evidence:
    """Read evidence.

    Raises:
        DataError: Not there, not ours, damaged, or of a later format.
    """
    with opened(path) as stored:
        moments, own, samples = {}, {}, {}
        for pair, has_own, capacity in stored.pairs:
            dims = stored.modalities[pair[0]].dim, stored.modalities[pair[1]].dim
            moments[pair] = stored.moments(f"{_key(pair)}.moments", dims, bucket_count(*dims))
            if has_own:
                a, b = (
                    stored.moments(f"{_key(pair)}.own_{side}", (dim, dim), FOLDS)
                    for side, dim in zip("ab", dims, strict=True)
                )
                own[pair] = a, b
            if capacity is not None:
                shapes = [(stored.modalities[name].dim, stored.modalities[name].dtype) for name in pair]
                samples[pair] = stored.sample(f"{_key(pair)}.sample", (shapes[0], shapes[1]), capacity)
        placeholders = {
            name: stored.array(f"{name}.placeholders", one.dtype, (None, one.dim))
            for name, one in stored.modalities.items()
        }
        return Evidence(stored.modalities, moments, samples, placeholders, own, stored.settings)


def _key(pair: Pair) -> str:
    return "|".join(pair)  # no name holds a bar


def _flat(prefix: str, moments: CrossMoments) -> dict[str, Array]:
    """The arrays of settled moments, by name; `Stored.moments` is the way back."""
    moments.settle()
    arrays: dict[str, Array] = {"count": moments.count, "products": moments.products}
    for i, side in enumerate("ab"):
        arrays |= {f"sums_{side}": moments.sums[i], f"squares_{side}": moments.squares[i]}
        arrays |= {f"pilot_{side}": moments.pilots[i], f"exponents_{side}": moments.exponents[i]}
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def _write(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write the safetensors format as a stream: the library's own writer holds everything twice, or hides the disk."""
    # The widest first, as the library does, so that each array is aligned.
    ordered = sorted(arrays.items(), key=lambda one: (-one[1].itemsize, one[0]))
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, array in ordered:
        start, end = end, end + array.nbytes
        header[name] = {"dtype": _CODES[array.dtype.name], "shape": array.shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, array in ordered:
            file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
