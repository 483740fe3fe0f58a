"""The report beside the diagnostics of an output, which every output has unless told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clear_cli.report.model import Report

DIAGNOSTICS = "diagnostics.json"
PAGE, MARKDOWN = "report.html", "report.md"


def write_reports(folder: Path, diagnostics: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Write the page and the Markdown; the manifest is that of the output, as far as it is known."""
    # Slow to import, and not needed where no report is wanted.
    from clear_cli.report.render import encoded, html, markdown

    found = Report.of(diagnostics, manifest, item_ids=manifest["parameters"]["item_ids"])
    (folder / PAGE).write_bytes(encoded(html(found)))
    (folder / MARKDOWN).write_bytes(encoded(markdown(found)))
