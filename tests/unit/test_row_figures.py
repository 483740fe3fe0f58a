"""What projection did to each row, and to a modality as a whole."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from clear_cli.diagnostics import heatmap, leftover, scale_ratio, scatter
from clear_cli.impact import Impact, row_figures
from clear_cli.projector import Projector
from tests.laws.planted import Floats, accumulated, dense_covariance, fit, orthonormal, planted, random_hashes

TYPES = [np.float16, np.float32, np.float64]


def fitted_image(dtype: Any, offset: float = 0.0, strength: float = 1.0) -> tuple[Projector, Floats]:
    a, b = planted(400, (12, 8), dtype=dtype, offset=offset)
    return fit({"image": a, "text": b}, rank=3, strength=strength).projectors["image"], a


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("offset", [0, 10, 100])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_figures_are_those_of_the_values_as_written(dtype: Any, offset: float, strength: float) -> None:
    projector, x = fitted_image(dtype, offset, strength)
    y = projector.transform(x)
    figures = row_figures(projector, x, y)
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    energy = np.sum((x64 - projector.mean) ** 2, axis=1)
    left = np.sum((y64 - projector.projected_mean) ** 2, axis=1)
    tolerance = 1e-9 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(figures["energy"], energy, rtol=tolerance)
    np.testing.assert_allclose(figures["removed"], np.clip(1 - left / energy, 0, 1), atol=tolerance)
    np.testing.assert_allclose(figures["norm_before"], np.linalg.norm(x64, axis=1), rtol=1e-6)
    np.testing.assert_allclose(figures["norm_after"], np.linalg.norm(y64, axis=1), rtol=1e-6)
    np.testing.assert_allclose(figures["moved"], np.linalg.norm(y64 - x64, axis=1), rtol=1e-6)


def test_a_row_on_the_mean_loses_nothing() -> None:
    projector, _ = fitted_image(np.float64)
    x = projector.mean[None]
    assert row_figures(projector, x, projector.transform(x))["removed"].tolist() == [0]


def test_a_row_on_the_mean_loses_nothing_whatever_it_is_rounded_to() -> None:
    mean = np.array([1.0, 2.0, -3.0, 0.5])
    u = orthonormal(4, 2, np.random.default_rng(0))
    projector = Projector("image", mean=mean, directions=u, spectrum=np.ones(2), rank=2)
    x = mean[None].astype(np.float16)
    figures = row_figures(projector, x, projector.transform(x))
    assert (figures["energy"].tolist(), figures["removed"].tolist()) == ([0], [0])


def test_an_orthogonal_removal_takes_energy_and_an_oblique_one_may_add_some() -> None:
    rng = np.random.default_rng(0)
    u = orthonormal(6, 2, rng)
    x = rng.normal(size=(200, 6)).astype(np.float16)
    x[:100] -= ((x[:100] @ u) @ u.T).astype(np.float16)  # rounding is all that a removal changes
    for weights in (np.empty((0, 0)), u + rng.normal(size=(6, 2))):
        one = Projector("image", mean=np.zeros(6), directions=u, spectrum=np.ones(2), rank=2, weights=weights)
        y = one.transform(x)
        found = row_figures(one, x, y)["removed"]
        expected = 1 - (y.astype(np.float64) ** 2).sum(axis=1) / (x.astype(np.float64) ** 2).sum(axis=1)
        assert expected.min() < 0
        np.testing.assert_allclose(found, expected if weights.size else np.maximum(expected, 0), atol=1e-5)
        assert weights.size or found.min() == 0


def test_a_row_of_shared_signal_alone_loses_everything() -> None:
    projector, _ = fitted_image(np.float64)
    x = projector.mean[None] + 2 * projector.directions[:, 0]
    assert row_figures(projector, x, projector.transform(x))["removed"] == pytest.approx(1)


def test_no_removal_is_reported_as_none() -> None:
    projector, x = fitted_image(np.float16, offset=100)
    kept = projector.limited(strength=0.0)
    figures = row_figures(kept, x, kept.transform(x))
    assert not figures["removed"].any()
    assert not figures["moved"].any()


def test_the_impact_on_a_modality_is_the_sum_over_its_rows() -> None:
    projector, x = fitted_image(np.float64, offset=2)
    y = projector.transform(x)
    whole, parts = Impact(12), Impact(12)
    whole.add(x, y, row_figures(projector, x, y))
    for rows in (slice(0, 7), slice(7, 300), slice(300, 300), slice(300, None)):
        parts.add(x[rows], y[rows], row_figures(projector, x[rows], y[rows]))
    figures, other = whole.figures(), parts.figures()
    assert figures["histograms"] == other["histograms"]
    for key in ("variance_kept", "mean_squared_distortion", "row_norm_mean", "mean_norm_ratio"):
        assert figures[key] == pytest.approx(other[key], rel=1e-12)
    centred, left = x - projector.mean, y - projector.projected_mean
    assert figures["variance_kept"] == pytest.approx(np.sum(left**2) / np.sum(centred**2), rel=1e-9)
    assert figures["mean_squared_distortion"] == pytest.approx(np.mean(np.sum((x - y) ** 2, axis=1)), rel=1e-9)
    for side, rows in (("before", x), ("after", y)):
        norms = np.linalg.norm(rows, axis=1)
        assert figures["row_norm_mean"][side] == pytest.approx(norms.mean())
        mean = np.linalg.norm(rows.mean(axis=0))
        assert figures["mean_norm_ratio"][side] == pytest.approx(mean / norms.mean())
        histogram = figures["histograms"]["row_norm"]
        counted = np.histogram(norms, bins=np.array(histogram["edges"]))[0]
        assert histogram[side] == counted.tolist()
        assert sum(histogram[side]) == 400
    removed, edges = np.histogram(row_figures(projector, x, y)["removed"], bins=20, range=(0, 1))
    assert all(isinstance(one, int) for one in figures["histograms"]["removed"]["rows"])
    assert figures["histograms"]["removed"] == {"edges": pytest.approx(edges), "rows": removed.tolist()}


def test_rows_of_any_size_are_counted_and_one_of_zeros_has_no_size() -> None:
    projector, x = fitted_image(np.float64)
    x = 1e-6 * x[:30]
    y = np.vstack([x[:29] * 1e9, np.zeros((1, 12))])
    impact = Impact(12)
    impact.add(x, y, row_figures(projector, x, y))
    histogram = impact.figures()["histograms"]["row_norm"]
    edges = np.array(histogram["edges"])
    np.testing.assert_allclose(np.log2(edges[1:] / edges[:-1]), 1 / 8)
    for side, rows in (("before", x), ("after", y)):
        assert histogram[side] == np.histogram(np.linalg.norm(rows, axis=1), bins=edges)[0].tolist()
    assert (sum(histogram["before"]), sum(histogram["after"])) == (30, 29)


def test_the_impact_on_one_row_is_what_happened_to_it() -> None:
    projector, x = fitted_image(np.float64)
    impact = Impact(12)
    impact.add(x[:1], 2 * x[:1], row_figures(projector, x[:1], 2 * x[:1]))
    figures = impact.figures()
    assert figures["mean_squared_distortion"] == pytest.approx(float(x[0] @ x[0]))
    assert figures["row_norm_mean"]["after"] == pytest.approx(2 * np.linalg.norm(x[0]))
    assert figures["mean_norm_ratio"]["before"] == pytest.approx(1)


def test_the_impact_is_taken_up_again_to_the_bit() -> None:
    projector, x = fitted_image(np.float32)
    y = projector.transform(x)
    whole, first, second = Impact(12), Impact(12), Impact(12)
    for impact in (whole, first):
        impact.add(x[:100], y[:100], row_figures(projector, x[:100], y[:100]))
    second.state = json.loads(json.dumps(first.state))
    assert json.dumps(second.state) == json.dumps(first.state)
    for impact in (whole, second):
        impact.add(x[100:], y[100:], row_figures(projector, x[100:], y[100:]))
    assert json.dumps(second.figures()) == json.dumps(whole.figures())


def test_the_impact_on_no_rows_is_nothing() -> None:
    figures = Impact(3).figures()
    assert figures["variance_kept"] is None
    assert figures["mean_norm_ratio"] == {"before": None, "after": None}
    assert figures["histograms"]["row_norm"] == {"edges": [], "before": [], "after": []}


def test_the_heatmap_is_the_cross_covariance_in_the_shared_directions() -> None:
    a, b = planted(400, (12, 8))
    fitted = fit({"image": a, "text": b}, rank={"image": 3, "text": 2}, strength={"image": 1.0, "text": 0.5})
    image, text = fitted.projectors["image"], fitted.projectors["text"]
    figures = heatmap(fitted.moments["image", "text"], image, text)
    np.testing.assert_allclose(figures["before"], np.diag(image.spectrum[:7]), atol=1e-12)
    after = np.diag(image.spectrum[:7] * ([0, 0, 0, 1, 1, 1, 1]))
    np.testing.assert_allclose(figures["after"], after, atol=1e-12)


def test_nothing_shared_leaves_nothing_over() -> None:
    a, _ = planted(40, (4, 3))
    constant = np.broadcast_to(np.arange(1.0, 4), (40, 3))
    nothing = Projector("image", mean=np.zeros(4), directions=np.empty((4, 0)), spectrum=np.empty(0), rank=0)
    other = Projector("text", mean=np.zeros(3), directions=np.empty((3, 0)), spectrum=np.empty(0), rank=0)
    moments = accumulated(a, constant, random_hashes(40, 0))
    assert leftover(moments, nothing, other) is None


def test_the_scatter_is_in_the_first_two_shared_directions() -> None:
    projector, x = fitted_image(np.float64, offset=2)
    y = projector.transform(x)
    figures = scatter(x, y, projector)
    np.testing.assert_allclose(figures["before"], (x - projector.mean) @ projector.directions[:, :2], atol=1e-12)
    expected = -(projector.mean - projector.projected_mean) @ projector.directions[:, :2]
    np.testing.assert_allclose(figures["after"], np.broadcast_to(expected, (400, 2)), atol=1e-12)


def test_the_scale_ratio_is_that_of_the_loudest_and_the_quietest() -> None:
    assert scale_ratio([30, 1, 0.1]) == pytest.approx(300)
    assert scale_ratio([1, 0]) is None


def test_covariance_after_removal_is_that_of_the_written_rows() -> None:
    a, b = planted(400, (12, 8), dtype=np.float32, offset=10)
    fitted = fit({"image": a, "text": b}, rank=3, strength=0.5)
    image, text = fitted.projectors["image"], fitted.projectors["text"]
    written = dense_covariance(image.transform(a), text.transform(b))
    share = leftover(fitted.moments["image", "text"], image, text)
    assert share == pytest.approx(np.linalg.norm(written) / np.linalg.norm(dense_covariance(a, b)), rel=1e-4)


def test_removal_of_everything_but_one_direction() -> None:
    projector = Projector(
        "image",
        mean=np.zeros(5),
        directions=orthonormal(5, 5, np.random.default_rng(0)),
        spectrum=np.ones(5),
        rank=4,
    )
    x = np.random.default_rng(1).normal(size=(50, 5))
    assert np.linalg.matrix_rank(projector.transform(x), tol=1e-10) == 1
