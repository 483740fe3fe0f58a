"""Every error that the tool can raise is asserted somewhere: its text is part of the product."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import clear_cli
from clear_cli import errors

ROOT = Path(clear_cli.__file__).parent
TESTS = Path(__file__).parents[1]
ERRORS = {name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, errors.ClearError)}
GAP = "\0"
"""Stands for what a text is filled with."""


def texts(node: ast.expr | None, scope: ast.AST) -> Iterator[str]:
    """The texts that an expression may have, with a gap for each value; none for one that only values decide."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(one.value if isinstance(one, ast.Constant) else GAP for one in node.values)  # type: ignore[misc]
    elif isinstance(node, ast.IfExp):
        yield from (text for side in (node.body, node.orelse) for text in texts(side, scope))
    elif isinstance(node, ast.Name):
        for one in ast.walk(scope):
            if isinstance(one, ast.Assign) and any(isinstance(t, ast.Name) and t.id == node.id for t in one.targets):
                yield from texts(one.value, scope)


def calls(scope: ast.AST) -> Iterator[ast.Call]:
    """Every call that makes an error, with a text."""
    for node in ast.walk(scope):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS and node.args:
            yield node


def raised() -> set[tuple[str, str]]:
    """(place, text) of every error, but for those whose text is only values."""
    found = set()
    for path in ROOT.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for scope in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for call in calls(scope):
                place = f"{path.relative_to(ROOT).as_posix()}:{call.lineno}"
                found |= {(place, text) for text in texts(call.args[0], scope) if re.search(r"\w\w", text)}
    return found


@cache
def asserted() -> str:
    """All texts in the tests, one after the other."""
    found = []
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant | ast.JoinedStr):
                found += texts(node, node)
    return "\1".join(found)


def pattern(text: str) -> str:
    """What a test says of a text: a value, or a gap of its own, for each gap."""
    return "[^\1]*?".join(map(re.escape, text.split(GAP)))


@pytest.mark.parametrize(("place", "text"), [pytest.param(*one, id=one[0]) for one in sorted(raised())])
def test_every_error_is_asserted(place: str, text: str) -> None:
    assert re.search(pattern(text), asserted()), f"no test has the error of {place}: {text.replace(GAP, '{}')}"
