"""Imports go one way, and what must start fast imports nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import clear_cli

ROOT = Path(clear_cli.__file__).parent

# Lower floors know nothing of higher ones; within a floor modules may know each other.
FLOORS = [
    {"errors", "glossary"},
    {"norms", "winsor", "health", "buffers", "moments", "sample", "chance", "whitening"}
    | {
        "rank",
        "subspace",
        "projector",
        "diagnostics",
        "impact",
        "spread",
        "shared",
        "curve",
        "drift",
        "gates",
        "metrics",
        "pooling",
    },
    {
        "config",
        "disk",
        "machine",
        "parallel",
        "partial",
        "publish",
        "publish_file",
        "publish_remote",
        "remote",
        "tensors",
        "values",
    },
    {"embeddings", "artifact"},
    {"report"},
    {"workflow"},
    {"fitted", "api", "estimator"},
    {"cli"},
    {"__main__"},
]
PURE = FLOORS[1]
NOT_PURE = {"pathlib", "os", "io", "logging", "time", "datetime", "random", "pyarrow", "h5py", "tempfile", "threading"}


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def floor(name: str) -> int:
    return next(level for level, names in enumerate(FLOORS) if name in names)


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_imports_only_from_its_own_floor_and_below(path: Path) -> None:
    own = floor(path.relative_to(ROOT).parts[0].removesuffix(".py"))
    rooms = {name.split(".")[1] for name in imports(path) if name.startswith("clear_cli.")} - {"__version__"}
    assert {room for room in rooms if floor(room) > own} == set()


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_modules_know_no_files_clocks_or_logs(name: str) -> None:
    roots = {one.split(".")[0] for one in imports(ROOT / f"{name}.py")}
    assert roots & NOT_PURE == set()


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_is_longer_is_two_things(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 300
    long = {
        node.name: lines
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (lines := lines_of_code(node, text)) > 40
    }
    assert long == {}


def lines_of_code(node: ast.FunctionDef | ast.AsyncFunctionDef, text: str) -> int:
    """Lines of a function without those that are empty or a comment, or belong to its docstring."""
    body = text.splitlines()[node.lineno - 1 : node.end_lineno]
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        del body[first.lineno - node.lineno : (first.end_lineno or first.lineno) - node.lineno + 1]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in body)


def test_every_module_has_a_floor() -> None:
    rooms = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in modules()}
    assert rooms == set().union(*FLOORS)


def test_parquet_and_hdf5_have_one_family_of_openers_each() -> None:
    families = {
        library: {
            path.stem.partition("_")[0]
            for path in modules()
            if any(one.split(":")[0] == library for one in imports(path))
        }
        for library in ("h5py", "pyarrow.parquet")
    }
    assert families == {"h5py": {"hdf5"}, "pyarrow.parquet": {"parquet"}}


def test_help_imports_nothing_heavy() -> None:
    heavy = ("numpy", "scipy", "pyarrow", "h5py", "sklearn", "matplotlib", "jinja2", "rich.progress")
    code = f"import sys, clear_cli.cli; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_at_most_eight_names_are_public() -> None:
    assert len(clear_cli.__all__) <= 8
    assert all(getattr(clear_cli, name) is not None for name in clear_cli.__all__)
