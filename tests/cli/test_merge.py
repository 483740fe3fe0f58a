"""Moments that fits keep, and their merge: what is printed and written, and what is refused, word for word."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.conftest import Catalogue, Run, planted, write_npy, write_parquet

Day = Callable[..., Path]


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def day(call: Run, catalogue: Catalogue) -> Day:
    """Fit some of the items under a name: the moments file."""

    def fitted(name: str, rows: slice, *options: Any) -> Path:
        arguments = ["-q"]
        for modality in ("image", "text"):
            place = Path("in", f"{modality}-{name}.parquet")
            write_parquet(place, catalogue.ids[rows], getattr(catalogue, modality)[rows])
            arguments += ["-m", f"{modality}={place}"]
        moments = Path(f"{name}.moments")
        assert call("fit", *arguments, "-o", f"out-{name}", "--moments-out", moments, *options)[0] == 0
        return moments

    return fitted


@pytest.fixture
def days(day: Day) -> tuple[Path, Path]:
    return day("day1", slice(0, 250)), day("day2", slice(250, 400))


def shared(path: Path, modality: str) -> Any:
    stored = load_file(path)
    u = stored[f"{modality}.directions"][:, : int(stored[f"{modality}.rank"])]
    return u @ u.T


def left() -> set[str]:
    return {path.name for path in Path().iterdir()}


class TestFit:
    ARGUMENTS = ("fit", "-m", "image=in/image-day1.parquet", "-m", "text=in/text-day1.parquet", "-o", "out-day1")

    def test_the_output_is_that_of_a_fit_without(self, call: Run, day: Day) -> None:
        day("day1", slice(0, 250))
        call(*self.ARGUMENTS[:-1], "plain")
        for name in ("projector.safetensors", "diagnostics.json"):
            assert Path("plain", name).read_bytes() == Path("out-day1", name).read_bytes()
        assert left() == {"in", "plain", "out-day1", "day1.moments"}

    def test_a_rerun_is_up_to_date_while_both_are_there(self, call: Run, day: Day) -> None:
        day("day1", slice(0, 250))
        before = Path("day1.moments").stat().st_mtime_ns
        code, out, _ = call(*self.ARGUMENTS, "--moments-out", "day1.moments")
        assert (code, out.splitlines()[0]) == (0, "up to date: same inputs, parameters and version")
        assert out.splitlines()[-1] == "day1.moments"
        assert Path("day1.moments").stat().st_mtime_ns == before
        Path("day1.moments").unlink()
        assert call(*self.ARGUMENTS)[0] == 0
        assert call(*self.ARGUMENTS, "--moments-out", "day1.moments")[0] == 0, "the output is complete: nothing is lost"
        assert Path("day1.moments").exists()

    def test_a_file_that_is_there_is_kept_until_it_is_overwritten(self, call: Run, day: Day) -> None:
        expected = day("day1", slice(0, 250)).read_bytes()
        Path("day1.moments").write_bytes(b"precious")
        code, _, err = call(*self.ARGUMENTS[:-1], "other", "--moments-out", "day1.moments")
        assert (code, err) == (4, "error: the moments file exists\n  in: day1.moments\n  fix: --overwrite\n")
        assert Path("day1.moments").read_bytes() == b"precious"
        assert call(*self.ARGUMENTS[:-1], "other", "--moments-out", "day1.moments", "--overwrite")[0] == 0
        assert Path("day1.moments").read_bytes() == expected

    def test_a_fit_that_fails_leaves_nothing(self, call: Run, day: Day) -> None:
        day("day1", slice(0, 250))
        before = left()
        assert call(*self.ARGUMENTS[:-1], "other", "--moments-out", "other.moments", "--rank", "99")[0] == 2
        assert left() == before

    @pytest.mark.parametrize(
        ("place", "error"),
        [
            ("new/day1.moments", "the moments file lies inside the output directory\n  in: {}\n  directory: new"),
            ("new", "the moments file is the output directory\n  in: {}\n  directory: new"),
            (
                "in/image-day1.parquet",
                "the moments file is an input\n  in: {}\n  input: in/image-day1.parquet",
            ),
        ],
    )
    def test_places_that_are_taken(self, call: Run, day: Day, place: str, error: str) -> None:
        day("day1", slice(0, 250))
        code, _, err = call(*self.ARGUMENTS[:-1], "new", "--moments-out", place, "--overwrite")
        assert (code, err) == (2, f"error: {error.format(place)}\n  fix: choose another --moments-out\n")

    def test_what_is_not_a_file_is_never_replaced(self, call: Run, day: Day) -> None:
        day("day1", slice(0, 250))
        Path("folder").mkdir()
        Path("link").symlink_to("day1.moments")
        for place in ("folder", "link"):
            code, _, err = call(*self.ARGUMENTS[:-1], "new", "--moments-out", place, "--overwrite")
            error = f"error: the moments file would replace what is not a file\n  in: {place}\n"
            assert (code, err) == (4, error + "  fix: choose another --moments-out\n")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_that_cannot_be_written(self, call: Run, day: Day) -> None:
        day("day1", slice(0, 250))
        Path("locked").mkdir(mode=0o500)
        code, _, err = call(*self.ARGUMENTS[:-1], "new", "--moments-out", "locked/m")
        fix = "make it writable for this user, or choose another --moments-out"
        assert (code, err) == (4, f"error: permission denied\n  in: locked/m\n  fix: {fix}\n")


class TestMerge:
    def test_says_what_was_added_up(self, call: Run, days: tuple[Path, Path]) -> None:
        code, out, err = call("merge", *days, "-o", "all.safetensors", "--rank", "3", "--moments-out", "all.moments")
        assert (code, err) == (0, "")
        assert out.splitlines() == [
            "shared by     items  files  in several files",
            "image + text    400      2  0 of 400 sampled",
            "",
            "modality  rows  dim  rank  strength  energy at rank",
            "image      400   24     3         1           > 99%",
            "text       400   16     3         1           > 99%",
            "",
            "all.safetensors",
            "all.moments",
        ]
        assert left() == {
            "in",
            "out-day1",
            "out-day2",
            "day1.moments",
            "day2.moments",
            "all.moments",
            "all.safetensors",
        }

    def test_the_projector_is_that_of_one_fit(self, call: Run, days: tuple[Path, Path], day: Day) -> None:
        day("all", slice(None))
        assert call("merge", *days, "-o", "all.safetensors")[0] == 0
        stored, whole = load_file("all.safetensors"), load_file("out-all/projector.safetensors")
        assert {name: one.shape for name, one in stored.items()} == {name: one.shape for name, one in whole.items()}
        for modality in ("image", "text"):
            one, expected = (shared(Path(p), modality) for p in ("all.safetensors", "out-all/projector.safetensors"))
            np.testing.assert_allclose(one, expected, atol=1e-6)

    def test_it_can_be_applied(self, call: Run, days: tuple[Path, Path]) -> None:
        call("merge", *days, "-o", "all.safetensors", "--strength", "image=0.5")
        assert call("apply", "all.safetensors", "-m", "text=in/text-day2.parquet", "-o", "clean")[0] == 0
        assert call("inspect", "all.safetensors")[0] == 0

    def test_a_moments_file_can_be_looked_into(self, call: Run, days: tuple[Path, Path]) -> None:
        code, out, _ = call("inspect", days[0], "--json")
        found = json.loads(out)
        assert (code, found["kind"]) == (0, "moments")
        assert found["modalities"]["image"] == {"rows": 250, "dim": 24, "dtype": "float32", "ids": "string"}
        assert found["settings"] == {"winsorise": None, "grouped": False}

    def test_json_prints_one_object(self, call: Run, days: tuple[Path, Path]) -> None:
        code, out, _ = call("merge", *days, "-o", "all.safetensors", "--json", "--rank", "text=2", "--rank", "3")
        result = json.loads(out)
        assert code == 0
        assert (result["schema_version"], result["command"]) == (1, "merge")
        assert (result["files"], result["outputs"]) == (["day1.moments", "day2.moments"], ["all.safetensors"])
        assert {name: (one["rows"], one["rank"]) for name, one in result["modalities"].items()} == {
            "image": (400, 3),
            "text": (400, 2),
        }
        assert result["pairs"] == [
            {
                "modalities": ["image", "text"],
                "items": 400,
                "items_by_file": [250, 150],
                "files": 2,
                "overlap": {"sampled": 400, "shared": 0, "share": 0.0},
            }
        ]
        assert result["warnings"] == []

    def test_one_file_alone_is_solved_again(self, call: Run, days: tuple[Path, Path]) -> None:
        code, out, _ = call("merge", days[0], "-o", "again.safetensors", "--rank", "2")
        assert code == 0
        assert out.splitlines()[1].split() == ["image", "+", "text", "250", "1", "-"]
        assert load_file("again.safetensors")["image.rank"] == 2

    def test_what_was_merged_merges_again(self, call: Run, day: Day) -> None:
        first, second, third = (day(str(i), slice(100 * i, 100 * i + 100)) for i in range(3))
        call("merge", first, second, "-o", "two.safetensors", "--moments-out", "two.moments")
        code, out, _ = call("merge", "two.moments", third, "-o", "three.safetensors", "--json")
        assert (code, json.loads(out)["pairs"][0]["items"]) == (0, 300)

    def test_items_in_two_files_are_warned_about(self, call: Run, day: Day) -> None:
        files = day("day1", slice(0, 250)), day("day2", slice(200, 400))
        code, out, err = call("merge", *files, "-o", "all.safetensors", "-q")
        assert (code, out.splitlines()[1].split()[-4:]) == (0, ["50", "of", "400", "sampled"])
        assert err == (
            'warning: about 12.50% of the items of "image" and "text" are in more than one file, and count twice '
            "(50 of 400 sampled): fit each increment on new items only\n"
        )

    UNKNOWN = (
        'warning: items of "image" and "text" that are in more than one file were not looked for: '
        "it takes item ids, and samples in every file (fit without --no-report)\n"
    )

    def test_without_samples_it_is_said_that_nobody_looked(self, call: Run, day: Day) -> None:
        files = day("day1", slice(0, 250)), day("day2", slice(200, 400), "--no-report")
        code, out, err = call("merge", *files, "-o", "all.safetensors")
        assert (code, out.splitlines()[1].split()[-1], err) == (0, "-", self.UNKNOWN)

    RARE = (
        "are placeholders of which a file had too few to know them: they are part of the fit (a fit over all rows at "
        "once leaves them out)"
    )
    KNOWN = (
        "are placeholders in another file: they are part of the fit (a fit over all rows at once takes all equal rows, "
        "or none)"
    )

    @pytest.mark.parametrize(
        ("fillers", "told"),
        [
            ((6, 6, 0), f'12 of 399 sampled rows of "image" {RARE}'),
            ((12, 6, 6), f'12 of 387 sampled rows of "image" {RARE}'),
            ((12, 6, 0), f'6 of 387 sampled rows of "image" {KNOWN}'),
            (
                (12, 0, 1),
                '1 of 387 sampled rows of "image" is a placeholder in another file: it is part of the fit (a fit '
                "over all rows at once takes all equal rows, or none)",
            ),
            ((12, 12, 0), None),
            ((5, 4, 0), None),
            ((0, 0, 0), None),
        ],
    )
    def test_fillers_too_rare_in_a_file_are_warned_about(
        self, call: Run, day: Day, catalogue: Catalogue, fillers: tuple[int, int, int], told: str | None
    ) -> None:
        """Ten equal rows are placeholders, in a file as to a fit over all; a file does not say how many it left out."""
        parts = [slice(0, 150), slice(150, 280), slice(280, 399)]
        for part, rows in zip(parts, fillers, strict=True):
            catalogue.image[part.start : part.start + rows] = catalogue.image[399]
        files = [day(f"day{i}", part) for i, part in enumerate(parts)]
        _, text, err = call("merge", *files, "-o", "merged.safetensors", "--json")
        assert json.loads(text)["warnings"] == ([told] if told else [])
        assert ("placeholder" in err) == bool(told)
        assert call("merge", files[1], "-o", "alone.safetensors")[2] == "", "of one file the fit knew all rows"

    def test_two_kinds_of_fillers_are_told_apart(self, call: Run, day: Day, catalogue: Catalogue) -> None:
        catalogue.image[:12] = catalogue.image[200:202] = catalogue.image[399]
        catalogue.image[20:26] = catalogue.image[220:226] = catalogue.image[398]
        files = day("day1", slice(0, 200)), day("day2", slice(200, 398))
        _, text, _ = call("merge", *files, "-o", "merged.safetensors", "--json")
        assert json.loads(text)["warnings"] == [
            f'12 of 386 sampled rows of "image" {self.RARE}',
            f'2 of 386 sampled rows of "image" {self.KNOWN}',
        ]

    def test_row_numbers_are_no_ids(self, call: Run) -> None:
        for name, seed in (("day1", 0), ("day2", 1)):
            one = planted(100, seed)
            image, text = (write_npy(Path(f"{m}-{name}.npy"), getattr(one, m)) for m in ("image", "text"))
            arguments = ["-m", f"image={image}", "-m", f"text={text}", "-o", name, "--moments-out", f"{name}.moments"]
            assert call("fit", *arguments)[0] == 0
        assert call("merge", "day1.moments", "day2.moments", "-o", "all.safetensors")[2] == self.UNKNOWN


class TestRefusals:
    def test_files_that_are_there(self, call: Run, days: tuple[Path, Path]) -> None:
        call("merge", *days, "-o", "all.safetensors", "--moments-out", "all.moments")
        before = Path("all.safetensors").read_bytes(), Path("all.moments").read_bytes()
        code, out, err = call("merge", *days, "-o", "all.safetensors", "--rank", "1")
        assert (code, out) == (4, "")
        assert err == "error: the projector exists\n  in: all.safetensors\n  fix: --overwrite\n"
        code, _, err = call("merge", *days, "-o", "new.safetensors", "--moments-out", "all.moments")
        assert (code, err) == (4, "error: the moments file exists\n  in: all.moments\n  fix: --overwrite\n")
        assert not Path("new.safetensors").exists()
        assert before == (Path("all.safetensors").read_bytes(), Path("all.moments").read_bytes())
        assert call("merge", *days, "-o", "all.safetensors", "--rank", "1", "--overwrite")[0] == 0
        assert before[0] != Path("all.safetensors").read_bytes()

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            (
                ["day1.moments", "./day1.moments", "-o", "p"],
                "a moments file is given twice\n  in: day1.moments\n  fix: give each once",
            ),
            (
                ["day1.moments", "day2.moments", "-o", "day2.moments", "--overwrite"],
                "the projector is an input\n  in: day2.moments\n  input: day2.moments\n  fix: choose another --out",
            ),
            (
                ["day1.moments", "-o", "p", "--moments-out", "day1.moments", "--overwrite"],
                "the moments file is an input\n  in: day1.moments\n  input: day1.moments\n"
                "  fix: choose another --moments-out",
            ),
            (
                ["day1.moments", "-o", "p", "--moments-out", "p"],
                "the moments file is the projector\n  in: p\n  projector: p\n  fix: choose another --moments-out",
            ),
            (
                ["day1.moments", "-o", "p", "--rank", "imgae=3"],
                'no modality "imgae"\n  in: --rank\n  modalities: image, text\n  fix: --rank image=...',
            ),
            (["day1.moments"], "missing option '--out' / '-o'\n  fix: --out FILE"),
            (["-o", "p"], "missing argument 'MOMENTS'\n  fix: clear-cli merge --help"),
        ],
    )
    def test_command_lines_that_make_no_sense(
        self, call: Run, days: tuple[Path, Path], arguments: list[str], error: str
    ) -> None:
        before = left()
        assert call("merge", *arguments) == (2, "", f"error: {error}\n")
        assert left() == before
        assert days[0].exists()

    def test_a_file_that_is_something_else(self, call: Run, days: tuple[Path, Path]) -> None:
        code, _, err = call("merge", *days, "out-day1/projector.safetensors", "-o", "p")
        assert (code, err.splitlines()[:2]) == (
            3,
            [
                "error: this safetensors file is no moments file of clear-cli",
                "  in: out-day1/projector.safetensors",
            ],
        )

    def test_a_damaged_file_leaves_no_output(self, call: Run, days: tuple[Path, Path]) -> None:
        days[1].write_bytes(days[1].read_bytes()[:-100])
        before = left()
        code, out, err = call("merge", *days, "-o", "p", "--moments-out", "m")
        assert (code, out, err.splitlines()[1]) == (3, "", "  in: day2.moments")
        assert left() == before

    def test_other_dimensions(self, call: Run, day: Day, catalogue: Catalogue) -> None:
        first = day("day1", slice(0, 250))
        catalogue.image = catalogue.image[:, :20]
        second = day("day2", slice(250, 400))
        assert call("merge", first, second, "-o", "p") == (
            3,
            "",
            'error: "image" has 20 dimensions here and 24 in day1.moments\n  in: day2.moments\n'
            "  fix: merge embeddings of one encoder only\n",
        )

    def test_other_modalities(self, call: Run, day: Day) -> None:
        first = day("day1", slice(0, 250))
        places = ["-m", "text=in/text-day1.parquet", "-m", "image=in/image-day1.parquet"]
        call("fit", *places, "-o", "swapped", "--moments-out", "swapped.moments")
        assert call("merge", first, "swapped.moments", "-o", "p") == (
            3,
            "",
            "error: the files do not hold the same modalities in the same order\n  in: swapped.moments\n"
            "  modalities: text, image\n  expected: image, text, as in day1.moments\n"
            "  fix: fit all with the same -m, in the same order\n",
        )

    def test_other_options_of_the_fit(self, call: Run, day: Day) -> None:
        first, second = day("day1", slice(0, 250)), day("day2", slice(250, 400), "--winsorise", "99%")
        assert call("merge", first, second, "-o", "p") == (
            3,
            "",
            "error: the files were not made with the same options of the fit\n  in: day2.moments\n"
            "  options: grouped False, winsorise 0.99\n  expected: grouped False, winsorise None, as in day1.moments\n"
            "  fix: fit all with the same --winsorise and --group-column\n",
        )

    def test_covariances_that_were_not_kept(self, call: Run, days: tuple[Path, Path]) -> None:
        assert call("merge", *days, "-o", "p", "--removal", "oblique") == (
            3,
            "",
            'error: the covariances of "image" and "text" by themselves are not here, and this takes them\n'
            "  in: day1.moments\n"
            "  fix: clear-cli fit with --directions correlation or --removal oblique, and --moments-out\n",
        )


def test_a_folder_is_no_file(call: Run, day: Day) -> None:
    one, other = day("one", slice(0, 200)), day("two", slice(200, 400))
    message = 'error: "{0}/" is a folder, and this is one file\n  in: {1}\n  fix: {1} {0}/{2}\n'
    told = message.format("merged", "--out", "projector.safetensors")
    assert call("merge", one, other, "--out", "merged/") == (2, "", told)
    told = message.format("all", "--moments-out", "fit.moments")
    assert call("merge", one, other, "--out", "p.safetensors", "--moments-out", "all/") == (2, "", told)
    Path("clear.toml").write_text("out = 'merged/'\n")
    code, _, err = call("merge", one, other, "--config", "clear.toml")
    assert (code, err.splitlines()[:2]) == (
        2,
        ['error: "merged/" is a folder, and this is one file', "  in: clear.toml, key out"],
    )
    assert not Path("merged").exists()
    assert call("merge", one, other, "--out", "merged/projector.safetensors", "-q")[0] == 0


def test_a_file_where_a_folder_should_be(call: Run, day: Day) -> None:
    one, other = day("one", slice(0, 200)), day("two", slice(200, 400))
    Path("notes").touch()
    for option, more in (("--out", []), ("--moments-out", ["--out", "p.safetensors"])):
        code, _, err = call("merge", one, other, option, "notes/file.moments", *more, "-q")
        told = f"error: not a directory\n  in: notes/file.moments\n  fix: choose another {option}\n"
        assert (code, err) == (4, told)
