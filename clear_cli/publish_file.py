"""Atomic publication of one file: it is there whole, or as it was before, whatever happens."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

from clear_cli.disk import make_folders, output_error, refuse_overlap, sync
from clear_cli.errors import OutputError
from clear_cli.partial import IN_THE_WAY, fresh_partial, lock, partials, uninterrupted
from clear_cli.remote import is_remote, reachable, revision


class FilePublication:
    """A file in the making, which takes its place in one step or not at all.

        with FilePublication(target, what="the projector", option="--out", overwrite=False) as staging:
            staging.write(lambda path: ...)
            staging.publish()

    Leaving the block in any other way removes what was written and leaves the target as it was.

    Args:
        target: Where the file is to be.
        what: What it is called in errors.
        option: The option that names another place.
        overwrite: A file that is there may be replaced.
    """

    def __init__(self, target: Path, *, what: str, option: str, overwrite: bool) -> None:
        self.target, self.what, self.option, self._overwrite = target, what, option, overwrite
        self.fix = f"choose another {option}"

    def refuse_overlap(self, others: Iterable[Path], other: str = "an input") -> None:
        """Refuse, with a UsageError, a place that is an input (or another output), lies inside one or holds one."""
        refuse_overlap(self.target, others, what=self.what, other=other, fix=self.fix)

    def __enter__(self) -> Self:
        with self._reported():
            self._seen = self._check()
            if is_remote(self.target):
                beside = Path(tempfile.gettempdir(), self.target.name)
            else:
                beside = Path(os.path.realpath(self.target.parent), self.target.name)
                make_folders(beside.parent)
            for path in partials(beside):
                with suppress(OSError), ExitStack() as dead:
                    dead.callback(os.close, lock(path, os.O_RDWR))
                    path.unlink()
            with ExitStack() as made:
                with uninterrupted():
                    self.path, self._lock = _make(beside)
                    made.push(self.__exit__)
                made.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with uninterrupted():
            os.close(self._lock)
            self.path.unlink(missing_ok=True)

    def write(self, writer: Callable[[Path], object]) -> None:
        """Let the file be written, under another name.

        Raises:
            OutputError: The disk refuses.
        """
        with self._reported():
            writer(self.path)

    def publish(self) -> None:
        """Put the file in its place, durably.

        Raises:
            OutputError: The disk or the store refuses, or another file has appeared there meanwhile.
        """
        with self._reported():
            if is_remote(self.target):
                self._refuse_overtaken()
                self.target.fs.put(str(self.path), self.target.path)  # type: ignore[attr-defined]
                return
            sync(self.path)
            with ExitStack() as turn:
                folder = os.open(self.path.parent, os.O_RDONLY)
                turn.callback(os.close, folder)
                fcntl.flock(folder, fcntl.LOCK_EX)  # of two that look and replace, one does after the other
                self._refuse_overtaken()
                self.path.replace(self.target)
            sync(self.path.parent)

    def _refuse_overtaken(self) -> None:
        if self._check() != self._seen:
            raise OutputError(
                f"another run has written {self.what} meanwhile",
                where=self.target,
                fix=f"run again, or {self.fix}",
            )

    def _check(self) -> tuple[int | str, ...] | None:
        """What tells the file that is there, and may be replaced, from any other; None if there is none."""
        link = not is_remote(self.target) and self.target.is_symlink()
        if link or (self.target.exists() and not self.target.is_file()):
            raise OutputError(f"{self.what} would replace what is not a file", where=self.target, fix=self.fix)
        if not self.target.exists():
            return None
        if not self._overwrite:
            raise OutputError(f"{self.what} exists", where=self.target, fix="--overwrite")
        if is_remote(self.target):
            return tuple(revision(self.target).values())
        status = self.target.stat()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            with reachable(self.target, *([OSError] if is_remote(self.target) else [])):
                yield
        except OSError as error:
            raise output_error(error, self.target, self.fix) from error


def _make(target: Path) -> tuple[Path, int]:
    """An empty file beside the target, and its lock; only the attempt tells whether it can be written."""
    while True:
        path = fresh_partial(target)
        path.touch(exist_ok=False)
        try:
            return path, lock(path, os.O_RDWR)
        except IN_THE_WAY:  # a run that starts right now took it for dead: try again
            path.unlink(missing_ok=True)
