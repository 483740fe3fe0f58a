"""What is released: the same bytes whenever it is built, whole, and enough to work with by itself."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from clear_cli import __version__
from tests.environments import environment_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WHEEL, SOURCE = f"clear_cli-{__version__}-py3-none-any.whl", f"clear_cli-{__version__}.tar.gz"

TYPED = """
import clear_cli
import numpy as np

rows = {"image": np.ones((9, 3)), "text": np.ones((9, 2))}
fitted: clear_cli.Fit = clear_cli.fit(rows, rank=1)
"""


def build(source: Path, target: Path) -> Path:
    """As `make dist` does."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target)]
    subprocess.run(command, cwd=source, env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}, check=True)
    return target


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture
def unpacked(built: Path, tmp_path: Path) -> Path:
    with tarfile.open(built / SOURCE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / SOURCE.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the wheel and what the wheel asks for."""
    requirements = tmp_path_factory.mktemp("requirements") / "wheel.txt"
    digest = hashlib.sha256((built / WHEEL).read_bytes()).hexdigest()
    requirements.write_text(f"{built / WHEEL}  # {digest}\n")
    return environment_of(requirements)


def output(*command: object, cwd: Path) -> str:
    """What a command prints, that has to succeed."""
    result = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_source_distribution_builds_both_again_to_the_byte(built: Path, unpacked: Path, tmp_path: Path) -> None:
    (unpacked / "PKG-INFO").unlink()  # made by the build
    for path in unpacked.rglob("*"):
        os.utime(path)
    again = build(unpacked, tmp_path / "dist")
    for name in (WHEEL, SOURCE):
        assert (again / name).read_bytes() == (built / name).read_bytes(), name


def test_the_source_distribution_is_the_repository(unpacked: Path) -> None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no clone of the repository")
    files = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert files == {"PKG-INFO", *listed.stdout.rstrip("\0").split("\0")}


def test_the_wheel_is_the_package_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(built / WHEEL) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = {path for path in (ROOT / "clear_cli").rglob("*") if path.is_file() and path.parent.name != "__pycache__"}
    assert names == {path.relative_to(ROOT).as_posix() for path in package}
    assert {"clear_cli/py.typed", "clear_cli/report/templates/report.html.j2"} <= names


def test_the_wheel_works_with_what_it_asks_for_alone(python: Path, tmp_path: Path) -> None:
    isolated, sample = (python, "-I", "-m"), ROOT / "sample_data"
    output(*isolated, "pip", "check", cwd=tmp_path)
    version = f"clear-cli {__version__}\n"
    assert output(*isolated, "clear_cli", "--version", cwd=tmp_path) == version
    assert output(python.with_name("clear-cli"), "--version", cwd=tmp_path) == version
    inputs = ("-m", f"image={sample / 'image.parquet'}", "-m", f"text={sample / 'text.h5'}")
    result = json.loads(output(*isolated, "clear_cli", "run", *inputs, "--out", "clean", "--json", "-q", cwd=tmp_path))
    assert {name: one["rank"] > 0 for name, one in result["modalities"].items()} == {"image": True, "text": True}
    for name in ("report.html", "report.md"):
        output(*isolated, "clear_cli", "report", "clean", "--out", name, cwd=tmp_path)
        assert (tmp_path / name).read_bytes() == (tmp_path / "clean" / name).read_bytes()


def test_a_type_checker_sees_the_types(python: Path, tmp_path: Path) -> None:
    script = tmp_path / "consumer.py"
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", python, script)
    script.write_text(TYPED)
    output(*mypy, cwd=tmp_path)
    script.write_text(TYPED.replace("clear_cli.Fit =", "int ="))
    wrong = subprocess.run(list(map(str, mypy)), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 'expression has type "Fit", variable has type "int"' in wrong.stdout
