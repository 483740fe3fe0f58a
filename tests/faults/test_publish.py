"""Whatever happens to a run, its output directory is complete or absent, and nothing of others is lost.

Started as a program, this file kills publications at every step: see `kill_at_every_step`.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import xxhash

from clear_cli import disk, publish
from clear_cli.disk import refuse_overlap
from clear_cli.errors import OutputError, UsageError
from clear_cli.publish import Publication, check_target, is_current, others_at_work, read_manifest, recover
from tests.conftest import Run

FSYNC = os.fsync


def manifest(text: str) -> dict[str, Any]:
    return {
        "version": "1.0",
        "command": "run",
        "parameters": {"rank": [4, 8], "text": text},
        "inputs": {"image": {"bytes": 3, "xxh3_128": "00"}},
    }


def write(folder: Path, text: str) -> None:
    (folder / "embeddings").mkdir()
    (folder / "embeddings" / "image.npy").write_text(text)
    (folder / "report.html").write_text(f"<p>{text}</p>")


def release(
    out: Path, text: str, *, overwrite: bool = False, meanwhile: Callable[[Path], object] = bool
) -> dict[str, Any]:
    """A run; `meanwhile` is called with the staging directory when all is written but not published."""
    with Publication(out, overwrite=overwrite) as staging:
        write(staging.path, text)
        meanwhile(staging.path)
        return staging.publish(manifest(text))


def state(out: Path) -> str:
    """The text of a complete output, "absent" or "broken"."""
    if not os.path.lexists(out):
        return "absent"
    text = (read_manifest(out) or manifest("no manifest"))["parameters"]["text"]
    return text if is_current(out, manifest(text)) else "broken"


def leftovers(out: Path) -> list[str]:
    return sorted(path.name for path in out.parent.iterdir() if path != out)


def fail_with(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*_: object) -> NoReturn:
        raise error

    return fail


def skip_sync(_: int) -> None:
    """Saves seconds: a kill, unlike a power cut, loses nothing that was written."""


@pytest.fixture(autouse=True)
def _no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", skip_sync)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "clean"


def without_exchange(*_: object, **__: object) -> object:
    """A C library, as on macOS, that cannot exchange directories."""
    return object()


@pytest.fixture(params=["exchange", "two renames"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "two renames":
        monkeypatch.setattr(ctypes, "CDLL", without_exchange)


class TestPublication:
    def test_nothing_shows_before_publication_and_everything_after(self, out: Path) -> None:
        with Publication(out, overwrite=False) as staging:
            write(staging.path, "new")
            assert state(out) == "absent"
            staging.publish(manifest("new"))
            assert state(out) == "new"
        assert leftovers(out) == []

    @pytest.mark.usefixtures("either_way")
    def test_an_overwrite_replaces_the_whole_directory(self, out: Path) -> None:
        release(out, "old", meanwhile=lambda staging: (staging / "items.parquet").touch())
        release(out, "new", overwrite=True)
        assert state(out) == "new"
        assert leftovers(out) == []

    def test_an_overwrite_leaves_files_of_others_alone(self, out: Path) -> None:
        release(out, "old")
        (out / "notes.txt").write_text("added later")
        (out / "embeddings/cache").mkdir()
        (out / "embeddings/cache/of.others").touch()
        with pytest.raises(OutputError) as error:
            release(out, "new", overwrite=True)
        assert str(error.value) == (
            f"the output holds files that no run has written\n  in: {out}\n"
            "  files: embeddings/cache/of.others, notes.txt\n  fix: move them away, or choose another --out"
        )
        assert (out / "notes.txt").read_text() == "added later"
        assert leftovers(out) == []

    def test_an_overwrite_leaves_files_alone_that_came_meanwhile(self, out: Path) -> None:
        release(out, "old")
        with pytest.raises(OutputError, match="no run has written"):
            release(out, "new", overwrite=True, meanwhile=lambda _: (out / "notes.txt").write_text("added"))
        assert (out / "notes.txt").read_text() == "added"
        (out / "notes.txt").unlink()
        assert state(out) == "old"
        assert leftovers(out) == []

    def test_a_file_system_without_exchange_is_found_out_by_trying(
        self, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Library:
            @staticmethod
            def renameat2(*_: object) -> int:
                ctypes.set_errno(errno.EINVAL)
                return -1

        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Library)
        release(out, "old")
        release(out, "new", overwrite=True)
        assert (state(out), leftovers(out)) == ("new", [])

    def test_an_empty_directory_counts_as_absent(self, out: Path) -> None:
        out.mkdir()
        release(out, "new")
        assert state(out) == "new"

    def test_missing_parents_are_made(self, out: Path) -> None:
        release(out / "a" / "b", "new")
        assert state(out / "a" / "b") == "new"

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
    @pytest.mark.parametrize("there", ["absent", "old"])
    def test_a_run_that_fails_leaves_the_target_as_it_was(
        self, out: Path, error: type[BaseException], there: str
    ) -> None:
        if there == "old":
            release(out, "old")
        with pytest.raises(error):
            release(out, "new", overwrite=True, meanwhile=fail_with(error()))
        assert (state(out), leftovers(out)) == (there, [])

    def test_a_run_that_never_publishes_leaves_nothing(self, out: Path) -> None:
        with Publication(out, overwrite=False) as staging:
            write(staging.path, "new")
        assert (state(out), leftovers(out)) == ("absent", [])

    def test_an_interrupt_between_the_two_renames_puts_the_old_output_back(
        self, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(_: int) -> None:
            if not out.exists():
                raise KeyboardInterrupt

        release(out, "old")
        monkeypatch.setattr(ctypes, "CDLL", without_exchange)
        monkeypatch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            release(out, "new", overwrite=True)
        assert (state(out), leftovers(out)) == ("old", [])

    @pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o755), (0o027, 0o750), (0o002, 0o775)])
    def test_permissions_follow_the_umask(self, out: Path, umask: int, mode: int) -> None:
        before = os.umask(umask)
        try:
            release(out, "new")
        finally:
            os.umask(before)
        assert out.stat().st_mode & 0o777 == mode
        assert (out / "manifest.json").stat().st_mode & 0o777 == mode & 0o666

    def test_folders_that_were_missing_are_on_disk(self, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        synced: list[int] = []
        monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
        release(out / "a" / "b", "new")
        assert {path.stat().st_ino for path in (out.parent, out, out / "a")} <= set(synced)

    def test_everything_is_on_disk_before_the_rename_and_the_rename_before_success(
        self, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        events: list[int | str] = []
        rename = os.rename

        def note_sync(file: int) -> None:
            events.append(os.fstat(file).st_ino)
            FSYNC(file)

        def note_rename(*names: Path) -> None:
            events.append("rename")
            rename(*names)

        monkeypatch.setattr(os, "fsync", note_sync)
        monkeypatch.setattr(os, "rename", note_rename)
        release(out, "new")
        before, after = events[: events.index("rename")], events[events.index("rename") + 1 :]
        assert set(before) == {path.stat().st_ino for path in (out, *out.rglob("*"))}
        assert after == [out.parent.stat().st_ino]


class TestManifest:
    def test_it_says_what_was_run_and_what_came_out(self, out: Path) -> None:
        returned = release(out, "new")
        text = (out / "manifest.json").read_text()
        assert returned == json.loads(text) == read_manifest(out)
        assert text == json.dumps(returned, sort_keys=True, indent=2) + "\n"
        assert returned == {
            **manifest("new"),
            "tool": "clear_cli",
            "outputs": {
                "embeddings/image.npy": {"bytes": 3, "xxh3_128": xxhash.xxh3_128_hexdigest(b"new")},
                "report.html": {"bytes": 10, "xxh3_128": xxhash.xxh3_128_hexdigest(b"<p>new</p>")},
            },
        }

    def test_two_runs_leave_the_same_bytes(self, out: Path) -> None:
        other = out.with_name("other")
        release(out, "new")
        release(other, "new")
        assert (out / "manifest.json").read_bytes() == (other / "manifest.json").read_bytes()

    def test_names_are_kept_whatever_their_bytes(self, out: Path) -> None:
        name = os.fsdecode("größe-".encode() + b"\xff.npy")
        with Publication(out, overwrite=False) as staging:
            try:
                (staging.path / name).write_text("new")
            except OSError:
                pytest.skip("this file system wants UTF-8 names")
            staging.publish(manifest("new"))
        assert "größe-".encode() in (out / "manifest.json").read_bytes()
        assert state(out) == "new"

    @pytest.mark.parametrize("text", ["", "[]", "{", '{"tool": "other"}', "\x00"])
    def test_what_others_wrote_is_not_ours(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "manifest.json").write_text(text)
        assert read_manifest(tmp_path) is None

    @pytest.mark.parametrize("size", [0, 1, 4 << 20, (9 << 20) + 5])
    def test_a_fingerprint_is_of_the_whole_file(self, tmp_path: Path, size: int) -> None:
        data = os.urandom(size)
        (tmp_path / "file").write_bytes(data)
        expected = {"bytes": size, "xxh3_128": xxhash.xxh3_128_hexdigest(data)}
        assert disk.fingerprint(tmp_path / "file") == expected


class TestUpToDate:
    def test_the_same_run_is_up_to_date(self, out: Path) -> None:
        release(out, "new")
        assert is_current(out, manifest("new"))
        assert is_current(out, {**manifest("new"), "parameters": {"rank": (4, 8), "text": "new"}, "more": 1})

    @pytest.mark.parametrize("key", ["version", "command", "parameters", "inputs"])
    def test_another_run_is_not(self, out: Path, key: str) -> None:
        release(out, "new")
        assert not is_current(out, {**manifest("new"), key: "other"})

    @pytest.mark.parametrize(
        "tamper",
        [
            lambda out: (out / "embeddings" / "image.npy").write_text("NEW"),
            lambda out: (out / "report.html").write_text("<p>new</p> "),
            lambda out: (out / "report.html").unlink(),
            lambda out: (out / "embeddings" / "extra.npy").write_text(""),
            lambda out: (out / "embeddings" / "manifest.json").write_text("{}"),
            lambda out: (out / "report.html").rename(out / "Report.html"),
            lambda out: (out / "manifest.json").write_text('{"tool": "clear_cli"}'),
            shutil.rmtree,
        ],
    )
    def test_an_output_that_was_touched_is_not(self, out: Path, tamper: Callable[[Path], object]) -> None:
        release(out, "new")
        tamper(out)
        assert not is_current(out, manifest("new"))


class TestWhatIsNeverReplaced:
    def refused(self, out: Path, *, overwrite: bool = True) -> str:
        with pytest.raises(OutputError) as checked:
            check_target(out, overwrite=overwrite)
        with pytest.raises(OutputError) as entered, Publication(out, overwrite=overwrite):
            pass
        assert str(checked.value) == str(entered.value)
        return str(checked.value)

    def test_a_directory_of_others(self, out: Path) -> None:
        out.mkdir()
        (out / "thesis.tex").write_text("years of work")
        text = f"the output holds files and no manifest.json of ours\n  in: {out}\n  fix: choose another --out"
        assert self.refused(out) == text
        (out / "manifest.json").write_text('{"tool": "other"}')
        assert self.refused(out) == text
        assert (out / "thesis.tex").read_text() == "years of work"
        assert leftovers(out) == []

    def test_our_own_directory_unless_asked_to(self, out: Path) -> None:
        release(out, "old")
        assert self.refused(out, overwrite=False) == f"the output exists\n  in: {out}\n  fix: --overwrite"
        assert state(out) == "old"
        check_target(out, overwrite=True)

    def test_a_file(self, out: Path) -> None:
        out.write_text("a file")
        text = f"the output exists and is not a directory\n  in: {out}\n  fix: choose another --out"
        assert self.refused(out) == text

    @pytest.mark.parametrize("exists", [True, False])
    def test_a_symbolic_link(self, out: Path, exists: bool) -> None:
        if exists:
            release(out.with_name("real"), "old")
        out.symlink_to("real")
        assert self.refused(out) == f"the output is a symbolic link\n  in: {out}\n  fix: choose another --out"

    @pytest.mark.parametrize("name", [".", "..", "../data"])
    def test_the_current_directory(self, out: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.chdir(out.parent)
        assert self.refused(Path(name)).startswith("the output is a mount point, or holds the current directory\n")

    def test_a_mount_point(self) -> None:
        assert self.refused(Path("/")).startswith("the output is a mount point, or holds the current directory\n")

    def test_a_directory_below_a_file(self, out: Path) -> None:
        out.write_text("a file")
        text = f"not a directory\n  in: {out}\n  fix: choose another --out"
        assert self.refused(out / "clean") == text

    def test_a_directory_that_appeared_during_the_run(self, out: Path) -> None:
        def save_thesis(_: Path) -> None:
            out.mkdir()
            (out / "thesis.tex").write_text("years of work")

        with pytest.raises(OutputError, match="meanwhile"):
            release(out, "new", overwrite=True, meanwhile=save_thesis)
        assert [path.name for path in out.iterdir()] == ["thesis.tex"]


class TestOverlap:
    @pytest.mark.parametrize(
        ("out", "source"),
        [
            ("clean", "image.parquet"),
            ("parts-clean", "parts"),
            ("parts", "parts-2"),
            ("link/clean", "parts"),
            ("clean", "absent"),
        ],
    )
    def test_apart_is_fine(self, tmp_path: Path, out: str, source: str) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "link").symlink_to("elsewhere")
        refuse_overlap(tmp_path / out, [tmp_path / source])

    @pytest.mark.parametrize(
        ("out", "source", "relation"),
        [
            (".", "image.parquet", "holds"),
            ("..", "parts", "holds"),
            ("parts", "parts", "is"),
            ("image.parquet", "image.parquet", "is"),
            ("parts/clean", "parts", "lies inside"),
            ("parts/a/../b/clean", "parts", "lies inside"),
            ("link", "parts", "is"),
            ("link/clean", "parts", "lies inside"),
            ("parts", "link", "is"),
        ],
    )
    def test_overlap_is_refused(self, tmp_path: Path, out: str, source: str, relation: str) -> None:
        (tmp_path / "parts").mkdir()
        (tmp_path / "link").symlink_to("parts")
        with pytest.raises(UsageError) as error:
            refuse_overlap(tmp_path / out, [Path("apart"), tmp_path / source])
        assert str(error.value) == (
            f"the output {relation} an input\n  in: {tmp_path / out}\n"
            f"  input: {tmp_path / source}\n  fix: choose another --out"
        )


class TestTwoRuns:
    @pytest.mark.usefixtures("either_way")
    @pytest.mark.parametrize("there", ["absent", "old"])
    def test_the_second_to_finish_is_refused(self, out: Path, there: str) -> None:
        if there == "old":
            release(out, "old")
        with pytest.raises(OutputError) as error:
            release(out, "old", overwrite=True, meanwhile=lambda _: release(out, "new", overwrite=True))
        assert str(error.value) == (
            "another run has published to the output directory meanwhile\n"
            f"  in: {out}\n  fix: run again, or choose another --out"
        )
        assert (state(out), leftovers(out)) == ("new", [])

    @pytest.mark.parametrize("more", [[], ["--resume"]])
    def test_the_second_to_begin_says_so(self, call: Run, files: tuple[Path, Path], out: Path, more: list[str]) -> None:
        given = ["run", "-m", f"image={files[0]}", "-m", f"text={files[1]}", "--no-report", "--out", out, *more]
        note = "another run is writing to this output, too: the first to finish wins\n"
        with Publication(out, overwrite=False):
            assert others_at_work(out)
            code, _, err = call(*given)
            assert (code, note in err) == (0, True)
            code, _, err = call(*given)
            assert (code, note in err) == (0, False), "up to date: nothing is written"
        assert not others_at_work(out)
        code, _, err = call(*given, "--rank", "1", "--overwrite")
        assert (code, note in err) == (0, False)

    def test_the_dead_are_not_at_work(self, out: Path) -> None:
        with Publication(out, overwrite=False) as staging:
            left = staging.path.parent.with_name(f".{out.name}.1-00000000.partial")
            shutil.copytree(staging.path.parent, left)
        left.with_name(f".{out.name}.2-00000000.partial").mkdir()
        assert not others_at_work(out)
        recover(out)
        assert not left.exists()

    @pytest.mark.usefixtures("either_way")
    @pytest.mark.parametrize("there", ["absent", "old"])
    def test_of_many_at_once_exactly_one_publishes(self, out: Path, there: str) -> None:
        if there == "old":
            release(out, "old")
        runs = 8
        published: list[int] = []
        refused: list[int] = []
        started = threading.Barrier(runs)

        def run(number: int) -> None:
            try:
                with Publication(out, overwrite=True) as staging:
                    write(staging.path, str(number))
                    started.wait()
                    staging.publish(manifest(str(number)))
                    published.append(number)
            except OutputError:
                refused.append(number)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(runs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(published), len(refused)) == (1, runs - 1)
        assert is_current(out, manifest(str(published[0])))
        assert leftovers(out) == []


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Scenario -> what was found after each kill; in a process of its own, for it forks."""
    packages = str(Path(publish.__file__).parents[1])
    found = subprocess.run(
        [sys.executable, __file__, tmp_path_factory.mktemp("kills")],
        env={**os.environ, "PYTHONPATH": packages},
        check=True,
        capture_output=True,
    )
    return json.loads(found.stdout)  # type: ignore[no-any-return]


class TestKilled:
    @pytest.mark.parametrize(
        ("scenario", "after_kill", "recovered"),
        [
            ("first", {"absent", "new"}, {"absent", "new"}),
            ("exchange", {"old", "new"}, {"old", "new"}),
            ("two renames", {"old", "absent", "new"}, {"old", "new"}),
        ],
    )
    def test_at_any_step_the_output_is_old_or_new(
        self,
        kills: dict[str, list[dict[str, Any]]],
        scenario: str,
        after_kill: set[str],
        recovered: set[str],
    ) -> None:
        if scenario == "exchange" and not sys.platform.startswith("linux"):
            pytest.skip("only Linux exchanges directories")
        steps = kills[scenario]
        assert len(steps) > 15
        assert {step["after kill"] for step in steps} == after_kill
        assert {step["recovered"] for step in steps} == recovered
        assert [step["leftovers"] for step in steps] == [[]] * len(steps)

    def test_leftovers_of_the_dead_are_removed_and_neighbours_are_not(self, out: Path) -> None:
        dead = [".clean.1-0123abcd.partial", ".clean.99-ffffffff.partial"]
        others = [".clean", ".clean.2.1-0123abcd.partial", ".clean.partial", ".other.1-0123abcd.partial"]
        for name in (*dead, *others):
            (out.parent / name / "new").mkdir(parents=True)
        release(out, "new")
        assert leftovers(out) == others

    def test_what_bears_such_a_name_and_holds_something_else_is_left_alone(self, out: Path) -> None:
        thesis = out.parent / ".clean.1-0123abcd.partial" / "thesis.tex"
        thesis.parent.mkdir()
        thesis.write_text("years of work")
        release(out, "new")
        assert thesis.read_text() == "years of work"

    def test_what_was_moved_away_comes_back(self, out: Path) -> None:
        release(out, "old")
        workspace = out.with_name(".clean.1-0123abcd.partial")
        workspace.mkdir()
        out.rename(workspace / "old")
        with pytest.raises(OutputError, match="the output exists"):
            check_target(out, overwrite=False)
        assert (state(out), leftovers(out)) == ("old", [])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk needs the right to mount one")
    yield disk
    subprocess.run(["umount", disk], check=True)


class TestTheMachineRefuses:
    @pytest.mark.parametrize("there", ["absent", "old"])
    def test_a_full_disk(self, small_disk: Path, there: str) -> None:
        def fill(folder: Path) -> None:
            with suppress(OSError), (folder / "big").open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass

        out = small_disk / "clean"
        if there == "old":
            release(out, "old")
        with pytest.raises(OutputError) as error:
            release(out, "new", overwrite=True, meanwhile=fill)
        assert str(error.value) == (
            f"no space left on device\n  in: {out}\n  fix: free space there, or choose another --out"
        )
        assert (state(out), leftovers(out)) == (there, [])

    def test_a_read_only_disk_is_noticed_before_any_work(self, small_disk: Path) -> None:
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        with pytest.raises(OutputError) as error:
            check_target(small_disk / "a" / "clean", overwrite=False)
        assert str(error.value) == (f"read-only file system\n  in: {small_disk}\n  fix: choose another --out")

    def test_a_parent_that_cannot_be_written_is_noticed_before_any_work(
        self, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "mkdir", fail_with(OSError(errno.EACCES, os.strerror(errno.EACCES))))
        with pytest.raises(OutputError) as error:
            check_target(out, overwrite=False)
        assert str(error.value) == (
            f"permission denied\n  in: {out.parent}\n  fix: make it writable for this user, or choose another --out"
        )

    def test_a_parent_that_vanishes(self, out: Path) -> None:
        with pytest.raises(OutputError, match="no such file"):
            release(out, "new", meanwhile=lambda _: shutil.rmtree(out.parent))
        assert not out.parent.exists()

    @pytest.mark.parametrize("code", [errno.EXDEV, errno.EROFS, errno.EIO, errno.EDQUOT, errno.EPERM])
    @pytest.mark.parametrize("there", ["absent", "old"])
    def test_a_rename_that_fails(self, out: Path, monkeypatch: pytest.MonkeyPatch, code: int, there: str) -> None:
        if there == "old":
            release(out, "old")
        monkeypatch.setattr(ctypes, "CDLL", without_exchange)
        monkeypatch.setattr(os, "rename", fail_with(OSError(code, os.strerror(code))))
        with pytest.raises(OutputError) as error:
            release(out, "new", overwrite=True)
        assert error.value.problem == os.strerror(code).lower()
        assert (state(out), leftovers(out)) == (there, [])

    def test_too_little_space_names_both_numbers(self, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 << 20))
        disk.require_free(out / "a", 5 << 20, what="the embeddings")
        with pytest.raises(OutputError) as error:
            disk.require_free(out / "a", 3 << 29, what="the embeddings")
        assert str(error.value) == (
            f"not enough free space for the embeddings\n  in: {out / 'a'}\n"
            "  needed: 1.5 GiB (1,610,612,736 bytes)\n  free: 5.0 MiB (5,242,880 bytes)\n"
            "  fix: free space there, or choose another --out"
        )


def die_before_step(last: int) -> None:
    """Let this process end as if by kill -9 before its n-th change of the file system."""
    steps = itertools.count(1)

    def mortal(change: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            if next(steps) == last:
                os._exit(9)
            return change(*args, **kwargs)

        return run

    for name in ("mkdir", "rename", "fsync", "unlink", "rmdir"):
        setattr(os, name, mortal(getattr(os, name)))
    library = ctypes.CDLL(None, use_errno=True)
    if hasattr(library, "renameat2"):
        library.renameat2 = mortal(library.renameat2)
    ctypes.CDLL = lambda *_, **__: library  # type: ignore[assignment, misc]


def kill_at_every_step(scenario: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Publish "new" again and again, each time killed one step later, until one survives."""
    old = folder / "old"
    release(old, "old")
    for step in itertools.count(1):
        out = folder / str(step) / "clean"
        out.parent.mkdir()
        if scenario != "first":
            shutil.copytree(old, out)
        child = os.fork()
        if child == 0:
            die_before_step(step)
            if scenario == "two renames":
                ctypes.CDLL = without_exchange  # type: ignore[assignment, misc]
            release(out, "new", overwrite=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        after_kill = state(out)
        recover(out)
        yield {"after kill": after_kill, "recovered": state(out), "leftovers": leftovers(out)}
        if status == 0:
            return


if __name__ == "__main__":
    os.fsync = skip_sync  # type: ignore[assignment]
    folder = Path(sys.argv[1])
    scenarios = ("first", "exchange", "two renames")
    kills_by_scenario = {name: list(kill_at_every_step(name, folder / name)) for name in scenarios}
    print(json.dumps(kills_by_scenario))  # noqa: T201


def test_a_folder_of_very_many_files_is_settled_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(disk, "sync", calls.append)
    monkeypatch.setattr(os, "sync", lambda: calls.append("all"))
    monkeypatch.setattr(disk, "MANY", 3)
    for i in range(3):
        (tmp_path / f"{i}.npy").touch()
    disk.sync_below(tmp_path)
    assert sorted(path.name for path in calls) == ["0.npy", "1.npy", "2.npy"]
    calls.clear()
    (tmp_path / "3.npy").touch()
    disk.sync_below(tmp_path)
    assert calls == ["all"]
