"""Recommenders that read files by convention: their loaders, as far as the files concern them."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Floats
from tests.consumers.containers import assert_projected, clean, items, projected


def mmrec(folder: Path, file: str, n_items: int) -> Floats:
    """MMRec and its kin: row i is the item whose number is i."""
    features: Floats = np.load(folder / file, allow_pickle=True).astype(np.float32)
    assert len(features) == n_items
    return features


def elliot(folder: Path) -> dict[int, Floats]:
    """Elliot, and Ducho before it: every file of the folder is an item, its name the item's number."""
    items = {int(name.split(".")[0]) for name in os.listdir(folder)}  # noqa: PTH208  (as Elliot does)
    return {item: np.load(folder / f"{item}.npy") for item in items}


def recbole(path: Path, known: list[str]) -> Floats:
    """RecBole's preloaded weights: a row per known item after row 0, which is padding; zeros where none is given."""
    with path.open() as file:
        header, *lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    assert [field.split(":")[1] for field in header] == ["token", "float_seq"]
    vectors = {item: [float(one) for one in filter(None, values.split(" "))] for item, values in lines}
    weights = np.zeros((len(known) + 1, max(map(len, vectors.values()))), np.float32)
    for row, item in enumerate(known, 1):
        if item in vectors:
            weights[row] = vectors[item]
    return weights


@pytest.mark.parametrize(("image_floats", "text_floats"), [("float64", "float32"), ("float32", "float16")])
def test_mmrec_finds_the_features_of_every_item_in_its_row(tmp_path: Path, image_floats: str, text_floats: str) -> None:
    some = items()
    image, text = some.image.astype(image_floats), some.text[::-1].astype(text_floats)
    np.save(tmp_path / "image_feat.npy", image)
    np.save(tmp_path / "text_feat.npy", text)
    embeddings = clean(tmp_path / "image_feat.npy", tmp_path / "text_feat.npy", tmp_path / "out")
    for file, before, modality in (("image_feat.npy", image, "image"), ("text_feat.npy", text, "text")):
        features = mmrec(embeddings, file, n_items=len(before))
        expected = projected(embeddings, before, modality)
        np.testing.assert_allclose(features, expected, rtol=0, atol=2e-2 if before.dtype == np.float16 else 1e-5)
        assert np.array_equal(features.any(axis=1), before.any(axis=1))


@pytest.mark.parametrize("leading", [(), (1,)], ids=["vectors", "matrices of one row"])
def test_elliot_finds_a_file_for_every_item(tmp_path: Path, leading: tuple[int, ...]) -> None:
    numbers = [int(one) for one in np.random.default_rng(2).permutation(5_000)[:200]]
    some = items(ids=[str(one) for one in numbers])
    inputs = {
        "visual": dict(zip(numbers, some.image, strict=True)),
        "textual": dict(zip(numbers[::-1], some.text, strict=True)),
    }
    for name, rows in inputs.items():
        (tmp_path / name).mkdir()
        for item, row in rows.items():
            np.save(tmp_path / f"{name}/{item}.npy", row.reshape(*leading, -1))
    embeddings = clean(tmp_path / "visual", tmp_path / "textual", tmp_path / "out")
    for name, modality in (("visual", "image"), ("textual", "text")):
        found = elliot(embeddings / name)
        assert found.keys() == inputs[name].keys()
        assert {one.shape for one in found.values()} == {(*leading, len(inputs[name][numbers[0]]))}
        before = np.stack([inputs[name][item] for item in found])
        after = np.stack([row.ravel() for row in found.values()])
        assert_projected(after, before, projected(embeddings, before, modality))


def test_recbole_finds_the_vector_of_every_token(tmp_path: Path) -> None:
    some = items()
    inputs = {
        "image": dict(zip(some.ids, some.image, strict=True)),
        "text": dict(zip(some.ids[::-1], some.text, strict=True)),
    }
    for name, rows in inputs.items():
        with (tmp_path / f"baby_{name}.itememb").open("w") as file:
            file.write(f"iid:token\t{name}_emb:float_seq\n")
            file.writelines(f"{item}\t{' '.join(f'{one:.9g}' for one in row)}\n" for item, row in rows.items())
    embeddings = clean(tmp_path / "baby_image.itememb", tmp_path / "baby_text.itememb", tmp_path / "out")
    known = [*sorted(some.ids)[:150], "never described"]
    for name, rows in inputs.items():
        before, after = tmp_path / f"baby_{name}.itememb", embeddings / f"baby_{name}.itememb"
        assert _tokens(after) == _tokens(before)
        weights = recbole(after, known)
        assert not weights[[0, -1]].any()
        described = np.stack([rows[item] for item in known[:-1]])
        assert_projected(weights[1:-1], described, projected(embeddings, described, name))


def _tokens(path: Path) -> list[Any]:
    """The header and the tokens, in the order of the file."""
    lines = path.read_text().splitlines()
    return [lines[0], *(line.split("\t")[0] for line in lines[1:])]
