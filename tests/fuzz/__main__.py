"""Share numbered inputs out to workers, and outlive those that crash or hang: `python -m tests.fuzz`."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from clear_cli.errors import DataError

BATCH = 1000
SILENCE = 60
"""Seconds after which a worker that is still at the same input hangs where Python cannot stop it."""

GAVE_UP = "error: HDF5 has not come back from these rows"
"""What a command says whose process has to end with it."""

Finding = dict[str, Any]


def main() -> None:
    """Parse the command line, run, print what was found; exit code 1 if that is anything."""
    parser = argparse.ArgumentParser(description="Run commands on damaged inputs.")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input; an input is its number")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    started, findings = time.monotonic(), 0
    with ThreadPoolExecutor(given.workers) as pool:
        last = given.first + given.inputs
        for found in pool.map(lambda first: [*run(first, min(first + BATCH, last))], range(given.first, last, BATCH)):
            for one in found:
                findings += 1
                sys.stdout.write(json.dumps(one) + "\n")
                sys.stdout.flush()
    took = time.monotonic() - started
    sys.stdout.write(f"{given.inputs:,} inputs, {findings} findings, {took:,.0f} s\n")
    sys.exit(bool(findings))


def run(first: int, last: int) -> Iterator[Finding]:
    """What is found in inputs first, ... last - 1."""
    while first < last:
        with tempfile.TemporaryDirectory() as name:
            current = Path(name) / "current"
            command = [sys.executable, "-m", "tests.fuzz.worker", str(current), str(first), str(last)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
                problem = _watch(worker, current)
                out, err = worker.communicate()
            yield from map(json.loads, out.splitlines())
            if problem is None and worker.returncode == 0:
                return
            at = int(current.read_text() or first) if current.exists() else first
            if problem is not None or worker.returncode != DataError.exit_code or GAVE_UP not in err:
                problem = problem or f"the interpreter ended with {worker.returncode}: {err[-2000:]}"
                yield {"number": at, "problem": problem}
            first = at + 1


def _watch(worker: subprocess.Popen[str], current: Path) -> str | None:
    """Wait for a worker; kill it when it hangs, and say so."""
    at, since = "", time.monotonic()
    while True:
        try:
            worker.wait(timeout=1)
            return None
        except subprocess.TimeoutExpired:
            now = current.read_text() if current.exists() else ""
            if now != at:
                at, since = now, time.monotonic()
            elif time.monotonic() - since > SILENCE:
                worker.send_signal(signal.SIGKILL)
                return f"nothing happened for {SILENCE} s"


if __name__ == "__main__":
    main()
