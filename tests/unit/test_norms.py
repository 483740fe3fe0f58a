"""Norms and ratios hold over the whole range of a type; a warning of NumPy would be an error here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clear_cli.norms import norm, ratio, row_norms, widened

SCALES = [
    *((np.float16, scale, 1e-6) for scale in (6e-8, 1.0, 1e4)),
    *((np.float32, scale, 1e-6) for scale in (1e-44, 1e-40, 1e-30, 1e-21, 1e-15, 1.0, 1e15, 1e21, 1e36)),
    *((np.float64, scale, 1e-14) for scale in (1e-322, 1e-300, 1e-160, 1e-140, 1.0, 1e140, 1e160, 1e306)),
]


@pytest.mark.parametrize(("dtype", "scale", "tolerance"), SCALES)
def test_norms_of_rows_are_right_over_the_whole_range_of_a_type(dtype: Any, scale: float, tolerance: float) -> None:
    x = (scale * np.random.default_rng(0).uniform(1, 5, size=(7, 9))).astype(dtype)
    exact = scale * np.sqrt(((x.astype(np.float64) / scale) ** 2).sum(axis=1))
    found = row_norms(x)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, exact, rtol=tolerance)
    np.testing.assert_allclose([norm(row.astype(np.float64)) for row in x], exact, rtol=tolerance)


def test_rows_of_every_size_may_lie_beside_each_other() -> None:
    x = np.array([[0, 0], [3e-30, 4e-30], [3, -4], [3e30, 4e30], [np.inf, 1], [-np.inf, 1]], np.float32)
    np.testing.assert_allclose(row_norms(x), [0, 5e-30, 5, 5e30, np.inf, np.inf], rtol=1e-6)
    assert np.isnan(row_norms(np.array([[np.nan, 1]]))).all()


@pytest.mark.parametrize("origin", [np.array([1.0, -2.0, 0.5]), np.arange(12.0).reshape(4, 3)])
def test_a_distance_is_the_norm_of_the_difference_which_is_left_in_the_scratch(origin: Any) -> None:
    x = np.random.default_rng(0).normal(size=(4, 3))
    scratch = np.empty_like(x)
    expected = np.linalg.norm(x - origin, axis=1)
    np.testing.assert_allclose(row_norms(x, origin), expected)
    np.testing.assert_allclose(row_norms(x, origin, scratch), expected)
    np.testing.assert_array_equal(scratch, x - origin)


def test_a_distance_between_rows_of_half_precision_is_not_rounded_to_it() -> None:
    x, origin = np.full((1, 4), 60_000, np.float16), np.full(4, -60_000, np.float16)
    assert row_norms(x, origin).tolist() == [240_000]


def test_only_half_precision_is_widened_and_nothing_else_is_copied() -> None:
    x = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float16)
    assert widened(x).dtype == np.float32
    np.testing.assert_array_equal(widened(x), x)
    for dtype in (np.float32, np.float64):
        wide = x.astype(dtype)
        assert widened(wide) is wide


def test_a_norm_of_nothing_is_zero_and_a_share_of_nothing_is_none() -> None:
    assert norm(np.empty((0, 3))) == norm(np.zeros((2, 3))) == 0
    assert row_norms(np.empty((0, 3))).shape == (0,)
    assert norm(np.array([1.0, -np.inf])) == np.inf
    assert ratio(1, 4) == 0.25
    assert ratio(1, 0) is None
