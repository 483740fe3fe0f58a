"""An output that was published, read again: its diagnostics and its manifest, for all that judge, report or compare."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clear_cli.embeddings.base import unreadable
from clear_cli.errors import DataError
from clear_cli.publish import read_manifest
from clear_cli.remote import reachable
from clear_cli.report.model import Report
from clear_cli.workflow.document import SCHEMA_VERSION
from clear_cli.workflow.reporting import DIAGNOSTICS


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
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise damaged(self.path) from error


def read_output(path: Path) -> Output:
    """The diagnostics and the manifest of an output directory, or the diagnostics of the file itself.

    Raises:
        DataError: Not there, damaged, of something else, or of another schema version.
    """
    with reachable(path):
        alone = path.is_file()
        manifest = None if alone else read_manifest(path)
        return Output(path, _diagnostics(path if alone else path / DIAGNOSTICS), manifest or {})


def damaged(where: Path) -> DataError:
    """The error for documents that are not as they were written."""
    return DataError("the diagnostics are damaged", where=where, fix="run again to make them anew")


def _diagnostics(file: Path) -> dict[str, Any]:
    give = "give an output directory of run, fit, apply or diagnose"
    try:
        found = json.loads(file.read_bytes(), parse_float=_finite, parse_constant=_finite)
    except OSError as error:
        raise DataError(unreadable(error, file).problem, where=file, fix=give) from error
    except ValueError as error:
        raise damaged(file) from error
    version = found.get("schema_version") if isinstance(found, dict) else None
    if type(version) is not int:
        raise DataError("these are no diagnostics of clear-cli", where=file, fix=give)
    if version != SCHEMA_VERSION:
        raise DataError(
            f"diagnostics of schema version {version} are not supported",
            where=file,
            supported=SCHEMA_VERSION,
            fix="upgrade clear-cli" if version > SCHEMA_VERSION else "run again to make them anew",
        )
    if not _whole(found):
        raise damaged(file)
    return found  # type: ignore[no-any-return]


def _finite(text: str) -> float:
    """A number; a ValueError where it is none that we write, such as NaN or 1e999."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not finite")
    return number


def _whole(document: dict[str, Any]) -> bool:
    """Whether modalities, pairs and warnings are there, which all readers walk through."""
    modalities, pairs, warnings = (document.get(key) for key in ("modalities", "pairs", "warnings"))
    return (
        isinstance(modalities, dict)
        and all(isinstance(one, dict) for one in modalities.values())
        and isinstance(pairs, list)
        and all(isinstance(one, dict) and _two_names(one.get("modalities")) for one in pairs)
        and isinstance(warnings, list)
    )


def _two_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(one, str) for one in value)
