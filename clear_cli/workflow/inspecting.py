"""Looking at a file before trusting it: its layout and the health of its first rows, or what a fit left in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from clear_cli.artifact import read_artifact
from clear_cli.embeddings import open_source
from clear_cli.embeddings.base import Source
from clear_cli.health import Floats, RepeatedRows, Status, row_hashes, row_status
from clear_cli.norms import norm, ratio, row_norms
from clear_cli.rank import cumulative_energy, energy_rank
from clear_cli.remote import place, reachable
from clear_cli.workflow.document import SCHEMA_VERSION, plain
from clear_cli.workflow.fitting import first_ids
from clear_cli.workflow.job import PROJECTOR
from clear_cli.workflow.moments_file import read_described

HEALTH_ROWS = 10_000
MOMENTS_SUFFIX = ".moments"


def inspect(path: str | Path, *, embedding_column: str | None = None, id_column: str | None = None) -> dict[str, Any]:
    """What a file of embeddings, a projector or a moments file holds.

    Args:
        path: Any input, a projector, an output directory, or moments in a file that ends in `.moments`.
        embedding_column: The column or dataset, where there are several.
        id_column: The ids, where there are several.

    Returns:
        `kind` (`embeddings`, `projector` or `moments`) and what there is to say about it.

    Raises:
        DataError: It cannot be read.
    """
    path = place(path)
    with reachable(path):
        return _inspect(path, embedding_column, id_column)


def _inspect(path: Path, embedding_column: str | None, id_column: str | None) -> dict[str, Any]:
    known = {"schema_version": SCHEMA_VERSION, "command": "inspect"}
    if path.suffix == ".safetensors" or (path.is_dir() and (path / PROJECTOR).exists()):
        return plain({**known, "kind": "projector", **_projector(path)})  # type: ignore[no-any-return]
    if path.suffix == MOMENTS_SUFFIX:
        return plain({**known, "kind": "moments", **_moments(path)})  # type: ignore[no-any-return]
    source = open_source(path, modality="", embedding_column=embedding_column, id_column=id_column)
    return plain(  # type: ignore[no-any-return]
        {
            **known,
            "kind": "embeddings",
            "name": path.name,
            **source.describe(),
            "notes": source.notes,
            "ids": source.id_kind,
            "first_ids": first_ids(source),
            "health": _health(source),
        }
    )


def _projector(path: Path) -> dict[str, Any]:
    artifact = read_artifact(path)
    modalities = {}
    for name, one in artifact.projectors.items():
        energy = cumulative_energy(one.spectrum)
        modalities[name] = {
            "dim": one.dim,
            "rank": one.rank,
            "strength": "soft" if one.uniform_strength is None else one.uniform_strength,
            "scale": one.scale,
            "directions_kept": one.directions.shape[1],
            "placeholders": len(one.placeholders),
            "energy_at_rank": energy[one.rank - 1] if one.rank else 0.0,
            "rank_of_90_percent": energy_rank(one.spectrum, 0.9),
            "spectrum": one.spectrum[:16].tolist(),
        }
    return {"modalities": modalities, "provenance": dict(sorted(artifact.provenance.items()))}


def _moments(path: Path) -> dict[str, Any]:
    modalities, settings = read_described(path)
    described = {
        name: {"rows": one.rows, "dim": one.dim, "dtype": one.dtype.name, "ids": one.ids}
        for name, one in modalities.items()
    }
    return {"modalities": described, "settings": settings}


def _health(source: Source) -> dict[str, Any]:
    """Figures of the first rows; norms over the rows that can be used."""
    rows = _first(source)
    status = row_status(rows)
    usable = rows[status == Status.USED]
    repeated = RepeatedRows()
    hashes = row_hashes(usable)
    repeated.update(hashes)
    fillers = np.isin(hashes, repeated.placeholders())
    figures: dict[str, Any] = {
        "rows": len(rows),
        "missing": int(np.count_nonzero(status == Status.MISSING)),
        "non_finite": int(np.count_nonzero(status == Status.NON_FINITE)),
        "placeholder": int(np.count_nonzero(fillers)),
        "duplicate": int(np.count_nonzero(~fillers)) - len(np.unique(hashes[~fillers])),
    }
    if len(usable):
        norms = row_norms(usable)
        figures["row_norm"] = {"min": norms.min(), "mean": norms.mean(), "max": norms.max()}
        figures["mean_norm_ratio"] = ratio(norm(usable.mean(axis=0, dtype=np.float64)), float(norms.mean()))
        figures["constant_columns"] = int(np.count_nonzero((usable == usable[0]).all(axis=0))) if len(usable) > 1 else 0
    return figures


def _first(source: Source) -> Floats:
    parts: list[Floats] = [np.empty((0, source.dim), source.dtype)]
    for chunk in source.chunks():
        parts.append(chunk.embeddings[: HEALTH_ROWS - sum(map(len, parts))])
        if sum(map(len, parts)) >= HEALTH_ROWS:
            break
    return np.concatenate(parts)
