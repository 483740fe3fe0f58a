"""The environment of the peers, and what is measured of them. What they do is in peer.py."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from measuring import RANK, ROOT, WORK, Contender, Failed, benchmark, clear

REQUIREMENTS = ROOT / "benchmarks" / "peers.txt"
LIMIT = 900.0
"""Seconds after which a peer is given up."""

PEERS = {
    "plssvd": "scikit-learn PLSSVD",
    "cca-zoo": "cca-zoo PLS",
    "xeofs": "xeofs MCA",
    "concept-erasure": "concept-erasure LEACE",
}


def environment() -> Path:
    """The interpreter of an environment with `peers.txt`, built on first use and when that file changes.

    What cannot be installed is left out: the peer that needs it will fail, and is reported as failed.
    """
    folder = WORK / "peers"
    python, done = folder / "bin" / "python", folder / "installed.txt"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(REQUIREMENTS)]
    for line in (line for line in wanted.splitlines() if line and not line.startswith("#")):
        print(f"installing {line}", file=sys.stderr)
        subprocess.run([*pip, line], stdout=sys.stderr, check=False)
    done.write_text(wanted, encoding="utf-8")
    return python


def contenders(files: Iterable[Path], folder: Path) -> tuple[dict[str, Contender], dict[str, str]]:
    """The peers that get through the job, and what is wrong with the others."""
    python = environment()
    able, unable = {}, {}
    for peer, title in PEERS.items():
        out = folder / f"out-{peer}"
        one = Contender(
            [benchmark("peer.py", peer, *files, out / "run", "--rank", RANK, python=python)], out, limit=LIMIT
        )
        try:
            one.run()
        except Failed as failed:
            unable[title] = str(failed).strip().splitlines()[-1]
            clear(out)
        else:
            able[title] = one
    return able, unable
