"""Figures that are held out, drawn as curves, or of new items are what the rows themselves say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clear_cli.chance import balanced_signs
from clear_cli.config import FitOptions
from clear_cli.curve import STRENGTHS, curve, ranks_of, variance_kept
from clear_cli.diagnostics import leftover
from clear_cli.drift import Drift
from clear_cli.health import pair_hashes, row_hashes
from clear_cli.moments import buckets_of
from clear_cli.projector import Projector
from clear_cli.shared import Shared
from clear_cli.values import PerModality, read_rank
from clear_cli.workflow.evidence import FOLDS
from clear_cli.workflow.heldout import held_out_leftover
from tests.laws.planted import Floats, dense_covariance, dense_directions, fit, planted

OPTIONS: list[dict[str, Any]] = [
    {},
    {"strength": 0.5},
    {"strength": {"image": 0.0}},
    {"removal": "oblique"},
    {"directions": "correlation"},
    {"removal": "oblique", "directions": "correlation"},
]


def folds_of(a: Floats, b: Floats) -> Floats:
    return buckets_of(pair_hashes(row_hashes(a), row_hashes(b)), FOLDS)


def test_a_fold_is_left_out_of_what_is_measured_on_it() -> None:
    a, b = planted(1200, (12, 8))
    fitted = fit({"image": a, "text": b}, rank=2)
    found = held_out_leftover(fitted, FitOptions(rank=PerModality(read_rank(2))))["image", "text"]
    folds = folds_of(a, b)
    expected = []
    for fold in range(FOLDS):
        u, _, v = dense_directions(a[folds != fold], b[folds != fold])
        x, y = (side[folds == fold] for side in (a, b))
        after = dense_covariance(x - x @ u[:, :2] @ u[:, :2].T, y - y @ v[:, :2] @ v[:, :2].T)
        expected.append(np.linalg.norm(after) / np.linalg.norm(dense_covariance(x, y)))
    np.testing.assert_allclose(found["folds"], expected, rtol=1e-9)
    assert found["value"] == pytest.approx(np.mean(expected))
    assert found["low"] < found["value"] < found["high"]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_what_is_held_out_is_no_less_than_what_is_fitted(options: dict[str, Any]) -> None:
    a, b = planted(1200, (12, 8))
    fitted = fit({"image": a, "text": b}, rank=3, **options)
    parameters = FitOptions(
        rank=PerModality(read_rank(3)),
        directions=options.get("directions", "covariance"),
        removal=options.get("removal", "orthogonal"),
    )
    found = held_out_leftover(fitted, parameters)["image", "text"]
    of_the_fit = leftover(fitted.moments["image", "text"], *fitted.projectors.values())
    assert of_the_fit is not None
    assert found["value"] > of_the_fit - 0.02


def test_of_independent_modalities_all_of_it_is_chance() -> None:
    rng = np.random.default_rng(0)
    fitted = fit({"image": rng.normal(size=(4000, 12)), "text": rng.normal(size=(4000, 8))}, rank=2)
    found = held_out_leftover(fitted, FitOptions(rank=PerModality(read_rank(2))))["image", "text"]
    assert found["value"] == pytest.approx(found["chance"], abs=0.15)


@pytest.mark.parametrize("items", [400, 2000])
def test_a_hub_is_not_found_again_in_folds_that_it_is_not_in(items: int) -> None:
    seen, drawn, significant = [], [], 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=(items, 20)), rng.normal(size=(items, 12))
        a[0], b[0] = 50 * a[0], 50 * b[0]
        figures = Shared(a, b, buckets_of(pair_hashes(row_hashes(a), row_hashes(b)), 32), FOLDS).figures(1)
        seen.append(figures["held_out"]["canonical_correlation_top"]["value"])
        drawn.append(figures["held_out"]["canonical_correlation_top"]["chance"])
        significant += figures["canonical_correlations_significant"] > 0
    assert abs(np.mean(seen)) < 0.15  # .4 at 400 items, were each fold centred on the mean of all
    assert abs(np.mean(seen) - np.mean(drawn)) < 0.2
    assert significant <= 2


def test_both_parts_of_a_fold_are_about_their_own_means() -> None:
    a, b = (x + 3 for x in planted(400, (12, 8)))
    buckets = buckets_of(pair_hashes(row_hashes(a), row_hashes(b)), 32)
    parts = Shared(a, b, buckets, FOLDS)._parts
    inside = buckets < 32 // FOLDS
    for rows, found in ((inside, parts.total(0)), (~inside, parts.without(0))):
        whole = np.cov(a[rows].T, b[rows].T)
        for one, expected in zip(found, (whole[:12, 12:], whole[:12, :12], whole[12:, 12:]), strict=True):
            np.testing.assert_allclose(one, expected, atol=1e-12 * np.abs(whole).max())


def test_a_draw_of_a_part_is_of_its_buckets_about_the_mean_of_its_others() -> None:
    a, b = planted(400, (12, 8))
    buckets = buckets_of(pair_hashes(row_hashes(a), row_hashes(b)), 32)
    signs, part = balanced_signs(32)[0], buckets >= 32 // FOLDS
    expected = np.zeros((12, 8))
    for bucket in range(32 // FOLDS, 32):
        inside, others = buckets == bucket, part & (buckets != bucket)
        expected += signs[bucket] * (a[inside] - a[others].mean(axis=0)).T @ (b[inside] - b[others].mean(axis=0))
    drawn = Shared(a, b, buckets, FOLDS)._parts.without(0, signs)[0]
    np.testing.assert_allclose(drawn, expected / (part.sum() - 1), atol=1e-12 * np.abs(drawn).max())


def test_items_with_equal_contents_are_in_one_fold() -> None:
    a, b = planted(300, (12, 8))
    twice = folds_of(np.repeat(a, 2, axis=0), np.repeat(b, 2, axis=0))
    assert (twice[::2] == twice[1::2]).all()
    assert len(set(twice.tolist())) == FOLDS


# Curves


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_point_of_the_curve_is_the_fit_at_that_rank_and_strength(options: dict[str, Any]) -> None:
    a, b = planted(900, (12, 8))
    fitted = fit({"image": a, "text": b}, rank=3, **options)
    image, text = fitted.projectors.values()
    covariances = np.cov(a.T), np.cov(b.T)
    points = curve(fitted.moments["image", "text"], image, text, covariances, STRENGTHS)
    assert {point["rank"] for point in points} == {1, 2, 3, 4, 8}
    for point in points:
        if point["rank"] == 8:  # all of the text, which only a grid can ask for
            continue
        whole = [name for name, one in fitted.projectors.items() if one.uniform_strength == 0]
        strength = {name: 0.0 if name in whole else point["strength"] for name in fitted.projectors}
        other = fit({"image": a, "text": b}, rank=point["rank"], **{**options, "strength": strength})
        x, y = (other.projectors[name].transform(side) for name, side in (("image", a), ("text", b)))
        share = np.linalg.norm(dense_covariance(x, y)) / np.linalg.norm(dense_covariance(a, b))
        assert point["leftover"] == pytest.approx(share, rel=1e-6, abs=1e-9)
        kept = [np.trace(np.cov(after.T)) / np.trace(np.cov(before.T)) for after, before in ((x, a), (y, b))]
        assert point["variance_kept"] == pytest.approx(kept, rel=1e-6)


def test_the_ranks_of_a_curve_are_powers_of_two_and_the_chosen() -> None:
    assert ranks_of(5, 20) == [1, 2, 4, 5, 8, 16, 20]
    assert ranks_of(0, 0) == []


def test_the_variance_kept_of_no_variance_is_no_number() -> None:
    nothing = Projector("image", np.zeros(3), np.eye(3)[:, :1], np.ones(1), rank=1)
    assert variance_kept(np.zeros((3, 3)), nothing) is None


# New items


@pytest.fixture
def projector() -> Projector:
    a, b = planted(4000, (12, 8), offset=3)
    return fit({"image": a, "text": b}, rank=2).projectors["image"]


def drift_of(projector: Projector, *parts: Floats) -> dict[str, Any]:
    drift = Drift(projector)
    for part in parts:
        drift.add(part)
    figures = drift.figures()
    assert figures is not None
    return figures


def test_the_items_of_the_fit_have_not_drifted(projector: Projector) -> None:
    a, _ = planted(4000, (12, 8), offset=3)
    figures = drift_of(projector, a[:7], a[7:])
    assert figures["rows"] == 4000
    assert figures["mean_shift"] < 1e-6
    assert figures["variance_ratio"] == pytest.approx(1, rel=1e-6)
    assert figures["share_inside"]["new"] == pytest.approx(figures["share_inside"]["fit"], rel=1e-6)


def test_drift_inside_the_directions_is_seen_and_beside_them_is_not(projector: Projector) -> None:
    a, _ = planted(4000, (12, 8), offset=3)
    inside = np.sqrt(projector.variances[:2].sum()) * projector.directions[:, 0]
    assert drift_of(projector, a + inside)["mean_shift"] == pytest.approx(1, rel=1e-6)
    assert drift_of(projector, a + 9 * projector.directions[:, 5])["mean_shift"] < 1e-6
    assert drift_of(projector, 2 * a)["variance_ratio"] == pytest.approx(4, rel=1e-6)


def test_too_little_is_known_to_speak_of_drift(projector: Projector) -> None:
    assert Drift(projector).figures() is None
    a, b = planted(400, (12, 8))
    bare = fit({"image": a, "text": b}, rank=2, report=False).projectors["image"]
    assert bare.variances.size == 0
    drift = Drift(bare)
    drift.add(a)
    assert drift.figures() is None
