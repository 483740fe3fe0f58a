"""Whether files of moments can be added up: what they say of modalities and options, before any array is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clear_cli.errors import DataError, UsageError
from clear_cli.workflow.evidence import Described
from clear_cli.workflow.moments_file import read_described


def agreed_modalities(files: Sequence[Path]) -> list[str]:
    """The modalities of files of moments, in their order; one of the files has them all.

    Raises:
        UsageError: A file is given twice.
        DataError: They differ in modalities, in their order, in dimensions or in how rows were accumulated.
    """
    places = [path.resolve() for path in files]
    for i, path in enumerate(files):
        if places[i] in places[:i]:
            raise UsageError("a moments file is given twice", where=path, fix="give each once")
    known = {path: read_described(path) for path in files}
    fullest = max(files, key=lambda path: len(known[path][0]))
    modalities, settings = known[fullest]
    for path, (theirs, their_settings) in known.items():
        if [name for name in modalities if name in theirs] != list(theirs):
            raise DataError(
                "the files do not hold the same modalities in the same order",
                where=path,
                modalities=", ".join(theirs),
                expected=f"{', '.join(modalities)}, as in {fullest}",
                fix="fit all with the same -m, in the same order",
            )
        _refuse_other_dims(path, theirs, fullest, modalities)
        if their_settings != settings:
            raise DataError(
                "the files were not made with the same options of the fit",
                where=path,
                options=_listed(their_settings),
                expected=f"{_listed(settings)}, as in {fullest}",
                fix="fit all with the same --winsorise and --group-column",
            )
    return list(modalities)


def _refuse_other_dims(
    path: Path, theirs: Mapping[str, Described], fullest: Path, modalities: Mapping[str, Described]
) -> None:
    for name, one in theirs.items():
        if one.dim != modalities[name].dim:
            raise DataError(
                f'"{name}" has {one.dim} dimensions here and {modalities[name].dim} in {fullest}',
                where=path,
                fix="merge embeddings of one encoder only",
            )


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(settings.items()))
