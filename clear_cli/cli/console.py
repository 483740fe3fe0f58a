"""The only writer to stdout and stderr: the result goes to one, everything else to the other.

On a terminal, progress is a bar; elsewhere it is a log line now and then. Quiet silences both, never the result,
warnings or errors.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from clear_cli.errors import OutputError

LOG_SECONDS = 30.0


class Stopped(BaseException):
    """A signal, or the end of the pipe, ends the command. Not an Exception, so that it unwinds through everything."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class Console:
    """Where a command says things.

    Args:
        as_json: The result is printed as one JSON object instead of text.
        quiet: No progress, no log.
        verbose: A line for each stage that begins.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose

    def result(self, value: Mapping[str, Any], text: Callable[[Mapping[str, Any]], str]) -> None:
        """Print the result: `value` as JSON, or what `text` makes of it."""
        shown = json.dumps(value, allow_nan=False) if self.as_json else text(value)
        _print(shown.rstrip("\n"), sys.stdout)

    def warnings(self, warnings: Sequence[str]) -> None:
        """Print warnings, one line each; they are part of the result, so quiet does not silence them."""
        for warning in warnings:
            print_error(f"warning: {warning}")

    def say(self, text: str, *, detail: bool = False) -> None:
        """Print a line of the log; a detail only to who wants to know each step."""
        if self.verbose or not (self.quiet or detail):
            print_error(text)

    @contextmanager
    def stage(self, name: str, rows: int) -> Generator[Callable[[int], None]]:
        """Show how far a stage of `rows` rows is; the value is called with the rows done since the last call."""
        if self.verbose:
            print_error(f"{name}: {rows:,} rows")
        if self.quiet:
            yield lambda _: None
        elif sys.stderr.isatty():
            with _bar(name, rows) as advance:
                yield advance
        else:
            yield _log(name, rows)


def print_error(text: str) -> None:
    """Write a line to stderr. What cannot be said there, as the disk of a log is full, cannot be said anywhere."""
    with suppress(OutputError):
        _print(text, sys.stderr)


def _print(text: str, stream: TextIO) -> None:
    """Write a line. Raises Stopped where the reader has closed the pipe, and an OutputError where the disk refuses."""
    try:
        stream.write(text + "\n")
        stream.flush()
    except OSError as error:
        # Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if isinstance(error, BrokenPipeError):
            raise Stopped(signal.SIGPIPE) from None
        raise OutputError(f"cannot print the result: {(error.strerror or str(error)).lower()}") from error


@contextmanager
def _bar(name: str, rows: int) -> Generator[Callable[[int], None]]:
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Terminal(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=rows, speed="")
        started, done = time.monotonic(), 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            progress.update(task, completed=done, speed=_speed(done, started))

        yield advance


def _log(name: str, rows: int) -> Callable[[int], None]:
    started = logged = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, logged
        done += count
        now = time.monotonic()
        if now - logged >= LOG_SECONDS or (done == rows and logged != started):
            logged = now
            print_error(f"{name}: {done:,} of {rows:,} rows, {_speed(done, started)}")

    return advance


def _speed(done: int, started: float) -> str:
    return f"{done / max(time.monotonic() - started, 1e-3):,.0f} rows/s"
