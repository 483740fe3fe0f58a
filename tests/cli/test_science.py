"""The audit, new items that are compared, and the options of the fit, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clear_cli.errors import UsageError
from clear_cli.gates import Gate, judge, refuse_unknowable
from clear_cli.metrics import METRICS
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


def test_an_audit_counts_rows_as_a_run_does(call: Run, catalogue: Catalogue, tmp_path: Path) -> None:
    image, text = catalogue.image.copy(), catalogue.text.copy()
    image[20:50], image[60], text[:7], text[390] = image[20], 0, 0, np.nan
    strangers = [f"new-{i}" for i in range(5)]
    inputs = [
        f"-mimage={write_parquet(tmp_path / 'image.parquet', catalogue.ids, image)}",
        f"-mtext={write_parquet(tmp_path / 'text.parquet', catalogue.ids[10:] + strangers, text[:395])}",
    ]
    (tmp_path / "list.txt").write_text("\n".join(catalogue.ids[:300]))
    for more in ([], ["--fit-items", tmp_path / "list.txt"]):
        options = [*inputs, "--on-invalid", "keep", "--json", *more]
        audit = json.loads(call("diagnose", *options, "--gate", "rows_placeholder<=30")[1])
        run = json.loads(call("run", *options, "--out", tmp_path / f"out{len(more)}")[1])
        for name in ("image", "text"):
            for key in ("rows_by_status", "rows_without_other_modality"):
                assert audit["modalities"][name][key] == run["modalities"][name][key]
        assert audit["modalities"]["image"]["rows_by_status"]["placeholder"] == 30
        assert audit["modalities"]["text"]["rows_by_status"]["missing"] == 7
        assert audit["warnings"] == run["warnings"]
        assert '30 rows of "image" are placeholders: left out of the fit, but projected' in audit["warnings"]


def test_an_audit_stops_at_rows_that_are_not_finite_and_in_no_other_modality(
    call: Run, catalogue: Catalogue, tmp_path: Path
) -> None:
    text = catalogue.text.copy()
    text[399] = np.inf
    image = write_parquet(tmp_path / "image.parquet", catalogue.ids[:390], catalogue.image[:390])
    path = write_parquet(tmp_path / "text.parquet", catalogue.ids, text)
    code, _, err = call("diagnose", f"-mimage={image}", f"-mtext={path}")
    assert code == 3
    assert 'embeddings of "text" hold NaN or infinity, first in row 399' in err


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


def test_rows_that_were_cleaned_before_are_not_called_drifted(call: Run, inputs: list[str], tmp_path: Path) -> None:
    call("run", *inputs, "--out", tmp_path / "out", "--rank", "3")
    written = [
        f"{name}={path}"
        for name, path in zip(("image", "text"), sorted((tmp_path / "out/embeddings").iterdir()), strict=True)
    ]
    again = [part for one in written for part in ("-m", one)]
    _, text, err = call("apply", tmp_path / "out", *again, "--out", tmp_path / "again", "--json")
    told = [
        f'the rows of "{name}" look already cleaned by this projector: nothing of what it removes is in them (apply '
        "it to rows as the encoder gives them)"
        for name in ("image", "text")
    ]
    assert json.loads(text)["warnings"] == told
    report = (tmp_path / "again/report.md").read_text()
    assert report.splitlines()[2].startswith("**Look first.** The rows of image and text look already cleaned by this")
    assert "differ from those of the fit" not in err + report
    assert "have drifted from" not in report


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


@pytest.mark.parametrize(
    ("command", "options", "gate", "message"),
    [
        ("run", [], "drift_mean_shift<=1", '"drift_mean_shift" is not computed by run'),
        ("run", ["--no-report"], "rv<=1", '"rv" is not computed with --no-report'),
        ("run", ["--no-report", "--rank", "1"], "significant_rank>0", '"significant_rank" is not computed with'),
        ("run", [], "text+imag.rv<=50%", 'gate "text+imag.rv<=50%" is about nothing here'),
        ("run", [], "leftover_fit<=5", '"leftover_fit" is a share: the whole is 1, or 100%'),
        ("diagnose", [], "variance_kept>=0.5", '"variance_kept" is not computed by diagnose'),
        ("diagnose", [], "tex.rank>=1", 'gate "tex.rank>=1" is about nothing here'),
        ("apply", ["nowhere"], "leftover_heldout<=1", '"leftover_heldout" is not computed by apply'),
    ],
)
def test_a_gate_that_cannot_be_judged_is_refused_before_anything_is_read(
    call: Run, tmp_path: Path, command: str, options: list[str], gate: str, message: str
) -> None:
    inputs = [f"-m{name}={tmp_path}/absent.npy" for name in ("image", "text")]
    code, _, err = call(command, *options, *inputs, "--out", tmp_path / "out", "--gate", gate)
    assert (code, err.partition("\n")[0].startswith(f"error: {message}")) == (2, True), err
    assert "\n  in: --gate\n" in err


def test_what_to_do_about_a_gate_that_cannot_be_judged(call: Run, tmp_path: Path) -> None:
    def fix(*arguments: object) -> str:
        code, _, err = call(*arguments, "-mimage=absent.npy", "-mtext=absent.npy", "--out", tmp_path / "out")
        assert code == 2
        return err.splitlines()[-1].removeprefix("  fix: ")

    assert fix("run", "--gate", "image+txt.rv<=50%") == "--gate 'image+text.rv<=0.5'"
    assert fix("run", "--gate", "drift_mean_shift<=1") == "clear-cli apply, or one of these"
    assert fix("run", "--no-report", "--gate", "scale_ratio<=1") == "--report, or one of these"


def test_a_gate_on_pairs_of_one_modality(call: Run, tmp_path: Path) -> None:
    one = ["nowhere", "-mtext=absent.npy", "--out", tmp_path / "out"]
    code, _, err = call("apply", *one, "--gate", "leftover_new_items<=1")
    assert (code, err) == (
        2,
        'error: gate "leftover_new_items<=1" is about nothing here\n  in: --gate\n  known: one modality, and no pair\n'
        "  fix: another gate\n",
    )


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("run", {}),
        ("run", {"report": False}),
        ("run", {"report": False, "tested": False}),
        ("diagnose", {}),
        ("fit", {}),
        ("apply", {}),
        ("apply", {"report": False}),
    ],
)
def test_what_may_be_gated_is_what_is_computed(
    call: Run, inputs: list[str], tmp_path: Path, command: str, options: dict[str, bool]
) -> None:
    assert call("fit", *inputs, "--out", tmp_path / "fitted")[0] == 0
    flags = ([] if options.get("report", True) else ["--no-report"]) + (
        [] if options.get("tested", True) else ["--rank", "2"]
    )
    arguments = [command, *([tmp_path / "fitted"] if command == "apply" else []), *inputs, *flags]
    found = json.loads(call(*arguments, "--out", tmp_path / "out", "--json")[1])
    found |= {"scale_ratio": json.loads((tmp_path / "out/diagnostics.json").read_text()).get("scale_ratio")}
    computed = {one for one in METRICS if all(v.value is not None for v in judge([Gate.parse(f"{one}>=0")], found))}

    def offered(metric: str) -> bool:
        try:
            refuse_unknowable([Gate.parse(f"{metric}>=0")], command, ["image", "text"], **options)
        except UsageError:
            return False
        return True

    assert computed == {one for one in METRICS if offered(one)}


def test_a_gate_that_is_none_is_refused_before_the_work(call: Run, inputs: list[str], tmp_path: Path) -> None:
    code, _, err = call("run", *inputs, "--out", tmp_path / "out", "--gate", "leftover<=0.1")
    assert (code, err.splitlines()[0]) == (2, 'error: no metric "leftover"')
    assert not (tmp_path / "out").exists()
    code, _, err = call("check", tmp_path)
    assert (code, err) == (2, "error: nothing to check\n  fix: --gate 'leftover_heldout<=0.1'\n")
