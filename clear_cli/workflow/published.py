"""An output that was published, read again: its diagnostics and its manifest, for all that judge, report or compare."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clear_cli.disk import container_by
from clear_cli.embeddings.base import unreadable
from clear_cli.errors import DataError
from clear_cli.publish import MANIFEST, read_manifest
from clear_cli.remote import is_remote, reachable
from clear_cli.report.conform import flaw
from clear_cli.report.model import Report
from clear_cli.workflow.document import SCHEMA_VERSION
from clear_cli.workflow.reporting import DIAGNOSTICS

FLAWS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What figures lead to that fit the schema, but not one another."""

AGAIN = "run again to make them anew"
GIVE = "give an output directory of run, fit, apply or diagnose"


@dataclass(frozen=True)
class Output:
    """What an output says of itself.

    Attributes:
        path: Of the directory, or of the diagnostics alone.
        diagnostics: As in diagnostics.json.
        manifest: As in manifest.json; empty where there is none.
    """

    path: Path
    diagnostics: dict[str, Any]
    manifest: dict[str, Any]

    def report(self, *, item_ids: bool = True) -> Report:
        """What there is to say of it; items have ids only where the output was made with them.

        Raises:
            DataError: The documents are damaged.
        """
        try:
            item_ids = item_ids and (self.manifest.get("parameters") or {}).get("item_ids") is not False
            return Report.of(self.diagnostics, self.manifest, item_ids=item_ids)
        except FLAWS as error:
            raise damaged(self.path) from error


def read_output(path: Path) -> Output:
    """The diagnostics and the manifest of an output directory, or the diagnostics of the file itself.

    Raises:
        DataError: Not there, damaged, of something else, or of another schema version.
    """
    with reachable(path):
        alone = path.is_file() or not (is_remote(path) or path.exists())
        manifest = (None if alone else read_manifest(path)) or {}
        found = read_diagnostics(path if alone else path / DIAGNOSTICS)
    if manifest and (where := flaw(manifest, "manifest")) is not None:
        raise DataError("the manifest is damaged", where=path / MANIFEST, at=where, fix=AGAIN)
    return Output(path, found, manifest)


def read_diagnostics(file: Path) -> dict[str, Any]:
    """What a diagnostics.json says, as its schema promises.

    Raises:
        DataError: As in `read_output`.
    """
    try:
        found = _document(file)
    except OSError as error:
        raise unreadable(error, file, GIVE) from error
    version = found.get("schema_version") if isinstance(found, dict) else None
    # A manifest, and what --json prints, are of a command; they have the version, too.
    if type(version) is not int or "command" in found:
        raise _foreign(file)
    if version != SCHEMA_VERSION:
        raise DataError(
            f"diagnostics of schema version {version} are not supported",
            where=file,
            supported=SCHEMA_VERSION,
            fix="upgrade clear-cli" if version > SCHEMA_VERSION else AGAIN,
        )
    if (where := flaw(found, "report")) is not None:
        raise damaged(file, at=where)
    return found  # type: ignore[no-any-return]


def _document(file: Path) -> Any:
    """The JSON of a file. Raises a DataError for what is none: damaged if it may have been, else something else."""
    with file.open("rb") as opened:
        head = opened.read(16)
        if (container := container_by(head)) is not None:  # of which there may be gigabytes
            raise _foreign(file, f", but a file of {container}")
        content = head + opened.read()
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        ours = file.name == DIAGNOSTICS or not content or content.startswith(b"{")
        raise (damaged(file) if ours else _foreign(file)) from error


def _foreign(where: Path, but: str = "") -> DataError:
    """The error for a file of something else; `but` says of what."""
    return DataError(f"these are no diagnostics of clear-cli{but}", where=where, fix=GIVE)


def damaged(where: Path, **at: str) -> DataError:
    """The error for documents that are not as they were written; `at` says which figure."""
    return DataError("the diagnostics are damaged", where=where, **at, fix=AGAIN)
