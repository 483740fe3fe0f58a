"""Safetensors files of ours: each says in its metadata what it is and in which format, and another is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from clear_cli.disk import SAFETENSORS, container_by, instead_of
from clear_cli.errors import DataError
from clear_cli.remote import local_copy

KEY = "clear_cli"
"""The one key of the metadata that is ours: the library does not promise an order for several."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        what: What one is called.
        holds: What is in it.
        version: Of its format.
        fix: What writes one.
        give: What to give where one is asked for.
    """

    what: str
    holds: str
    version: int
    fix: str
    give: str

    def metadata(self, **header: Any) -> dict[str, str]:
        """The metadata of a file that is to be written; `header` is what is not a tensor."""
        whole = {"format": f"clear_cli.{self.holds}", "format_version": self.version, **header}
        return {KEY: json.dumps(whole, sort_keys=True)}

    @contextmanager
    def opened(self, path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
        """A file as the library opened it, for as long as it is read, and its header.

        Raises:
            DataError: Not there, not ours, damaged, or of another format; also of what is read in the block.
        """
        if path.is_dir():
            raise DataError(f"this is no {self.what}, but a folder", where=path, fix=f"give {self.give}")
        if not path.is_file():
            raise DataError(f"no {self.what} here", where=path, **instead_of(path, self.fix))
        try:
            with local_copy(path) as near, safe_open(near, framework="numpy") as file:
                yield file, self._header(file.metadata(), path)
        except (SafetensorError, OSError, TypeError) as error:
            raise self._unreadable(path, error) from error

    def _unreadable(self, path: Path, error: Exception) -> DataError:
        """The error for a file that the library does not read: cut short, something else, or kept from us."""
        try:
            with path.open("rb") as file:
                head = file.read(16)
        except OSError:
            return DataError(f"not a readable safetensors file ({error})", where=path, fix=self.fix)
        other = container_by(head)
        if len(head) <= 8 or other == SAFETENSORS:
            problem, again = f"the {self.what} is cut short, or damaged", f"make it again: {self.fix}"
            return DataError(problem, where=path, reason=error, fix=again)
        problem = f"this is no {self.what}" + (f", but a file of {other}" if other else "")
        return DataError(problem, where=path, fix=f"give {self.give}")

    def _header(self, metadata: Mapping[str, str] | None, path: Path) -> dict[str, Any]:
        try:
            found = json.loads((metadata or {}).get(KEY, "null"))
        except json.JSONDecodeError:
            found = None
        header: dict[str, Any] = found if isinstance(found, dict) else {}
        kind = str(header.get("format"))
        if kind != f"clear_cli.{self.holds}":
            ours = {"holds": kind.removeprefix("clear_cli.")} if kind.startswith("clear_cli.") else {}
            problem = f"this safetensors file is no {self.what} of clear-cli"
            raise DataError(problem, where=path, **ours, fix=f"give {self.give}")
        version = header.get("format_version")
        if version != self.version:
            raise DataError(
                f"{self.holds} format {version} is not supported",
                where=path,
                supported=self.version,
                fix="upgrade clear-cli",
            )
        return header
