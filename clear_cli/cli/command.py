"""Commands whose options may also be set in the environment and in a file.

Of flag, `CLEAR_*` variable, file and default, the first that says something counts. Of options by modality, and of
gates, it counts for each modality and figure by itself. An error about an option says where that was set.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, get_type_hints

import typer
import typer.core

from clear_cli.cli.complaints import options_of, usage_error
from clear_cli.cli.configfile import KEYS, TABLES, key_of, place_of
from clear_cli.cli.console import print_error
from clear_cli.errors import ClearError, UsageError, closest

COMMAND_LINE = "command line"
PREFIX = "CLEAR_"
VARIABLES = {f"{PREFIX}{key.upper()}" for key in (*KEYS, *TABLES.values(), "config")}

_STATED = "clear_cli.stated"

Stated = list[tuple[Any, str]]
"""Values, and where each was set."""


def grouped(function: Callable[..., None]) -> Callable[..., None]:
    """The function, with the fields of those of its parameters that are dataclasses as parameters of their own."""
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for one in inspect.signature(function).parameters.values():
        own = [one.replace(annotation=hints[one.name], kind=inspect.Parameter.KEYWORD_ONLY)]
        parameters += _fields(groups[one.name]) if one.name in groups else own

    def call(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{one.name: given.pop(one.name) for one in fields(group)})
        function(**given)

    call.__name__, call.__doc__ = function.__name__, function.__doc__
    call.__annotations__ = {one.name: one.annotation for one in parameters}
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call


def _fields(group: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for one in fields(group):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        default = inspect.Parameter.empty if default is MISSING else default
        yield inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[one.name])


class Commands(typer.core.TyperGroup):
    """The program: it lists its commands with all that they say of themselves, and suggests the nearest."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands. Typer would cut what is longer than a line, unless it is said to be short."""
        for command in self.commands.values():
            command.short_help = command.help
        super().format_commands(ctx, formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the first argument names. Raises a UsageError that lists those that there are."""
        if args[0] not in self.commands:
            known = list(self.commands)
            fix = f"{ctx.command_path} {closest(args[0], known)}"
            raise UsageError(f'no command "{args[0]}"', commands=", ".join(known), fix=fix)
        return super().resolve_command(ctx, args)


class Command(typer.core.TyperCommand):
    """A command whose options have variables and keys of their names."""

    variables: Collection[str] | None = None
    """The keys of those that have; None for all."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        for option in settings_of(self):
            if self.variables is None or key_of(option) in self.variables:
                option.envvar, option.show_envvar = f"{PREFIX}{key_of(option).upper()}", False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Resolve every option. Raises a UsageError that says where a value at fault was set."""
        with _located(ctx):
            rest = super().parse_args(ctx, args)
            if not ctx.resilient_parsing:
                _warn_of_strangers()
                ctx.meta[_STATED] = {one.name: _present(ctx, one) for one in settings_of(self)}
                for one in settings_of(self):
                    if one.multiple:
                        ctx.params[one.name] = [text for text, _ in _stated(ctx, one)]
                _settle_volume(ctx)
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Errors as in `parse_args`."""
        with _located(ctx):
            if ctx.params.get("verbose"):
                _print_options(ctx)
            return super().invoke(ctx)


class Look(Command):
    """A command that looks at what is there: what it is asked of one place is no setting."""

    variables = ("json", "quiet", "verbose")


@dataclass
class Described:
    """An option of one or more commands.

    Attributes:
        help: What its help says.
        flags: How it is written.
        commands: Those that have it.
    """

    help: str
    flags: list[str]
    commands: list[str]


def described(group: Any) -> dict[str, Described]:
    """By its key, every option of the commands of a group that have variables and keys."""
    found: dict[str, Described] = {}
    for name, command in group.commands.items():
        for option in settings_of(command) if isinstance(command, Command) else []:
            if option.envvar is None:
                continue
            flags = [*option.opts, *option.secondary_opts]
            found.setdefault(key_of(option), Described(option.help, flags, [])).commands.append(name)
    return found


def settings_of(command: Any) -> list[Any]:
    """What may be set in several places: the options of a command, and an argument that goes by the name of one."""
    arguments = [one for one in command.params if one.param_type_name == "argument" and key_of(one) in KEYS]
    return [*arguments, *options_of(command)]


def _stated(ctx: Any, option: Any) -> Stated:
    """What was said of an option and counts; nothing where it has its default."""
    if _STATED in ctx.meta:
        return list(ctx.meta[_STATED][option.name])
    # Which modalities there are is for one of them to say.
    merged = option.multiple and option.name != "modality"
    layers = list(_layers(ctx, option))
    if not merged:
        return layers[0] if layers else []
    stated: Stated = []
    for layer in layers:
        subjects = {_subject(text) for text, _ in stated}
        if None in subjects:
            break
        stated += [one for one in layer if _subject(one[0]) not in subjects]
    return stated


def _layers(ctx: Any, option: Any) -> Iterator[Stated]:
    """What was said of an option on the command line, in the environment, and in the file."""
    source = ctx.get_parameter_source(option.name)
    if source is not None and source.name == "COMMANDLINE":
        yield [(one, COMMAND_LINE) for one in _listed(ctx.params.get(option.name), option)]
    if (value := option.value_from_envvar(ctx)) is not None:
        yield [(one, option.envvar) for one in _listed(value, option)]
    if (value := ctx.lookup_default(option.name)) is not None:
        key = key_of(option)
        yield [(one, place_of(ctx, key, one)) for one in _listed(value, option)]


def _listed(value: Any, option: Any) -> list[Any]:
    return list(value) if option.multiple else [value]


def _subject(text: str) -> str | None:
    """The modality or the figure that a text is about; None where it is about all modalities."""
    found = re.match(r"([^<>=]+)[<>=]", text)
    return found[1].strip() if found else None


def _present(ctx: Any, option: Any) -> Stated:
    """What was said of an option, without what the file says of modalities that are not asked for.

    Raises:
        UsageError: The modalities are those of the file, and one of them has no path.
    """
    stated = _stated(ctx, option)
    names = {_subject(text) for text in ctx.params.get("modality", [])}
    if not names or option.name in ("modality", "gate") or not option.multiple:
        return stated
    of_file = set(_listed(ctx.lookup_default(option.name) or [], option))
    absent = [(text, where) for text, where in stated if text in of_file and _subject(text) not in {None, *names}]
    if absent and ctx.get_parameter_source("modality").name == "DEFAULT_MAP":
        where, name = absent[0][1].rpartition(".")[0], _subject(absent[0][0])
        raise UsageError(f'modality "{name}" has no path', where=where, fix='path = "..."')
    return [one for one in stated if one not in absent]


def _settle_volume(ctx: Any) -> None:
    """Of quiet and verbose, let the one that is said at the higher place count."""
    if not (ctx.params.get("quiet") and ctx.params.get("verbose")):
        return
    quiet, verbose = (ctx.get_parameter_source(name).value for name in ("quiet", "verbose"))
    if quiet == verbose:
        raise UsageError("--quiet and --verbose cannot both be", fix="one of them")
    ctx.params["quiet" if quiet > verbose else "verbose"] = False


def _warn_of_strangers() -> None:
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in VARIABLES:
            print_error(f"warning: {name} is no setting; the nearest is {closest(name, VARIABLES)}")


def _print_options(ctx: Any) -> None:
    print_error("options:")
    for option in settings_of(ctx.command):
        shown = ", ".join(f"{_word(value)} ({where})" for value, where in _stated(ctx, option))
        default = ctx.params.get(option.name)
        if shown or default not in (None, []):
            print_error(f"  {key_of(option)} = {shown or f'{_word(default)} (default)'}")


def _word(value: Any) -> str:
    """A value as a file would have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


@contextmanager
def _located(ctx: Any) -> Iterator[None]:
    """Let an error about an option say where that was set, if not on the command line."""
    try:
        yield
    except typer.TyperException as error:
        problem = usage_error(error)
        _place(problem, ctx)
        raise problem from error
    except ClearError as error:
        _place(error, ctx)
        raise


def _place(error: ClearError, ctx: Any) -> None:
    places: list[str] = []
    for option in settings_of(ctx.command):
        if not set(error.flags).isdisjoint(option.opts):
            stated = _stated(ctx, option)
            exact = [where for value, where in stated if str(error.said) in _words(value)]
            places += exact or [where for _, where in stated]
    where = "; ".join(one for one in dict.fromkeys(places) if one != COMMAND_LINE)
    if where and (error.where is None or str(error.where).startswith("-")):
        error.where = where
    elif where:
        error.details["set"] = where


def _words(value: Any) -> tuple[str, ...]:
    """A value, and the parts of `NAME=VALUE`."""
    return (str(value), *str(value).split("="))
