"""Files of tensors: what is not there, not ours, damaged or of another format is refused, whatever they hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from clear_cli import tensors
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
    give: str


PROJECTOR_FIX = "clear-cli fit or clear-cli run writes one"
PROJECTOR = "give the output directory of clear-cli fit or clear-cli run, or its projector.safetensors"
MOMENTS_FIX = "clear-cli fit ... --moments-out FILE writes one"
MOMENTS = "give what clear-cli fit ... --moments-out FILE wrote"
KINDS = {
    "projector": Kind(read_artifact, "projector", "projector", PROJECTOR_FIX, PROJECTOR),
    "moments": Kind(read_moments, "moments file", "moments", MOMENTS_FIX, MOMENTS),
    "modalities": Kind(read_described, "moments file", "moments", MOMENTS_FIX, MOMENTS),
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


def test_no_file_but_one_of_a_like_name(kind: Kind, path: Path) -> None:
    near = path.rename(path.with_name("spring.safetensors"))
    place = path.with_name("sprig.safetensors")
    assert refusal(kind.read, place) == f"no {kind.what} here\n  in: {place}\n  near: {near}\n  fix: {near}"


def test_no_file_but_a_folder(kind: Kind, tmp_path: Path) -> None:
    folder = tmp_path / "projector.safetensors"
    folder.mkdir()
    assert refusal(kind.read, folder.parent if kind.format == "projector" else folder) == (
        f"this is no {kind.what}, but a folder\n  in: {folder}\n  fix: {kind.give}"
    )


def test_a_path_below_a_file(kind: Kind, path: Path) -> None:
    for place in (path / "x", path / "x/y"):
        assert refusal(kind.read, place) == (
            f"no {kind.what} here\n  in: {place}\n  file: {path}, which is no folder\n  fix: {kind.fix}"
        )


@pytest.mark.parametrize(
    ("content", "container"),
    [
        (b"PAR1" * 20, ", but a file of Parquet"),
        (b"\x89HDF\r\n\x1a\n" * 20, ", but a file of HDF5"),
        (b"\x93NUMPY" * 20, ", but a file of NPY"),
        (b"PK\x03\x04" * 20, ", but a file of NPZ"),
        (b"\xff" * 100, ""),
        (b"{}" * 50, ""),
    ],
)
def test_a_file_that_is_no_safetensors(kind: Kind, tmp_path: Path, content: bytes, container: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert refusal(kind.read, path) == f"this is no {kind.what}{container}\n  in: {path}\n  fix: {kind.give}"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_file_that_ends_early(kind: Kind, path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError) as error:
        kind.read(path)
    assert str(error.value) == (
        f"the {kind.what} is cut short, or damaged\n  in: {path}\n  reason: {error.value.__cause__}\n"
        f"  fix: make it again: {kind.fix}"
    )


def test_a_file_that_may_not_be_read(kind: Kind, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError("not for you")

    monkeypatch.setattr(tensors, "safe_open", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    assert refusal(kind.read, path) == (
        f"not a readable safetensors file (not for you)\n  in: {path}\n  fix: {kind.fix}"
    )


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
        f"this safetensors file is no {kind.what} of clear-cli\n  in: {path}\n  fix: {kind.give}"
    )


def test_a_file_of_another_kind_of_ours(kind: Kind, path: Path) -> None:
    other = next(one for one in KINDS.values() if one.format != kind.format)
    assert refusal(other.read, path) == (
        f"this safetensors file is no {other.what} of clear-cli\n  in: {path}\n  holds: {kind.format}\n"
        f"  fix: {other.give}"
    )


@pytest.mark.parametrize("version", [2, 0, None, "1"])
def test_a_format_that_is_not_known(kind: Kind, path: Path, version: Any) -> None:
    assert refusal(kind.read, rewritten(path, header={"format_version": version})) == (
        f"{kind.format} format {version} is not supported\n  in: {path}\n  supported: 1\n  fix: upgrade clear-cli"
    )
