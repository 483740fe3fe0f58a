"""The fitted projectors on disk: one safetensors file, readable without this package.

Per modality, float64 unless noted:

    <modality>.mean          (d,)        column means of the fit
    <modality>.directions    (d, k_max)  orthonormal, ordered; the first `rank` are removed
    <modality>.spectrum      (r,)        all singular values
    <modality>.rank          ()  int64
    <modality>.strength      (k_max,)    how much of each direction is removed
    <modality>.scale         ()          factor on the projected rows
    <modality>.placeholders  (p, d)      filler rows of the fit, in the type of its input
    <modality>.weights       (d, k_max)  S^-1 U of an oblique removal; (0, 0) otherwise
    <modality>.keep_mean     ()  int64   1 where the mean stays
    <modality>.renorm        ()  int64   0 none, 1 original, 2 unit: the norm that rows are given
    <modality>.variances     (k_max,)    of the fit's rows along the directions; (0,) where it had no sample
    <modality>.total_variance  ()        the sum of the fit's column variances

The metadata holds one JSON object under "clear_cli": the format version and where the fit came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from safetensors.numpy import save

from clear_cli.errors import DataError
from clear_cli.projector import Projector, Renorm
from clear_cli.tensors import Kind

KIND = Kind(
    "projector",
    "projector",
    1,
    fix="clear-cli fit or clear-cli run writes one",
    give="the output directory of clear-cli fit or clear-cli run, or its projector.safetensors",
)
FIELDS = (
    "mean",
    "directions",
    "spectrum",
    "rank",
    "strength",
    "scale",
    "placeholders",
    "weights",
    "keep_mean",
    "renorm",
    "variances",
    "total_variance",
)


@dataclass(frozen=True)
class Artifact:
    """Projectors of one fit, by modality, and the provenance that was stored with them."""

    projectors: dict[str, Projector]
    provenance: dict[str, Any]


def write_artifact(path: Path, projectors: Mapping[str, Projector], provenance: Mapping[str, Any]) -> None:
    """Write projectors; the same projectors and provenance give the same bytes."""
    tensors: dict[str, Any] = {}
    for name, projector in projectors.items():
        tensors |= {
            f"{name}.mean": projector.mean,
            f"{name}.directions": projector.directions,
            f"{name}.spectrum": projector.spectrum,
            f"{name}.rank": np.int64(projector.rank),
            f"{name}.strength": projector.strength,
            f"{name}.scale": np.float64(projector.scale),
            f"{name}.weights": projector.weights,
            f"{name}.keep_mean": np.int64(projector.keep_mean),
            f"{name}.variances": projector.variances,
            f"{name}.total_variance": np.float64(projector.total_variance),
            f"{name}.renorm": np.int64(get_args(Renorm).index(projector.renorm)),
            f"{name}.placeholders": projector.placeholders.reshape(-1, projector.dim),
        }
    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    # ascontiguousarray makes scalars one-dimensional.
    arrays = {name: array.reshape(np.shape(tensors[name])) for name, array in arrays.items()}
    path.write_bytes(save(arrays, metadata=KIND.metadata(modalities=list(projectors), **provenance)))


def read_artifact(path: Path) -> Artifact:
    """Read projectors from a file, or from the output directory that holds it as `projector.safetensors`.

    Raises:
        DataError: Not there, not ours, damaged, or of a later format.
    """
    if path.is_dir():
        path = path / "projector.safetensors"
    with KIND.opened(path) as (file, header):
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a mapping)
    names = header.get("modalities")
    if not isinstance(names, list):
        raise DataError("the projector does not say of which modalities it is", where=path, fix=KIND.fix)
    provenance = {key: header[key] for key in header.keys() - {"format", "format_version", "modalities"}}
    return Artifact({name: _projector(name, tensors, path) for name in names}, provenance)


def _projector(name: str, tensors: Mapping[str, Any], path: Path) -> Projector:
    missing = [field for field in FIELDS if f"{name}.{field}" not in tensors]
    if missing:
        raise DataError(f'the projector of "{name}" lacks {", ".join(missing)}', where=path)
    part = {field: tensors[f"{name}.{field}"] for field in FIELDS}
    try:
        return Projector(
            modality=name,
            mean=part["mean"],
            directions=part["directions"],
            spectrum=part["spectrum"],
            rank=int(part["rank"]),
            strength=part["strength"],
            scale=float(part["scale"]),
            placeholders=part["placeholders"],
            weights=part["weights"],
            keep_mean=bool(part["keep_mean"]),
            variances=part["variances"],
            total_variance=float(part["total_variance"]),
            renorm=get_args(Renorm)[int(part["renorm"])],
        )
    except (ValueError, TypeError, IndexError) as error:
        raise DataError(f'the projector of "{name}" is damaged: {error}', where=path) from error
