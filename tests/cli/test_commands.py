"""The commands, by what they print, what they write and how they exit."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from safetensors.numpy import load_file

import clear_cli
from clear_cli import cli
from clear_cli.cli.texts import published_text
from tests.conftest import Catalogue, Run, planted, read_parquet, write_hdf5, write_npy, write_parquet


def modalities(files: tuple[Path, Path]) -> list[str]:
    return ["-m", f"image={files[0]}", "-m", f"text={files[1]}"]


class TestRun:
    def test_writes_the_whole_directory_and_nothing_else(self, call: Run, files: Any, tmp_path: Path) -> None:
        code, _, _ = call("run", *modalities(files), "--out", tmp_path / "out", "--rank", "4")
        assert code == 0
        written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")}
        assert written == {
            "embeddings",
            "embeddings/image.parquet",
            "embeddings/text.h5",
            "projector.safetensors",
            "diagnostics.json",
            "items.parquet",
            "report.html",
            "report.md",
            "manifest.json",
        }
        assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}

    def test_removes_the_planted_factors(self, call: Run, files: Any, tmp_path: Path, catalogue: Catalogue) -> None:
        call("run", *modalities(files), "--out", tmp_path / "out", "--rank", "4")
        image = read_parquet(tmp_path / "out/embeddings/image.parquet").astype(float)
        with h5py.File(tmp_path / "out/embeddings/text.h5") as file:
            text = file["embeddings"][:][::-1].astype(float)
            assert [one.decode() for one in file["ids"][:]] == catalogue.ids[::-1]

        def shared(a: Any, b: Any) -> float:
            return float(np.linalg.norm((a - a.mean(0)).T @ (b - b.mean(0))))

        assert shared(image, text) < 0.12 * shared(catalogue.image, catalogue.text)

    def test_items_table_says_what_became_of_every_row(self, call: Run, files: Any, tmp_path: Path) -> None:
        call("run", *modalities(files), "--out", tmp_path / "out", "--rank", "4")
        table = pq.read_table(tmp_path / "out/items.parquet").to_pylist()
        assert len(table) == 800
        assert table[0].keys() == {
            "item_id", "modality", "row", "status", "removed", "norm_before", "norm_after", "moved"
        }  # fmt: skip
        text = [one for one in table if one["modality"] == "text"]
        assert [(one["item_id"], one["row"]) for one in text[:2]] == [("item-00399", 0), ("item-00398", 1)]
        assert {one["status"] for one in table} == {"used"}
        assert all(one["moved"] > 0 and 0 < one["removed"] < 1 for one in table)

    def test_per_item_figures_are_those_of_the_written_rows(
        self, call: Run, files: Any, tmp_path: Path, catalogue: Catalogue
    ) -> None:
        call("run", *modalities(files), "--out", tmp_path / "out", "--rank", "3", "--strength", "0.5")
        table = pq.read_table(tmp_path / "out/items.parquet", filters=[("modality", "=", "image")]).to_pydict()
        x, y = catalogue.image.astype(float), read_parquet(tmp_path / "out/embeddings/image.parquet").astype(float)
        np.testing.assert_allclose(table["norm_before"], np.linalg.norm(x, axis=1), rtol=1e-6)
        np.testing.assert_allclose(table["norm_after"], np.linalg.norm(y, axis=1), rtol=1e-6)
        np.testing.assert_allclose(table["moved"], np.linalg.norm(y - x, axis=1), rtol=1e-5)
        removed = 1 - ((y - y.mean(0)) ** 2).sum(1) / ((x - x.mean(0)) ** 2).sum(1)
        np.testing.assert_allclose(table["removed"], removed, atol=1e-5)

    def test_json_prints_one_object_and_stdout_holds_nothing_else(self, call: Run, files: Any, tmp_path: Path) -> None:
        code, out, _ = call("run", *modalities(files), "--out", tmp_path / "out", "--json")
        result = json.loads(out)
        assert code == 0
        assert result["schema_version"] == 1
        assert result["pairs"][0]["items"] == 400
        assert all(Path(path).is_file() for path in result["outputs"])

    def test_quiet_leaves_only_warnings_on_stderr(self, call: Run, files: Any, tmp_path: Path) -> None:
        _, _, err = call("run", *modalities(files), "--out", tmp_path / "out", "--quiet", "--rank", "2")
        assert all(line.startswith("warning: ") for line in err.splitlines())
        assert call("run", *modalities(files), "--out", tmp_path / "none", "--quiet", "--rank", "0")[2] == ""

    def test_rerun_is_up_to_date_and_touches_nothing(self, call: Run, files: Any, tmp_path: Path) -> None:
        arguments = ["run", *modalities(files), "--out", tmp_path / "out"]
        call(*arguments)
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
        code, out, _ = call(*arguments)
        assert code == 0
        assert out.startswith("up to date")
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before

    def test_other_parameters_are_refused_without_overwrite(self, call: Run, files: Any, tmp_path: Path) -> None:
        call("run", *modalities(files), "--out", tmp_path / "out")
        code, _, err = call("run", *modalities(files), "--out", tmp_path / "out", "--rank", "2")
        assert code == 4
        assert err == f"error: the output exists\n  in: {tmp_path}/out\n  fix: --overwrite\n"
        assert call("run", *modalities(files), "--out", tmp_path / "out", "--rank", "2", "--overwrite")[0] == 0
        assert json.loads((tmp_path / "out/manifest.json").read_text())["parameters"]["rank"]["image"] == "2"

    def test_what_another_command_made_is_not_replaced(self, call: Run, files: Any, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert call("run", *modalities(files), "--out", out)[0] == 0
        before = sorted(path.read_bytes() for path in out.rglob("*") if path.is_file())
        for command in ("diagnose", "fit"):
            code, _, err = call(command, *modalities(files), "--out", out, "--overwrite", "-q")
            assert (code, err) == (
                4,
                f'error: the output is of "run", and this is "{command}"\n'
                f"  in: {out}\n  fix: --out DIR of its own for {command}\n",
            )
        assert sorted(path.read_bytes() for path in out.rglob("*") if path.is_file()) == before

    def test_files_that_no_run_wrote_are_never_replaced(self, call: Run, files: Any, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert call("run", *modalities(files), "--out", out, "--rank", "3")[0] == 0
        (out / "embeddings/mm_adj_10.pt").write_text("a graph")
        (out / "latest").symlink_to("nowhere")
        for more in (["--rank", "2"], ["--rank", "2", "--dry-run"], ["--rank", "3"]):
            code, _, err = call("run", *modalities(files), "--out", out, *more, "--overwrite")
            assert (code, err.splitlines()[-4:]) == (
                4,
                [
                    "error: the output holds files that no run has written",
                    f"  in: {out}",
                    "  files: embeddings/mm_adj_10.pt, latest",
                    "  fix: move them away, or choose another --out",
                ],
            )
        assert (out / "embeddings/mm_adj_10.pt").read_text() == "a graph"
        (out / "embeddings/mm_adj_10.pt").unlink()
        (out / "latest").unlink()
        (out / "report.html").write_text("changed by hand")
        assert call("run", *modalities(files), "--out", out, "--rank", "2", "--overwrite")[0] == 0

    def test_of_many_such_files_ten_are_named(self, call: Run, files: Any, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert call("fit", *modalities(files), "--out", out)[0] == 0
        for i in range(12):
            (out / f"{i:02d}.txt").touch()
        code, _, err = call("fit", *modalities(files), "--out", out, "--rank", "2", "--overwrite")
        assert (code, "08.txt, 09.txt and 2 more\n" in err) == (4, True)

    def test_a_changed_input_is_not_up_to_date(
        self, call: Run, files: Any, tmp_path: Path, catalogue: Catalogue
    ) -> None:
        call("run", *modalities(files), "--out", tmp_path / "out")
        write_parquet(files[0], catalogue.ids, catalogue.image * np.float32(1.5), row_group_size=150)
        assert call("run", *modalities(files), "--out", tmp_path / "out")[0] == 4

    def test_same_inputs_give_the_same_bytes(self, call: Run, files: Any, tmp_path: Path) -> None:
        for name, threads in (("one", 1), ("two", 3)):
            call("run", *modalities(files), "--out", tmp_path / name, "--threads", threads)
        for path in sorted((tmp_path / "one").rglob("*.*")):
            if path.is_file():
                assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path

    def test_manifest_holds_no_time_host_or_absolute_path(self, call: Run, files: Any, tmp_path: Path) -> None:
        call("run", *modalities(files), "--out", tmp_path / "out")
        for name in ("manifest.json", "diagnostics.json", "report.html", "report.md"):
            text = (tmp_path / "out" / name).read_text()
            assert str(tmp_path) not in text
            assert os.uname().nodename not in text

    def test_strength_zero_keeps_a_modality_to_the_bit(self, call: Run, files: Any, tmp_path: Path) -> None:
        call("run", *modalities(files), "--out", tmp_path / "out", "--strength", "image=0")
        assert np.array_equal(read_parquet(tmp_path / "out/embeddings/image.parquet"), read_parquet(files[0]))

    def test_dry_run_says_what_it_would_do_and_writes_nothing(self, call: Run, files: Any, tmp_path: Path) -> None:
        code, out, _ = call("run", *modalities(files), "--out", tmp_path / "out", "--dry-run")
        assert code == 0
        assert "image + text: 400 items in both" in out
        assert "embeddings/text.h5" in out
        assert not (tmp_path / "out").exists()

    def test_three_modalities_each_with_its_own_rank(
        self, call: Run, files: Any, tmp_path: Path, catalogue: Catalogue
    ) -> None:
        audio = write_npy(tmp_path / "in/audio.npy", catalogue.audio[100:], catalogue.ids[100:])
        code, out, _ = call(
            "run", *modalities(files), "-m", f"audio={audio}", "--ids", f"audio={audio.with_suffix('.txt')}",
            "--out", tmp_path / "out", "--rank", "4", "--rank", "audio=2", "--json",
        )  # fmt: skip
        assert code == 0
        result = json.loads(out)
        assert {name: one["rank"] for name, one in result["modalities"].items()} == {"image": 4, "text": 4, "audio": 2}
        assert [pair["items"] for pair in result["pairs"]] == [400, 300, 300]
        assert result["modalities"]["audio"]["rows_by_status"]["used"] == 300
        assert np.load(tmp_path / "out/embeddings/audio.npy").shape == (300, 12)

    def test_integer_ids_match_an_id_file_of_numbers(self, call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
        image = write_parquet(tmp_path / "image.parquet", list(range(400)), catalogue.image)
        text = write_npy(tmp_path / "text.npy", catalogue.text[::-1], list(range(399, -1, -1)))
        code, out, _ = call(
            "run", "-m", f"image={image}", "-m", f"text={text}", "--ids", f"text={tmp_path}/text.txt",
            "--out", tmp_path / "out", "--json",
        )  # fmt: skip
        assert code == 0
        assert json.loads(out)["pairs"][0]["items"] == 400

    def test_fit_items_restrict_the_fit_but_not_the_projection(
        self, call: Run, files: Any, tmp_path: Path, catalogue: Catalogue
    ) -> None:
        chosen = tmp_path / "train.txt"
        chosen.write_text("\n".join([*catalogue.ids[:100], "unknown"]))
        _, out, err = call(
            "run", *modalities(files), "--out", tmp_path / "out", "--fit-items", chosen, "--json", "--rank", "4"
        )
        result = json.loads(out)
        assert result["pairs"][0]["items"] == 100
        assert result["modalities"]["image"]["rows_by_status"]["excluded"] == 300
        assert "warning: 1 id in the list of items to fit on is not known" in err
        y = read_parquet(tmp_path / "out/embeddings/image.parquet")
        assert (y != catalogue.image).any(axis=1).all()


class TestMissingRows:
    @pytest.fixture
    def dirty(self, tmp_path: Path, catalogue: Catalogue) -> list[str]:
        image, text = catalogue.image.copy(), catalogue.text.copy()
        image[5] = 0
        image[20:40] = image[20]
        text[7] = np.nan
        write_parquet(tmp_path / "image.parquet", catalogue.ids[:390], image[:390])
        write_npy(tmp_path / "text.npy", text, catalogue.ids)
        return [
            "-m", f"image={tmp_path}/image.parquet", "-m", f"text={tmp_path}/text.npy",
            "--ids", f"text={tmp_path}/text.txt", "--out", str(tmp_path / "out"), "--rank", "4",
        ]  # fmt: skip

    def test_rows_that_are_not_finite_stop_the_run(self, call: Run, dirty: list[str], tmp_path: Path) -> None:
        code, out, err = call("run", *dirty, "-q")
        assert (code, out) == (3, "")
        assert err == (
            'error: embeddings of "text" hold NaN or infinity, first in row 7\n'
            f"  in: {tmp_path}/text.npy\n"
            "  fix: repair the rows, or --on-invalid keep to leave them out of the fit and pass them through\n"
        )
        assert not (tmp_path / "out").exists()

    def test_every_row_left_out_is_counted_and_named(self, call: Run, dirty: list[str], tmp_path: Path) -> None:
        _, out, err = call("run", *dirty, "--on-invalid", "keep", "--json")
        result = json.loads(out)
        assert result["modalities"]["image"]["rows_by_status"] == {
            "used": 368, "incomplete": 1, "excluded": 0, "missing": 1, "placeholder": 20, "non_finite": 0, "new": 0
        }  # fmt: skip
        assert result["modalities"]["text"]["rows_by_status"] == {
            "used": 368, "incomplete": 31, "excluded": 0, "missing": 0, "placeholder": 0, "non_finite": 1, "new": 0
        }  # fmt: skip
        assert 'warning: 20 rows of "image" are placeholders: left out of the fit, but projected' in err
        table = pq.read_table(tmp_path / "out/items.parquet").to_pylist()
        status = {(one["modality"], one["row"]): one for one in table}
        assert status["image", 5]["status"] == "missing"
        assert status["image", 5]["norm_after"] is None
        assert status["text", 7]["status"] == "non_finite"

    def test_zero_stays_zero_and_nan_passes_through_and_placeholders_stay_alike(
        self, call: Run, dirty: list[str], tmp_path: Path, catalogue: Catalogue
    ) -> None:
        call("run", *dirty, "--on-invalid", "keep")
        image = read_parquet(tmp_path / "out/embeddings/image.parquet")
        text = np.load(tmp_path / "out/embeddings/text.npy")
        assert not image[5].any()
        assert np.isnan(text[7]).all()
        assert np.isfinite(np.delete(text, 7, axis=0)).all()
        assert (image[20:40] == image[20]).all()
        assert (image[20] != catalogue.image[20]).any()


class TestFit:
    def test_writes_the_projector_and_no_embeddings(self, call: Run, files: Any, tmp_path: Path) -> None:
        assert call("fit", *modalities(files), "--out", tmp_path / "fit")[0] == 0
        names = {path.name for path in (tmp_path / "fit").iterdir()}
        assert names == {"projector.safetensors", "diagnostics.json", "report.html", "report.md", "manifest.json"}

    def test_finds_the_same_projector_as_run(self, call: Run, files: Any, tmp_path: Path) -> None:
        call("fit", *modalities(files), "--out", tmp_path / "fit")
        call("run", *modalities(files), "--out", tmp_path / "run")
        name = "projector.safetensors"
        assert (tmp_path / "fit" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()

    def test_shows_no_column_that_it_knows_nothing_of(self, call: Run, files: Any, tmp_path: Path) -> None:
        measured = "shared by  items  leftover (chance)  top canonical r  RV, debiased  neighbour overlap (chance)"
        removed = "dim  rank (significant)  strength  energy at rank"
        for command, options, pairs, sides in (
            ("run", [], measured, f"modality  rows  usable  {removed}  variance kept"),
            ("fit", [], measured, f"modality  rows  {removed}  variance kept"),
            ("fit", ["--no-report"], "shared by  items  leftover (chance)", f"modality  rows  {removed}"),
        ):
            _, out, _ = call(command, *modalities(files), "--out", tmp_path / f"{command}{len(options)}", *options)
            headers = [re.sub(" {2,}", "  ", line) for line in out.splitlines() if line[:8] in (pairs[:8], sides[:8])]
            assert headers == [pairs, sides]

    def test_a_share_that_rounding_puts_below_nothing_is_nothing(self) -> None:
        one = {"rows": 9, "dim": 4, "rank": 2, "significant_rank": 2, "strength": 1.0, "energy_at_rank": 1 - 1e-16}
        found = {"up_to_date": False, "pairs": [], "outputs": []}
        for kept, shown in {-1e-17: "0%", 1e-17: "0%", 0.004: "< 1%", 0.999: "> 99%", 1 - 1e-12: "100%"}.items():
            text = published_text(found | {"modalities": {"image": one | {"variance_kept_sample": kept}}})
            assert re.search(rf" 100%  +{shown}$", text, re.MULTILINE)


class TestApply:
    @pytest.fixture
    def fitted(self, call: Run, files: Any, tmp_path: Path) -> Path:
        call("run", *modalities(files), "--out", tmp_path / "run", "--rank", "4")
        return tmp_path / "run"

    def test_new_items_of_one_modality(self, call: Run, fitted: Path, tmp_path: Path) -> None:
        new = planted(50, seed=9)
        path = write_npy(tmp_path / "new.npy", new.text)
        code, _, _ = call("apply", fitted, "-m", f"text={path}", "--out", tmp_path / "new")
        assert code == 0
        served = load_file(fitted / "projector.safetensors")
        u = served["text.directions"][:, : int(served["text.rank"])]
        s = served["text.strength"][: u.shape[1]]
        expected = new.text - (new.text @ u) * s @ u.T
        np.testing.assert_allclose(np.load(tmp_path / "new/embeddings/new.npy"), expected, atol=1e-5)

    def test_same_rows_come_out_as_in_the_run(self, call: Run, fitted: Path, files: Any, tmp_path: Path) -> None:
        call("apply", fitted / "projector.safetensors", "-m", f"image={files[0]}", "--out", tmp_path / "again")
        again, first = (read_parquet(folder / "embeddings/image.parquet") for folder in (tmp_path / "again", fitted))
        assert np.array_equal(again, first)

    def test_rank_and_strength_can_be_changed(self, call: Run, fitted: Path, files: Any, tmp_path: Path) -> None:
        _, out, _ = call(
            "apply", fitted, "-m", f"image={files[0]}", "--out", tmp_path / "less",
            "--rank", "2", "--strength", "image=0.5", "--json",
        )  # fmt: skip
        one = json.loads(out)["modalities"]["image"]
        assert (one["rank"], one["strength"]) == (2, 0.5)

    def test_a_rank_beyond_what_is_kept_is_refused(self, call: Run, files: Any, tmp_path: Path) -> None:
        call("fit", *modalities(files), "--out", tmp_path / "fit", "--max-rank", "5")
        code, _, err = call("apply", tmp_path / "fit", "-m", f"image={files[0]}", "--out", tmp_path / "x", "--rank", 6)
        assert code == 2
        assert err == (
            "error: rank 6 is more than the 5 directions that are kept\n"
            "  fix: --max-rank 6 when fitting, or --rank 5 or less\n"
        )

    def test_another_dimension_is_refused_with_both_numbers(
        self, call: Run, fitted: Path, tmp_path: Path, catalogue: Catalogue
    ) -> None:
        path = write_npy(tmp_path / "wide.npy", catalogue.image)
        code, _, err = call("apply", fitted, "-m", f"text={path}", "--out", tmp_path / "x")
        assert code == 3
        assert err.startswith('error: the projector of "text" has 16 dimensions, the embeddings have 24\n')

    def test_an_unknown_modality_is_refused(self, call: Run, fitted: Path, files: Any, tmp_path: Path) -> None:
        code, _, err = call("apply", fitted, "-m", f"video={files[0]}", "--out", tmp_path / "x")
        assert code == 2
        told = 'error: the projector has no modality "video"\n  modalities: image, text\n  fix: '
        assert err.startswith(told)
        assert call("apply", fitted, "-m", f"txt={files[1]}", "--out", "x")[2].endswith("  fix: -m text=...\n")

    def test_no_projector(self, call: Run, files: Any, tmp_path: Path) -> None:
        code, _, err = call("apply", tmp_path / "none", "-m", f"image={files[0]}", "--out", tmp_path / "x")
        assert code == 3
        assert err == (
            f"error: no projector here\n  in: {tmp_path}/none\n  fix: clear-cli fit or clear-cli run writes one\n"
        )


class TestInspect:
    def test_a_file_of_embeddings(self, call: Run, files: Any) -> None:
        code, out, _ = call("inspect", files[0], "--json")
        result = json.loads(out)
        assert code == 0
        assert (result["kind"], result["rows"], result["dim"], result["dtype"]) == ("embeddings", 400, 24, "float32")
        assert result["first_ids"] == ["item-00000", "item-00001", "item-00002"]
        assert result["health"]["rows"] == 400
        assert result["health"]["missing"] == 0

    def test_a_projector(self, call: Run, files: Any, tmp_path: Path) -> None:
        call("fit", *modalities(files), "--out", tmp_path / "fit", "--rank", "3")
        code, out, _ = call("inspect", tmp_path / "fit", "--json")
        result = json.loads(out)
        assert code == 0
        assert result["modalities"]["text"]["rank"] == 3
        assert result["provenance"]["rows"] == {"image": 400, "text": 400}
        assert list(result["provenance"]) == sorted(result["provenance"])

    def test_something_else(self, call: Run, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("hello")
        code, out, err = call("inspect", tmp_path / "notes.txt")
        assert (code, out) == (3, "")
        assert err == (
            f"error: not a file of embeddings\n  in: {tmp_path}/notes.txt\n"
            "  supported: Parquet (a file or a folder of parts), HDF5, NPY (a file or a folder), NPZ, .itememb\n"
        )


class TestUsage:
    def test_version(self, call: Run) -> None:
        assert call("--version") == (0, f"clear-cli {clear_cli.__version__}\n", "")

    def test_a_missing_option(self, call: Run, files: Any) -> None:
        code, out, err = call("run", *modalities(files))
        assert (code, out) == (2, "")
        assert err == "error: missing option '--out' / '-o'\n  fix: --out DIR\n"

    def test_an_unknown_command(self, call: Run) -> None:
        code, _, err = call("rnu")
        assert code == 2
        commands = ", ".join(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
        assert err == f'error: no command "rnu"\n  commands: {commands}\n  fix: clear-cli run\n'

    def test_help_cuts_nothing(self, call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "60")
        code, text, _ = call("--help")
        assert (code, "..." in text.partition("Commands:")[2]) == (0, False)
        assert "write no embeddings." in " ".join(text.split())

    def test_an_unknown_option(self, call: Run) -> None:
        assert call("run", "--rnk", "3") == (2, "", 'error: no option "--rnk"\n  in: clear-cli run\n  fix: --rank\n')
        assert call("run", "--xyzzy")[2] == (
            'error: no option "--xyzzy"\n  in: clear-cli run\n  fix: clear-cli run --help\n'
        )
        assert call("--versoin")[2] == 'error: no option "--versoin"\n  in: clear-cli\n  fix: --version\n'

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--rank", "many"], 'error: rank "many" is not auto, a number of directions or a percentage\n'),
            (["--rank", "130%"], 'error: rank "130%" is not auto, a number of directions or a percentage\n'),
            (["--rank", "24"], "error: rank 24 would remove the whole modality: it has 24 dimensions\n"),
            (["--rank", "imgae=3"], 'error: no modality "imgae"\n  in: --rank\n  modalities: image, text\n'),
            (["--rank", "3", "--rank", "4"], "error: --rank is given twice\n"),
            (["--rank", "image=3", "--rank", "image=4"], 'error: --rank is given twice for "image"\n'),
            (["--strength", "1.5"], 'error: strength "1.5" is not a number between 0 and 1, or soft\n'),
            (["--winsorise", "95"], 'error: "95" is not a percentage\n  in: --winsorise\n'),
            (["--renorm", "units"], 'error: "units" is not a value of --renorm\n  known: none, original, unit\n'),
            (["--renorm", "unit", "--keep-mean"], "error: column means do not stay where rows are given a norm\n"),
            (["--name", "image=../x"], 'error: "../x" is not a file name\n'),
            (["--tmp-dir", "/nowhere"], "error: the folder for scratch files does not exist\n"),
        ],
    )
    def test_values_that_make_no_sense(
        self, call: Run, files: Any, tmp_path: Path, arguments: list[str], message: str
    ) -> None:
        code, out, err = call("run", *modalities(files), "--out", tmp_path / "out", "-q", *arguments)
        assert (code, out) == (2, "")
        assert err.startswith(message)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (
                ["-m", "in/text.h5"],
                'error: "in/text.h5" does not say which modality it is\n  in: -m\n  fix: -m text=in/text.h5\n',
            ),
            (["-m", "image={0}"], "error: redundancy is between modalities, and there is only 1\n"),
            (["-m", "image={0}", "-m", "image={1}"], 'error: modality "image" is given twice\n'),
            (["-m", "im age={0}", "-m", "text={1}"], 'error: "im age" cannot name a modality\n'),
        ],
    )
    def test_modalities_that_make_no_sense(
        self, call: Run, files: Any, tmp_path: Path, given: list[str], message: str
    ) -> None:
        code, _, err = call("run", *(one.format(*files) for one in given), "--out", tmp_path / "out")
        assert code == 2
        assert err.startswith(message)

    def test_two_inputs_with_one_base_name(self, call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
        image = write_parquet(tmp_path / "image/emb.parquet", catalogue.ids, catalogue.image)
        text = write_parquet(tmp_path / "text/emb.parquet", catalogue.ids, catalogue.text)
        arguments = ["run", "-m", f"image={image}", "-m", f"text={text}", "--out", tmp_path / "out"]
        code, _, err = call(*arguments)
        assert code == 2
        assert err == (
            'error: "image" and "text" would both be written as emb.parquet\n  fix: --name text=text_emb.parquet\n'
        )
        assert call(*arguments, "--name", "text=text_emb.parquet")[0] == 0
        assert (tmp_path / "out/embeddings/text_emb.parquet").is_file()

    def test_an_output_above_an_input(self, call: Run, files: Any) -> None:
        code, _, err = call("run", *modalities(files), "--out", files[0].parent)
        assert code == 2
        assert err.startswith("error: the output holds an input\n")

    def test_a_foreign_directory_is_never_replaced(self, call: Run, files: Any, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out/thesis.tex").write_text("years of work")
        code, _, _ = call("run", *modalities(files), "--out", tmp_path / "out", "--overwrite")
        assert code == 4
        assert (tmp_path / "out/thesis.tex").read_text() == "years of work"

    def test_every_option_has_a_help_text(self) -> None:
        command = typer.main.get_command(cli.app)
        commands: Any = command
        for name, sub in {"clear-cli": command, **commands.commands}.items():
            assert sub.help, name
            for parameter in sub.params:
                assert getattr(parameter, "help", None), f"{name} {parameter.name}"


class TestBadInput:
    def two(self, tmp_path: Path, catalogue: Catalogue, ids: Any) -> list[str]:
        image = write_parquet(tmp_path / "image.parquet", catalogue.ids, catalogue.image)
        text = write_parquet(tmp_path / "text.parquet", ids, catalogue.text)
        return ["run", "-m", f"image={image}", "-m", f"text={text}", "--out", str(tmp_path / "out")]

    def test_strings_here_and_integers_there(self, call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
        code, _, err = call(*self.two(tmp_path, catalogue, list(range(400))))
        assert code == 3
        assert err == (
            "error: item ids are strings in one modality and integers in another, so none would match\n"
            "  ids: image: strings, text: integers\n"
            "  fix: write the ids of all modalities with one type\n"
        )

    def test_no_overlap(self, call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
        code, _, err = call(*self.two(tmp_path, catalogue, [f"other-{i}" for i in range(400)]), "-q")
        assert code == 3
        assert err.startswith("error: no item occurs in two modalities\n  in: image: 400 rows, text: 400 rows\n")
        assert "  ids of text: other-0, other-1, other-2\n" in err

    def test_too_little_overlap(self, call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
        ids = [*catalogue.ids[:9], *(f"other-{i}" for i in range(391))]
        code, _, err = call(*self.two(tmp_path, catalogue, ids), "-q")
        assert code == 3
        assert err.startswith('error: "image" has 9 complete items with another modality, and the fit needs 10\n')

    def test_few_ids_in_common(self, call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
        """The ids are to be looked at then, with which rows are matched, and no order of rows."""
        for matched in (150, 250):
            ids = [*catalogue.ids[:matched], *(f"other-{i}" for i in range(400 - matched))]
            _, _, err = call(*self.two(tmp_path, catalogue, ids), "-q", "--overwrite")
            told = (
                'warning: "image" and "text" have only 150 ids in common, and 250 of 400 rows of "image" and 250 of '
                '400 rows of "text" are not in the other one: are the ids of both written in the same way?'
            )
            assert (told in err.splitlines()) == (matched == 150)
            assert "ids in common" not in err.replace(told, "")

    def test_ids_of_other_items(self, call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
        mixed = np.random.default_rng(0).permutation(catalogue.ids).tolist()
        _, _, err = call(*self.two(tmp_path, catalogue, mixed), "-q")
        told = (
            'warning: "image" shares nothing that stands out from chance, so nothing is removed from it: do equal ids '
            "stand for the same item in all modalities?"
        )
        assert told in err.splitlines()
        assert "order" not in err
        _, _, err = call(*self.two(tmp_path, catalogue, mixed), "-q", "--overwrite", "--rank", "2")
        told = (
            'warning: nothing that "image" shares stands out from chance, and what is removed is noise: do equal ids '
            "stand for the same item in all modalities?"
        )
        assert told in err.splitlines()

    def test_fewer_complete_items_than_dimensions(self, call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
        ids = [*catalogue.ids[:30], *(f"other-{i}" for i in range(370))]
        code, _, err = call(*self.two(tmp_path, catalogue, ids))
        assert code == 0
        assert (
            'warning: "image" and "text" have 30 complete items, fewer than their 40 dimensions together: '
            "the fit follows noise\n" in err
        )

    def test_duplicate_ids(self, call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
        ids = list(catalogue.ids)
        ids[10] = ids[3]
        code, _, err = call(*self.two(tmp_path, catalogue, ids))
        assert code == 3
        assert err.startswith(
            'error: 1 item ids of "text" occur more than once\n'
            f"  in: {tmp_path}/text.parquet\n"
            "  first: item-00003 (rows 3, 10)\n"
        )
        assert self.without_duplicates(tmp_path / "text.parquet", err) == len(ids) - 1

    @staticmethod
    def without_duplicates(path: Path, err: str) -> int:
        """The items that are left by what an error says to do, of which nothing but the embedding is left."""
        recipe = err.splitlines()[-1].partition("for example the mean: ")[2]
        means = eval(recipe, {"fnmatch": fnmatch, "numpy": np, "pandas": pandas, "path": path})
        assert np.isfinite(np.stack(means.to_numpy())).all()
        assert np.stack(means.to_numpy()).shape == (len(means), 16)
        return len(means)

    @pytest.mark.parametrize("wide", [False, True])
    def test_duplicate_ids_of_another_column(self, call: Run, tmp_path: Path, catalogue: Catalogue, wide: bool) -> None:
        columns: dict[str, Any] = {"sku": ["a", *catalogue.ids[1:-1], "a"], "title": catalogue.ids}
        columns["price"] = [None if row % 3 else float(row) for row in range(400)]
        columns["old_vec_0"] = columns["price"]
        rows = {f"vec_{i}": column for i, column in enumerate(catalogue.text.T)} if wide else {"vec": [*catalogue.text]}
        pq.write_table(pa.table({**columns, **rows}), tmp_path / "text.parquet")
        image = write_parquet(tmp_path / "image.parquet", catalogue.ids, catalogue.image)
        given = ["-m", f"image={image}", "-m", f"text={tmp_path}/text.parquet", "--id-column", "text=sku"]
        code, _, err = call("run", *given, "--out", tmp_path / "out")
        assert (code, "  first: a (rows 0, 399)\n" in err) == (3, True)
        assert self.without_duplicates(tmp_path / "text.parquet", err) == len(catalogue.ids) - 1

    def test_npy_without_ids_beside_files_with_ids(self, call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
        image = write_parquet(tmp_path / "image.parquet", catalogue.ids, catalogue.image)
        text = write_npy(tmp_path / "text.npy", catalogue.text)
        code, _, err = call("run", "-m", f"image={image}", "-m", f"text={text}", "--out", tmp_path / "out")
        assert code == 3
        assert err == (
            'error: "text" has no item ids, but other modalities have\n'
            f"  in: {text}\n"
            "  ids: image: strings, text: none, row i is item i\n"
            "  fix: --ids text=ids.txt (one id per line, in row order)\n"
        )

    def test_npy_of_unequal_length(self, call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
        image = write_npy(tmp_path / "image.npy", catalogue.image)
        text = write_npy(tmp_path / "text.npy", catalogue.text[:-1])
        code, _, err = call("run", "-m", f"image={image}", "-m", f"text={text}", "--out", tmp_path / "out")
        assert code == 3
        assert err == (
            "error: without item ids row i of every modality must be the same item, but the lengths differ\n"
            "  rows: image: 400, text: 399\n"
            "  fix: --ids NAME=ids.txt for each modality\n"
        )

    def test_an_id_file_for_parquet(self, call: Run, files: Any, tmp_path: Path) -> None:
        code, _, err = call("run", *modalities(files), "--out", tmp_path / "out", "--ids", "image=ids.txt")
        assert code == 2
        assert err.startswith("error: --ids is for NPY files; this container has its ids inside\n")

    def test_an_id_file_for_all_where_some_need_it(self, call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
        image = write_parquet(tmp_path / "image.parquet", catalogue.ids, catalogue.image)
        text = write_npy(tmp_path / "text.npy", catalogue.text, catalogue.ids)
        ids = text.with_suffix(".txt")
        given = ["run", "-m", f"image={image}", "-m", f"text={text}", "--out", tmp_path / "out", "--ids"]
        code, _, err = call(*given, ids)
        assert (code, err) == (
            2,
            'error: "image" has its ids inside, and --ids is not for it\n'
            f"  in: {image}\n  fix: only for what needs it: --ids text={ids}\n",
        )
        assert call(*given, f"image={ids}", "--ids", f"text={ids}") == (2, "", err)
        assert call(*given, f"text={ids}")[0] == 0

    def test_an_id_file_for_all_that_need_it(self, call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
        image = write_npy(tmp_path / "image.npy", catalogue.image, catalogue.ids)
        text = write_npy(tmp_path / "text.npy", catalogue.text)
        given = ["-m", f"image={image}", "-m", f"text={text}", "--ids", image.with_suffix(".txt")]
        assert call("run", *given, "--out", tmp_path / "out")[0] == 0

    def test_a_file_that_is_not_there(self, call: Run, files: Any, tmp_path: Path) -> None:
        code, _, err = call("run", "-m", "image=none.parquet", "-m", f"text={files[1]}", "--out", tmp_path / "out")
        assert code == 3
        assert err == "error: cannot read the file: no such file or directory\n  in: none.parquet\n"

    def test_a_column_that_is_not_there(self, call: Run, files: Any, tmp_path: Path) -> None:
        code, _, err = call(
            "run", *modalities(files), "--out", tmp_path / "out", "--embedding-column", "image=embeding"
        )
        assert code == 3
        assert 'error: column "embeding" not found\n' in err
        assert "  fix: --embedding-column image=embedding, or ::embedding behind the path\n" in err

    def test_float16_that_overflows_on_the_way_back(self, call: Run, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        common = rng.normal(size=(300, 1))
        # The shared direction is (1, 2) / sqrt 5: without its part of it (60000, -60000) becomes (72000, -36000).
        image = common * [1_000, 2_000] + rng.normal(size=(300, 2))
        image[0] = (60_000, -60_000)
        text = common + rng.normal(size=(300, 2)) / 10
        (tmp_path / "fit.txt").write_text("\n".join(map(str, range(1, 300))))
        for name, rows in (("image", image), ("text", text)):
            np.save(tmp_path / f"{name}.npy", rows.astype(np.float16))
        code, out, err = call(
            "run", "-q", "-m", f"image={tmp_path}/image.npy", "-m", f"text={tmp_path}/text.npy",
            "--out", tmp_path / "out", "--rank", "1", "--fit-items", tmp_path / "fit.txt",
        )  # fmt: skip
        assert (code, out) == (3, "")
        assert err.startswith("error: 1 projected rows leave the range of float16, the first at row 0\n")
        assert not (tmp_path / "out").exists()


class TestInterrupts:
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_signal_leaves_nothing_behind(self, tmp_path: Path, number: signal.Signals, code: int) -> None:
        rng = np.random.default_rng(0)
        for name in ("image", "text"):
            np.save(tmp_path / f"{name}.npy", rng.normal(size=(150_000, 128)).astype(np.float32))
        process = subprocess.Popen(
            [sys.executable, "-m", "clear_cli", "run", "-m", f"image={tmp_path}/image.npy",
             "-m", f"text={tmp_path}/text.npy", "--out", str(tmp_path / "out")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".out.*/new/projector.safetensors")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code
        assert out == ""
        assert err.endswith("stopped\n")
        assert {path.name for path in tmp_path.iterdir()} == {"image.npy", "text.npy"}

    def test_a_closed_pipe_is_exit_141(self, files: Any) -> None:
        command = f"{sys.executable} -m clear_cli inspect {files[0]} --json"
        result = subprocess.run(
            ["bash", "-c", f"{command} | true; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True, check=False
        )
        assert result.returncode in (0, 141)
        assert "Traceback" not in result.stderr


def test_python_and_the_command_line_agree(files: Any, tmp_path: Path, catalogue: Catalogue) -> None:
    published = clear_cli.run({"image": files[0], "text": files[1]}, tmp_path / "out", rank=4)
    fitted = clear_cli.load(published.out)
    clean = clear_cli.apply(fitted, {"image": catalogue.image})
    assert np.array_equal(clean["image"], read_parquet(tmp_path / "out/embeddings/image.parquet"))
    on_arrays = clear_cli.fit({"image": catalogue.image, "text": catalogue.text}, rank=4)
    for name in ("image", "text"):
        a, b = fitted.projectors[name].directions[:, :4], on_arrays.projectors[name].directions[:, :4]
        np.testing.assert_allclose(a @ a.T, b @ b.T, atol=1e-6)


def test_arrays_with_ids_are_joined(catalogue: Catalogue) -> None:
    fitted = clear_cli.fit(
        {"image": catalogue.image, "text": catalogue.text[::-1]},
        ids={"image": catalogue.ids, "text": catalogue.ids[::-1]},
        rank=4,
    )
    plain = clear_cli.fit({"image": catalogue.image, "text": catalogue.text}, rank=4)
    np.testing.assert_allclose(
        fitted.projectors["text"].spectrum, plain.projectors["text"].spectrum, rtol=1e-5, atol=1e-5
    )


def test_a_file_from_pandas_keeps_its_metadata(call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"item_id": catalogue.ids, "embedding": list(catalogue.image), "price": range(400)})
    frame.to_parquet(tmp_path / "image.parquet")
    write_hdf5(tmp_path / "text.h5", catalogue.ids, catalogue.text)
    code, _, _ = call(
        "run", "-m", f"image={tmp_path}/image.parquet", "-m", f"text={tmp_path}/text.h5", "--out", tmp_path / "out"
    )
    assert code == 0
    before, after = pq.read_table(tmp_path / "image.parquet"), pq.read_table(tmp_path / "out/embeddings/image.parquet")
    assert after.schema.equals(before.schema, check_metadata=True)
    assert pa.compute.all(pa.compute.equal(after["price"], before["price"])).as_py()
    assert list(pd.read_parquet(tmp_path / "out/embeddings/image.parquet").columns) == list(frame.columns)
