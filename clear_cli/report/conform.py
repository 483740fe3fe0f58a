"""Whether a document has the form that a schema beside this module promises, for those who read it.

As much of JSON Schema as these schemas need, and more forgiving where a later release may have added something: what a
schema does not know is no fault.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

LARGEST = 2**63
"""No whole number of a document is as large as this."""


def flaw(document: Any, kind: str) -> str | None:
    """Where a document (report, manifest) first is not as promised, such as `pairs[0].items`; None if it is nowhere."""
    schema = _schema(f"{kind}-v1.schema.json")
    return next(_flaws(document, schema, schema["$defs"], ""), None)


@cache
def _schema(name: str) -> Schema:
    found: Schema = json.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))
    return found


def _flaws(value: Any, schema: Schema, known: Schema, place: str) -> Iterator[str]:
    if "$ref" in schema:
        document, _, name = schema["$ref"].rpartition("#/$defs/")
        within = _schema(f"{document.removeprefix('urn:clear-cli:')}.schema.json")["$defs"] if document else known
        yield from _flaws(value, within[name], within, place)
    if not _fits(value, schema) or not _one_fits(value, schema, known):
        yield place or "the whole"
    elif isinstance(value, dict):
        named, others = schema.get("properties", {}), schema.get("additionalProperties")
        yield from (_at(place, name) for name in schema.get("required", ()) if name not in value)
        for name, one in value.items():
            rule = named.get(name, others)
            if isinstance(rule, dict):
                yield from _flaws(one, rule, known, _at(place, name))
    elif isinstance(value, list) and "items" in schema:
        for i, one in enumerate(value):
            yield from _flaws(one, schema["items"], known, f"{place}[{i}]")


def _at(place: str, name: str) -> str:
    name = name if name.isprintable() else repr(name)
    return f"{place}.{name}" if place else name


def _one_fits(value: Any, schema: Schema, known: Schema) -> bool:
    ways = schema.get("anyOf", schema.get("oneOf", ()))
    return not ways or any(next(_flaws(value, way, known, ""), None) is None for way in ways)


def _fits(value: Any, schema: Schema) -> bool:
    """Whether a value is right by itself, whatever is inside of it."""
    types = schema.get("type", ())
    if types and not any(_IS[one](value) for one in ([types] if isinstance(types, str) else types)):
        return False
    if ("const" in schema and value != schema["const"]) or ("enum" in schema and value not in schema["enum"]):
        return False
    if isinstance(value, list | dict):
        least, most = (schema.get(f"{end}{'Items' if isinstance(value, list) else 'Properties'}") for end in _ENDS)
        return (least is None or len(value) >= least) and (most is None or len(value) <= most)
    return not (_is_number(value) and value < schema.get("minimum", value))


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST


_ENDS = ("min", "max")
_IS: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _is_number,
    "integer": _is_whole,
}
