"""The report: what it says of planted data, that it gives away nothing, and that it can be made of anything."""

from __future__ import annotations

import copy
import json
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from clear_cli.cli import app
from clear_cli.report.model import Report
from clear_cli.report.render import html, markdown
from clear_cli.report.tables import statuses, summary
from clear_cli.report.verdict import Advice, Level
from tests.conftest import Catalogue, Run, planted, write_hdf5, write_npy, write_parquet

Document = dict[str, Any]
Made = Callable[..., tuple[Document, Document]]

ATTACK = "<script>alert('1')</script>|`x`[y](z)$\\alpha$ &"


def documents(out: Path) -> tuple[Document, Document]:
    return tuple(json.loads((out / name).read_text()) for name in ("diagnostics.json", "manifest.json"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of all commands, of three modalities whose items have ids that attack."""
    root = tmp_path_factory.mktemp("reported")
    catalogue = planted()
    ids = [f"{ATTACK}{i}" for i in range(len(catalogue.ids))]
    image = write_parquet(root / "in/image.parquet", ids, catalogue.image)
    text = write_hdf5(root / "in/text.h5", ids, catalogue.text)
    audio = write_npy(root / "in/audio.npy", catalogue.audio, ids)
    two = ["-m", f"image={image}", "-m", f"text={text}"]
    three = [*two, "-m", f"audio={audio}", "--ids", f"audio={audio.with_suffix('.txt')}"]
    for name, arguments in {
        "run": ["run", *two, "--rank", "2"],
        "three": ["run", *three],
        "half": ["run", *two, "--strength", "image=0", "--strength", "text=0.5"],
        "bare": ["run", *two, "--no-report"],
        "fit": ["fit", *two],
        "diagnose": ["diagnose", *two, "--curve"],
        "apply": ["apply", str(root / "run"), *two],
        "one": ["apply", str(root / "run"), "-m", f"text={text}"],
        "nameless": ["run", *two, "--no-item-ids"],
    }.items():
        app([*arguments, "--out", str(root / name), "-q"], standalone_mode=False)
    return root


def page_of(out: Path) -> str:
    """The page of an output; those without have none and it is made."""
    path = out / "report.html"
    return path.read_text(encoding="utf-8") if path.exists() else html(Report.of(*documents(out)))


NAMES = ("run", "three", "half", "bare", "fit", "diagnose", "apply", "one", "nameless")


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def having(self, **wanted: str) -> list[dict[str, str | None]]:
        return [attrs for _, attrs in self.tags if all(attrs.get(key) == value for key, value in wanted.items())]


class TestPage:
    @pytest.mark.parametrize("name", NAMES)
    def test_needs_nothing_and_runs_nothing(self, folder: Path, name: str) -> None:
        text = page_of(folder / name)
        page = Page(text)
        assert "script" not in {tag for tag, _ in page.tags}
        links = [attrs.get(key) for _, attrs in page.tags for key in ("href", "src", "xlink:href", "srcset")]
        assert all(re.match(r"#|data:image/png;base64,", link) for link in links if link)
        assert not re.search(r"@import|url\((?!#)", text)
        assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]
        assert page.having(content="default-src 'none'; style-src 'unsafe-inline'; img-src data:")
        assert len(text.encode()) < 600_000

    @pytest.mark.parametrize("name", NAMES)
    def test_is_well_formed(self, folder: Path, name: str) -> None:
        page = Page(page_of(folder / name))
        ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        inside = {attrs["href"] for tag, attrs in page.tags if tag == "a"}
        assert inside <= {f"#{one}" for one in ids}

    def test_every_picture_is_told_in_words_and_in_numbers(self, folder: Path) -> None:
        text = page_of(folder / "three")
        figures = re.findall(r"<figure.*?</figure>", text, re.DOTALL)
        assert len(figures) == text.count("<svg") == 3 * 2 + 3 * 6 + 3 * 2
        for figure in figures:
            page = Page(figure)
            (picture,) = page.having(role="img")
            assert len(picture["aria-label"] or "") > 40
            details = figure[figure.index("<details") :]
            assert details.count("<tr>") >= 3
            assert "None" not in figure
            assert "nan" not in figure

    def test_the_same_documents_give_the_same_bytes(self, folder: Path, tmp_path: Path) -> None:
        code = (
            "import json, sys; from pathlib import Path; from clear_cli.report.model import Report; "
            "from clear_cli.report.render import html; out = Path(sys.argv[1]); "
            "found = [json.loads((out / name).read_text()) for name in ('diagnostics.json', 'manifest.json')]; "
            "sys.stdout.buffer.write(html(Report.of(*found)).encode())"
        )
        settings = tmp_path / "matplotlibrc"
        settings.write_text("font.size: 30\nsvg.fonttype: path\nsavefig.facecolor: red\n")
        other = {
            "PYTHONHASHSEED": "7",
            "MATPLOTLIBRC": str(settings),
            "PATH": "/usr/bin",
            "TZ": "Asia/Tokyo",
            "MPLCONFIGDIR": "/proc/none",
        }
        made = subprocess.run([sys.executable, "-c", code, str(folder / "run")], capture_output=True, env=other)
        assert made.stdout == (folder / "run/report.html").read_bytes()
        assert made.stderr == b""

    def test_shows_ids_as_they_are_and_never_as_markup(self, folder: Path) -> None:
        report = Report.of(*documents(folder / "run"))
        page = Page(page_of(folder / "run"))
        assert report.modalities[0].most[0].item_id in page.text
        assert "<script" not in markdown(report)
        assert r"&lt;script&gt;alert('1')&lt;/script&gt;\|\`x\`\[y\](z)$\\alpha$ &amp;" in markdown(report)

    def test_shows_no_ids_where_they_are_not_wanted(self, folder: Path) -> None:
        for text in (
            html(Report.of(*documents(folder / "run"), item_ids=False)),
            markdown(Report.of(*documents(folder / "run"), item_ids=False)),
            (folder / "nameless/report.html").read_text(),
            (folder / "nameless/report.md").read_text(),
        ):
            assert "alert" not in text
            assert "removed" in text

    @pytest.mark.parametrize("modalities", [6, 12])
    def test_many_modalities_stay_below_the_limit(self, folder: Path, modalities: int) -> None:
        diagnostics, manifest = documents(folder / "three")
        names = [f"modality-{i}" for i in range(modalities)]
        one = diagnostics["modalities"]["image"]
        diagnostics["modalities"] = {
            name: {**one, "spectrum": [*one["spectrum"], 1e-9 / (i + 1)]} for i, name in enumerate(names)
        }
        pair = diagnostics["pairs"][0]
        a, b = pair["modalities"]
        diagnostics["pairs"] = []
        for i, first in enumerate(names):
            for second in names[i + 1 :]:
                twin = copy.deepcopy(pair)
                twin["modalities"] = [first, second]
                twin["sample"]["scatter"] = {first: twin["sample"]["scatter"][a], second: twin["sample"]["scatter"][b]}
                diagnostics["pairs"].append(twin)
        text = html(Report.of(diagnostics, manifest))
        assert len(text.encode()) < 600_000
        assert all(f"{one} + {two}" in text for one, two in [pair["modalities"] for pair in diagnostics["pairs"]])


class TestMarkdown:
    @pytest.mark.parametrize("name", NAMES)
    def test_tables_have_as_many_cells_in_every_row(self, folder: Path, name: str) -> None:
        text = markdown(Report.of(*documents(folder / name)))
        assert text.startswith("# New items: " if name in ("apply", "one") else "# Redundancy of ")
        for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block
        assert "None" not in text

    def test_is_what_the_command_wrote(self, folder: Path) -> None:
        assert (folder / "run/report.md").read_text() == markdown(Report.of(*documents(folder / "run")))


class TestWords:
    def test_every_row_has_one_status(self, folder: Path) -> None:
        diagnostics, manifest = documents(folder / "run")
        for one in diagnostics["modalities"].values():
            one["rows_by_status"] |= {"used": one["rows"] - 24, "placeholder": 20, "missing": 3, "incomplete": 1}
            one |= {"rows_without_other_modality": 1, "rows_zeroed": 2}
        for modality in Report.of(diagnostics, manifest).modalities:
            found = statuses(modality)
            *rows, total = [int(row[1].replace(",", "")) for row in found.rows]
            assert sum(rows) == total == modality.rows
            assert [row[0] for row in found.rows[1:]] == [
                "placeholder: projected, not in the fit",
                "missing: left as they were",
                "incomplete: projected, not in the fit",
                "all rows",
            ]
            assert found.note == (
                "Projected, but without another modality (the shared signal is lost): 1. "
                "Projected, but all zeros afterwards: 2."
            )

    def test_at_strength_0_nothing_is_removed_whatever_the_rank(self, folder: Path) -> None:
        diagnostics, manifest = documents(folder / "half")
        assert diagnostics["modalities"]["image"]["rank"] > 0
        report = Report.of(diagnostics, manifest)
        table = summary(report.modalities)
        removed = [row[table.header.index("directions removed")] for row in table.rows]
        assert removed == ["0", str(diagnostics["modalities"]["text"]["rank"])]
        assert re.search(r"[^\d]0 removed from image", html(report))

    def test_a_sample_of_all_items_is_not_called_one(self, folder: Path) -> None:
        diagnostics, manifest = documents(folder / "run")
        items = diagnostics["pairs"][0]["items"]
        assert diagnostics["pairs"][0]["sample"]["items"] == items
        assert f"All figures are of the {items} items that both have." in page_of(folder / "run")
        diagnostics["pairs"][0]["sample"]["items"] = items - 1
        said = f"are of all {items} items that both have, the rest is of a sample of {items - 1}."
        assert said in html(Report.of(diagnostics, manifest))

    def test_new_items_are_called_new_and_projected(self, folder: Path) -> None:
        diagnostics, manifest = documents(folder / "apply")
        report = Report.of(diagnostics, manifest)
        table = pq.read_table(folder / "apply/items.parquet", columns=["modality", "status"]).to_pylist()
        for name, one in diagnostics["modalities"].items():
            counts = Counter(row["status"] for row in table if row["modality"] == name)
            assert counts == {"new": one["rows"]}
            assert {key: n for key, n in one["rows_by_status"].items() if n} == counts
        assert report.title == "New items: image and text"
        page = page_of(folder / "apply")
        assert "new: projected by an earlier fit" in page
        assert "excluded" not in page
        assert 'class="level' not in page

    @pytest.mark.parametrize("name", NAMES)
    def test_one_figure_has_one_name(self, folder: Path, name: str) -> None:
        report = Report.of(*documents(folder / name))
        for text in (html(report), markdown(report)):
            words = re.sub(r"<style>.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL).lower()
            for other in ("is left", "signal left", "left by chance", "rv coefficient (", "directions that stand out"):
                assert other not in words
            if report.pairs:
                assert "leftover" in words


class TestVerdict:
    def made(self, call: Run, tmp_path: Path, a: Any, b: Any) -> Report:
        write_npy(tmp_path / "a.npy", a.astype(np.float32))
        write_npy(tmp_path / "b.npy", b.astype(np.float32))
        call("diagnose", "-m", f"a={tmp_path}/a.npy", "-m", f"b={tmp_path}/b.npy", "--out", tmp_path / "out")
        return Report.of(*documents(tmp_path / "out"))

    def test_independent_modalities_are_not_redundant_and_not_to_be_shipped(self, call: Run, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        report = self.made(call, tmp_path, rng.normal(size=(1000, 24)), rng.normal(size=(1000, 16)))
        assert report.verdicts[0].level == Level.NONE
        assert report.recommendation.advice == Advice.STOP
        assert "stands out from chance" in report.recommendation.reasons[0]

    def test_strongly_shared_modalities_are_highly_redundant(self, call: Run, tmp_path: Path) -> None:
        catalogue = planted(1000)
        report = self.made(call, tmp_path, catalogue.image, catalogue.text)
        assert report.verdicts[0].level == Level.HIGH
        assert "on held-out items" in report.verdicts[0].why

    def test_a_weak_thread_is_low(self, call: Run, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        common = rng.normal(size=(4000, 1))
        a, b = (np.hstack([0.6 * common, np.zeros((4000, d - 1))]) + rng.normal(size=(4000, d)) for d in (24, 16))
        assert self.made(call, tmp_path, a, b).verdicts[0].level == Level.LOW

    def test_nothing_against_it_means_ship(self, folder: Path) -> None:
        diagnostics, manifest = documents(folder / "run")
        for one in diagnostics["modalities"].values():
            one["variance_kept"] = 0.9
        assert Report.of(diagnostics, manifest).recommendation.advice == Advice.SHIP
        diagnostics["modalities"]["text"]["variance_kept"] = 0.7
        assert Report.of(diagnostics, manifest).recommendation.advice == Advice.LOOK
        diagnostics["modalities"]["text"]["variance_kept"] = 0.4
        found = Report.of(diagnostics, manifest).recommendation
        reason = "The removal takes 60% of the variance of text: compare with a lower rank or strength."
        assert (found.advice, found.reasons) == (Advice.STOP, (reason,))
        diagnostics["modalities"]["image"]["variance_kept"] = 0.3
        found = Report.of(diagnostics, manifest).recommendation
        both = "70% of the variance of image and 60% of that of text"
        assert found.reasons == (f"The removal takes {both}: compare with a lower rank or strength.",)

    def test_drift_is_not_shipped(self, folder: Path) -> None:
        diagnostics, manifest = documents(folder / "apply")
        calm = {"rows": 400, "mean_shift": 0.1, "variance_ratio": 1.1, "share_inside": {"fit": 0.2, "new": 0.2}}
        for one in diagnostics["modalities"].values():
            one |= {"variance_kept": 0.9, "drift": calm}
        assert Report.of(diagnostics, manifest).recommendation.advice == Advice.SHIP
        diagnostics["modalities"]["text"]["drift"] = {**calm, "variance_ratio": 0.4}
        assert Report.of(diagnostics, manifest).recommendation.advice == Advice.STOP
        diagnostics["modalities"]["text"]["drift"] = {**calm, "variance_ratio": 1e-9, "cleaned": True}
        found = Report.of(diagnostics, manifest).recommendation
        reason = "The rows of text look already cleaned by this projector."
        assert (found.advice, found.reasons) == (Advice.LOOK, (reason,))


class TestAnyDocument:
    @pytest.mark.parametrize("name", ["bare", "one", "apply"])
    def test_without_a_manifest(self, folder: Path, name: str) -> None:
        report = Report.of(documents(folder / name)[0])
        assert report.modalities[0].name in html(report)
        assert report.modalities[0].name in markdown(report)

    @pytest.mark.parametrize("name", ["run", "half", "apply"])
    def test_with_none_for_every_figure(self, folder: Path, name: str) -> None:
        diagnostics, manifest = documents(folder / name)

        def emptied(value: Any, key: str = "") -> Any:
            if isinstance(value, dict):
                return {one: emptied(two, one) for one, two in value.items()}
            if isinstance(value, list):
                return [emptied(one, key) for one in value]
            return None if isinstance(value, float) else value

        report = Report.of(emptied(diagnostics), manifest)
        assert "None" not in markdown(report)
        assert "image" in html(report)

    def test_with_anything_missing(self, folder: Path) -> None:
        """Whatever is not there is left out; only names, sizes and ranks are needed."""
        chance = random.Random(0)
        needed = {"modalities", "image", "text", "audio", "rows", "dim", "rank", "items", "row", "schema_version"}

        def thinned(value: Any) -> Any:
            if isinstance(value, dict):
                kept = {key: one for key, one in value.items() if key in needed or chance.random() < 0.8}
                return {
                    key: thinned(one) if chance.random() < 0.9 or key in needed else None for key, one in kept.items()
                }
            return (
                [thinned(one) if isinstance(one, dict) else one for one in value] if isinstance(value, list) else value
            )

        for _ in range(12):
            diagnostics, manifest = documents(folder / chance.choice(NAMES))
            report = Report.of(thinned(diagnostics), manifest)
            assert "None" not in markdown(report)
            assert html(report).endswith("</html>\n")

    def test_extremes_of_scale_and_flat_data(self, folder: Path) -> None:
        diagnostics, manifest = documents(folder / "run")
        one = diagnostics["modalities"]["image"]
        one["spectrum"] = [1e-60] + [0.0] * 20
        one["chance"] = {"median": [0.0] * 21, "high": [0.0] * 21}
        one["histograms"]["row_norm"] = {
            "edges": [2.0 ** (i / 8) for i in range(-8000, 8001)], "before": [1] * 16000, "after": [2] * 16000
        }  # fmt: skip
        diagnostics["modalities"]["text"]["spectrum"] = [0.0] * 5
        pair = diagnostics["pairs"][0]
        pair["heatmap"] = {"before": [[0.0]], "after": [[0.0]]}
        pair["sample"]["scatter"] = {name: {"before": [[0.0]], "after": [[0.0]]} for name in ("image", "text")}
        text = html(Report.of(diagnostics, manifest))
        assert len(text.encode()) < 300_000


class TestCommand:
    @pytest.mark.parametrize("name", ["run", "apply", "diagnose", "nameless"])
    def test_makes_the_same_report_again(
        self, call: Run, folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        assert call("report", folder / name) == (0, f"{tmp_path}/report.html\n", "")
        assert call("report", folder / name, "--out", "r.md") == (0, "r.md\n", "")
        assert (tmp_path / "report.html").read_bytes() == (folder / name / "report.html").read_bytes()
        assert (tmp_path / "r.md").read_bytes() == (folder / name / "report.md").read_bytes()
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
        assert {path.name for path in tmp_path.iterdir()} == {"report.html", "r.md"}

    def test_makes_one_where_there_was_none(self, call: Run, folder: Path, tmp_path: Path) -> None:
        assert call("report", folder / "bare", "--out", tmp_path / "bare.html")[0] == 0
        assert "No sample was measured" in (tmp_path / "bare.html").read_text()

    def test_missing_folders_are_made(self, call: Run, folder: Path, tmp_path: Path) -> None:
        assert call("report", folder / "run", "--out", tmp_path / "new/r.md")[0] == 0
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["r.md"]

    def test_json_and_no_item_ids(self, call: Run, folder: Path, tmp_path: Path) -> None:
        code, out, _ = call("report", folder / "run", "--out", tmp_path / "r.html", "--no-item-ids", "--json")
        assert (code, json.loads(out)["out"]) == (0, f"{tmp_path}/r.html")
        assert "alert" not in (tmp_path / "r.html").read_text()

    def test_replaces_a_file_only_when_told(self, call: Run, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "r.md").write_text("mine")
        code, _, err = call("report", folder / "run", "--out", tmp_path / "r.md")
        assert (code, err) == (4, f"error: the report exists\n  in: {tmp_path}/r.md\n  fix: --overwrite\n")
        assert (tmp_path / "r.md").read_text() == "mine"
        assert call("report", folder / "run", "--out", tmp_path / "r.md", "--overwrite")[0] == 0
        assert [path.name for path in tmp_path.iterdir()] == ["r.md"]

    def test_never_writes_into_the_output(self, call: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder / "run")
        code, _, err = call("report", ".", "--overwrite")
        assert code == 2
        assert err.startswith("error: the report lies inside an output\n")

    def test_makes_the_folder_and_knows_endings(self, call: Run, folder: Path, tmp_path: Path) -> None:
        code, _, err = call("report", folder / "run", "--out", tmp_path / "r.pdf")
        assert (code, err) == (
            2,
            'error: the report is a page or Markdown, and "r.pdf" is neither\n  in: --out\n  fix: --out r.html\n',
        )
        assert call("report", folder / "run", "--out", tmp_path / "new/r.html")[0] == 0
        assert [path.name for path in tmp_path.rglob("*")] == ["new", "r.html"]


def test_odd_characters_in_ids_are_written(call: Run, tmp_path: Path, catalogue: Catalogue) -> None:
    ids = [f"\u202e{i}\U0001f600{'x' * 500}" for i in range(400)]
    image = write_parquet(tmp_path / "image.parquet", ids, catalogue.image)
    text = write_parquet(tmp_path / "text.parquet", ids, catalogue.text)
    assert call("run", "-m", f"image={image}", "-m", f"text={text}", "--out", tmp_path / "out")[0] == 0
    text = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "<bdi>\u202e" in text
    assert 70 < max(map(len, re.findall("x+", text))) < 80
