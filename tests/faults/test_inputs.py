"""Inputs that change while they are read, and scratch files that fail."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clear_cli.config import FitOptions, Input
from clear_cli.embeddings import open_source, stream
from clear_cli.errors import ClearError, DataError, OutputError
from clear_cli.machine import Machine
from clear_cli.workflow import usecases
from tests.conftest import write_npy


class Meddler:
    """Is told of progress, and does something to an input as soon as there is some."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        self._meddle = meddle

    def say(self, _: str, *, detail: bool = False) -> None:
        pass

    @contextmanager
    def stage(self, _: str, __: int) -> Generator[Callable[[int], None]]:
        self._meddle()
        yield lambda _: None


@pytest.fixture
def inputs(files: tuple[Path, Path]) -> list[Input]:
    """In different orders, so that one goes through a scratch file."""
    return [Input("image", files[0]), Input("text", files[1])]


def refusal(kind: type[ClearError], call: Callable[[], Any]) -> str:
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


@pytest.mark.parametrize("command", [usecases.run, usecases.fit, usecases.diagnose])
def test_an_input_that_is_written_meanwhile(command: Any, inputs: list[Input], tmp_path: Path) -> None:
    path, out = inputs[0].path, tmp_path / "out"
    machine = Machine(progress=Meddler(lambda: os.utime(path, ns=(1, 1))))
    assert refusal(DataError, lambda: command(inputs, out, FitOptions(), machine=machine)) == (
        f"the input changed while it was read\n  in: {path}\n  fix: run again when it is complete"
    )
    assert not out.exists()


def test_an_array_that_is_cut_short_meanwhile(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "a.npy", np.ones((1000, 8), np.float32))
    source = open_source(path, modality="a")
    os.truncate(path, path.stat().st_size // 2)
    assert refusal(DataError, lambda: list(source.chunks())) == (
        f"the file became shorter while it was read\n  in: {path}, rows 0 to 999"
    )


def test_a_scratch_file_that_cannot_be_written(
    inputs: list[Input], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(stream._Reordered, "_append", full)
    machine = Machine(tmp_dir=tmp_path)
    assert refusal(OutputError, lambda: usecases.fit(inputs, tmp_path / "out", FitOptions(), machine=machine)) == (
        f"cannot write a scratch file: No space left on device\n  in: {tmp_path}"
    )
    assert not (tmp_path / "out").exists()


def test_a_scratch_file_that_lost_what_was_written(
    inputs: list[Input], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = stream._Reordered._filled

    def cut(self: Any) -> Any:
        file = filled(self)
        file.truncate(10)
        return file

    monkeypatch.setattr(stream._Reordered, "_filled", cut)
    machine = Machine(tmp_dir=tmp_path)
    assert refusal(OutputError, lambda: usecases.fit(inputs, tmp_path / "out", FitOptions(), machine=machine)) == (
        f"a scratch file came back short\n  in: {tmp_path}"
    )
