"""The projector on disk: what was written is read again, what is not ours is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from clear_cli.artifact import FIELDS, read_artifact, write_artifact
from clear_cli.errors import DataError
from clear_cli.projector import Projector
from tests.laws.planted import Floats, fit, planted

PROVENANCE = {"version": "1.2.3", "rows": {"image": 200, "text": 200}}


@pytest.fixture
def sides() -> dict[str, Floats]:
    image, text = planted(200, (12, 8), dtype=np.float32, offset=2)
    image[:15] = 0.5
    return {"image": image, "text": text}


@pytest.fixture
def projectors(sides: dict[str, Floats]) -> dict[str, Projector]:
    return fit(sides, rank=3, strength={"text": 0.5}).projectors


@pytest.fixture
def path(tmp_path: Path, projectors: dict[str, Projector]) -> Path:
    target = tmp_path / "projector.safetensors"
    write_artifact(target, projectors, PROVENANCE)
    return target


def rewritten(path: Path, *, tensors: dict[str, Any] | None = None, header: Any = None, drop: str = "") -> Path:
    """The same file with other tensors or another header."""
    stored = load_file(path)
    with safe_open(path, framework="numpy") as file:
        old = json.loads(file.metadata()["clear_cli"])
    stored = {name: tensor for name, tensor in {**stored, **(tensors or {})}.items() if name != drop}
    text = header if isinstance(header, str) else json.dumps({**old, **(header or {})})
    save_file({name: np.asarray(tensor) for name, tensor in stored.items()}, path, metadata={"clear_cli": text})
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as error:
        read_artifact(path)
    return str(error.value)


def test_what_was_written_is_read_again(path: Path, projectors: dict[str, Projector]) -> None:
    artifact = read_artifact(path)
    assert list(artifact.projectors) == ["image", "text"]
    assert artifact.provenance == PROVENANCE
    for name, projector in projectors.items():
        again = artifact.projectors[name]
        assert (again.modality, again.rank, again.strength.tolist(), again.scale) == (
            name,
            projector.rank,
            projector.strength.tolist(),
            projector.scale,
        )
        for field in ("mean", "directions", "spectrum", "placeholders"):
            stored, expected = getattr(again, field), getattr(projector, field)
            assert (stored.dtype, stored.shape) == (expected.dtype, expected.shape)
            assert stored.tobytes() == expected.tobytes()


def test_rows_are_projected_alike_before_and_after(
    path: Path, projectors: dict[str, Projector], sides: dict[str, Floats]
) -> None:
    artifact = read_artifact(path)
    for name, x in sides.items():
        assert artifact.projectors[name].transform(x).tobytes() == projectors[name].transform(x).tobytes()


def test_the_directory_that_holds_it_will_do(path: Path) -> None:
    assert read_artifact(path.parent).provenance == read_artifact(path).provenance


def test_the_same_projectors_are_the_same_bytes(path: Path, projectors: dict[str, Projector], tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    write_artifact(again, projectors, dict(reversed(PROVENANCE.items())))
    assert again.read_bytes() == path.read_bytes()
    write_artifact(again, read_artifact(path).projectors, PROVENANCE)
    assert again.read_bytes() == path.read_bytes()


def test_the_file_is_all_it_takes_to_serve(path: Path, sides: dict[str, Floats]) -> None:
    stored = load_file(path)
    for name, x in sides.items():
        u = stored[f"{name}.directions"][:, : int(stored[f"{name}.rank"])]
        s = stored[f"{name}.strength"][: u.shape[1]]
        served = x - (x @ u) * s @ u.T
        np.testing.assert_allclose(served, read_artifact(path).projectors[name].transform(x), atol=2e-6)
        exact = read_artifact(path).projectors[name].transform(x.astype(np.float64))
        np.testing.assert_allclose(served, exact, atol=1e-12)


def test_the_file_says_what_its_page_says(path: Path) -> None:
    stored = load_file(path)
    assert set(stored) == {f"{name}.{field}" for name in ("image", "text") for field in FIELDS}
    assert {name: (tensor.dtype.name, tensor.shape) for name, tensor in stored.items() if "image" in name} == {
        "image.mean": ("float64", (12,)),
        "image.directions": ("float64", (12, 8)),
        "image.spectrum": ("float64", (8,)),
        "image.rank": ("int64", ()),
        "image.strength": ("float64", (8,)),
        "image.scale": ("float64", ()),
        "image.placeholders": ("float32", (1, 12)),
        "image.weights": ("float64", (0, 0)),
        "image.keep_mean": ("int64", ()),
        "image.renorm": ("int64", ()),
        "image.variances": ("float64", (8,)),
        "image.total_variance": ("float64", ()),
    }
    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["clear_cli"])
    assert header == {
        "format": "clear_cli.projector",
        "format_version": 1,
        "modalities": ["image", "text"],
        **PROVENANCE,
    }


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_placeholders_keep_the_type_of_the_input(tmp_path: Path, dtype: Any) -> None:
    a, b = planted(200, (4, 3))
    a[:20] = 1.25
    fitted = fit({"image": a.astype(dtype), "text": b.astype(dtype)})
    write_artifact(tmp_path / "p.safetensors", fitted.projectors, {})
    again = read_artifact(tmp_path / "p.safetensors").projectors
    assert again["image"].placeholders.dtype == dtype
    assert again["image"].placeholders.tolist() == [[1.25] * 4]
    assert again["text"].placeholders.shape == (0, 3)


@pytest.mark.parametrize("names", [("a.b", "a"), ("a", "a.mean"), ("image.rank", "image")])
def test_modalities_with_points_in_their_names_do_not_mix(tmp_path: Path, names: tuple[str, str]) -> None:
    fitted = fit(dict(zip(names, planted(200, (6, 5)), strict=True)))
    write_artifact(tmp_path / "p.safetensors", fitted.projectors, {})
    again = read_artifact(tmp_path / "p.safetensors").projectors
    for name in names:
        assert again[name].directions.tobytes() == fitted.projectors[name].directions.tobytes()


def test_no_file(tmp_path: Path) -> None:
    expected = "no projector here\n  in: {}\n  fix: clear-cli fit or clear-cli run writes one"
    assert refusal(tmp_path / "nothing.safetensors") == expected.format(tmp_path / "nothing.safetensors")
    assert refusal(tmp_path) == expected.format(tmp_path / "projector.safetensors")


@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"PAR1" * 20, b"\xff" * 100, b"{}" * 50])
def test_a_file_that_is_no_safetensors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.safetensors"
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith("not a readable safetensors file (")
    assert message.endswith(f"\n  in: {path}")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_that_ends_early(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert refusal(path).startswith("not a readable safetensors file (")


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"format": "pt"},
        {"clear_cli": "not json"},
        {"clear_cli": "[1]"},
        {"clear_cli": "null"},
        {"clear_cli": '{"format": "other", "modalities": []}'},
        {"clear_cli": '{"format": "clear_cli.projector"}'},
        {"clear_cli": '{"format": "clear_cli.projector", "modalities": "image"}'},
    ],
)
def test_a_safetensors_file_of_others(tmp_path: Path, metadata: Any) -> None:
    path = tmp_path / "p.safetensors"
    save_file({"weight": np.zeros(3)}, path, metadata=metadata)
    assert refusal(path) == f"this safetensors file does not hold clear_cli projectors\n  in: {path}"


@pytest.mark.parametrize("version", [2, 0, None])
def test_a_format_that_is_not_known(path: Path, version: Any) -> None:
    assert refusal(rewritten(path, header={"format_version": version})) == (
        f"projector format {version} is not supported\n  in: {path}\n  supported: 1\n  fix: upgrade clear-cli"
    )


@pytest.mark.parametrize("field", FIELDS)
def test_a_tensor_that_is_missing(path: Path, field: str) -> None:
    assert refusal(rewritten(path, drop=f"text.{field}")) == (f'the projector of "text" lacks {field}\n  in: {path}')


def test_a_modality_that_is_missing(path: Path) -> None:
    assert refusal(rewritten(path, header={"modalities": ["image", "audio"]})) == (
        f'the projector of "audio" lacks {", ".join(FIELDS)}\n  in: {path}'
    )


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({"text.mean": np.zeros(5)}, "a mean of shape (5,) does not fit directions of (8, 7)"),
        ({"text.rank": np.int64(8)}, "rank 8 does not fit 7 directions of 8 dimensions"),
        ({"text.strength": np.float64(2)}, "strength 2.0 is not between 0 and 1"),
        ({"text.strength": np.float64("nan")}, "strength nan is not between 0 and 1"),
    ],
)
def test_a_projector_that_makes_no_sense(path: Path, tensors: dict[str, Any], problem: str) -> None:
    assert refusal(rewritten(path, tensors=tensors)) == f'the projector of "text" is damaged: {problem}\n  in: {path}'


@pytest.mark.parametrize(
    "tensors", [{"text.directions": np.zeros(8)}, {"text.rank": np.zeros(2)}, {"text.scale": np.zeros((2, 2))}]
)
def test_tensors_of_another_shape(path: Path, tensors: dict[str, Any]) -> None:
    assert refusal(rewritten(path, tensors=tensors)).startswith('the projector of "text" is damaged: ')


@pytest.mark.parametrize(
    "tensors",
    [
        {"text.directions": np.full((8, 7), np.nan)},
        {"text.mean": np.full(8, np.inf)},
        {"text.scale": np.float64("nan")},
        {"text.spectrum": np.ones((2, 2))},
        {"text.placeholders": np.ones((2, 5))},
    ],
)
def test_values_that_no_fit_gives(path: Path, tensors: dict[str, Any]) -> None:
    assert refusal(rewritten(path, tensors=tensors)).startswith('the projector of "text" is damaged: ')
