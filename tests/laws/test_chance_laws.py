"""Chance is what independent modalities make of the same rows: nothing is found in it, and what is planted is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_cli.chance import DRAWS, STEEP, TOLERANCE, Significance, balanced_signs, draws_of, signed_sums, significance
from clear_cli.health import pair_hashes, row_hashes
from clear_cli.moments import CrossMoments
from tests.laws.planted import Floats, accumulated, dense_signed_sums, orthonormal, random_hashes

seeds = st.integers(0, 2**32 - 1)
DIMS = (20, 12)


def by_content(a: Floats, b: Floats) -> CrossMoments:
    return accumulated(a, b, pair_hashes(row_hashes(a), row_hashes(b)))


def found_in(moments: CrossMoments, **options: Any) -> Significance:
    u, sigma, vt = np.linalg.svd(moments.cross_covariance(), full_matrices=False)
    draws, unit = draws_of(moments)
    return significance(sigma, u, vt.T, draws, unit=unit, **options)


def independent(rows: int, dims: tuple[int, int], seed: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, dims[0])), rng.normal(size=(rows, dims[1]))


def sharing(rows: int, dims: tuple[int, int], sigma: Floats, noise: float, seed: int) -> tuple[Floats, Floats]:
    """Modalities whose cross-covariance has these singular values, with white noise of their own."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(rows, len(sigma))) * np.sqrt(sigma)
    a, b = (signal @ orthonormal(dim, len(sigma), rng).T + noise * rng.normal(size=(rows, dim)) for dim in dims)
    return a, b


def same(one: Significance, other: Significance, tolerance: float) -> None:
    assert one.significant == other.significant
    assert one.effective == pytest.approx(other.effective, rel=tolerance)
    np.testing.assert_allclose(one.high, other.high, rtol=tolerance)
    np.testing.assert_allclose(one.median, other.median, rtol=tolerance)


# Signs


@pytest.mark.parametrize("buckets", [8, 16, 32])
def test_signs_are_balanced_and_no_two_draws_are_the_same(buckets: int) -> None:
    signs = balanced_signs(buckets)
    assert (signs.shape, signs.dtype) == ((DRAWS, buckets), np.int8)
    assert set(np.unique(signs)) == {-1, 1}
    assert not signs.sum(axis=1).any()
    # The opposite signs have the same singular values, and would be the same draw.
    assert len({tuple(one * one[0]) for one in signs.tolist() for one in [np.array(one)]}) == DRAWS
    np.testing.assert_array_equal(balanced_signs(buckets), signs)


def test_with_all_buckets_any_two_draws_differ_in_half_of_them() -> None:
    signs = balanced_signs(32).astype(int)
    np.testing.assert_array_equal(signs @ signs.T, 32 * np.eye(DRAWS, dtype=int))


# Draws


@given(
    seed=seeds,
    rows=st.integers(2, 300),
    offset=st.sampled_from([0.0, 3.0, -100.0]),
    hubs=st.sampled_from([0, 1, 5]),
    copies=st.sampled_from([1, 4]),
    loud=st.sampled_from([1.0, 1e4]),
)
def test_draws_are_signed_sums_of_buckets_about_the_mean_of_the_others(
    seed: int, rows: int, offset: float, hubs: int, copies: int, loud: float
) -> None:
    a, b = independent(rows, DIMS, seed)
    a[:hubs], b[:hubs] = 50 * a[:hubs], 50 * b[:hubs]
    a, b, hashes = (np.tile(x, (copies, 1)) for x in (a + offset, b + offset, random_hashes(rows, seed)[:, None]))
    a *= loud
    buckets = (hashes[:, 0] >> np.uint64(59)).astype(int)
    draws, unit = draws_of(accumulated(a, b, hashes[:, 0], batch=70))
    expected = dense_signed_sums(a, b, buckets, balanced_signs(32)) / (len(a) - 1)
    assert draws.dtype == np.float32
    assert np.abs(draws).max() <= 1
    centred = a - a.mean(axis=0), b - b.mean(axis=0)
    size = np.sqrt(np.sum(centred[0] ** 2) * np.sum(centred[1] ** 2)) / (len(a) - 1)
    np.testing.assert_allclose(unit * draws.astype(float), expected, rtol=0, atol=4e-6 * size)


@pytest.mark.parametrize("count", [[1], [5], [1, 1], [7, 1], [0, 3, 8], [3, 9, 0, 2, 2]], ids=str)
@pytest.mark.parametrize("origin", [0.0, 100.0])
def test_signed_sums_know_nothing_of_the_origin(count: list[int], origin: float) -> None:
    buckets = np.repeat(np.arange(len(count)), count)
    a, b = (x + 1 for x in independent(len(buckets), (3, 2), 0))
    signs = np.random.default_rng(0).normal(size=(4, len(count)))
    inside = [buckets == bucket for bucket in range(len(count))]
    products = np.stack([(a[one] - origin).T @ (b[one] + origin) for one in inside])
    sums = tuple(np.stack([x[one].sum(axis=0) for one in inside]) for x in (a - origin, b + origin))
    found = signed_sums(products, np.array(count), (sums[0], sums[1]), signs, np.dtype(np.float64))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, dense_signed_sums(a, b, buckets, signs), rtol=0, atol=1e-10 * (1 + origin))


def test_draws_of_wide_modalities_are_put_together_from_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = independent(200, DIMS, 0)
    whole, unit = draws_of(by_content(a, b))
    monkeypatch.setattr("clear_cli.chance.BLOCK_BYTES", 1)
    pieces, same_unit = draws_of(by_content(a, b))
    assert unit == same_unit
    assert whole.tobytes() == pieces.tobytes()


def test_what_is_shared_cancels_in_the_draws() -> None:
    a, b = sharing(20_000, DIMS, np.ones(3), 0.1, 0)
    moments = by_content(a, b)
    draws, unit = draws_of(moments)
    assert unit * max(np.linalg.norm(one, 2) for one in draws) < 0.1 * np.linalg.norm(moments.cross_covariance(), 2)


# Significance


def dense_levels(u: Floats, v: Floats, draws: Floats, unit: float) -> Floats:
    """(r, D) the top singular value of each draw after deflation by 0, 1, ... r - 1 directions, in float64."""
    deflated = draws.astype(float) * unit
    levels = []
    for j in range(u.shape[1]):
        levels.append(np.linalg.norm(deflated, 2, axis=(1, 2)))
        deflated = deflated - u[:, j, None] * (u[:, j] @ deflated)[:, None, :]
        deflated = deflated - (deflated @ v[:, j])[:, :, None] * v[:, j]
    return np.array(levels)


def one_by_one(sigma: Floats, levels: Floats) -> int:
    """Test each direction after the other until one does not stand out."""
    # Of 31 draws the 95th percentile is where one of 32 alike has a share of .05 above it: 30.4 places up.
    ordered = np.sort(levels, axis=1)
    high = (1 + TOLERANCE) * (0.6 * ordered[:, 29] + 0.4 * ordered[:, 30])
    return next((j for j in range(len(sigma)) if sigma[j] <= high[j]), len(sigma))


SPECTRA = {
    "nothing": np.zeros(0),
    "one": np.ones(1),
    "equal": np.ones(8),
    "fading": 0.6 ** np.arange(12),
    "fading slowly": 0.9 ** np.arange(12),
    "two groups": np.r_[np.ones(3), np.full(4, 0.1)],
}


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("rows", [60, 500, 4000])
def test_a_few_depths_answer_the_same_as_all_of_them_one_by_one(spectrum: str, rows: int, noise: float) -> None:
    for seed in range(3):
        a, b = sharing(rows, DIMS, SPECTRA[spectrum], noise, seed)
        moments = by_content(a, b)
        u, sigma, vt = np.linalg.svd(moments.cross_covariance(), full_matrices=False)
        draws, unit = draws_of(moments)
        found = significance(sigma, u, vt.T, draws, unit=unit)
        assert found.significant == one_by_one(sigma, dense_levels(u, vt.T, draws, unit))


@settings(max_examples=20)
@given(
    seed=seeds,
    depth=st.sampled_from([0, 1, 7, 40]),
    dims=st.sampled_from([(90, 70), (70, 130), (12, 20), (5, 1)]),
    loud=st.sampled_from([1.0, 30.0, 1000.0]),
    unit=st.sampled_from([1.0, 1e-20]),
)
def test_levels_are_those_of_the_dense_signed_sums(
    seed: int, depth: int, dims: tuple[int, int], loud: float, unit: float
) -> None:
    depth = min(depth, min(dims) - 1)
    rng = np.random.default_rng(seed)
    u, v = (orthonormal(dim, min(dims), rng) for dim in dims)
    noise = rng.normal(size=(DRAWS, *dims))
    # Along the directions that are deflated the draws may be far larger than in what is left.
    draws = (noise + loud * u[:, :depth] @ noise[:, :depth, :depth] @ v[:, :depth].T).astype(np.float32)
    draws *= np.float32(unit)
    # So much stands out that the test stops just there.
    sigma = np.r_[np.full(depth, 1e6), np.zeros(min(dims) - depth)]
    found = significance(sigma, u, v, draws, unit=1 / unit)
    levels = dense_levels(u[:, : depth + 1], v[:, : depth + 1], draws, 1 / unit)
    assert found.significant == depth
    # What float32 leaves of the loud ones.
    tolerance = TOLERANCE + 1e-6 * loud
    assert found.median[depth] == pytest.approx(np.median(levels[depth]), rel=tolerance)
    assert found.high[depth] == pytest.approx(np.quantile(levels[depth], 0.95, method="weibull"), rel=tolerance)


@given(seed=seeds, spread=st.sampled_from([1e-6, 1e-3, 0.1, 1.0]), count=st.sampled_from([2, 5, 60]))
def test_levels_of_draws_whose_top_values_are_near_one_another_are_those_of_the_dense_signed_sums(
    seed: int, spread: float, count: int
) -> None:
    rng = np.random.default_rng(seed)
    u, v = orthonormal(80, 70, rng), orthonormal(70, 70, rng)
    values = np.r_[1 - spread * np.linspace(0, 1, count), np.linspace(0.5, 0, 70 - count)]
    draws = np.repeat(((u * values) @ v.T)[None].astype(np.float32), DRAWS, axis=0)
    found = significance(np.zeros(70), u, v, draws)
    assert found.median[0] == pytest.approx(1, rel=TOLERANCE)


@settings(max_examples=60)
@given(
    seed=seeds,
    dims=st.tuples(st.sampled_from([2, 3, 12, 40]), st.sampled_from([1, 2, 3, 12, 30])),
    depth=st.integers(0, 12),
    kind=st.sampled_from(["full", "dead columns", "dead sides", "one direction", "unequal columns"]),
)
def test_levels_of_draws_that_lack_directions_are_those_of_the_dense_signed_sums(
    seed: int, dims: tuple[int, int], depth: int, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    depth = min(depth, min(dims) - 1)
    draws = rng.normal(size=(DRAWS, *dims))
    if kind == "dead columns":
        draws[:, :, 1::2] = 0
    elif kind == "dead sides":
        draws[:, 3:] *= 1e-11
        draws[:, :, 3:] *= 1e-11
    elif kind == "one direction":
        draws = draws[:, :, :1] * draws[:, :1]
    elif kind == "unequal columns":
        draws *= 10.0 ** rng.integers(-12, 1, dims[1])
    # What is deflated is what the loud directions of a truth with the same faults would be.
    u, _, vt = np.linalg.svd(draws[0], full_matrices=False)
    v = vt.T
    draws = draws.astype(np.float32)
    found = significance(np.r_[np.full(depth, 1e6), np.zeros(min(dims) - depth)], u, v, draws)
    levels = np.median(dense_levels(u, v, draws, 1.0), axis=1)
    assert found.median[depth] == pytest.approx(levels[depth], rel=2 * TOLERANCE, abs=1e-5 * levels[0])


def test_the_level_is_not_what_is_left_of_the_one_before_it() -> None:
    # The top direction has its remainder where nothing leads to that which is loudest once it is deflated.
    draw = np.diag(np.r_[4, 1.5, 2, np.linspace(1, 0, 57)])
    draw[0, 1] = draw[1, 0] = 1
    found = significance(np.array([1e6, 0]), np.eye(60)[:, :2], np.eye(60)[:, :2], np.float32([draw] * DRAWS))
    assert found.significant == 1
    assert found.median == pytest.approx([np.linalg.norm(draw, 2), np.linalg.norm(draw[1:, 1:], 2)], rel=TOLERANCE)


def test_the_top_value_is_found_where_the_search_begins_almost_across_it() -> None:
    # From the vector that the search begins at, all that is seen in its first few steps is the second value.
    rng, start = np.random.default_rng(1), np.random.default_rng(0).standard_normal(60, np.float32).astype(float)
    start /= np.linalg.norm(start)
    across = rng.normal(size=60)
    across -= start * (start @ across)
    top = across / np.linalg.norm(across) + 1e-5 * start
    basis = np.linalg.qr(np.column_stack([top, rng.normal(size=(60, 59))]))[0]
    draw = (basis * np.r_[1, 0.9, np.linspace(0.3, 0, 58)]) @ basis.T
    found = significance(np.zeros(1), np.eye(60, 1), np.eye(60, 1), np.float32([draw] * 3))
    assert found.median == pytest.approx([1], rel=TOLERANCE)


@pytest.mark.parametrize(("steps", "low", "high"), [(128, 1 - TOLERANCE / 2, 1 + 1e-5), (6, 0.95, 0.995)])
def test_values_without_gaps_take_many_steps_and_the_last_allowed_one_counts(
    steps: int, low: float, high: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clear_cli.chance.MAX_STEPS", steps)
    rng = np.random.default_rng(0)
    draw = (orthonormal(300, 300, rng) * np.linspace(1, 0, 300)) @ orthonormal(300, 300, rng)
    found = significance(np.zeros(1), np.eye(300, 1), np.eye(300, 1), np.float32([draw] * 3))
    assert low < found.median[0] < high


SLIGHTLY = 1 + 0.01 * np.random.default_rng(0).permutation(DRAWS)
"""What draws are multiplied by that differ in nothing else: the median 1.15, the 95th percentile 1.294."""


@pytest.mark.parametrize(
    ("levels", "depths"),
    [
        (0.8 ** np.arange(12), [0, 4, 7, 8]),
        (np.r_[np.full(7, 1.4), np.full(5, 1.0)], [0, 7, 8]),
        (np.r_[np.full(7, 1.6), np.full(5, 1.0)], [0, 4, 7, 8]),
        # Two deep, the one before is between two that are known; of all, there is nothing further down to look at.
        (np.r_[np.full(2, 1.4), np.full(10, 1.0)], [0, 2]),
        (np.r_[np.full(11, 1.4), 1.0], [0, 11]),
    ],
)
def test_levels_are_worked_out_at_both_ends_and_in_the_middle_where_they_fall_steeply(
    levels: Floats, depths: list[int]
) -> None:
    draws = (SLIGHTLY[:, None, None] * np.diag(levels)).astype(np.float32)
    significant = depths[-1] if depths[-1] < 11 else 12
    found = significance(np.r_[np.full(significant, 1e6), np.zeros(12 - significant)], np.eye(12), np.eye(12), -draws)
    assert found.significant == significant
    expected = np.interp(np.arange(12), depths, levels[depths])
    np.testing.assert_allclose(found.median, 1.15 * expected, rtol=TOLERANCE)
    np.testing.assert_allclose(found.high, 1.294 * expected, rtol=TOLERANCE)


def test_a_depth_that_is_known_is_not_worked_out_again_for_the_one_below() -> None:
    # Of the third it is not clear before the first two are deflated, and the level there is near enough to that before.
    levels = np.array([9.0, 8.0, 1.0, 0.9, 0.8, 0.7])
    sigma = np.array([20.0, 19.0, 3.0, 0.1, 0.1, 0.1])
    found = significance(sigma, np.eye(6), np.eye(6), np.float32([np.diag(levels)] * DRAWS))
    assert found.significant == 3
    np.testing.assert_allclose(found.median, np.interp(np.arange(6), [0, 1, 2, 3], levels[:4]), rtol=TOLERANCE)


@pytest.mark.parametrize("draw", [-np.ones((6, 4)), -np.eye(6, 4), np.zeros((6, 4))], ids=["all", "some", "none"])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_the_sign_and_size_of_what_is_in_the_draws_does_not_matter(draw: Floats, scale: float) -> None:
    found = significance(np.zeros(4), np.eye(6, 4), np.eye(4), np.float32([scale * draw] * DRAWS), unit=1 / scale)
    assert found.high[0] == pytest.approx(np.linalg.norm(draw, 2), rel=TOLERANCE)
    assert found.significant == 0


@pytest.mark.parametrize("truth", [[1.0], [4.0, 2.0, 1.0], [3.0, 3.0, 0.6]], ids=str)
@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
def test_the_effective_number_is_that_of_the_values_without_what_chance_adds(truth: list[float], scale: float) -> None:
    s, beyond = np.array(truth), np.eye(9)
    # Chance has the top singular value 1 outside the directions, and raises s by a quarter of 1 / s.
    beyond[: len(s)] = 0
    found = significance(
        scale * (s + 0.25 / s), np.eye(9, len(s)), np.eye(9, len(s)), np.float32([beyond] * DRAWS), unit=scale
    )
    assert found.significant == len(s)
    assert found.effective == pytest.approx(np.sum(s**2) ** 2 / np.sum(s**4), rel=2 * TOLERANCE)


def test_no_directions_show_nothing() -> None:
    found = significance(np.empty(0), np.empty((3, 0)), np.empty((2, 0)), np.ones((DRAWS, 3, 2), np.float32))
    assert (found.significant, found.effective, len(found.high), len(found.median)) == (0, 0.0, 0, 0)


@pytest.mark.parametrize("spectrum", ["equal", "fading", "fading slowly", "two groups"])
def test_levels_between_are_near_those_of_the_dense_signed_sums_where_they_fall_little(spectrum: str) -> None:
    a, b = sharing(2000, (96, 64), SPECTRA[spectrum], 1.0, 0)
    moments = by_content(a, b)
    u, sigma, vt = np.linalg.svd(moments.cross_covariance(), full_matrices=False)
    draws, unit = draws_of(moments)
    found = significance(sigma, u, vt.T, draws, unit=unit)
    levels = np.median(dense_levels(u, vt.T, draws, unit), axis=1)
    assert found.significant >= 3
    assert levels[0] < STEEP * levels[found.significant]
    np.testing.assert_allclose(found.median[: found.significant], levels[: found.significant], rtol=0.06)


@given(seed=seeds, rows=st.integers(40, 600), noise=st.sampled_from([0.1, 1.0]), spectrum=st.sampled_from([*SPECTRA]))
def test_levels_fall_with_depth(seed: int, rows: int, noise: float, spectrum: str) -> None:
    found = found_in(by_content(*sharing(rows, DIMS, SPECTRA[spectrum], noise, seed)))
    for levels in (found.high, found.median):
        assert (np.diff(levels) <= 1e-3 * levels[:-1]).all()
    assert (found.median <= found.high).all()


@given(seed=seeds, spectrum=st.sampled_from([*SPECTRA]))
def test_the_effective_number_is_between_one_and_the_significant(seed: int, spectrum: str) -> None:
    found = found_in(by_content(*sharing(400, DIMS, SPECTRA[spectrum], 0.5, seed)))
    if found.significant:
        assert found.effective >= 1 - 1e-12
        assert found.effective <= found.significant * (1 + 1e-12)
    assert found.rank <= found.significant
    assert (found.rank == 0) == (found.significant == 0)


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e10, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_units_change_nothing(scale: float, dtype: Any) -> None:
    a, b = sharing(600, DIMS, SPECTRA["fading"], 0.3, 0)
    hashes = random_hashes(600, 0)
    # A power of two, so that rounding to float32 is the same in all units.
    scale = 2.0 ** round(np.log2(scale))
    near = found_in(accumulated(a.astype(dtype), b.astype(dtype), hashes))
    far = found_in(accumulated((scale * a).astype(dtype), (b / scale).astype(dtype), hashes))
    assert near.significant > 3
    same(near, far, 1e-5)
    both = found_in(accumulated((scale * a).astype(dtype), (scale * b).astype(dtype), hashes))
    assert both.significant == near.significant
    assert both.effective == pytest.approx(near.effective, rel=1e-5)
    np.testing.assert_allclose(both.high / scale / scale, near.high, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5, 10))
@pytest.mark.parametrize("rows", [400, 3000])
def test_nothing_is_found_in_independent_modalities(rows: int, seed: int) -> None:
    found = found_in(by_content(*independent(rows, (64, 48), seed)))
    assert (found.significant, found.effective, found.rank) == (0, 0.0, 0)


@pytest.mark.parametrize("kind", ["plain", "hub", "hubs", "copies", "copied hub"])
def test_chance_alone_is_found_about_one_time_in_twenty(kind: str) -> None:
    found = 0
    for seed in range(100):
        a, b = independent(300, DIMS, seed)
        hubs = {"hub": 1, "hubs": 4, "copied hub": 1}.get(kind, 0)
        a[:hubs], b[:hubs] = 50 * a[:hubs], 50 * b[:hubs]
        copied = {"copies": np.arange(300) % 30, "copied hub": np.r_[np.zeros(9, int), np.arange(291)]}
        rows = copied.get(kind, np.arange(300))
        found += found_in(by_content(a[rows], b[rows])).significant > 0
    assert found <= 12  # at a rate of .05 there are more in three of a thousand such hundreds


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rows", [4000, 16_000])
def test_sixteen_planted_directions_are_sixteen(rows: int, seed: int) -> None:
    found = found_in(by_content(*sharing(rows, (96, 64), np.ones(16), 0.3, seed)))
    assert (found.significant, found.rank) == (16, 16)
    assert found.effective == pytest.approx(16, abs=0.5)


@pytest.mark.parametrize("noise", [0.3, 1.0])
@pytest.mark.parametrize("number", [2.0, 4.0, 8.0])
def test_the_effective_number_is_that_of_the_truth(number: float, noise: float) -> None:
    truth = ((number - 1) / (number + 1)) ** (np.arange(48) / 2)
    found = found_in(by_content(*sharing(10_000, (64, 48), truth, noise, 0)))
    assert found.effective == pytest.approx(np.sum(truth**2) ** 2 / np.sum(truth**4), rel=0.1)


def test_copies_of_items_are_no_evidence() -> None:
    a, b = independent(60, DIMS, 1)
    copies = np.repeat(np.arange(60), 50)
    once, often = found_in(by_content(a, b)), found_in(by_content(a[copies], b[copies]))
    assert once.significant == often.significant == 0


@given(seed=seeds)
def test_the_order_of_items_changes_nothing(seed: int) -> None:
    a, b = sharing(300, DIMS, SPECTRA["fading"], 0.3, seed)
    order = np.random.default_rng(seed).permutation(300)
    same(found_in(by_content(a, b)), found_in(by_content(a[order], b[order])), 1e-4)


class Backwards:
    """A map that does the last first."""

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterable[Any]:
        return [function(one) for one in [*items][::-1]][::-1]


def test_the_way_draws_are_shared_out_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clear_cli.chance.LARGE", 0)
    monkeypatch.setattr("clear_cli.chance.BLOCK_BYTES", 1 << 17)
    moments = by_content(*sharing(500, (70, 66), SPECTRA["fading"], 0.3, 0))
    alone = found_in(moments)
    with ThreadPoolExecutor(4) as pool:
        for parallel in (pool.map, Backwards()):
            other = found_in(moments, parallel=parallel)
            assert (other.significant, other.effective) == (alone.significant, alone.effective)
            assert other.high.tobytes() + other.median.tobytes() == alone.high.tobytes() + alone.median.tobytes()


@pytest.mark.parametrize(("large", "used"), [(48, True), (49, False)])
def test_draws_are_shared_out_where_they_are_large(large: int, used: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clear_cli.chance.LARGE", large)
    calls = []

    def parallel(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterable[Any]:
        calls.append(function)
        return map(function, items)

    significance(np.zeros(3), np.eye(8, 3), np.eye(6, 3), np.ones((DRAWS, 8, 6), np.float32), parallel=parallel)
    assert len(calls) == int(used)


@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_too_few_items_show_nothing(rows: int) -> None:
    found = found_in(by_content(*independent(rows, DIMS, 0)))
    assert (found.significant, found.rank) == (0, 0)


def test_modalities_that_do_not_vary_show_nothing() -> None:
    found = found_in(by_content(np.ones((50, 20)), np.ones((50, 12))))
    assert (found.significant, found.rank) == (0, 0)
    assert not found.high.any()
