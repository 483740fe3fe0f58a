"""Merging: what was accumulated from different items, added up, and solved again without their rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial, reduce
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from clear_cli import __version__
from clear_cli.artifact import write_artifact
from clear_cli.config import FitOptions
from clear_cli.errors import DataError
from clear_cli.health import Floats, row_hashes
from clear_cli.machine import Machine
from clear_cli.moments import CrossMoments
from clear_cli.pooling import pooled
from clear_cli.publish_file import FilePublication
from clear_cli.sample import Sample
from clear_cli.subspace import Pair
from clear_cli.workflow.agreeing import agreed_modalities
from clear_cli.workflow.document import SCHEMA_VERSION, modality_figures, plain
from clear_cli.workflow.evidence import Described, Evidence
from clear_cli.workflow.fillers import filler_warnings
from clear_cli.workflow.moments_file import moments_publication, read_moments, write_moments
from clear_cli.workflow.overlap import Overlap, SampledHashes, overlap_warnings
from clear_cli.workflow.solving import Solution, solve
from clear_cli.workflow.warnings import chance_warnings

T = TypeVar("T")

Figures = dict[str, Any]


def merge(
    files: Sequence[Path],
    out: Path,
    options: FitOptions,
    *,
    moments_out: Path | None = None,
    overwrite: bool = False,
    machine: Machine | None = None,
) -> Figures:
    """Write the projector of all items that files of moments rest on.

    Args:
        files: Moments files, of different items.
        out: File of the projector.
        options: Parameters of the fit; those that concern rows have no effect.
        moments_out: File for the merged moments.
        overwrite: Replace files that are there.
        machine: The means to work with.

    Returns:
        `modalities` and `pairs` by what was merged and found, `outputs` and `warnings`.

    Raises:
        UsageError, DataError, OutputError: See the command line reference for each.
    """
    machine = machine or Machine()
    outputs = _outputs(files, out, moments_out, overwrite=overwrite)
    names = agreed_modalities(files)
    with ExitStack() as staging:
        for output in outputs:
            staging.enter_context(output)
        projector, *beside = outputs
        evidence, pairs = _gathered(files, names, options, machine)
        for output in beside:
            output.write(partial(write_moments, evidence))
        solution = _solved(evidence, options, machine)
        projector.write(partial(_write_projector, solution))
        for output in outputs:
            output.publish()
    return _document(files, [str(one.target) for one in outputs], solution, pairs)


def _outputs(files: Sequence[Path], out: Path, moments_out: Path | None, *, overwrite: bool) -> list[FilePublication]:
    """The projector, and the file of moments if there is to be one."""
    outputs = [FilePublication(out, what="the projector", option="--out", overwrite=overwrite)]
    if moments_out is not None:
        outputs.append(moments_publication(moments_out, overwrite=overwrite))
        outputs[1].refuse_overlap([out], other="the projector")
    for output in outputs:
        output.refuse_overlap(files)
    return outputs


def _gathered(
    files: Sequence[Path], names: Sequence[str], options: FitOptions, machine: Machine
) -> tuple[Evidence, list[Figures]]:
    """The evidence of all files, and what each pair is made of."""
    items: dict[Pair, list[int]] = {pair: [] for pair in combinations(names, 2)}
    hashes: dict[Pair, list[SampledHashes | None]] = {pair: [] for pair in items}

    def read(path: Path) -> Evidence:
        evidence = read_moments(path)
        if options.own:
            _refuse_without_own(evidence, path)
        for pair, counts in items.items():
            counts.append(evidence.moments[pair].items if pair in evidence.moments else 0)
            if counts[-1]:
                hashes[pair].append(SampledHashes.of(evidence, pair))
        return evidence

    with machine.progress.stage("merging", len(files)) as advance:
        evidence = read(files[0])
        advance(1)
        for path in files[1:]:
            evidence = combined(evidence, read(path), names)
            advance(1)
    return evidence, [_pair_figures(pair, counts, hashes[pair]) for pair, counts in items.items() if any(counts)]


def _refuse_without_own(evidence: Evidence, path: Path) -> None:
    for a, b in evidence.moments:
        if (a, b) not in evidence.own:
            raise DataError(
                f'the covariances of "{a}" and "{b}" by themselves are not here, and this takes them',
                where=path,
                fix="clear-cli fit with --directions correlation or --removal oblique, and --moments-out",
            )


def combined(one: Evidence, other: Evidence, names: Sequence[str]) -> Evidence:
    """The evidence of the items of both; a pair that only one of them has is carried over.

    Args:
        one: Evidence.
        other: Evidence of other items, which agrees in dimensions and settings.
        names: All modalities, in their order.
    """
    both = (one, other)
    modalities = {
        name: reduce(_described_together, [part.modalities[name] for part in both if name in part.modalities])
        for name in names
        if any(name in part.modalities for part in both)
    }

    def sample(pair: Pair, parts: list[Sample]) -> Sample:
        # An empty one first, for the types that all files together have.
        a, b = ((modalities[name].dim, modalities[name].dtype) for name in pair)
        return reduce(Sample.merge, parts, Sample(a, b))

    def own(_: Pair, parts: list[tuple[CrossMoments, CrossMoments]]) -> tuple[CrossMoments, CrossMoments]:
        return reduce(pooled, [a for a, _ in parts]), reduce(pooled, [b for _, b in parts])

    return Evidence(
        modalities,
        _summed(both, names, lambda part: part.moments, lambda _, parts: reduce(pooled, parts)),
        _summed(both, names, lambda part: part.samples, sample),
        {name: _fillers(name, described, both) for name, described in modalities.items()},
        _summed(both, names, lambda part: part.own, own),
        one.settings,
    )


def _summed(
    both: Sequence[Evidence],
    names: Sequence[str],
    of: Callable[[Evidence], Mapping[Pair, T]],
    add: Callable[[Pair, list[T]], T],
) -> dict[Pair, T]:
    """By pair, the sum of what there is in all that have the pair; nothing where one of them lacks it."""
    sums = {}
    for pair in combinations(names, 2):
        having = [part for part in both if pair in part.moments]
        parts = [of(part)[pair] for part in having if pair in of(part)]
        if parts and len(parts) == len(having):
            sums[pair] = add(pair, parts)
    return sums


def _described_together(one: Described, other: Described) -> Described:
    kinds = {one.ids, other.ids}
    return Described(
        one.rows + other.rows,
        one.dim,
        np.result_type(one.dtype, other.dtype),
        one.where if one.where == other.where else f"{one.where}, {other.where}",
        "row" if "row" in kinds else one.ids,
    )


def _fillers(name: str, modality: Described, both: Sequence[Evidence]) -> Floats:
    """The placeholders of all, each content once, in the order of their hashes, as a fit has them."""
    found = [part.placeholders[name].astype(modality.dtype) for part in both if name in part.modalities]
    rows = np.concatenate(found)
    _, first = np.unique(row_hashes(rows), return_index=True)
    return rows[first]


def _solved(evidence: Evidence, options: FitOptions, machine: Machine) -> Solution:
    # One thread per BLAS call, many calls at a time: the same bits for any number of threads.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(machine.threads) as pool:
        return solve(evidence, options, parallel=pool.map)


def _write_projector(solution: Solution, path: Path) -> None:
    write_artifact(path, solution.projectors, {"version": __version__, **solution.provenance})


def _pair_figures(pair: Pair, counts: list[int], samples: list[SampledHashes | None]) -> Figures:
    known = [one for one in samples if one is not None]
    return {
        "modalities": list(pair),
        "items": sum(counts),
        "items_by_file": counts,
        "files": len(samples),
        "overlap": Overlap.of(known).figures() if len(known) == len(samples) > 1 else None,
    }


def _document(files: Sequence[Path], outputs: list[str], solution: Solution, pairs: list[Figures]) -> Figures:
    tested, modalities = solution.significances, solution.evidence.modalities
    document: Figures = plain(
        {
            "schema_version": SCHEMA_VERSION,
            "command": "merge",
            "files": [str(path) for path in files],
            "outputs": outputs,
            "modalities": {
                name: modality_figures(modalities[name], one, tested.get(name))
                for name, one in solution.projectors.items()
            },
            "pairs": pairs,
            "warnings": [
                *overlap_warnings(pairs),
                *(filler_warnings(solution.evidence) if len(files) > 1 else []),
                *solution.warnings,
                *chance_warnings(solution.projectors, tested, {name: one.ids for name, one in modalities.items()}),
            ],
        }
    )
    return document
