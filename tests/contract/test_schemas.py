"""Everything for machines is of the form that its schema promises, and the schemas promise nothing else."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from clear_cli.workflow.document import SCHEMA_VERSION
from tests.contract.conftest import Outputs

KINDS = ("report", "manifest", "result")


def schema(kind: str) -> dict[str, Any]:
    name = f"{kind}-v{SCHEMA_VERSION}.schema.json"
    found: dict[str, Any] = json.loads((resources.files("clear_cli.report") / name).read_text(encoding="utf-8"))
    return found


SCHEMAS = {kind: schema(kind) for kind in KINDS}
REGISTRY: Registry[Any] = Registry().with_resources(
    (one["$id"], Resource.from_contents(one)) for one in SCHEMAS.values()
)


def problems(kind: str, document: Any) -> list[str]:
    validator = Draft202012Validator(SCHEMAS[kind], registry=REGISTRY)
    return [f"{one.json_path}: {one.message}" for one in validator.iter_errors(document)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_schemas_are_schemas(kind: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[kind])


def test_every_output_keeps_its_promise(outputs: Outputs) -> None:
    diagnostics, manifests = outputs.documents(), outputs.documents("manifest.json")
    assert len(diagnostics) == len(manifests) >= 17
    assert {name: problems("report", one) for name, one in diagnostics.items() if problems("report", one)} == {}
    assert {name: problems("manifest", one) for name, one in manifests.items() if problems("manifest", one)} == {}


def test_every_result_keeps_its_promise(outputs: Outputs) -> None:
    assert {name: problems("result", one) for name, one in outputs.results.items() if problems("result", one)} == {}
    assert {one["command"] for one in outputs.results.values()} == {
        "run", "fit", "diagnose", "apply", "merge", "check", "verify", "report", "compare", "inspect",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["run", "apply", "diagnose"])
def test_what_is_not_promised_is_refused(outputs: Outputs, name: str) -> None:
    for where in ([], ["modalities", "text"], ["pairs", 0], ["pairs", 0, "leftover"]):
        document = json.loads((outputs.folder / name / "diagnostics.json").read_text())
        place = document
        for step in where:
            place = place[step]
        place["another"] = 1
        assert "another" in " ".join(problems("report", document))


@pytest.mark.parametrize("missing", ["schema_version", "tool", "modalities", "pairs", "warnings"])
def test_what_is_promised_is_there(outputs: Outputs, missing: str) -> None:
    document = outputs.documents()["run"]
    del document[missing]
    assert problems("report", document) == [f"$: '{missing}' is a required property"]
