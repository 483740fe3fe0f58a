"""Whatever the bytes of an input, a command ends well or says what is wrong with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.__main__ import run
from tests.fuzz.corpus import SEEDS
from tests.fuzz.mutations import BY_KIND, damage

CIRCLE = 327
"""An input whose heap of strings leads round in circles."""


def findings(first: int, last: int) -> str:
    return "\n".join(json.dumps(one, indent=1) for one in run(first, last))


def test_a_few_damaged_inputs_of_every_kind_are_told_what_is_wrong() -> None:
    assert findings(0, 8 * len(SEEDS)) == ""


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_many_damaged_inputs_are_told_what_is_wrong(part: int) -> None:
    assert findings(1000 * (part + 1), 1000 * (part + 1) + 500) == ""


@pytest.mark.slow
def test_strings_that_hdf5_never_comes_back_from_end_the_process_with_an_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz.worker", str(tmp_path / "current"), str(CIRCLE), str(CIRCLE + 1)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-3:] == [
        "error: HDF5 has not come back from these rows for 20 s",
        '  in: image.h5, dataset "ids", rows 0 to 39',
        "  fix: write the file again",
    ]


def test_every_way_to_damage_a_file_is_used() -> None:
    assert {seed.kind for seed in SEEDS} == set(BY_KIND)


def test_the_same_number_is_the_same_input(tmp_path: Path) -> None:
    from random import Random

    made = []
    for name in ("one", "other"):
        path = tmp_path / name
        path.write_bytes(bytes(range(256)) * 4)
        damage(path, "parquet", Random(7))
        made.append(path.read_bytes())
    assert made[0] == made[1] != bytes(range(256)) * 4


@pytest.mark.parametrize("place", ["'../escape'", "worker.ABSOLUTE"])
def test_files_that_are_left_about_are_found(tmp_path: Path, place: str) -> None:
    if "ABSOLUTE" in place and not os.access("/", os.W_OK):
        pytest.skip("only root could write there")
    spoiled = f"""
import pathlib, sys
from tests.fuzz import worker
def call(arguments, real=worker.call):
    code, text = real(arguments)
    if arguments[0] == "inspect":
        open({place}, "w").close()
    return code, text
worker.call = call
print({place}.removeprefix("../"))
try:
    worker.main(sys.argv[1], sys.argv[2:])
finally:
    pathlib.Path(worker.ABSOLUTE).unlink(missing_ok=True)
"""
    command = [sys.executable, "-c", spoiled, str(tmp_path / "current"), "0", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    left, finding = done.stdout.splitlines()[:2]
    assert f"files that were not there: ['{left}']" in json.loads(finding)["problem"]
