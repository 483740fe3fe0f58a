"""The files of the inputs: opened, named in the output, fingerprinted, and known again if they change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clear_cli.config import Input, wildcard_root
from clear_cli.disk import fingerprint
from clear_cli.embeddings import CONTAINERS, container_of, open_source
from clear_cli.embeddings.base import Source, unreadable
from clear_cli.errors import UsageError
from clear_cli.machine import Machine
from clear_cli.remote import below, is_remote, revision
from clear_cli.workflow.document import plain
from clear_cli.workflow.memory import piece_bytes


def open_inputs(inputs: Sequence[Input], machine: Machine) -> dict[str, Source]:
    """The sources of all modalities, by name. Errors as in `open_source`; a UsageError for ids that only some need."""
    _refuse_common_ids(inputs)
    return {
        one.modality: open_source(
            one.path,
            modality=one.modality,
            embedding_column=one.embedding_column,
            id_column=one.id_column,
            ids=one.ids,
            piece_bytes=piece_bytes(machine.memory, len(inputs)),
        )
        for one in inputs
    }


def _refuse_common_ids(inputs: Sequence[Input]) -> None:
    """Refuse one file of ids for all modalities where only some need it: say which."""
    file = inputs[0].ids
    if file is None or any(one.ids != file for one in inputs):
        return
    needing = [one for one in inputs if "ids" in CONTAINERS[container_of(one.path)].takes]
    others = [one for one in inputs if one not in needing]
    if needing and others:
        raise UsageError(
            f'"{others[0].modality}" has its ids inside, and --ids is not for it',
            where=others[0].path,
            fix=f"only for what needs it: {' '.join(f'--ids {one.modality}={file}' for one in needing)}",
            flags=["--ids"],
            said=others[0].modality,
        )


def open_groups(inputs: Sequence[Input]) -> dict[str, Source]:
    """The source whose ids are groups, by its modality. Raises as `open_source`; a UsageError where there are two."""
    grouped = [one for one in inputs if one.group_column is not None]
    if len(grouped) > 1:
        modalities = ", ".join(one.modality for one in grouped)
        raise UsageError("groups are columns of one modality", where="--group-column", modalities=modalities)
    return {
        one.modality: open_source(
            one.path, modality=one.modality, embedding_column=one.embedding_column, id_column=one.group_column
        )
        for one in grouped
    }


def places_of(inputs: Sequence[Input]) -> list[Path]:
    """The files and folders that are read."""
    places = [place for one in inputs for place in (wildcard_root(one.path) or one.path, one.ids)]
    return [place for place in places if place is not None]


def described(sources: Mapping[str, Source], names: Mapping[str, str]) -> dict[str, Any]:
    """Per modality, its name in the output and the fingerprints of its files, by their own names.

    Raises:
        DataError: A file cannot be read.
    """
    try:
        return {
            name: {
                "name": names[name],
                "rows": source.rows,
                "layout": plain(source.describe()),
                "files": [{"name": _name(path, source), **_fingerprint(path)} for path in source.files()],
            }
            for name, source in sources.items()
        }
    except OSError as error:
        raise unreadable(error, error.filename) from error


def output_names(inputs: Sequence[Input]) -> dict[str, str]:
    """The file name of each modality in the output; two have the same only where they are in one file."""
    names: dict[str, str] = {}
    paths: dict[str, Path] = {}
    for one in inputs:
        if one.modality in names:
            raise UsageError(
                f'modality "{one.modality}" is given twice',
                where="-m",
                said=one.modality,
                fix=f"-m {one.modality}2={one.path} for a modality of its own, or one folder with all parts of one",
            )
        twin = next((other for other, name in names.items() if name == one.base_name), None)
        paths[one.modality] = one.path.resolve()
        if twin is not None and paths[twin] != paths[one.modality]:
            suffix = f"{one.modality}_{one.base_name}"
            raise UsageError(
                f'"{twin}" and "{one.modality}" would both be written as {one.base_name}',
                fix=f"--name {one.modality}={suffix}",
                flags=["--name"],
                said=one.modality,
            )
        names[one.modality] = one.base_name
    return names


def _name(path: Path, source: Source) -> str:
    """The path of a file below what was given, which is its name where that is a file."""
    root = wildcard_root(source.path) or source.path
    inside = is_remote(path) == is_remote(root) and path != root and path.is_relative_to(root)
    return below(path, root) if inside else path.name


def _fingerprint(path: Path) -> dict[str, int | str]:
    return revision(path) if is_remote(path) else fingerprint(path)


def state_of(path: Path) -> Any:
    """What changes when a file does: of one on this machine, its number, size and time. Raises a DataError."""
    try:
        if is_remote(path):
            found = revision(path)
            return found["bytes"], found["etag"]
        status = path.stat()
    except OSError as error:
        raise unreadable(error, path) from error
    return status.st_ino, status.st_size, status.st_mtime_ns
