"""What is planted is there to be found, and what is asked of neighbours is what was meant."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from planting import SETTINGS, explained, figures, plant
from retrieval import DEPTH, Interactions, as_written, centred, equally_loud


def test_linear_functions_are_explained_and_strangers_are_not() -> None:
    rng = np.random.default_rng(0)
    x, stranger = rng.standard_normal((4_000, 8)), rng.standard_normal((4_000, 2))
    assert explained(x, x @ rng.standard_normal((8, 3)) + 5) == pytest.approx(1)
    assert -0.02 < explained(x, stranger) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.title)
def test_both_kinds_of_factors_are_in_the_rows(setting: object) -> None:
    catalogue = plant(setting, seed=0)
    found = figures(catalogue, catalogue.fresh, list(catalogue.fresh))
    assert found["leftover"] == found["variance"] == 1
    assert found["shared"] > 0.8
    assert found["together"] > found["shared"]
    assert found["private"] > 0.9


def test_recall_is_of_the_test_items_among_the_nearest_that_were_not_seen(tmp_path: Path) -> None:
    items = DEPTH + 3
    angle = np.linspace(0, 1, items)
    rows = np.c_[np.cos(angle), np.sin(angle)]  # the farther in number, the farther in angle
    told = ["user\titem\tsplit", "0\t0\ttrain", "0\t1\tvalid", f"0\t2\ttest\n0\t{items - 1}\ttest", "1\t4\ttrain"]
    (tmp_path / "interactions.tsv").write_text("\n".join(told), encoding="utf-8")
    taste = Interactions.read(tmp_path / "interactions.tsv", items)
    assert taste.users == 1
    assert taste.recall(rows) == [0.5]


def test_modalities_side_by_side_are_as_loud_as_they_are_said_to_be() -> None:
    rng = np.random.default_rng(0)
    modalities = {"loud": 100 + 30 * rng.standard_normal((50, 3)), "quiet": rng.standard_normal((50, 2))}
    modalities["quiet"][7] = 0  # missing
    assert (as_written(modalities) == np.hstack(list(modalities.values()))).all()
    for together in (equally_loud(modalities), centred(modalities)):
        assert [np.mean((part**2).sum(axis=1)) for part in (together[:, :3], together[:, 3:])] == pytest.approx([1, 1])
        assert not together[7, 3:].any()
    assert centred(modalities)[:, :3].mean(axis=0) == pytest.approx(0)
