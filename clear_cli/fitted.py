"""A fit as the Python API hands it out: projectors, and what was found on the way; kept in a file and read from one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clear_cli import __version__
from clear_cli.artifact import read_artifact, write_artifact
from clear_cli.disk import output_error
from clear_cli.projector import Projector
from clear_cli.remote import place, reachable
from clear_cli.workflow.published import read_diagnostics
from clear_cli.workflow.reporting import DIAGNOSTICS

PathLike = str | Path


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """Projectors by modality, and what was found on the way.

    Attributes:
        projectors: One per modality.
        diagnostics: As in `diagnostics.json`; empty where a projector was loaded alone.
    """

    projectors: dict[str, Projector]
    diagnostics: dict[str, Any]

    def __repr__(self) -> str:
        parts = (f"{name}: rank {one.rank} of {one.dim}" for name, one in self.projectors.items())
        return f"Fit({', '.join(parts)})"

    def save(self, path: PathLike) -> None:
        """Write the projectors as one safetensors file.

        Raises:
            OutputError: The disk refuses.
        """
        try:
            write_artifact(Path(path), self.projectors, {"version": __version__})
        except OSError as error:
            raise output_error(error, path) from error


def load(path: PathLike) -> Fit:
    """Projectors from a safetensors file, or with their diagnostics from an output directory.

    Raises:
        DataError: Not there, not ours, damaged, or of a later format.
    """
    where = place(path)
    projectors = read_artifact(where).projectors
    with reachable(where):
        beside = (where / DIAGNOSTICS).is_file()
    return Fit(projectors, read_diagnostics(where / DIAGNOSTICS) if beside else {})  # a projector alone has none
