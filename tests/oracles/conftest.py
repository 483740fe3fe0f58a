from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.environments import Script, environment_of

PEERS = Path(__file__).parent / "peers"
Ask = Callable[..., Any]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Call a function of a peer's script with arrays, lists of arrays and plain values; the array that it answers."""

    def as_file(value: Any, name: str) -> Any:
        if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
            return [as_file(one, f"{name}-{number}") for number, one in enumerate(value)]
        if not isinstance(value, np.ndarray):
            return value
        np.save(tmp_path / f"{name}.npy", value)
        return tmp_path / f"{name}.npy"

    def ask(peer: str, function: str, **arguments: Any) -> Any:
        script = PEERS / f"scripts/{peer}.py"
        python = environment_of(PEERS / f"requirements/{peer.replace('_', '-')}.txt")
        given = {name: as_file(value, name) for name, value in arguments.items()}
        (answer,) = Script(script, python, tmp_path).call((function, given))
        return answer.embeddings

    return ask
