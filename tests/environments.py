"""Environments of real consumers and peers, built on demand from pinned requirements, and calls into them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pytest

CALLS = Path(__file__).with_name("calls.py")
CACHE = CALLS.parents[1] / ".venv-consumers"


@dataclass(frozen=True)
class Sight:
    """What a script saw: the ids in its order, the embeddings in its type, and other facts."""

    ids: list[Any]
    embeddings: npt.NDArray[Any]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Script:
    """A script, and the interpreter of the environment that it runs in."""

    script: Path
    python: Path
    scratch: Path

    def call(self, *calls: tuple[str, dict[str, Any]]) -> list[Sight]:
        """Call functions of the script one after the other, in one process; what the answering ones saw."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as name:
            folder = Path(name)
            answers = [folder / f"answer-{number}.npz" for number in range(len(calls))]
            todo = [
                {"function": function, "arguments": arguments, "answer": answer}
                for (function, arguments), answer in zip(calls, answers, strict=True)
            ]
            (folder / "calls.json").write_text(json.dumps(todo, default=str))
            # Isolated, so that neither this project nor a script named like what it imports can be imported.
            result = subprocess.run(
                [self.python, "-I", CALLS, self.script, folder / "calls.json"],
                cwd=folder, env=os.environ | {"HOME": name, "HF_HOME": name}, capture_output=True, text=True,
                check=False, timeout=300,
            )  # fmt: skip
            assert result.returncode == 0, f"{self.script.stem} failed:\n{result.stderr[-4000:]}"
            return [_read(answer) for answer in answers if answer.exists()]


def _read(answer: Path) -> Sight:
    with np.load(answer) as file:
        return Sight(file["ids"].tolist(), file["embeddings"], json.loads(str(file["facts"])))


def unavailable(reason: str) -> NoReturn:
    """Skip, but fail in CI, where everything has to be tested."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def environment_of(requirements: Path) -> Path:
    """The interpreter of an environment, which is built if there is none of these requirements."""
    name = requirements.stem
    target, ready = CACHE / name, CACHE / name / ".requirements"
    python = target / "bin/python"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if not ready.exists() or ready.read_text() != wanted:
        shutil.rmtree(target, ignore_errors=True)
        options = ["--quiet", "--disable-pip-version-check", "-r", str(requirements)]
        install = [str(python), "-m", "pip", "install", *options]
        for command in ([sys.executable, "-m", "venv", str(target)], install):
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode:
                last = (result.stderr.strip() or result.stdout.strip()).splitlines()[-1:]
                unavailable(f"the environment {name} cannot be built: {' '.join(last)}")
        ready.write_text(wanted)
    return python
