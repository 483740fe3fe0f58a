"""Files of tensors: what is not there, not ours, damaged or of another format is refused, whatever they hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from clear_cli.artifact import read_artifact, write_artifact
from clear_cli.errors import DataError
from clear_cli.workflow.evidence import Evidence
from clear_cli.workflow.moments_file import read_described, read_moments, write_moments
from tests.laws.planted import fit, planted
from tests.safetensors_files import refusal, rewritten


@dataclass
class Kind:
    """A kind of file, how it is read, and what its errors say."""

    read: Callable[[Path], Any]
    what: str
    format: str
    fix: str


KINDS = {
    "projector": Kind(read_artifact, "projector", "projector", "clear-cli fit or clear-cli run writes one"),
    "moments": Kind(read_moments, "moments file", "moments", "clear-cli fit ... --moments-out FILE writes one"),
    "modalities": Kind(read_described, "moments file", "moments", "clear-cli fit ... --moments-out FILE writes one"),
}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def path(tmp_path: Path, kind: Kind) -> Path:
    """A sound file of the kind."""
    target, found = tmp_path / "file", list[Evidence]()
    sides = dict(zip(("image", "text"), planted(200, (12, 8)), strict=True))
    fitted = fit(sides, keep=found.append)
    if kind.format == "projector":
        write_artifact(target, fitted.projectors, {})
    else:
        write_moments(found[0], target)
    kind.read(target)
    return target


def test_no_file(kind: Kind, tmp_path: Path) -> None:
    place = tmp_path / "nothing.safetensors"
    assert refusal(kind.read, place) == f"no {kind.what} here\n  in: {place}\n  fix: {kind.fix}"


@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"PAR1" * 20, b"\xff" * 100, b"{}" * 50])
def test_a_file_that_is_no_safetensors(kind: Kind, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        kind.read(path)
    reason = error.value.__cause__
    assert str(error.value) == f"not a readable safetensors file ({reason})\n  in: {path}\n  fix: {kind.fix}"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_file_that_ends_early(kind: Kind, path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert refusal(kind.read, path).startswith("not a readable safetensors file (")


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"format": "pt"},
        {"clear_cli": "not json"},
        {"clear_cli": "[1]"},
        {"clear_cli": "null"},
        {"clear_cli": '{"format": "other", "format_version": 1}'},
    ],
)
def test_a_safetensors_file_of_others(kind: Kind, tmp_path: Path, metadata: Any) -> None:
    path = tmp_path / "file"
    save_file({"weight": np.zeros(3)}, path, metadata=metadata)
    assert refusal(kind.read, path) == (
        f"this safetensors file is no {kind.what} of clear-cli\n  in: {path}\n  fix: {kind.fix}"
    )


def test_a_file_of_another_kind_of_ours(kind: Kind, path: Path) -> None:
    other = next(one for one in KINDS.values() if one.format != kind.format)
    assert refusal(other.read, path).startswith(f"this safetensors file is no {other.what} of clear-cli\n")


@pytest.mark.parametrize("version", [2, 0, None, "1"])
def test_a_format_that_is_not_known(kind: Kind, path: Path, version: Any) -> None:
    assert refusal(kind.read, rewritten(path, header={"format_version": version})) == (
        f"{kind.format} format {version} is not supported\n  in: {path}\n  supported: 1\n  fix: upgrade clear-cli"
    )
