"""What Typer complains of, in the form of our errors."""

from __future__ import annotations

import difflib
from typing import Any

import typer

from clear_cli.cli.configfile import FLAG, KEYS, WORDS, key_of
from clear_cli.errors import UsageError


def usage_error(error: typer.TyperException) -> UsageError:
    """Typer's own complaints, in the form of ours."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "clear-cli"
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        return _no_option(option, context)
    if getattr(error, "param", None) is not None and (problem := _refused(error)):
        return problem
    message = getattr(error, "format_message", lambda: str(error))()
    fix, missing = f"{command} --help", getattr(error, "param", None)
    if missing is not None and missing.param_type_name == "option" and missing.metavar:
        fix = f"{missing.opts[0]} {missing.metavar}"
    return UsageError(message[:1].lower() + message[1:].rstrip("."), fix=fix)


def _no_option(option: str, context: Any) -> UsageError:
    """The error for an option that a command does not have; others may."""
    command = context.command_path
    near = difflib.get_close_matches(
        option, [flag for one in options_of(context.command) for flag in one.opts], cutoff=0.7
    )
    commands = context.parent.command.commands.items() if context.parent else ()
    having = [name for name, one in commands if any(option in other.opts for other in options_of(one))]
    fix = f"without it, or clear-cli {having[0]}" if having else f"{command} --help"
    others = {"option_of": ", ".join(having)} if having else {}
    return UsageError(f'no option "{option}"', where=command, **others, fix=(*near, fix)[0])


def _refused(error: Any) -> UsageError | None:
    """The error for a value that Typer refuses, said as we say it of one in a file."""
    if not hasattr(error.__cause__, "errors"):
        return None
    (first, *_), key = error.__cause__.errors(), KEYS.get(key_of(error.param))
    flags = [*error.param.opts, *error.param.secondary_opts]
    switch = key is not None and key.types == FLAG
    if first["type"].endswith("_parsing") and key is not None:
        problem = f'"{first["input"]}" is not {" or ".join(WORDS[one] for one in key.types)}'
    else:
        problem = f'"{first["input"]}" {first["msg"].removeprefix("Input ")}'
    flag = max(flags, key=len)
    fix = " or ".join(flags) if switch else f"{flag} {key.example}" if key else f"{error.ctx.command_path} --help"
    return UsageError(problem, where=flags[0], fix=fix)


def options_of(command: Any) -> list[Any]:
    """The options of a command of Typer's."""
    return [one for one in command.params if one.param_type_name == "option"]
