"""Does memory grow for as long as the product is used? One process works for half an hour, and its memory is watched.

Two kinds of use, one after the other: the Python functions called again and again on a small catalogue, as a service
does, and one run over many rows. What is held against the mark is the slope of the resident memory over the blocks of
rows that were read, by least squares, in the second half of each: the first is for what is loaded once, for caches, and
for the decoded rows that are kept until the memory granted is used. The rows of that run are wide, so that the byte
that it keeps of each item is next to nothing beside its block.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
from measuring import RANK, catalogue, clear, machine, markdown, work_folder

import clear_cli
from clear_cli.embeddings.stream import Aligned, Block

MARK = 1.0
"""MB that resident memory may grow by, per 1,000 blocks."""

SMALL, LARGE = 1_000, 500_000
NARROW = {"image": 128, "text": 96}
WIDE = {"image": 2048, "text": 256}
MEMORY = "1GiB"


@dataclass
class Watch:
    """Counts the blocks that are read while its own is open, and notes the resident memory in MB beside them."""

    each: bool = False
    blocks: int = 0
    readings: list[tuple[int, float]] = field(default_factory=list)

    def __enter__(self) -> Watch:
        original = self._original = Aligned.blocks

        def counted(aligned: Aligned) -> Generator[Block]:
            for block in original(aligned):
                yield block
                self.blocks += 1
                if self.each:
                    self.read()

        Aligned.blocks = counted  # type: ignore[method-assign]
        self.started = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        Aligned.blocks = self._original  # type: ignore[method-assign]
        self.seconds = time.monotonic() - self.started

    def read(self) -> None:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        self.readings.append((self.blocks, pages * os.sysconf("SC_PAGE_SIZE") / 1e6))

    def row(self, name: str) -> list[str]:
        """Of the table: what happened, and MB per 1,000 blocks in the second half."""
        half = self.readings[len(self.readings) // 2 :]
        slope = 1000 * statistics.linear_regression(*zip(*half, strict=True)).slope
        figures = [f"{self.blocks:,}", f"{self.seconds / 60:.1f}"]
        figures += [f"{reading[1]:,.0f}" for reading in (self.readings[0], half[0], half[-1])]
        return [name, *figures, f"{slope:+.2f}", "met" if slope < MARK else "missed"]


def again_and_again(work: Path, seconds: float, said: Callable[[str], None]) -> Watch:
    """Everything that the package offers, on paths and on arrays, until the time is over."""
    files, out = catalogue(work, SMALL, NARROW).files(), work / "out-soak"
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((2_000, 8))
    rows = {name: shared @ rng.standard_normal((8, 64)) + rng.standard_normal((2_000, 64)) for name in files}
    with Watch() as watch:
        for cycle in count(1):
            clear_cli.run(files, out / "run", memory=MEMORY)
            clear_cli.apply(out / "run", files, out=out / "applied")
            clear_cli.apply(clear_cli.fit(rows), rows)
            clear_cli.inspect(files["image"])
            with suppress(clear_cli.ClearError):  # a service meets wrong input, too
                clear_cli.apply(out / "run", {"image": files["text"]}, out=out / "wrong")
            clear(out)
            gc.collect()  # when it would run by itself is no matter here
            watch.read()
            if cycle > 3 and time.monotonic() - watch.started > seconds:
                break
            said(f"cycle {cycle}, {watch.blocks} blocks, {watch.readings[-1][1]:,.0f} MB")
    return watch


def at_length(work: Path, items: int) -> Watch:
    """One run over many rows, without a report."""
    made, out = catalogue(work, items, WIDE, "npy"), work / "out-soak"
    with Watch(each=True) as watch:
        clear_cli.run(made.files(), out, rank=RANK, report=False, memory=MEMORY)
    clear(out)
    return watch


def main() -> None:
    """Parse the command line, work, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=30, help="of calls again and again; the long run comes on top")
    parser.add_argument("--items", type=int, default=LARGE, help="of the long run")
    parser.add_argument("--work", type=Path, metavar="DIR", help="catalogues and outputs; default benchmarks/.work")
    given = parser.parse_args()
    work = work_folder(given.work)
    clear(work / "out-soak")

    def said(text: str) -> None:
        print(text, file=sys.stderr)

    rows = [
        again_and_again(work, 60 * given.minutes, said).row("again and again"),
        at_length(work, given.items).row(f"one run over {given.items:,} items"),
    ]
    print(f"{machine()}\n- asked: less than {MARK:g} MB per 1,000 blocks\n")
    head = ["", "blocks", "minutes", "first, MB", "halfway, MB", "last, MB", "MB per 1,000 blocks", "mark"]
    print(markdown(head, rows))


if __name__ == "__main__":
    main()
