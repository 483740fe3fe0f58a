"""LEACE of concept-erasure: erase from rows what is linear in the shared scores of the others. Run by rivals.py.

Usage: python benchmarks/leace.py IN.npz OUT.npy; IN has x (n, d), y (n, q), rank, and fresh (m, d) to be cleaned.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from concept_erasure import LeaceEraser


def main() -> None:
    """Learn on x and y, clean the fresh rows, write them."""
    given, out = sys.argv[1:]
    with np.load(given) as file:
        x, y, rank, fresh = (file[name] for name in ("x", "y", "rank", "fresh"))
    c = (x - x.mean(axis=0)).T @ (y - y.mean(axis=0))
    scores = y @ np.linalg.svd(c, full_matrices=False)[2][:rank].T
    # LEACE drops what is below an absolute tolerance: of scores of variance 1 that is next to nothing.
    scores = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    eraser = LeaceEraser.fit(torch.from_numpy(x), torch.from_numpy(scores))
    np.save(out, eraser(torch.from_numpy(fresh)).numpy())


if __name__ == "__main__":
    main()
