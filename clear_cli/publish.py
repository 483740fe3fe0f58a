"""Atomic publication of an output directory, and the manifest it bears.

All work happens in a hidden workspace beside the target, on the same file system:

    clean/                          the target: complete or absent, whatever happens
    .clean.<pid>-<random>.partial/  the workspace
        lock                        held while its run lives: what the dead left is removed by the next run
        new/                        what the run writes; one rename puts it in the place of the target
        old/                        the replaced target, where replacing takes two renames
        journal/                    of a run that can be resumed: the next such run takes over; in the end, done/

A directory is replaced only if it bears our manifest, and only if that is the manifest seen at the start.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from clear_cli.disk import (
    FIX,
    UNSUPPORTED,
    Settling,
    files_in,
    fingerprints,
    make_folders,
    nearest,
    output_error,
    refuse_foreign,
    sync,
    sync_below,
)
from clear_cli.errors import OutputError
from clear_cli.parallel import background
from clear_cli.partial import IN_THE_WAY, fresh_partial, lock, partials, uninterrupted

MANIFEST = "manifest.json"

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_CONTENTS = {"lock", "new", "old", "replaced", "journal", "done"}
_OVERTAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.EWOULDBLOCK}


class Publication:
    """A directory in the making, which becomes the target in one step or not at all.

        with Publication(out, overwrite=False) as staging:
            ...  # write files to staging.path, an empty directory
            staging.publish({"version": ..., "command": ..., "parameters": ..., "inputs": ...})

    Leaving the block in any other way removes what was written and leaves the target as it was.

    Args:
        out: The target.
        overwrite: It may be replaced, if it is an output.
        resume: What was written is kept while there is a directory `staging.journal`, which is for the run to make;
            and what a run before this one has kept is what `staging.path` holds at first. Of several such runs it is
            the one for whose journal this gives the largest value. None: nothing is kept.
    """

    def __init__(self, out: Path, *, overwrite: bool, resume: Callable[[Path], Any] | None = None) -> None:
        self._out, self._overwrite, self._resume, self._target = out, overwrite, resume, _target(out)

    def __enter__(self) -> Self:
        with _reported(self._out):
            recover(self._out)
            # Read before the check: what appears after it was never checked and must not be replaced.
            self._seen = read_manifest(self._target)
            check_target(self._out, overwrite=self._overwrite)
            make_folders(self._target.parent)
            with ExitStack() as made:
                with uninterrupted():
                    self._workspace, self._lock = self._kept() or _make_workspace(self._target)
                    self.path, self.journal = self._workspace / "new", self._workspace / "journal"
                    self._settling = Settling(self.path)
                    made.push(self.__exit__)
                made.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with uninterrupted(), _reported(self._out):
            self._settling.quit()
            if self._resume and self.journal.exists():
                os.close(self._lock)
            else:
                _discard(self._workspace, self._lock, self._target)

    def publish(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Put what was written in the place of the target, durably, and return the manifest as written.

        It is the one given, with "tool" and "outputs" (relative path -> fingerprint) added.

        Raises:
            OutputError: The disk refuses, or another run has published to the target meanwhile.
        """
        with _reported(self._out):
            outputs = background(lambda: fingerprints(self.path, but=MANIFEST))
            self._settling.stop()
            sync_below(self.path)
            whole, text = manifest_of(manifest, outputs())
            (self.path / MANIFEST).write_bytes(text)
            for path in (self.path / MANIFEST, self.path):
                sync(path)
            if self._resume and self.journal.exists():
                self.journal.rename(self._workspace / "done")
            self._put_in_place()
            sync(self._target.parent)
        return whole

    def _kept(self) -> tuple[Path, int] | None:
        """The workspace to go on with, and its lock, if there is one; the others that were kept are removed."""
        kept, rank = list(_kept(self._target)), self._resume
        taken = max(kept, key=lambda one: rank(one[0] / "journal")) if kept and rank else None
        for one in kept:
            if one is not taken:
                _discard(*one, self._target)
        return taken

    def _put_in_place(self) -> None:
        try:
            if self._seen is None:
                # Safe without a check: a directory replaces nothing but an empty directory.
                self.path.rename(self._target)
                return
            with ExitStack() as locked:
                locked.callback(os.close, lock(self._target, os.O_RDONLY))
                if read_manifest(self._target) != self._seen:
                    raise FileExistsError(errno.EEXIST, "the manifest has changed")
                refuse_foreign(self._out, files_in(self._target), self._seen, MANIFEST)
                _replace(self._target, self.path, self._workspace / "old")
        except OSError as error:
            if error.errno not in _OVERTAKEN:
                raise
            problem = "another run has published to the output directory meanwhile"
            raise OutputError(problem, where=self._out, fix=f"run again, or {FIX}") from error


def check_target(out: Path, *, overwrite: bool) -> None:
    """Refuse, before any work, a target that could not or must not be replaced; `recover` it first.

    Raises:
        OutputError: It is a file, a symbolic link, a mount point or the current directory; it holds files
            and no manifest of ours, or files that are not in it; it is ours and `overwrite` is off; or nothing can be
            written beside it.
    """
    target = _target(out)
    with _reported(out):
        recover(out)
        if target.is_symlink():
            raise OutputError("the output is a symbolic link", where=out, fix=FIX)
        if target.exists() and not target.is_dir():
            raise OutputError("the output exists and is not a directory", where=out, fix=FIX)
        if target.is_mount() or Path.cwd().is_relative_to(target):
            problem = "the output is a mount point, or holds the current directory"
            raise OutputError(problem, where=out, fix=FIX)
        if target.exists() and any(target.iterdir()):
            manifest = read_manifest(target)
            if manifest is None:
                raise OutputError(f"the output holds files and no {MANIFEST} of ours", where=out, fix=FIX)
            if not overwrite:
                raise OutputError("the output exists", where=out, fix="--overwrite")
            refuse_foreign(out, files_in(target), manifest, MANIFEST)
    existing = nearest(target.parent)
    with _reported(existing), uninterrupted():  # only the attempt tells the reason
        _discard(*_make_workspace(existing / target.name), target)


def recover(out: Path) -> None:
    """Clear up after runs that died: put back what they had moved away, remove what they left and did not keep."""
    for _, held in _kept(_target(out)):
        os.close(held)


def others_at_work(out: Path) -> bool:
    """Whether another run is writing to the target right now."""
    for path in partials(_target(out)):
        try:
            os.close(lock(path / "lock", os.O_RDWR))
        except BlockingIOError:
            return True
        except OSError:  # left by a run that died, or gone
            continue
    return False


def _kept(target: Path) -> Iterator[tuple[Path, int]]:
    """Clear up as `recover` does, and yield what was kept: workspaces and their locks, for the caller to release."""
    for path in partials(target):
        with suppress(OSError):
            if not {one.name for one in path.iterdir()} <= _CONTENTS:
                continue
            held = lock(path / "lock", os.O_RDWR | os.O_CREAT)
            if (path / "journal").exists():
                yield path, held
            else:
                _discard(path, held, target)


def read_manifest(out: Path) -> dict[str, Any] | None:
    """Our manifest in a directory, or None if there is none, or one that is not ours."""
    try:
        manifest = json.loads((out / MANIFEST).read_bytes().decode("utf-8", "surrogateescape"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("tool") == "clear_cli" else None


def manifest_of(manifest: dict[str, Any], outputs: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The whole manifest of an output with these files, and its bytes."""
    whole = {**manifest, "tool": "clear_cli", "outputs": outputs}
    text = json.dumps(whole, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return whole, text.encode("utf-8", "surrogateescape")


def is_current(out: Path, manifest_wanted: dict[str, Any]) -> bool:
    """Whether the output (after `recover`) is what a run with this manifest would write.

    Its "version", "command", "parameters" and "inputs" agree, and no file was changed, removed or added.
    """
    there = read_manifest(out) or {}
    try:
        return agrees(there, manifest_wanted) and there.get("outputs") == fingerprints(out, but=MANIFEST)
    except OSError:
        return False


def agrees(there: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a manifest speaks of the same work: "version", "command", "parameters" and "inputs"."""
    keys = ("version", "command", "parameters", "inputs")
    asked = json.loads(json.dumps({key: wanted[key] for key in keys}))  # tuples become lists
    return bool({key: there.get(key) for key in keys} == asked)


@contextmanager
def _reported(where: object) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_error(error, where) from error


def _target(out: Path) -> Path:
    """The absolute path, with symbolic links followed in the parents only."""
    named = out.name not in {"", ".."}
    return Path(os.path.realpath(out.parent), out.name) if named else Path(os.path.realpath(out))


def _make_workspace(target: Path) -> tuple[Path, int]:
    """A fresh workspace and its lock: on a file, for NFS shows other hosts no lock on a directory."""
    while True:
        workspace = fresh_partial(target)
        workspace.mkdir()
        try:
            held = lock(workspace / "lock", os.O_RDWR | os.O_CREAT)
            (workspace / "new").mkdir()
            return workspace, held
        except BaseException as error:
            shutil.rmtree(workspace, ignore_errors=True)
            # A run that starts right now may lock it first, take it for dead and remove it: try again.
            if not isinstance(error, IN_THE_WAY):
                raise


def _discard(workspace: Path, held: int, target: Path) -> None:
    """Put back what the run had moved away, if nothing took its place, and remove the rest."""
    old = workspace / "old"
    try:
        if old.exists():  # removed under another name, so that what is put back is always whole
            old.rename(workspace / "replaced" if os.path.lexists(target) else target)
        shutil.rmtree(workspace, ignore_errors=True)
    finally:
        os.close(held)
    with suppress(OSError):  # NFS keeps the lock file, under another name, until it is closed
        workspace.rmdir()


def _replace(target: Path, new: Path, old: Path) -> None:
    """Put `new` in the place of `target`: in one step, or else in two that `_discard` can undo."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = (_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(target))
    if rename and rename(*names, _RENAME_EXCHANGE) == 0:
        return
    code = ctypes.get_errno() if rename else errno.ENOSYS
    if code not in UNSUPPORTED:
        raise OSError(code, os.strerror(code))
    target.rename(old)
    sync(old.parent)
    new.rename(target)
