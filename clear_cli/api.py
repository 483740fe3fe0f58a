"""The Python API: fit, apply, run and inspect, with the names and the defaults of the commands.

Embeddings are a mapping from modality to an array (n, d) or to a path. One call takes arrays or paths, not both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from clear_cli.artifact import Artifact, read_artifact
from clear_cli.config import (
    DETAILS,
    Directions,
    FitOptions,
    Input,
    OnInvalid,
    Removal,
    Scale,
    inputs_of,
)
from clear_cli.embeddings.align import align
from clear_cli.embeddings.arrays import ArrayRows
from clear_cli.embeddings.base import Rows
from clear_cli.errors import ClearError, UsageError
from clear_cli.fitted import Fit, PathLike, load
from clear_cli.health import Status, row_status
from clear_cli.machine import Machine, read_size
from clear_cli.projector import Projector, Renorm
from clear_cli.rank import DEFAULT_RANK, RankRule
from clear_cli.remote import place
from clear_cli.values import PerModality, check_choice, read_number, read_rank, read_share, read_strength
from clear_cli.workflow import applying, usecases
from clear_cli.workflow.document import fitted_document
from clear_cli.workflow.fitting import fit_rows
from clear_cli.workflow.inputs import open_inputs
from clear_cli.workflow.inspecting import inspect
from clear_cli.workflow.job import Published
from clear_cli.workflow.reading import non_finite

__all__ = ["ClearError", "Fit", "apply", "fit", "inspect", "load", "run"]

Floats = npt.NDArray[np.floating[Any]]
Embeddings = Mapping[str, Any]


class Options(TypedDict, total=False):
    """Parameters of a fit.

    Attributes:
        rank: Directions to remove: "auto" (as many as stand out from chance), 16, "90%", or a mapping by modality.
            None: auto.
        strength: 0 to 1, "soft" (each direction just down to its chance level), or a mapping by modality. None: 1.
        max_rank: Directions kept, so that the rank can be changed when applying.
        directions: "covariance" or "correlation": what is shared most.
        removal: "orthogonal", or "oblique", which changes the rows least.
        keep_mean: Leave the column means as they are.
        renorm: "none", "original" or "unit": the norm that each row is given after the projection.
        scale: "rms" to give all modalities the same root-mean-square row norm, 1 before the projection.
        winsorise: Share of the rows that the fit takes as they are, 0.99 or "99%"; those farther out are drawn in.
            None: all.
        fit_items: File of the ids to fit on.
        on_invalid: "error" or "keep" for rows with NaN or infinity.
        report: Measure, on a sample and on each row, what the modalities share, before and after. True by default.
        item_ids: For paths: name items by their ids in the report. True by default.
    """

    rank: Any
    strength: Any
    max_rank: int
    directions: Directions
    removal: Removal
    keep_mean: bool
    renorm: Renorm
    scale: Scale
    winsorise: float | str | None
    fit_items: PathLike | None
    on_invalid: OnInvalid
    report: bool
    item_ids: bool


def fit(
    embeddings: Embeddings,
    *,
    ids: Mapping[str, Any] | None = None,
    embedding_column: Any = None,
    id_column: Any = None,
    threads: int | None = None,
    **options: Unpack[Options],
) -> Fit:
    """Fit the shared subspace of two or more modalities. Nothing is written.

    Args:
        embeddings: Per modality an array (n, d) of floats, or a path. Without ids, row i of every array is item i.
        ids: Per modality the item ids: a sequence for an array, an id file for an NPY path.
        embedding_column: For paths: the column or dataset, or a mapping by modality.
        id_column: For paths: the ids, or a mapping by modality.
        threads: Threads for arithmetic; the result does not depend on it.
        **options: Parameters of the fit, see `Options`.

    Raises:
        ClearError: See the command line reference.
    """
    if len(embeddings) < 2:
        raise UsageError(f"redundancy is between modalities, and there is only {len(embeddings)}")
    parameters = _options(embeddings, options)
    sources: dict[str, Rows]
    if _are_arrays(embeddings):
        keys: PerModality[Any] = PerModality.of(ids, list, None, embeddings, "ids")
        sources = {name: ArrayRows(x, modality=name, ids=keys[name]) for name, x in embeddings.items()}
    else:
        inputs = _inputs(embeddings, ids=ids, embedding_column=embedding_column, id_column=id_column)
        sources = dict(open_inputs(inputs, _machine(threads)))
    found = fit_rows(sources, align(sources, parameters.fit_items), parameters, _machine(threads))
    return Fit(found.projectors, fitted_document(sources, found, parameters))


def apply(
    fitted: Fit | PathLike,
    embeddings: Embeddings,
    *,
    out: PathLike | None = None,
    rank: Any = None,
    strength: Any = None,
    ids: Mapping[str, PathLike] | None = None,
    on_invalid: OnInvalid = "error",
    embedding_column: Any = None,
    id_column: Any = None,
    name: Mapping[str, str] | None = None,
    overwrite: bool = False,
    report: bool = True,
    item_ids: bool = True,
    threads: int | None = None,
    memory: int | str | None = None,
) -> dict[str, Floats] | Published:
    """Project modalities, one alone or several; they need not share items.

    Args:
        fitted: A fit, or the path of a projector or of an output directory.
        embeddings: Per modality an array (n, d), or a path.
        out: For paths: the directory to publish.
        rank: Another rank than that of the fit, also by modality.
        strength: Another strength, also by modality.
        ids: As in `fit`.
        on_invalid: As in `fit`.
        embedding_column: As in `fit`.
        id_column: As in `fit`.
        name: For paths: another file name in the output, by modality.
        overwrite: Replace an output of an earlier run.
        report: For paths: measure what the projection does to each row, and make a report of it.
        item_ids: For paths: name items by their ids in the report.
        threads: As in `fit`.
        memory: For paths: bytes to use, or a text such as "4GiB". None: half of what the machine or its cgroup has.

    Returns:
        For arrays: projected arrays of the same types. For paths: what was published.

    Raises:
        ClearError: See the command line reference.
    """
    names = list(embeddings)
    check_choice(on_invalid, OnInvalid, "on_invalid")
    ranks = PerModality.of(rank, read_rank, None, names, "rank")
    strengths: PerModality[float | None] = PerModality.of(strength, read_number, None, names, "strength")
    if _are_arrays(embeddings):
        if out is not None or name is not None:
            raise UsageError("arrays are returned, not written", fix="apply without out and name")
        return _applied(fitted, embeddings, ranks, strengths, on_invalid)
    if out is None or isinstance(fitted, Fit):
        raise UsageError("files are written from a saved projector to a directory", fix="apply(path, {...}, out=...)")
    return applying.apply(
        place(fitted),
        _inputs(embeddings, ids=ids, embedding_column=embedding_column, id_column=id_column, name=name),
        place(out),
        rank=ranks,
        strength=strengths,
        on_invalid=on_invalid,
        report=report,
        item_ids=item_ids,
        overwrite=overwrite,
        machine=_machine(threads, memory),
    )


def run(
    embeddings: Mapping[str, PathLike],
    out: PathLike,
    *,
    ids: Mapping[str, PathLike] | None = None,
    embedding_column: Any = None,
    id_column: Any = None,
    group_column: Mapping[str, str] | None = None,
    name: Mapping[str, str] | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    memory: int | str | None = None,
    **options: Unpack[Options],
) -> Published:
    """Fit modalities and write them again without what they share: the command `clear-cli run`.

    The arguments are those of `fit` and `apply`; `group_column` names the column of one modality whose equal values
    keep items together when figures are held out.

    Raises:
        ClearError: See the command line reference.
    """
    details = {"ids": ids, "embedding_column": embedding_column, "id_column": id_column}
    return usecases.run(
        _inputs(embeddings, **details, name=name, group_column=group_column),
        place(out),
        _options(embeddings, options),
        overwrite=overwrite,
        machine=_machine(threads, memory),
    )


def _projected(projector: Projector, x: Any, on_invalid: OnInvalid) -> Floats:
    rows = np.asarray(x)
    sound = rows.ndim == 2 and rows.dtype.kind == "f"  # what is not, transform refuses
    bad = np.flatnonzero(row_status(rows) == Status.NON_FINITE) if sound else np.empty(0)
    if len(bad) and on_invalid == "error":
        raise non_finite(projector.modality, int(bad[0]), f"<array {projector.modality}>")
    return projector.transform(rows)


def _applied(
    fitted: Fit | PathLike,
    embeddings: Embeddings,
    rank: PerModality[RankRule | None],
    strength: PerModality[float | None],
    on_invalid: OnInvalid,
) -> dict[str, Floats]:
    artifact = Artifact(fitted.projectors, {}) if isinstance(fitted, Fit) else read_artifact(place(fitted))
    projectors = {one: applying.limited(artifact, one, rank, strength) for one in embeddings}
    return {one: _projected(projectors[one], x, on_invalid) for one, x in embeddings.items()}


def _are_arrays(embeddings: Embeddings) -> bool:
    paths = [isinstance(one, (str, Path)) for one in embeddings.values()]
    if any(paths) and not all(paths):
        raise UsageError("some embeddings are arrays and some are paths", fix="give all as arrays or all as paths")
    return not any(paths)


def _options(embeddings: Embeddings, options: Options) -> FitOptions:
    given: dict[str, Any] = {**options}
    fit_items, winsorise = given.pop("fit_items", None), given.pop("winsorise", None)
    return FitOptions(
        rank=PerModality.of(given.pop("rank", None), read_rank, DEFAULT_RANK, embeddings, "rank"),
        strength=PerModality.of(given.pop("strength", None), read_strength, 1.0, embeddings, "strength"),
        winsorise=None if winsorise is None else read_share(winsorise, "winsorise"),
        fit_items=None if fit_items is None else place(fit_items),
        **given,
    )


def _inputs(embeddings: Embeddings, **given: Any) -> list[Input]:
    details = {key: PerModality.of(one, DETAILS[key], None, embeddings, key) for key, one in given.items()}
    return inputs_of([(modality, place(path)) for modality, path in embeddings.items()], details)


def _machine(threads: int | None, memory: int | str | None = None) -> Machine:
    size = read_size(memory) if isinstance(memory, str) else memory
    given: dict[str, Any] = {"threads": threads, "memory": size}
    return Machine(**{key: value for key, value in given.items() if value is not None})
