"""Where the machine, another run or an input spoils a command, it says so, and leaves nothing that is partial."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from clear_cli.publish import read_manifest
from tests.conftest import planted, write_hdf5, write_npy, write_parquet
from tests.faults.forks import Ended, Forks

NOBODY = 65534
Call = Callable[..., Ended]


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as running:
        yield running


@pytest.fixture(scope="module")
def given() -> Iterator[Path]:
    """4,000 items that everybody may read, which the folders of pytest do not allow."""
    with tempfile.TemporaryDirectory() as name:
        folder, catalogue = Path(name), planted(4000)
        folder.chmod(0o755)
        image, ids = catalogue.image, catalogue.ids
        write_parquet(folder / "image.parquet", ids, image)
        write_parquet(folder / "parts/part-0.parquet", ids[:2000], image[:2000])
        write_parquet(folder / "parts/part-1.parquet", ids[2000:], image[2000:])
        write_hdf5(folder / "image.h5", ids, image)
        write_npy(folder / "image.npy", image)
        np.savez(folder / "image.npz", image=image)
        write_npy(folder / "text.npy", catalogue.text)
        write_npy(folder / "few.npy", catalogue.text[:, :2])
        write_parquet(folder / "backwards.parquet", ids[::-1], image[::-1])
        yield folder


@pytest.fixture
def place() -> Iterator[Path]:
    """Where to write."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def run(forks: Forks, given: Path, place: Path) -> Call:
    """Run in the place, with modalities by their names in the inputs."""

    def call(*files: str, out: str = "clean", more: str = "", **happening: object) -> Ended:
        inputs = [part for file in files for part in ("-m", f"{file.replace('.', '_')}={given / file}")]
        command = ["run", "-q", "--no-report", "--rank", "1", *inputs, "-o", str(place / out), *shlex.split(more)]
        return forks(*command, watched=place, **happening)

    return call


@pytest.fixture
def mounted() -> Iterator[Callable[[Path, str], None]]:
    """Puts a small file system somewhere."""
    mounts: list[Path] = []

    def mount(folder: Path, options: str) -> None:
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("another file system needs the right to mount one")
        mounts.append(folder)

    yield mount
    for folder in mounts:
        subprocess.run(["umount", folder], check=True)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class TestTheDisk:
    @pytest.mark.parametrize(
        ("files", "most"),
        [
            (("parts", "image.parquet"), 200_000),
            (("image.h5", "image.parquet"), 200_000),
            (("few.npy", "image.npz"), 200_000),
            (("parts", "image.parquet"), 5_000),
        ],
    )
    def test_a_file_that_cannot_be_written_to_its_end(
        self, run: Call, place: Path, files: tuple[str, ...], most: int
    ) -> None:
        ended = run(*files, file_bytes=most)
        assert (ended.code, ended.out) == (4, "")
        assert ended.err == f"error: file too large\n  in: {place}/clean\n  fix: choose another --out\n"
        assert names(place) == set()

    def test_too_small_a_disk_is_noticed_before_the_first_row(
        self, run: Call, place: Path, mounted: Callable[[Path, str], None]
    ) -> None:
        mounted(place / "disk", "size=100k")
        ended = run("image.npy", "text.npy", out="disk/clean")
        assert (ended.code, ended.err.splitlines()[0]) == (4, "error: not enough free space for the output")
        assert names(place / "disk") == set()

    def test_a_disk_that_fills_up_meanwhile(self, run: Call, place: Path, mounted: Callable[[Path, str], None]) -> None:
        mounted(place / "disk", "size=2m")
        fill = f"head -c 3m /dev/zero > {place}/disk/big 2> /dev/null || true"
        ended = run("image.npy", "text.npy", out="disk/clean", at=24, meanwhile=fill)
        assert (ended.code, ended.err) == (
            4,
            f"error: no space left on device\n  in: {place}/disk/clean\n"
            "  fix: free space there, or choose another --out\n",
        )
        assert names(place / "disk") == {"big"}

    def test_a_full_disk_for_scratch_files(self, run: Call, place: Path, mounted: Callable[[Path, str], None]) -> None:
        mounted(place / "scratch", "size=64k")
        ended = run("image.parquet", "backwards.parquet", more=f"--tmp-dir {place}/scratch")
        assert ended.code == 4
        assert ended.err.startswith("error: not enough space for the scratch file")
        assert names(place) == {"scratch"}
        assert names(place / "scratch") == set()

    def test_scratch_files_may_be_on_another_disk(
        self, run: Call, place: Path, mounted: Callable[[Path, str], None]
    ) -> None:
        mounted(place / "scratch", "size=8m")
        assert run("image.parquet", "backwards.parquet", more=f"--tmp-dir {place}/scratch").code == 0
        assert names(place / "scratch") == set()

    def test_a_read_only_disk(self, run: Call, place: Path, mounted: Callable[[Path, str], None]) -> None:
        mounted(place / "disk", "ro,size=2m")
        ended = run("image.npy", "text.npy", out="disk/clean")
        assert (ended.code, ended.err) == (
            4,
            f"error: read-only file system\n  in: {place}/disk\n  fix: choose another --out\n",
        )

    @pytest.mark.parametrize("command", ["run", "merge"])
    def test_a_folder_of_another_user(self, forks: Forks, given: Path, place: Path, command: str) -> None:
        place.chmod(0o755)
        if os.getuid():
            place.chmod(0o555)
        inputs = f"-m image={given}/image.npy -m text={given}/text.npy --no-report -q"
        arguments, where = f"run {inputs} -o {place}/clean", place
        if command == "merge":
            kept = place / "kept"
            kept.mkdir()
            assert forks(*f"fit {inputs} -o {kept}/fit --moments-out {kept}/m".split(), watched=kept).code == 0
            arguments, where = f"merge {kept}/m -o {place}/projector", place / "projector"
        ended = forks(*arguments.split(), watched=place, user=NOBODY if not os.getuid() else 0)
        fix = "make it writable for this user, or choose another --out"
        assert (ended.code, ended.err) == (4, f"error: permission denied\n  in: {where}\n  fix: {fix}\n")
        assert names(place) <= {"kept"}

    @pytest.mark.parametrize("at", [16, 24])
    def test_a_folder_that_vanishes(self, run: Call, place: Path, at: int) -> None:
        ended = run("image.npy", "text.npy", out="data/clean", at=at, meanwhile=f"rm -rf {place}/data")
        assert (ended.code, ended.err) == (
            4,
            f"error: no such file or directory\n  in: {place}/data/clean\n  fix: choose another --out\n",
        )
        assert names(place) <= {"data"}


class TestInputs:
    @pytest.mark.parametrize("change", ["echo >> {file}", "cp -p {file} {file}.2 && mv {file}.2 {file}"])
    def test_one_that_changes_while_it_is_read(self, run: Call, given: Path, place: Path, change: str) -> None:
        file = given / "changing.npy"
        shutil.copy2(given / "text.npy", file)
        ended = run("image.npy", "changing.npy", at=10, meanwhile=change.format(file=file))
        assert (ended.code, ended.err) == (
            3,
            f"error: the input changed while it was read\n  in: {file}\n  fix: run again when it is complete\n",
        )
        assert names(place) == set()


class TestTwoRuns:
    @pytest.mark.parametrize("more", [pytest.param("", marks=pytest.mark.slow), "--overwrite"])
    def test_the_first_to_finish_wins(self, run: Call, given: Path, place: Path, more: str) -> None:
        if more:
            assert run("image.npy", "text.npy").code == 0
        other = (
            f"{sys.executable} -m clear_cli run -q -m image_npy={given}/image.npy -m text_npy={given}/text.npy "
            f"--no-report --rank 2 -o {place}/clean {more} > /dev/null"
        )
        ended = run("image.npy", "text.npy", more=f"{more} --keep-mean", at=12, meanwhile=other)
        assert (ended.code, ended.err) == (
            4,
            f"error: another run has published to the output directory meanwhile\n  in: {place}/clean\n"
            "  fix: run again, or choose another --out\n",
        )
        assert (read_manifest(place / "clean") or {})["parameters"]["rank"]["image_npy"] == "2"
        assert names(place) == {"clean"}


class TestReaders:
    """Of what is printed."""

    @pytest.mark.parametrize("arguments", [["inspect", "FILE"], ["--help"]])
    def test_one_who_closes_the_pipe(self, given: Path, arguments: list[str]) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "clear_cli", *(one.replace("FILE", f"{given}/text.npy") for one in arguments)]
        ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
        os.close(writing)
        assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, b"")

    def test_one_who_closes_the_pipe_of_errors(self, given: Path) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "clear_cli", "inspect", f"{given}/none"]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=writing, check=False)
        os.close(writing)
        assert (ended.returncode, ended.stdout) == (128 + signal.SIGPIPE, b"")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
    def test_a_full_disk(self, given: Path) -> None:
        command = [sys.executable, "-m", "clear_cli", "inspect", f"{given}/text.npy"]
        with Path("/dev/full").open("w") as full:
            ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, text=True)
        assert (ended.returncode, ended.stderr) == (4, "error: cannot print the result: no space left on device\n")
