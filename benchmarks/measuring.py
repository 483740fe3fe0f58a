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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Timer

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "benchmarks" / ".work"
LIBRARIES = ("numpy", "scipy", "pyarrow", "h5py")

RANK = 16
BARE = ("--memory", "1GiB", "--rank", str(RANK), "--no-report", "-q")
"""What the product is told where it is measured against a mark: the same work as the floor."""

DIMS = {"image": 768, "text": 384}
BYTES = 4
"""Of a value: everything is float32."""


@dataclass(frozen=True)
class Measured:
    """One run of one command, or of several one after the other.

    Attributes:
        wall: Seconds from start to end.
        cpu: Seconds of processor time, user and system, all threads.
        peak: Peak resident memory in bytes.
        output: What it printed.
    """

    wall: float
    cpu: float
    peak: int
    output: str = ""

    def __add__(self, other: Measured) -> Measured:
        """The one after the other: times add, the higher peak counts."""
        return Measured(
            self.wall + other.wall, self.cpu + other.cpu, max(self.peak, other.peak), self.output + other.output
        )


@dataclass(frozen=True)
class Contender:
    """Commands that are measured as one.

    Attributes:
        commands: They run one after the other.
        out: The folder they write into, which is made anew for each run.
        limit: Seconds after which one of them is given up.
    """

    commands: Sequence[Sequence[str]]
    out: Path
    limit: float | None = None

    def run(self) -> Measured:
        clear(self.out)
        self.out.mkdir(parents=True)
        return sum((measure(command, self.limit) for command in self.commands), Measured(0, 0, 0))


class Failed(SystemExit):
    """A command that was to be measured failed; its output is in the message."""


def measure(command: Sequence[str], limit: float | None = None) -> Measured:
    """Run a command to its end.

    Raises:
        Failed: It failed, or took longer than `limit` seconds.
    """
    # Installed programs have their byte code cached; a setting for development must not make every run compile it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    os.sync()  # what earlier runs left to be written is not this run's business
    with (WORK / "output.log").open("w+b") as log:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environment)
        timer = Timer(limit or 1e6, process.kill)
        timer.daemon = True
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        text = log.read().decode(errors="replace")
    if process.returncode:
        late = f" after {wall:.0f} s" if limit and wall >= limit else ""
        raise Failed(f"{' '.join(command)}\nfailed with exit code {process.returncode}{late}:\n{text}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit, text)


def in_turns(contenders: Mapping[str, Contender], runs: int) -> dict[str, list[Measured]]:
    """Run all in turns, every other turn in reverse order, after a turn that does not count.

    Returns:
        Per contender, its runs; those of one number were one after the other.
    """
    measured: dict[str, list[Measured]] = {name: [] for name in contenders}
    for turn in range(runs + 1):
        for name in list(contenders) if turn % 2 else reversed(list(contenders)):
            one = contenders[name].run()
            print(f"{name}: {one.wall:.1f} s" + ("" if turn else " (warm-up)"), file=sys.stderr)
            if turn:
                measured[name].append(one)
    return measured


def clear(*paths: Path) -> None:
    """Remove folders."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


def benchmark(name: str, *arguments: object, python: Path | None = None) -> list[str]:
    """The command line of another file of this folder."""
    return [str(python or sys.executable), str(ROOT / "benchmarks" / name), *map(str, arguments)]


def product(modalities: Mapping[str, Path], out: Path, *options: str, command: str = "run") -> list[str]:
    """The command line of `clear-cli run`; NPY files have their ids beside them where there is an `ids.txt`."""
    inputs = [part for name, path in modalities.items() for part in ("-m", f"{name}={path}")]
    for name, path in modalities.items():
        if path.suffix == ".npy" and (path.parent / "ids.txt").exists():
            inputs += ["--ids", f"{name}={path.parent / 'ids.txt'}"]
    return [sys.executable, "-m", "clear_cli", command, *inputs, "--out", str(out), *options]


@dataclass(frozen=True)
class Catalogue:
    """A synthetic catalogue: which modalities of how many items, in which container (see generate.py)."""

    folder: Path
    items: int
    dims: Mapping[str, int]
    container: str

    def files(self, *names: str, shuffled: bool = False) -> dict[str, Path]:
        """Per modality (of those named, else of all) its file; shuffled: that of the text in another order."""
        other = {"text": "text_shuffled"} if shuffled else {}
        return {name: self.folder / f"{other.get(name, name)}.{self.container}" for name in names or self.dims}

    @property
    def size(self) -> int:
        """Bytes of its embeddings."""
        return self.items * BYTES * sum(self.dims.values())


def catalogue(
    work: Path, items: int, dims: Mapping[str, int] = DIMS, container: str = "parquet", *, shuffled: bool = False
) -> Catalogue:
    """A catalogue in a folder of its own below `work`, made in a process of its own if it is not there."""
    sizes = [f"{name}={dim}" for name, dim in dims.items()]
    folder = work / f"catalogue-{container}-{items}-{'-'.join(sizes)}"
    made = Catalogue(folder, items, dims, container)
    need(work, 0 if folder.exists() else made.size)
    options = ["--container", container, "--modalities", *sizes, *(["--shuffle"] if shuffled else [])]
    subprocess.run(benchmark("generate.py", folder, "--items", items, *options), check=True, stdout=sys.stderr)
    return made


def need(folder: Path, size: float) -> None:
    """Stop if there is not so much room in a folder, and a tenth more."""
    free = shutil.disk_usage(folder).free
    if free < 1.1 * size:
        raise SystemExit(f"{folder} needs {1.1 * size / 1e9:.0f} GB of free disk, and has {free / 1e9:.0f} GB")


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


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column is text, the others are figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def costs(measured: Mapping[str, Sequence[Measured]]) -> list[list[str]]:
    """Rows of a table: per contender wall time and processor time in seconds, and peak memory in MB."""
    return [
        [
            name,
            spread([one.wall for one in runs]),
            spread([one.cpu for one in runs]),
            spread([one.peak for one in runs], 0, 1e6),
        ]
        for name, runs in measured.items()
    ]


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """The machine and the versions, as a Markdown list."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return "\n".join(
        [
            f"- machine: {cores()} cores of {_processor()}, {memory:.0f} GiB memory, {platform.system()}",
            f"- versions: clear_cli {version('clear-cli')}, Python {platform.python_version()}, {libraries}",
        ]
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
