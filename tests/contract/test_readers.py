"""What reads the diagnostics of an output refuses the same, in the same words: check, report and compare."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

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
FOREIGN = f"these are no diagnostics of clear-cli\n  in: {{}}\n  fix: {GIVE}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", DAMAGED),
        ("{", DAMAGED),
        ("\udcff", DAMAGED),
        ("[]", FOREIGN),
        ("{}", FOREIGN),
        ('{"schema_version": "1", "modalities": {}, "pairs": [], "warnings": []}', FOREIGN),
        ('{"schema_version": true, "modalities": {}, "pairs": [], "warnings": []}', FOREIGN),
        ('{"schema_version": 1}', DAMAGED),
        ('{"schema_version": 1, "modalities": {"a": 5}, "pairs": [], "warnings": []}', DAMAGED),
        ('{"schema_version": 1, "modalities": {}, "pairs": [5], "warnings": []}', DAMAGED),
        ('{"schema_version": 1, "modalities": {}, "pairs": [{"modalities": ["a"]}], "warnings": []}', DAMAGED),
        ('{"schema_version": 1, "modalities": {}, "pairs": [], "warnings": 3}', DAMAGED),
        ('{"schema_version": 1, "modalities": {}, "pairs": [], "warnings": [], "more": NaN}', DAMAGED),
        ('{"schema_version": 1, "modalities": {}, "pairs": [], "warnings": [], "more": -1e999}', DAMAGED),
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


def test_what_is_not_there_is_refused(read: Reader, tmp_path: Path) -> None:
    message = "error: cannot read the file: no such file or directory"
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "nowhere", tmp_path / "empty"):
        assert read(folder) == (3, "", f"{message}\n  in: {folder}/diagnostics.json\n  fix: {GIVE}\n")


def test_damage_deep_inside_is_refused_in_one_error(call: Run, outputs: Outputs, tmp_path: Path) -> None:
    document = outputs.documents()["run"]
    for name, damage in {"rank": "many", "rows": [], "dim": {}}.items():
        modalities = {**document["modalities"], "text": {**document["modalities"]["text"], name: damage}}
        (tmp_path / "diagnostics.json").write_text(json.dumps({**document, "modalities": modalities}))
        for command in (["report", tmp_path, "--out", tmp_path.parent / "r.md"], ["compare", tmp_path, tmp_path]):
            assert call(*command) == (3, "", f"error: {DAMAGED.format(tmp_path)}\n")


def test_the_file_alone_is_enough(read: Reader, outputs: Outputs, tmp_path: Path) -> None:
    alone = tmp_path / "kept.json"
    shutil.copy(outputs.folder / "run/diagnostics.json", alone)
    assert read(alone)[0] == 0
