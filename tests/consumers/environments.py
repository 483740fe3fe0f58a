"""Which script calls a consumer, and in which environment."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.environments import Script, environment_of, unavailable

HERE = Path(__file__).parent
ENVIRONMENTS = {"pandas": "frames", "polars": "frames", "duckdb": "frames", "embedding_reader": "embedding-reader"}
"""Of a script, where it is not called like the script."""


def consumer(name: str, scratch: Path) -> Script:
    """The consumer of that name; skips the test where it cannot be had, but fails it in CI."""
    if name == "spark" and not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        unavailable("Spark needs Java, and there is none")
    environment = ENVIRONMENTS.get(name, name)
    return Script(HERE / f"scripts/{name}.py", environment_of(HERE / f"requirements/{environment}.txt"), scratch)
