"""The use-case that projects new items by an earlier fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clear_cli.artifact import Artifact, read_artifact
from clear_cli.config import ApplyOptions, Input, OnInvalid
from clear_cli.disk import fingerprint
from clear_cli.drift import Drift
from clear_cli.embeddings.base import Source
from clear_cli.errors import DataError, UsageError, closest
from clear_cli.health import Status
from clear_cli.machine import Machine
from clear_cli.projector import Projector
from clear_cli.rank import RankRule
from clear_cli.values import PerModality
from clear_cli.workflow.document import document, with_outcomes
from clear_cli.workflow.job import PROJECTOR, Job, Published
from clear_cli.workflow.newitems import new_pairs
from clear_cli.workflow.projecting import PartOf
from clear_cli.workflow.writing import write_embeddings


def apply(
    projector: Path,
    inputs: Sequence[Input],
    out: Path,
    *,
    rank: PerModality[RankRule | None] | None = None,
    strength: PerModality[float | None] | None = None,
    on_invalid: OnInvalid = "error",
    report: bool = True,
    item_ids: bool = True,
    overwrite: bool = False,
    resume: bool = False,
    machine: Machine | None = None,
) -> Published:
    """Write modalities again through fitted projectors; they need not share items. Errors as in `run`."""
    options = ApplyOptions(on_invalid, report, item_ids)
    changes: dict[str, Any] = {"rank": rank or PerModality(None), "strength": strength or PerModality(None)}
    file = _file_of(projector)
    artifact = read_artifact(file)
    projectors = {one.modality: limited(artifact, one.modality, **changes) for one in inputs}
    job = Job("apply", inputs, out, overwrite, machine or Machine(), others=[file], resume=resume)
    _refuse_other_dims(job.sources, artifact)

    def work(staging: Path) -> dict[str, Any]:
        parts: dict[str, PartOf] = dict.fromkeys(projectors, _new)
        pairs, warnings = new_pairs(job, projectors, on_invalid) if report else ([], [])
        drifts = {name: Drift(one) for name, one in projectors.items()} if report else {}
        outcomes = write_embeddings(job, staging, job.sources, projectors, parts, options, drifts)
        return with_outcomes(document(job.sources, projectors, pairs, warnings), outcomes, projectors)

    parameters = {
        "on_invalid": on_invalid,
        "report": report,
        "item_ids": item_ids,
        "rank": {name: one.rank for name, one in projectors.items()},
        "strength": {name: one.strength.tolist() for name, one in projectors.items()},
        "projector": fingerprint(file)["xxh3_128"],
    }
    return job.publish(parameters, vars(options) | changes, work)


def fitted(projector: Path) -> list[str]:
    """The modalities that there are projectors of. Errors as in `read_artifact`."""
    return list(read_artifact(_file_of(projector)).projectors)


def _file_of(projector: Path) -> Path:
    return projector / PROJECTOR if projector.is_dir() else projector


def limited(
    artifact: Artifact, modality: str, rank: PerModality[RankRule | None], strength: PerModality[float | None]
) -> Projector:
    """The stored projector of a modality, with another rank or strength where one is given.

    Raises:
        UsageError: The artifact has no such modality, or does not keep that many directions.
    """
    if modality not in artifact.projectors:
        raise UsageError(
            f'the projector has no modality "{modality}"',
            flags=["-m"],
            said=modality,
            modalities=", ".join(artifact.projectors),
            fix=f"-m {closest(modality, artifact.projectors)}=...",
        )
    projector = artifact.projectors[modality]
    rule = rank[modality]
    chosen = None
    if rule is not None:
        kept = projector.directions.shape[1]
        chosen = rule.choose(projector.spectrum, None, dim=projector.dim, kept=kept)
    return projector.limited(rank=chosen, strength=strength[modality])


def _refuse_other_dims(sources: Mapping[str, Source], artifact: Artifact) -> None:
    dims = {name: one.dim for name, one in artifact.projectors.items()}
    for name, source in sources.items():
        if source.dim != dims[name]:
            raise DataError(
                f'the projector of "{name}" has {dims[name]} dimensions, the embeddings have {source.dim}',
                where=source.path,
                projectors=", ".join(f"{one} has {dim}" for one, dim in dims.items()),
                fix="apply it to embeddings of the same encoder, or fit again",
            )


def _new(start: int, rows: int) -> tuple[Any, Any]:  # noqa: ARG001  (all rows are new to the projector)
    return np.full(rows, Status.NEW, dtype=np.uint8), np.zeros(rows, dtype=bool)
