"""From the texts of the command line to inputs, options and the machine."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clear_cli.console import Console
from clear_cli.errors import GateError, UsageError
from clear_cli.remote import place

if TYPE_CHECKING:
    from clear_cli.config import FitOptions, Input
    from clear_cli.gates import Gate, Verdict
    from clear_cli.machine import Machine


def read_inputs(
    modality: list[str],
    embedding_column: list[str],
    id_column: list[str],
    ids: list[str],
    name: list[str],
    group_column: list[str] | None = None,
) -> list[Input]:
    """Inputs from `NAME=PATH[::COLUMN]`, and from the options that say more about them by `NAME=VALUE`.

    Raises:
        UsageError: One that cannot be read, or is about no modality.
    """
    from clear_cli.config import Input
    from clear_cli.values import PerModality

    places = []
    for text in modality:
        one, equals, where = text.partition("=")
        if not equals or not where:
            raise UsageError(f'"{text}" does not say which modality it is', where="-m", fix=f"-m image={text}")
        path, _, inside = where.partition("::")
        places.append((one, place(path), inside or None))
    names = [one for one, _, _ in places]
    nothing: dict[str, Any] = {"plain": None, "modalities": names}
    embedding = PerModality.parse(embedding_column, str, option="--embedding-column", **nothing)
    key = PerModality.parse(id_column, str, option="--id-column", **nothing)
    files = PerModality.parse(ids, place, option="--ids", **nothing)
    outputs = PerModality.parse(name, str, option="--name", **nothing)
    groups = PerModality.parse(group_column or [], str, option="--group-column", **nothing)
    return [
        Input(one, path, inside or embedding[one], key[one], files[one], outputs[one], groups[one])
        for one, path, inside in places
    ]


def read_options(
    inputs: list[Input] | list[str], rank: list[str], strength: list[str], winsorise: str | None, **others: Any
) -> FitOptions:
    """Parameters of the fit; those in `others` are of the right types. Raises a UsageError as `FitOptions` does."""
    from clear_cli.config import FitOptions
    from clear_cli.rank import DEFAULT_RANK
    from clear_cli.values import PerModality, read_rank, read_share, read_strength

    names = [one if isinstance(one, str) else one.modality for one in inputs]
    return FitOptions(
        rank=PerModality.parse(rank, read_rank, DEFAULT_RANK, names, "--rank"),
        strength=PerModality.parse(strength, read_strength, 1.0, names, "--strength"),
        winsorise=None if winsorise is None else read_share(winsorise, "--winsorise"),
        **others,
    )


def read_machine(threads: int | None, memory: str | None, tmp_dir: Path | None, console: Console) -> Machine:
    """The means to work with; what is not given is what the machine grants. Raises a UsageError as `read_size` does."""
    from clear_cli.machine import Machine, read_size

    size = None if memory is None else read_size(memory)
    given: dict[str, Any] = {"threads": threads, "memory": size, "tmp_dir": tmp_dir}
    machine = Machine(progress=console, **{key: value for key, value in given.items() if value is not None})
    tempfile.tempdir = str(machine.tmp_dir)  # also for those who make scratch files and do not know the machine
    return machine


def read_gates(texts: Sequence[str]) -> list[Gate]:
    """Gates from their conditions. Raises a UsageError as `Gate.parse` does."""
    from clear_cli.gates import Gate

    return [Gate.parse(text) for text in texts]


def refuse_failed(verdicts: Sequence[Verdict], *, where: object) -> None:
    """Raise a GateError that names the gates that do not hold, if there are any."""
    failed = [str(verdict) for verdict in verdicts if not verdict.passed]
    if failed:
        raise GateError(f"{len(failed)} of {len(verdicts)} gates failed", where=where, failed="; ".join(failed))
