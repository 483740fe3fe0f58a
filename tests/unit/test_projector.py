"""The fitted map of one modality: what it does to rows, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clear_cli.errors import DataError
from clear_cli.projector import Projector
from tests.laws.planted import Floats, fit, orthonormal, planted

TYPES = [np.float16, np.float32, np.float64]


def projector(dim: int = 6, kept: int = 3, **parameters: Any) -> Projector:
    rng = np.random.default_rng(0)
    defaults: dict[str, Any] = {"rank": 2, "mean": rng.normal(size=dim)}
    return Projector(
        modality="image",
        directions=orthonormal(dim, kept, rng),
        spectrum=np.arange(kept, 0.0, -1),
        **{**defaults, **parameters},
    )


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
