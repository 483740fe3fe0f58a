"""Which repeated rows are fillers, and which are a coarse modality or families of variants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import clear_cli
from clear_cli.health import RepeatedRows, row_hashes
from tests.conftest import write_parquet

rng = np.random.default_rng(0)


def found(values: Any) -> set[int]:
    """The values, one per row, that are taken for fillers."""
    values = np.asarray(values, dtype=np.float32)[:, None]
    repeated = RepeatedRows()
    for start in range(0, len(values), 1000):
        repeated.update(row_hashes(values[start : start + 1000]))
    hashes = dict(zip(row_hashes(values).tolist(), values[:, 0].tolist(), strict=True))
    return {int(hashes[one]) for one in repeated.placeholders().tolist()}


def test_one_filler_among_rows_that_differ() -> None:
    assert found([7] * 30 + list(range(100, 2_000))) == {7}


@pytest.mark.parametrize("share", [0.3, 0.9, 0.995])
def test_a_filler_may_stand_in_most_rows(share: float) -> None:
    fillers = int(10_000 * share)
    assert found([7] * fillers + list(range(100, 10_100 - fillers))) == {7}


def test_a_few_price_bands_are_no_fillers() -> None:
    assert found(rng.integers(0, 5, 2_000)) == set()


def test_frequent_categories_beside_rare_ones_are_no_fillers() -> None:
    frequent, rare = rng.integers(0, 6, 8_500), rng.integers(100, 500, 1_500)
    assert found(np.concatenate([frequent, rare])) == set()


def test_families_of_variants_do_not_hide_a_filler() -> None:
    families = np.repeat(np.arange(100, 109), 12)
    assert found(np.concatenate([[7] * 3_000, families, np.arange(1_000, 7_892)])) == {7}


def test_ids_of_mixed_signedness_fit_into_one_table(tmp_path: Path) -> None:
    image, text = (rng.normal(size=(300, 4)).astype(np.float32) for _ in range(2))
    big = np.array([*range(299), 2**63 + 5], dtype=np.uint64)
    a = write_parquet(tmp_path / "image.parquet", big, image)
    b = write_parquet(tmp_path / "text.parquet", np.arange(300), text)
    out = clear_cli.run({"image": a, "text": b}, tmp_path / "out", rank=1).out
    ids = pq.read_table(out / "items.parquet", filters=[("modality", "=", "image")])["item_id"].to_pylist()
    assert ids == [str(one) for one in big.tolist()]
