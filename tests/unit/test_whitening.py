"""Whitening inverts a covariance where it holds information, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.covariance import OAS
from sklearn.covariance import oas as oas_of_sklearn

from clear_cli.whitening import oas, of_eigenpairs, rounding, whitening
from tests.laws.planted import Floats, orthonormal


def covariance(values: Any, seed: int = 0) -> tuple[Floats, Floats]:
    """A covariance with these eigenvalues, and its eigenvectors in that order."""
    vectors = orthonormal(len(values), len(values), np.random.default_rng(seed))
    return (vectors * values) @ vectors.T, vectors


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_a_covariance_becomes_the_identity(scale: float) -> None:
    s, _ = covariance(scale * np.array([5.0, 2.0, 1.0, 0.5]))
    found = whitening(s, cut=0.0)
    np.testing.assert_allclose(found.whitener.T @ s @ found.whitener, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(found.root @ found.root.T, s, atol=1e-12 * scale)
    np.testing.assert_allclose(s @ found.whitener, found.root, atol=1e-12 * np.sqrt(scale))
    u = np.random.default_rng(1).normal(size=(4, 2))
    np.testing.assert_allclose(s @ found.solve(u), u, atol=1e-10)


def test_a_cut_is_relative_to_the_largest_eigenvalue_and_what_is_below_is_not_inverted() -> None:
    s, vectors = covariance(1e6 * np.array([4.0, 1.0, 1e-5, 1e-33, 0.0]))
    for cut, kept in ((1e-3, 2), (1e-7, 3), (0.0, 3), (0.5, 1)):
        found = whitening(s, cut=cut)
        assert found.values.shape == (kept,)
        assert found.vectors.shape == (5, kept)
        span = vectors[:, :kept]
        np.testing.assert_allclose(found.vectors @ found.vectors.T, span @ span.T, atol=1e-9)
    # An eigenvalue at the cut is left out, too.
    assert of_eigenpairs(np.array([1.0, 2.0, 4.0]), np.eye(3), cut=0.5).values.tolist() == [4]


def test_rounding_is_a_cut_whatever_is_asked_for() -> None:
    eps = float(np.finfo(np.float64).eps)
    values = np.array([2.9, 3.1, 1e9]) * eps * np.array([1, 1, 1e-9 / eps])
    assert of_eigenpairs(values, np.eye(3), cut=0.0).values.tolist() == values[1:].tolist()


@pytest.mark.parametrize("items", [None, 10])
def test_nothing_is_left_of_a_constant_modality(items: int | None) -> None:
    for values in (np.zeros(3), np.array([-1e-20, -1e-21, 0.0]), np.full(3, -1e-20)):
        found = of_eigenpairs(values, np.eye(3), cut=0.0, items=items)
        assert found.vectors.shape == (3, 0)
        assert found.solve(np.ones((3, 2))).tolist() == np.zeros((3, 2)).tolist()


@pytest.mark.parametrize(("items", "dim"), [(5, 8), (12, 8), (1000, 8), (40, 1)])
def test_shrinkage_is_that_of_scikit_learn(items: int, dim: int) -> None:
    x = np.random.default_rng(items).normal(size=(items, dim)) * np.linspace(1, 6, dim)
    x -= x.mean(axis=0)
    s = x.T @ x / items
    expected = OAS(assume_centered=True).fit(x).covariance_
    np.testing.assert_allclose(oas(s, items), expected, rtol=1e-10, atol=1e-12)
    assert oas_of_sklearn(x, assume_centered=True)[1] <= 1
    if items > dim:
        shrunk = whitening(s, cut=0.0, items=items)
        np.testing.assert_allclose(shrunk.root @ shrunk.root.T, expected, rtol=1e-10, atol=1e-12)


def test_shrinkage_knows_no_scale_and_leaves_columns_that_are_constant_alone() -> None:
    s, _ = covariance([5.0, 2.0, 1.0])
    np.testing.assert_allclose(oas(1e-8 * s, 20), 1e-8 * oas(s, 20), rtol=1e-12)
    padded = np.zeros((5, 5))
    padded[:3, :3] = s
    shrunk = whitening(padded, cut=0.0, items=20)
    np.testing.assert_allclose((shrunk.root @ shrunk.root.T)[:3, :3], oas(s, 20), rtol=1e-10)


def test_what_cannot_be_shrunk_is_left_alone() -> None:
    assert oas(np.zeros((2, 2)), 5).tolist() == np.zeros((2, 2)).tolist()
    np.testing.assert_allclose(oas(np.eye(3), 5), np.eye(3))  # all variances are equal already
    s = np.diag([2.0, 1.0])
    np.testing.assert_allclose(oas(s, 5), 1.5 * np.eye(2))  # so few items tell nothing apart
    assert s.tolist() == [[2, 0], [0, 1]]


def test_the_cut_of_products_is_that_of_the_type_they_are_multiplied_in() -> None:
    eps = {name: float(np.finfo(name).eps) for name in ("float32", "float64")}
    assert rounding(np.dtype(np.float16)) == rounding(np.dtype(np.float32)) == eps["float32"]
    assert rounding(np.dtype(np.float64)) == eps["float64"]
