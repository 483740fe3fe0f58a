"""The projector on disk: what was written is read again, what is not ours is refused."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from clear_cli.artifact import FIELDS, read_artifact, write_artifact
from clear_cli.projector import Projector
from tests.laws.planted import Floats, fit, planted
from tests.safetensors_files import header_of, rewritten
from tests.safetensors_files import refusal as refusal_of

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


refusal = partial(refusal_of, read_artifact)


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
    path.unlink()
    assert refusal(path.parent).startswith(f"no projector here\n  in: {path}\n")


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
    assert header_of(path) == {
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


@pytest.mark.parametrize("field", FIELDS)
def test_a_tensor_that_is_missing(path: Path, field: str) -> None:
    assert refusal(rewritten(path, drop=f"text.{field}")) == (f'the projector of "text" lacks {field}\n  in: {path}')


@pytest.mark.parametrize("modalities", [None, "image"])
def test_a_header_without_modalities(path: Path, modalities: Any) -> None:
    assert refusal(rewritten(path, header={"modalities": modalities})) == (
        f"the projector does not say of which modalities it is\n  in: {path}\n"
        "  fix: clear-cli fit or clear-cli run writes one"
    )


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
        ({"text.spectrum": np.array([1e-200, *[1e200] * 6])}, "the singular values do not descend to 0 or more"),
        ({"text.spectrum": np.arange(0.0, -7.0, -1)}, "the singular values do not descend to 0 or more"),
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
