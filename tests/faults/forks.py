"""Commands that something happens to at a step: a process that has imported everything, and a fork for each command.

The audit hook of a fork counts its steps: each opening, making, renaming and removing of a file or folder below the
one that is watched, by any thread, and each look for the call that exchanges two directories. Before the n-th step the
fork sends itself a signal, or waits for another command. The hook lives here; the program knows nothing of it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

_ROOT = Path(__file__).parents[2]
_STEPS = {"open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}


class Ended(NamedTuple):
    """How a command ended: the exit code is that of Python's subprocess, and steps are not known of the killed."""

    code: int
    steps: int
    out: str
    err: str


class Forks:
    """Runs commands, one at a time. Use as a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1"},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def __call__(
        self,
        *arguments: Any,
        watched: Path,
        at: int | str = 0,
        number: int = signal.SIGKILL,
        meanwhile: str = "",
        file_bytes: int = 0,
        user: int = 0,
    ) -> Ended:
        """Run a command.

        Args:
            arguments: Of clear-cli.
            watched: The folder whose steps count.
            at: The number of the step before which something happens, 0 for never; or the end of its path.
            number: The signal that is sent.
            meanwhile: A line for the shell that is run instead.
            file_bytes: No file may become larger; 0 for any size.
            user: Who runs it; 0 for the user of the tests.
        """
        asked = {"arguments": [str(one) for one in arguments], "watched": str(watched), "at": at}
        asked |= {"number": int(number), "meanwhile": meanwhile, "file_bytes": file_bytes, "user": user}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        return Ended(*json.loads(self._process.stdout.readline()))


class _Steps:
    """Counts steps, and lets it happen."""

    def __init__(self, watched: str, at: int | str, happening: Callable[[], object]) -> None:
        self._watched, self._at, self._happening = os.path.realpath(watched), at, happening
        self.count = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._counts(event, arguments):
            self.count += 1
            if self._at in (self.count, self._named(arguments)):
                self._at = 0
                self._happening()

    def _named(self, arguments: tuple[Any, ...]) -> str | None:
        at = self._at
        return at if isinstance(at, str) and str(arguments[0]).endswith(at) else None

    def _counts(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "ctypes.dlsym":
            return bool(arguments[1] == "renameat2")
        if event not in _STEPS or not isinstance(arguments[0], str | bytes | os.PathLike):
            return False
        path = os.fsdecode(arguments[0])
        # Names below an open folder come without it; only what is watched is removed that way.
        return path[:1] != os.sep or path.startswith(self._watched)


def _fork(asked: dict[str, Any]) -> Ended:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as steps:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            _command(asked, steps.fileno())
        _, status = os.waitpid(child, 0)
        for file in (out, err, steps):
            file.seek(0)
        return Ended(
            os.waitstatus_to_exitcode(status), int(steps.read() or 0), out.read().decode(), err.read().decode()
        )


def _command(asked: dict[str, Any], report: int) -> None:
    from clear_cli import __main__  # imported before the fork

    def happen() -> None:
        if asked["meanwhile"]:
            subprocess.run(asked["meanwhile"], shell=True, check=True)
        else:
            os.kill(os.getpid(), asked["number"])

    if asked["file_bytes"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["file_bytes"],) * 2)
    if asked["user"]:
        os.setuid(asked["user"])
    steps = _Steps(asked["watched"], asked["at"], happen)
    sys.argv = ["clear-cli", *asked["arguments"]]
    sys.addaudithook(steps)
    try:
        __main__.main()
    except SystemExit as end:
        sys.stdout.flush()
        os.write(report, str(steps.count).encode())
        os._exit(end.code if isinstance(end.code, int) else 1)
    finally:
        os._exit(70)


def main() -> None:
    """Answer each line of stdin, a command, with how it ended."""
    # What the commands import when they are called; nothing of it may start a thread, for the forks would lack it.
    for name in ("__main__", "report.render", "workflow.applying", "workflow.merging", "workflow.usecases"):
        importlib.import_module(f"clear_cli.{name}")
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(_fork(json.loads(line))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
