"""The subspace of two modalities is that of scikit-learn's PLSSVD, and of ten lines of dense NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSSVD

from clear_cli.embeddings import arrays
from clear_cli.moments import CrossMoments
from tests.laws.planted import Floats, angle, dense_directions, fit, planted

ITEMS = 1500
DIMS = (20, 14)
RANK = 3


def tolerance(dtype: Any) -> float:
    """Of an angle, for the type that products are formed in."""
    return 1e-9 if dtype == np.float64 else 2e-6


@pytest.fixture(params=[1 << 12, 1 << 20], ids=lambda size: f"chunks of {size}")
def _batch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "CHUNK_BYTES", request.param)


def assert_same_subspaces(a: Floats, b: Floats, dtype: Any) -> None:
    """The fit is the dense one: directions, sides that belong together, spectrum and means."""
    fitted = fit({"image": a, "text": b}, rank=RANK)
    u, sigma, v = dense_directions(a, b)
    image, text = fitted.projectors["image"], fitted.projectors["text"]
    assert angle(image.directions[:, :RANK], u[:, :RANK]) < tolerance(dtype)
    assert angle(text.directions[:, :RANK], v[:, :RANK]) < tolerance(dtype)
    for j in range(RANK):
        sign = np.sign(u[:, j] @ image.directions[:, j])
        np.testing.assert_allclose(image.directions[:, j], sign * u[:, j], atol=10 * tolerance(dtype))
        np.testing.assert_allclose(text.directions[:, j], sign * v[:, j], atol=10 * tolerance(dtype))
    np.testing.assert_allclose(image.spectrum, sigma, atol=float(sigma[0]) * tolerance(dtype))
    np.testing.assert_array_equal(image.spectrum, text.spectrum)
    for projector, x in ((image, a), (text, b)):
        x64 = x.astype(np.float64)
        spread = float(x64.std())
        np.testing.assert_allclose(projector.mean, x64.mean(axis=0), rtol=1e-12, atol=tolerance(dtype) * spread)


@pytest.mark.usefixtures("_batch")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("offset", [0, 1, 100, 1000])
def test_directions_are_those_of_the_dense_reference_at_any_offset(dtype: Any, offset: float) -> None:
    a, b = planted(ITEMS, DIMS, dtype=dtype, offset=offset)
    assert_same_subspaces(a, b, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e-7, 1e-3, 1e3, 1e7, 1e20, 1e30])
@pytest.mark.parametrize("offset", [0, 100])
def test_directions_are_those_of_the_dense_reference_at_any_scale(dtype: Any, scale: float, offset: float) -> None:
    a, b = planted(ITEMS, DIMS, dtype=dtype, offset=offset, scale=scale)
    assert_same_subspaces(a, b, dtype)
    assert_same_subspaces(a, planted(ITEMS, DIMS, dtype=dtype)[1], dtype)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_directions_of_half_precision_are_those_of_the_values_as_stored(scale: float) -> None:
    a, b = planted(ITEMS, DIMS, dtype=np.float16, scale=scale)
    assert_same_subspaces(a, b, np.float16)


def test_modalities_may_have_different_types() -> None:
    a, b = planted(ITEMS, DIMS, offset=10)
    assert_same_subspaces(a.astype(np.float16), b, np.float64)
    assert_same_subspaces(a, b.astype(np.float32), np.float64)


@pytest.mark.usefixtures("_batch")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0, 1000])
def test_directions_are_the_weights_of_plssvd(dtype: Any, offset: float) -> None:
    a, b = planted(ITEMS, DIMS, dtype=dtype, offset=offset)
    peer = PLSSVD(n_components=RANK, scale=False).fit(a.astype(np.float64), b.astype(np.float64))
    fitted = fit({"image": a, "text": b}, rank=RANK)
    for name, weights in (("image", peer.x_weights_), ("text", peer.y_weights_)):
        directions = fitted.projectors[name].directions[:, :RANK]
        assert angle(directions, weights) < tolerance(dtype)
        cosines = np.abs(np.sum(directions * weights, axis=0))
        np.testing.assert_allclose(cosines, 1, atol=10 * tolerance(dtype))


@pytest.mark.parametrize("order", [("image", "text"), ("text", "image")])
def test_which_modality_comes_first_does_not_matter(order: tuple[str, str]) -> None:
    sides = dict(zip(("image", "text"), planted(ITEMS, DIMS), strict=True))
    plain = fit(sides, rank=RANK)
    turned = fit({name: sides[name] for name in order}, rank=RANK)
    for name, projector in plain.projectors.items():
        assert angle(projector.directions[:, :RANK], turned.projectors[name].directions[:, :RANK]) < 1e-10


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_the_output_is_that_of_the_dense_projection(dtype: Any, scale: float, strength: float) -> None:
    a, b = planted(ITEMS, DIMS, dtype=dtype, offset=1000, scale=scale)
    fitted = fit({"image": a, "text": b}, rank=RANK, strength=strength)
    for name, x, directions in zip(("image", "text"), (a, b), dense_directions(a, b)[::2], strict=True):
        u = directions[:, :RANK]
        expected = x.astype(np.float64) @ (np.eye(len(u)) - strength * u @ u.T)
        y = fitted.projectors[name].transform(x)
        # A value of 1000 is stored to 6e-5 in float32: that is the unit of what can be asked of the output.
        np.testing.assert_allclose(y, expected, atol=2e3 * scale * float(np.finfo(dtype).eps))
        if dtype == np.float32:
            # What is left of the shared signal is what rounding of the output leaves, and no more.
            left = (y.astype(np.float64) - y.mean(axis=0, dtype=np.float64)) @ u
            before = (x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)) @ u
            assert np.linalg.norm(left) == pytest.approx((1 - strength) * np.linalg.norm(before), rel=1e-3, abs=scale)
            assert strength < 1 or np.linalg.norm(left) < 1e-4 * np.linalg.norm(before)


@pytest.mark.parametrize(("offset", "error_of_one_pass"), [(10, 1e-5), (100, 1e-3)])
def test_a_column_offset_does_not_turn_float32_directions(offset: float, error_of_one_pass: float) -> None:
    a, b = planted(20_000, DIMS, dtype=np.float32, offset=offset)
    u = dense_directions(a, b)[0][:, :RANK]
    naive = a.T @ b / np.float32(len(a)) - np.outer(a.mean(axis=0), b.mean(axis=0))
    assert angle(np.linalg.svd(naive)[0][:, :RANK], u) > error_of_one_pass
    fitted = fit({"image": a, "text": b}, rank=RANK)
    assert angle(fitted.projectors["image"].directions[:, :RANK], u) < 2e-6


def test_moments_of_many_items_are_as_precise_as_those_of_few() -> None:
    a, b = planted(60_000, (6, 5), dtype=np.float32, offset=30)
    fitted = fit({"image": a, "text": b})
    moments = fitted.moments["image", "text"]
    a64, b64 = (x.astype(np.float64) - x.mean(axis=0, dtype=np.float64) for x in (a, b))
    expected = a64.T @ b64 / (len(a) - 1)
    assert isinstance(moments, CrossMoments)
    assert np.abs(moments.cross_covariance() - expected).max() < 1e-7
    assert moments.total_variance(0) == pytest.approx(a64.var(axis=0, ddof=1).sum(), rel=1e-6)
