"""The report beside the diagnostics, and the same made again from them somewhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from clear_cli.embeddings.base import unreadable
from clear_cli.errors import DataError, UsageError
from clear_cli.publish import read_manifest, refuse_overlap
from clear_cli.publish_file import FilePublication
from clear_cli.remote import reachable
from clear_cli.workflow.document import SCHEMA_VERSION

DIAGNOSTICS = "diagnostics.json"
PAGE, MARKDOWN = "report.html", "report.md"
MARKDOWN_ENDINGS, PAGE_ENDINGS = {".md", ".markdown"}, {".html", ".htm"}


def write_reports(folder: Path, diagnostics: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Write the page and the Markdown; the manifest is that of the output, as far as it is known."""
    for name in (PAGE, MARKDOWN):
        text = _rendered(Path(name).suffix, diagnostics, manifest, item_ids=manifest["parameters"]["item_ids"])
        (folder / name).write_bytes(text)


def report(folder: Path, out: Path | None = None, *, item_ids: bool = True, overwrite: bool = False) -> Path:
    """Make the report of an output directory again, outside of it: what it holds is what its manifest says.

    Args:
        folder: The output of run, fit, apply or diagnose.
        out: The file to write, a page or Markdown by its ending. None: report.html in the current folder.
        item_ids: Name items by their ids, unless the output was made without.
        overwrite: Replace a file.

    Returns:
        The file.

    Raises:
        DataError: There are no diagnostics, or they are damaged or of a newer version.
        UsageError: The file would lie inside the output, or has an ending that says nothing.
        OutputError: The file exists, or the disk refuses.
    """
    target = Path.cwd() / PAGE if out is None else out
    if target.suffix.lower() not in MARKDOWN_ENDINGS | PAGE_ENDINGS:
        raise UsageError(f'a report is a page or Markdown, and "{target.name}" is neither', fix=f"--out {PAGE}")
    refuse_overlap(target, [folder])
    with reachable(folder):
        diagnostics, manifest = _diagnostics(folder), read_manifest(folder) or {}
    item_ids = item_ids and (manifest.get("parameters") or {}).get("item_ids") is not False
    try:
        text = _rendered(target.suffix.lower(), diagnostics, manifest, item_ids=item_ids)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise _damaged(folder) from error
    with FilePublication(target, what="the report", option="--out", overwrite=overwrite) as staging:
        staging.write(partial(Path.write_bytes, data=text))
        staging.publish()
    return target


def _rendered(ending: str, diagnostics: Mapping[str, Any], manifest: Mapping[str, Any], *, item_ids: bool) -> bytes:
    # Slow to import, and not needed where no report is wanted.
    from clear_cli.report.model import Report
    from clear_cli.report.render import html, markdown

    found = Report.of(diagnostics, manifest, item_ids=item_ids)
    text = markdown(found) if ending in MARKDOWN_ENDINGS else html(found)
    return text.encode("utf-8", "backslashreplace")  # an id may hold what is no character


def _diagnostics(folder: Path) -> dict[str, Any]:
    path = folder / DIAGNOSTICS
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            unreadable(error, path).problem, where=path, fix="give an output directory of run, fit, apply or diagnose"
        ) from error
    except ValueError as error:
        raise _damaged(folder) from error
    version = found.get("schema_version") if isinstance(found, dict) else None
    if not isinstance(version, int):
        raise _damaged(folder)
    if version > SCHEMA_VERSION:
        raise DataError(
            f"the diagnostics are of schema version {version}, and this version knows {SCHEMA_VERSION}",
            where=path,
            fix="pip install --upgrade clear-cli",
        )
    return found  # type: ignore[no-any-return]


def _damaged(folder: Path) -> DataError:
    return DataError("the diagnostics are damaged", where=folder / DIAGNOSTICS, fix="run again to make them anew")
