"""The audit, new items that are compared, and the options of the fit, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import Catalogue, Run, planted, read_parquet, write_npy, write_parquet


@pytest.fixture
def inputs(files: tuple[Path, Path]) -> list[str]:
    return ["-m", f"image={files[0]}", "-m", f"text={files[1]}"]


def test_an_audit_prints_what_it_finds_and_writes_nothing(call: Run, inputs: list[str], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, out, _ = call("diagnose", *inputs, "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["out"], found["outputs"], found["command"]) == (None, [], "diagnose")
    assert found["pairs"][0]["sample"]["canonical_correlations_significant"]["before"] >= 4
    assert sorted(tmp_path.rglob("*")) == before


def test_an_audit_is_published_where_it_is_told_to(call: Run, inputs: list[str], tmp_path: Path) -> None:
    out = tmp_path / "audit"
    assert call("diagnose", *inputs, "--out", out, "--curve")[0] == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "diagnostics.json",
        "manifest.json",
        "report.html",
        "report.md",
    ]
    curve = json.loads((out / "diagnostics.json").read_text())["pairs"][0]["curve"]
    assert all(0 <= point["neighbour_overlap"] <= 1 for point in curve)
    code, text, _ = call("diagnose", *inputs, "--out", out, "--curve")
    assert (code, "up to date" in text) == (0, True)
    assert call("diagnose", *inputs, "--out", out)[0] == 4, "other parameters"


def test_an_audit_finds_what_a_run_finds(call: Run, inputs: list[str], tmp_path: Path) -> None:
    audit = json.loads(call("diagnose", *inputs, "--json")[1])
    run = json.loads(call("run", *inputs, "--out", tmp_path / "out", "--json")[1])
    assert audit["pairs"] == run["pairs"]


def test_independent_modalities_come_out_as_they_went_in(call: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    sides = {"image": rng.normal(size=(2000, 24)).astype(np.float32), "text": rng.normal(size=(2000, 16))}
    paths = {name: write_npy(tmp_path / f"{name}.npy", x) for name, x in sides.items()}
    code, _, err = call("run", *(f"-m{name}={path}" for name, path in paths.items()), "--out", tmp_path / "out")
    assert code == 0
    assert 'warning: "text" shares nothing that stands out from chance, so nothing is removed from it' in err
    for name, x in sides.items():
        assert np.load(tmp_path / f"out/embeddings/{name}.npy").tobytes() == x.tobytes()


def test_new_items_that_drifted_are_warned_about(call: Run, inputs: list[str], tmp_path: Path) -> None:
    call("run", *inputs, "--out", tmp_path / "out", "--rank", "3")
    new = planted(100, seed=9)
    same = write_npy(tmp_path / "same.npy", planted().text)
    assert (
        "differ from those of the fit"
        not in call("apply", tmp_path / "out", "-m", f"text={same}", "--out", tmp_path / "a")[2]
    )
    other = write_npy(tmp_path / "other.npy", new.text * 7)
    _, _, err = call("apply", tmp_path / "out", "-m", f"text={other}", "--out", tmp_path / "b")
    assert 'warning: new rows of "text" differ from those of the fit inside the removed directions' in err


def test_new_items_of_two_modalities_are_compared(call: Run, inputs: list[str], tmp_path: Path) -> None:
    call("run", *inputs, "--out", tmp_path / "out", "--rank", "3")
    _, out, _ = call("apply", tmp_path / "out", *inputs, "--out", tmp_path / "again", "--json")
    (pair,) = json.loads(out)["pairs"]
    fitted = json.loads((tmp_path / "out/diagnostics.json").read_text())["pairs"][0]
    assert pair["items"] == fitted["items"]
    assert pair["leftover"]["new_items_algebraic"] == pytest.approx(fitted["leftover"]["fit_algebraic"], rel=1e-6)


def test_new_items_that_cannot_be_compared_are_no_error(
    call: Run, files: Any, tmp_path: Path, catalogue: Catalogue
) -> None:
    call("run", "-m", f"image={files[0]}", "-m", f"text={files[1]}", "--out", tmp_path / "out")
    numbers = write_parquet(tmp_path / "numbers.parquet", list(range(400)), catalogue.image)
    code, _, err = call(
        "apply", tmp_path / "out", "-m", f"image={numbers}", "-m", f"text={files[1]}", "--out", tmp_path / "new"
    )
    assert code == 0
    assert "warning: the leftover of these items was not measured: item ids are strings in one modality" in err


def test_groups_keep_items_together(call: Run, tmp_path: Path) -> None:
    # Ten nearly equal variants of each product: by contents they would be in different folds.
    ids = [f"{i}-{j}" for i in range(60) for j in range(10)]
    rng = np.random.default_rng(0)
    image, text = (
        np.repeat(rng.normal(size=(60, dim)), 10, axis=0) + 0.01 * rng.normal(size=(600, dim)) for dim in (24, 16)
    )
    path = write_parquet(tmp_path / "image.parquet", ids, image)
    table = pq.read_table(path)
    pq.write_table(table.append_column("product", pa.array([one.split("-")[0] for one in ids])), path)
    other = write_parquet(tmp_path / "text.parquet", ids, text)
    inputs = ("-m", f"image={path}", "-m", f"text={other}", "--id-column", "image=item_id", "--rank", "2", "--json")
    significant = {
        how: json.loads(call("diagnose", *inputs, *options)[1])["modalities"]["image"]["significant_rank"]
        for how, options in (("contents", ()), ("groups", ("--group-column", "image=product")))
    }
    assert significant["groups"] == 0 < significant["contents"], "sixty products, not six hundred items"
    code, _, err = call("diagnose", *inputs, "--group-column", "image=brand")
    assert code == 3
    assert 'column "brand" not found' in err
    two = ("--group-column", "image=product", "--group-column", "text=product")
    assert call("diagnose", *inputs, *two)[0] in (2, 3)


def test_the_options_of_the_fit_reach_the_projector(call: Run, inputs: list[str], files: Any, tmp_path: Path) -> None:
    options = {
        "soft": ("--strength", "soft"),
        "oblique": ("--removal", "oblique", "--keep-mean"),
        "correlation": ("--directions", "correlation", "--scale", "rms"),
        "unit": ("--renorm", "unit", "--winsorise", "99%"),
    }
    rows = {}
    for name, more in options.items():
        assert call("run", *inputs, "--out", tmp_path / name, "--rank", "3", *more)[0] == 0
        rows[name] = read_parquet(tmp_path / name / "embeddings/image.parquet")
        again = tmp_path / f"{name}-again"
        assert call("apply", tmp_path / name, "-m", f"image={files[0]}", "--out", again)[0] == 0
        assert np.array_equal(read_parquet(again / "embeddings/image.parquet"), rows[name])
    before = read_parquet(files[0])
    np.testing.assert_allclose(np.linalg.norm(rows["unit"], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows["oblique"].mean(axis=0), before.mean(axis=0), atol=1e-4)
    assert np.sqrt(np.mean(np.sum(rows["correlation"] ** 2, axis=1))) < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--strength", "soft", "--removal", "oblique"],
            "error: soft strength shrinks what an orthogonal removal takes\n",
        ),
        (["--renorm", "unit", "--scale", "rms"], "error: rows that are given a norm cannot also be scaled\n"),
        (
            ["--renorm", "units"],
            'error: "units" is not a value of --renorm\n  known: none, original, unit\n  fix: --renorm unit',
        ),
        (["--winsorise", "2"], 'error: "2" is not a percentage\n  in: --winsorise\n  fix: --winsorise 99%'),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    call: Run, inputs: list[str], tmp_path: Path, options: list[str], message: str
) -> None:
    code, out, err = call("run", *inputs, "--out", tmp_path / "out", *options)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert not (tmp_path / "out").exists()


def test_gates_are_judged_after_the_output_is_there(call: Run, inputs: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    good, bad = "leftover_heldout<=0.9", "text.variance_kept>=99%"
    code, text, err = call("run", *inputs, "--out", out, "--gate", good, "--gate", bad, "--json")
    assert code == 5
    assert [(one["gate"]["text"], one["passed"]) for one in json.loads(text)["gates"]] == [(good, True), (bad, False)]
    assert f"error: 1 of 2 gates failed\n  in: {out}\n  failed: {bad}: " in err
    assert (out / "manifest.json").exists()
    code, text, _ = call("check", out, "--gate", good)
    assert code == 0
    assert text.splitlines()[1].split() == [good, "image+text", text.splitlines()[1].split()[2], "passed"]
    assert call("check", out, "--gate", bad)[0] == 5
    assert call("check", out / "diagnostics.json", "--gate", "rv<=1", "--json")[0] == 0
    assert call("run", *inputs, "--out", out, "--gate", bad)[0] == 5, "up to date, and no better"


def test_a_gate_that_is_none_is_refused_before_the_work(call: Run, inputs: list[str], tmp_path: Path) -> None:
    code, _, err = call("run", *inputs, "--out", tmp_path / "out", "--gate", "leftover<=0.1")
    assert (code, err.splitlines()[0]) == (2, 'error: no metric "leftover"')
    assert not (tmp_path / "out").exists()
    code, _, err = call("check", tmp_path)
    assert (code, err) == (2, "error: nothing to check\n  fix: --gate 'leftover_heldout<=0.1'\n")
