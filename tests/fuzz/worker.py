"""One process that runs commands on damaged inputs: what it is at, what it found."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from types import FrameType

from clear_cli import __main__ as program
from clear_cli.embeddings import hdf5_file
from tests.fuzz.corpus import SEEDS, Seed, write_corpus
from tests.fuzz.mutations import ABSOLUTE, damage

SECONDS = 20
GROWTH = 1500 << 20
"""Bytes that a command may use: its budget, and what interpreter and libraries take."""
GOOD = frozenset({0, 2, 3, 4, 5})


class TooLong(BaseException):
    """A command that does not end."""


def main(current: str, numbers: Sequence[str]) -> None:
    """Run these inputs; each is named in the file `current` while it runs, and findings are printed as JSON lines."""
    faulthandler.enable()
    hdf5_file.PATIENCE = SECONDS
    warnings.simplefilter("error")
    signal.signal(signal.SIGALRM, _too_long)
    first, last = map(int, numbers)
    with sandbox() as folder, Path(current).open("w") as here:
        for number in range(first, last):
            here.seek(0)
            here.write(f"{number:>12}")
            here.flush()
            for finding in examine(folder, number):
                sys.stdout.write(json.dumps({"number": number, **finding}) + "\n")
                sys.stdout.flush()


@contextlib.contextmanager
def sandbox() -> Iterator[Path]:
    """A folder with the sound corpus, of which `examine` makes damaged copies beside it."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name).resolve()
        (folder / "sound").mkdir()
        os.chdir(folder / "sound")
        write_corpus(folder / "sound", lambda arguments: call(arguments)[0])
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + GROWTH, hard))
        try:
            yield folder
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
            os.chdir(before)


def examine(folder: Path, number: int) -> Iterator[dict[str, object]]:
    """Damage one file as its number says, run what reads it; what should not have happened."""
    random = Random(number)
    seed = SEEDS[number % len(SEEDS)]
    work = folder / "work"
    shutil.copytree(folder / "sound", work)
    os.chdir(work)
    try:
        damage(work / seed.name, seed.kind, random)
        before = _listing(folder)
        for command in seed.commands:
            for problem in _problems(command, folder, before):
                yield {"seed": seed.name, "command": " ".join(command), "problem": problem}
    finally:
        os.chdir(folder)
        shutil.rmtree(work)


def _problems(command: Sequence[str], folder: Path, before: frozenset[str]) -> Iterable[str]:
    signal.alarm(SECONDS)
    try:
        code, text = call(command)
    except TooLong:
        yield f"it took more than {SECONDS} s"
        return
    except BaseException:  # whatever it is, it is a finding
        yield traceback.format_exc(limit=-6)
        return
    finally:
        signal.alarm(0)
    if code not in GOOD or (code and not text.startswith("error: ")):
        yield f"exit code {code}, and: {text[:500]}"
    strangers = {one for one in _listing(folder) - before if not one.startswith(("work/out", "work/clean"))}
    if strangers:
        yield f"files that were not there: {sorted(strangers)[:5]}"
    if code and code != 5 and (folder / "work/out").exists():
        yield f"exit code {code}, and an output all the same"


def call(arguments: Sequence[str]) -> tuple[int, str]:
    """Run a command line in this process: exit code, and what is on stderr."""
    before, sys.argv = sys.argv, ["clear-cli", *arguments]
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            return program._exit_code(), err.getvalue()
    finally:
        sys.argv = before


def _listing(folder: Path) -> frozenset[str]:
    outside = (str(one) for one in Path("/").glob(f"{ABSOLUTE[1:]}*"))
    return frozenset((*(str(one.relative_to(folder)) for one in folder.rglob("*")), *outside))


def _too_long(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise TooLong


def seed_of(number: int) -> Seed:
    """The file that an input is made from."""
    return SEEDS[number % len(SEEDS)]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
