"""The fitted map of one modality: what it does to rows, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clear_cli.errors import DataError
from clear_cli.health import row_hashes
from clear_cli.projector import Projector
from tests.laws.planted import Floats, fit, orthonormal, planted

TYPES = [np.float16, np.float32, np.float64]


def projector(dim: int = 6, kept: int = 3, **parameters: Any) -> Projector:
    rng = np.random.default_rng(0)
    defaults: dict[str, Any] = {
        "rank": 2,
        "mean": rng.normal(size=dim),
        "directions": orthonormal(dim, kept, rng),
        "spectrum": np.arange(kept, 0.0, -1),
    }
    return Projector(modality="image", **{**defaults, **parameters})


@pytest.fixture(params=TYPES, ids=lambda dtype: dtype.__name__)
def rows(request: pytest.FixtureRequest) -> Floats:
    x: Floats = np.random.default_rng(1).normal(size=(20, 6)).astype(request.param)
    return x


@pytest.mark.parametrize("parameters", [{"rank": 0}, {"strength": 0.0}, {"rank": 0, "strength": 0.5}])
def test_nothing_removed_is_the_input_to_the_bit(rows: Floats, parameters: dict[str, Any]) -> None:
    rows[3], rows[4, 1], rows[5, 0] = 0, np.nan, -0.0
    one = projector(**parameters)
    assert one.identity
    y = one.transform(rows)
    assert y.tobytes() == rows.tobytes()
    assert not np.shares_memory(y, rows)


def test_a_scale_alone_is_not_nothing(rows: Floats) -> None:
    doubled = projector(rank=0, scale=2.0)
    assert not doubled.identity
    np.testing.assert_allclose(doubled.transform(rows), 2 * rows, rtol=2e-3)


def test_strength_zero_for_one_modality_leaves_it_whole_and_takes_the_shared_signal_from_the_other() -> None:
    a, b = planted(500, (12, 8), dtype=np.float32, offset=3)
    fitted = fit({"image": a, "text": b}, rank=3, strength={"image": 0.0, "text": 1.0})
    image, text = (fitted.projectors[name] for name in ("image", "text"))
    assert image.transform(a).tobytes() == a.tobytes()
    y = text.transform(b)
    shared = (y - y.mean(axis=0)) @ text.directions[:, :3].astype(np.float32)
    assert np.abs(shared).max() < 1e-4
    assert (image.rank, text.rank) == (3, 3)


def test_a_plain_strength_holds_for_every_modality_that_is_not_named() -> None:
    a, b, c = planted(500, (12, 8, 6))
    fitted = fit({"image": a, "text": b, "audio": c}, strength={"text": 0.25})
    assert {name: one.uniform_strength for name, one in fitted.projectors.items()} == {
        "image": 1,
        "text": 0.25,
        "audio": 1,
    }


def test_rows_that_are_not_finite_pass_through_and_disturb_no_other(rows: Floats) -> None:
    one = projector()
    clean = one.transform(rows)
    broken = rows.copy()
    broken[2, 1], broken[5], broken[9, 0] = np.nan, np.inf, -np.inf
    y = one.transform(broken)
    assert y[[2, 5, 9]].tobytes() == broken[[2, 5, 9]].tobytes()
    rest = np.delete(np.arange(20), [2, 5, 9])
    assert y[rest].tobytes() == clean[rest].tobytes()


def test_an_overflow_of_the_stored_type_is_an_error_and_not_an_infinity() -> None:
    u = np.ones((4, 1)) / 2
    one = Projector("image", mean=np.zeros(4), directions=u, spectrum=np.ones(1), rank=1)
    x = np.zeros((6, 4), dtype=np.float16)
    x[:, 0] = 1
    # Without the common part the last value is -1.5 * 60,000.
    x[[3, 5]] = [60_000, 60_000, 60_000, -60_000]
    with pytest.raises(DataError) as error:
        one.transform(x)
    assert str(error.value) == (
        "2 projected rows leave the range of float16, the first at row 3\n"
        "  fix: store the embeddings in a wider type, or divide them by a constant"
    )
    assert np.isfinite(one.transform(x.astype(np.float32))).all()


def test_an_overflow_that_is_not_one_is_no_error() -> None:
    one = projector(mean=np.zeros(6))
    x = np.full((2, 6), 60_000, dtype=np.float16)
    assert np.isfinite(one.transform(np.float16(0.5) * x)).all()
    x[1, 2] = np.inf
    assert one.transform(x[1:]).tobytes() == x[1:].tobytes()


def test_subnormal_rows_are_data() -> None:
    x = np.full((1, 6), 1e-40, dtype=np.float32)
    one = projector(mean=np.zeros(6))
    u = one.directions[:, :2]
    np.testing.assert_allclose(one.transform(x), x.astype(np.float64) @ (np.eye(6) - u @ u.T), atol=1e-44)


@pytest.mark.parametrize("x", [np.zeros((3, 5)), np.zeros((3, 7)), np.zeros(6), np.zeros((1, 3, 6))])
def test_rows_of_another_dimension_are_refused(x: Floats) -> None:
    with pytest.raises(DataError) as error:
        projector().transform(x)
    assert str(error.value) == (f'embeddings have shape {x.shape}, but the projector of "image" has 6 dimensions')


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_, np.complex128, np.longdouble])
def test_rows_of_another_type_are_refused(dtype: Any) -> None:
    with pytest.raises(DataError) as error:
        projector().transform(np.ones((3, 6), dtype=dtype))
    assert str(error.value) == (
        f"embeddings of type {np.dtype(dtype)} are not supported\n  supported: float16, float32 or float64"
    )


def test_no_rows_are_no_rows(rows: Floats) -> None:
    assert projector().transform(rows[:0]).shape == (0, 6)


@pytest.mark.parametrize("offset", [0, 10, 1000])
def test_float32_keeps_what_it_should_and_removes_what_it_should_at_any_offset(offset: float) -> None:
    a, b = planted(500, (12, 8), dtype=np.float32, offset=offset)
    one = fit({"image": a, "text": b}, rank=3).projectors["image"]
    exact = one.transform(a.astype(np.float64))
    rounding = np.spacing(np.float32(max(np.abs(a).max(), np.abs(exact).max())))
    assert np.abs(one.transform(a) - exact).max() <= 2 * rounding


def test_rank_and_strength_can_be_lowered_after_the_fit() -> None:
    one = projector(kept=4, rank=3)
    x = np.random.default_rng(2).normal(size=(5, 6))
    lower = one.limited(rank=1, strength=0.5)
    u = one.directions[:, :1]
    np.testing.assert_allclose(lower.transform(x), x - 0.5 * (x @ u) @ u.T, atol=1e-14)
    assert (one.rank, one.uniform_strength) == (3, 1.0)
    assert (one.limited().rank, one.limited().uniform_strength) == (3, 1.0)


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"mean": np.zeros(5)}, "a mean of shape (5,) does not fit directions of (6, 3)"),
        ({"spectrum": np.ones(2)}, "a spectrum of shape (2,) does not fit 3 directions"),
        ({"spectrum": np.ones((3, 1))}, "a spectrum of shape (3, 1) does not fit 3 directions"),
        ({"placeholders": np.ones((2, 5))}, "placeholders of shape (2, 5) do not fit 6 dimensions"),
        ({"placeholders": np.ones(6)}, "placeholders of shape (6,) do not fit 6 dimensions"),
        ({"weights": np.ones((6, 2))}, "weights of shape (6, 2) do not fit directions of (6, 3)"),
        ({"variances": np.ones(2)}, "variances of shape (2,) do not fit 3 directions"),
        ({"strength": np.ones(2)}, "strengths of shape (2,) do not fit 3 directions"),
        ({"mean": np.full(6, np.nan)}, "a value is not finite"),
        ({"directions": np.full((6, 3), np.inf)}, "a value is not finite"),
        ({"spectrum": np.full(3, np.nan)}, "a value is not finite"),
        ({"scale": np.inf}, "a value is not finite"),
        ({"weights": np.full((6, 3), np.nan)}, "a value is not finite"),
        ({"variances": np.full(3, np.nan)}, "a value is not finite"),
        ({"total_variance": np.nan}, "a value is not finite"),
        ({"rank": 4}, "rank 4 does not fit 3 directions of 6 dimensions"),
        ({"rank": -1}, "rank -1 does not fit 3 directions of 6 dimensions"),
        ({"strength": 1.5}, "strength 1.5 is not between 0 and 1"),
        ({"strength": -0.5}, "strength -0.5 is not between 0 and 1"),
        ({"strength": float("nan")}, "strength nan is not between 0 and 1"),
    ],
)
def test_a_projector_that_makes_no_sense_cannot_be_made(parameters: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError) as error:
        projector(**parameters)
    assert str(error.value) == problem


def test_the_whole_space_cannot_be_removed() -> None:
    with pytest.raises(ValueError) as error:
        projector(dim=3, kept=3, rank=3)
    assert str(error.value) == "rank 3 does not fit 3 directions of 3 dimensions"


def test_a_changed_projector_does_not_remember_the_old_factors() -> None:
    one = projector()
    x = np.random.default_rng(2).normal(size=(5, 6))
    one.transform(x)
    changed = replace(one, mean=one.mean + 1, rank=1)
    u = one.directions[:, :1]
    np.testing.assert_allclose(changed.transform(x), x - (x @ u) @ u.T, atol=1e-13)


def test_the_edges_of_what_makes_sense() -> None:
    one = projector(spectrum=np.ones(5), rank=3, strength=np.array([0.0, 0.5, 1.0]), variances=np.ones(3))
    assert one.strength.tolist() == [0, 0.5, 1]
    assert one.uniform_strength is None
    assert projector(rank=0, strength=0.25).strength.tolist() == [0.25] * 3
    line = Projector("image", mean=np.ones(1), directions=np.ones((1, 1)), spectrum=np.ones(1), rank=0)
    assert line.transform(np.full((2, 1), 3.0)).tolist() == [[3.0], [3.0]]


WEIGHTS = {"orthogonal": None, "oblique": np.random.default_rng(5).normal(size=(6, 3))}


@pytest.mark.parametrize("removal", WEIGHTS)
@pytest.mark.parametrize("keep_mean", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_rows_are_mapped_as_the_formula_says(rows: Floats, removal: str, keep_mean: bool, offset: float) -> None:
    weights = WEIGHTS[removal]
    options: dict[str, Any] = {} if weights is None else {"weights": weights}
    strength = np.array([1.0, 0.4, 0.7])
    mean = np.linspace(-1, 1, 6) + offset
    x = (rows.astype(np.float64) + offset).astype(rows.dtype)
    one = projector(mean=mean, keep_mean=keep_mean, strength=strength, scale=0.5, **options)
    u, g = one.directions[:, :2], strength[:2]
    w = u if weights is None else weights[:, :2] @ np.linalg.inv(u.T @ weights[:, :2])
    about = mean if keep_mean else np.zeros(6)
    x64 = x.astype(np.float64)
    expected = 0.5 * (x64 - ((x64 - about) @ w * g) @ u.T)
    size = np.abs(x64).max() + np.abs(expected).max()
    found = one.transform(x)
    assert found.dtype == x.dtype
    np.testing.assert_allclose(found.astype(np.float64), expected, rtol=0, atol=8 * size * np.finfo(x.dtype).eps)
    np.testing.assert_allclose(one.projected_mean, 0.5 * (mean - ((mean - about) @ w * g) @ u.T), atol=1e-9)
    room = np.full_like(x, 7)
    y, status = one.mapped(x, np.zeros(len(x), np.uint8), out=room)
    assert y is room
    assert y.tobytes() == found.tobytes()
    assert status.tolist() == [0] * len(x)


def test_what_is_left_of_a_row_is_measured_on_the_row_as_written(rows: Floats) -> None:
    one = projector(scale=4.0, strength=0.5)
    u = one.directions[:, :2]
    c = rows.astype(np.float64) - one.mean
    left = c - 0.5 * (c @ u) @ u.T
    for renorm, tolerance in (("none", 8e-3 if rows.dtype == np.float16 else 1e-5), ("unit", 1e-5)):
        changed = replace(one, renorm=renorm)
        before, after = changed.remainders(rows, changed.transform(rows))
        np.testing.assert_allclose(before, np.linalg.norm(c, axis=1), rtol=1e-5)
        np.testing.assert_allclose(after, np.linalg.norm(left, axis=1), rtol=tolerance)


@pytest.mark.parametrize("renorm", ["unit", "original"])
def test_of_a_row_given_a_norm_only_the_norm_changes_and_of_next_to_nothing_it_is_not_made_loud(
    rows: Floats, renorm: Any
) -> None:
    one = projector(mean=np.zeros(6))
    u = one.directions[:, :2].astype(rows.dtype)
    rows[3], rows[4] = 0, (3 * u[:, 0]).astype(rows.dtype)
    y = replace(one, renorm=renorm).transform(rows).astype(np.float64)
    plain = one.transform(rows).astype(np.float64)
    whole = np.delete(np.arange(20), [3, 4])
    target = np.linalg.norm(rows.astype(np.float64), axis=1) if renorm == "original" else np.ones(20)
    np.testing.assert_allclose(np.linalg.norm(y[whole], axis=1), target[whole], rtol=2e-3)
    cosines = (y * plain).sum(axis=1) / np.linalg.norm(y, axis=1).clip(1e-9) / np.linalg.norm(plain, axis=1).clip(1e-9)
    np.testing.assert_allclose(cosines[whole], 1, atol=2e-3)
    assert y[3].tolist() == [0] * 6
    # Rounding is all that is left of a row of shared signal; it keeps its size relative to the row.
    assert np.linalg.norm(y[4]) <= 16 * float(np.finfo(rows.dtype).eps) * max(target[4], 1)


def test_filler_rows_are_known_again_by_their_bytes_in_any_type_that_holds_them() -> None:
    fillers = np.array([[0.5, -2, 3, 0, 1, 7e4], [1, 1, 2, 3, 5, 8]], np.float32)
    one = projector(placeholders=fillers)
    x = np.vstack([fillers[1], fillers[1] + 1, fillers[0]])
    assert one.is_placeholder(row_hashes(x), x.dtype).tolist() == [True, False, True]
    wide = x.astype(np.float64)
    assert one.is_placeholder(row_hashes(wide), wide.dtype).tolist() == [True, False, True]
    with np.errstate(over="ignore"):
        narrow = x.astype(np.float16)
    assert one.is_placeholder(row_hashes(narrow[:2]), narrow.dtype).tolist() == [True, False]
    nothing = projector().is_placeholder(row_hashes(x), x.dtype)
    assert nothing.dtype == np.bool_
    assert nothing.tolist() == [False] * 3


def test_a_mean_beyond_float32_is_refused_for_rows_of_float32_and_no_others() -> None:
    one = projector(mean=np.full(6, 1e39))
    wide = np.full((2, 6), 1e39) + np.random.default_rng(0).normal(size=(2, 6)) * 1e37
    assert np.isfinite(one.transform(wide)).all()
    with pytest.raises(DataError, match="2 projected rows leave the range of float32, the first at row 0"):
        one.transform(np.ones((2, 6), np.float32))
