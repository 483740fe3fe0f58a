"""Outputs of all commands, with all kinds of options and inputs, made once."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clear_cli.cli import app
from tests.conftest import planted, write_hdf5, write_npy, write_parquet

MISSING_ROWS = 7


@dataclass
class Outputs:
    """What the commands left behind.

    Attributes:
        folder: With a directory for each output.
        results: What each printed with --json.
    """

    folder: Path
    results: dict[str, dict[str, Any]]

    def documents(self, name: str = "diagnostics.json") -> dict[str, Any]:
        """The documents of this name, by output."""
        return {path.parent.name: json.loads(path.read_text()) for path in sorted(self.folder.glob(f"*/{name}"))}


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    """Outputs of all commands, of two and of three modalities, with missing rows, and of new items."""
    root = tmp_path_factory.mktemp("outputs")
    catalogue, new = planted(), planted(60, seed=9)
    image = catalogue.image.copy()
    image[:MISSING_ROWS] = 0
    noise = np.random.default_rng(5).normal(size=catalogue.text.shape).astype(np.float32)
    read = {
        "image": write_parquet(root / "in/image.parquet", catalogue.ids, image),
        "text": write_hdf5(root / "in/text.h5", catalogue.ids, catalogue.text),
        "audio": write_npy(root / "in/audio.npy", catalogue.audio),
        "noise": write_parquet(root / "in/noise.parquet", catalogue.ids, noise),
        "new_image": write_npy(root / "in/new_image.npy", new.image),
        "new_text": write_npy(root / "in/new_text.npy", new.text),
        "ids": root / "in/ids.txt",
    }
    read["ids"].write_text("".join(f"{one}\n" for one in catalogue.ids))
    two = ["-m", f"image={read['image']}", "-m", f"text={read['text']}"]
    three = [*two, "-m", f"audio={read['audio']}", "--ids", f"audio={read['ids']}"]
    later = ["-m", f"image={read['new_image']}", "-m", f"text={read['new_text']}"]
    files = {
        "run": ["run", *two, "--rank", "2", "--gate", "rv<=1"],
        "reversed": ["run", *two[2:], *two[:2], "--rank", "2"],
        "three": ["run", *three],
        "per_modality": ["run", *two, "--strength", "image=0", "--strength", "text=0.5"],
        "soft": ["run", *two, "--strength", "soft", "--renorm", "original", "--winsorise", "99%"],
        "correlation": ["run", *two, "--directions", "correlation", "--fit-items", read["ids"]],
        "oblique": ["run", *two, "--removal", "oblique", "--group-column", "image=item_id"],
        "rank_0": ["run", *two, "--rank", "0"],
        "no_report": ["run", *two, "--no-report"],
        "nameless": ["run", *two, "--no-item-ids"],
        "noise": ["run", "-m", f"image={read['image']}", "-m", f"text={read['noise']}"],
        "fit": ["fit", *two, "--moments-out", root / "fit.moments"],
        "diagnose": ["diagnose", *two],
        "curve": ["diagnose", *two, "--curve"],
        "apply": ["apply", root / "run", *later],
        "apply_one": ["apply", root / "run", "-m", f"text={read['text']}", "--rank", "1", "--strength", "0.5"],
        "apply_bare": ["apply", root / "run", *two, "--no-report"],
    }
    others = {
        "up_to_date": [*files["run"], "--out", root / "run"],
        "unpublished": ["diagnose", *two],
        "plan": ["run", *two, "--dry-run", "--out", root / "none"],
        "more": ["fit", *two, "--out", root / "more", "--moments-out", root / "more.moments"],
        "merge": ["merge", root / "fit.moments", root / "more.moments", "--out", root / "merged.safetensors"],
        "check": ["check", root / "run", "--gate", "rv<=1", "--gate", "image.rank==2"],
        "report": ["report", root / "run", "--out", root / "report.md"],
        "compare": ["compare", root / "run", root / "three", root / "apply"],
        "inspect_file": ["inspect", read["image"]],
        "inspect_projector": ["inspect", root / "soft"],
        "inspect_moments": ["inspect", root / "fit.moments"],
        "verify": ["verify", root / "run"],
    }
    commands = {name: [*arguments, "--out", root / name] for name, arguments in files.items()} | others
    return Outputs(root, {name: _printed(arguments) for name, arguments in commands.items()})


def _printed(arguments: list[Any]) -> dict[str, Any]:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
        app([*map(str, arguments), "--json"], standalone_mode=False)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found
