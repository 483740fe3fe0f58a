"""Publication of an output behind a URI.

An object store has no folders that could be renamed, so an output cannot appear there at once. Its manifest is
written last, and removed first where an output is replaced: without one, what is there is not complete.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from clear_cli.disk import refuse_foreign
from clear_cli.errors import OutputError
from clear_cli.publish import MANIFEST, agrees, manifest_of, read_manifest
from clear_cli.remote import files_below, reachable, revision


class RemotePublication:
    """An output in the making, used as `publish.Publication` is; leaving it early removes what was written.

    A new output is written where it is to be. One that replaces another is written beside it, and copied over by the
    store itself once it is complete.

    Args:
        out: The output.
        overwrite: An output of ours may be replaced.
    """

    def __init__(self, out: Path, *, overwrite: bool) -> None:
        self._out, self._overwrite = out, overwrite
        self._published = False

    def __enter__(self) -> Self:
        with reachable(self._out, OSError):
            check_remote(self._out, overwrite=self._overwrite)
            replaces = read_manifest(self._out) is not None
        beside = self._out.parent / f".{self._out.name}.{secrets.token_hex(4)}.partial"
        self.path = beside if replaces else self._out
        return self

    def __exit__(self, *_: object) -> None:
        if not self._published or self.path is not self._out:
            with suppress(Exception):  # what is left bears no manifest
                _remove(files_below(self.path))

    def publish(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Put what was written in its place, write the manifest last, and return it as written.

        Raises:
            OutputError: The store refuses, or cannot be reached.
        """
        with reachable(self._out, OSError):
            if self.path is not self._out:
                self._replace()
            whole, text = manifest_of(manifest, revisions(self._out))
            (self._out / MANIFEST).write_bytes(text)
        self._published = True
        return whole

    def _replace(self) -> None:
        old = files_below(self._out)
        _remove({name: path for name, path in old.items() if name == MANIFEST})
        _remove(old)
        for name, path in files_below(self.path).items():
            path.fs.copy(path.path, (self._out / name).path)  # type: ignore[attr-defined]


def _remove(files: dict[str, Path]) -> None:
    for path in files.values():
        path.unlink(missing_ok=True)


def check_remote(out: Path, *, overwrite: bool) -> None:
    """Refuse an output that must not be replaced, as `publish.check_target` does on this machine.

    Raises:
        OutputError: It holds files and no manifest of ours; or it is ours and `overwrite` is off, or holds files that
            are not.
    """
    manifest = read_manifest(out)
    if manifest is not None:
        if not overwrite:
            raise OutputError("the output exists", where=out, fix="--overwrite")
        refuse_foreign(out, files_below(out), manifest, MANIFEST)
    elif files_below(out):
        raise OutputError(f"the output holds files and no {MANIFEST} of ours", where=out, fix="choose another --out")


def is_current_remote(out: Path, wanted: dict[str, Any]) -> bool:
    """Whether the output is what a run with this manifest would write. Its files are known by their entity tags."""
    there = read_manifest(out) or {}
    return agrees(there, wanted) and bool(revisions(out) == there.get("outputs"))


def revisions(out: Path) -> dict[str, dict[str, int | str]]:
    """Path inside an output -> size and entity tag, of every file but its manifest."""
    return {name: revision(path) for name, path in files_below(out).items() if name != MANIFEST}
