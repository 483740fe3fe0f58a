"""Runs side by side: what is the same, what differs, and what cannot be compared."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from tests.contract.conftest import Outputs

ATTACK = "<script>alert(1)</script>|`x`"

OTHER_CHANCE = (
    "The leftover by chance of image + text differs between runs, as it depends on the items and on what is removed: "
    "compare how far each leftover is above its own."
)


def compared(call: Run, *paths: Path | str) -> dict[str, Any]:
    code, out, err = call("compare", *paths, "--json")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def differing(figures: dict[str, Any]) -> set[str]:
    return {name for name, one in figures.items() if one["differs"]}


def test_a_run_does_not_differ_from_itself(call: Run, outputs: Outputs) -> None:
    found = compared(call, outputs.folder / "run", outputs.folder / "run")
    sections = [found["about"], *(one["figures"] for one in (*found["pairs"], *found["modalities"].values()))]
    assert [differing(one) for one in sections] == [set()] * 4
    assert (found["parameters"], found["notes"]) == ({}, [])


def test_figures_are_those_of_the_diagnostics(call: Run, outputs: Outputs) -> None:
    names = ("run", "per_modality")
    found = compared(call, *(outputs.folder / name for name in names))
    documents = [outputs.documents()[name] for name in names]
    figures = found["pairs"][0]["figures"]
    for i, document in enumerate(documents):
        pair, sample = document["pairs"][0], document["pairs"][0]["sample"]
        value = {name: one["values"][i] for name, one in figures.items()}
        held_out = pair["leftover"]["held_out"]
        assert value["leftover_heldout"] == {key: held_out[key] for key in ("value", "low", "high", "chance")}
        assert value["leftover_chance"] == held_out["chance"]
        assert value["leftover_fit"] == pair["leftover"]["fit_algebraic"]
        assert value["complete_items"] == pair["items"]
        for side in ("before", "after"):
            assert value["rv"][side] == sample["rv"][side]
            assert value["cka_debiased"][side] == sample["cka_debiased"][side]
            assert value["neighbour_overlap"][side] == sample["neighbour_overlap"][side]
            held = sample["held_out"][side]
            assert value["canonical_correlation_heldout"][side] == held["canonical_correlation_top"]["value"]
            assert value["text.linear_r2_heldout"][side] == held["linear_r2"][0]["value"]
            assert value["image.linear_r2_heldout"][side] == held["linear_r2"][1]["value"]
        for name, one in document["modalities"].items():
            of = {key: line["values"][i] for key, line in found["modalities"][name]["figures"].items()}
            assert [of[key] for key in ("rank", "strength", "variance_kept", "mean_squared_distortion")] == [
                one[key] for key in ("rank", "strength", "variance_kept", "mean_squared_distortion")
            ]


def test_parameters_that_differ_are_shown_and_no_others(call: Run, outputs: Outputs) -> None:
    found = compared(call, outputs.folder / "run", outputs.folder / "per_modality", outputs.folder / "soft")
    assert {name: one["values"] for name, one in found["parameters"].items()} == {
        "rank": ["2", "auto", "auto"],
        "renorm": ["none", "none", "original"],
        "strength": ["1", "image: 0, text: 0.5", "soft"],
        "winsorise": ["none", "none", "0.99"],
    }


def test_the_order_of_modalities_does_not_matter(call: Run, outputs: Outputs) -> None:
    found = compared(call, outputs.folder / "run", outputs.folder / "reversed")
    (pair,) = found["pairs"]
    assert pair["modalities"] == ["image", "text"]
    r2 = [pair["figures"][f"{name}.linear_r2_heldout"]["values"] for name in ("image", "text")]
    for one, other in r2:
        assert one["after"] == pytest.approx(other["after"], abs=0.01)  # other folds
    assert r2[0][0]["after"] != pytest.approx(r2[1][0]["after"], abs=0.02)


def test_other_modalities_and_inputs_are_told(call: Run, outputs: Outputs) -> None:
    found = compared(call, *(outputs.folder / name for name in ("three", "run", "noise")))
    assert found["notes"] == [
        "text was read from different files by three, run and by noise: where its figures differ, the data may be the "
        "reason.",
        "audio is in three alone, and not shown.",
        OTHER_CHANCE,
    ]
    assert set(found["modalities"]) == {"image", "text"}
    assert [one["modalities"] for one in found["pairs"]] == [["image", "text"]]


def test_a_pair_that_one_run_did_not_fit_is_told(call: Run, outputs: Outputs, tmp_path: Path) -> None:
    document = outputs.documents()["three"]
    document["pairs"] = [one for one in document["pairs"] if one["modalities"] != ["text", "audio"]]
    (tmp_path / "diagnostics.json").write_text(json.dumps(document))
    found = compared(call, outputs.folder / "three", tmp_path)
    assert f"text + audio is in {found['runs'][0]} alone, and not shown." in found["notes"]
    assert [one["modalities"] for one in found["pairs"]] == [["image", "text"], ["image", "audio"]]


def test_what_has_no_manifest_is_told(call: Run, outputs: Outputs) -> None:
    found = compared(call, outputs.folder / "run", outputs.folder / "soft/diagnostics.json")
    assert found["notes"] == ["There is no manifest of soft/diagnostics.json: its inputs and parameters are not known."]
    assert found["about"]["command"] == {"values": ["run", None], "differs": False}


def test_new_items_stand_beside_the_fit(call: Run, outputs: Outputs) -> None:
    figures = compared(call, outputs.folder / "run", outputs.folder / "apply")["pairs"][0]["figures"]
    left, new = figures["leftover_fit"]["values"], figures["leftover_new_items"]["values"]
    assert [one is None for one in (*left, *new)] == [False, True, True, False]


def test_runs_are_called_as_they_were_given(
    call: Run, outputs: Outputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("monday/clean", "tuesday/clean", "clean"):
        shutil.copytree(outputs.folder / "run", tmp_path / place)
    monkeypatch.chdir(tmp_path)
    for given, called in {
        ("clean", "monday/clean"): ["clean", "monday/clean"],
        ("monday/clean/", "tuesday/clean"): ["monday/clean", "tuesday/clean"],
        (tmp_path / "monday/clean", tmp_path / "tuesday/clean"): ["monday/clean", "tuesday/clean"],
        (tmp_path / "clean", "clean/diagnostics.json"): [str(tmp_path / "clean"), "clean/diagnostics.json"],
    }.items():
        assert compared(call, *given)["runs"] == called


def test_no_two_runs_are_called_the_same(
    call: Run, outputs: Outputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("clean", "clean/clean", "clean/clean (1)", "half"):
        shutil.copytree(outputs.folder / "run", tmp_path / place, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "clean")
    for given, called in {
        (".", "clean"): ["clean (1)", "clean (2)"],
        (".", "../half", "./", "clean/"): ["clean (1)", "../half", "clean (2)", "clean (3)"],
        (tmp_path / "half", tmp_path / "clean", tmp_path / "half"): ["half (1)", "clean", "half (2)"],
        ("clean", "clean (1)", "clean"): ["clean (2)", "clean (1)", "clean (3)"],
        ("clean (1)", "clean", "clean (1)", "clean"): ["clean (1) (1)", "clean (2)", "clean (1) (2)", "clean (3)"],
    }.items():
        assert compared(call, *map(Path, given))["runs"] == called


def test_leftovers_with_other_chance_levels_are_told(call: Run, outputs: Outputs, tmp_path: Path) -> None:
    """Where these are farther apart than the half interval of a leftover, which is what it is known to."""
    for name, chance in {"near": 0.21, "far": 0.3}.items():
        document = outputs.documents()["run"]
        document["pairs"][0]["leftover"]["held_out"] |= {"value": 0.4, "high": 0.42, "chance": chance}
        (tmp_path / name).mkdir()
        (tmp_path / name / "diagnostics.json").write_text(json.dumps(document))
        shutil.copytree(tmp_path / name, tmp_path / f"{name}-again")
    assert OTHER_CHANCE in compared(call, tmp_path / "near", tmp_path / "far")["notes"]
    for name in ("near", "far"):
        assert OTHER_CHANCE not in compared(call, tmp_path / name, tmp_path / f"{name}-again")["notes"]


def test_a_run_is_called_by_its_folder_from_inside_it(
    call: Run, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(outputs.folder / "run")
    assert compared(call, Path(), Path("../soft"), Path("../run"))["runs"] == ["run", "../soft", "../run"]


def test_strengths_of_all_directions_are_said_in_short(call: Run, outputs: Outputs, tmp_path: Path) -> None:
    for name, strengths in {"same": [0.5] * 95, "soft": [0.25 + i / 200 for i in range(95)]}.items():
        shutil.copytree(outputs.folder / "apply", tmp_path / name)
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        manifest["parameters"]["strength"] = {"image": strengths, "text": strengths}
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
    found = compared(call, tmp_path / "same", tmp_path / "soft")
    assert found["parameters"]["strength"]["values"] == ["0.5", "0.25 to 0.72 by direction"]


def test_other_versions_are_told(call: Run, outputs: Outputs, tmp_path: Path) -> None:
    document = outputs.documents()["run"]
    document["tool"]["version"] = "0.0.9"
    (tmp_path / "diagnostics.json").write_text(json.dumps(document))
    found = compared(call, outputs.folder / "run", tmp_path)
    here = found["parameters"]["version"]["values"][0]
    assert found["parameters"]["version"]["values"] == [here, "0.0.9"]
    assert f"Versions {here} and 0.0.9 made these: where figures differ, that may be the reason." in found["notes"]


def test_tags_of_a_store_are_not_taken_for_contents(call: Run, outputs: Outputs, tmp_path: Path) -> None:
    out = shutil.copytree(outputs.folder / "run", tmp_path / "stored")
    manifest = json.loads((out / "manifest.json").read_text())
    for file in manifest["inputs"]["text"]["files"]:
        del file["xxh3_128"]
        file["etag"] = "other"
    (out / "manifest.json").write_text(json.dumps(manifest))
    (note,) = compared(call, outputs.folder / "run", out)["notes"]
    assert note.startswith("text was read from what may be different files by ")


def test_rank_and_strength_say_what_was_asked_and_no_more(call: Run, outputs: Outputs) -> None:
    """At strength 0 no directions are removed, so that a line of removed directions would be wrong of a rank of 2."""
    _, out, _ = call("compare", outputs.folder / "run", outputs.folder / "per_modality")
    lines = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]
    assert "removed" not in out.lower()
    assert ["* Strength", "1", "0"] in lines
    assert any(line[0] in ("Rank", "* Rank") and line[1] == "2" for line in lines)


def test_the_terminal_marks_what_differs(call: Run, outputs: Outputs) -> None:
    code, out, _ = call("compare", outputs.folder / "run", outputs.folder / "soft")
    lines = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]
    assert code == 0
    assert lines[0] == ["* differs", "run", "soft"]
    assert ["* Strength", "1", "soft"] in lines
    assert ["Items in both", "393", "393"] in lines
    assert out.isascii()


@pytest.mark.parametrize("name", ["compared.html", "compared.md"])
def test_files_say_the_same(call: Run, outputs: Outputs, tmp_path: Path, name: str) -> None:
    paths = [outputs.folder / "run", outputs.folder / "three"]
    code, out, _ = call("compare", *paths, "--out", tmp_path / name)
    assert code == 0
    assert out.endswith(f"\n\n{tmp_path / name}\n")
    text = (tmp_path / name).read_text(encoding="utf-8")
    held_out = outputs.documents()["three"]["pairs"][0]["leftover"]["held_out"]["value"]
    for said in ("audio is in three alone, and not shown.", "Leftover, held out", f"{held_out:.3f} ±", "Items in both"):
        assert said in text


def test_the_page_loads_and_runs_nothing_and_escapes_names(call: Run, outputs: Outputs, tmp_path: Path) -> None:
    strange = tmp_path / ATTACK.replace("/", "")
    shutil.copytree(outputs.folder / "run", strange)
    for name in ("page.html", "page.md"):
        assert call("compare", strange, outputs.folder / "soft", "--out", tmp_path / name)[0] == 0
    page, markdown = ((tmp_path / name).read_text(encoding="utf-8") for name in ("page.html", "page.md"))
    assert "<script" not in page + markdown
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    assert not re.search(r"\b(src|href)=|@import|url\(", page)
    header = next(line for line in markdown.splitlines() if line.startswith("| |"))
    assert len(re.findall(r"(?<!\\)\|", header)) == 4, "a bar in a name makes no column"


def test_refusals(call: Run, outputs: Outputs, tmp_path: Path) -> None:
    run, soft = outputs.folder / "run", outputs.folder / "soft"
    target = tmp_path / "c.html"
    target.write_text("mine")
    assert call("compare", run, soft, "--out", target) == (
        4, "", f"error: the comparison exists\n  in: {target}\n  fix: --overwrite\n"
    )  # fmt: skip
    assert target.read_text() == "mine"
    assert call("compare", run, soft, "--out", target, "--overwrite")[0] == 0
    assert call("compare", run) == (
        2, "", f"error: there is nothing to compare with\n  in: {run}\n  fix: clear-cli compare DIR1 DIR2\n"
    )  # fmt: skip
    assert call("compare", run, soft, "--out", soft / "c.md")[2].startswith(
        "error: the comparison lies inside an output\n"
    )
    code, _, err = call("compare", run, soft, "--out", tmp_path / "c.txt")
    assert (code, err.splitlines()[0]) == (2, 'error: the comparison is a page or Markdown, and "c.txt" is neither')


def test_outputs_without_a_common_modality_are_refused(call: Run, outputs: Outputs, tmp_path: Path) -> None:
    document = outputs.documents()["apply_one"]
    document["modalities"] = {"sound": document["modalities"]["text"]}
    (tmp_path / "diagnostics.json").write_text(json.dumps(document))
    code, out, err = call("compare", outputs.folder / "run", tmp_path)
    assert (code, out) == (3, "")
    assert err == (
        "error: the outputs have no modality in common\n"
        f"  modalities: {outputs.folder.name}/run: image, text; {tmp_path.name}: sound\n"
        "  fix: give the same modality the same name (-m NAME=PATH)\n"
    )
