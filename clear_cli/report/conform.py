"""Whether a document has the form that a schema beside this module promises, for those who read it.

It is read more forgivingly than it is written: what a schema does not know is no fault, for a later release may have
added it. Numbers are more than JSON Schema asks, though: finite, and no larger than the library reckons with.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

LARGEST = 2**63
"""No whole number of a document is as large as this."""


def flaw(document: Any, kind: str) -> str | None:
    """Where a document (report, manifest) first is not as promised, such as `pairs[0].items`; None if it is nowhere."""
    error = next(_validator(kind).iter_errors(document), None)
    if error is None:
        return None
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{_printable(step)}" for step in error.absolute_path)
    if error.validator == "required":
        place += "." + next(name for name in error.validator_value if name not in error.instance)
    return place.removeprefix(".") or "the whole"


@cache
def _validator(kind: str) -> Any:
    from jsonschema import Draft202012Validator, validators  # slow to import
    from referencing import Registry, Resource

    schemas = {path.name: json.loads(path.read_bytes(), object_hook=_forgiving) for path in _SCHEMAS}
    registry: Registry[Any] = Registry().with_resources(
        (one["$id"], Resource.from_contents(one)) for one in schemas.values()
    )
    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"number": lambda _, value: _is_number(value), "integer": lambda _, value: _is_whole(value)}
    )
    strict = validators.extend(Draft202012Validator, type_checker=types)
    return strict(schemas[f"{kind}-v1.schema.json"], registry=registry)


_SCHEMAS = sorted(Path(__file__).parent.glob("*.schema.json"))


def _forgiving(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: rule for key, rule in schema.items() if key != "additionalProperties" or rule is not False}


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST


def _printable(name: str) -> str:
    return name if name.isprintable() else repr(name)
