"""What every use-case begins and ends with: inputs that are open, and one directory that is published whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from clear_cli import __version__
from clear_cli.config import Input
from clear_cli.disk import fingerprint, output_error, refuse_overlap, require_free
from clear_cli.embeddings.align import Alignment, align, grouped
from clear_cli.errors import DataError, OutputError, UsageError
from clear_cli.machine import Machine
from clear_cli.parallel import background
from clear_cli.publish import Publication, is_current, others_at_work, read_manifest, recover
from clear_cli.publish_file import FilePublication
from clear_cli.publish_remote import RemotePublication, is_current_remote
from clear_cli.remote import is_remote, reachable
from clear_cli.workflow.document import SCHEMA_VERSION, plain
from clear_cli.workflow.inputs import described, open_groups, open_inputs, output_names, places_of, state_of
from clear_cli.workflow.journal import Journal, promise
from clear_cli.workflow.recorded import recorded
from clear_cli.workflow.reporting import DIAGNOSTICS, write_reports

PROJECTOR = "projector.safetensors"
ITEMS = "items.parquet"
EMBEDDINGS = "embeddings"
LIBRARIES = ("h5py", "jinja2", "matplotlib", "numpy", "pyarrow", "scipy")
"""Those that have a part in what is written."""


@dataclass(frozen=True, eq=False)
class Published:
    """What a use-case left behind.

    Attributes:
        out: The output directory; None where nothing was written.
        manifest: Its manifest.
        diagnostics: Its diagnostics.
        current: It was up to date, and nothing was done.
        beside: The file that goes with the output, if any.
    """

    out: Path | None
    manifest: dict[str, Any]
    diagnostics: dict[str, Any]
    current: bool = False
    beside: Path | None = None


class Job:
    """Inputs that are open and an output that may be written: what all use-cases begin and end with."""

    def __init__(
        self,
        command: str,
        inputs: Sequence[Input],
        out: Path | None,
        overwrite: bool,
        machine: Machine,
        *,
        others: Sequence[Path | None] = (),
        beside: FilePublication | None = None,
        resume: bool = False,
    ) -> None:
        if resume and out is not None and is_remote(out):
            raise UsageError(
                "nothing can be resumed in a store", where="--resume", fix="write to a folder, and copy that"
            )
        self._resume = resume
        self.journal: Journal | None = None
        self.command, self.overwrite, self.machine, self._beside = command, overwrite, machine, beside
        self.out, self._given = out or Path(), inputs
        self.writes_embeddings = command not in ("fit", "diagnose")
        self.names = output_names(inputs)
        given = [path for path in others if path is not None]
        read = [*given, *places_of(inputs)]
        if out is not None:
            refuse_overlap(out, read)
        if beside is not None:
            beside.refuse_overlap([self.out], other="the output directory")
            beside.refuse_overlap(read)
        self._state = {path: state_of(path) for path in given}
        with reachable(", ".join(str(one.path) for one in inputs)):
            self.sources = open_inputs(inputs, machine)
            self._state |= {path: state_of(path) for source in self.sources.values() for path in source.files()}
            if self.writes_embeddings:
                self._acquaint()
            self._group_sources = open_groups(inputs)
        self.groups = {one.modality: one.group_column for one in inputs if one.group_column is not None}

    def aligned(self, fit_items: Path | None) -> Alignment:
        """Which rows describe the same item, and which items stay together. Errors as in `align`."""
        alignment = align(self.sources, fit_items)
        for modality, groups in self._group_sources.items():
            alignment = grouped(alignment, modality, groups)
        return alignment

    def _acquaint(self) -> None:
        """Let modalities of one container know of each other: a sink that is made, and not entered, writes nothing.

        Raises:
            DataError: They cannot be written into one.
        """
        for file, names in self.containers().items():
            for name in names:
                others = [self.sources[other] for other in names if other != name]
                self.sources[name].sink(self.out / file, others)

    def containers(self) -> dict[str, list[str]]:
        """The modalities in each file or folder of the output, by its name."""
        files: dict[str, list[str]] = {}
        for modality, name in self.names.items():
            files.setdefault(name, []).append(modality)
        return files

    def unpublished(self, work: Callable[[Path | None], dict[str, Any]]) -> Published:
        """Do work that writes nothing. Raises a DataError where an input changed meanwhile, and whatever it raises."""
        with threadpool_limits(1, user_api="blas"):
            diagnostics = work(None)
        self._refuse_changed()
        return Published(None, {"command": self.command, "outputs": {}}, diagnostics)

    def publish(
        self, parameters: dict[str, Any], settings: Mapping[str, Any], work: Callable[[Path], dict[str, Any]]
    ) -> Published:
        """Do the work in a staging directory and publish it, unless the output is up to date.

        Args:
            parameters: What decides the result, besides inputs and version; `report` and `item_ids` are among them.
            settings: The options that said so, by their keys; the manifest keeps them to be used again.
            work: Writes into the directory it is given, and returns the diagnostics.

        Raises:
            OutputError: The output or the disk refuses.
            DataError: An input changed meanwhile; and whatever `work` raises.
        """
        with reachable(self.out):
            return self._publish(parameters, recorded(self._given, settings, self.out), work)

    def _refuse_other_command(self, existing: dict[str, Any]) -> None:
        """What another command has made holds what this one does not make again, such as embeddings."""
        if self.overwrite and existing.get("command") not in (None, self.command):
            raise OutputError(
                f'the output is of "{existing.get("command")}", and this is "{self.command}"',
                where=self.out,
                fix=f"--out DIR of its own for {self.command}",
            )

    def _publish(
        self, parameters: dict[str, Any], config: dict[str, Any], work: Callable[[Path], dict[str, Any]]
    ) -> Published:
        remote = is_remote(self.out)
        if not remote:
            recover(self.out)
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "version": __version__,
            "command": self.command,
            "parameters": plain(parameters),
            "config": config,
        }
        existing, overwrite = read_manifest(self.out), self.overwrite
        if existing is not None:
            self._refuse_other_command(existing)
            manifest["inputs"] = self._inputs()
            current = (is_current_remote if remote else is_current)(self.out, manifest)
            overwrite = overwrite or current  # by itself; if it is complete but for the file beside it, both are made
            if current and self._has_beside(existing):
                diagnostics = json.loads((self.out / DIAGNOSTICS).read_text(encoding="utf-8"))
                return Published(self.out, existing, diagnostics, current=True, beside=self._place_beside)
        publication: Publication | RemotePublication
        if remote:
            publication = RemotePublication(self.out, overwrite=overwrite)
        else:
            if others_at_work(self.out):
                self.machine.progress.say("another run is writing to this output, too: the first to finish wins")
            promised = partial(promise, manifest=manifest) if self._resume else None
            publication = Publication(self.out, overwrite=overwrite, resume=promised)
        with self._beside or nullcontext(), publication as staging:
            if self.writes_embeddings and not remote:
                # What an earlier run has kept is there already, or makes room.
                kept = sum(path.stat().st_size for path in staging.path.rglob("*") if path.is_file())
                needed = sum(size for *_, size, _ in self._state.values()) - kept
                require_free(self.out, max(needed, 0), what="the output")
            # Hashed while the fit reads the same bytes: the disk is asked once.
            inputs = background(self._inputs) if existing is None else lambda: manifest["inputs"]
            if self._resume and isinstance(staging, Publication):
                self.journal = self._journal(staging, manifest, inputs)
            with self.journal or nullcontext():
                return self._made(staging, manifest, inputs, work)

    def _made(
        self,
        staging: Publication | RemotePublication,
        manifest: dict[str, Any],
        inputs: Callable[[], dict[str, Any]],
        work: Callable[[Path], dict[str, Any]],
    ) -> Published:
        """What the work leaves behind, published."""
        try:
            # One thread per BLAS call, many calls at a time: the same bits for any number of threads.
            with threadpool_limits(1, user_api="blas"):
                diagnostics = work(staging.path)
            write_json(staging.path / DIAGNOSTICS, diagnostics)
            manifest["inputs"] = inputs()
            self._refuse_changed()
            manifest["versions"] = _versions()
            statuses = {name: one.get("rows_by_status") for name, one in diagnostics["modalities"].items()}
            manifest["rows_by_status"] = {name: rows for name, rows in statuses.items() if rows}
            if manifest["parameters"]["report"]:
                write_reports(staging.path, diagnostics, manifest)
        except OSError as error:
            raise output_error(error, self.out) from error
        if self._beside is None:
            return Published(self.out, staging.publish(manifest), diagnostics)
        # The file comes last: if it is missing, the manifest tells.
        manifest["moments"] = fingerprint(self._beside.path)
        published = Published(self.out, staging.publish(manifest), diagnostics, beside=self._place_beside)
        self._beside.publish()
        return published

    def _journal(self, staging: Publication, manifest: dict[str, Any], inputs: Callable[[], dict[str, Any]]) -> Journal:
        """The journal of this run. Of what an earlier one has left only embeddings are of use, if it agrees."""
        for path in staging.path.iterdir():
            if path.name != EMBEDDINGS:
                path.unlink()
        projector = staging.path / PROJECTOR

        def run() -> dict[str, Any]:
            decisive = {key: value for key, value in manifest.items() if key != "config"}  # it says where, not what
            return {
                **decisive,
                "inputs": inputs(),
                "input_times": [state[1:] for state in self._state.values()],
                "versions": _versions(),
                "memory": self.machine.memory,
                "projector": fingerprint(projector) if projector.exists() else None,
            }

        return Journal(staging.journal, staging.path / EMBEDDINGS, run, self.machine.progress)

    @property
    def _place_beside(self) -> Path | None:
        return None if self._beside is None else self._beside.target

    def _has_beside(self, manifest: dict[str, Any]) -> bool:
        """Whether the file that goes with an output, if any, is the one that was written with it."""
        target = self._place_beside
        return target is None or (target.is_file() and fingerprint(target) == manifest.get("moments"))

    def _inputs(self) -> dict[str, Any]:
        return described(self.sources, self.names)

    def _refuse_changed(self) -> None:
        for path, state in self._state.items():
            if state_of(path) != state:
                raise DataError("the input changed while it was read", where=path, fix="run again when it is complete")


def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file for machines and diffs: sorted keys, one line per entry, no NaN."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
