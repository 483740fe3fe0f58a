"""Judging an output again: its diagnostics, as they were published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clear_cli.errors import DataError
from clear_cli.remote import reachable
from clear_cli.workflow.document import SCHEMA_VERSION
from clear_cli.workflow.reporting import DIAGNOSTICS


def read_document(path: Path) -> dict[str, Any]:
    """The diagnostics of an output directory, or of the file itself.

    Raises:
        DataError: Not there, damaged, or of a later schema.
    """
    with reachable(path):
        file = path / DIAGNOSTICS if path.is_dir() else path
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(
                "no diagnostics here", where=file, fix="clear-cli run or diagnose --out writes them"
            ) from error
        except ValueError as error:
            raise DataError(f"not readable as JSON ({error})", where=file) from error
    sound = isinstance(document, dict) and isinstance(document.get("schema_version"), int)
    if not sound or not isinstance(document.get("pairs"), list) or not isinstance(document.get("modalities"), dict):
        raise DataError("this is not a diagnostics.json of clear-cli", where=file)
    if document["schema_version"] > SCHEMA_VERSION:
        raise DataError(
            f"diagnostics of schema version {document['schema_version']} are not supported",
            where=file,
            supported=SCHEMA_VERSION,
            fix="upgrade clear-cli",
        )
    found: dict[str, Any] = document
    return found
