"""Fresh processes, measured from outside: wall time, processor time and peak memory.

Nothing heavy is imported here on purpose: on Linux the peak of a child starts at that of the process that
started it, so the process that measures has to stay small.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "benchmarks" / ".work"
LIBRARIES = ("numpy", "scipy", "pyarrow")


@dataclass(frozen=True)
class Measured:
    """One run of one command.

    Attributes:
        wall: Seconds from start to end.
        cpu: Seconds of processor time, user and system, all threads.
        peak: Peak resident memory in bytes.
    """

    wall: float
    cpu: float
    peak: int


def measure(command: Sequence[str]) -> Measured:
    """Run a command to its end.

    Raises:
        SystemExit: It failed; its output is shown.
    """
    # Installed programs have their byte code cached; a setting for development must not make every run compile it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    os.sync()  # what earlier runs left to be written is not this run's business
    with (WORK / "output.log").open("w+b") as log:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            text = log.read().decode(errors="replace")
            raise SystemExit(f"{' '.join(command)}\nfailed with exit code {process.returncode}:\n{text}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)


def clear(*paths: Path) -> None:
    """Remove output directories."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


def benchmark(name: str, *arguments: object) -> list[str]:
    """The command line of another file of this folder."""
    return [sys.executable, str(ROOT / "benchmarks" / name), *map(str, arguments)]


def product(modalities: dict[str, Path], out: Path, *options: str) -> list[str]:
    """The command line of `clear-cli run`."""
    inputs = [part for name, path in modalities.items() for part in ("-m", f"{name}={path}")]
    return [sys.executable, "-m", "clear_cli", "run", *inputs, "--out", str(out), *options]


def catalogue(items: int, folder: Path, *, shuffled: bool = False) -> Path:
    """The folder of a synthetic catalogue, made in a process of its own if it is not there."""
    target = folder / f"catalogue-{items}"
    options = ["--shuffle"] if shuffled else []
    subprocess.run(benchmark("generate.py", target, "--items", items, *options), check=True, stdout=sys.stderr)
    return target


def work_folder(given: Path | None) -> Path:
    """The folder to work in, made if it is not there."""
    WORK.mkdir(parents=True, exist_ok=True)
    folder = (given or WORK).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def spread(values: Sequence[float], digits: int = 1, scale: float = 1.0) -> str:
    """`median (min..max)`."""
    low, middle, high = (f(values) / scale for f in (min, statistics.median, max))
    return f"{middle:,.{digits}f} ({low:,.{digits}f}..{high:,.{digits}f})"


def machine() -> str:
    """The machine and the versions, as a Markdown list."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return "\n".join(
        [
            f"- machine: {cores} cores of {_processor()}, {memory:.0f} GiB memory, {platform.system()}",
            f"- versions: clear_cli {version('clear-cli')}, Python {platform.python_version()}, {libraries}",
        ]
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
