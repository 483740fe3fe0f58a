"""Directions of correlation are the patterns of canonical correlation analysis, and their chance level is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.covariance import OAS
from sklearn.cross_decomposition import CCA

from clear_cli.whitening import whitening
from tests.laws.planted import Floats, angle, dense_covariance, fit, planted
from tests.oracles.dense import shrunk_covariance

ITEMS = 1500
DIMS = (20, 14)
RANK = 3
NAMES = ("image", "text", "audio")


def patterns(covariance: Floats, weights: Floats) -> Floats:
    """What weights stand for in the data (Haufe et al. 2014), made orthonormal in their order."""
    return np.linalg.qr(covariance @ weights)[0]


def by_name(arrays: list[Floats]) -> dict[str, Floats]:
    return dict(zip(NAMES, arrays, strict=False))


def root(s: Floats) -> Floats:
    """The symmetric root."""
    values, vectors = np.linalg.eigh(s)
    return (vectors * np.sqrt(values)) @ vectors.T


# Shrinkage


@pytest.mark.parametrize("items", [15, 40, 400])
@pytest.mark.parametrize("offset", [0, 10])
def test_the_shrinkage_is_that_of_scikit_learn(items: int, offset: float) -> None:
    (x,) = planted(items, (20,), offset=offset)
    found = whitening(dense_covariance(x, x), cut=0, items=items)
    # Of fewer items than dimensions, as if there were no more dimensions than the rows span.
    inside = shrunk_covariance(x @ found.vectors)
    np.testing.assert_allclose(inside, np.diag(found.values), atol=1e-12)
    assert len(found.values) == min(items - 1, 20)


# Two modalities


@pytest.mark.parametrize("items", [100, 1500])
@pytest.mark.parametrize("offset", [0, 100])
def test_directions_are_those_of_the_dense_reference(items: int, offset: float) -> None:
    a, b = planted(items, DIMS, offset=offset)
    root_a, root_b = root(shrunk_covariance(a)), root(shrunk_covariance(b))
    whitened = np.linalg.solve(root_a, dense_covariance(a, b)) @ np.linalg.inv(root_b)
    u, sigma, vt = np.linalg.svd(whitened, full_matrices=False)
    fitted = fit({"image": a, "text": b}, rank=RANK, directions="correlation")
    for name, ours, left in (("image", root_a, u), ("text", root_b, vt.T)):
        projector = fitted.projectors[name]
        np.testing.assert_allclose(projector.spectrum, sigma, atol=1e-10)
        expected = patterns(ours, left[:, :RANK])
        cosines = np.abs(np.sum(projector.directions[:, :RANK] * expected, axis=0))
        np.testing.assert_allclose(cosines, 1, atol=1e-10)


@pytest.mark.parametrize("offset", [0, 100])
def test_directions_are_the_patterns_of_cca(offset: float) -> None:
    a, b = planted(20_000, (10, 8), offset=offset)
    peer = CCA(n_components=RANK, scale=False, tol=1e-10).fit(a, b)
    fitted = fit({"image": a, "text": b}, rank=RANK, directions="correlation")
    for name, x, weights in (("image", a, peer.x_rotations_), ("text", b, peer.y_rotations_)):
        directions = fitted.projectors[name].directions[:, :RANK]
        # The peer does not shrink its covariances; of so many items hardly anything is shrunk.
        assert angle(directions, patterns(dense_covariance(x, x), weights)) < 1e-3
    scores = zip(*(one.T for one in peer.transform(a, b)), strict=True)
    correlations = [np.corrcoef(x, y)[0, 1] for x, y in scores]
    np.testing.assert_allclose(fitted.projectors["image"].spectrum[:RANK], correlations, atol=1e-3)


# cca-zoo


def unit_variance(x: Floats) -> Floats:
    """In units in which the mean variance of a column is 1: the target that cca-zoo shrinks to."""
    return x / np.sqrt(np.trace(dense_covariance(x, x)) / x.shape[1])


@pytest.mark.slow
@pytest.mark.parametrize("items", [100, 1500])
def test_directions_are_the_patterns_of_cca_zoo(items: int, ask: Callable[..., Floats]) -> None:
    views = [unit_variance(x) for x in planted(items, DIMS)]
    shrinkage = [float(OAS().fit(x).shrinkage_) for x in views]
    weights = ask("cca_zoo", "weights", model="ridge", views=views, components=RANK, shrinkage=shrinkage)
    fitted = fit(by_name(views), rank=RANK, directions="correlation")
    for name, x, w in zip(NAMES, views, np.split(weights, [DIMS[0]]), strict=False):
        assert angle(fitted.projectors[name].directions[:, :RANK], patterns(shrunk_covariance(x), w)) < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("model", ["sumcor", "maxvar"])
def test_what_three_modalities_share_is_what_multiset_cca_finds(model: str, ask: Callable[..., Floats]) -> None:
    views = [unit_variance(x) for x in planted(4000, (20, 14, 10))]
    shrinkage = [float(OAS().fit(x).shrinkage_) for x in views]
    weights = ask("cca_zoo", "weights", model=model, views=views, components=RANK, shrinkage=shrinkage)
    fitted = fit(by_name(views), rank=RANK, directions="correlation")
    for name, x, w in zip(NAMES, views, np.split(weights, [20, 34]), strict=True):
        # Three ways to weigh the pairs, of one and the same signal.
        assert angle(fitted.projectors[name].directions[:, :RANK], patterns(shrunk_covariance(x), w)) < 0.02


# Chance


def largest_by_chance(p: int, q: int, items: int, quantile: float) -> float:
    """A quantile of the top canonical correlation of independent modalities.

    Johnstone 2008, "Multivariate analysis and Jacobi ensembles", theorem 1: the logit of its square follows the
    Tracy-Widom law of order 1.
    """
    total = items - 2  # m + n - 1 of the theorem, where m + n = items - 1
    gamma, phi = (2 * np.arcsin(np.sqrt((dim - 0.5) / total)) for dim in (min(p, q), max(p, q)))
    centre = 2 * np.log(np.tan((phi + gamma) / 2))
    spread = np.cbrt(16 / total**2 / (np.sin(phi + gamma) ** 2 * np.sin(phi) * np.sin(gamma)))
    tracy_widom = {0.5: -1.2686, 0.95: 0.9793}[quantile]
    return float(np.sqrt(1 / (1 + np.exp(-(centre + spread * tracy_widom)))))


def chance_level(dims: tuple[int, int], items: int, catalogues: int) -> tuple[float, float, int]:
    """Median and 95th percentile of chance, on average over independent catalogues; in how many one stood out."""
    medians, highs, outstanding = [], [], 0
    for seed in range(catalogues):
        sides = by_name(planted(items, dims, shared=0, seed=seed))
        found = fit(sides, directions="correlation", rank=1).significances["image"]
        medians.append(found.median[0])
        highs.append(found.high[0])
        outstanding += found.significant > 0
    return float(np.mean(medians)), float(np.mean(highs)), outstanding


@pytest.mark.parametrize("dims", [(12, 8), (30, 20)])
def test_the_chance_level_of_a_correlation_is_that_of_tracy_and_widom(dims: tuple[int, int]) -> None:
    items, catalogues = 3000, 12
    median, high, outstanding = chance_level(dims, items, catalogues)
    assert median == pytest.approx(largest_by_chance(*dims, items, 0.5), rel=0.03)
    assert high == pytest.approx(largest_by_chance(*dims, items, 0.95), rel=0.05)
    assert outstanding <= 3
