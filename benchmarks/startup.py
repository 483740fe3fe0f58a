"""What a user waits for before any work: the help of the program, and a look at a large file.

Each is beside an interpreter that does nothing, in fresh processes and in turns. The large files hold one modality;
they are made one after the other, and removed unless `--keep` is given.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from measuring import (
    BYTES,
    Contender,
    Measured,
    catalogue,
    clear,
    costs,
    in_turns,
    machine,
    markdown,
    spread,
    work_folder,
)

DIM = 768
CONTAINERS = ("parquet", "h5", "npy")
MARKS = {"clear-cli --help": 0.3, "clear-cli inspect": 1.0}
"""Seconds that they may take."""


def table(measured: Mapping[str, list[Measured]]) -> str:
    """One row for each command; its median is held against the mark."""
    rows = []
    for row, (name, runs) in zip(costs(measured), measured.items(), strict=True):
        mark = next((mark for word, mark in MARKS.items() if name.startswith(word)), None)
        middle = sorted(one.wall for one in runs)[len(runs) // 2]
        row[1] = spread([one.wall for one in runs], 2)
        row[2] = spread([one.cpu for one in runs], 2)
        rows.append([*row, "" if mark is None else f"≤ {mark} s: {'met' if middle <= mark else 'missed'}"])
    return markdown(["", "wall, s", "processor, s", "peak memory, MB", "mark"], rows)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=float, default=10, help="of each large file, in GB")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--keep", action="store_true", help="leave the large files")
    parser.add_argument("--work", type=Path, metavar="DIR", help="catalogues; default benchmarks/.work")
    given = parser.parse_args()
    work = work_folder(given.work)
    out, program = work / "out-startup", [sys.executable, "-m", "clear_cli"]
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "clear-cli --help": [*program, "--help"],
        "clear-cli run --help": [*program, "run", "--help"],
    }
    measured = in_turns({name: Contender([command], out) for name, command in commands.items()}, given.runs)
    for container in CONTAINERS:
        made = catalogue(work, round(given.size * 1e9 / (BYTES * DIM)), {"image": DIM}, container)
        name = f"clear-cli inspect image.{container}, {made.size / 1e9:.0f} GB"
        command = [*program, "inspect", str(made.files()["image"])]
        measured |= in_turns({name: Contender([command], out)}, given.runs)
        if not given.keep:
            clear(made.folder)
    clear(out)
    print(f"{machine()}\n\n{table(measured)}")


if __name__ == "__main__":
    main()
