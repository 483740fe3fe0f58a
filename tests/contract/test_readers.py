"""What reads the diagnostics of an output refuses the same, in the same words: check, report, compare and load."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clear_cli import load
from clear_cli.errors import DataError
from tests.conftest import Run
from tests.contract.conftest import Outputs

Reader = Callable[[Path], tuple[int, str, str]]


@pytest.fixture(params=["check", "report", "compare"])
def read(request: pytest.FixtureRequest, call: Run, tmp_path: Path) -> Reader:
    """Read an output with each command."""
    options = {
        "check": lambda path: [path, "--gate", "rv<=1"],
        "report": lambda path: [path, "--out", tmp_path / "made/report.html"],
        "compare": lambda path: [path, path, "--out", tmp_path / "made/compared.html"],
    }[request.param]
    return lambda path: call(request.param, *options(path))


GIVE = "give an output directory of run, fit, apply or diagnose"
AGAIN = "run again to make them anew"
DAMAGED = f"the diagnostics are damaged\n  in: {{}}\n  fix: {AGAIN}"


def damaged(at: str) -> str:
    return f"the diagnostics are damaged\n  in: {{}}\n  at: {at}\n  fix: {AGAIN}"


FOREIGN = f"these are no diagnostics of clear-cli\n  in: {{}}\n  fix: {GIVE}"


def written(document: Any, folder: Path) -> Path:
    folder.mkdir()
    (folder / "diagnostics.json").write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", DAMAGED),
        ("{", DAMAGED),
        ("\udcff", DAMAGED),
        ("rank = 4", DAMAGED),
        ("[]", FOREIGN),
        ("{}", FOREIGN),
        ('{"schema_version": "1", "modalities": {}, "pairs": [], "warnings": []}', FOREIGN),
        ('{"schema_version": true, "modalities": {}, "pairs": [], "warnings": []}', FOREIGN),
        ("[" * 100_000, DAMAGED),
        ('{"schema_version": 1}', damaged("tool")),
        (
            '{"schema_version": 99, "anything": "else"}',
            "diagnostics of schema version 99 are not supported\n  in: {}\n  supported: 1\n  fix: upgrade clear-cli",
        ),
        (
            '{"schema_version": 0, "modalities": {}, "pairs": [], "warnings": []}',
            f"diagnostics of schema version 0 are not supported\n  in: {{}}\n  supported: 1\n  fix: {AGAIN}",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(read: Reader, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "out/diagnostics.json"
    file.parent.mkdir()
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert read(file.parent) == (3, "", f"error: {message.format(file)}\n")
    assert not (tmp_path / "made").exists()


def test_a_file_of_something_else_is_refused(read: Reader, outputs: Outputs, tmp_path: Path) -> None:
    """Given by itself: of one that is called as ours nobody else can have been the writer."""
    out = outputs.folder / "run"
    (tmp_path / "clear.toml").write_text("rank = 4")
    (tmp_path / "cut.json").write_text('{"schema_version": 1')
    for path, but in {
        out / "manifest.json": "",
        out / "projector.safetensors": ", but a file of safetensors",
        next(out.glob("embeddings/*.parquet")): ", but a file of Parquet",
        tmp_path / "clear.toml": "",
    }.items():
        message = f"error: these are no diagnostics of clear-cli{but}\n  in: {path}\n  fix: {GIVE}\n"
        assert read(path) == (3, "", message)
    assert read(tmp_path / "cut.json") == (3, "", f"error: {DAMAGED.format(tmp_path / 'cut.json')}\n")


def test_what_is_not_there_is_refused(read: Reader, tmp_path: Path) -> None:
    message = "error: cannot read the file: no such file or directory"
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "nowhere", tmp_path / "empty/diagnostics.json"):
        folder = place.parent if place.suffix else place
        assert read(folder) == (3, "", f"{message}\n  in: {place}\n  fix: {GIVE}\n")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("modalities", {}),
        ("modalities", []),
        ("modalities.text", 5),
        ("modalities.text.rank", "many"),
        ("modalities.text.rank", True),
        ("modalities.text.rank", -1),
        ("modalities.text.rank", 10**30),
        ("modalities.text.rows", []),
        ("modalities.text.dim", None),
        ("modalities.text.spectrum", {"a": 1}),
        ("modalities.text.spectrum[3]", float("nan")),
        ("modalities.text.chance.high", "none"),
        ("modalities.text.most_affected[0].row", 1.5),
        ("pairs", None),
        ("pairs[0]", []),
        ("pairs[0].items", float("inf")),
        ("pairs[0].modalities", ["image"]),
        ("pairs[0].leftover.held_out", 0.5),
        ("pairs[0].sample.held_out.after", []),
        ("pairs[0].sample.neighbour_overlap.neighbours", None),
        ("warnings", 3),
        ("warnings[0]", None),
    ],
)
def test_damage_of_any_figure_is_refused_and_told(
    read: Reader, outputs: Outputs, tmp_path: Path, path: str, value: object
) -> None:
    document = outputs.documents()["run"]
    steps = [int(step) if step.isdecimal() else step for step in path.replace("[", ".").replace("]", "").split(".")]
    place: Any = document
    for step in steps[:-1]:
        place = place[step]
    place[steps[-1]] = value
    out = written(document, tmp_path / "out")
    assert read(out) == (3, "", f"error: {damaged(path).format(out / 'diagnostics.json')}\n")


@pytest.mark.parametrize("path", ["modalities.text.dtype", "pairs[0].sample.rv", "pairs[0].sample.rv.after"])
def test_a_figure_that_is_missing_is_refused(read: Reader, outputs: Outputs, tmp_path: Path, path: str) -> None:
    document = outputs.documents()["run"]
    *steps, last = path.replace("[0]", ".0").split(".")
    place: Any = document
    for step in steps:
        place = place[int(step) if step.isdecimal() else step]
    del place[last]
    out = written(document, tmp_path / "out")
    assert read(out) == (3, "", f"error: {damaged(path).format(out / 'diagnostics.json')}\n")


def test_a_damaged_manifest_is_refused_and_told(read: Reader, outputs: Outputs, tmp_path: Path) -> None:
    out = shutil.copytree(outputs.folder / "run", tmp_path / "out")
    manifest = outputs.documents("manifest.json")["run"]
    manifest["inputs"]["text"]["files"][0]["bytes"] = "many"
    (out / "manifest.json").write_text(json.dumps(manifest))
    where = f"  in: {out / 'manifest.json'}\n  at: inputs.text.files[0].bytes\n"
    assert read(out) == (3, "", f"error: the manifest is damaged\n{where}  fix: {AGAIN}\n")


def test_figures_that_fit_the_schema_but_no_report_are_refused(call: Run, outputs: Outputs, tmp_path: Path) -> None:
    document = outputs.documents()["run"]
    document["modalities"]["text"]["most_affected"][0]["removed"] = 1e308
    out = written(document, tmp_path / "out")
    assert call("report", out, "--out", tmp_path / "r.md") == (3, "", f"error: {DAMAGED.format(out)}\n")


def test_what_a_later_release_adds_is_no_damage(read: Reader, outputs: Outputs, tmp_path: Path) -> None:
    document = outputs.documents()["run"]
    document["another"] = document["modalities"]["text"]["another"] = document["pairs"][0]["another"] = {"a": [None]}
    assert read(written(document, tmp_path / "out"))[0] == 0


def test_load_refuses_damage_and_does_without_diagnostics(outputs: Outputs, tmp_path: Path) -> None:
    out = shutil.copytree(outputs.folder / "run", tmp_path / "out")
    file = out / "diagnostics.json"
    assert load(out).diagnostics == outputs.documents()["run"]
    for text in ("{", "[]", '{"schema_version": 1, "tool": null}'):
        file.write_text(text)
        with pytest.raises(DataError) as caught:
            load(out)
        assert caught.value.where == file
    file.unlink()
    assert load(out).diagnostics == {}


def test_the_file_alone_is_enough(read: Reader, outputs: Outputs, tmp_path: Path) -> None:
    alone = tmp_path / "kept.json"
    shutil.copy(outputs.folder / "run/diagnostics.json", alone)
    assert read(alone)[0] == 0
