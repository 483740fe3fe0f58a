"""The plain script with the fit of a peer in its place. Run by speed.py, in an environment that has the peer.

Usage: python benchmarks/peer.py NAME image.parquet text.parquet OUT [--rank 16]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from script import Matrix, project, read, shared_directions, write

Clean = Callable[[Matrix, Matrix, int], tuple[Matrix, Matrix]]
"""Both matrices, in the same order, without what they share; the inputs may be overwritten."""


def plssvd(a: Matrix, b: Matrix, rank: int) -> tuple[Matrix, Matrix]:
    """scikit-learn: singular vectors of the cross-covariance."""
    from sklearn.cross_decomposition import PLSSVD

    fit = PLSSVD(rank, scale=False).fit(a, b)
    return _projected(a, b, fit.x_weights_, fit.y_weights_)


def cca_zoo(a: Matrix, b: Matrix, rank: int) -> tuple[Matrix, Matrix]:
    """cca-zoo: its PLS of two views."""
    from cca_zoo.linear import PLS

    return _projected(a, b, *PLS(rank).fit([a, b]).weights_)


def xeofs(a: Matrix, b: Matrix, rank: int) -> tuple[Matrix, Matrix]:
    """xeofs: maximum covariance analysis, without its PCA in front, which takes longer and is inexact."""
    from xarray import DataArray
    from xeofs.cross import MCA

    both = [
        DataArray(x, {"item": np.arange(len(x)), name: np.arange(x.shape[1])}, ("item", name))
        for name, x in (("image", a), ("text", b))
    ]
    u, v = MCA(n_modes=rank, use_pca=False).fit(*both, dim="item").components()
    return _projected(a, b, u.to_numpy().T, v.to_numpy().T)


def concept_erasure(a: Matrix, b: Matrix, rank: int) -> tuple[Matrix, Matrix]:
    """concept-erasure: LEACE of the shared scores of the other modality, from the SVD of the script."""
    import torch
    from concept_erasure import LeaceEraser

    u, v = shared_directions(a, b, rank)
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    scores_x, scores_y = torch.from_numpy(a @ u), torch.from_numpy(b @ v)
    clean_x = LeaceEraser.fit(x, scores_y)(x).numpy()
    return clean_x, LeaceEraser.fit(y, scores_x)(y).numpy()


PEERS: dict[str, Clean] = {
    "plssvd": plssvd,
    "cca-zoo": cca_zoo,
    "xeofs": xeofs,
    "concept-erasure": concept_erasure,
}


def _projected(a: Matrix, b: Matrix, u: Matrix, v: Matrix) -> tuple[Matrix, Matrix]:
    project(a, np.asarray(u, np.float32))
    project(b, np.asarray(v, np.float32))
    return a, b


def main() -> None:
    """Read both, let the peer clean both, write both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("image", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rank", type=int, default=16)
    given = parser.parse_args()
    image, a = read(given.image)
    text, b = read(given.text)
    a, b = PEERS[given.peer](a, b, given.rank)
    given.out.mkdir(parents=True)
    write(given.out / given.image.name, image, a)
    write(given.out / given.text.name, text, b)


if __name__ == "__main__":
    main()
