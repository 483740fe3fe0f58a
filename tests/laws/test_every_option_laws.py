"""What holds whichever option is chosen: rows that say nothing, columns that say nothing, and few or extreme values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clear_cli
from clear_cli.errors import DataError
from clear_cli.workflow.fitting import Fitted
from tests.laws.planted import Floats, angle, fit, planted

OPTIONS: list[dict[str, Any]] = [
    {},
    {"strength": "soft"},
    {"directions": "correlation"},
    {"removal": "oblique"},
    {"directions": "correlation", "removal": "oblique", "keep_mean": True},
    {"keep_mean": True},
    {"renorm": "original"},
    {"renorm": "unit", "removal": "oblique"},
    {"scale": "rms"},
    {"winsorise": 0.95},
]


def name_of(options: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.items()) or "none"


every_option = pytest.mark.parametrize("options", OPTIONS, ids=name_of)
# The chance level is drawn from the contents of the rows: other bytes, another draw.
every_option_but_soft = pytest.mark.parametrize(
    "options", [one for one in OPTIONS if one.get("strength") != "soft"], ids=name_of
)
RANK = 3


def usable(fitted: Fitted) -> bool:
    """Whether each map takes off what it reads, and no more."""
    for projector in fitted.projectors.values():
        u = projector.directions[:, : projector.rank]
        np.testing.assert_allclose(projector.readers.T @ u, np.eye(projector.rank), atol=1e-6)
    return True


# Rows


ZEROS, NEGATIVE_ZEROS, NAN, INFINITE, FILLERS = slice(0, 20), slice(20, 25), 30, 31, slice(40, 80)


def with_odd_rows(x: Floats, filler: Floats) -> Floats:
    """The rows, some of which are zeros, not finite, or one and the same filler."""
    x = x.copy()
    x[ZEROS], x[NEGATIVE_ZEROS], x[NAN, 3], x[INFINITE, 0] = 0.0, -0.0, np.nan, -np.inf
    x[FILLERS] = filler
    return x


@every_option
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_that_say_nothing_stay_out_of_the_fit_and_come_out_as_they_should(
    options: dict[str, Any], dtype: Any
) -> None:
    clean = planted(600, (12, 8, 9), dtype=dtype, offset=1)
    names = ("image", "text", "audio")
    odd = {name: with_odd_rows(x, x[100] * dtype(2)) for name, x in zip(names, clean, strict=True)}
    fitted = fit(odd, rank=RANK, on_invalid="keep", **options)
    sound = {name: x[80:] for name, x in odd.items()}
    alone = fit(sound, rank=RANK, **options)
    for name, x in odd.items():
        projector, y = fitted.projectors[name], fitted.projectors[name].transform(x)
        for rows in (ZEROS, NEGATIVE_ZEROS, NAN, INFINITE):
            assert y[rows].tobytes() == x[rows].tobytes()
        # A filler is a row like any other to the map, and is known again.
        assert y[FILLERS].tobytes() != x[FILLERS].tobytes()
        np.testing.assert_array_equal(projector.placeholders, x[FILLERS][:1])
        one = np.broadcast_to(projector.transform(x[FILLERS][:1]), y[FILLERS].shape)
        np.testing.assert_allclose(y[FILLERS], one, atol=8 * float(np.finfo(dtype).eps))
        # Rows 25 to 40 are usable, so the fit is that of the others but for these.
        near = alone.projectors[name]
        assert angle(projector.directions[:, :RANK], near.directions[:, :RANK]) < 0.1
        assert projector.scale == pytest.approx(near.scale, rel=0.02)


@every_option
def test_missing_placeholder_and_unreadable_rows_change_no_bit_of_the_fit(options: dict[str, Any]) -> None:
    sides = dict(zip(("image", "text"), planted(500, (12, 8)), strict=True))
    fillers = {name: np.concatenate([x, np.repeat(3 * x[:1] + 1, 40, axis=0)]) for name, x in sides.items()}
    zeros = {name: np.concatenate([x, np.zeros((40, x.shape[1]))]) for name, x in sides.items()}
    broken = {name: np.concatenate([x, np.full((40, x.shape[1]), np.nan)]) for name, x in sides.items()}
    plain = fit(sides, rank=RANK, **options).projectors
    for more in (fillers, zeros, broken):
        for name, projector in fit(more, rank=RANK, on_invalid="keep", **options).projectors.items():
            for part in ("mean", "directions", "spectrum", "strength", "weights"):
                assert getattr(projector, part).tobytes() == getattr(plain[name], part).tobytes()
            assert projector.scale == plain[name].scale


@every_option
def test_null_stays_null_and_zero_stays_zero_in_files(options: dict[str, Any], tmp_path: Path) -> None:
    paths = {}
    for name, x in zip(("image", "text"), planted(120, (6, 5), dtype=np.float32, offset=1), strict=True):
        x[:3] = 0
        rows: list[Any] = list(x)
        rows[5] = rows[9] = None
        paths[name] = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table({"item_id": range(120), "embedding": rows}), paths[name])
    out = clear_cli.run(paths, tmp_path / "out", rank=2, report=False, **options).out  # type: ignore[misc]
    for name in paths:
        column = pq.read_table(out / f"embeddings/{name}.parquet")["embedding"].to_pylist()
        assert [i for i, row in enumerate(column) if row is None] == [5, 9]
        assert [i for i, row in enumerate(column) if row is not None and not any(row)] == [0, 1, 2]


# Columns


@every_option_but_soft
@pytest.mark.parametrize("dust", [0.0, 1e-33])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_that_say_nothing_change_nothing(options: dict[str, Any], dust: float, dtype: Any) -> None:
    a, b = planted(2000, (12, 8), dtype=dtype)
    columns = (dust * np.random.default_rng(1).normal(size=(2000, 5))).astype(dtype)
    wide = np.concatenate([a, columns], axis=1)
    plain, padded = (
        fit({"image": a, "text": b}, rank=RANK, **options),
        fit({"image": wide, "text": b}, rank=RANK, **options),
    )
    assert usable(padded)
    y = padded.projectors["image"].transform(wide)
    # Nothing but the shrinkage of a covariance counts columns.
    tolerance = 0.1 if "directions" in options else 1e-4
    np.testing.assert_allclose(y[:, :12], plain.projectors["image"].transform(a), atol=tolerance)
    assert np.abs(y[:, 12:]).max() <= 10 * np.abs(columns).max()


@every_option
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_constant_and_repeated_columns_do_not_stop_a_fit(options: dict[str, Any], dtype: Any) -> None:
    a, b = planted(400, (12, 8), dtype=dtype)
    a[:, 3], a[:, 5], a[:, 7] = 5, a[:, 6], -a[:, 6]
    fitted = fit({"image": a, "text": b}, rank=RANK, **options)
    assert usable(fitted)
    assert fitted.projectors["image"].rank == RANK
    assert np.abs(fitted.projectors["image"].directions[3, :RANK]).max() < 1e-6


@every_option
@pytest.mark.parametrize("partner", ["constant, too", "not constant"])
def test_a_constant_modality_is_left_alone(options: dict[str, Any], partner: str) -> None:
    a, b = np.full((100, 4), 3.0), planted(100, (6,))[0]
    fitted = fit({"image": a, "text": a if partner == "constant, too" else b}, **options)
    assert {one.rank for one in fitted.projectors.values()} == {0}
    y = fitted.projectors["image"].transform(a)
    np.testing.assert_allclose(y / np.linalg.norm(y[0]), a / np.linalg.norm(a[0]), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("quiet", [1e-12, 1e-7, 1e-5, 1e-3])
@pytest.mark.parametrize("directions", ["covariance", "correlation"])
@pytest.mark.parametrize("rank", ["100%", 4])
def test_a_shared_direction_of_next_to_no_variance_is_never_amplified(
    dtype: Any, quiet: float, directions: str, rank: Any
) -> None:
    rng = np.random.default_rng(3)
    signal = rng.normal(size=(400, 4))
    b = (signal @ rng.normal(size=(4, 8)) + 0.1 * rng.normal(size=(400, 8))).astype(dtype)
    a = np.concatenate([signal * [1, 1, 1, quiet], np.full((400, 2), 5)], axis=1).astype(dtype)
    fitted = fit(
        {"image": a, "text": b},
        rank="100%" if directions == "correlation" else rank,
        directions=directions,
        removal="oblique",
    )
    assert usable(fitted)
    y = fitted.projectors["image"].transform(a)
    assert (np.std(y, axis=0) <= 1.01 * np.std(a, axis=0) + 1e-6).all()


def test_rounding_of_a_float32_covariance_is_not_inverted_beside_a_float64_partner() -> None:
    a, b = planted(2000, (12, 8))
    wide = np.concatenate([a, a @ np.random.default_rng(0).normal(size=(12, 12))], axis=1).astype(np.float32)
    beside = {
        dtype: fit({"image": wide, "text": b.astype(dtype)}, rank=RANK, removal="oblique").projectors["image"].readers
        for dtype in (np.float32, np.float64)
    }
    np.testing.assert_allclose(beside[np.float64], beside[np.float32], atol=1e-3)


# Shapes and ranges


@every_option
@pytest.mark.parametrize("items", [12, 30])
def test_fewer_items_than_dimensions_give_a_map_all_the_same(options: dict[str, Any], items: int) -> None:
    a, b = planted(items, (50, 40))
    fitted = fit({"image": a, "text": b}, rank=RANK, **options)
    assert usable(fitted)
    assert fitted.warnings == [
        f'"image" and "text" have {items} complete items, fewer than their 90 dimensions together: '
        "the fit follows noise"
    ]
    for name, x in (("image", a), ("text", b)):
        y = fitted.projectors[name].transform(x)
        assert np.linalg.matrix_rank(y - y.mean(axis=0)) <= items - 1
        assert np.isfinite(y).all()


@every_option
def test_one_dimension_is_never_removed_and_may_have_a_scale(options: dict[str, Any]) -> None:
    a, b = planted(400, (1, 8), shared=1)
    fitted = fit({"price": a, "text": b}, rank={"price": 0, "text": 1}, **options)
    price = fitted.projectors["price"]
    expected = np.sign(a) if options.get("renorm") == "unit" else price.scale * a
    np.testing.assert_allclose(price.transform(a), expected, rtol=1e-12)
    assert fitted.projectors["text"].rank == 1
    assert usable(fitted)


@every_option_but_soft
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_range_of_float32_is_enough(options: dict[str, Any], scale: float) -> None:
    a, b = planted(400, (12, 8))
    plain = fit({"image": a, "text": b}, rank=RANK, **options).projectors["image"].transform(a)
    fitted = fit(
        {"image": (scale * a).astype(np.float32), "text": (scale * b).astype(np.float32)}, rank=RANK, **options
    )
    y = fitted.projectors["image"].transform((scale * a).astype(np.float32)).astype(np.float64)
    unit = 1 if options.get("scale") == "rms" or options.get("renorm") == "unit" else scale
    np.testing.assert_allclose(y / unit, plain, atol=1e-5)


@every_option_but_soft
def test_near_the_end_of_float16_rows_are_right_or_refused(options: dict[str, Any]) -> None:
    rows = planted(400, (12, 8))
    narrow, wide = (
        {
            name: (65_000 * x / np.abs(x).max()).astype(np.float16).astype(dtype)
            for name, x in zip(("image", "text"), rows, strict=True)
        }
        for dtype in (np.float16, np.float64)
    )
    fitted, exact = fit(narrow, rank=RANK, **options), fit(wide, rank=RANK, **options)
    for name, x in narrow.items():
        expected = exact.projectors[name].transform(wide[name])
        if np.abs(expected).max() < 65_504:
            y = fitted.projectors[name].transform(x)
            np.testing.assert_allclose(y.astype(np.float64), expected, rtol=2e-3, atol=1e-3 * np.abs(expected).max())
        else:
            with pytest.raises(DataError, match="projected rows leave the range of float16"):
                fitted.projectors[name].transform(x)
