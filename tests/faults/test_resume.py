"""A run that is stopped and resumed leaves the bytes of one that was not, and writes no finished part again."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clear_cli.errors import UsageError
from clear_cli.workflow import job
from tests.conftest import planted, write_npy, write_parquet
from tests.faults.forks import Ended, Forks
from tests.faults.test_killed import contents

ENDS = [0, 200, 200, 500, 700, 1000, 1200]
"""Of the parts; one of them has no rows."""

KEPT = "finished parts are kept: the same command with --resume goes on from there\n"

RUN = "run -m image=IN/image -m text=IN/text -m audio=IN/audio.npy --ids audio=IN/audio.txt --rank 1"
BARE = f"{RUN} --no-report"
APPLY = "apply IN/fitted -m image=IN/image -m text=IN/text"
BOTH = "run -m image=IN/both::image -m text=IN/both::text --rank 1 --no-report"


class Workshop:
    """Inputs, and what commands make of them when nobody stops them."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.folder, self.place, self._forks = folder, folder / "place", forks
        self._undisturbed: dict[str, dict[str, bytes]] = {}
        catalogue = planted(1200)
        given = folder / "in"
        sides = {"image": (catalogue.ids, catalogue.image), "text": (catalogue.ids[::-1], catalogue.text[::-1])}
        for part, (start, end) in enumerate(pairwise(ENDS)):
            rows = slice(start, end)
            for name, (ids, values) in sides.items():
                write_parquet(given / name / f"part-{part}.parquet", ids[rows], values[rows], row_group_size=90)
            lists = {name: pa.array(list(getattr(catalogue, name)[rows]), pa.list_(pa.float32())) for name in sides}
            (given / "both").mkdir(exist_ok=True)
            table = pa.table({"item_id": catalogue.ids[rows], **lists})
            pq.write_table(table, given / "both" / f"part-{part}.parquet", row_group_size=90)
        write_npy(given / "audio.npy", catalogue.audio, catalogue.ids)
        self.call(f"{RUN} --no-report -o IN/fitted")

    def call(self, command: str, **happening: Any) -> Ended:
        arguments = shlex.split(command.replace("IN/", f"{self.folder}/in/"))
        return self._forks(*arguments, watched=self.place, **happening)

    def resumable(self, command: str, **happening: Any) -> Ended:
        return self.call(f"{command} -o {self.place}/clean --resume", **happening)

    def undisturbed(self, command: str) -> dict[str, bytes]:
        if command not in self._undisturbed:
            out = self.folder / f"as-deep/undisturbed-{len(self._undisturbed)}"
            assert self.call(f"{command} -o {out}").code == 0
            self._undisturbed[command] = contents(out)
        return self._undisturbed[command]

    @property
    def clean(self) -> dict[str, bytes]:
        """The output, which is all that is in the place."""
        assert [path.name for path in self.place.iterdir()] == ["clean"]
        return contents(self.place / "clean")

    @property
    def hidden(self) -> Path:
        """What a run that can be resumed has left, which is all that is in the place."""
        (hidden,) = self.place.iterdir()
        return hidden


def is_whole(entry: Path) -> bool:
    """Whether a part is finished by the journal: a kill may leave the entry of another modality half written."""
    try:
        return bool(json.loads(entry.read_bytes()))
    except ValueError:
        return False


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with Forks() as forks:
        yield Workshop(tmp_path_factory.mktemp("resume"), forks)


@pytest.fixture
def workshop(shared: Workshop) -> Workshop:
    shutil.rmtree(shared.place, ignore_errors=True)
    shared.place.mkdir()
    return shared


@pytest.mark.parametrize(
    ("command", "number"),
    [(BARE, signal.SIGKILL), (f"{APPLY} --no-report", signal.SIGTERM), (BOTH, signal.SIGINT)],
    ids=["run", "apply", "one folder"],
)
def test_finished_parts_are_not_written_again(workshop: Workshop, command: str, number: signal.Signals) -> None:
    ended = workshop.resumable(command, at="/4.json", number=number)
    assert ended.code == (-number if number == signal.SIGKILL else 128 + number)
    if ended.code > 0:
        assert ended.err.endswith(f"{KEPT}stopped\n")
    entered = {path.with_suffix("") for path in workshop.hidden.glob("journal/parts/*/[0-3].json") if is_whole(path)}
    names = [f"{path.parent.name}/part-{path.name}.parquet" for path in entered]
    kept = {name: (workshop.hidden / "new/embeddings" / name).stat().st_ino for name in names}
    again = workshop.resumable(command)
    assert again.code == 0
    assert " of 6 parts are finished already\n" in again.err
    assert len(kept) >= 4
    assert kept == {name: (workshop.place / "clean/embeddings" / name).stat().st_ino for name in names}
    assert workshop.clean == workshop.undisturbed(command)


def test_a_part_without_rows_may_come_first_after_those_that_are_finished(workshop: Workshop) -> None:
    for at, finished in (("/1.json", {"0.json"}), ("/4.json", {f"{part}.json" for part in range(4)})):
        assert workshop.resumable(BOTH, at=at).code == -signal.SIGKILL
        assert {path.name for path in workshop.hidden.glob("journal/parts/both/*.json") if is_whole(path)} == finished
    assert workshop.resumable(BOTH).code == 0
    assert workshop.clean == workshop.undisturbed(BOTH)


@pytest.mark.parametrize("other", ["0-00000000", "9999999-ffffffff"])
@pytest.mark.parametrize("worse", ["fewer parts", "another run"])
def test_of_several_dead_runs_the_most_promising_one_is_gone_on_with(
    workshop: Workshop, worse: str, other: str
) -> None:
    workshop.resumable(BARE, at="image/4.json")
    best = workshop.hidden
    twin = best.with_name(f".clean.{other}.partial")
    shutil.copytree(best, twin)
    if worse == "fewer parts":
        (twin / "journal/parts/image/2.json").unlink()
    else:
        run = json.loads((twin / "journal/run.json").read_text())
        run["parameters"]["strength"] = {"image": 0.5}
        (twin / "journal/run.json").write_text(json.dumps(run))
        shutil.copy(twin / "journal/parts/image/2.json", twin / "journal/parts/image/9.json")
    kept = best.joinpath("new/embeddings/image/part-2.parquet").stat().st_ino
    again = workshop.resumable(BARE)
    assert "written again" not in again.err
    assert workshop.place.joinpath("clean/embeddings/image/part-2.parquet").stat().st_ino == kept
    assert workshop.clean == workshop.undisturbed(BARE)


def test_stopped_again_and_again(workshop: Workshop) -> None:
    for part in (0, 3):
        assert workshop.resumable(BARE, at=f"/{part}.json", number=signal.SIGKILL).code == -signal.SIGKILL
    assert workshop.resumable(BARE).code == 0
    assert workshop.clean == workshop.undisturbed(BARE)


@pytest.mark.parametrize("command", [APPLY, pytest.param(RUN, marks=pytest.mark.slow)], ids=["apply", "run"])
def test_the_table_of_items_and_the_totals_are_the_same(workshop: Workshop, command: str) -> None:
    workshop.resumable(command, at="/4.json")
    assert workshop.resumable(command).code == 0
    assert workshop.clean == workshop.undisturbed(command)


def test_a_finished_part_that_was_damaged_is_written_again(workshop: Workshop) -> None:
    workshop.resumable(BARE, at="image/4.json")
    for path in workshop.hidden.glob("new/embeddings/image/part-2.parquet"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    for path in workshop.hidden.glob("journal/parts/text/0.text.rows"):
        path.write_bytes(path.read_bytes()[:-1])
    again = workshop.resumable(BARE)
    assert "image: 2 of 6 parts are finished already\n" in again.err
    assert "text:" not in again.err
    assert workshop.clean == workshop.undisturbed(BARE)


def test_another_option_is_another_run(workshop: Workshop) -> None:
    workshop.resumable(BARE, at="/4.json")
    other = f"{BARE} --strength 0.5"
    again = workshop.resumable(other)
    assert "all parts are written again, for this has changed: parameters, projector\n" in again.err
    assert workshop.clean == workshop.undisturbed(other)


def test_another_input_is_another_run(workshop: Workshop) -> None:
    workshop.resumable(BARE, at="/4.json")
    audio = workshop.folder / "in/audio.npy"
    before = audio.read_bytes()
    try:
        np.save(audio, np.load(audio)[::-1])
        again = workshop.resumable(BARE)
    finally:
        audio.write_bytes(before)
    assert "all parts are written again, for this has changed: inputs, input times, projector\n" in again.err


def test_a_run_that_is_not_to_be_resumed_starts_anew(workshop: Workshop) -> None:
    workshop.resumable(BARE, at="/4.json")
    assert workshop.call(f"{BARE} -o {workshop.place}/clean --dry-run").code == 0
    assert workshop.hidden.joinpath("journal").is_dir(), "a dry run changes nothing"
    again = workshop.call(f"{BARE} -o {workshop.place}/clean")
    assert "finished" not in again.err
    assert workshop.clean == workshop.undisturbed(BARE)


@pytest.mark.slow
def test_what_a_living_run_has_finished_is_its_own(workshop: Workshop) -> None:
    arguments = BARE.replace("IN/", f"{workshop.folder}/in/")
    log = workshop.folder / "log"
    other = f"{sys.executable} -m clear_cli {arguments} -o {workshop.place}/clean --resume > /dev/null 2> {log}"
    late = workshop.resumable(BARE, at="/4.json", meanwhile=other)
    assert (late.code, "another run has published" in late.err, KEPT in late.err) == (4, True, False)
    assert "finished" not in log.read_text()
    assert workshop.clean == workshop.undisturbed(BARE)


def test_nothing_is_resumed_in_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "is_remote", lambda _: True)
    with pytest.raises(UsageError, match="nothing can be resumed in a store"):
        job.Job("run", [], tmp_path, False, job.Machine(), resume=True)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("command", [BARE, APPLY], ids=["run", "apply"])
def test_stopped_at_every_step(workshop: Workshop, command: str, number: signal.Signals) -> None:
    last = workshop.resumable(command).steps
    found = Counter[str]()
    for at in range(1, last + 1, 1 if command == BARE else 5):
        shutil.rmtree(workshop.place)
        workshop.place.mkdir()
        workshop.resumable(command, at=at, number=number)
        again = workshop.resumable(command)
        assert again.code == 0
        assert workshop.clean == workshop.undisturbed(command)
        found["resumed" if "finished already" in again.err else "not"] += 1
    print(f"{number.name} at {found.total()} of {last} steps of {command.split()[0]} --resume: {dict(found)}")  # noqa: T201
