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
from pathlib import Path
from typing import Any

import numpy as np

from clear_cli import __version__

HERE = Path(__file__).parent
KEPT = ("projector.safetensors", "diagnostics.json", "manifest.json", "report.md")
MERGE = ("--directions", "correlation", "--removal", "oblique", "--strength", "soft", "--rank", "2")


def clear(*arguments: Any) -> Any:
    """Run a command in the current folder: what it printed as JSON."""
    command = [sys.executable, "-m", "clear_cli", *map(str, arguments), "--json", "-q"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def catalogue(items: int = 240) -> dict[str, np.ndarray]:
    """Two modalities that share three directions; some texts are missing, and some pictures are a filler."""
    rng = np.random.default_rng(1)
    common = rng.normal(size=(items, 3)) * (3, 2, 1)
    sides = {"image": 6, "text": 5}
    rows = {name: common @ rng.normal(size=(3, d)) + rng.normal(size=(items, d)) + 1 for name, d in sides.items()}
    rows["text"][::40] = 0
    rows["image"][5:200:10] = 0.25
    return {name: one.astype(np.float32) for name, one in rows.items()}


def write(target: Path) -> None:
    """Fill a folder, from within an empty one."""
    rows = catalogue()
    for name, one in rows.items():
        np.save(f"{name}.npy", one)
        np.save(f"{name}-1.npy", one[:150])
        np.save(f"{name}-2.npy", one[150:])
    both = ("-m", "image=image.npy", "-m", "text=text.npy")
    clear("run", *both, "--out", "clean", "--rank", "2", "--strength", "text=0.5", "--renorm", "original")
    for day in (1, 2):
        inputs = [part for name in rows for part in ("-m", f"{name}={name}-{day}.npy")]
        ids = [part for name in rows for part in ("--ids", f"{name}=ids-{day}.txt")]
        Path(f"ids-{day}.txt").write_text("".join(f"{day}-{i}\n" for i in range(150 if day == 1 else 90)))
        moments = target / f"day{day}.moments"
        clear("fit", *inputs, *ids, "--out", f"fit{day}", "--moments-out", moments, *MERGE)
    clear("merge", target / "day1.moments", target / "day2.moments", "--out", target / "merged.safetensors", *MERGE)
    (target / "clean").mkdir()
    for name in KEPT:
        shutil.copy(f"clean/{name}", target / "clean")
    np.savez(
        target / "rows.npz",
        **{name: one[:30] for name, one in rows.items()},
        **{f"{name}_clean": np.load(f"clean/embeddings/{name}.npy")[:30] for name in rows},
    )
    said = {name: clear("inspect", target / name) for name in ("clean", "merged.safetensors", "day1.moments")}
    (target / "inspect.json").write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    folder = HERE / __version__
    folder.mkdir()  # an error where it has been made
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        write(folder)
