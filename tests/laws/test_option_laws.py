"""What each option of a fit promises holds: strengths, directions, removal, means, norms, scales and far rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

import clear_cli
from clear_cli.winsor import Limit
from clear_cli.workflow.fitting import Fitted
from tests.laws.planted import Floats, angle, dense_covariance, fit, orthonormal, planted

seeds = st.integers(0, 2**32 - 1)
types = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
few = settings(max_examples=10)
RANK = 3

Sides = dict[str, Floats]


def catalogue(modalities: int = 2, items: int = 400, **options: Any) -> Sides:
    """Two or three planted modalities by name."""
    dims = (12, 8, 9)[:modalities]
    return dict(zip(("image", "text", "audio")[:modalities], planted(items, dims, **options), strict=True))


@pytest.fixture(params=[2, 3], ids=["two modalities", "three modalities"])
def sides(request: pytest.FixtureRequest) -> Sides:
    return catalogue(request.param)


def outputs(fitted: Fitted, sides: Sides) -> Sides:
    return {name: fitted.projectors[name].transform(x) for name, x in sides.items()}


def centred(x: Floats) -> Floats:
    x = x.astype(np.float64)
    return x - x.mean(axis=0)


def left_of(signal: Floats, x: Floats) -> float:
    """Share of the variance of a signal that is linear in x."""
    return float(LinearRegression().fit(x, signal).score(x, signal))


# Soft strength


@pytest.mark.parametrize("strength", ["soft", {"image": 0, "text": "soft"}, {"image": "soft", "text": 0.5}])
@pytest.mark.parametrize("ranks", [(3, 3), (3, 1), (1, 3), (0, 2), (2, 0)])
def test_soft_strength_shrinks_what_is_shared_to_its_chance_level(strength: Any, ranks: tuple[int, int]) -> None:
    sides = catalogue()
    fitted = fit(sides, strength=strength, rank=dict(zip(sides, ranks, strict=True)))
    left, chance = fitted.projectors["image"].spectrum.copy(), fitted.significances["image"].high
    strengths = strength if isinstance(strength, dict) else dict.fromkeys(sides, strength)
    for name, rank in zip(sides, ranks, strict=True):
        if strengths[name] != "soft":
            left[:rank] *= 1 - strengths[name]
    for name, rank in zip(sides, ranks, strict=True):
        if strengths[name] == "soft":
            left[:rank] = np.minimum(left, chance)[:rank]
    after = np.linalg.svd(dense_covariance(*outputs(fitted, sides).values()), compute_uv=False)
    np.testing.assert_allclose(after, np.sort(left)[::-1], atol=1e-12)


def test_two_soft_sides_share_the_work_and_one_does_it_alone() -> None:
    sides = catalogue()
    both, alone = fit(sides, strength="soft"), fit(sides, strength={"image": 0, "text": "soft"})
    image, text = both.projectors["image"], both.projectors["text"]
    np.testing.assert_array_equal(image.strength[: text.rank], text.strength[: text.rank])
    np.testing.assert_allclose(1 - alone.projectors["text"].strength, (1 - text.strength) ** 2, rtol=1e-12)


def test_a_soft_side_keeps_all_where_its_partner_removes_all() -> None:
    sides = catalogue()
    fitted = fit(sides, strength={"image": 1, "text": "soft"})
    assert fitted.projectors["text"].rank > 0
    assert fitted.projectors["text"].transform(sides["text"]).tobytes() == sides["text"].tobytes()


def test_soft_strength_takes_a_part_of_what_stands_out_and_nothing_of_what_does_not(sides: Sides) -> None:
    fitted = fit(sides, strength="soft", rank=5)
    for name, projector in fitted.projectors.items():
        outstanding = projector.spectrum[:5] > fitted.significances[name].high[:5]
        assert outstanding.sum() == RANK
        np.testing.assert_array_equal((projector.strength[:5] > 0) & (projector.strength[:5] < 1), outstanding)


# Directions of correlation


@given(seed=seeds, modalities=st.sampled_from([2, 3]), rows=st.integers(10, 200))
@few
def test_directions_of_correlation_are_orthonormal(seed: int, modalities: int, rows: int) -> None:
    for projector in fit(catalogue(modalities, rows, seed=seed), directions="correlation").projectors.values():
        u = projector.directions
        np.testing.assert_allclose(u.T @ u, np.eye(u.shape[1]), atol=1e-12)


def quiet_signal(seed: int, modalities: int = 2) -> tuple[Floats, Sides]:
    """A signal that is shared in the quietest directions of modalities whose loudest are their own."""
    rng = np.random.default_rng(seed)
    signal, sides = rng.normal(size=(2000, 2)), {}
    for name, dim in zip(("image", "text", "audio")[:modalities], (24, 16, 12), strict=False):
        x = rng.normal(size=(2000, dim)) * np.r_[0.1, 0.1, np.geomspace(5, 0.2, dim - 2)]
        x[:, :2] += 0.4 * signal
        sides[name] = x @ orthonormal(dim, dim, rng).T
    return signal, sides


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("seed", range(2))
def test_directions_of_correlation_find_a_quiet_signal_that_those_of_covariance_miss(
    seed: int, modalities: int
) -> None:
    signal, sides = quiet_signal(seed, modalities)
    by_covariance = outputs(fit(sides, rank=2), sides)
    by_correlation = outputs(fit(sides, rank=2, directions="correlation"), sides)
    for name, x in sides.items():
        assert left_of(signal, x) > 0.9
        assert left_of(signal, by_correlation[name]) < 0.02
        assert left_of(signal, by_covariance[name]) > 0.3


def test_units_of_columns_turn_a_direction_of_correlation_hardly_and_one_of_covariance_far() -> None:
    sides = catalogue(items=4000)
    units = np.geomspace(1, 10, 12)
    turned = {}
    for kind in ("covariance", "correlation"):
        before, after = (
            fit({**sides, "image": x}, rank=1, directions=kind).projectors["image"].directions[:, :1]
            for x in (sides["image"], sides["image"] * units)
        )
        # A direction of the data is in their units, too.
        turned[kind] = angle(np.linalg.qr(units[:, None] * before)[0], after)
    # Not to rounding: the shrinkage of the covariance knows units.
    assert turned["correlation"] < 0.02 < 0.2 < turned["covariance"]


# Oblique removal


@pytest.mark.parametrize("directions", ["covariance", "correlation"])
@pytest.mark.parametrize("keep_mean", [False, True])
def test_an_oblique_removal_is_a_projection(sides: Sides, directions: str, keep_mean: bool) -> None:
    fitted = fit(sides, removal="oblique", rank=RANK, directions=directions, keep_mean=keep_mean)
    for name, once in outputs(fitted, sides).items():
        projector = fitted.projectors[name]
        np.testing.assert_allclose(projector.readers.T @ projector.directions[:, :RANK], np.eye(RANK), atol=1e-12)
        np.testing.assert_allclose(projector.transform(once), once, atol=1e-12)


def test_after_an_oblique_removal_nothing_of_what_was_removed_can_be_read(sides: Sides) -> None:
    fitted = fit(sides, removal="oblique", rank=RANK)
    for name, y in outputs(fitted, sides).items():
        removed = centred(sides[name]) @ fitted.projectors[name].readers
        assert np.abs(dense_covariance(removed, y)).max() < 1e-12
        assert left_of(removed, y) < 1e-12


def test_after_either_removal_the_scores_of_the_partner_cannot_be_read() -> None:
    sides = catalogue()
    for removal in ("orthogonal", "oblique"):
        fitted = fit(sides, removal=removal, rank=RANK)
        for name, partner in (("image", "text"), ("text", "image")):
            scores = centred(sides[partner]) @ fitted.projectors[partner].directions[:, :RANK]
            assert left_of(scores, fitted.projectors[name].transform(sides[name])) < 1e-12


def test_an_oblique_removal_leaves_rows_alone_that_it_reads_nothing_in(sides: Sides) -> None:
    fitted = fit(sides, removal="oblique", rank=RANK)
    for name, x in sides.items():
        basis = np.linalg.qr(fitted.projectors[name].readers)[0]
        outside = x - x @ basis @ basis.T
        np.testing.assert_allclose(fitted.projectors[name].transform(outside), outside, atol=1e-13)


@given(seed=seeds, units=st.sampled_from([0, 1, 3]))
@few
def test_an_oblique_removal_changes_rows_least_in_any_metric(seed: int, units: float) -> None:
    """Belrose et al. 2023, theorem 4.3: of all maps after which the partner's scores cannot be read."""
    sides = catalogue(seed=seed)
    metric = np.random.default_rng(seed).normal(size=(12, 12)) * np.exp(-units * np.arange(12))
    x = sides["image"]
    oblique, orthogonal = (
        centred(fit(sides, removal=removal, rank=RANK).projectors["image"].transform(x) - x) @ metric
        for removal in ("oblique", "orthogonal")
    )
    assert np.linalg.norm(oblique) <= np.linalg.norm(orthogonal) * (1 + 1e-9)


def test_an_oblique_removal_spares_private_signal_that_lies_along_the_shared_one() -> None:
    rng = np.random.default_rng(0)
    signal, private = rng.normal(size=(2, 4000, 2))
    shared = orthonormal(12, 2, rng)
    # The private signal leans on the shared directions, and shows itself outside of them, too.
    own = shared + 0.6 * orthonormal(12, 2, rng)
    sides = {
        "image": signal @ shared.T + 2 * private @ own.T + 0.1 * rng.normal(size=(4000, 12)),
        "text": signal @ orthonormal(8, 2, rng).T + 0.1 * rng.normal(size=(4000, 8)),
    }
    kept = {}
    for removal in ("orthogonal", "oblique"):
        y = fit(sides, removal=removal, rank=2).projectors["image"].transform(sides["image"])
        assert left_of(signal, y) < 0.01
        kept[removal] = np.linalg.norm(y - y.mean(axis=0)) / np.linalg.norm(centred(sides["image"]))
    assert kept["oblique"] > 1.3 * kept["orthogonal"]


# Kept means


@types
@pytest.mark.parametrize("offset", [0, 30, 1000])
@pytest.mark.parametrize(
    "options",
    [{}, {"removal": "oblique"}, {"directions": "correlation"}, {"strength": "soft"}, {"strength": 0.5}],
    ids=str,
)
def test_kept_means_are_those_of_the_input_to_rounding(dtype: Any, offset: float, options: dict[str, Any]) -> None:
    sides = catalogue(dtype=dtype, offset=offset)
    fitted = fit(sides, rank=RANK, keep_mean=True, **options)
    for name, y in outputs(fitted, sides).items():
        x = sides[name].astype(np.float64)
        shift = np.abs((y.astype(np.float64) - x).mean(axis=0)).max()
        assert shift < float(np.finfo(dtype).eps) * np.abs(x).max()
        assert fitted.projectors[name].rank == RANK
    if offset == 1000 and dtype != np.float16:
        dropped = fit(sides, rank=RANK, **options).projectors["image"].transform(sides["image"])
        assert np.abs((dropped - sides["image"]).mean(axis=0)).max() > 1


def test_means_are_kept_for_three_modalities_and_nothing_else_changes(sides: Sides) -> None:
    plain, kept = fit(sides, rank=RANK), fit(sides, rank=RANK, keep_mean=True)
    for name, y in outputs(kept, sides).items():
        np.testing.assert_allclose(y.mean(axis=0), sides[name].mean(axis=0), atol=1e-15)
        np.testing.assert_allclose(centred(y), centred(plain.projectors[name].transform(sides[name])), atol=1e-13)


# Norms


@types
@pytest.mark.parametrize("offset", [0, 3])
def test_rows_come_out_with_the_norm_that_was_asked_for(dtype: Any, offset: float) -> None:
    for modalities in (2, 3):
        sides = catalogue(modalities, dtype=dtype, offset=offset)
        unit, original = (fit(sides, rank=2, renorm=renorm) for renorm in ("unit", "original"))
        for name, x in sides.items():
            rounding = {"rtol": 4 * float(np.finfo(dtype).eps)}
            norms = [
                np.linalg.norm(y.astype(np.float64), axis=1)
                for y in (unit.projectors[name].transform(x), original.projectors[name].transform(x), x)
            ]
            np.testing.assert_allclose(norms[0], 1, **rounding)
            np.testing.assert_allclose(norms[1], norms[2], **rounding)


@pytest.mark.parametrize("renorm", ["unit", "original"])
def test_a_norm_does_not_turn_a_row(sides: Sides, renorm: str) -> None:
    plain, normed = fit(sides, rank=RANK), fit(sides, rank=RANK, renorm=renorm)
    for name, y in outputs(plain, sides).items():
        z = normed.projectors[name].transform(sides[name])
        cosine = np.sum(y * z, axis=1) / (np.linalg.norm(y, axis=1) * np.linalg.norm(z, axis=1))
        np.testing.assert_allclose(cosine, 1, atol=1e-14)


@types
@pytest.mark.parametrize("size", [0.01, 1, 1000])
@pytest.mark.parametrize("renorm", ["unit", "original"])
@pytest.mark.parametrize("removal", ["orthogonal", "oblique"])
def test_a_row_of_shared_signal_alone_is_not_blown_up(dtype: Any, size: float, renorm: Any, removal: Any) -> None:
    projector = fit(catalogue(dtype=dtype), rank=RANK, renorm=renorm, removal=removal).projectors["image"]
    row = (size * projector.directions[:, :1].T).astype(dtype)
    left = float(np.linalg.norm(projector.transform(row).astype(np.float64)))
    assert left < 16 * float(np.finfo(dtype).eps) * (1 if renorm == "unit" else size)


# Scales


@types
@pytest.mark.parametrize("offset", [0, 5])
def test_every_modality_is_brought_to_the_same_root_mean_square_norm(dtype: Any, offset: float) -> None:
    for modalities in (2, 3):
        sides = {
            name: (loudness * x).astype(dtype)
            for (name, x), loudness in zip(catalogue(modalities, offset=offset).items(), (0.1, 1, 30), strict=False)
        }
        plain, scaled = fit(sides, rank=2), fit(sides, rank=2, scale="rms")
        for name, x in sides.items():
            projector = scaled.projectors[name]
            x64 = projector.scale * x.astype(np.float64)
            assert np.sqrt(np.mean(np.sum(x64**2, axis=1))) == pytest.approx(1, rel=1e-6)
            assert angle(projector.directions[:, :2], plain.projectors[name].directions[:, :2]) < 1e-12
            expected = plain.projectors[name].transform(x).astype(np.float64) * projector.scale
            np.testing.assert_allclose(projector.transform(x), expected, atol=4 * float(np.finfo(dtype).eps))


def test_a_scale_counts_complete_items_alone() -> None:
    sides = catalogue()
    sides["text"][:100] = 0
    image = fit(sides, scale="rms").projectors["image"]
    assert image.scale * np.sqrt(np.mean(np.sum(sides["image"][100:] ** 2, axis=1))) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("options", [{"scale": "rms"}, {"renorm": "unit"}, {"keep_mean": True, "removal": "oblique"}])
def test_what_was_fitted_is_kept_in_the_projector_and_applied_to_new_rows(
    options: dict[str, Any], tmp_path: Path
) -> None:
    sides, new = catalogue(), catalogue(seed=1)
    fitted = clear_cli.fit(sides, **options)
    fitted.save(tmp_path / "projector.safetensors")
    applied: Any = clear_cli.apply(tmp_path / "projector.safetensors", new)
    for name, x in new.items():
        assert applied[name].tobytes() == fit(sides, **options).projectors[name].transform(x).tobytes()


# Far rows


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("options", [{}, {"directions": "correlation"}], ids=str)
def test_a_few_far_rows_do_not_decide_a_winsorised_fit(modalities: int, options: dict[str, Any]) -> None:
    clean = catalogue(modalities)
    far = {name: np.where(np.arange(400)[:, None] < 4, 1000 * x, x) for name, x in clean.items()}
    truth, raw = fit(clean, rank=RANK, **options), fit(far, rank=RANK, **options)
    drawn_in = fit(far, rank=RANK, winsorise=0.95, **options)
    for name, projector in truth.projectors.items():
        raw_angle, drawn_angle = (
            angle(one.projectors[name].directions[:, :RANK], projector.directions[:, :RANK]) for one in (raw, drawn_in)
        )
        assert drawn_angle < 0.1 < 0.5 < raw_angle


def test_a_winsorised_fit_does_not_clip_the_output() -> None:
    sides = catalogue()
    sides["image"][:4] *= 1000
    image = fit(sides, rank=RANK, winsorise=0.95).projectors["image"]
    u = image.directions[:, :RANK]
    np.testing.assert_allclose(image.transform(sides["image"]), sides["image"] @ (np.eye(12) - u @ u.T), atol=1e-10)


def test_a_few_far_rows_do_not_decide_how_loud_the_others_are_where_the_fit_is_winsorised() -> None:
    sides = catalogue()
    sides["image"][:4] *= 1000
    image = fit(sides, scale="rms", winsorise=0.95).projectors["image"]
    drawn_in = Limit.of(sides["image"], 0.95).shortened(sides["image"])
    assert image.scale * np.sqrt(np.mean(np.sum(drawn_in**2, axis=1))) == pytest.approx(1, rel=1e-12)
    written = fit(sides, rank=0, scale="rms", winsorise=0.95).projectors["image"].transform(sides["image"])
    assert 0.8 < np.sqrt(np.mean(np.sum(written[4:] ** 2, axis=1))) < 1.2
    assert np.sqrt(np.mean(np.sum(written**2, axis=1))) > 50


@pytest.mark.parametrize("modalities", [2, 3])
def test_where_no_row_is_farther_out_than_the_limit_nothing_changes(modalities: int) -> None:
    sides = catalogue(modalities, offset=5)
    plain, limited = fit(sides), fit(sides, winsorise=1.0)
    for name, projector in plain.projectors.items():
        other = limited.projectors[name]
        for part in ("mean", "directions", "spectrum", "strength"):
            assert getattr(other, part).tobytes() == getattr(projector, part).tobytes()
