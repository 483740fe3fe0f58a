"""Files of released versions are read for ever; those of a version to come are refused by whatever reads them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import clear_cli
from clear_cli.errors import DataError
from tests.conftest import Run

RELEASED = sorted(path.parent for path in Path(__file__).parent.glob("released/*/said.json"))
NEWER = 99


@pytest.fixture(params=RELEASED, ids=lambda folder: folder.name)
def release(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of what a version left."""
    copy: Path = shutil.copytree(request.param, tmp_path / "release")
    return copy


def still(then: Any, now: Any) -> bool:
    """Whether what was said then is said now; there may be more."""
    if isinstance(then, dict):
        return all(key in now and still(one, now[key]) for key, one in then.items() if key != "schema_version")
    if isinstance(then, list):
        return len(then) == len(now) and all(map(still, then, now))
    return bool(then == (pytest.approx(now, rel=1e-9) if isinstance(then, float) else now))


def test_what_it_holds_is_told_as_it_was(call: Run, release: Path) -> None:
    said = json.loads((release / "said.json").read_text())
    for command, then in said.items():
        verb, name = command.split()
        gates = ["--gate", "leftover_heldout<=1"] if verb == "check" else []
        code, out, _ = call(verb, release / name, *gates, "--json")
        assert code == 0
        assert still(then, json.loads(out)), command


def test_rows_come_out_as_they_did(call: Run, release: Path, tmp_path: Path) -> None:
    inputs: list[Any] = []
    with np.load(release / "rows.npz") as stored:
        rows = dict(stored)
    for name in ("image", "text"):
        np.save(tmp_path / f"{name}.npy", rows[name])
        inputs += ["-m", f"{name}={tmp_path / name}.npy"]
    assert call("apply", release / "clean", *inputs, "--out", tmp_path / "out")[0] == 0
    applied = clear_cli.apply(clear_cli.load(release / "clean"), {name: rows[name] for name in ("image", "text")})
    for name, now in applied.items():
        np.testing.assert_allclose(now, rows[f"{name}_clean"], atol=1e-5)
        np.testing.assert_array_equal(np.load(tmp_path / f"out/embeddings/{name}.npy"), now)


def test_moments_add_up_to_the_same_projector(call: Run, release: Path, tmp_path: Path) -> None:
    days = (release / "day1.moments", release / "day2.moments")
    assert call("merge", *days, "--out", tmp_path / "now.safetensors", "--rank", "2")[0] == 0
    then, now = load_file(release / "merged.safetensors"), load_file(tmp_path / "now.safetensors")
    for name in ("image", "text"):
        for field in ("mean", "spectrum", "strength", "placeholders", "total_variance"):
            np.testing.assert_allclose(now[f"{name}.{field}"], then[f"{name}.{field}"], rtol=1e-9)
        u, v = now[f"{name}.directions"][:, :2], then[f"{name}.directions"][:, :2]
        np.testing.assert_allclose(u @ u.T, v @ v.T, atol=1e-9)


def test_the_report_is_made_again_and_gates_judge(call: Run, release: Path, tmp_path: Path) -> None:
    (gate,) = json.loads((release / "said.json").read_text())["check clean"]["gates"]
    for name in ("report.md", "report.html"):
        assert call("report", release / "clean", "--out", tmp_path / name)[0] == 0
        text = (tmp_path / name).read_text()
        assert "Redundancy of image and text" in text
        assert f"{gate['value']:.0%}" in text
    assert call("check", release / "clean", "--gate", f"leftover_heldout<={0.99 * gate['value']}")[0] == 5


def test_the_output_of_an_old_version_can_be_replaced(call: Run, release: Path, tmp_path: Path) -> None:
    with np.load(release / "rows.npz") as rows:
        for name in ("image", "text"):
            np.save(tmp_path / f"{name}.npy", rows[name])
    run = ("run", *(part for name in ("image", "text") for part in ("-m", f"{name}={tmp_path / name}.npy")))
    code, _, err = call(*run, "--out", release / "clean")
    assert (code, err.splitlines()[0]) == (4, "error: the output exists")
    assert call(*run, "--out", release / "clean", "--overwrite")[0] == 0
    assert (release / "clean/embeddings/text.npy").exists()


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """What the latest release left, as a version to come might have written it."""
    folder: Path = shutil.copytree(RELEASED[-1], tmp_path / "newer")
    for path in (folder / "clean/projector.safetensors", folder / "day1.moments"):
        with safe_open(path, framework="numpy") as file:
            header = json.loads(file.metadata()["clear_cli"]) | {"format_version": NEWER}
        save_file({"something.else": np.zeros(1)}, path, metadata={"clear_cli": json.dumps(header)})
    diagnostics = json.loads((folder / "clean/diagnostics.json").read_text()) | {"schema_version": NEWER}
    (folder / "clean/diagnostics.json").write_text(json.dumps(diagnostics))
    return folder


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (["inspect", "clean"], "clean/projector.safetensors"),
        (["apply", "clean", "-m", "image=image.npy", "--out", "out"], "clean/projector.safetensors"),
        (["inspect", "day1.moments"], "day1.moments"),
        (["merge", "day2.moments", "day1.moments", "--out", "out"], "day1.moments"),
        (["report", "clean", "--out", "report.md"], "clean/diagnostics.json"),
        (["check", "clean", "--gate", "leftover_heldout<=1"], "clean/diagnostics.json"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_a_format_to_come_is_refused(
    call: Run, newer: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], file: str
) -> None:
    monkeypatch.chdir(newer)
    np.save("image.npy", np.ones((20, 6)))
    code, out, err = call(*command)
    problem, where, *_, fix = err.splitlines()
    assert (code, out, where) == (3, "", f"  in: {file}")
    assert problem.startswith("error: ")
    assert f" {NEWER}" in problem
    assert fix.startswith("  fix: ")
    assert "upgrade" in fix
    assert not {"out", "report.md"} & {path.name for path in newer.iterdir()}


def test_a_format_to_come_is_refused_in_python(newer: Path) -> None:
    with pytest.raises(DataError, match=f"projector format {NEWER} is not supported"):
        clear_cli.load(newer / "clean")
