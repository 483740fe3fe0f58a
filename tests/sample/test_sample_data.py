"""The sample catalogue holds what its README says, and its script makes the same bytes again."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from threadpoolctl import threadpool_limits

SAMPLE = Path(__file__).parents[2] / "sample_data"
DATA = (
    "attributes.parquet",
    "behaviour.npy",
    "behaviour_ids.txt",
    "image.parquet",
    "new_items_text.h5",
    "pictures.png",
    "text.h5",
    "versions.json",
)
SHARED = ("category", "colour", "pattern", "finish")
PICTURE_ONLY = ("viewpoint", "light", "background", "size")
TEXT_ONLY = ("brand", "use", "audience", "warranty")

Floats = npt.NDArray[Any]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def image() -> tuple[list[str], Floats]:
    table = pq.read_table(SAMPLE / "image.parquet")
    flat = table["embedding"].combine_chunks().flatten().to_numpy()
    return table["item_id"].to_pylist(), flat.reshape(len(table), -1)


def text(name: str = "text.h5") -> tuple[list[str], Floats]:
    with h5py.File(SAMPLE / name) as file:
        return list(file["item_id"].asstr()[:]), file["embedding"][:]


def behaviour() -> tuple[list[str], Floats]:
    return (SAMPLE / "behaviour_ids.txt").read_text().splitlines(), np.load(SAMPLE / "behaviour.npy")


@cache
def attributes() -> dict[str, dict[str, Any]]:
    return {row["item_id"]: row for row in pq.read_table(SAMPLE / "attributes.parquet").to_pylist()}


def usable(ids: list[str], rows: Floats) -> dict[str, Floats]:
    """The rows that stand for themselves: neither zero nor shared by many items."""
    times = Counter(row.tobytes() for row in rows)
    return {i: row for i, row in zip(ids, rows, strict=True) if row.any() and times[row.tobytes()] == 1}


@cache
def complete() -> tuple[list[str], Floats, Floats]:
    """Centred image and text rows of the items that have both."""
    pictures, texts = usable(*image()), usable(*text())
    ids = sorted(pictures.keys() & texts.keys())
    rows = [np.array([one[i] for i in ids], dtype=np.float64) for one in (pictures, texts)]
    return ids, rows[0] - rows[0].mean(0), rows[1] - rows[1].mean(0)


def explained(scores: Floats, ids: list[str], names: tuple[str, ...]) -> float:
    """Share of the scores' variance that a linear model of the named attributes explains."""
    columns = [np.ones((len(ids), 1))]
    for name in names:
        values = np.array([attributes()[i][name] for i in ids])
        columns.append(values[:, None] if values.dtype.kind == "f" else (values[:, None] == np.unique(values)) * 1.0)
    design = np.hstack(columns)
    left = scores - design @ np.linalg.lstsq(design, scores)[0]
    return float(1 - np.square(left).sum() / np.square(scores - scores.mean(0)).sum())


def test_the_files_stay_small() -> None:
    sizes = {name: (SAMPLE / name).stat().st_size for name in DATA}
    assert sum(sizes.values()) < 3_000_000
    assert sizes["pictures.png"] < 150_000


@pytest.mark.parametrize(
    ("read", "shape", "dtype"),
    [
        (image, (1940, 128), np.float32),
        (text, (1965, 96), np.float32),
        (behaviour, (1900, 32), np.float64),
        (lambda: text("new_items_text.h5"), (50, 96), np.float32),
    ],
    ids=["image", "text", "behaviour", "new items"],
)
def test_each_modality_has_its_shape_and_unique_ids(read: Any, shape: tuple[int, int], dtype: type) -> None:
    ids, rows = read()
    assert rows.shape == shape
    assert rows.dtype == dtype
    assert np.isfinite(rows).all()
    assert len(set(ids)) == len(ids) == len(rows)
    assert set(ids) <= attributes().keys()
    assert f"| {shape[0]:,} x {shape[1]} " in (SAMPLE / "README.md").read_text()


def test_the_dirt_is_where_the_readme_says() -> None:
    pictures, texts = image()[1], text()[1]
    ((_, times),) = Counter(row.tobytes() for row in pictures).most_common(1)
    assert times == 24
    assert pictures.any(axis=1).all()
    assert (~texts.any(axis=1)).sum() == 15
    assert len(complete()[0]) == 1870


def test_every_modality_has_an_order_of_its_own() -> None:
    orders = [image()[0], text()[0], behaviour()[0]]
    both = set.intersection(*map(set, orders))
    assert len(both) == 1811
    kept = [[i for i in order if i in both] for order in orders]
    assert kept[0] != kept[1] != kept[2] != kept[0]


def test_new_items_are_new() -> None:
    old = set(image()[0]) | set(text()[0]) | set(behaviour()[0])
    assert not old & set(text("new_items_text.h5")[0])


def test_the_containers_are_as_real_ones_are() -> None:
    file = pq.ParquetFile(SAMPLE / "image.parquet")
    assert file.schema_arrow.names == ["item_id", "embedding", "title", "category", "price"]
    assert file.num_row_groups == 4
    assert file.metadata.row_group(0).column(1).compression == "ZSTD"
    assert b"encoder" in file.schema_arrow.metadata
    with h5py.File(SAMPLE / "text.h5") as texts:
        assert set(texts) == {"embedding", "item_id", "title_length"}
        assert texts["embedding"].compression == "gzip"
        assert texts["embedding"].chunks == (256, 96)
        assert h5py.check_string_dtype(texts["item_id"].dtype).length is None


def test_picture_and_text_share_far_more_than_chance() -> None:
    _, pictures, texts = complete()
    spectrum = np.linalg.svd(pictures.T @ texts, compute_uv=False)
    rng = np.random.default_rng(0)
    chance = max(np.linalg.norm(pictures.T @ rng.permutation(texts), 2) for _ in range(10))
    assert spectrum[0] > 2 * chance
    assert (spectrum > chance).sum() >= 12


@pytest.mark.parametrize(("side", "private"), [(0, PICTURE_ONLY), (1, TEXT_ONLY)], ids=["image", "text"])
def test_shared_directions_hold_shared_attributes_and_the_rest_holds_private_ones(
    side: int, private: tuple[str, ...]
) -> None:
    ids, *rows = complete()
    left, _, right = np.linalg.svd(rows[0].T @ rows[1])
    axes = (left, right.T)[side][:, :16]
    scores = rows[side] @ axes
    rest = rows[side] - scores @ axes.T
    assert explained(scores, ids, SHARED) > 3 * explained(scores, ids, private)
    assert explained(rest, ids, private) > explained(rest, ids, SHARED) > 0


@pytest.mark.slow
def test_the_script_makes_the_same_bytes_again(tmp_path: Path) -> None:
    made_with = json.loads((SAMPLE / "versions.json").read_text())
    if made_with.pop("machine") != f"{platform.system()} {platform.machine()}":
        pytest.skip("the sample was made on another kind of machine, which may round differently")
    pytest.importorskip("skimage")
    here = {name: version(name) for name in made_with}
    if here != made_with:
        pytest.skip(f"the sample was made with {made_with}, here are {here}")
    subprocess.run([sys.executable, "-W", "error", SAMPLE / "build.py", "--out", tmp_path], check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(DATA)
    differing = [name for name in DATA if (tmp_path / name).read_bytes() != (SAMPLE / name).read_bytes()]
    assert not differing
