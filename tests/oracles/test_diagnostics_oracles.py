"""Each figure of redundancy equals its definition, or the figure of an independent implementation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg
from sklearn.covariance import OAS
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from clear_cli.chance import TOLERANCE, balanced_signs
from clear_cli.diagnostics import neighbour_overlap
from clear_cli.shared import BUCKETS, Figures, Shared
from clear_cli.workflow.evidence import FOLDS
from tests.laws.planted import Floats, dense_covariance, dense_signed_sums, fit, orthonormal, planted, shared

CASES: dict[str, dict[str, Any]] = {
    "float64": {},
    "float32": {"dtype": np.float32},
    "float16": {"dtype": np.float16},
    "offset 100": {"dtype": np.float32, "offset": 100.0},
    "scale 1e-30": {"dtype": np.float32, "scale": 1e-30},
    "scale 1e30": {"dtype": np.float32, "scale": 1e30},
    "scale 1e-60": {"scale": 1e-60},
    "scale 1e60": {"scale": 1e60},
    "independent": {"shared": 0},
}


@pytest.fixture(params=CASES)
def rows(request: pytest.FixtureRequest) -> tuple[Floats, Floats]:
    a, b = planted(300, (14, 9), **CASES[request.param])
    return a, b


def centred(x: Floats) -> Floats:
    """In float64 and, as no figure may depend on it, brought to unit scale."""
    x = x.astype(np.float64)
    x = x - x.mean(axis=0)
    return x / np.abs(x).max()


def dense_canonical_correlations(a: Floats, b: Floats) -> Floats:
    """Singular values of Q_a^T Q_b (Bjorck & Golub 1973), over the numerical ranges of both."""

    def basis(x: Floats) -> Floats:
        q, r, _ = scipy.linalg.qr(centred(x), mode="economic", pivoting=True)
        size = np.abs(np.diag(r))
        return q[:, size > 1e-8 * size[0]]

    return scipy.linalg.svdvals(basis(a).T @ basis(b))


def unbiased_hsic(k: Floats, m: Floats) -> float:
    """Song et al. 2012, equation 5, with n x n Gram matrices."""
    n = len(k)
    k, m = k.copy(), m.copy()
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    total = np.trace(k @ m) + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 * (k @ m).sum() / (n - 2)
    return float(total / (n * (n - 3)))


def test_rv_is_its_definition(rows: tuple[Floats, Floats]) -> None:
    a, b = map(centred, rows)
    c, s_a, s_b = dense_covariance(a, b), dense_covariance(a, a), dense_covariance(b, b)
    expected = np.trace(c @ c.T) / np.sqrt(np.trace(s_a @ s_a) * np.trace(s_b @ s_b))
    assert shared(*rows).rv() == pytest.approx(expected, rel=1e-9)


def test_rv_is_linear_cka(rows: tuple[Floats, Floats]) -> None:
    a, b = map(centred, rows)
    k, m = a @ a.T, b @ b.T
    assert shared(*rows).rv() == pytest.approx(np.sum(k * m) / (np.linalg.norm(k) * np.linalg.norm(m)), rel=1e-9)


def test_debiased_cka_is_that_of_the_gram_matrices(rows: tuple[Floats, Floats]) -> None:
    # Not quite centred: the estimator takes care of means itself.
    a, b = (centred(x) + 0.3 for x in rows)
    k, m = a @ a.T, b @ b.T
    expected = unbiased_hsic(k, m) / np.sqrt(unbiased_hsic(k, k) * unbiased_hsic(m, m))
    assert shared(*rows).cka_debiased() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_canonical_correlations_are_those_of_the_qr_factors(rows: tuple[Floats, Floats]) -> None:
    np.testing.assert_allclose(shared(*rows).canonical_correlations(), dense_canonical_correlations(*rows), atol=1e-7)


def test_linear_r2_is_that_of_a_linear_regression(rows: tuple[Floats, Floats]) -> None:
    a, b = map(centred, rows)
    forward, backward = shared(*rows).linear_r2()
    for found, x, y in ((forward, a, b), (backward, b, a)):
        predicted = LinearRegression().fit(x, y).predict(x)
        assert found == pytest.approx(r2_score(y, predicted, multioutput="variance_weighted"), abs=1e-8)


def test_effective_rank_is_the_exponential_of_the_entropy(rows: tuple[Floats, Floats]) -> None:
    for found, x in zip(shared(*rows).effective_ranks(), rows, strict=True):
        values = np.linalg.svd(centred(x), compute_uv=False)
        shares = values / values.sum()
        assert found == pytest.approx(np.exp(-np.sum(shares * np.log(shares))), rel=1e-6)


def test_effective_rank_counts_equal_directions() -> None:
    (x,) = planted(200, (12,))
    u, _, vt = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    equal = u[:, :5] @ vt[:5]
    assert shared(equal, equal).effective_ranks() == pytest.approx((5, 5), rel=1e-4)


def test_duplicated_and_constant_columns_do_not_change_what_is_linear() -> None:
    a, b = planted(300, (8, 6), dtype=np.float32)
    wide = np.concatenate([a, a[:, :3], np.full((300, 2), 5, np.float32), np.full((300, 1), 1e-33, np.float32)], axis=1)
    plain, padded = shared(a, b), shared(wide, b)
    np.testing.assert_allclose(padded.canonical_correlations(), plain.canonical_correlations(), atol=1e-5)
    assert padded.linear_r2()[0] == pytest.approx(plain.linear_r2()[0], abs=1e-6)


def test_columns_of_noise_at_1e_33_do_not_enter_the_correlations() -> None:
    a, b = planted(300, (8, 6), dtype=np.float32)
    dust = (1e-33 * np.random.default_rng(1).normal(size=(300, 20))).astype(np.float32)
    plain, padded = shared(a, b), shared(np.concatenate([a, dust], axis=1), b)
    assert len(padded.canonical_correlations()) == 6
    np.testing.assert_allclose(padded.canonical_correlations(), plain.canonical_correlations(), atol=1e-5)
    assert padded.linear_r2() == pytest.approx(plain.linear_r2(), abs=1e-6)


@pytest.mark.parametrize("items", [4, 5])
def test_four_items_are_enough_for_the_debiased_cka(items: int) -> None:
    a, b = planted(items, (4, 3))
    k, m = a @ a.T, b @ b.T
    expected = unbiased_hsic(k, m) / np.sqrt(unbiased_hsic(k, k) * unbiased_hsic(m, m))
    assert shared(a, b).cka_debiased() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("buckets", [[0, 1], [5, 5]])
def test_two_items_differ_in_one_direction_which_does_not_stand_out_from_chance(buckets: list[int]) -> None:
    a, b = planted(2, (4, 3))
    one = Shared(a, b, np.array(buckets, np.uint8), FOLDS)
    assert one.shared_norm == pytest.approx(np.linalg.norm(dense_covariance(a, b)))
    figures = one.figures(1)
    assert figures["canonical_correlations"] == pytest.approx([1])
    assert figures["canonical_correlations_significant"] == 0


def test_what_is_the_same_is_explained_and_correlated_wholly_and_no_more() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        (a,) = planted(300, (6,), seed=seed)
        for b in (a, a @ rng.normal(size=(6, 6))):
            one = shared(a, b)
            wholly = np.r_[one.canonical_correlations(), one.linear_r2(), one.rv() if b is a else 1.0]
            assert wholly == pytest.approx(1)
            assert max(one.canonical_correlations().max(), *one.linear_r2()) <= 1
            figures = one.held_out(3)
            assert figures is not None
            assert 0.99 < max(figures["canonical_correlation_top"]["folds"]) <= 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_a_removed_direction_is_gone_though_rounding_leaves_some_of_it(offset: float, dtype: Any) -> None:
    a, b = planted(300, (6, 7))
    a[:, 2] = 0
    gone = (a @ orthonormal(6, 6, np.random.default_rng(0)).T + offset).astype(dtype)
    assert np.linalg.eigvalsh(dense_covariance(gone, gone))[0] > 0
    for rows in ((gone, b), (b, gone)):
        assert len(shared(*rows).canonical_correlations()) == 5


def test_nothing_can_be_said_about_too_little() -> None:
    a, b = planted(3, (4, 3))
    assert shared(a, b).cka_debiased() is None
    constant = np.ones((20, 3))
    nothing = shared(constant, constant)
    assert (nothing.rv(), nothing.cka_debiased(), nothing.linear_r2()) == (None, None, (None, None))
    assert len(nothing.canonical_correlations()) == 0
    assert nothing.effective_ranks() == (0.0, 0.0)
    assert nothing.figures(1)["held_out"] is None
    for rows in (
        (constant, a[:1] + np.zeros((20, 1))),
        (constant, planted(20, (4,))[0]),
        (planted(20, (4,))[0], constant),
    ):
        figures = shared(*rows).figures(1)
        assert (figures["canonical_correlations"], figures["canonical_correlations_chance"]) == ([], [])
        assert (figures["canonical_correlation_top"], figures["held_out"]) == (None, None)
    assert neighbour_overlap(a[:2], b[:2]) == {"jaccard": None, "chance": None, "k": 0, "items": 2}


def test_figures_are_plain_numbers_of_the_same_sample(rows: tuple[Floats, Floats]) -> None:
    one = shared(*rows)
    figures = one.figures(2)
    correlations = one.canonical_correlations()
    assert figures["canonical_correlation_top"] == correlations[0]
    assert figures["canonical_correlation_mean"] == correlations.mean()
    assert figures["canonical_correlations"] == correlations.tolist()
    assert figures["rv"] == one.rv()
    assert all(isinstance(one, float) for one in (*figures["linear_r2"], *figures["effective_rank"]))


def brute_force_overlap(a: Floats, b: Floats, k: int) -> float:
    """Mean Jaccard of the sets of the k most similar others, one pair of items at a time."""

    def near(x: Floats, i: int) -> set[int]:
        x = x.astype(np.float64)
        cosines = [(x[i] @ x[j] / (np.linalg.norm(x[i]) * np.linalg.norm(x[j])), j) for j in range(len(x)) if j != i]
        return {j for _, j in sorted(cosines)[-k:]}

    overlaps = [(near(a, i), near(b, i)) for i in range(len(a))]
    return float(np.mean([len(one & other) / len(one | other) for one, other in overlaps]))


@pytest.mark.parametrize("items", [3, 8, 12, 90])
def test_neighbour_overlap_is_that_of_a_brute_force_search(items: int) -> None:
    a, b = planted(items, (6, 5), noise=0.1)
    k = min(10, items - 2)
    figures = neighbour_overlap(a, b)
    assert (figures["k"], figures["items"]) == (k, items)
    assert figures["jaccard"] == pytest.approx(brute_force_overlap(a, b, k), abs=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_neighbours_do_not_depend_on_the_scale(scale: float) -> None:
    a, b = planted(90, (6, 5), dtype=np.float32)
    expected = neighbour_overlap(a, b)["jaccard"]
    assert neighbour_overlap(np.float32(scale) * a, b)["jaccard"] == pytest.approx(expected, abs=0.01)


def test_a_modality_overlaps_with_itself_completely() -> None:
    (a,) = planted(90, (6,))
    assert neighbour_overlap(a, a)["jaccard"] == 1


@pytest.mark.parametrize("items", [5, 14, 60])
def test_chance_overlap_is_that_of_random_sets(items: int) -> None:
    a, b = planted(items, (6, 5))
    figures = neighbour_overlap(a, b)
    k, draws = figures["k"], 20_000
    rng = np.random.default_rng(0)
    others = np.argsort(rng.uniform(size=(draws, items - 1)), axis=1)[:, :k]
    # One of the two sets may as well be fixed.
    common = np.count_nonzero(others < k, axis=1)
    jaccard = common / (2 * k - common)
    assert figures["chance"] == pytest.approx(jaccard.mean(), abs=5 * jaccard.std() / np.sqrt(draws) + 1e-12)


def test_independent_modalities_are_at_the_chance_level() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(600, 6)), rng.normal(size=(600, 5))
    figures = neighbour_overlap(a, b)
    assert figures["jaccard"] == pytest.approx(figures["chance"], abs=0.003)
    assert shared(a, b).cka_debiased() == pytest.approx(0, abs=0.01)


def test_which_bucket_an_item_is_in_changes_no_figure_of_the_whole() -> None:
    a, b = planted(300, (14, 9), offset=5)
    whole = shared(a, b).figures(3)
    buckets = np.random.default_rng(1).integers(0, BUCKETS, 300).astype(np.uint8)
    other = Shared(a, b, buckets, FOLDS).figures(3)
    assert other["rv"] == pytest.approx(whole["rv"], rel=1e-12)
    assert other["cka_debiased"] == pytest.approx(whole["cka_debiased"], rel=1e-10)
    np.testing.assert_allclose(other["canonical_correlations"], whole["canonical_correlations"], rtol=1e-9)


# Held out


def learned_without_a_fold(a: Floats, b: Floats, buckets: Floats, fold: int, signs: Floats | None = None) -> Figures:
    """Correlations and R^2 both ways on a fold, from the rows of it and of the others, with the shrinkage of
    scikit-learn; of a draw of chance on both, where signs are given.
    """
    held = buckets * FOLDS // BUCKETS == fold

    def cross(rows: Floats) -> Floats:
        if signs is None:
            return dense_covariance(a[rows], b[rows])
        return dense_signed_sums(a[rows], b[rows], buckets[rows], signs[None])[0] / (len(a[rows]) - 1)

    s_a, s_b = (dense_covariance(x[held], x[held]) for x in (a, b))
    shrunk = []
    for x in (a[~held], b[~held]):
        shrunk.append(OAS().fit(x).covariance_ * len(x) / (len(x) - 1))
    half_a, half_b = (np.linalg.inv(scipy.linalg.sqrtm(one)) for one in shrunk)
    u, _, vt = np.linalg.svd(half_a @ cross(~held) @ half_b, full_matrices=False)
    w, v = half_a @ u, half_b @ vt.T
    sizes = np.sqrt(np.diag(w.T @ s_a @ w) * np.diag(v.T @ s_b @ v))

    def explained(weights: Floats, c: Floats, s_x: Floats, s_y: Floats) -> float:
        return float(2 * np.trace(weights.T @ c) - np.trace(weights.T @ s_x @ weights)) / float(np.trace(s_y))

    forward, backward = (np.linalg.solve(shrunk[0], cross(~held)), np.linalg.solve(shrunk[1], cross(~held).T))
    return {
        "correlations": np.diag(w.T @ cross(held) @ v) / sizes,
        "linear_r2": (explained(forward, cross(held), s_a, s_b), explained(backward, cross(held).T, s_b, s_a)),
    }


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_held_out_figures_are_those_of_rows_that_were_not_seen(rank: int) -> None:
    a, b = planted(200, (8, 5), offset=2)
    buckets = np.random.default_rng(0).integers(0, BUCKETS, len(a)).astype(np.uint8)
    figures = Shared(a, b, buckets, FOLDS).held_out(rank)
    assert figures is not None
    seen = [learned_without_a_fold(a, b, buckets, fold) for fold in range(FOLDS)]
    signs = balanced_signs(BUCKETS)
    drawn = [learned_without_a_fold(a, b, buckets, fold, signs[fold]) for fold in range(FOLDS)]
    for key, count in (("canonical_correlation_top", 1), ("canonical_correlation_mean", max(rank, 1))):
        expected = [one["correlations"][:count].mean() for one in seen]
        np.testing.assert_allclose(figures[key]["folds"], expected, rtol=1e-9)
        by_chance = np.mean([one["correlations"][:count].mean() for one in drawn])
        assert figures[key]["chance"] == pytest.approx(by_chance, rel=1e-9)
    expected = np.mean([one["correlations"] for one in seen], axis=0)
    np.testing.assert_allclose(figures["canonical_correlations"], expected, rtol=1e-9)
    for side in (0, 1):
        found = figures["linear_r2"][side]
        np.testing.assert_allclose(found["folds"], [one["linear_r2"][side] for one in seen], rtol=1e-9)
        assert found["chance"] == pytest.approx(np.mean([one["linear_r2"][side] for one in drawn]), rel=1e-9)
    top = figures["canonical_correlation_top"]
    assert top["low"] < top["value"] < top["high"] <= 1
    assert abs(top["chance"]) < 0.3 < top["value"]


def test_chance_beside_the_correlations_is_that_of_signed_sums_of_whitened_rows() -> None:
    a, b = planted(60, (8, 5), offset=2)
    buckets = (np.arange(len(a)) % BUCKETS).astype(np.uint8)
    figures = shared(a, b).figures(3)
    half_a, half_b = (np.linalg.inv(scipy.linalg.sqrtm(dense_covariance(x, x))) for x in (a, b))
    draws = half_a @ dense_signed_sums(a, b, buckets, balanced_signs(BUCKETS)) @ half_b / 59
    u, _, vt = np.linalg.svd(half_a @ dense_covariance(a, b) @ half_b, full_matrices=False)
    significant = figures["canonical_correlations_significant"]
    assert 0 < significant < 5
    expected = []
    for depth in (0, significant):
        left, right = u[:, depth:], vt[depth:]
        # The complement of U has more columns than U has left.
        whole = np.eye(8) - u[:, :depth] @ u[:, :depth].T
        assert left.shape[1] == len(right)
        expected.append(np.median(np.linalg.norm(whole @ draws @ right.T, 2, axis=(1, 2))))
    by_chance = figures["canonical_correlations_chance"]
    assert len(by_chance) == 5
    assert figures["canonical_correlation_top_chance"] == by_chance[0]
    assert [by_chance[0], by_chance[significant]] == pytest.approx(expected, rel=2 * TOLERANCE)
    assert by_chance[0] > (1 + 10 * TOLERANCE) * by_chance[1]


@pytest.mark.parametrize(("in_folds", "used"), [((4, 9, 4, 9), 4), ((3, 9, 3, 9), 2), ((3, 3, 3, 9), None)])
def test_folds_of_fewer_than_four_items_are_left_out(in_folds: tuple[int, ...], used: int | None) -> None:
    # All items of a fold are in its last bucket.
    buckets = np.repeat((np.arange(4) + 1) * BUCKETS // FOLDS - 1, in_folds).astype(np.uint8)
    figures = Shared(*planted(len(buckets), (3, 3)), buckets, FOLDS).held_out(1)
    assert (figures and len(figures["canonical_correlation_top"]["folds"])) == used


@pytest.mark.parametrize("exactly", [True, False])
def test_of_a_modality_that_is_constant_on_a_fold_nothing_is_explained_there(exactly: bool) -> None:
    a, b = planted(384, (5, 4))
    # Small whole numbers, each row with its opposite: the mean, and what is constant there, is exactly zero.
    b = np.round(4 * np.concatenate([b[:192], -b[:192]])) if exactly else b
    b[np.arange(384) % BUCKETS * FOLDS // BUCKETS == 2] = 0 if exactly else np.sqrt(b[0] ** 2 + 1)
    figures = shared(a, b).held_out(1)
    assert figures is not None
    assert [len(one["folds"]) for one in figures["linear_r2"]] == [3, 4]
    assert figures["canonical_correlation_top"]["folds"][2] == 0
    assert figures["linear_r2"][1]["folds"][2] <= 1e-12


def test_what_turns_round_on_a_fold_correlates_with_minus_one_there_and_no_less() -> None:
    for seed in range(10):
        (a,) = planted(300, (1,), shared=1, seed=seed)
        b = np.where(np.arange(300) % BUCKETS * FOLDS // BUCKETS == 0, -1, 1)[:, None] * a
        figures = shared(a, b / 3).held_out(1)
        assert figures is not None
        lowest = min(figures["canonical_correlation_top"]["folds"])
        assert lowest == pytest.approx(-1)
        assert lowest >= -1


def test_what_the_fit_makes_of_noise_does_not_hold_out() -> None:
    rng = np.random.default_rng(0)
    figures = shared(rng.normal(size=(300, 60)), rng.normal(size=(300, 40))).figures(1)
    held = figures["held_out"]
    assert figures["canonical_correlation_top"] > 0.7, "the fit flatters itself"
    assert abs(held["canonical_correlation_top"]["value"]) < 0.2
    assert max(one["value"] for one in held["linear_r2"]) < 0.01
    assert figures["canonical_correlations_significant"] == 0
    assert figures["canonical_correlation_top"] == pytest.approx(figures["canonical_correlation_top_chance"], abs=0.08)


def test_directions_that_are_gone_correlate_with_nothing_on_other_items() -> None:
    a, b = planted(900, (12, 8))
    fitted = fit({"image": a, "text": b}, rank=7)
    held = shared(*(fitted.projectors[name].transform(x) for name, x in (("image", a), ("text", b)))).held_out(7)
    assert held is not None
    assert max(map(abs, held["canonical_correlations"])) <= 1
    assert abs(held["canonical_correlation_mean"]["value"]) < 0.5
