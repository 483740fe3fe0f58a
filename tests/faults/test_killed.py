"""Whenever a command is killed, what it publishes is the old or the new, whole; and the next run clears up.

The default tests stop a few steps of each command, drawn by a seed; the slow ones stop every step, and kill real
processes at random moments. `pytest -m slow -rP tests/faults` prints what was found.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import xxhash

from tests.conftest import planted, write_npy, write_parquet
from tests.faults.forks import Forks

MOMENTS = 200
"""Random moments at which real processes are killed, half of them for a new output."""


class Scenario(NamedTuple):
    """A command, and what it writes.

    Attributes:
        command: Its arguments; PLACE stands for the folder of its outputs, IN for that of its inputs.
        targets: What it writes there.
        before: Arguments of the command that wrote the old outputs; none where there are none.
        again: More arguments for the rerun: merge and report do not know what is up to date.
    """

    command: str
    targets: tuple[str, ...]
    before: str = ""
    again: str = ""


INPUTS = "-m image=IN/image.parquet -m text=IN/text.npy --ids text=IN/text.txt"
RUN = f"run -q {INPUTS} --no-report -o PLACE/clean --rank"
FIT = f"fit -q {INPUTS} --no-report -o PLACE/fitted --moments-out PLACE/day.moments --rank"
MERGE = "-o PLACE/all.safetensors --moments-out PLACE/all.moments --rank"
MERGED = ("all.safetensors", "all.moments")
REPORT = "-o PLACE/report.md"
SCENARIOS = {
    "run, new": Scenario(f"{RUN} 1", ("clean",)),
    "run, overwrite": Scenario(f"{RUN} 2 --overwrite", ("clean",), before=f"{RUN} 1"),
    "fit, new": Scenario(f"{FIT} 1", ("fitted", "day.moments")),
    "fit, overwrite": Scenario(f"{FIT} 2 --overwrite", ("fitted", "day.moments"), before=f"{FIT} 1 --winsorise 90%"),
    "merge, new": Scenario(f"merge -q IN/day.moments {MERGE} 1", MERGED, again=" --overwrite"),
    "merge, overwrite": Scenario(
        f"merge -q IN/day.moments {MERGE} 2 --overwrite", MERGED, before=f"merge -q IN/day-2.moments {MERGE} 1"
    ),
    "report, new": Scenario(f"report IN/fitted {REPORT}", ("report.md",), again=" --overwrite"),
    "report, overwrite": Scenario(
        f"report IN/fitted {REPORT} --overwrite", ("report.md",), before=f"report IN/fitted-2 {REPORT}"
    ),
}
QUICK = {"run, new": 2, "run, overwrite": 3, "fit, new": 1}
"""How many steps of which scenarios the default tests try."""

Contents = dict[str, bytes]


class Workshop:
    """Inputs, and for each scenario the outputs that it starts from and ends with.

    Args:
        folder: Where all of it is.
        forks: Runs commands.
    """

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.folder, self.forks = folder, forks
        self._steps: dict[str, int] = {}
        self._known: dict[str, tuple[Path, dict[str, dict[str, Contents]]]] = {}
        catalogue = planted(200)
        write_parquet(folder / "in/image.parquet", catalogue.ids, catalogue.image, row_group_size=60)
        write_npy(folder / "in/text.npy", catalogue.text, catalogue.ids)

    def fit(self) -> None:
        """What merge and report read."""
        fit = f"fit -q {INPUTS} --no-report --rank"
        self.call(f"{fit} 1 -o IN/fitted --moments-out IN/day.moments", self.folder / "in")
        self.call(f"{fit} 2 -o IN/fitted-2 --moments-out IN/day-2.moments --winsorise 90%", self.folder / "in")

    def arguments(self, command: str, place: Path) -> list[str]:
        return command.replace("PLACE", str(place)).replace("IN/", f"{self.folder}/in/").split()

    def call(self, command: str, place: Path, code: int = 0, **how: Any) -> Any:
        ended = self.forks(*self.arguments(command, place), watched=place, **how)
        assert ended.code in (code, 0), ended.err
        return ended

    def prepared(self, name: str) -> Path:
        """A place as the scenario finds it."""
        place = self.folder / f"place-{time.monotonic_ns()}"
        shutil.copytree(self.ends(name)[0], place)
        return place

    def ends(self, name: str) -> tuple[Path, dict[str, dict[str, Contents]]]:
        """The place before, and by target what is there "before" and "after", without any kill."""
        if name not in self._known:
            scenario, place = SCENARIOS[name], self.folder / name.replace(" ", "-")
            place.mkdir()
            if name.startswith(("merge", "report")) and not (self.folder / "in/fitted").exists():
                self.fit()
            if scenario.before:
                self.call(scenario.before, place)
            before = place.with_name(f"{place.name}-before")
            shutil.copytree(place, before)
            self._steps[name] = self.call(scenario.command, place).steps
            known = {
                target: {"before": contents(before / target), "after": contents(place / target)}
                for target in scenario.targets
            }
            assert all(one["before"] != one["after"] for one in known.values())
            self._known[name] = before, known
        return self._known[name]

    def steps(self, name: str) -> int:
        self.ends(name)
        return self._steps[name]

    def check(self, name: str, place: Path, *, swept: bool = False) -> list[str]:
        """Refuse anything but "before" and "after"; run again, and refuse anything but "after" and nothing else.

        Args:
            name: Of the scenario.
            place: Where its command was stopped.
            swept: Nothing else may be there now, either.

        Returns:
            What each target was, "before" or "after".
        """
        scenario, (_, known) = SCENARIOS[name], self.ends(name)
        found = [state(place / target, known[target]) for target in scenario.targets]
        if swept:
            assert {path.name for path in place.iterdir()} <= set(scenario.targets)
        self.call(scenario.command + scenario.again, place)
        assert [state(place / target, known[target]) for target in scenario.targets] == ["after"] * len(found)
        assert {path.name for path in place.iterdir()} == set(scenario.targets)
        shutil.rmtree(place)
        return found


def contents(target: Path) -> Contents:
    """Every file of an output, by its path; nothing where there is none."""
    if target.is_file():
        return {"": target.read_bytes()}
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def state(target: Path, known: dict[str, Contents]) -> str:
    """Which of the known contents are there, after a look at every hash of the manifest."""
    found = contents(target)
    if "manifest.json" in found:
        manifest = json.loads(found["manifest.json"])
        hashes = {name: one["xxh3_128"] for name, one in manifest["outputs"].items()}
        there = {name: xxhash.xxh3_128_hexdigest(one) for name, one in found.items() if name != "manifest.json"}
        assert there == hashes
    names = [name for name, one in known.items() if one == found]
    assert len(names) == 1, f"half a {target.name}: {sorted(found)}"
    return names[0]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with Forks() as forks:
        yield Workshop(tmp_path_factory.mktemp("killed"), forks)


def drawn(name: str, steps: int) -> list[int]:
    """A few steps: the more telling ones come last."""
    choose = random.Random(name)
    return sorted({min(steps, choose.randint(steps // 3, steps)) for _ in range(QUICK[name])})


def kill(workshop: Workshop, name: str, at: int) -> str:
    place = workshop.prepared(name)
    workshop.call(SCENARIOS[name].command, place, code=-signal.SIGKILL, at=at)
    return ", ".join(workshop.check(name, place))


def stop(workshop: Workshop, name: str, at: int, number: signal.Signals) -> str:
    place = workshop.prepared(name)
    ended = workshop.call(SCENARIOS[name].command, place, code=128 + number, number=number, at=at)
    if ended.code:
        assert (ended.out, ended.err) == ("", "stopped\n")
    return ", ".join(workshop.check(name, place, swept=True))


@pytest.mark.parametrize("name", QUICK)
def test_killed_at_some_steps(workshop: Workshop, name: str) -> None:
    for at in drawn(name, workshop.steps(name)):
        kill(workshop, name, at)


def test_stopped_at_some_steps(workshop: Workshop) -> None:
    name = "run, overwrite"
    for at, number in zip(drawn(name, workshop.steps(name)), (signal.SIGTERM, signal.SIGINT), strict=False):
        stop(workshop, name, at, number)


def test_further_signals_do_not_cut_the_cleaning_short(workshop: Workshop) -> None:
    name = "run, overwrite"
    both = "p=$PPID; kill -TERM $p; kill -INT $p"
    many = f"{both}; (for i in 1 2 3 4 5 6 7 8 9; do kill -TERM $p; kill -INT $p; done) 2> /dev/null &"
    place, at = workshop.prepared(name), drawn(name, workshop.steps(name))[0]
    ended = workshop.forks(*workshop.arguments(SCENARIOS[name].command, place), watched=place, at=at, meanwhile=many)
    assert ended.code in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    assert (ended.out, ended.err) == ("", "stopped\n")
    workshop.check(name, place, swept=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_every_step(workshop: Workshop, name: str) -> None:
    steps = range(1, workshop.steps(name) + 1)
    found = Counter(kill(workshop, name, at) for at in steps)
    print(f"SIGKILL at each of {len(steps)} steps of {name}: {dict(found)}")  # noqa: T201
    assert len(found) > 1


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_stopped_at_every_step(workshop: Workshop, name: str) -> None:
    steps = range(1, workshop.steps(name) + 1)
    found = Counter(stop(workshop, name, at, signal.SIGTERM) for at in steps)
    print(f"SIGTERM at each of {len(steps)} steps of {name}: {dict(found)}")  # noqa: T201


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run, new", "run, overwrite"])
def test_a_real_process_killed_at_random_moments(workshop: Workshop, name: str) -> None:
    def started() -> tuple[Path, subprocess.Popen[bytes]]:
        place = workshop.prepared(name)
        arguments = workshop.arguments(SCENARIOS[name].command, place)
        command = [sys.executable, "-m", "clear_cli", *arguments]
        return place, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    began = time.monotonic()
    place, process = started()
    hidden = None
    while process.poll() is None:
        if hidden is None and list(place.glob(".*.partial")):
            hidden = time.monotonic() - began
        time.sleep(0.001)
    whole = time.monotonic() - began
    choose, found = random.Random(name), Counter[str]()
    for moment in range(MOMENTS // 2):
        place, process = started()
        # All but a few of them while there is something to lose.
        while moment % 5 and process.poll() is None and not list(place.glob(".*.partial")):
            time.sleep(0.001)
        time.sleep(choose.uniform(0, whole - (hidden or 0.0) if moment % 5 else whole))
        process.kill()
        process.wait()
        begun = "in the making, " if list(place.glob(".*.partial")) else ""
        found[begun + workshop.check(name, place)[0]] += 1
    print(f"SIGKILL at {MOMENTS // 2} random moments of {name}: {dict(found)}")  # noqa: T201
