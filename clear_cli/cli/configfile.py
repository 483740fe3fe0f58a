"""Options from a file: TOML that a user writes, or the manifest of an earlier run, which holds those that it had.

A key is the long name of an option with underscores. What one modality has of its own is in `[modalities.NAME]`,
conditions are in `[gates]`, and relative paths start from the folder of the file. All becomes what the command line
would say (`image=16`), so that one reader checks the values wherever they come from.
"""

from __future__ import annotations

import errno
import json
import os
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from clear_cli.errors import UsageError, closest
from clear_cli.remote import reachable


@dataclass(frozen=True)
class Key:
    """What a key holds.

    Attributes:
        example: Its default as TOML, or some value where it has none.
        types: Those of its values.
        each: It may also be said of one modality.
        path: Its values are paths.
    """

    example: str
    types: tuple[type, ...] = (str,)
    each: bool = False
    path: bool = False


FLAG, COUNT = (bool,), (int,)
KEYS = {
    "out": Key('"clean/"', path=True),
    "overwrite": Key("false", FLAG),
    "resume": Key("false", FLAG),
    "rank": Key('"auto"', (int, str), each=True),
    "strength": Key("1", (float, int, str), each=True),
    "directions": Key('"covariance"'),
    "removal": Key('"orthogonal"'),
    "max_rank": Key("256", COUNT),
    "keep_mean": Key("false", FLAG),
    "renorm": Key('"none"'),
    "scale": Key('"none"'),
    "winsorise": Key('"99%"', (float, int, str)),
    "fit_items": Key('"train_ids.txt"', path=True),
    "on_invalid": Key('"error"'),
    "embedding_column": Key('"embedding"', each=True),
    "id_column": Key('"item_id"', each=True),
    "ids": Key('"ids.txt"', each=True, path=True),
    "name": Key('"image_clean.parquet"', each=True),
    "group_column": Key('"brand"', each=True),
    "moments_out": Key('"day1.moments"', path=True),
    "report": Key("true", FLAG),
    "item_ids": Key("true", FLAG),
    "curve": Key("false", FLAG),
    "dry_run": Key("false", FLAG),
    "threads": Key("4", COUNT),
    "memory": Key('"4GiB"'),
    "tmp_dir": Key('"scratch/"', path=True),
    "json": Key("false", FLAG),
    "quiet": Key("false", FLAG),
    "verbose": Key("false", FLAG),
}
TABLES = {"modalities": "modality", "gates": "gate"}
"""Tables, and the options that they stand for."""

OF_ONE = {"path": Key('"image.parquet"', path=True)} | {name: key for name, key in KEYS.items() if key.each}
"""The keys of `[modalities.NAME]`."""

WORDS = {bool: "true or false", float: "a number", int: "an integer", str: "a string"}
_GIVE = "the manifest.json of an output of run, fit, diagnose or apply, or a TOML file"
_PLACES = "clear_cli.places"


@dataclass
class Settings:
    """What a file says.

    Attributes:
        values: By the key of an option: a value, or the texts that its flag would have been given.
        places: Where each was found, by key and value.
        command: The command that wrote the file; empty for one that a user wrote.
    """

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[tuple[str, str], str] = field(default_factory=dict)
    command: str = ""

    def add(self, key: str, value: Any, where: str, *, many: bool = False) -> None:
        """Note a value, as one of several if there are to be many."""
        if many:
            self.values.setdefault(key, []).append(value)
        else:
            self.values[key] = value
        self.places[key, str(value)] = where


class Condition(str):
    """A gate as `--gate` would be given it, which knows the key of the file that says so, and its modalities."""

    where: str
    modalities: Sequence[str]

    def __new__(cls, text: str, where: str, modalities: Sequence[str]) -> Condition:
        """From the text, the file and its key, and the modalities that the file has tables of."""
        one = super().__new__(cls, text)
        one.where, one.modalities = where, modalities
        return one


def key_of(option: Any) -> str:
    """The key of an option of the command line: its long name, with underscores."""
    long = max(option.opts, key=len)
    return str(long).removeprefix("--").replace("-", "_")


def take(context: typer.Context, path: Path | None) -> Path | None:
    """Let a file say what is neither on the command line nor in the environment: the callback of `--config`."""
    if path is not None and not context.resilient_parsing:
        settings = read_settings(path)
        if context.info_name == "apply" and settings.command != "apply":
            # They are those of the fit, and the projector has them.
            settings.values = {key: value for key, value in settings.values.items() if key not in ("rank", "strength")}
        options = {key_of(option): option.name for option in context.command.params}
        context.default_map = {options[key]: one for key, one in settings.values.items() if key in options}
        context.meta[_PLACES] = settings.places
    return path


def place_of(context: typer.Context, key: str, value: object) -> str:
    """Where the file has a value of a key."""
    return str(context.meta.get(_PLACES, {}).get((key, str(value)), "the file"))


def read_settings(path: Path) -> Settings:
    """Read a file of options, or the manifest of an output.

    Raises:
        UsageError: It cannot be read, has a key that there is not, or a value of the wrong type.
    """
    document, command = _document(path)
    settings = Settings(command=command)
    for key, value in document.items():
        _known(key, [*KEYS, *TABLES], str(path))
        if key in TABLES and not isinstance(value, dict):
            raise UsageError(f"{key} is a table", where=f"{path}, key {key}", fix=f"[{key}]")
        if key == "modalities":
            for name, table in value.items():
                _add_modality(settings, path, name, table)
        elif key == "gates":
            for where, text in _conditions(value, "", path):
                gate = Condition(text, where, list(document.get("modalities", ())))
                settings.add("gate", gate, where, many=True)
        else:
            one = KEYS[key]
            found = _checked(path, key, one, value)
            settings.add(key, _text(found) if one.each else found, f"{path}, key {key}", many=one.each)
    return settings


def _document(path: Path) -> tuple[dict[str, Any], str]:
    """The keys of a file, and the command that wrote it, if one did."""
    try:
        with reachable(path):
            content = path.read_bytes()
        if path.suffix.lower() == ".json":
            manifest = json.loads(content.decode("utf-8", "surrogateescape"))
            return dict(manifest["config"]), str(manifest["command"])
        return tomllib.loads(content.decode("utf-8")), ""
    except OSError as error:
        from clear_cli.disk import instead_of  # slow to import

        # What a store raises has no text of the system's.
        absent = os.strerror(errno.ENOENT) if isinstance(error, FileNotFoundError) else str(error)
        problem = (error.strerror or absent).lower()
        raise UsageError(f"cannot read the configuration: {problem}", where=path, **instead_of(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _not_toml(error, content, path) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError("no manifest that holds a configuration", where=path, fix=_GIVE) from error


def _not_toml(error: ValueError, content: bytes, path: Path) -> UsageError:
    """The error for a file that cannot be parsed: what it is, or the line where that shows."""
    from clear_cli.disk import container_by  # slow to import

    if (container := container_by(content)) is not None:
        return UsageError(f"this is no file of options, but one of {container}", where=path, fix=_GIVE)
    if isinstance(error, UnicodeDecodeError):
        return UsageError(f"not valid TOML: byte {error.start} is not UTF-8", where=path)
    text, lines = str(error), content.decode("utf-8").splitlines()
    found = re.search(r"\(at line (\d+), column \d+\)", text)
    number = int(found[1]) if found else len(lines)  # of an end that comes too early, the message has no line
    line = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    return UsageError(
        f"not valid TOML: {text[:1].lower()}{text[1:]}" + ("" if found else f" (at line {number})"),
        where=path,
        **({"line": line} if line else {}),
        fix='texts in quotes, as in rank = "auto"; clear-cli config --example shows every key',
    )


def _add_modality(settings: Settings, path: Path, name: str, table: Any) -> None:
    place = f"{path}, key modalities.{name}"
    if not isinstance(table, dict):
        raise UsageError("a modality is a table", where=place, fix=f'[modalities.{name}] path = "..."')
    if "=" in name:
        raise UsageError(f'"{name}" cannot name a modality', where=place)
    for key, value in table.items():
        _known(key, OF_ONE, f"{path}, table modalities.{name}")
        found = _checked(path, f"modalities.{name}.{key}", OF_ONE[key], value)
        option = "modality" if key == "path" else key
        settings.add(option, f"{name}={_text(found)}", f"{place}.{key}", many=True)


def _conditions(table: Mapping[str, Any], prefix: str, path: Path) -> Iterator[tuple[str, str]]:
    """Where each gate is and what `--gate` would be given; a place may be a table, as in `image.variance_kept`."""
    for name, value in table.items():
        where = f"{path}, key gates.{prefix}{name}"
        if isinstance(value, dict):
            yield from _conditions(value, f"{prefix}{name}.", path)
            continue
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, str) or not re.match(r"\s*[<>=]", one):
                raise UsageError("a gate is a sign and a number, as a string", where=where, fix=f'{name} = "<=0.1"')
            yield where, f"{prefix}{name}{one}"


def _known(key: str, known: Any, where: str) -> None:
    if key not in known:
        raise UsageError(f'no key "{key}"', where=where, keys=", ".join(known), fix=closest(key, known))


def _checked(path: Path, name: str, key: Key, value: Any) -> Any:
    """A value of a key, with its path made to start from the folder of the file."""
    if type(value) not in key.types:
        # An integer is a number, too.
        words = [WORDS[one] for one in key.types if not (one is int and float in key.types)]
        shown = json.dumps(value, default=str)
        fix = f"{name} = {value if _reads_as(value, key.types) else key.example}"
        raise UsageError(f"{shown} is not {' or '.join(words)}", where=f"{path}, key {name}", fix=fix)
    if not key.path or "://" in value:
        return value
    return str(path.parent / Path(value).expanduser()) + ("/" if value.endswith("/") else "")


def _reads_as(value: Any, types: tuple[type, ...]) -> bool:
    """Whether a string is a value of one of the types, with quotes around it."""
    try:
        return isinstance(value, str) and type(tomllib.loads(f"value = {value}")["value"]) in types
    except tomllib.TOMLDecodeError:
        return False


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


_HEAD = """\
# Options of clear-cli: clear-cli run --config clear.toml
#
# A flag (--rank 16) comes before a variable (CLEAR_RANK=16), and that before this file. Paths start from its folder.
# What is commented out is the default, or an example where there is none.
"""


def example_of(helps: Mapping[str, str]) -> str:
    """A file with every key, explained by the helps of the options; all but the inputs and the output commented out."""
    lines = [_HEAD]
    for name, key in KEYS.items():
        comment = textwrap.wrap(helps[name], 116, initial_indent="# ", subsequent_indent="# ")
        lines += [*comment, f"{'' if name == 'out' else '# '}{name} = {key.example}", ""]
    lines += ["# What a modality has of its own comes before what is said above of all."]
    for name, shown in (("image", OF_ONE), ("text", {"path": Key('"text.h5"')})):
        lines += [f"[modalities.{name}]"]
        lines += [f"{'' if key == 'path' else '# '}{key} = {one.example}" for key, one in shown.items()]
        lines += [""]
    lines += [
        "# Gates, of run, diagnose, apply and check: a sign and a number; several as a list.",
        "[gates]",
        '# leftover_heldout = "<=0.3"',
        '# image.variance_kept = [">=0.5", "<=0.95"]',
    ]
    return "\n".join(lines)
