"""Safetensors files of ours: each says in its metadata what it is and in which format, and another is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

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
    """

    what: str
    holds: str
    version: int
    fix: str

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
        if not path.is_file():
            raise DataError(f"no {self.what} here", where=path, fix=self.fix)
        try:
            with local_copy(path) as near, safe_open(near, framework="numpy") as file:
                yield file, self._header(file.metadata(), path)
        except (SafetensorError, OSError, TypeError) as error:
            raise DataError(f"not a readable safetensors file ({error})", where=path, fix=self.fix) from error

    def _header(self, metadata: Mapping[str, str] | None, path: Path) -> dict[str, Any]:
        try:
            header = json.loads((metadata or {}).get(KEY, "null"))
        except json.JSONDecodeError:
            header = None
        if not isinstance(header, dict) or header.get("format") != f"clear_cli.{self.holds}":
            raise DataError(f"this safetensors file is no {self.what} of clear-cli", where=path, fix=self.fix)
        version = header.get("format_version")
        if version != self.version:
            raise DataError(
                f"{self.holds} format {version} is not supported",
                where=path,
                supported=self.version,
                fix="upgrade clear-cli",
            )
        return header
