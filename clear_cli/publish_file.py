"""Atomic publication of one file: it is there whole, or as it was before, whatever happens."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from clear_cli.disk import output_error, sync
from clear_cli.errors import OutputError
from clear_cli.publish import refuse_overlap
from clear_cli.remote import is_remote, reachable


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
            self._check()
            beside = self.target.parent
            if is_remote(self.target):
                beside = Path(tempfile.gettempdir())
            else:
                beside.mkdir(parents=True, exist_ok=True)
            self.path = beside / f".{self.target.name}.{os.getpid()}-{secrets.token_hex(4)}.partial"
            self.path.touch(exist_ok=False)  # only the attempt tells whether it can be written
        return self

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)

    def write(self, writer: Callable[[Path], None]) -> None:
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
            self._check()
            if is_remote(self.target):
                self.target.fs.put(str(self.path), self.target.path)  # type: ignore[attr-defined]
                return
            sync(self.path)
            self.path.replace(self.target)
            sync(self.target.parent)

    def _check(self) -> None:
        link = not is_remote(self.target) and self.target.is_symlink()
        if link or (self.target.exists() and not self.target.is_file()):
            raise OutputError(f"{self.what} would replace what is not a file", where=self.target, fix=self.fix)
        if self.target.exists() and not self._overwrite:
            raise OutputError(f"{self.what} exists", where=self.target, fix="--overwrite")

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            with reachable(self.target, *([OSError] if is_remote(self.target) else [])):
                yield
        except OSError as error:
            raise output_error(error, self.target, self.fix) from error
