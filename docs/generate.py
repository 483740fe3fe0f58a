"""Write the pages of this folder that are generated from the program."""

from __future__ import annotations

from pathlib import Path

from clear_cli import glossary

PAGES = {"diagnostics.md": glossary.markdown}

if __name__ == "__main__":
    for name, page in PAGES.items():
        Path(__file__).with_name(name).write_text(page(), encoding="utf-8")
