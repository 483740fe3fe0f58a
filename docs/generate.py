"""Write what is generated from the program: pages of this folder, and the meanings in the schema of diagnostics."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from clear_cli import glossary
from clear_cli.cli import app
from clear_cli.cli.command import PREFIX, described
from clear_cli.cli.configfile import KEYS, TABLES

ROOT = Path(__file__).parents[1]
SCHEMA = "clear_cli/report/report-v1.schema.json"
NOTES = re.compile(r"\s+\[([^\[\]]*)\]$")
"""What Typer appends to a help text: `required`, the default, the range."""
KEYS_HEADING = "## All options\n"


def reference() -> str:
    """The page cli.md: every command and every option, in the words of `--help`."""
    root = get_command(app)
    context = root.make_context("clear-cli", [], resilient_parsing=True)
    parts = [_INTRODUCTION, "| command | what it does |", "| --- | --- |"]
    parts += [f"| [{name}](#clear-cli-{name}) | {one.help} |" for name, one in commands().items()]
    parts += ["", "## clear-cli", "", *_options(root, context)]
    for name, command in commands().items():
        inner = type(context)(command, info_name=name, parent=context)
        parts += ["", f"## clear-cli {name}", "", str(command.help), "", f"    {_usage(name, command)}", ""]
        parts += _options(command, inner)
    return "\n".join(parts) + "\n"


def commands() -> dict[str, Any]:
    """The commands by name, in the order of `--help`."""
    found: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    return {name: command for name, command in found.items() if not command.hidden}


def _usage(name: str, command: Any) -> str:
    options = [f"{one.opts[0]} {one.metavar}" for one in command.params if one.required and not _is_argument(one)]
    arguments = [one for one in command.params if _is_argument(one)]
    shown = [_name(one) if one.required else f"[{_name(one)}]" for one in arguments] + options
    return " ".join(["clear-cli", name, *shown, "[OPTIONS]"])


def _is_argument(parameter: Any) -> bool:
    return parameter.param_type_name == "argument"


def _name(argument: Any) -> str:
    return f"{argument.metavar}..." if argument.nargs == -1 else str(argument.metavar)


def _options(command: Any, context: Any) -> Iterator[str]:
    yield from ("| option | meaning |", "| --- | --- |")
    for parameter in command.get_params(context):
        if record := parameter.get_help_record(context):
            name, text = record
            name = _name(parameter) if _is_argument(parameter) else name
            notes = NOTES.search(text)
            shown = NOTES.sub("", text).replace("*", r"\*") + (f" *{notes[1]}*" if notes else "")
            yield f"| `{_cell(name)}` | {_cell(shown)} |"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


_INTRODUCTION = """# Commands

Every command and option, in the words of `--help`. This page is generated from the program (`python docs/generate.py`).

`NAME` is the name of a modality, as given to `-m`. An option that takes `[NAME=]VALUE` holds for all modalities, or,
with a name, for one of them, and may be repeated: `--rank 16 --rank text=8`. The result goes to stdout, progress and
warnings to stderr. [Pipelines](pipeline.md#exit-codes) lists the exit codes.
"""


def config() -> str:
    """The page on configuration: what is written by hand, and the table of all options."""
    text = (ROOT / "docs/config.md").read_text(encoding="utf-8")
    rows = ["| key | flags | variable | of | meaning |", "| --- | --- | --- | --- | --- |"]
    tables = {option: table for table, option in TABLES.items()}
    for key, one in described(get_command(app)).items():
        shown = f"`[{tables[key]}]`" if key in tables else f"`{key}`" if key in KEYS else ""
        flags = ", ".join(f"`{flag}`" for flag in one.flags)
        meaning = _cell(one.help)
        rows.append(f"| {shown} | {flags} | `{PREFIX}{key.upper()}` | {', '.join(one.commands)} | {meaning} |")
    by_hand = text.partition(KEYS_HEADING)[0]
    return "\n".join([by_hand + KEYS_HEADING, *rows, ""])


def schema() -> str:
    """The schema of diagnostics.json, which is written by hand but for the descriptions."""
    written = json.loads((ROOT / SCHEMA).read_text(encoding="utf-8"))
    glossary.describe(written)
    return json.dumps(written, indent=2, ensure_ascii=False) + "\n"


FILES = {
    "docs/diagnostics.md": glossary.markdown,
    "docs/cli.md": reference,
    "docs/config.md": config,
    SCHEMA: schema,
}

if __name__ == "__main__":
    for path, text in FILES.items():
        (ROOT / path).write_text(text(), encoding="utf-8")
