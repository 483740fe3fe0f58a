"""Options from flags, the environment and a file: which counts, and what is said of one that cannot be used."""

from __future__ import annotations

import io
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

import clear_cli
from clear_cli import cli
from clear_cli.cli import command, configfile, console
from clear_cli.config import Input
from clear_cli.workflow.recorded import recorded
from tests.conftest import Catalogue, Run, write_npy

INPUTS = '[modalities.image]\npath = "in/image.parquet"\n[modalities.text]\npath = "in/text.h5"\n'


@pytest.fixture(autouse=True)
def here(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with inputs, and an environment without settings."""
    for name in [name for name in os.environ if name.startswith("CLEAR_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(files[0].parent.parent)


def configured(text: str, name: str = "clear.toml") -> str:
    Path(name).write_text(text)
    return name


def resolved(call: Run, *arguments: Any) -> dict[str, str]:
    """The options of a run, as it says them."""
    code, _, err = call("run", *arguments, "--out", "out", "--dry-run", "--verbose")
    assert code == 0, err
    return dict(re.findall(r"^  (\w+) = (.*)$", err, re.MULTILINE))


def written(folder: str) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


class TestWhichCounts:
    @pytest.mark.parametrize(
        ("file", "variable", "flag", "expected"),
        [
            ("", None, [], "256 (default)"),
            ("max_rank = 9\n", None, [], "9 (clear.toml, key max_rank)"),
            ("max_rank = 9\n", "8", [], "8 (CLEAR_MAX_RANK)"),
            ("max_rank = 9\n", "", [], "9 (clear.toml, key max_rank)"),
            ("max_rank = 9\n", "8", ["--max-rank", "7"], "7 (command line)"),
        ],
    )
    def test_the_first_of_flag_variable_file_and_default(
        self, call: Run, monkeypatch: Any, file: str, variable: str | None, flag: list[str], expected: str
    ) -> None:
        if variable is not None:
            monkeypatch.setenv("CLEAR_MAX_RANK", variable)
        assert resolved(call, "--config", configured(file + INPUTS), *flag)["max_rank"] == expected

    @pytest.mark.parametrize(
        ("variable", "flag", "expected"),
        [
            ("", [], "2 (clear.toml, key rank), text=5 (clear.toml, key modalities.text.rank)"),
            ("", ["--rank", "image=3"], "image=3 (command line), 2 (clear.toml, key rank), text=5 "
             "(clear.toml, key modalities.text.rank)"),
            ("image=4", [], "image=4 (CLEAR_RANK), 2 (clear.toml, key rank), text=5 "
             "(clear.toml, key modalities.text.rank)"),
            ("4 image=6", ["--rank", "text=3"], "text=3 (command line), 4 (CLEAR_RANK), image=6 (CLEAR_RANK)"),
            ("image=4 text=3", ["--rank", "90%"], "90% (command line)"),
        ],
    )  # fmt: skip
    def test_counts_for_each_modality_by_itself(
        self, call: Run, monkeypatch: Any, variable: str, flag: list[str], expected: str
    ) -> None:
        monkeypatch.setenv("CLEAR_RANK", variable)
        file = configured(f"rank = 2\n{INPUTS}rank = 5\n")
        assert resolved(call, "--config", file, *flag)["rank"] == expected

    def test_a_flag_switches_off_what_the_file_switches_on(self, call: Run) -> None:
        file = configured(f"keep_mean = true\nreport = false\n{INPUTS}")
        options = resolved(call, "--config", file, "--no-keep-mean", "--report")
        assert options["keep_mean"] == "false (command line)"
        assert options["report"] == "true (command line)"

    def test_modalities_on_the_command_line_are_all_that_there_are(self, call: Run, catalogue: Catalogue) -> None:
        write_npy(Path("audio.npy"), catalogue.audio, catalogue.ids)
        audio = '[modalities.audio]\npath = "audio.npy"\nids = "audio.txt"\nrank = 3\n'
        file = configured(f"{audio}{INPUTS}rank = 2\n")
        assert "audio=" in resolved(call, "--config", file)["modality"]
        options = resolved(call, "--config", file, "-m", "image=in/image.parquet", "-m", "text=in/text.h5")
        assert "audio" not in options["modality"]
        assert options["rank"] == "text=2 (clear.toml, key modalities.text.rank)"
        assert "ids" not in options

    def test_the_file_may_be_named_by_a_variable(self, call: Run, monkeypatch: Any) -> None:
        monkeypatch.setenv("CLEAR_CONFIG", configured("threads = 1\n" + INPUTS))
        assert resolved(call)["threads"] == "1 (clear.toml, key threads)"

    def test_paths_start_from_the_folder_of_the_file(self, tmp_path: Path) -> None:
        Path("conf").mkdir()
        text = INPUTS.replace('"in/image', '"../in/image').replace('"in/text.h5"', f'"{tmp_path}/in/text.h5"')
        configured(f'tmp_dir = "scratch"\nfit_items = "~/ids.txt"\n{text}', "conf/clear.toml")
        settings = configfile.read_settings(Path("conf/clear.toml"))
        assert settings.values == {
            "tmp_dir": "conf/scratch",
            "fit_items": str(Path.home() / "ids.txt"),
            "modality": ["image=conf/../in/image.parquet", f"text={tmp_path}/in/text.h5"],
        }
        configured('out = "s3://shop/clean"', "conf/remote.toml")
        assert configfile.read_settings(Path("conf/remote.toml")).values == {"out": "s3://shop/clean"}

    def test_a_projector_keeps_its_rank_whatever_the_file_says(self, call: Run) -> None:
        file = configured(f'rank = "auto"\nstrength = "soft"\n{INPUTS}')
        call("fit", "--config", file, "--out", "fit", "--rank", 4)
        _, out, _ = call("apply", "fit", "--config", file, "--out", "new", "--json")
        assert {one["rank"] for one in json.loads(out)["modalities"].values()} == {4}

    def test_a_merge_takes_ranks_from_the_file(self, call: Run) -> None:
        file = configured(f"{INPUTS}rank = 2\n")
        call("fit", "--config", file, "--out", "fit", "--moments-out", "a.moments")
        _, out, _ = call(
            "merge", "a.moments", "--config", file, "--out", "p.safetensors", "--rank", "image=3", "--json"
        )
        assert {name: one["rank"] for name, one in json.loads(out)["modalities"].items()} == {"image": 3, "text": 2}


class TestGates:
    def test_the_file_holds_gates_and_a_flag_replaces_the_one_on_the_same_figure(self, call: Run) -> None:
        gates = '[gates]\nleftover_heldout = "<=0"\nimage.variance_kept = [">=0", "<=1"]\n"image+text".rv = ">=0"\n'
        file = configured(INPUTS + gates)
        code, _, err = call("run", "--config", file, "--out", "out", "-q")
        assert code == 5
        assert "1 of 4 gates failed" in err
        code, out, _ = call("check", "out", "--config", file, "--gate", "leftover_heldout<=1", "--json")
        assert code == 0
        assert {one["gate"]["text"] for one in json.loads(out)["gates"]} == {
            "leftover_heldout<=1", "image.variance_kept>=0", "image.variance_kept<=1", "image+text.rv>=0"
        }  # fmt: skip

    def test_one_file_has_those_of_several_commands(self, call: Run) -> None:
        gates = '[gates]\nleftover_heldout = "<=1"\nvariance_kept = ">=1%"\ndrift_mean_shift = "<=9"\n'
        file = configured(INPUTS + gates)
        others = {
            "run": ["drift_mean_shift<=9"],
            "diagnose": ["variance_kept>=1%", "drift_mean_shift<=9"],
            "apply": ["leftover_heldout<=1"],
        }
        for name, left_out in others.items():
            what = f"on what {name} does not compute here are left out: {', '.join(left_out)}"
            note = f"warning: gates of the file {what}\n"
            given = [name, "run"] if name == "apply" else [name]
            code, out, err = call(*given, "--config", file, "--out", name, "--json", "-q")
            assert (code, err.startswith(note), err.count("warning: gates")) == (0, True, 1)
            judged = json.loads(out)["gates"]
            assert len({one["gate"]["text"] for one in judged} | {*left_out}) == 3
            code, out, err = call("check", name, "--config", file, "--json")
            assert (code, err, json.loads(out)["gates"]) == (0, note, judged)
        code, _, err = call("check", "diagnose/diagnostics.json", "--config", file)
        assert (code, err.count("not computed")) == (5, 4), "nothing says what made it"

    def test_one_modality_has_no_pairs(self, call: Run) -> None:
        file = configured(
            INPUTS + '[gates]\ncomplete_items = ">=1"\n"image+text".leftover_new_items = "<=1"\nrank = ">=0"\n'
        )
        assert call("fit", "--config", file, "--out", "fit")[0] == 0
        alone = ["--config", file, "-m", "text=in/text.h5"]
        note = "compute here are left out: complete_items>=1, image+text.leftover_new_items<=1\n"
        for arguments in (["apply", "fit", *alone, "--out", "out"], ["check", "out", "--config", file]):
            code, _, err = call(*arguments)
            assert (code, note in err) == (0, True)
        # Without tables of modalities, what there is is known from the projector.
        bare = configured('[gates]\nimage.rank = ">=0"\ntext.rank = ">=0"\n')
        arguments = ["apply", "fit", "--config", bare, "-m", "text=in/text.h5", "--out", "bare"]
        code, _, err = call(*arguments)
        assert (code, "compute here are left out: image.rank>=0\n" in err) == (0, True)
        code, _, err = call(*arguments[:3], configured('[gates]\nimgae.rank = ">=0"\n'), *arguments[4:])
        assert (code, 'gate "imgae.rank>=0" is about nothing here' in err) == (2, True)
        code, _, err = call("apply", "fit", *alone, "--out", "out", "--gate", "complete_items>=1")
        assert (code, 'gate "complete_items>=1" is about nothing here' in err) == (2, True)

    def test_a_file_may_have_none_for_a_command(self, call: Run) -> None:
        file = configured(INPUTS + '[gates]\ndrift_mean_shift = "<=9"\n')
        left_out = "drift_mean_shift<=9; no gate is left"
        note = f"warning: gates of the file on what run does not compute here are left out: {left_out}\n"
        code, _, err = call("run", "--config", file, "--out", "out", "-q")
        assert (code, err.startswith(note)) == (0, True)
        code, _, err = call("check", "out", "--config", file)
        assert (code, err) == (2, f"{note}error: nothing to check\n  fix: --gate 'leftover_heldout<=0.1'\n")

    def test_check_judges_the_output_that_the_file_names(self, call: Run) -> None:
        Path("conf").mkdir()
        gates = '[gates]\nrank = "==2"\n'
        file = configured('out = "../out"\nrank = 2\n' + INPUTS.replace('"in', '"../in') + gates, "conf/clear.toml")
        assert call("run", "--config", file)[0] == 0
        assert call("run", "--config", file, "--out", "other", "--rank", "3")[0] == 5
        assert call("check", "--config", file)[0] == 0
        assert call("check", "other", "--config", file)[0] == 5
        for nothing in (["--config", configured(gates)], ["--config", "out/manifest.json"], ["--gate", "rank>=0"], []):
            code, _, err = call("check", *nothing)
            fix = "clear-cli check DIR, or out in the file of --config"
            assert (code, err) == (2, f"error: no output to check\n  fix: {fix}\n")

    def test_check_prefers_the_output_of_the_variable_and_that_of_the_command_line(
        self, call: Run, monkeypatch: Any
    ) -> None:
        file = configured('out = "two"\n' + INPUTS + '[gates]\nrank = "==2"\n')
        for name, rank in (("two", 2), ("three", 3), ("four", 4)):
            call("run", "--config", file, "--out", name, "--rank", rank, "-q")
        monkeypatch.setenv("CLEAR_OUT", "three")
        for given, rank, where in (
            (["four", "--config", file], 4, "four (command line)"),
            (["--config", file], 3, "three (CLEAR_OUT)"),
            (["--gate", "rank==3"], 3, "three (CLEAR_OUT)"),
        ):
            code, _, err = call("check", *given, "-v", "--gate", f"rank=={rank}")
            assert (code, f"  out = {where}\n" in err) == (0, True)
        monkeypatch.delenv("CLEAR_OUT")
        code, _, err = call("check", "--config", file, "-v")
        assert (code, f"  out = two ({file}, key out)\n" in err) == (0, True)

    def test_a_gate_that_is_asked_for_is_no_gate_of_the_file(self, call: Run) -> None:
        file = configured(INPUTS + '[gates]\nrank = ">=0"\n')
        code, _, err = call("run", "--config", file, "--out", "out", "-q", "--gate", "drift_mean_shift<=9")
        assert code == 2
        assert err.startswith('error: "drift_mean_shift" is not computed by run\n  in: --gate\n')


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("rank = 4\nfoo\n", "not valid TOML: expected '=' after a key in a key/value pair (at line 2, column 4)\n"),
            ("rank = [\n", "not valid TOML: invalid value (at end of document) (at line 1)\n  in: clear.toml\n"),
            ("rank = true\n", 'true is not an integer or a string\n  in: clear.toml, key rank\n  fix: rank = "auto"\n'),
            ("strength = []\n", "[] is not a number or a string\n  in: clear.toml, key strength\n  fix: strength = 1"),
            ("max_rank = '64'\n", '"64" is not an integer\n  in: clear.toml, key max_rank\n  fix: max_rank = 64\n'),
            ("report = 'no'\n", '"no" is not true or false\n  in: clear.toml, key report\n  fix: report = true\n'),
            (
                'rank = 3\nout = "out\n',
                "not valid TOML: illegal character '\\n' (at line 2, column 11)\n  in: clear.toml\n"
                '  line: out = "out\n  fix: texts in quotes, as in rank = "auto"; '
                "clear-cli config --example shows every key\n",
            ),
            ("max_rank = 2.5\n", "2.5 is not an integer\n  in: clear.toml, key max_rank\n  fix: max_rank = 256\n"),
            ("keep_mean = 1\n", "1 is not true or false\n  in: clear.toml, key keep_mean\n  fix: keep_mean = false\n"),
            ("modalities = 3\n", "modalities is a table\n  in: clear.toml, key modalities\n"),
            ("[modalities]\nimage = 3\n", "a modality is a table\n  in: clear.toml, key modalities.image\n"),
            ("[gates]\nrv = 1\n", "a gate is a sign and a number, as a string\n  in: clear.toml, key gates.rv\n"),
            (INPUTS + "[gates]\nrvv = '<=1'\n", 'no metric "rvv"\n  in: clear.toml, key gates.rvv\n  metrics: '),
            (
                "[gates]\nrv = '0.3'\n",
                'a gate is a sign and a number, as a string\n  in: clear.toml, key gates.rv\n  fix: rv = "<=0.1"\n',
            ),
            (
                INPUTS + "[gates]\nrv = '<=x'\n",
                '"rv<=x" is not a gate\n  in: clear.toml, key gates.rv\n  fix: leftover_heldout = "<=0.1"\n',
            ),
            (
                INPUTS + "[gates]\nimage.variance_kept = '>=80'\n",
                '"variance_kept" is a share: the whole is 1, or 100%\n  in: clear.toml, key gates.image.variance_kept\n'
                '  fix: image.variance_kept = ">=80%"\n',
            ),
            (
                INPUTS + "[gates]\n'image+txt'.rv = '<=0.5'\n",
                'gate "image+txt.rv<=0.5" is about nothing here\n  in: clear.toml, key gates.image+txt.rv\n'
                '  known: image+text\n  fix: "image+text".rv = "<=0.5"\n',
            ),
            (
                INPUTS + "rnak = 3\n",
                'no key "rnak"\n  in: clear.toml, table modalities.text\n  keys: path, rank, strength, '
                "embedding_column, id_column, ids, name, group_column\n  fix: rank\n",
            ),
            (
                INPUTS + "[modalities.imgae]\nrank = 3\n",
                'modality "imgae" has no path\n  in: clear.toml, key modalities.imgae\n  fix: path = "..."\n',
            ),
            (
                INPUTS + "rank = 'many'\n",
                'rank "many" is not auto, a number of directions or a percentage\n'
                "  in: clear.toml, key modalities.text.rank\n",
            ),
            ("renorm = 'units'\n" + INPUTS, '"units" is not a value of --renorm\n  in: clear.toml, key renorm\n'),
            ("winsorise = 'much'\n" + INPUTS, '"much" is not a percentage\n  in: clear.toml, key winsorise\n'),
            (
                "tmp_dir = 'nowhere'\n" + INPUTS,
                "the folder for scratch files does not exist\n  in: nowhere\n  set: clear.toml, key tmp_dir\n",
            ),
        ],
    )  # fmt: skip
    def test_of_a_file_name_the_key_and_the_file(self, call: Run, text: str, message: str) -> None:
        code, out, err = call("run", "--config", configured(text), "--out", "out", "-q")
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {message}")
        assert not Path("out").exists()

    def test_of_a_range_name_the_key_too(self, call: Run) -> None:
        code, _, err = call("run", "--config", configured("max_rank = -1\n" + INPUTS), "--out", "out")
        assert code == 2
        assert err.startswith('error: "-1" should be greater than or equal to 0\n')
        assert "  in: clear.toml, key max_rank\n" in err

    def test_an_unknown_key_lists_all_and_suggests_the_nearest(self, call: Run) -> None:
        _, _, err = call("run", "--config", configured("max-rank = 4\n"))
        keys = ", ".join([*configfile.KEYS, *configfile.TABLES])
        assert err == f'error: no key "max-rank"\n  in: clear.toml\n  keys: {keys}\n  fix: max_rank\n'

    @pytest.mark.parametrize(
        ("variable", "value", "message"),
        [
            ("CLEAR_RANK", "many", 'rank "many" is not auto, a number of directions or a percentage\n'),
            ("CLEAR_RANK", "imgae=3", 'no modality "imgae"\n  in: CLEAR_RANK\n  modalities: image, text\n'),
            ("CLEAR_STRENGTH", "image=2", 'strength "2" is not a number between 0 and 1, or soft\n'),
            ("CLEAR_MEMORY", "lots", '"lots" is not a size\n  in: CLEAR_MEMORY\n'),
            ("CLEAR_THREADS", "many", '"many" is not an integer\n'),
            ("CLEAR_KEEP_MEAN", "maybe", '"maybe" is not true or false\n'),
        ],
    )  # fmt: skip
    def test_of_a_variable_name_it(self, call: Run, monkeypatch: Any, variable: str, value: str, message: str) -> None:
        monkeypatch.setenv(variable, value)
        code, out, err = call("run", "--config", configured(INPUTS), "--out", "out", "-q")
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {message}")
        assert f"  in: {variable}\n" in err

    def test_that_only_the_data_show_name_the_key_too(self, call: Run) -> None:
        text = "rank = 3\n" + INPUTS.replace("[modalities.text]", "rank = 24\n[modalities.text]")
        code, _, err = call("run", "--config", configured(text), "--out", "out", "-q")
        assert code == 2
        assert err == (
            "error: rank 24 would remove the whole modality: it has 24 dimensions\n"
            "  in: clear.toml, key modalities.image.rank\n  fix: --rank 16 or less\n"
        )
        text = INPUTS + 'embedding_column = "embeding"\n'
        code, _, err = call("run", "--config", configured(text), "--out", "out", "-q")
        assert code == 3
        assert "  set: clear.toml, key modalities.text.embedding_column\n" in err

    def test_of_several_options_name_where_each_was_set(self, call: Run, monkeypatch: Any) -> None:
        monkeypatch.setenv("CLEAR_RENORM", "unit")
        code, _, err = call("run", "--config", configured('scale = "rms"\n' + INPUTS), "--out", "out", "-q")
        assert code == 2
        assert err == (
            "error: rows that are given a norm cannot also be scaled\n  in: CLEAR_RENORM; clear.toml, key scale\n"
            "  fix: --scale none or --renorm none\n"
        )

    def test_name_no_place_of_an_option_that_they_only_happen_to_mention(self, call: Run) -> None:
        text = 'memory = "4GiB"\n' + INPUTS
        code, _, err = call("run", "--config", configured(text), "--out", "--memory", "--rank", "--memory", "-q")
        assert (code, "clear.toml" in err) == (2, False)

    def test_of_flags_blame_no_file(self, call: Run, monkeypatch: Any) -> None:
        monkeypatch.setenv("CLEAR_RANK", "3")
        monkeypatch.setenv("CLEAR_THREADS", "1")
        file = configured("rank = 3\n" + INPUTS)
        for flags in (["--rank", "many"], ["--threads", "many"]):
            _, _, err = call("run", "--config", file, "--out", "out", *flags)
            assert "clear.toml" not in err
            assert "CLEAR_" not in err

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("none.toml", None, "cannot read the configuration: no such file or directory\n  in: none.toml\n"),
            (
                "inn",
                None,
                "cannot read the configuration: no such file or directory\n  in: inn\n  near: in\n  fix: in\n",
            ),
            ("in", None, "cannot read the configuration: is a directory\n  in: in\n"),
            ("a.json", '{"tool": "clear_cli"}', "no manifest that holds a configuration\n  in: a.json\n"),
            (
                "in/text.h5/x",
                None,
                "cannot read the configuration: not a directory\n  in: in/text.h5/x\n"
                "  file: in/text.h5, which is no folder\n",
            ),
            ("a.json", "[", "no manifest that holds a configuration\n  in: a.json\n"),
        ],
    )
    def test_of_a_file_that_is_none(self, call: Run, name: str, text: str | None, message: str) -> None:
        if text is not None:
            configured(text, name)
        code, _, err = call("run", "--config", name, "--out", "out")
        assert code == 2
        assert err.startswith(f"error: {message}")

    @pytest.mark.parametrize(("name", "container"), [("image.parquet", "Parquet"), ("text.h5", "HDF5")])
    def test_a_file_of_something_else(self, call: Run, name: str, container: str) -> None:
        assert call("run", "--config", f"in/{name}", "--out", "out") == (
            2,
            "",
            f"error: this is no file of options, but one of {container}\n  in: in/{name}\n"
            "  fix: the manifest.json of an output of run, fit, diagnose or apply, or a TOML file\n",
        )

    def test_a_file_that_is_not_text(self, call: Run) -> None:
        Path("clear.toml").write_bytes(b"rank = 4 # \xff")
        _, _, err = call("run", "--config", "clear.toml", "--out", "out")
        assert err == "error: not valid TOML: byte 11 is not UTF-8\n  in: clear.toml\n"

    def test_a_variable_that_is_no_setting_is_named(self, call: Run, monkeypatch: Any) -> None:
        monkeypatch.setenv("CLEAR_RNAK", "3")
        code, _, err = call("run", "--config", configured(INPUTS), "--out", "out", "--dry-run", "-q")
        assert code == 0
        assert err == "warning: CLEAR_RNAK is no setting; the nearest is CLEAR_RANK\n"


class TestManifest:
    def test_fed_back_gives_the_same_bytes(self, call: Run, monkeypatch: Any, catalogue: Catalogue) -> None:
        Path("conf").mkdir()
        Path("in/train.txt").write_text("\n".join(catalogue.ids[:300]))
        text = 'max_rank = 12\nwinsorise = "98.7%"\nfit_items = "../in/train.txt"\n' + INPUTS.replace('"in', '"../in')
        configured(f'{text}strength = 0.3\nembedding_column = "embeddings"\n', "conf/clear.toml")
        monkeypatch.setenv("CLEAR_RANK", "image=3")
        monkeypatch.setenv("CLEAR_KEEP_MEAN", "true")
        flags = ["--strength", "image=0.7", "--rank", "90%", "--rank", "text=2", "--name", "text=words.h5"]
        assert call("run", "--config", "conf/clear.toml", *flags, "--out", "one", "--threads", 1)[0] == 0
        config = json.loads(Path("one/manifest.json").read_text())["config"]
        assert config["modalities"] == {
            "image": {"path": "../in/image.parquet", "rank": "90%", "strength": 0.7},
            "text": {"path": "../in/text.h5", "rank": 2, "strength": 0.3, "name": "words.h5",
                     "embedding_column": "embeddings"},
        }  # fmt: skip
        monkeypatch.delenv("CLEAR_RANK")
        monkeypatch.delenv("CLEAR_KEEP_MEAN")
        Path("elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")
        assert call("run", "--config", "../one/manifest.json", "--out", "../two", "--threads", 2)[0] == 0
        assert written("../two") == written("../one")

    def test_of_any_command_that_writes_one(self, call: Run) -> None:
        file = configured(INPUTS)
        for arguments in (["diagnose", "--curve"], ["fit", "--rank", 2], ["apply", "fit", "--rank", 1]):
            name = arguments[0]
            assert call(*arguments, "--config", file, "--out", name)[0] == 0
            plain = arguments[:2] if name == "apply" else arguments[:1]
            again = f"{name}-again"
            assert call(*plain, "--config", f"{name}/manifest.json", "--out", again)[0] == 0
            assert written(again) == written(name)

    def test_is_the_same_from_python(self, call: Run) -> None:
        call("run", "--config", configured(INPUTS), "--rank", "text=2", "--winsorise", "99%", "--out", "one")
        paths = {"image": Path("in/image.parquet"), "text": "in/text.h5"}
        clear_cli.run(paths, "two", rank={"text": 2}, winsorise=0.99)
        assert written("two") == written("one")

    def test_holds_no_secret_and_no_path_that_leads_nowhere(self) -> None:
        class Remote:
            def __init__(self, uri: str) -> None:
                self.uri = uri

            def __str__(self) -> str:
                return self.uri

        def kept(path: Any, out: Any) -> str | None:
            return recorded([Input("image", path)], {}, out)["modalities"]["image"].get("path")

        assert kept(Remote("hf://datasets/shop/items@main/a.npy"), Path("out")) == "hf://datasets/shop/items@main/a.npy"
        assert kept(Remote("https://me:secret@shop/a.npy"), Path("out")) is None
        assert kept(Remote("https://shop/a.npy?signature=secret"), Path("out")) is None
        assert kept(Path("in/a.npy"), Remote("s3://shop/out")) is None

    def test_leads_to_the_inputs_past_links(self, tmp_path: Path) -> None:
        Path("deep/er").mkdir(parents=True)
        Path("link").symlink_to(tmp_path / "deep/er")
        Path("named.npy").symlink_to(tmp_path / "in/image.npy")
        found = recorded([Input("image", Path("named.npy"))], {}, Path("link/out"))["modalities"]["image"]["path"]
        assert found == "../../../named.npy"


class TestVolume:
    def test_quiet_and_verbose_contradict_unless_one_is_said_at_a_higher_place(self, call: Run) -> None:
        file = configured("quiet = true\n" + INPUTS)
        code, _, err = call("run", "--config", file, "--out", "out", "-q", "-v")
        assert (code, err) == (2, "error: --quiet and --verbose cannot both be\n  fix: one of them\n")
        assert resolved(call, "--config", file)["quiet"] == "true (clear.toml, key quiet)"

    def test_quiet_leaves_the_result_and_what_it_warns_of(self, call: Run) -> None:
        given = ["diagnose", "--config", configured(INPUTS)]
        (_, loud, said), (code, out, err) = call(*given, "--verbose"), call(*given, "--quiet")
        warnings = [line for line in said.splitlines(keepends=True) if line.startswith("warning: ")]
        assert (code, out, err) == (0, loud, "".join(warnings))
        assert out
        assert warnings
        assert len(said) > len(err)

    def test_verbose_says_each_step(self, call: Run) -> None:
        _, out, err = call("run", "--config", configured(INPUTS), "--out", "out", "--verbose", "--json")
        assert json.loads(out)["command"] == "run"
        assert "fitting: 400 rows\n" in err
        assert "writing: 800 rows\n" in err

    @pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
    def test_a_bar_has_colours_unless_they_are_not_wanted(
        self, monkeypatch: Any, variables: dict[str, str], coloured: bool
    ) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        screen = Terminal()
        monkeypatch.setattr("sys.stderr", screen)
        for name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"TERM": "xterm-256color", **variables}.items():
            monkeypatch.setenv(name, value)
        with console.Console().stage("fitting", 10) as advance:
            advance(10)
        assert bool(re.search(r"\x1b\[3\d", screen.getvalue())) == coloured


class TestExample:
    def test_is_valid_and_so_is_all_that_it_holds_commented_out(self, call: Run) -> None:
        code, example, err = call("config", "--example")
        assert (code, err) == (0, "")
        assert set(tomllib.loads(example)) == {"out", "modalities", "gates"}
        whole = re.sub(r"^# ([\w.]+ = )", r"\1", example, flags=re.MULTILINE)
        document = tomllib.loads(whole)
        assert set(document) == {*configfile.KEYS, *configfile.TABLES}
        assert set(document["modalities"]["image"]) == set(configfile.OF_ONE)
        for text in (example, whole):
            configfile.read_settings(Path(configured(text)))

    def test_shows_the_defaults(self, call: Run) -> None:
        example = call("config", "--example")[1]
        shown = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", example, flags=re.MULTILINE))
        group: Any = typer.main.get_command(cli.app)
        for option in group.commands["run"].params:
            if option.default not in (None, []):
                assert shown[configfile.key_of(option)] == option.default, option.name

    def test_every_option_has_its_key(self) -> None:
        options = command.described(typer.main.get_command(cli.app))
        assert set(options) - {"config"} == {*configfile.KEYS, *configfile.TABLES.values()}

    def test_nothing_asked(self, call: Run) -> None:
        code, text, err = call("config")
        assert (code, err, "--example" in text) == (0, "", True)
