"""What run warns of once rows are written, diagnose warns of before."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clear_cli.projector import Projector
from clear_cli.workflow.warnings import outcome_warnings
from tests.conftest import Catalogue, Floats, Run, write_npy

Change = Callable[[Floats], Floats]


def unit(rows: Floats) -> Floats:
    scaled: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def nearly_unit(rows: Floats) -> Floats:
    return unit(rows) * np.where(np.arange(len(rows)) % 2, 0.8, 1.2)[:, None].astype(np.float32)


def loud(rows: Floats) -> Floats:
    return rows * 100


def noisy(rows: Floats) -> Floats:
    rng = np.random.default_rng(3)
    return rows + 8 * rng.normal(size=rows.shape).astype(np.float32)


def warned(call: Run, command: str, paths: dict[str, Path], out: Path, *options: str) -> list[str]:
    inputs = [text for name, path in paths.items() for text in ("-m", f"{name}={path}")]
    code, text, err = call(command, *inputs, "--out", out, "--json", "-q", *options)
    warnings: list[str] = json.loads(text)["warnings"]
    assert code == 0
    assert err.splitlines() == [f"warning: {one}" for one in warnings]
    assert json.loads((out / "diagnostics.json").read_text())["warnings"] == warnings
    return warnings


def gist(warning: str) -> str:
    """A warning without its numbers, which are of a sample before, and without what to do, which differs."""
    return re.sub(r"[\d.]+|\(.*\)", "", warning)


@pytest.fixture
def make(tmp_path: Path, catalogue: Catalogue) -> Callable[[Change], dict[str, Path]]:
    return lambda change: {
        "image": write_npy(tmp_path / "image.npy", change(catalogue.image)),
        "text": write_npy(tmp_path / "text.npy", noisy(catalogue.text)),
    }


@pytest.mark.parametrize("change", [unit, loud, nearly_unit, noisy])
def test_run_and_diagnose_warn_of_the_same(
    call: Run, make: Callable[[Change], dict[str, Path]], tmp_path: Path, change: Change
) -> None:
    paths = make(change)
    ran, audited = (warned(call, command, paths, tmp_path / command) for command in ("run", "diagnose"))
    assert list(map(gist, ran)) == list(map(gist, audited))


@pytest.mark.parametrize("rows", [0, 1, 1200])
def test_rows_are_counted_in_words_that_agree(rows: int) -> None:
    directions = np.eye(4)[:, :2]
    projector = Projector("image", mean=np.zeros(4), directions=directions, spectrum=np.ones(2), rank=1)
    counts = {"rows_without_other_modality": rows, "rows_zeroed": rows, "rows_by_status": {"placeholder": rows}}
    assert (
        outcome_warnings({"image": counts}, None, {"image": projector})
        == {
            0: [],
            1: [
                '1 row of "image" has no other modality: its item loses the shared signal altogether',
                '1 row of "image" held only shared signal and is now all zeros',
                '1 row of "image" is a placeholder: left out of the fit, but projected',
            ],
            1200: [
                '1,200 rows of "image" have no other modality: their items lose the shared signal altogether',
                '1,200 rows of "image" held only shared signal and are now all zeros',
                '1,200 rows of "image" are placeholders: left out of the fit, but projected',
            ],
        }[rows]
    )


def test_rows_of_unit_norm(call: Run, make: Callable[[Change], dict[str, Path]], tmp_path: Path) -> None:
    told = '"image" has unit-norm rows: after projection the norm of a row tells what was removed'
    paths = make(unit)
    assert f"{told} (--renorm original hides it)" in warned(call, "run", paths, tmp_path / "run")
    assert f"{told} (a run with --renorm original hides it)" in warned(call, "diagnose", paths, tmp_path / "audit")
    for command, options in (
        ("run", ["--renorm", "original"]),
        ("run", ["--rank", "0"]),
        ("diagnose", ["--rank", "0"]),
        ("diagnose", ["--strength", "image=0"]),
    ):
        found = warned(call, command, paths, tmp_path / f"{command}{options[1]}", *options)
        assert not any("unit-norm" in one for one in found)


def test_rows_that_are_louder(call: Run, make: Callable[[Change], dict[str, Path]], tmp_path: Path) -> None:
    paths = make(loud)
    for command in ("run", "diagnose"):
        (warning,) = [one for one in warned(call, command, paths, tmp_path / command) if "row norms" in one]
        assert warning.startswith("row norms differ ")
        assert warning.endswith(
            "-fold between modalities: recommenders that concatenate them hear the loudest one only (--scale rms)"
        )
