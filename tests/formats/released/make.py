"""Write what this version leaves on a user's disk, and what it makes of it, into a folder called like the version.

    python tests/formats/released/make.py

Run once for each release, and never again for it: later versions have to read these files as they are. What the
commands print and write today is kept beside them, for test_released.py to compare.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from clear_cli import __version__

HERE = Path(__file__).parent
KEPT = ("projector.safetensors", "diagnostics.json", "manifest.json")
OPTIONS = ("--directions", "correlation", "--removal", "oblique", "--strength", "text=0.5", "--rank", "2")


def clear(*arguments: Any) -> Any:
    """Run a command in the current folder: what it printed as JSON."""
    command = [sys.executable, "-m", "clear_cli", *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def catalogue(items: int = 240) -> dict[str, np.ndarray]:
    """Two modalities that share three directions; some texts are missing, and some pictures are a filler."""
    rng = np.random.default_rng(1)
    common = rng.normal(size=(items, 3)) * (3, 2, 1)
    sides = {"image": 6, "text": 5}
    rows = {name: common @ rng.normal(size=(3, d)) + rng.normal(size=(items, d)) + 1 for name, d in sides.items()}
    rows["text"][::40] = 0
    rows["image"][5:200:10] = 0.25
    return {name: one.astype(np.float32) for name, one in rows.items()}


def inputs(names: Iterable[str], ending: str = "") -> list[str]:
    return [part for name in names for part in ("-m", f"{name}={name}{ending}.npy")]


def write(target: Path) -> None:
    """Fill a folder, from within an empty one."""
    rows = catalogue()
    for name, one in rows.items():
        np.save(f"{name}.npy", one)
        np.save(f"{name}-1.npy", one[:150])
        np.save(f"{name}-2.npy", one[150:])
    clear("run", *inputs(rows), "--out", "clean", *OPTIONS, "--renorm", "original")
    days = [target / f"day{day}.moments" for day in (1, 2)]
    for day, moments in enumerate(days, start=1):
        clear("fit", *inputs(rows, f"-{day}"), "--out", f"fit{day}", "--moments-out", moments, *OPTIONS)
    # Plain covariance, whose solution no later version has a reason to change.
    clear("merge", *days, "--out", target / "merged.safetensors", "--rank", "2")
    (target / "clean").mkdir()
    for name in KEPT:
        shutil.copy(f"clean/{name}", target / "clean")
    before = {name: one[:30] for name, one in rows.items()}
    after = {f"{name}_clean": np.load(f"clean/embeddings/{name}.npy")[:30] for name in rows}
    np.savez(target / "rows.npz", **before, **after)
    said = {f"inspect {one}": clear("inspect", target / one) for one in ("clean", "merged.safetensors", "day1.moments")}
    said["check clean"] = clear("check", target / "clean", "--gate", "leftover_heldout<=1")
    (target / "said.json").write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    folder = HERE / __version__
    folder.mkdir()  # an error where it has been made
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        write(folder)
