"""Cases that users meet and that are easy to get wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clear_cli
from tests.conftest import Catalogue, Run, write_hdf5, write_npy, write_parquet


@pytest.fixture
def two(files: tuple[Path, Path]) -> list[str]:
    return ["-m", f"image={files[0]}", "-m", f"text={files[1]}"]


def test_a_link_keeps_its_own_name(call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
    (tmp_path / "blobs").mkdir()
    np.save(tmp_path / "blobs/deadbeef.npy", catalogue.image)
    (tmp_path / "image_feat.npy").symlink_to(tmp_path / "blobs/deadbeef.npy")
    text = write_npy(tmp_path / "text_feat.npy", catalogue.text)
    call("run", "-m", f"image={tmp_path}/image_feat.npy", "-m", f"text={text}", "--out", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out/embeddings").iterdir()} == {"image_feat.npy", "text_feat.npy"}


@pytest.mark.parametrize("command", ["run", "fit"])
def test_a_fit_list_that_is_not_there(call: Run, two: list[str], tmp_path: Path, command: str) -> None:
    code, _, err = call(command, *two, "--out", tmp_path / "out", "--fit-items", tmp_path / "none.txt")
    assert code == 3
    assert err == f"error: cannot read the file: no such file or directory\n  in: {tmp_path}/none.txt\n"


def test_a_fit_list_may_name_items_that_only_the_last_modality_has(
    call: Run, tmp_path: Path, catalogue: Catalogue
) -> None:
    image = write_parquet(tmp_path / "image.parquet", catalogue.ids[:300], catalogue.image[:300])
    text = write_hdf5(tmp_path / "text.h5", catalogue.ids, catalogue.text)
    (tmp_path / "all.txt").write_text("\n".join(catalogue.ids))
    _, out, err = call(
        "run", "-m", f"image={image}", "-m", f"text={text}", "--out", tmp_path / "out",
        "--fit-items", tmp_path / "all.txt", "--json",
    )  # fmt: skip
    assert "not known" not in err
    assert json.loads(out)["modalities"]["text"]["rows_by_status"]["incomplete"] == 100


@pytest.mark.parametrize("order", [("image", "text"), ("text", "image")])
def test_placeholders_do_not_depend_on_the_order_of_modalities(
    call: Run, tmp_path: Path, catalogue: Catalogue, order: tuple[str, str]
) -> None:
    image = catalogue.image.copy()
    image[:5] = image[300:340] = image[0]  # five of these rows are of items that have a text
    write_parquet(tmp_path / "image.parquet", catalogue.ids, image)
    write_parquet(tmp_path / "text.parquet", catalogue.ids[:300], catalogue.text[:300])
    sides = [one for name in order for one in ("-m", f"{name}={tmp_path}/{name}.parquet")]
    _, out, _ = call("run", *sides, "--out", tmp_path / "out", "--json")
    assert json.loads(out)["pairs"][0]["items"] == 300


def test_rows_in_another_order_without_ids_are_warned_about(call: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(size=(5_000, 6))
    image = common @ rng.normal(size=(6, 24)) + rng.normal(size=(5_000, 24))
    text = common @ rng.normal(size=(6, 16)) + rng.normal(size=(5_000, 16))
    a, b = write_npy(tmp_path / "image.npy", image), write_npy(tmp_path / "text.npy", rng.permutation(text))
    _, _, err = call("run", "-m", f"image={a}", "-m", f"text={b}", "--out", tmp_path / "out")
    assert 'warning: "image" shares nothing that stands out from chance' in err
    assert "are the rows of the same items in the same order?" in err
    write_npy(tmp_path / "text.npy", text)
    _, _, err = call("run", "-m", f"image={a}", "-m", f"text={b}", "--out", tmp_path / "sorted")
    assert "stands out from chance" not in err


def test_numbers_with_leading_zeros_are_not_numbers(call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
    image = write_parquet(tmp_path / "image.parquet", list(range(400)), catalogue.image)
    text = write_npy(tmp_path / "text.npy", catalogue.text, [f"{i:03d}" for i in range(400)])
    code, _, err = call(
        "run", "-m", f"image={image}", "-m", f"text={text}", "--ids", f"text={tmp_path}/text.txt",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 3
    assert err.startswith('error: ids must be integers here, as in the other modalities, but "000" is none\n')


def test_apply_says_what_is_not_carried_over(call: Run, two: list[str], tmp_path: Path, catalogue: Catalogue) -> None:
    call("fit", *two, "--out", tmp_path / "fit")
    np.save(tmp_path / "text.npy", np.asfortranarray(catalogue.text))
    _, _, err = call("apply", tmp_path / "fit", "-m", f"text={tmp_path}/text.npy", "--out", tmp_path / "new")
    assert 'warning: "text": the file is in Fortran order, the output in C order\n' in err


def test_a_dry_run_looks_at_an_output_that_exists(call: Run, two: list[str], tmp_path: Path) -> None:
    call("run", *two, "--out", tmp_path / "out")
    code, out, _ = call("run", *two, "--out", tmp_path / "out", "--dry-run")
    assert code == 0
    assert "the output exists: the same run again is up to date, another one needs --overwrite\n" in out


def test_without_a_command_there_is_help(call: Run) -> None:
    code, out, err = call()
    assert (code, out) == (2, "")
    assert err.startswith("Usage: clear-cli")


def test_suggestions_of_inspect_can_be_followed(call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
    table = pa.table({
        "item_id": catalogue.ids,
        "one": pa.FixedSizeListArray.from_arrays(pa.array(catalogue.image.ravel()), 24),
        "two": pa.FixedSizeListArray.from_arrays(pa.array(catalogue.text.ravel()), 16),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "a.parquet")
    code, _, err = call("inspect", tmp_path / "a.parquet")
    assert code == 3
    assert err.endswith("  fix: --embedding-column one\n")
    assert call("inspect", tmp_path / "a.parquet", "--embedding-column", "one")[0] == 0


def test_inspect_counts_duplicates_beside_placeholders(tmp_path: Path, catalogue: Catalogue) -> None:
    image = catalogue.image.copy()
    image[:20], image[20:40], image[41] = image[0], image[20], image[40]
    path = write_npy(tmp_path / "image.npy", image)
    health = clear_cli.inspect(str(path))["health"]
    assert (health["placeholder"], health["duplicate"]) == (40, 1)


def test_apply_in_python_knows_two_ways_with_invalid_rows(files: Any, catalogue: Catalogue) -> None:
    fitted = clear_cli.fit({"image": catalogue.image, "text": catalogue.text})
    for given in (fitted, files[0]):
        with pytest.raises(clear_cli.ClearError, match='"raise" is not a value of on_invalid'):
            clear_cli.apply(given, {"image": catalogue.image}, on_invalid="raise")  # type: ignore[arg-type]


def test_a_published_fit_is_loaded_with_its_diagnostics(files: Any, tmp_path: Path) -> None:
    out = clear_cli.run({"image": files[0], "text": files[1]}, tmp_path / "out", rank=3).out
    fitted = clear_cli.load(out)
    assert fitted.diagnostics["pairs"][0]["items"] == 400
    assert repr(fitted) == "Fit(image: rank 3 of 24, text: rank 3 of 16)"
    fitted.save(tmp_path / "again.safetensors")
    assert clear_cli.load(tmp_path / "again.safetensors").diagnostics == {}


def test_inspect_counts_constant_columns_whatever_their_range(tmp_path: Path) -> None:
    rows = np.full((3, 4), 2.0, np.float32)
    rows[:, 0] = [-3e38, 3e38, 1]
    rows[:, 1] = [1, 1, 2]
    health = clear_cli.inspect(write_npy(tmp_path / "image.npy", rows))["health"]
    assert (health["rows"], health["constant_columns"]) == (3, 2)
