"""Modalities that share known directions, and how the tests fit and compare them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clear_cli.config import FitOptions
from clear_cli.embeddings.align import align
from clear_cli.embeddings.arrays import ArrayRows
from clear_cli.machine import Machine
from clear_cli.moments import CrossMoments
from clear_cli.shared import BUCKETS, Shared
from clear_cli.values import PerModality, read_rank, read_strength
from clear_cli.workflow.evidence import FOLDS
from clear_cli.workflow.fitting import Fitted, fit_rows

Floats = npt.NDArray[Any]
Hashes = npt.NDArray[np.uint64]

STRENGTHS = np.array([1.0, 0.8, 0.6, 0.45])
"""Standard deviations of the shared signal: the cross-covariance then has clear gaps after each of them."""


def orthonormal(dim: int, columns: int, rng: np.random.Generator) -> Floats:
    """(dim, columns) random orthonormal columns."""
    return np.linalg.qr(rng.normal(size=(dim, columns)))[0]


def planted(
    rows: int = 400,
    dims: tuple[int, ...] = (12, 8),
    *,
    shared: int = 3,
    noise: float = 0.3,
    seed: int = 0,
    dtype: Any = np.float64,
    offset: float = 0.0,
    scale: float = 1.0,
) -> list[Floats]:
    """One array (rows, d) per modality: the same signal in `shared` directions of each, and noise of its own."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(rows, shared)) * STRENGTHS[:shared]
    return [
        (scale * (signal @ orthonormal(dim, shared, rng).T + noise * rng.normal(size=(rows, dim)) + offset)).astype(
            dtype
        )
        for dim in dims
    ]


def fit(
    modalities: Mapping[str, Any],
    *,
    ids: Mapping[str, Any] | None = None,
    rank: Any = "auto",
    strength: Any = 1.0,
    threads: int = 1,
    tmp_dir: Path | None = None,
    keep: Any = None,
    **options: Any,
) -> Fitted:
    """Fit arrays, as `clear_cli.fit` does, with everything that was found."""
    sources = {name: ArrayRows(x, modality=name, ids=(ids or {}).get(name)) for name, x in modalities.items()}
    fit_items = options.get("fit_items")
    parameters = FitOptions(
        rank=PerModality.of(rank, read_rank, read_rank("auto"), sources, "rank"),
        strength=PerModality.of(strength, read_strength, 1.0, sources, "strength"),
        **options,
    )
    machine = Machine(threads=threads) if tmp_dir is None else Machine(threads=threads, tmp_dir=tmp_dir)
    return fit_rows(sources, align(sources, fit_items), parameters, machine, keep=keep)


def accumulated(a: Floats, b: Floats, hashes: Hashes, *, batch: int | None = None) -> CrossMoments:
    """Moments of the rows of a and b, added `batch` items at a time."""
    moments = CrossMoments(a.shape[1], b.shape[1])
    for start in range(0, len(a), batch or max(len(a), 1)):
        rows = slice(start, start + (batch or len(a)))
        moments.update(a[rows], b[rows], hashes[rows])
    return moments


def random_hashes(rows: int, seed: int) -> Hashes:
    """(rows,) hashes without contents."""
    return np.random.default_rng(seed).integers(0, 2**64, rows, dtype=np.uint64)


def dense_covariance(a: Floats, b: Floats) -> Floats:
    """(A - mu_A)^T (B - mu_B) / (n - 1), all at once and in float64."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a - a.mean(axis=0)).T @ (b - b.mean(axis=0)) / (len(a) - 1)


def dense_directions(a: Floats, b: Floats) -> tuple[Floats, Floats, Floats]:
    """U, sigma, V of the dense cross-covariance."""
    u, sigma, vt = np.linalg.svd(dense_covariance(a, b), full_matrices=False)
    return u, sigma, vt.T


def angle(u: Floats, w: Floats) -> float:
    """Sine of the largest angle between the spaces spanned by two sets of orthonormal columns."""
    return float(np.linalg.norm(u @ u.T - w @ w.T, 2))


def relative_error(x: Floats, reference: Floats) -> float:
    """||x - reference||_F / ||reference||_F; 0 where both are zero."""
    size = float(np.linalg.norm(reference))
    return float(np.linalg.norm(x - reference)) / size if size else float(np.linalg.norm(x))


def others_mean(x: Floats, inside: Floats) -> Floats:
    """The mean of the items that are not in a bucket; for a bucket of more than half, as far beyond that of all."""
    outside = np.mean(x[~inside], axis=0) if not inside.all() else x.mean(axis=0)
    if 2 * inside.sum() <= len(x):
        return outside
    return 2 * x.mean(axis=0) - x[inside].mean(axis=0)


def dense_signed_sums(a: Floats, b: Floats, buckets: Floats, signs: Floats) -> Floats:
    """(S, d_a, d_b) sums of products of rows, with signs (S, B): each bucket about the mean of all others."""
    sums = np.zeros((len(signs), a.shape[1], b.shape[1]))
    for bucket in np.unique(buckets):
        inside = buckets == bucket
        products = (a[inside] - others_mean(a, inside)).T @ (b[inside] - others_mean(b, inside))
        sums += signs[:, bucket, None, None] * products
    return sums


def shared(a: Floats, b: Floats) -> Shared:
    """What two modalities share, with their rows dealt out to the buckets in turn."""
    return Shared(a, b, (np.arange(len(a)) % BUCKETS).astype(np.uint8), FOLDS)
