"""The means to work with: threads, memory, scratch space, who is told how far it is. None of it changes a value."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from clear_cli.errors import UsageError


class Progress(Protocol):
    """Where a use-case says how far it is."""

    def say(self, text: str, *, detail: bool = False) -> None:
        """Tell something that is worth a line in a log, or of one with every detail."""
        ...

    def stage(self, name: str, rows: int) -> AbstractContextManager[Callable[[int], None]]:
        """Enter a stage of `rows` rows; the value is called with the number of rows done since the last call."""
        ...


class Silent:
    """Progress that nobody watches."""

    def say(self, text: str, *, detail: bool = False) -> None:
        """Say nothing."""

    @contextmanager
    def stage(self, name: str, rows: int) -> Generator[Callable[[int], None]]:  # noqa: ARG002
        """Enter a stage."""
        yield lambda _: None


@dataclass(frozen=True)
class Machine:
    """What the work may use; nothing here changes a value.

    Attributes:
        threads: Threads for arithmetic.
        memory: Bytes that the process may take.
        tmp_dir: Folder for scratch files.
        progress: Who is told how far it is.
    """

    threads: int = field(default_factory=lambda: granted_threads())
    memory: int = field(default_factory=lambda: granted_memory() // 2)
    tmp_dir: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    progress: Progress = field(default_factory=Silent)

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise UsageError(f"--threads {self.threads} is less than 1", flags=["--threads"])
        if not self.tmp_dir.is_dir():
            problem = "the folder for scratch files does not exist"
            raise UsageError(problem, where=self.tmp_dir, fix="--tmp-dir FOLDER", flags=["--tmp-dir"])


def granted_threads() -> int:
    """Processors this process may use: its affinity, and the quota of its cgroup where there is one."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _cgroups():
        with suppress(OSError, ValueError):  # no such file, or no quota ("max")
            quota, period = (folder / "cpu.max").read_text().split()
            processors = max(1, min(processors, -(-int(quota) // int(period))))
    return processors


def granted_memory() -> int:
    """Bytes of memory this process may use: what the machine has, and the limits of its cgroups where there are any."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for folder in _cgroups():
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # no such file, or no limit ("max")
                limits.append(int((folder / name).read_text()))
    return min(limits)


def _cgroups() -> list[Path]:
    """The folders of the cgroups of this process, from its own up to the root, for version 2 and for memory in 1."""
    folders = []
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):
                root = Path("/sys/fs/cgroup", controllers)
                own = root / path.lstrip("/")
                folders += [own, *(parent for parent in own.parents if parent.is_relative_to(root))]
    return folders


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


def read_size(text: str) -> int:
    """Bytes from `1GiB`, `500M`, `2GB` and the like: with an i, and without a b, powers of 1024, else of 1000.

    Raises:
        UsageError: Anything else.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise UsageError(f'"{text}" is not a size', fix="--memory 4GiB", flags=["--memory"])
    number, unit, binary = found.groups()
    base = 1000 if text.strip().lower().endswith("b") and not binary else 1024
    return int(float(number) * base ** " kmgt".index(unit.lower() or " "))
