"""What every use-case begins and ends with: inputs that are open, and one directory that is published whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from clear_cli import __version__
from clear_cli.config import Input, Machine
from clear_cli.embeddings import open_source
from clear_cli.embeddings.base import Source
from clear_cli.errors import DataError, UsageError
from clear_cli.publish import Publication, check_target, fingerprint, is_current, read_manifest, recover, refuse_overlap
from clear_cli.workflow.document import plain

PROJECTOR = "projector.safetensors"
DIAGNOSTICS = "diagnostics.json"
ITEMS = "items.parquet"
EMBEDDINGS = "embeddings"


@dataclass(frozen=True, eq=False)
class Published:
    """What a use-case left behind.

    Attributes:
        out: The output directory.
        manifest: Its manifest.
        diagnostics: Its diagnostics.
        current: It was up to date, and nothing was done.
    """

    out: Path
    manifest: dict[str, Any]
    diagnostics: dict[str, Any]
    current: bool = False


class Job:
    """Inputs that are open and an output that may be written: what all use-cases begin and end with."""

    def __init__(
        self,
        command: str,
        inputs: Sequence[Input],
        out: Path,
        overwrite: bool,
        machine: Machine,
        *,
        extra: Path | None = None,
    ) -> None:
        self.command, self.out, self.overwrite, self.machine = command, out, overwrite, machine
        self.names = output_names(inputs)
        refuse_overlap(out, [*(one.path for one in inputs), *([extra] if extra else [])])
        self.sources: dict[str, Source] = {
            one.modality: open_source(
                one.path,
                modality=one.modality,
                embedding_column=one.embedding_column,
                id_column=one.id_column,
                ids=one.ids,
            )
            for one in inputs
        }
        self._state = {path: _state(path) for source in self.sources.values() for path in source.files()}

    def publish(self, parameters: dict[str, Any], work: Callable[[Path], dict[str, Any]]) -> Published:
        """Do the work in a staging directory and publish it, unless the output is up to date."""
        recover(self.out)
        existing = read_manifest(self.out)
        manifest = {"command": self.command, "version": __version__, "parameters": plain(parameters)}
        if existing is not None:
            manifest["inputs"] = self._inputs()
            if is_current(self.out, manifest):
                diagnostics = json.loads((self.out / DIAGNOSTICS).read_text(encoding="utf-8"))
                return Published(self.out, existing, diagnostics, current=True)
        check_target(self.out, overwrite=self.overwrite)
        with ThreadPoolExecutor(1) as pool, Publication(self.out, overwrite=self.overwrite) as staging:
            # Hashed while the fit reads the same bytes: the disk is asked once.
            inputs = pool.submit(self._inputs) if "inputs" not in manifest else None
            diagnostics = {
                **work(staging.path),
                "tool": {"name": "clear_cli", "version": __version__},
                "notes": {name: source.notes for name, source in self.sources.items() if source.notes},
            }
            write_json(staging.path / DIAGNOSTICS, diagnostics)
            manifest["inputs"] = inputs.result() if inputs else manifest["inputs"]
            manifest["rows_by_status"] = {
                name: one["rows_by_status"]
                for name, one in diagnostics["modalities"].items()
                if "rows_by_status" in one
            }
            manifest["versions"] = _versions()
            self._refuse_changed()
            return Published(self.out, staging.publish(manifest), diagnostics)

    def _inputs(self) -> dict[str, Any]:
        """Per modality, its name in the output and the fingerprints of its files, by their own names."""
        return {
            name: {
                "name": self.names[name],
                "rows": source.rows,
                "layout": plain(source.describe()),
                "files": [{"name": path.name, **fingerprint(path)} for path in source.files()],
            }
            for name, source in self.sources.items()
        }

    def _refuse_changed(self) -> None:
        for path, state in self._state.items():
            if _state(path) != state:
                raise DataError("the input changed while it was read", where=path, fix="run again when it is complete")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file for machines and diffs: sorted keys, one line per entry, no NaN."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def output_names(inputs: Sequence[Input]) -> dict[str, str]:
    """The file name of each modality in the output; two may not have the same."""
    names: dict[str, str] = {}
    for one in inputs:
        if one.modality in names:
            raise UsageError(f'modality "{one.modality}" is given twice', where="-m")
        twin = next((other for other, name in names.items() if name == one.base_name), None)
        if twin is not None:
            suffix = f"{one.modality}_{one.base_name}"
            raise UsageError(
                f'"{twin}" and "{one.modality}" would both be written as {one.base_name}',
                fix=f"--name {one.modality}={suffix}",
            )
        names[one.modality] = one.base_name
    return names


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("h5py", "numpy", "pyarrow", "scipy")}
