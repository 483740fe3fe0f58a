"""Every figure that is reported is explained, and nothing is explained that is not reported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clear_cli import glossary
from tests.contract.conftest import Outputs
from tests.contract.test_schemas import SCHEMAS

NAMES = frozenset({"image", "text", "audio"})


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """The paths of a document, with `*` for names of modalities and `[]` for the entries of lists of objects."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from leaves(one, f"{path}.{'*' if key in NAMES else key}".removeprefix("."))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for one in value:
            yield from leaves(one, f"{path}[]")
    else:
        yield path


def promised(node: Any, path: str = "") -> Iterator[str]:
    """The same of the schema."""
    schema = SCHEMAS["report"]
    node = schema["$defs"][node["$ref"].removeprefix("#/$defs/")] if "$ref" in node else node
    items = node.get("items", {})
    inside = dict(node.get("properties", {}))
    if isinstance(node.get("additionalProperties"), dict):
        inside["*"] = node["additionalProperties"]
    for key, one in inside.items():
        yield from promised(one, f"{path}.{key}".removeprefix("."))
    if "properties" in items or items.get("$ref") in ("#/$defs/pair", "#/$defs/spread"):
        yield from promised(items, f"{path}[]")
    elif not inside:
        yield path


def without_parents(paths: set[str]) -> set[str]:
    """A parent, which stands for its children where it may be null or empty, is not counted."""
    return {path for path in paths if not any(one.startswith((f"{path}.", f"{path}[]")) for one in paths)}


def test_the_terms_are_those_of_the_documents(outputs: Outputs) -> None:
    found = {path for document in outputs.documents().values() for path in leaves(document)}
    described = set(glossary.paths())
    assert without_parents(found) - described == set(), "reported, but not explained"
    assert without_parents(described) - found == set(), "explained, but not reported"


def test_the_terms_are_those_of_the_schema() -> None:
    assert set(promised(SCHEMAS["report"])) == without_parents(set(glossary.paths()))
