"""The code blocks of a page, and how each is run.

`sh` and `python` blocks of a page run in order in one directory; a `text` block is what the block before it printed,
where `...` stands for anything. A comment just above a block says otherwise:

    <!-- not run: WHY -->      it is only shown
    <!-- file: NAME -->        it is a file that later blocks use
    <!-- exits with CODE -->   a shell block that is meant to fail
    <!-- needs: PROGRAM -->    it needs a program that is not everywhere
    <!-- in: ENVIRONMENT -->   Python of a consumer, in an environment of its own
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.environments import environment_of, unavailable

REQUIREMENTS = Path(__file__).parents[1] / "consumers/requirements"
FENCE = re.compile(
    r"(?:^ *<!-- (?P<mark>[^>]*) -->\n+)?^(?P<indent> *)(?P<fence>```+|~~~+) *(?P<language>[^\n]*)\n"
    r"(?P<text>.*?)^(?P=indent)(?P=fence)\s*?$",
    re.MULTILINE | re.DOTALL,
)
MARKS = ("not run: ", "file: ", "exits with ", "needs: ", "in: ")


@dataclass(frozen=True)
class Block:
    """One block: where it is, its language, its text, and what the comment above it says (name and value)."""

    line: int
    language: str
    text: str
    mark: str
    value: str

    @property
    def explained(self) -> bool:
        """Whether it is run, compared or written, or says why not."""
        if self.mark:
            return bool(self.value) and (self.mark in ("not run: ", "file: ") or self.language in ("sh", "python"))
        return self.language in ("sh", "python", "text")


def blocks_of(page: Path) -> list[Block]:
    source = page.read_text(encoding="utf-8")
    found = []
    for one in FENCE.finditer(source):
        mark = next((mark for mark in MARKS if (one["mark"] or "").startswith(mark)), "")
        value = (one["mark"] or "").removeprefix(mark)
        line = source.count("\n", 0, one.start("fence")) + 1
        found.append(Block(line, one["language"].strip(), textwrap.dedent(one["text"]), mark, value))
    return found


@dataclass
class Page:
    """A page that is being run: its directory, what Python knows by now, and what the last block printed."""

    name: str
    folder: Path
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    printed: str | None = None

    def run(self, block: Block) -> None:
        where = f"{self.name}:{block.line}"
        if block.mark == "not run: ":
            self.printed = None
        elif block.mark == "file: ":
            (self.folder / block.value).write_text(block.text, encoding="utf-8")
        elif block.mark == "in: ":
            python = environment_of(REQUIREMENTS / f"{block.value}.txt")
            self._call([str(python), "-I", "-c", block.text], 0, where)
        elif block.language == "text":
            assert self.printed is not None, f"{where}: nothing was run whose output this could be"
            assert is_shown(block.text, self.printed), f"{where} shows\n{block.text}\nbut it is\n{self.printed}"
        elif block.language == "python":
            self._python(block, where)
        elif block.mark != "needs: " or shutil.which(block.value):
            self._shell(block, where)
        else:
            unavailable(f"{where} needs {block.value}")

    def _shell(self, block: Block, where: str) -> None:
        command = ["bash", "-euo", "pipefail", "-c", block.text]
        self._call(command, int(block.value) if block.mark == "exits with " else 0, where)

    def _call(self, command: list[str], expected: int, where: str) -> None:
        # A make that runs the tests must not have the one of a page say which directory it enters.
        outside = {
            name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
        }
        environment = outside | {"PYTHONUNBUFFERED": "1", "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        result = subprocess.run(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert result.returncode == expected, f"{where} exits with {result.returncode}:\n{result.stdout}"
        self.printed = result.stdout

    def _python(self, block: Block, where: str) -> None:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.chdir(self.folder):
            exec(compile(block.text, where, "exec", dont_inherit=True), self.names)
        self.printed = printed.getvalue()


def is_shown(shown: str, printed: str) -> bool:
    """Whether the output is as shown, where `...` stands for anything; spaces at the end of a line are nothing."""
    wanted, got = ("\n".join(map(str.rstrip, text.strip().splitlines())) for text in (shown, printed))
    return re.fullmatch(".*?".join(map(re.escape, wanted.split("..."))), got, re.DOTALL) is not None


def put_on_path(folder: Path) -> None:
    """Programs by the names that a reader has them under, of the environment that runs this."""
    folder.mkdir()
    for name, arguments in {"clear-cli": "-m clear_cli ", "python": ""}.items():
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n')
        (folder / name).chmod(0o755)
