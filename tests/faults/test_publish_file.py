"""A file that is published is there whole, or as it was before."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clear_cli.errors import OutputError
from clear_cli.publish_file import FilePublication


def publication(target: Path, *, overwrite: bool = False) -> FilePublication:
    return FilePublication(target, what="the projector", option="--out", overwrite=overwrite)


def full(path: Path) -> None:
    path.write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


def whole(path: Path) -> None:
    path.write_bytes(b"whole")


def published(target: Path, *steps: Callable[[Path], Any]) -> None:
    """Write in some steps, and publish."""
    with publication(target) as staging:
        for step in steps:
            staging.write(step)
        staging.publish()


def half(path: Path) -> None:
    path.write_bytes(b"half")
    raise KeyboardInterrupt


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_it_appears_at_once_and_alone(tmp_path: Path) -> None:
    target = tmp_path / "new" / "p"
    with publication(target) as staging:
        staging.write(whole)
        assert not target.exists()
        staging.publish()
        assert target.read_bytes() == b"whole"
    assert names(target.parent) == {"p"}


def test_it_is_on_disk_before_it_has_its_name_and_the_names_are_before_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[int | str] = []
    rename, sync = os.replace, os.fsync

    def note_sync(descriptor: int) -> None:
        events.append(os.fstat(descriptor).st_ino)
        sync(descriptor)

    def note_rename(*names: Path) -> None:
        events.append("rename")
        rename(*names)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_rename)
    target = tmp_path / "new" / "p"
    published(target, whole)
    made, file, folder = (path.stat().st_ino for path in (tmp_path, target, target.parent))
    assert events == [made, file, "rename", folder]


def test_what_the_dead_left_is_removed_and_what_the_living_and_others_have_is_not(tmp_path: Path) -> None:
    (tmp_path / ".p.1-0123abcd.partial").touch()
    (tmp_path / ".p.1.partial").touch()
    (tmp_path / ".q.1-0123abcd.partial").touch()
    (tmp_path / ".p.2-0123abcd.partial").mkdir()
    others = names(tmp_path) - {".p.1-0123abcd.partial"}
    with publication(tmp_path / "p") as living:
        published(tmp_path / "p", whole)
        assert names(tmp_path) == others | {"p", living.path.name}
    assert names(tmp_path) == others | {"p"}


@pytest.mark.parametrize("old", [None, b"old"])
def test_of_two_runs_the_first_to_finish_wins(tmp_path: Path, old: Any) -> None:
    target = tmp_path / "p"
    if old:
        target.write_bytes(old)
    with publication(target, overwrite=True) as late:
        late.write(lambda path: path.write_bytes(b"late"))
        with publication(target, overwrite=True) as early:
            early.write(whole)
            early.publish()
        with pytest.raises(OutputError) as error:
            late.publish()
    assert str(error.value) == (
        f"another run has written the projector meanwhile\n  in: {target}\n  fix: run again, or choose another --out"
    )
    assert (names(tmp_path), target.read_bytes()) == ({"p"}, b"whole")


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_full_disk_leaves_it_as_it_was(tmp_path: Path, old: Any) -> None:
    target = tmp_path / "p"
    if old:
        target.write_bytes(old)
    with pytest.raises(OutputError) as error, publication(target, overwrite=True) as staging:
        staging.write(full)
    assert str(error.value) == (
        f"no space left on device\n  in: {target}\n  fix: free space there, or choose another --out"
    )
    assert names(tmp_path) == ({"p"} if old else set())
    assert old is None or target.read_bytes() == old


def test_leaving_early_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        published(tmp_path / "p", half)
    assert names(tmp_path) == set()


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "p"
    with pytest.raises(OutputError, match="the projector exists"):
        published(target, lambda _: target.write_bytes(b"of another"))
    assert target.read_bytes() == b"of another"


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError) as error, publication(tmp_path / "file" / "p"):
        pass
    assert str(error.value).endswith(f"\n  in: {tmp_path / 'file' / 'p'}\n  fix: choose another --out")
