"""The process around a command: signals, memory, and the exit code. `python -m clear_cli` and `clear-cli`."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from contextlib import suppress
from types import FrameType

try:
    import typer

    from clear_cli.cli import app
    from clear_cli.cli.complaints import usage_error
    from clear_cli.cli.console import Stopped, print_error
    from clear_cli.errors import ClearError
except KeyboardInterrupt:  # before the handlers of `main` are there
    sys.stderr.write("stopped\n")
    raise SystemExit(128 + signal.SIGINT) from None

M_ARENA_MAX = -8
"""A parameter of mallopt(3)."""


def _ignore(number: int, frame: FrameType | None) -> None:
    """Unlike SIG_IGN without a word on stderr, where the signal came just before it is ignored."""


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    for other in (signal.SIGTERM, signal.SIGINT):
        signal.signal(other, _ignore)  # the first one cleans up, and a second must not cut that short
    raise Stopped(number)


def _settle_in() -> None:
    """What has to be said before libraries are loaded, or once for the process.

    Freed blocks go back to the system, of which glibc keeps many per thread. BLAS starts no threads of its own, which
    would spin for a while whenever they have nothing to do: each call runs on the thread that makes it.
    """
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    gc.freeze()
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 2)


def main() -> None:
    """Entry point: run a command and turn whatever happens into its exit code."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    _settle_in()
    sys.exit(_exit_code())


def _exit_code() -> int:
    try:
        return _command()
    except Stopped as stopped:
        if stopped.exit_code != 128 + signal.SIGPIPE:
            with suppress(Stopped):  # nobody reads stderr, either
                print_error("stopped")
        return stopped.exit_code
    except SystemExit as end:  # Typer's own way out where the reader of a help text has gone
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        return 128 + signal.SIGPIPE


def _command() -> int:
    try:
        code = app(standalone_mode=False, prog_name="clear-cli")
        return code if isinstance(code, int) else 0
    except ClearError as error:
        print_error(f"error: {error}")
        return error.exit_code
    except typer.TyperException as error:
        problem = usage_error(error)
        print_error(f"error: {problem}")
        return problem.exit_code


if __name__ == "__main__":
    main()
