"""What goes wrong in removing redundancy from real data, and does not go wrong here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg

from clear_cli.errors import DataError
from clear_cli.health import PLACEHOLDER_ROWS, row_hashes
from clear_cli.moments import CrossMoments
from clear_cli.pooling import pooled
from clear_cli.workflow.fitting import Fitted
from tests.laws.planted import (
    Floats,
    accumulated,
    angle,
    dense_covariance,
    dense_directions,
    fit,
    planted,
    random_hashes,
    shared,
)

ITEMS = 1000


def assert_same_fit(one: Fitted, other: Fitted, *, rank: int = 3, tolerance: float = 1e-10) -> None:
    """Both fits remove the same: directions, means, spectra and ranks."""
    for name, projector in one.projectors.items():
        twin = other.projectors[name]
        assert projector.rank == twin.rank
        assert angle(projector.directions[:, :rank], twin.directions[:, :rank]) < tolerance
        np.testing.assert_allclose(projector.mean, twin.mean, atol=tolerance * (1 + np.abs(twin.mean).max()))
        np.testing.assert_allclose(projector.spectrum, twin.spectrum, atol=tolerance * twin.spectrum[0])


# The mean


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_mean_does_not_pose_as_a_shared_direction(dtype: Any) -> None:
    a, b = planted(ITEMS, (12, 8), dtype=dtype)
    towards = np.linspace(1, 2, 12)
    shifted = (a + 50 * towards).astype(dtype)
    fitted = fit({"image": shifted, "text": b + dtype(20)}, rank=3)
    image = fitted.projectors["image"]
    u = dense_directions(a, b)[0]
    assert angle(image.directions[:, :3], u[:, :3]) < (1e-9 if dtype == np.float64 else 1e-4)
    cosine = np.abs(image.directions[:, 0] @ towards) / np.linalg.norm(towards)
    assert cosine == pytest.approx(np.abs(u[:, 0] @ towards) / np.linalg.norm(towards), abs=1e-4)


# Tolerances


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rank", ["auto", "90%", "50%", 3])
def test_the_same_data_in_other_units_lose_the_same_directions(dtype: Any, rank: Any) -> None:
    a, b = planted(ITEMS, (16, 16), dtype=dtype)
    ranks = {
        factor: fit({"image": dtype(factor) * a, "text": dtype(factor) * b}, rank=rank).projectors["image"].rank
        for factor in (0.01, 1, 10, 1e-15, 1e15)
    }
    assert ranks[1] > 0
    assert set(ranks.values()) == {ranks[1]}


@pytest.mark.parametrize("options", [{}, {"directions": "correlation"}, {"removal": "oblique"}, {"scale": "rms"}])
def test_units_that_float32_cannot_hold_lose_the_same_directions(options: dict[str, Any]) -> None:
    a, b = planted(ITEMS, (16, 12))
    plain, far = (fit({"image": f * a, "text": b / f}, rank=3, **options) for f in (1.0, 1e60))
    for name, projector in far.projectors.items():
        assert angle(projector.directions[:, :3], plain.projectors[name].directions[:, :3]) < 1e-9


FAR = {
    1e200: 'values of "text" are about 1e+200, and products of them are beyond float64\n'
    "  in: <array text>\n  fix: multiply them by 1e-200 first",
    1e-200: 'values of "text" are about 1e-200, and products of them are beyond float64\n'
    "  in: <array text>\n  fix: multiply them by 1e+200 first",
}


@pytest.mark.parametrize("factor", FAR)
def test_values_whose_products_are_beyond_float64_are_refused(factor: float) -> None:
    a, b = planted(ITEMS, (16, 12))
    with pytest.raises(DataError) as caught:
        fit({"image": a, "text": factor * b})
    assert str(caught.value) == FAR[factor]


# Columns


def test_columns_of_dust_are_neither_amplified_nor_removed() -> None:
    a, b = planted(ITEMS, (12, 8), dtype=np.float32)
    dust = (1e-33 * np.random.default_rng(1).normal(size=(ITEMS, 6))).astype(np.float32)
    wide = np.concatenate([a, dust], axis=1)
    fitted = fit({"image": wide, "text": b}, rank=3)
    directions = fitted.projectors["image"].directions[:, :3]
    assert np.abs(directions[12:]).max() < 1e-30
    assert angle(directions[:12], dense_directions(a, b)[0][:, :3]) < 1e-6
    y = fitted.projectors["image"].transform(wide)
    assert np.abs(y[:, 12:]).max() < 2 * np.abs(dust).max()
    assert max(shared(wide, b).canonical_correlations()) < 1


def test_constant_columns_change_no_direction_of_correlation() -> None:
    a, b = planted(60, (12, 8))
    alone = fit({"image": a, "text": b}, rank=3, directions="correlation", removal="oblique")
    padded = np.concatenate([a, np.full((60, 40), 7.25)], axis=1)
    beside = fit({"image": padded, "text": b}, rank=3, directions="correlation", removal="oblique")
    np.testing.assert_allclose(
        beside.projectors["image"].transform(padded)[:, :12], alone.projectors["image"].transform(a), atol=1e-9
    )


def test_constant_columns_come_out_as_they_went_in() -> None:
    a, b = planted(ITEMS, (12, 8))
    a[:, 5], b[:, 0] = 7.25, -3.0
    fitted = fit({"image": a, "text": b}, rank=3)
    assert np.abs(fitted.projectors["image"].directions[5, :3]).max() < 1e-14
    np.testing.assert_allclose(fitted.projectors["image"].transform(a)[:, 5], 7.25, rtol=1e-14)
    np.testing.assert_allclose(fitted.projectors["text"].transform(b)[:, 0], -3.0, rtol=1e-14)


def test_fewer_items_than_dimensions_still_give_a_projection() -> None:
    a, b = planted(30, (64, 48))
    fitted = fit({"image": a, "text": b})
    assert fitted.warnings == [
        '"image" and "text" have 30 complete items, fewer than their 112 dimensions together: the fit follows noise'
    ]
    for name, x in (("image", a), ("text", b)):
        projector = fitted.projectors[name]
        assert 0 < projector.rank <= 12
        assert angle(projector.directions[:, :3], dense_directions(a, b)[0 if name == "image" else 2][:, :3]) < 1e-10
        assert np.isfinite(projector.transform(x)).all()


def test_a_rank_beyond_what_so_few_items_can_share_is_cut_with_a_warning() -> None:
    a, b = planted(12, (64, 48))
    fitted = fit({"image": a, "text": b}, rank=40)
    assert {name: one.rank for name, one in fitted.projectors.items()} == {"image": 11, "text": 11}
    assert fitted.warnings[1:] == [
        f'"{name}" can lose only 11 of the 40 directions that rank 40 asks for' for name in ("image", "text")
    ]


def test_a_modality_of_one_dimension_is_left_as_it_is() -> None:
    a, b = planted(ITEMS, (1, 8), shared=1)
    fitted = fit({"price": a, "text": b})
    price = fitted.projectors["price"]
    assert (price.rank, price.directions.shape) == (0, (1, 0))
    assert price.transform(a).tobytes() == a.tobytes()


def test_one_dimension_can_be_removed_from_its_partner() -> None:
    a, b = planted(ITEMS, (1, 8), shared=1)
    fitted = fit({"price": a, "text": b}, rank={"price": 0, "text": 1})
    left = fitted.projectors["text"].transform(b)
    assert np.ptp(left @ dense_directions(b, a)[0][:, 0]) < 1e-12 * np.ptp(b)
    assert np.abs((a - a.mean()).T @ left).max() < 1e-9 * ITEMS


def test_modalities_without_any_covariance_are_left_as_they_are() -> None:
    signs = scipy.linalg.hadamard(64).astype(np.float64)
    a, b = signs[:, 1:9], signs[:, 9:17]
    fitted = fit({"image": a, "text": b})
    assert fitted.warnings == [
        f'"{name}" shares nothing that stands out from chance, so nothing is removed from it: '
        "are the rows of the same items in the same order?"
        for name in ("image", "text")
    ]
    for name, x in (("image", a), ("text", b)):
        projector = fitted.projectors[name]
        assert not projector.spectrum.any()
        assert projector.rank == 0
        assert projector.transform(x).tobytes() == x.tobytes()


def test_a_fixed_rank_of_nothing_shared_is_nothing() -> None:
    signs = scipy.linalg.hadamard(64).astype(np.float64)
    fitted = fit({"image": signs[:, 1:9], "text": signs[:, 9:17]}, rank=2)
    assert {one.rank for one in fitted.projectors.values()} == {0}


# Missing rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_missing_rows_do_not_enter_the_fit(dtype: Any) -> None:
    a, b = planted(ITEMS, (12, 8), dtype=dtype, offset=5)
    rng = np.random.default_rng(2)
    without_image, without_text = rng.uniform(size=ITEMS) < 0.3, rng.uniform(size=ITEMS) < 0.2
    a[without_image], b[without_text] = 0, 0
    complete = ~without_image & ~without_text
    with_gaps = fit({"image": a, "text": b}, rank=3)
    without = fit({"image": a[complete], "text": b[complete]}, rank=3)
    assert with_gaps.moments["image", "text"].items == complete.sum()
    assert_same_fit(with_gaps, without, tolerance=1e-10 if dtype == np.float64 else 1e-5)


def test_absent_rows_do_not_enter_the_fit() -> None:
    a, b = planted(ITEMS, (12, 8), offset=5)
    ids = np.arange(ITEMS)
    absent = fit({"image": a[:700], "text": b[300:]}, ids={"image": ids[:700], "text": ids[300:]}, rank=3)
    assert_same_fit(absent, fit({"image": a[300:700], "text": b[300:700]}, rank=3))


def test_missingness_is_not_a_direction() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(ITEMS, 12)) + 3, rng.normal(size=(ITEMS, 8)) + 3
    gone = rng.uniform(size=ITEMS) < 0.3
    a[gone], b[gone] = 0, 0
    top = fit({"image": a, "text": b}).projectors["image"].directions[:, 0]
    assert np.abs(top @ np.ones(12)) / np.sqrt(12) < 0.9
    naive = dense_directions(a, b)[0][:, 0]
    assert np.abs(naive @ np.ones(12)) / np.sqrt(12) > 0.99


# Rows that are not finite


def test_kept_rows_that_are_not_finite_do_not_enter_the_fit_and_pass_through() -> None:
    a, b = planted(ITEMS, (12, 8))
    broken = a.copy()
    broken[10, 3], broken[11], broken[12, 0] = np.nan, np.inf, -np.inf
    fitted = fit({"image": broken, "text": b}, rank=3, on_invalid="keep")
    rest = np.delete(np.arange(ITEMS), [10, 11, 12])
    assert_same_fit(fitted, fit({"image": a[rest], "text": b[rest]}, rank=3))
    y = fitted.projectors["image"].transform(broken)
    assert y[10:13].tobytes() == broken[10:13].tobytes()
    np.testing.assert_allclose(y[rest], fitted.projectors["image"].transform(a[rest]), rtol=1e-12, atol=1e-12)


# Placeholders


def with_placeholders(a: Floats, rows: Any, value: Any) -> Floats:
    filled = a.copy()
    filled[rows] = value
    return filled


@pytest.fixture
def catalogue() -> tuple[Floats, Floats, Floats, Any]:
    """Image, text, a placeholder image, and the rows that hold it instead of their own."""
    a, b = planted(ITEMS, (12, 8), offset=2)
    filler = np.random.default_rng(4).normal(size=12) * 3
    rows = np.random.default_rng(5).choice(ITEMS, 150, replace=False)
    return with_placeholders(a, rows, filler), b, filler, rows


def test_placeholders_do_not_enter_the_fit(catalogue: Any) -> None:
    a, b, _, rows = catalogue
    rest = np.setdiff1d(np.arange(ITEMS), rows)
    assert_same_fit(fit({"image": a, "text": b}, rank=3), fit({"image": a[rest], "text": b[rest]}, rank=3))


def test_placeholders_of_both_modalities_do_not_enter_the_fit(catalogue: Any) -> None:
    a, b, _, rows = catalogue
    b = with_placeholders(b, slice(0, 40), 1.5)
    rest = np.setdiff1d(np.arange(40, ITEMS), rows)
    fitted = fit({"image": a, "text": b}, rank=3)
    assert_same_fit(fitted, fit({"image": a[rest], "text": b[rest]}, rank=3))
    assert [len(one.placeholders) for one in fitted.projectors.values()] == [1, 1]


def test_several_placeholders_are_all_remembered(catalogue: Any) -> None:
    a, b, filler, _ = catalogue
    a = with_placeholders(a, slice(100, 150), -filler)
    found = fit({"image": a, "text": b}).projectors["image"].placeholders
    assert {row.tobytes() for row in found} == {filler.tobytes(), (-filler).tobytes()}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_placeholders_are_projected_like_any_row_and_remembered(catalogue: Any, dtype: Any) -> None:
    a, b, filler, rows = catalogue
    a = a.astype(dtype)
    projector = fit({"image": a, "text": b}, rank=3).projectors["image"]
    assert projector.placeholders.dtype == dtype
    np.testing.assert_array_equal(projector.placeholders, filler.astype(dtype)[None])
    u = projector.directions[:, :3]
    moved = projector.transform(a)[rows]
    expected = a[rows].astype(np.float64) @ (np.eye(12) - u @ u.T)
    np.testing.assert_allclose(moved, expected, atol=20 * float(np.finfo(dtype).eps))
    known = projector.is_placeholder(row_hashes(a), a.dtype)
    np.testing.assert_array_equal(np.flatnonzero(known), np.sort(rows))


def test_placeholders_are_known_again_in_another_precision(catalogue: Any) -> None:
    a, b, _, rows = catalogue
    stored = a.astype(np.float32)
    projector = fit({"image": stored, "text": b}).projectors["image"]
    for dtype in (np.float16, np.float32, np.float64):
        new = stored[np.sort(rows)[:3]].astype(dtype)
        assert projector.is_placeholder(row_hashes(new), new.dtype).all()
        other = stored[:1].astype(dtype) + dtype(1)
        assert not projector.is_placeholder(row_hashes(other), other.dtype).any()


def test_a_placeholder_that_a_narrower_type_cannot_hold_is_in_none_of_its_rows(catalogue: Any) -> None:
    a, b, _, rows = catalogue
    loud = with_placeholders(a.astype(np.float32), rows, np.float32(1e5))
    projector = fit({"image": loud, "text": b}).projectors["image"]
    new = a.astype(np.float16)
    assert not projector.is_placeholder(row_hashes(new), new.dtype).any()


def test_nine_equal_rows_are_data_and_ten_are_a_placeholder() -> None:
    a, b = planted(ITEMS, (12, 8))
    for repeats, expected in ((PLACEHOLDER_ROWS - 1, 0), (PLACEHOLDER_ROWS, 1)):
        filled = with_placeholders(a, slice(0, repeats), 1.0)
        assert len(fit({"image": filled, "text": b}).projectors["image"].placeholders) == expected


@pytest.mark.parametrize("share", [0.3, 0.8, 0.95])
def test_a_placeholder_may_stand_in_most_rows(share: float) -> None:
    a, b = planted(ITEMS, (12, 8))
    filled = with_placeholders(a, slice(0, int(share * ITEMS)), 1.0)
    assert len(fit({"image": filled, "text": b}).projectors["image"].placeholders) == 1


def test_missing_rows_are_not_a_placeholder() -> None:
    a, b = planted(ITEMS, (12, 8))
    a[:500] = 0
    assert len(fit({"image": a, "text": b}).projectors["image"].placeholders) == 0


def one_hot(categories: int) -> Floats:
    return np.eye(categories)[np.random.default_rng(6).integers(0, categories, ITEMS)]


def test_a_coarse_modality_has_no_placeholders() -> None:
    _, b = planted(ITEMS, (12, 8))
    fitted = fit({"category": one_hot(12), "text": b})
    assert len(fitted.projectors["category"].placeholders) == 0
    assert fitted.moments["category", "text"].items == ITEMS


@pytest.mark.parametrize("categories", [2, 5, 8])
def test_a_very_coarse_modality_has_no_placeholders_either(categories: int) -> None:
    _, b = planted(ITEMS, (12, 8))
    fitted = fit({"category": one_hot(categories), "text": b})
    assert len(fitted.projectors["category"].placeholders) == 0
    assert fitted.moments["category", "text"].items == ITEMS


# Duplicates


def test_items_with_equal_contents_are_in_one_bucket() -> None:
    a, b = planted(100, (12, 8))
    copies = np.repeat(np.arange(100), 5)
    fitted = fit({"image": a[copies], "text": b[copies]})
    count = fitted.moments["image", "text"].count
    assert count.sum() == 500
    assert not (count % 5).any()


def test_a_duplicated_catalogue_gives_the_same_directions() -> None:
    a, b = planted(300, (12, 8))
    copies = np.tile(np.arange(300), 4)
    u = fit({"image": a[copies], "text": b[copies]}, rank=3).projectors["image"].directions[:, :3]
    assert angle(u, fit({"image": a, "text": b}, rank=3).projectors["image"].directions[:, :3]) < 1e-10


# Ties


def test_a_cut_between_tied_directions_is_warned_about_once_a_side() -> None:
    rng = np.random.default_rng(7)
    signal = scipy.linalg.qr(rng.normal(size=(ITEMS, 5)), mode="economic")[0]
    signal = scipy.linalg.qr(signal - signal.mean(axis=0), mode="economic")[0] * np.sqrt(ITEMS) * [3, 2, 2, 1, 0.5]
    a, b = np.zeros((ITEMS, 8)), np.zeros((ITEMS, 6))
    a[:, :5], b[:, :5] = signal, signal
    a, b = a @ scipy.linalg.qr(rng.normal(size=(8, 8)))[0], b @ scipy.linalg.qr(rng.normal(size=(6, 6)))[0]
    cut = fit({"image": a, "text": b}, rank=2)
    assert cut.warnings == [
        f'the singular values of "{name}" are tied at rank 2: which directions fall below the cut is arbitrary'
        for name in ("image", "text")
    ]
    for rank in (1, 3, 4):
        assert fit({"image": a, "text": b}, rank=rank).warnings == []
    # The tied directions rotate freely, their span does not.
    order = rng.permutation(ITEMS)
    one, other = fit({"image": a, "text": b}, rank=3), fit({"image": a[order], "text": b[order]}, rank=3)
    u, w = (found.projectors["image"].directions[:, :3] for found in (one, other))
    assert angle(u, w) < 1e-10


def test_the_sign_of_a_direction_is_fixed() -> None:
    a, b = planted(ITEMS, (12, 8))
    for sides in ({"image": a, "text": b}, {"image": -a, "text": b}, {"image": a, "text": -b}):
        image, text = fit(sides, rank=3).projectors.values()
        for u in image.directions[:, :3].T:
            assert u[np.argmax(np.abs(u))] > 0
        # Both sides of a pair of directions still belong to a positive singular value.
        pairs = zip(sides.values(), (image, text), strict=True)
        scores = [(x - x.mean(axis=0)) @ one.directions[:, :3] for x, one in pairs]
        assert (np.sum(scores[0] * scores[1], axis=0) > 0).all()


# Scales that change within a modality


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("small", [1e-6, 1e-15])
def test_a_quiet_beginning_does_not_spoil_the_rest(dtype: Any, small: float) -> None:
    a, b = planted(2000, (6, 5), dtype=dtype)
    a[:1000] *= dtype(small)
    b[:1000] *= dtype(small)
    moments = accumulated(a, b, random_hashes(2000, 0), batch=500)
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    expected = (a64 - a64.mean(axis=0)).T @ (b64 - b64.mean(axis=0)) / 1999
    np.testing.assert_allclose(moments.cross_covariance(), expected, atol=1e-6)
    assert moments.total_variance(0) == pytest.approx(a64.var(axis=0, ddof=1).sum(), rel=1e-6)


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_almost_silent_beginning_does_not_spoil_the_rest(dtype: Any) -> None:
    a, b = planted(2000, (6, 5), dtype=dtype)
    small = dtype(1e-20 if dtype == np.float32 else 1e-100)
    a[:1000] *= small
    b[:1000] *= small
    moments = accumulated(a, b, random_hashes(2000, 0), batch=500)
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    expected = (a64 - a64.mean(axis=0)).T @ (b64 - b64.mean(axis=0)) / 1999
    np.testing.assert_allclose(moments.cross_covariance(), expected, atol=1e-6)
    assert moments.total_variance(0) == pytest.approx(a64.var(axis=0, ddof=1).sum(), rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_loud_value_does_not_spoil_the_other_columns(dtype: Any) -> None:
    a, b = planted(2000, (6, 5), dtype=dtype)
    a[1700, 0] = 1e18
    moments = accumulated(a, b, random_hashes(2000, 0), batch=500)
    expected = dense_covariance(a, b)
    tolerance = 1e-12 if dtype == np.float64 else 1e-6
    np.testing.assert_allclose(moments.cross_covariance()[1:], expected[1:], atol=tolerance)
    np.testing.assert_allclose(moments.mean(0)[1:], a.mean(axis=0, dtype=np.float64)[1:], atol=tolerance)
    np.testing.assert_allclose(moments.cross_covariance()[0], expected[0], rtol=1e-5)


def test_moments_refuse_rows_that_do_not_fit() -> None:
    a, b = planted(5, (4, 3))
    with pytest.raises(ValueError) as error:
        CrossMoments(4, 3).update(a, b, random_hashes(4, 0))
    assert str(error.value) == "rows of (5, 4) and (5, 3) with 4 hashes do not fit (4, 3)"
    with pytest.raises(ValueError) as error:
        pooled(CrossMoments(4, 3), CrossMoments(3, 4))
    assert str(error.value) == "moments of (4, 3) and (3, 4) dimensions cannot be merged"
