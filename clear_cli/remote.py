"""Files behind a URI: s3://, gs://, az://, hf:// and whatever else fsspec knows.

They are UPath objects, which do what pathlib's paths do, so that the code that reads and writes files need not
know where these are. Nothing is copied to this machine: rows are read and written as streams.
"""

from __future__ import annotations

import importlib
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clear_cli.errors import ClearError, OutputError, UsageError

EXTRA = "remote"
DRIVERS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "hf": "huggingface_hub"}
"""What has to be installed for a scheme, besides universal-pathlib."""

SDKS = {"botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "azure", "huggingface_hub", "requests", "httpx"}
"""Libraries that raise errors of their own when a store cannot be reached, or refuses."""

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def place(text: str | Path) -> Path:
    """The path of a file on this machine, or of one behind a URI.

    Raises:
        UsageError: The scheme needs a library that is not installed, or there is none for it.
    """
    found = _URI.match(str(text)) if isinstance(text, str) else None
    if found is None:
        return Path(text) if isinstance(text, str) else text
    scheme = found[1].lower()
    try:
        importlib.import_module(DRIVERS.get(scheme, "fsspec"))
        from upath import UPath

        path: Any = UPath(text)  # does what a Path does, and is none
    except ImportError as error:
        raise UsageError(
            f"{scheme}:// needs a library that is not installed: {error.name}",
            where=text,
            fix=f"pip install 'clear-cli[{EXTRA}]'",
        ) from error
    except ValueError as error:
        known = ", ".join(f"{one}://" for one in DRIVERS)
        raise UsageError(f"there is no way to reach {scheme}://", where=text, known=known) from error
    return path  # type: ignore[no-any-return]


def file_at(flag: str, name: str) -> Callable[[str], Path]:
    """What reads an option that names one file; `name` is a usual one."""

    def read(text: str) -> Path:
        if str(text).endswith("/"):
            raise UsageError(f'"{text}" is a folder, and this is one file', where=flag, fix=f"{flag} {text}{name}")
        return place(text)

    return read


def is_remote(path: Path) -> bool:
    """Whether the path is behind a URI."""
    return not isinstance(path, Path)


def below(path: Path, root: Path) -> str:
    """A path below a root, both of them here or both behind a URI."""
    if is_remote(path):
        return path.path.removeprefix(root.path.rstrip("/") + "/")  # type: ignore[attr-defined,no-any-return]
    return path.relative_to(root).as_posix()


def revision(path: Path) -> dict[str, int | str]:
    """Size and entity tag of a remote file: they change when it does, and cost no download."""
    info: Any = path.fs.info(path.path)  # type: ignore[attr-defined]
    tags = (info.get(key) for key in ("ETag", "etag", "md5Hash", "blob_id", "content_md5", "LastModified", "mtime"))
    return {"bytes": int(info["size"]), "etag": str(next((tag for tag in tags if tag), "")).strip('"')}


def files_below(folder: Path) -> dict[str, Path]:
    """All files under a remote folder, by their paths below it."""
    folder.fs.invalidate_cache()  # type: ignore[attr-defined]
    files = (path for path in folder.rglob("*") if path.is_file())
    return {below(path, folder): path for path in sorted(files, key=str)}


@contextmanager
def reachable(where: object, *also: type[Exception]) -> Iterator[None]:
    """Turn what the libraries of a store raise of their own, and `also`, into an OutputError that says so."""
    try:
        yield
    except ClearError:
        raise
    except Exception as error:
        if not isinstance(error, also) and type(error).__module__.partition(".")[0] not in SDKS:
            raise
        reason = (str(error) or type(error).__name__).partition("\n")[0]
        raise OutputError("the remote storage refuses, or cannot be reached", where=where, reason=reason) from error


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """A small file on this machine: itself, or a copy for as long as it is used."""
    with _near(path) as near:
        if near is not path:
            with reachable(path):
                near.write_bytes(path.read_bytes())
        yield near


@contextmanager
def uploaded(path: Path) -> Iterator[Path]:
    """Where to write a file that cannot be written as a stream: itself, or on this machine, from where it is sent."""
    with _near(path) as near:
        yield near
        if near is not path:
            path.fs.put(str(near), path.path)  # type: ignore[attr-defined]


@contextmanager
def _near(path: Path) -> Iterator[Path]:
    """The path itself, or for a remote one a place of that name on this machine, which is removed in the end."""
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="clear-") as folder:
        yield Path(folder) / path.name
