"""Who is measured in speed.py: the product, the floor, the script, and parts of them; and what is asked of them."""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from measuring import RANK, Contender, Measured, benchmark, clear, costs, in_turns, markdown, product, spread

Files = Mapping[str, Path]
Runs = Mapping[str, Sequence[Measured]]

PRODUCT, FLOOR, SCRIPT = "product", "floor", "script"


@dataclass(frozen=True)
class Bench:
    """What all cases of a run share, and the contenders on given files.

    Attributes:
        work: Folder of catalogues and outputs.
        items: Of the usual catalogue; wide ones and those of the peers have a quarter.
        runs: Of each contender.
        threads: Of the product, the floor and the matrix product; the script and the peers take what there is.
        options: Of the product.
    """

    work: Path
    items: int
    runs: int
    threads: int
    options: Sequence[str]

    def product(self, files: Files, *, options: Sequence[str] | None = None, command: str = "run") -> Contender:
        """The product, with the options of the bench or others."""
        out = self._out(files, command, *(options or ()))
        return Contender([self._product(files, out / "run", options, command)], out)

    def pairs(self, files: Files) -> Contender:
        """The product on each pair of the files, one after the other."""
        out = self._out(files, "pairs")
        pairs = [{name: files[name] for name in pair} for pair in combinations(files, 2)]
        return Contender([self._product(pair, out / "-".join(pair)) for pair in pairs], out)

    def floor(self, files: Files, *options: str) -> Contender:
        """The bare job."""
        out = self._out(files, FLOOR, *options)
        given = ["--rank", RANK, "--threads", self.threads, *options]
        return Contender([benchmark("floor.py", *files.values(), out / "run", *given)], out)

    def script(self, files: Files) -> Contender:
        """What a user would write."""
        out = self._out(files, SCRIPT)
        return Contender([benchmark("script.py", *files.values(), out / "run", "--rank", RANK)], out)

    def gemm(self, dims: Sequence[int]) -> Contender:
        """The rate of the matrix product, which it prints."""
        return Contender([benchmark("gemm.py", *dims, "--threads", self.threads)], self.work / "out-gemm")

    def _product(
        self, files: Files, out: Path, options: Sequence[str] | None = None, command: str = "run"
    ) -> list[str]:
        given = self.options if options is None else options
        return product(files, out, *given, "--threads", str(self.threads), command=command)

    def _out(self, files: Files, *names: str) -> Path:
        """A folder that only this contender has."""
        catalogue = next(iter(files.values())).parent.name
        return self.work / "-".join(["out", *(name.strip("-") for name in names), catalogue])


@dataclass(frozen=True)
class Mark:
    """What is asked of the ratio of two wall times; without a bound it is only shown."""

    over: str
    under: str
    at_most: float | None = None
    at_least: float | None = None

    def row(self, measured: Runs) -> list[str]:
        """The ratios of wall time, processor time and memory, run by run, and what becomes of the mark."""
        pairs = list(zip(measured[self.over], measured[self.under], strict=True))
        walls = [a.wall / b.wall for a, b in pairs]
        return [
            f"{self.over} / {self.under}",
            spread(walls, 2),
            spread([a.cpu / b.cpu for a, b in pairs], 2),
            spread([a.peak / b.peak for a, b in pairs], 2),
            self.verdict(walls),
        ]

    def verdict(self, values: Sequence[float]) -> str:
        """The bound, and whether the median of the values keeps it."""
        middle = statistics.median(values)
        if self.at_most is not None:
            return f"≤ {self.at_most:g}: {'met' if middle <= self.at_most else 'missed'}"
        if self.at_least is not None:
            return f"≥ {self.at_least:g}: {'met' if middle >= self.at_least else 'missed'}"
        return ""


def compare(contenders: Mapping[str, Contender], marks: Sequence[Mark], runs: int) -> str:
    """Run all in turns: a table of costs and ratios, and how far product and script agree where both are there."""
    measured = in_turns(contenders, runs)
    head = ["", "wall, s", "processor, s", "peak memory, MB", "mark"]
    text = markdown(head, [[*row, ""] for row in costs(measured)] + [mark.row(measured) for mark in marks])
    if SCRIPT in contenders:
        ours, theirs = contenders[PRODUCT].out / "run" / "embeddings", contenders[SCRIPT].out / "run"
        agreement = subprocess.run(benchmark("agree.py", ours, theirs), check=True, capture_output=True, text=True)
        text += f"\n\n{agreement.stdout.strip()}"
    clear(*(one.out for one in contenders.values()))
    return text
