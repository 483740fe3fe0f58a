"""Curves, drift, spreads over folds and limits of rows, each beside its definition."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats

from clear_cli.curve import curve, limited, ranks_of, variance_kept
from clear_cli.diagnostics import heatmap, over_chance
from clear_cli.drift import Drift
from clear_cli.moments import CrossMoments
from clear_cli.projector import Projector
from clear_cli.spread import spread
from clear_cli.winsor import Limit
from tests.laws.planted import Floats, accumulated, dense_covariance, orthonormal, planted, random_hashes


def projector(dim: int = 6, kept: int = 3, seed: int = 0, **parameters: Any) -> Projector:
    rng = np.random.default_rng(seed)
    defaults = {"mean": rng.normal(size=dim), "directions": orthonormal(dim, kept, rng), "rank": 2}
    return Projector(modality="image", spectrum=np.ones(kept), **{**defaults, **parameters})


def map_of(one: Projector) -> Floats:
    """P (d, d), as no other code forms it."""
    return np.eye(one.dim) - one.readers @ one.removal


class TestCurve:
    """What other ranks and strengths would leave and keep."""

    @pytest.mark.parametrize(
        ("chosen", "kept", "ranks"),
        [
            (3, 10, [1, 2, 3, 4, 8, 10]),
            (0, 5, [1, 2, 4, 5]),
            (4, 4, [1, 2, 4]),
            (0, 0, []),
            (1, 1, [1]),
            (9, 8, [1, 2, 4, 8]),
        ],
    )
    def test_ranks_are_powers_of_two_and_the_chosen_one(self, chosen: int, kept: int, ranks: list[int]) -> None:
        assert ranks_of(chosen, kept) == ranks

    def test_a_modality_that_is_kept_stays_kept(self) -> None:
        assert limited(projector(strength=0.0), 3, 0.5).uniform_strength == 0
        other = limited(projector(), 1, 0.5)
        assert (other.rank, other.uniform_strength) == (1, 0.5)
        assert limited(projector(), 9, 1.0).rank == 3

    @pytest.mark.parametrize("oblique", [False, True])
    def test_the_variance_kept_is_that_of_projected_rows(self, oblique: bool) -> None:
        x = planted(200, (6, 5))[0]
        s = dense_covariance(x, x)
        weights = np.random.default_rng(3).normal(size=(6, 3)) if oblique else np.empty((0, 0))
        one = projector(strength=np.array([1.0, 0.3, 0.6]), weights=weights)
        y = x @ map_of(one)
        assert variance_kept(s, one) == pytest.approx(np.trace(dense_covariance(y, y)) / np.trace(s))
        assert variance_kept(s, one.limited(rank=0)) == pytest.approx(1)
        assert variance_kept(np.zeros((6, 6)), one) is None

    def test_no_less_than_nothing_is_kept(self) -> None:
        """Of rows with no variance but along what is removed, sums of rounded numbers may be a little below zero."""
        rng = np.random.default_rng(0)
        for seed in range(50):
            one = projector(seed=seed, kept=2)
            x = rng.normal(size=(40, 2)) @ one.directions.T
            kept = variance_kept(dense_covariance(x, x), one)
            assert kept is not None
            assert 0 <= kept < 1e-14

    def test_each_point_is_worked_out_for_its_rank_and_strength(self) -> None:
        x, y = planted(300, (6, 5), offset=2)
        a, b = projector(kept=3), projector(dim=5, kept=2, seed=1, rank=1)
        s = dense_covariance(x, x), dense_covariance(y, y)
        points = curve(accumulated(x, y, random_hashes(300, 0)), a, b, s, (0.5, 1.0))
        assert [(one["rank"], one["strength"]) for one in points] == [(k, g) for k in (1, 2, 3) for g in (0.5, 1.0)]
        c = dense_covariance(x, y)
        for one in points:
            sides = limited(a, one["rank"], one["strength"]), limited(b, one["rank"], one["strength"])
            left = map_of(sides[0]).T @ c @ map_of(sides[1])
            assert one["leftover"] == pytest.approx(np.linalg.norm(left) / np.linalg.norm(c))
            assert one["variance_kept"] == [variance_kept(s[i], sides[i]) for i in (0, 1)]
        nothing = curve(accumulated(0 * x, y, random_hashes(300, 0)), a, b, s, (1.0,))
        assert [one["leftover"] for one in nothing] == [None, None, None]


class TestOverChance:
    """The size of a cross-covariance beside that of unrelated rows."""

    def test_it_is_the_norm_over_the_root_of_both_variances(self) -> None:
        x, y = planted(300, (6, 5), offset=2)
        chance = np.sqrt(x.var(axis=0, ddof=1).sum() * y.var(axis=0, ddof=1).sum() / 299)
        expected = np.linalg.norm(dense_covariance(x, y)) / chance
        assert over_chance(accumulated(x, y, random_hashes(300, 0))) == pytest.approx(expected)
        assert over_chance(accumulated(1e-100 * x, 1e120 * y, random_hashes(300, 0))) == pytest.approx(expected)
        assert over_chance(accumulated(x[:2], y[:2], random_hashes(2, 0))) == pytest.approx(1)

    def test_it_is_near_one_for_unrelated_rows_and_nothing_for_no_variance(self) -> None:
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(2000, 12)), rng.normal(size=(2000, 9))
        hashes = random_hashes(2000, 0)
        assert over_chance(accumulated(x, y, hashes)) == pytest.approx(1, abs=0.15)
        assert over_chance(accumulated(x, 0 * y, hashes)) is None
        assert over_chance(CrossMoments(12, 9)) is None


class TestHeatmap:
    """The cross-covariance in the leading shared directions of both sides."""

    @pytest.mark.parametrize(
        ("ranks", "kept", "shown"),
        [((1, 2), (9, 10), 6), ((2, 1), (9, 10), 6), ((0, 0), (9, 10), 5), ((1, 2), (3, 10), 3), ((1, 2), (10, 3), 3)],
    )
    def test_it_shows_a_few_more_than_are_removed(self, ranks: Any, kept: Any, shown: int) -> None:
        x, y = planted(100, (12, 11))
        a, b = projector(dim=12, kept=kept[0], rank=ranks[0]), projector(dim=11, kept=kept[1], rank=ranks[1], seed=1)
        found = heatmap(accumulated(x, y, random_hashes(100, 0)), a, b)
        u, v = a.directions[:, :shown], b.directions[:, :shown]
        c = dense_covariance(x, y)
        np.testing.assert_allclose(found["before"], u.T @ c @ v, atol=1e-12)
        np.testing.assert_allclose(found["after"], u.T @ map_of(a).T @ c @ map_of(b) @ v, atol=1e-12)

    def test_it_stays_small_enough_to_look_at(self) -> None:
        x, y = planted(60, (40, 41))
        sides = projector(dim=40, kept=35, rank=30), projector(dim=41, kept=35, rank=30)
        found = heatmap(accumulated(x, y, random_hashes(60, 0)), *sides)
        assert np.shape(found["before"]) == np.shape(found["after"]) == (24, 24)


class TestDrift:
    """New rows beside those of the fit."""

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_figures_are_those_of_the_rows_in_the_removed_directions(self, dtype: Any) -> None:
        x = (planted(300, (6, 5))[0] + 0.5).astype(dtype)
        one = projector(variances=np.array([2.0, 0.5, 7.0]), total_variance=5.0)
        drift = Drift(one)
        for start in (0, 100, 150):
            drift.add(x[start : {0: 100, 100: 150, 150: 300}[start]])
        scores = (x.astype(np.float64) - one.mean) @ one.directions[:, :2]
        found = drift.figures()
        assert found is not None
        rel = 1e-9 if dtype == np.float64 else 1e-4
        assert found["rows"] == 300
        assert found["mean_shift"] == pytest.approx(np.linalg.norm(scores.mean(axis=0)) / np.sqrt(2.5), rel=rel)
        inside = scores.var(axis=0, ddof=1).sum()
        assert found["variance_ratio"] == pytest.approx(inside / 2.5, rel=rel)
        assert found["share_inside"]["fit"] == 0.5
        total = x.astype(np.float64).var(axis=0, ddof=1).sum()
        assert found["share_inside"]["new"] == pytest.approx(inside / total, rel=rel)

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    @pytest.mark.parametrize(
        "options",
        [{}, {"keep_mean": True}, {"renorm": "original"}, {"scale": 0.02}, {"keep_mean": True, "scale": 0.02}],
        ids=str,
    )
    def test_rows_that_the_projector_has_cleaned_are_known_again(self, options: Any, dtype: Any) -> None:
        x = planted(300, (6, 5), offset=2)[0]
        variances = (x @ projector().directions).var(axis=0, ddof=1)
        known = {"mean": x.mean(axis=0), "variances": variances, "total_variance": x.var(axis=0, ddof=1).sum()}
        one = projector(**known, **options)
        x = x.astype(dtype)

        def cleaned(rows: Floats, by: Projector = one) -> bool:
            drift = Drift(by)
            drift.add(rows)
            found = drift.figures()
            assert found is not None
            return bool(found["cleaned"])

        y = one.transform(x)
        assert cleaned(y)
        assert cleaned(y, one.limited(rank=1, strength=0.5)), "what was emptied is empty, however much is asked for now"
        assert not cleaned(y, one.limited(rank=3)), "one direction is whole"
        assert not cleaned(x)
        assert not cleaned(one.limited(strength=0.9).transform(x)), "a tenth of each score is there"
        assert not cleaned((x - x.mean(axis=0)) * dtype(0.01) + x.mean(axis=0)), "little variance, but everywhere"
        inside = one.directions[:, 0] * np.sqrt(variances[0])
        assert not cleaned((y + inside).astype(dtype)), "the mean is elsewhere"
        broken = x.copy()
        broken[0] = x.mean(axis=0) + 1e4 * one.directions[:, 2]
        assert not cleaned(broken), "one loud row outside makes the share small, and not what is inside"

    def test_a_loud_row_in_a_centred_modality_that_is_scaled_up_is_not_taken_for_cleaning(self) -> None:
        """Nothing but the variance inside tells then: the mean is 0 before and after."""
        x = planted(300, (6, 5))[0]
        x -= x.mean(axis=0)
        variances = (x @ projector().directions).var(axis=0, ddof=1)
        one = projector(mean=np.zeros(6), variances=variances, total_variance=x.var(axis=0, ddof=1).sum(), scale=50.0)
        broken = x.copy()
        broken[0] = 1e4 * one.directions[:, 2]
        for rows, expected in ((one.transform(x), True), (one.transform(broken), True), (broken, False)):
            drift = Drift(one)
            drift.add(rows)
            found = drift.figures()
            assert found is not None
            assert found["cleaned"] is expected

    def test_rows_of_an_oblique_projection_are_not_judged(self) -> None:
        x = planted(300, (6, 5))[0]
        weights = projector().directions
        one = projector(weights=weights, mean=x.mean(axis=0), variances=np.ones(3), total_variance=9.0)
        drift = Drift(one)
        drift.add(one.transform(x))
        found = drift.figures()
        assert found is not None
        assert found["share_inside"]["new"] < 1e-20
        assert found["cleaned"] is False

    def test_sums_are_taken_up_again_to_the_bit(self) -> None:
        x = planted(100, (6, 5))[0]
        one = projector(variances=np.ones(3), total_variance=5.0)
        whole, first, second = Drift(one), Drift(one), Drift(one)
        whole.add(x[:60])
        first.add(x[:60])
        second.state = json.loads(json.dumps(first.state))
        assert second.state == first.state
        for drift in (whole, second):
            drift.add(x[60:])
        assert second.figures() == whole.figures()
        scores = (x[:60] - one.mean) @ one.directions[:, :2]
        assert set(first.state) == {"rows", "sums", "total_square"}
        np.testing.assert_allclose(first.state["sums"][0], scores.sum(axis=0))
        np.testing.assert_allclose(first.state["sums"][2], (x[:60] - one.mean).sum(axis=0))

    def test_nothing_is_said_of_what_is_not_known(self) -> None:
        x = planted(10, (6, 5))[0]

        def figures(rows: Floats, **parameters: Any) -> Any:
            drift = Drift(projector(**{"variances": np.ones(3), **parameters}))
            drift.add(rows)
            return drift.figures()

        assert figures(x, variances=np.empty(0)) is None
        assert figures(x, variances=np.zeros(3)) is None
        assert figures(x, rank=0) is None
        assert figures(x[:1]) is None
        two = figures(x[:2])
        assert two["rows"] == 2
        assert two["share_inside"]["fit"] is None
        assert figures(x, variances=np.full(3, 0.01))["rows"] == 10
        # Of rows that are all alike nothing varies, inside or outside: their square is exact.
        same = figures(np.tile([3.0, 4.0, 0, 0, 0, 0], (3, 1)), mean=np.zeros(6))
        assert same["variance_ratio"] == pytest.approx(0, abs=1e-12)
        assert same["share_inside"]["new"] is None


class TestSpread:
    """A figure over folds."""

    @pytest.mark.parametrize("count", [2, 3, 4, 8])
    def test_the_interval_is_that_of_student(self, count: int) -> None:
        values = np.random.default_rng(0).normal(2, 0.5, size=count).tolist()
        found = spread([None, *values], [0.25, None, 0.5])
        low, high = scipy.stats.t.interval(0.95, count - 1, np.mean(values), scipy.stats.sem(values))
        assert (found["low"], found["high"]) == (pytest.approx(low, rel=1e-3), pytest.approx(high, rel=1e-3))
        assert found["value"] == pytest.approx(np.mean(values))
        assert found["chance"] == 0.375
        assert found["folds"] == values

    def test_of_one_fold_nothing_is_known_of_how_sure_it_is_and_of_none_nothing(self) -> None:
        one = spread([0.5], [None])
        assert (one["value"], one["chance"], one["folds"]) == (0.5, None, [0.5])
        assert math.isnan(one["low"])
        assert math.isnan(one["high"])
        assert spread([None], [0.5]) == {"value": None, "low": None, "high": None, "chance": None, "folds": []}


class TestLimit:
    """Rows that lie far out."""

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_rows_beyond_the_limit_end_on_it_and_others_stay(self, dtype: Any) -> None:
        x = planted(200, (6, 5), offset=3)[0]
        x[:10] = 3 + 20 * (x[:10] - 3)
        x = x.astype(dtype)
        limit = Limit.of(x, 0.9)
        x64 = x.astype(np.float64)
        distances = np.linalg.norm(x64 - np.median(x64, axis=0), axis=1)
        np.testing.assert_allclose(limit.centre, np.median(x64, axis=0))
        assert limit.radius == pytest.approx(np.quantile(distances, 0.9), rel=1e-5)
        y = limit.shortened(x)
        assert y.dtype == np.result_type(dtype, np.float32)
        far = distances > limit.radius * (1 + 1e-6)
        assert far.sum() == 20
        np.testing.assert_allclose(np.linalg.norm(y[far] - limit.centre, axis=1), limit.radius, rtol=1e-5)
        ways = (y[far] - limit.centre) / limit.radius, (x64[far] - limit.centre) / distances[far, None]
        np.testing.assert_allclose(ways[0], ways[1], atol=1e-5)
        near = distances < limit.radius * (1 - 1e-6)
        np.testing.assert_array_equal(y[near], x[near])

    def test_where_no_row_is_too_far_the_rows_themselves_are_returned(self) -> None:
        x = planted(50, (6, 5))[0]
        assert Limit.of(x, 1.0).shortened(x) is x
        on = Limit(np.zeros(2), 5.0)
        rows = np.array([[3.0, 4.0]])
        assert on.shortened(rows) is rows

    def test_no_rows_set_no_limit(self) -> None:
        limit = Limit.of(np.empty((0, 3), np.float32), 0.9)
        assert limit.centre.tolist() == [0, 0, 0]
        x = np.full((1, 3), 1e30, np.float32)
        assert limit.shortened(x) is x
