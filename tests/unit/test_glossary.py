"""Every figure that is reported is explained, and nothing is explained that is not reported."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clear_cli import glossary
from clear_cli.__main__ import main  # noqa: F401  (the commands)
from tests.conftest import Run, planted, write_npy

ROOT = Path(__file__).parents[2]


def leaves(value: Any, path: str = "", names: frozenset[str] = frozenset()) -> Iterator[str]:
    """The paths of a document, with `*` for names of modalities and `[]` for the entries of lists of objects."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from leaves(one, f"{path}.{'*' if key in names else key}".removeprefix("."), names)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for one in value:
            yield from leaves(one, f"{path}[]", names)
    else:
        yield path


def test_the_terms_are_those_of_the_document(call: Run, files: Any, tmp_path: Path) -> None:
    inputs = ("-m", f"image={files[0]}", "-m", f"text={files[1]}")
    call("run", *inputs, "--out", tmp_path / "run", "--rank", "3")
    call("diagnose", *inputs, "--out", tmp_path / "audit", "--curve")
    new = planted(60, seed=9)
    paths = {name: write_npy(tmp_path / f"new_{name}.npy", getattr(new, name)) for name in ("image", "text")}
    call("apply", tmp_path / "run", *(f"-m{name}={path}" for name, path in paths.items()), "--out", tmp_path / "new")
    names = frozenset({"image", "text"})
    found: set[str] = set()
    for folder in ("run", "audit", "new"):
        document = json.loads((tmp_path / folder / "diagnostics.json").read_text())
        found |= set(leaves(document, names=names))
    described = set(glossary.paths())
    assert found - described == set(), "reported, but not explained"
    # A parent stands for its children where it may be null.
    assert {path for path in described - found if not any(one.startswith(path + ".") for one in found)} == set()


@pytest.mark.parametrize("name", ["diagnostics.md", "config.md"])
def test_the_page_is_what_the_program_says(name: str) -> None:
    page = runpy.run_path(str(ROOT / "docs/generate.py"))["PAGES"][name]
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == page(), "python docs/generate.py"
