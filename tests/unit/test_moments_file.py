"""The moments file on disk: what was written is read again, and whatever is wrong with one is said in one error."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from clear_cli.workflow.evidence import Evidence
from clear_cli.workflow.moments_file import read_moments, write_moments
from tests.laws.planted import fit, planted
from tests.safetensors_files import header_of, rewritten
from tests.safetensors_files import refusal as refusal_of

FIX = "\n  fix: clear-cli fit ... --moments-out FILE writes one"
PAIR = "image|text"


refusal = partial(refusal_of, read_moments)


def gathered(**options: Any) -> Evidence:
    image, text = planted(200, (12, 8), dtype=np.float32, offset=2)
    image[:15] = 0.5
    found: list[Evidence] = []
    ids = [f"item-{i}" for i in range(200)]
    sides = {"image": image, "text": text}
    fit(sides, ids=dict.fromkeys(sides, ids), keep=found.append, **options)
    return found[0]


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return gathered(directions="correlation")


@pytest.fixture
def path(tmp_path: Path, evidence: Evidence) -> Path:
    target = tmp_path / "day1.moments"
    write_moments(evidence, target)
    return target


def test_the_file_says_what_its_page_says(path: Path) -> None:
    moments = {"count": (32,), "products": (32, 12, 8)}
    sides = {"sums_a": (32, 12), "sums_b": (32, 8), "pilot_a": (12,), "pilot_b": (8,)}
    scalars = dict.fromkeys(("squares_a", "squares_b", "exponents_a", "exponents_b"), (32,))
    shapes = {f"{PAIR}.moments.{name}": shape for name, shape in {**moments, **sides, **scalars}.items()}
    for side, d in (("a", 12), ("b", 8)):
        own = {"count": (4,), "products": (4, d, d), **dict.fromkeys(("sums_a", "sums_b"), (4, d))}
        own |= {**dict.fromkeys(("pilot_a", "pilot_b"), (d,)), **dict.fromkeys(scalars, (4,))}
        shapes |= {f"{PAIR}.own_{side}.{name}": shape for name, shape in own.items()}
    sample = {"hashes": (185,), "contents": (185,), "rows_a": (185, 12), "rows_b": (185, 8)}
    shapes |= {f"{PAIR}.sample.{name}": shape for name, shape in sample.items()}
    shapes |= {"image.placeholders": (1, 12), "text.placeholders": (0, 8)}
    stored = load_file(path)
    assert {name: tensor.shape for name, tensor in stored.items()} == shapes
    assert {name: one.dtype.name for name, one in stored.items() if one.dtype != np.float64} == {
        **{name: "int64" for name in shapes if name.endswith(("count", "exponents_a", "exponents_b"))},
        **{f"{PAIR}.sample.{name}": "uint64" for name in ("hashes", "contents")},
        **{f"{PAIR}.sample.{name}": "float32" for name in ("rows_a", "rows_b")},
        **{f"{name}.placeholders": "float32" for name in ("image", "text")},
    }
    header = header_of(path)
    assert header.pop("version")
    assert header == {
        "format": "clear_cli.moments",
        "format_version": 1,
        "modalities": [
            {"name": "image", "rows": 200, "dim": 12, "dtype": "float32", "ids": "string"},
            {"name": "text", "rows": 200, "dim": 8, "dtype": "float32", "ids": "string"},
        ],
        "pairs": [{"modalities": ["image", "text"], "own": True, "sample_capacity": 20000}],
        "settings": {"winsorise": None, "grouped": False},
    }


def test_what_is_read_names_the_file_it_is_from(path: Path) -> None:
    assert {one.where for one in read_moments(path).modalities.values()} == {str(path)}
    assert str(path.parent).encode() not in path.read_bytes()


def test_without_a_report_there_is_no_sample(tmp_path: Path) -> None:
    write_moments(gathered(report=False), tmp_path / "m")
    again = read_moments(tmp_path / "m")
    assert (again.samples, again.own, list(again.moments)) == ({}, {}, [("image", "text")])


MODALITY = {"name": "image", "rows": 200, "dim": 12, "dtype": "float32", "ids": "string"}
OTHER = {**MODALITY, "name": "text", "dim": 8}


@pytest.mark.parametrize(
    "header",
    [
        {"modalities": None},
        {"modalities": []},
        {"modalities": [MODALITY]},
        {"modalities": [{**MODALITY, "rows": -1}, OTHER]},
        {"modalities": [{**MODALITY, "rows": 2.5}, OTHER]},
        {"modalities": [{**MODALITY, "dim": 0}, OTHER]},
        {"modalities": [{**MODALITY, "dim": True}, OTHER]},
        {"modalities": [{**MODALITY, "dtype": "int8"}, OTHER]},
        {"modalities": [{**MODALITY, "dtype": "float31"}, OTHER]},
        {"modalities": [{**MODALITY, "ids": "guess"}, OTHER]},
        {"modalities": [MODALITY, OTHER, {**MODALITY, "name": "audio"}]},
        {"pairs": "image|text"},
        {"pairs": []},
        {"pairs": [{"modalities": ["image", "text"]}]},
        {"pairs": [{"modalities": ["image", "image"], "own": False, "sample_capacity": None}]},
        {"pairs": [{"modalities": ["image", "audio"], "own": False, "sample_capacity": None}]},
        {"pairs": [{"modalities": ["image", "text"], "own": False, "sample_capacity": -1}]},
        {"settings": None},
        {"settings": 3},
    ],
)
def test_a_header_that_makes_no_sense(path: Path, header: dict[str, Any]) -> None:
    message = refusal(rewritten(path, header=header))
    assert message.startswith("the moments file is damaged: its header makes no sense (")
    assert message.endswith(f"\n  in: {path}{FIX}")


@pytest.mark.parametrize(
    "name", [f"{PAIR}.moments.count", f"{PAIR}.own_b.pilot_a", f"{PAIR}.sample.rows_b", "text.placeholders"]
)
def test_an_array_that_is_missing(path: Path, name: str) -> None:
    assert refusal(rewritten(path, drop=name)) == f"the moments file is damaged: it lacks {name}\n  in: {path}{FIX}"


nan, scale = np.full((32, 12, 8), np.nan), np.zeros(32, np.int64)


@pytest.mark.parametrize(
    ("name", "array", "problem"),
    [
        ("moments.count", np.zeros(31, np.int64), "is int64 (31,), not int64 (32)"),
        ("moments.count", np.zeros(32), "is float64 (32,), not int64 (32)"),
        ("moments.count", np.full(32, -1), "is negative"),
        ("moments.products", np.zeros((32, 8, 12)), "is float64 (32, 8, 12), not float64 (32, 12, 8)"),
        ("moments.products", nan, "holds NaN or infinity"),
        ("moments.sums_a", np.full((32, 12), np.inf), "holds NaN or infinity"),
        ("moments.squares_b", np.full(32, -1.0), "is negative"),
        ("moments.exponents_a", np.arange(32), "is not one scale for all buckets"),
        ("moments.exponents_b", scale + 2**40, "is not one scale for all buckets"),
        ("own_a.products", np.zeros((4, 12, 8)), "is float64 (4, 12, 8), not float64 (4, 12, 12)"),
        ("sample.hashes", np.zeros(3, np.int64), "is int64 (3,), not uint64 (any)"),
        ("sample.contents", np.zeros(3, np.uint64), "is uint64 (3,), not uint64 (185)"),
        ("sample.rows_a", np.zeros((185, 12)), "is float64 (185, 12), not float32 (185, 12)"),
        ("sample.rows_b", np.full((185, 8), np.nan, np.float32), "holds NaN or infinity"),
    ],
)
def test_an_array_that_no_fit_writes(path: Path, name: str, array: Any, problem: str) -> None:
    assert refusal(rewritten(path, tensors={f"{PAIR}.{name}": array})) == (
        f"the moments file is damaged: {PAIR}.{name} {problem}\n  in: {path}{FIX}"
    )


def test_moments_beyond_all_numbers(path: Path) -> None:
    tensors = {f"{PAIR}.moments.exponents_a": scale - 1500, f"{PAIR}.moments.sums_a": np.full((32, 12), 1e300)}
    assert refusal(rewritten(path, tensors=tensors)) == (
        f"the moments file is damaged: {PAIR}.moments is beyond the range of float64\n  in: {path}{FIX}"
    )


@pytest.mark.parametrize(("name", "shape"), [("sums_b", (32, 8)), ("products", (32, 12, 8))])
def test_sums_that_no_rows_have(path: Path, name: str, shape: tuple[int, ...]) -> None:
    assert refusal(rewritten(path, tensors={f"{PAIR}.moments.{name}": np.full(shape, 1e9)})) == (
        f"the moments file is damaged: {PAIR}.moments.{name} are larger than the squares allow\n  in: {path}{FIX}"
    )


@pytest.mark.parametrize("capacity", [184, 20_001, 10**15])
def test_a_sample_that_does_not_fit(path: Path, capacity: int) -> None:
    pairs = [{"modalities": ["image", "text"], "own": True, "sample_capacity": capacity}]
    assert refusal(rewritten(path, header={"pairs": pairs})) == (
        f"the moments file is damaged: {PAIR}.sample has 185 items and room for {capacity}\n  in: {path}{FIX}"
    )
