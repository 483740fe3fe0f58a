"""Write what is generated from the program: pages of this folder, and the meanings in the schema of diagnostics."""

from __future__ import annotations

import json
from pathlib import Path

from clear_cli import glossary

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "clear_cli/report/report-v1.schema.json"


def schema() -> str:
    """The schema of diagnostics.json, which is written by hand but for the descriptions."""
    written = json.loads(SCHEMA.read_text(encoding="utf-8"))
    glossary.describe(written)
    return json.dumps(written, indent=2, ensure_ascii=False) + "\n"


FILES = {ROOT / "docs/diagnostics.md": glossary.markdown, SCHEMA: schema}

if __name__ == "__main__":
    for path, text in FILES.items():
        path.write_text(text(), encoding="utf-8")
