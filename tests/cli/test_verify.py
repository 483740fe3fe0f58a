"""An output that was touched after it was published is found out, file by file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clear_cli.disk import fingerprint
from tests.conftest import Run

FIX = "  fix: run again with --overwrite\n"


@pytest.fixture
def out(call: Run, files: tuple[Path, Path], tmp_path: Path) -> Path:
    inputs = ["-m", f"image={files[0]}", "-m", f"text={files[1]}", "--no-report", "-q"]
    assert call("run", *inputs, "--out", tmp_path / "out")[0] == 0
    return tmp_path / "out"


def replaced_by_a_link(out: Path) -> None:
    (out / "embeddings/text.h5").unlink()
    (out / "embeddings/text.h5").symlink_to(out / "embeddings")


def test_a_manifest_that_never_ends_is_none(call: Run, out: Path) -> None:
    (out / "manifest.json").write_text("[" * 100_000)
    code, text, err = call("verify", out)
    assert (code, text, err.splitlines()[0]) == (3, "", "error: no manifest.json of ours here")


def test_an_output_as_it_was_published(call: Run, out: Path) -> None:
    assert call("verify", out) == (0, "unchanged: 4\nchanged: none\nmissing: none\nadditional: none\n", "")
    code, text, _ = call("verify", out, "--json")
    assert (code, json.loads(text)) == (
        0,
        {
            "schema_version": json.loads((out / "diagnostics.json").read_text())["schema_version"],
            "command": "verify",
            "out": str(out),
            "unchanged": 4,
            "changed": [],
            "missing": [],
            "additional": [],
        },
    )


@pytest.mark.parametrize(
    ("touch", "found"),
    [
        (lambda out: (out / "diagnostics.json").write_text("{}"), {"changed": ["diagnostics.json"]}),
        (lambda out: (out / "embeddings/text.h5").unlink(), {"missing": ["embeddings/text.h5"]}),
        (lambda out: (out / "notes.txt").touch(), {"additional": ["notes.txt"]}),
        (lambda out: (out / "embeddings/more").symlink_to("/"), {"additional": ["embeddings/more"]}),
        (lambda out: (out / "more").symlink_to("nowhere"), {"additional": ["more"]}),
        (lambda out: os.mkfifo(out / "pipe"), {"additional": ["pipe"]}),
        (replaced_by_a_link, {"changed": ["embeddings/text.h5"]}),
        (
            lambda out: (out / "projector.safetensors").rename(out / "p"),
            {"missing": ["projector.safetensors"], "additional": ["p"]},
        ),
    ],
)
def test_one_that_was_touched(call: Run, out: Path, touch: Callable[[Path], Any], found: dict[str, list[str]]) -> None:
    touch(out)
    code, text, err = call("verify", out, "--json")
    listed = "".join(f"  {key}: {', '.join(names)}\n" for key, names in found.items())
    fix = f"  fix: move the additional files away, and {FIX.removeprefix('  fix: ')}" if "additional" in found else FIX
    assert (code, err) == (3, f"error: the output is not what was published\n  in: {out}\n{listed}{fix}")
    assert {key: names for key in ("changed", "missing", "additional") if (names := json.loads(text)[key])} == found


def test_files_may_have_moved_behind_links(call: Run, out: Path, tmp_path: Path) -> None:
    (out / "embeddings/text.h5").rename(tmp_path / "cached")
    (out / "embeddings/text.h5").symlink_to(tmp_path / "cached")
    assert call("verify", out)[0] == 0


def test_names_in_a_manifest_lead_nowhere(call: Run, out: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["outputs"]["../secret"] = fingerprint(tmp_path / "secret")
    (out / "manifest.json").write_text(json.dumps(manifest))
    code, text, _ = call("verify", out, "--json")
    assert (code, json.loads(text)["missing"], json.loads(text)["unchanged"]) == (3, ["../secret"], 4)


@pytest.mark.parametrize("manifest", [None, "{}", '{"tool": "clear_cli"}'])
def test_what_is_no_output(call: Run, tmp_path: Path, manifest: str | None) -> None:
    if manifest:
        (tmp_path / "manifest.json").write_text(manifest)
    assert call("verify", tmp_path) == (
        3,
        "",
        f"error: no manifest.json of ours here\n  in: {tmp_path}\n"
        "  fix: give an output directory of run, fit, diagnose or apply\n",
    )


def test_what_is_not_there_is_said_to_be_absent(call: Run, tmp_path: Path, out: Path) -> None:
    code, _, err = call("verify", tmp_path / "outt")
    message = "cannot read the file: no such file or directory"
    assert (code, err) == (3, f"error: {message}\n  in: {tmp_path}/outt\n  near: {out}\n  fix: {out}\n")
    code, _, err = call("check", tmp_path / "outt", "--gate", "rv<=1")
    assert (code, err.startswith(f"error: {message}\n  in: {tmp_path}/outt\n")) == (3, True)


def test_commands_that_look_may_be_quiet_and_heed_only_variables_of_how_they_speak(
    call: Run, out: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["verify", out], ["report", out], ["compare", out, out], ["inspect", out], ["check", out]):
        more = ["--gate", "rank>=0"] if command[0] == "check" else []
        monkeypatch.setenv("CLEAR_JSON", "false")
        code, text, err = call(*command, *more, "-q")
        assert (code, text.startswith("{"), err) == (0, False, "")
        (tmp_path / "report.html").unlink(missing_ok=True)
        for name, value in {"JSON": "true", "OUT": "elsewhere.md", "EMBEDDING_COLUMN": "image=x"}.items():
            monkeypatch.setenv(f"CLEAR_{name}", value)
        code, text, err = call(*command, *more)
        assert (code, json.loads(text)["command"], err) == (0, command[0], "")
    assert not (tmp_path / "elsewhere.md").exists()
