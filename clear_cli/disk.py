"""What a disk says and keeps: hashes of files, free space, and files that are safe once they are written."""

from __future__ import annotations

import difflib
import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any

import xxhash

from clear_cli.errors import OutputError, UsageError
from clear_cli.parallel import background
from clear_cli.remote import is_remote

FIX = "choose another --out"
_FIXES = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free space there, or ")
_FIXES |= dict.fromkeys((errno.EACCES, errno.EPERM), "make it writable for this user, or ")
LISTED = 10
"""Files that an error names at most."""
NAMES = 10_000
"""Names of a folder that are looked through at most."""
MANY = 1000
"""Files from which on they are settled together."""

UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}
"""What a file system answers that does not know how."""

HDF5 = b"\x89HDF\r\n\x1a\n"
SAFETENSORS = "safetensors"
LONGEST_HEADER = 100_000_000
"""Bytes of the header of a safetensors file; the library refuses more."""
_CONTAINERS = {b"PAR1": "Parquet", HDF5: "HDF5", b"\x93NUMPY": "NPY", b"PK\x03\x04": "NPZ", b"PK\x05\x06": "NPZ"}


def container_by(head: bytes) -> str | None:
    """The container whose files begin with these bytes, 9 or more; None for one that is not known by them."""
    found = next((name for magic, name in _CONTAINERS.items() if head.startswith(magic)), None)
    # Safetensors begin with the length of their header, and that with a brace.
    headed = head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= LONGEST_HEADER
    return found or (SAFETENSORS if headed else None)


def fingerprint(path: Path) -> dict[str, int | str]:
    """Size and content hash of a file, in bounded memory: {"bytes": ..., "xxh3_128": hex}."""
    size, digest, buffer = 0, xxhash.xxh3_128(), memoryview(bytearray(4 << 20))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            size += count
            digest.update(buffer[:count])
    return {"bytes": size, "xxh3_128": digest.hexdigest()}


def fingerprints(root: Path, *, but: str) -> dict[str, dict[str, int | str]]:
    """Relative path -> fingerprint, of every file under a directory except its manifest.

    What is neither a file nor a folder has none ({}), such as a link to nowhere, or to a folder, which is not followed.
    """
    names = sorted(set(files_in(root)) - {but})
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda name: fingerprint(root / name) if (root / name).is_file() else {}, names)
        return dict(zip(names, found, strict=True))


def refuse_overlap(
    out: Path, others: Iterable[Path], *, what: str = "the output", other: str = "an input", fix: str = FIX
) -> None:
    """Refuse, with a UsageError, an output that is an input (or another output), lies inside one or holds one."""
    target = _real(out)
    for path in others:
        source = _real(path)
        if is_remote(target) != is_remote(source):
            continue
        if target.is_relative_to(source) or source.is_relative_to(target):
            relation = "lies inside" if target.is_relative_to(source) else "holds"
            problem = f"{what} {'is' if target == source else relation} {other}"
            about: dict[str, Any] = {other.split()[-1]: path}
            raise UsageError(problem, where=out, fix=fix, **about)


def _real(path: Path) -> Path:
    return path if is_remote(path) else Path(os.path.realpath(path))


def refuse_foreign(out: Path, present: Iterable[str], manifest: dict[str, Any], own: str) -> None:
    """Refuse, with an OutputError that names them, to replace files that no run has written.

    Args:
        out: The output.
        present: The files in it, as relative paths.
        manifest: Its manifest, which names those that are of the run.
        own: The name of the manifest.
    """
    written = manifest.get("outputs")
    foreign = sorted(set(present) - {own, *(written if isinstance(written, dict) else ())})
    if foreign:
        more = f" and {len(foreign) - LISTED:,} more" if len(foreign) > LISTED else ""
        files = ", ".join(foreign[:LISTED]) + more
        fix = f"move them away, or {FIX}"
        raise OutputError("the output holds files that no run has written", where=out, files=files, fix=fix)


def files_in(root: Path) -> Iterator[str]:
    """The relative paths of all files and links below a directory."""
    return (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_symlink() or not path.is_dir())


def require_free(path: Path, needed: int, *, what: str, fix: str = FIX) -> None:
    """Refuse, with an OutputError that has both numbers, what the disk under a path cannot hold."""
    free = shutil.disk_usage(nearest(path.absolute())).free
    if free < needed:
        numbers = {"needed": _readable(needed), "free": _readable(free)}
        raise OutputError(f"not enough free space for {what}", where=path, fix=_FIXES[errno.ENOSPC] + fix, **numbers)


def output_error(error: OSError, where: object, fix: str = FIX) -> OutputError:
    """What the operating system refused, as an error that says what to do about it."""
    problem = (os.strerror(error.errno) if error.errno else str(error)).lower()
    return OutputError(problem, where=where, fix=_FIXES.get(error.errno or 0, "") + fix)


def nearest(path: Path) -> Path:
    """The path itself if it exists, else the nearest folder above it that does."""
    return next(parent for parent in (path, *path.parents) if os.path.lexists(parent))


def instead_of(where: object, fix: str | None = None) -> dict[str, Any]:
    """What an error says besides of a path that there is not: names that are like the first part that is missing.

    Where that part is there, and no folder, it says so instead. Its fix is the nearest of them; `fix` where there are
    none, where the path is there, and behind a URI.
    """
    path = Path(str(where))
    folder = next((one for one in path.parents if os.path.isdir(one)), None)  # noqa: PTH112  (never raises)
    if "://" in str(where) or os.path.lexists(path) or folder is None:
        return {"fix": fix}
    missing = path.relative_to(folder).parts[0]
    if os.path.lexists(folder / missing):
        return {"file": f"{folder / missing}, which is no folder", "fix": fix}
    near: list[str] = []
    with suppress(OSError):
        names = [entry.name for entry in islice(os.scandir(folder), NAMES)]
        alike = [one for one in names if Path(one).suffix == Path(missing).suffix]
        near = [str(folder / one) for one in _like(missing, alike) or _like(missing, names)]
    absent = {} if folder == path.parent else {"missing": folder / missing}
    return absent | ({"near": ", ".join(near), "fix": near[0]} if near else {"fix": fix})


def _like(name: str, names: Iterable[str]) -> list[str]:
    """Names that are like one, but for what comes after the last point; the nearest first."""
    stems = {Path(one).stem: one for one in names}
    return [stems[one] for one in difflib.get_close_matches(Path(name).stem, stems, n=3)]


def _readable(count: int) -> str:
    unit, power = ("GiB", 30) if count >= 1 << 30 else ("MiB", 20)
    return f"{count / (1 << power):.1f} {unit} ({count:,} bytes)"


class Settling:
    """Sends files to the disk while they are written, so that at the end nearly everything is there.

    Args:
        folder: Whose files, and those below it.
    """

    SECONDS = 0.25

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ended = Event()
        self._finished = background(self._work)

    def stop(self) -> None:
        """End it. Raises what the disk said meanwhile, for it says so once."""
        self._ended.set()
        self._finished()

    def quit(self) -> None:
        """End it, whatever the disk said."""
        with suppress(OSError):
            self.stop()

    def _work(self) -> None:
        while not self._ended.wait(self.SECONDS):
            # Of very many files each is small, and asking after all of them costs more than it saves.
            with suppress(FileNotFoundError):  # a folder that was there a moment ago
                for path in islice(self._folder.rglob("*"), MANY):
                    with suppress(FileNotFoundError):  # or a file
                        if path.is_file():
                            sync(path)


def sync_below(folder: Path) -> None:
    """Wait until everything below a folder is on the disk."""
    paths = list(islice(folder.rglob("*"), MANY + 1))
    if len(paths) > MANY:
        os.sync()  # of everything on the machine, once: quicker than many thousands of files one by one
        return
    for path in paths:
        sync(path)


def make_folders(folder: Path) -> None:
    """Make a folder, and those above it that are missing, so that they outlive a power cut."""
    if not folder.is_dir():
        if os.path.lexists(folder):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some shared folders cannot sync a directory
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)
