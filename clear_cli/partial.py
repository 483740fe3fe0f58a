"""Hidden names of what is in the making, and the locks that tell the living from the dead.

What will take the place of `clean` is made beside it, as `.clean.<pid>-<random>.partial`. Its run holds a lock on it
for as long as it lives, however it ends: what can be locked was left by a run that died. (The number of a process
would not do: it is given out again, and means nothing on another host.)
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

IN_THE_WAY = (FileNotFoundError, BlockingIOError)
"""What `lock` raises where another run was quicker: the path is gone, or the lock is taken."""


def fresh_partial(target: Path) -> Path:
    """A hidden name beside a target that nobody has."""
    return target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")


def partials(target: Path) -> list[Path]:
    """Everything beside a target that bears such a name."""
    name = re.compile(re.escape(f".{target.name}.") + r"\d+-[0-9a-f]{8}\.partial")
    return sorted(path for path in target.parent.glob(".*.partial") if name.fullmatch(path.name))


def lock(path: Path, flags: int) -> int:
    """An open descriptor, which holds the lock; BlockingIOError if another run does, or replaced the path."""
    descriptor = os.open(path, flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise BlockingIOError(errno.EWOULDBLOCK, "replaced before it was locked")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def uninterrupted() -> Generator[None]:
    """Let SIGINT and SIGTERM wait until the block is left; in the main thread, for no other one gets them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        caught.append(number)

    handlers = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if caught:
            signal.raise_signal(caught[0])
