"""The configuration of an output, as its manifest keeps it and `--config manifest.json` reads it back.

Paths start from the output directory, so that equal work gives equal manifests wherever it is done. From an output
behind a URI no path leads to a file on this machine: such a path is left out, and has to be given again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clear_cli.config import DETAILS, Input
from clear_cli.rank import RankRule
from clear_cli.remote import is_remote
from clear_cli.values import PerModality

Record = dict[str, Any]


def recorded(inputs: Sequence[Input], settings: Mapping[str, Any], out: Path) -> Record:
    """All that decides the result, in the form of a file of options; what is None has its default."""
    modalities: dict[str, Record] = {
        one.modality: {key: getattr(one, key) for key in ("path", *DETAILS)} for one in inputs
    }
    plain: Record = {}
    for key, value in settings.items():
        if isinstance(value, PerModality):
            for name, own in modalities.items():
                own[key] = value[name]
        else:
            plain[key] = value
    return {**_told(plain, out), "modalities": {name: _told(own, out) for name, own in modalities.items()}}


def _told(values: Record, out: Path) -> Record:
    written = {key: _written(value, out) for key, value in values.items() if value is not None}
    return {key: value for key, value in written.items() if value is not None}


def _written(value: Any, out: Path) -> Any:
    if isinstance(value, RankRule):
        return value.text if value.count is None else value.count
    if isinstance(value, (str, int, float)):
        return value
    if is_remote(value):
        uri = urlsplit(str(value))
        # What signs or unlocks an address is nobody else's business.
        return None if uri.password or uri.query else str(value)
    return None if is_remote(out) else os.path.relpath(_settled(value), _settled(out))


def _settled(path: Path) -> Path:
    """The absolute path, with symbolic links followed in the parents only: a link keeps its name."""
    return Path(os.path.realpath(path.parent), path.name)
