"""Write the pages of this folder that are generated from the program, as a whole or from a heading on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

from clear_cli import cli, glossary
from clear_cli.command import PREFIX, described
from clear_cli.configfile import KEYS, TABLES

FOLDER = Path(__file__).parent
KEYS_HEADING = "## All options\n"


def config() -> str:
    """The page on configuration: what is written by hand, and the table of all options."""
    text = (FOLDER / "config.md").read_text(encoding="utf-8")
    rows = ["| key | flags | variable | of | meaning |", "| --- | --- | --- | --- | --- |"]
    tables = {option: table for table, option in TABLES.items()}
    for key, one in described(typer.main.get_command(cli.app)).items():
        shown = f"`[{tables[key]}]`" if key in tables else f"`{key}`" if key in KEYS else ""
        flags = ", ".join(f"`{flag}`" for flag in one.flags)
        meaning = one.help.replace("|", chr(92) + "|")
        rows.append(f"| {shown} | {flags} | `{PREFIX}{key.upper()}` | {', '.join(one.commands)} | {meaning} |")
    by_hand = text.partition(KEYS_HEADING)[0]
    return "\n".join([by_hand + KEYS_HEADING, *rows, ""])


PAGES: dict[str, Callable[[], str]] = {"diagnostics.md": glossary.markdown, "config.md": config}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
