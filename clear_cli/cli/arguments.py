"""From the texts of the command line to inputs, options and the machine."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from clear_cli.cli.configfile import Condition
from clear_cli.cli.console import Console, print_error
from clear_cli.cli.options import Finishing, Fitted, Means, Solving, Sources, Voice
from clear_cli.errors import GateError, UsageError
from clear_cli.remote import place

if TYPE_CHECKING:
    from clear_cli.config import FitOptions, Input
    from clear_cli.gates import Gate, Verdict
    from clear_cli.machine import Machine
    from clear_cli.rank import RankRule
    from clear_cli.values import PerModality


def read_inputs(sources: Sources, **more: list[str]) -> list[Input]:
    """Inputs from `NAME=PATH[::COLUMN]`, and from the options that say more about them by `NAME=VALUE`.

    Raises:
        UsageError: One that cannot be read, or is about no modality.
    """
    from clear_cli.config import DETAILS, inputs_of
    from clear_cli.values import PerModality

    paths, columns = [], []
    for text in sources.modality:
        one, equals, where = text.partition("=")
        if not equals or not where:
            fix = f"-m {PurePath(text).stem or 'image'}={text}"
            raise UsageError(f'"{text}" does not say which modality it is', where="-m", said=text, fix=fix)
        path, _, inside = where.partition("::")
        paths.append((one, place(path)))
        columns.append(inside or None)
    names = [one for one, _ in paths]
    given = {key: texts for key, texts in {**vars(sources), **more}.items() if key in DETAILS}
    details: dict[str, PerModality[Any]] = {
        key: PerModality.parse(texts, DETAILS[key], None, names, f"--{key.replace('_', '-')}")
        for key, texts in given.items()
    }
    inputs = inputs_of(paths, details)
    return [
        one if inside is None else replace(one, embedding_column=inside)
        for one, inside in zip(inputs, columns, strict=True)
    ]


def read_options(names: Sequence[str], *groups: Solving | Finishing | Fitted, **others: Any) -> FitOptions:
    """Parameters of the fit from groups of options. Raises a UsageError as `FitOptions` does."""
    from clear_cli.config import FitOptions
    from clear_cli.rank import DEFAULT_RANK
    from clear_cli.values import PerModality, read_rank, read_strength

    given: dict[str, Any] = {key: value for group in groups for key, value in vars(group).items()} | others
    given["rank"] = PerModality.parse(given["rank"], read_rank, DEFAULT_RANK, names, "--rank")
    given["strength"] = PerModality.parse(given["strength"], read_strength, 1.0, names, "--strength")
    return FitOptions(**given)


def read_changes(
    names: Sequence[str], rank: list[str], strength: list[str]
) -> dict[str, PerModality[RankRule | None] | PerModality[float | None]]:
    """Another rank and another strength than those of the fit. Errors as in `PerModality.parse`."""
    from clear_cli.values import PerModality, read_number, read_rank

    return {
        "rank": PerModality[Any].parse(rank, read_rank, None, names, "--rank"),
        "strength": PerModality[Any].parse(strength, read_number, None, names, "--strength"),
    }


def read_console(voice: Voice) -> Console:
    """Where the command says things."""
    return Console(as_json=voice.as_json, quiet=voice.quiet, verbose=voice.verbose)


def read_machine(means: Means, console: Console) -> Machine:
    """The means to work with; what is not given is what the machine grants. Raises a UsageError as `read_size` does."""
    from clear_cli.machine import Machine, read_size

    given = {key: value for key, value in vars(means).items() if value is not None}
    if "memory" in given:
        given["memory"] = read_size(given["memory"])
    machine = Machine(progress=console, **given)
    tempfile.tempdir = str(machine.tmp_dir)  # also for those who make scratch files and do not know the machine
    return machine


def gates_for(
    command: str, texts: Sequence[str], inputs: Sequence[Input], known: Collection[str] = (), **how: bool
) -> list[Gate]:
    """Gates on what a command computes of its inputs. Raises a UsageError as `refuse_unknowable`, with the same."""
    from clear_cli.gates import refuse_unknowable

    names = [one.modality for one in inputs]
    gates = counting_gates(texts, command, names, known)
    refuse_unknowable(gates, command, names, **how)
    return gates


def counting_gates(
    texts: Sequence[str], command: str | None, modalities: Sequence[str], known: Collection[str] = ()
) -> list[Gate]:
    """The gates but for those that a file has for other commands or modalities: of these a warning tells.

    Args:
        texts: The conditions.
        command: What computes, or has computed, the figures; None where nobody knows, and all gates count.
        modalities: Those that it is given.
        known: Others that there are, besides those that the file has tables of.

    Raises:
        UsageError: As from `Gate.parse`.
    """
    from clear_cli.gates import FLAG, Gate, divided

    gates = [Gate.parse(text, text.where if isinstance(text, Condition) else FLAG) for text in texts]
    if command is None:
        return gates
    of_file = [name for text in texts if isinstance(text, Condition) for name in text.modalities]
    counting, for_others = divided(gates, command, modalities, [*known, *of_file])
    if for_others:
        named = ", ".join(one.text for one in for_others)
        none = "" if counting else "; no gate is left"
        print_error(f"warning: gates of the file on what {command} does not compute here are left out: {named}{none}")
    return counting


def refuse_failed(verdicts: Sequence[Verdict], *, where: object) -> None:
    """Raise a GateError that names the gates that do not hold, if there are any."""
    failed = [str(verdict) for verdict in verdicts if not verdict.passed]
    if failed:
        raise GateError(f"{len(failed)} of {len(verdicts)} gates failed", where=where, failed="; ".join(failed))
