"""Safetensors files of ours, looked into and changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from clear_cli.errors import DataError


def header_of(path: Path) -> Any:
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["clear_cli"])


def rewritten(path: Path, *, tensors: dict[str, Any] | None = None, header: Any = None, drop: str = "") -> Path:
    """The same file with other tensors or another header."""
    old = header_of(path)
    stored = {name: tensor for name, tensor in {**load_file(path), **(tensors or {})}.items() if name != drop}
    text = json.dumps({**old, **(header or {})})
    save_file({name: np.asarray(tensor) for name, tensor in stored.items()}, path, metadata={"clear_cli": text})
    return path


def refusal(read: Callable[[Path], Any], path: Path) -> str:
    with pytest.raises(DataError) as error:
        read(path)
    return str(error.value)
