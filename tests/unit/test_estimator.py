"""`clear_cli.estimator.Clear`: the fit and the projection of `clear_cli`, as scikit-learn expects them."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import clear_cli
from clear_cli.api import Options
from clear_cli.errors import ClearError
from clear_cli.estimator import Clear
from tests.laws.planted import Floats, dense_covariance, planted

IMAGE, TEXT = slice(0, 12), slice(12, 20)
COLUMNS = {"image": IMAGE, "text": TEXT}


@pytest.fixture
def x() -> Floats:
    """12 columns of images, 8 of texts, and one of neither."""
    price = np.random.default_rng(1).normal(size=(300, 1))
    return np.hstack([*planted(300, (12, 8), offset=3), price]).astype(np.float32)


@pytest.fixture
def frame(x: Floats) -> pd.DataFrame:
    names = [f"image_{i}" for i in range(12)] + [f"text_{i}" for i in range(8)] + ["price"]
    return pd.DataFrame(x, columns=names)


@parametrize_with_checks([Clear(), Clear(columns={"a": slice(0, -1), "b": [-1]}, rank="50%", strength=0.5)])
def test_it_is_an_estimator(estimator: Clear, check: Callable[[Clear], None]) -> None:
    check(estimator)


@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names")  # the checks mix both
@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_dataframe_column_names_consistency,
        estimator_checks.check_n_features_in_after_fitting,
        estimator_checks.check_transformer_get_feature_names_out,
        estimator_checks.check_transformer_get_feature_names_out_pandas,
        estimator_checks.check_set_output_transform,
        estimator_checks.check_set_output_transform_pandas,
        estimator_checks.check_global_output_transform_pandas,
    ],
    ids=lambda check: check.__name__,
)
def test_it_passes_what_scikit_learn_asks_of_its_own_transformers(check: Callable[[str, Clear], None]) -> None:
    check("Clear", Clear())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_result_is_that_of_fit_and_apply_to_the_bit(x: Floats, dtype: Any, order: Any) -> None:
    x = x.astype(dtype, order=order)
    sides = {name: np.ascontiguousarray(x[:, some]) for name, some in COLUMNS.items()}
    options: dict[str, Any] = {"rank": {"image": 3, "text": "80%"}, "strength": {"image": 0.7}, "max_rank": 5}
    fitted = clear_cli.fit(sides, **options)
    expected = clear_cli.apply(fitted, sides)
    estimator = Clear(COLUMNS, **options)
    clean = estimator.fit_transform(x)
    assert clean.dtype == dtype
    assert {name: clean[:, some].tobytes() for name, some in COLUMNS.items()} == {
        name: one.tobytes() for name, one in expected.items()
    }
    assert estimator.diagnostics_ == fitted.diagnostics
    assert list(estimator.projectors_) == ["image", "text"]


def test_it_takes_what_fit_takes_with_the_same_defaults(x: Floats) -> None:
    ours = set(inspect.signature(Clear).parameters)
    # What concerns files, or rows that scikit-learn refuses, has no place in an estimator.
    assert ours == {"columns", *Options.__annotations__} - {"fit_items", "on_invalid", "item_ids"}
    fitted = clear_cli.fit({"first": x[:, :10], "second": x[:, 10:]})
    estimator = Clear().fit(x)
    assert estimator.diagnostics_ == fitted.diagnostics
    assert [one.uniform_strength for one in estimator.projectors_.values()] == [1.0, 1.0]


def test_what_is_shared_is_removed_and_other_columns_stay(x: Floats) -> None:
    before = x.copy()
    clean = Clear(COLUMNS, rank=3).fit_transform(x)
    left, all_of_it = (np.linalg.norm(dense_covariance(one[:, IMAGE], one[:, TEXT])) for one in (clean, x))
    assert left < 0.1 * all_of_it
    assert clean[:, 20].tobytes() == x[:, 20].tobytes()
    assert x.tobytes() == before.tobytes()


def test_without_columns_the_halves_are_the_modalities(x: Floats) -> None:
    estimator = Clear().fit(x)
    assert {name: one.tolist() for name, one in estimator.columns_.items()} == {
        "first": list(range(10)),
        "second": list(range(10, 21)),
    }


def test_columns_are_slices_numbers_or_names(frame: pd.DataFrame) -> None:
    expected = Clear(COLUMNS).fit_transform(frame)
    names = list(frame.columns)
    for columns in (
        {"image": list(range(12)), "text": range(12, 20)},
        {"image": slice(None, 12), "text": slice(-9, -1)},
        {"image": np.arange(12), "text": list(range(-9, -1))},
        {"image": names[:12], "text": names[12:20]},
        {"image": frame.columns[:12], "text": np.array(names[12:20])},
    ):
        assert Clear(columns).fit_transform(frame).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": slice(0, 12), "text": slice(12, 24)}, 'column 24 of "text" is out of range: X has 21 columns'),
        ({"image": [0, 21], "text": [1]}, 'column 21 of "image" is out of range: X has 21 columns'),
        ({"image": [0, -22], "text": [1]}, 'column -22 of "image" is out of range: X has 21 columns'),
        ({"image": slice(0, 12), "text": slice(11, 20)}, 'column 11 of "text" is already one of "image"'),
        ({"image": [0, 1, 0], "text": [2, 3]}, 'column 0 of "image" is already one of "image"'),
        ({"image": [0, 20], "text": [-1, 3]}, 'column 20 of "text" is already one of "image"'),
        ({"image": slice(5, 5), "text": [2, 3]}, '"image" has none of the 21 columns'),
        ({"image": [], "text": [2, 3]}, '"image" has none of the 21 columns'),
        ({"image": ["a", "b"], "text": [2, 3]}, 'columns of "image" are given by name, and those of X have no names'),
        (
            {"image": "ab", "text": [2, 3]},
            "columns of \"image\" are a slice, or a list of numbers or names, not 'ab'",
        ),
        (
            {"image": slice("a", "b"), "text": [2, 3]},
            "columns of \"image\" are a slice, or a list of numbers or names, not slice('a', 'b', None)",
        ),
        ({"image": [True, False], "text": [2, 3]}, "not [True, False]"),
        ({"image": [0, 1]}, "redundancy is between modalities, and there is only 1"),
    ],
)
def test_columns_that_cannot_be_are_refused(x: Floats, columns: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        Clear(columns).fit(x)
    assert str(error.value).endswith(message)


def test_names_that_are_not_there_are_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(ValueError) as error:
        Clear({"image": ["image_0", "imgae_1", "image_x"], "text": ["text_0"]}).fit(frame)
    assert str(error.value) == "2 of 3 columns of \"image\" are not in X, first 'imgae_1'"


@pytest.mark.parametrize(
    "options", [{"rank": "many"}, {"rank": 12}, {"strength": 2}, {"max_rank": -1}, {"rank": {"audio": 1}}]
)
def test_what_the_core_refuses_is_a_value_error_with_its_text(x: Floats, options: dict[str, Any]) -> None:
    with pytest.raises(ClearError) as cause:
        clear_cli.fit({name: x[:, some] for name, some in COLUMNS.items()}, **options)
    with pytest.raises(ValueError) as error:
        Clear(COLUMNS, **options).fit(x)
    assert str(error.value) == str(cause.value)


def test_too_few_items_are_refused(x: Floats) -> None:
    with pytest.raises(ValueError, match=r"9 sample\(s\).*minimum of 10"):
        Clear(COLUMNS).fit(x[:9])
    x[9:, IMAGE] = 0
    with pytest.raises(ValueError, match='"image" has 9 complete items with another modality'):
        Clear(COLUMNS).fit(x)


def test_rows_of_zeros_stay_and_few_rows_can_be_projected(x: Floats) -> None:
    estimator = Clear(COLUMNS, rank=3).fit(x)
    x[0, TEXT] = 0
    clean = estimator.transform(x[:1])
    assert not clean[0, TEXT].any()
    assert not np.array_equal(clean[0, IMAGE], x[0, IMAGE])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(x: Floats, value: float) -> None:
    estimator = Clear(COLUMNS).fit(x)
    x[3, 20] = value
    for refuse in (estimator.fit, estimator.transform):
        with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
            refuse(x)


def test_a_result_beyond_the_range_of_its_type_is_a_value_error(x: Floats) -> None:
    estimator = Clear(COLUMNS, rank=3).fit(x)
    row = np.zeros((1, 21), dtype=np.float16)
    u = estimator.projectors_["image"].directions[:, :3]
    towards = np.eye(12) - u @ u.T
    row[0, IMAGE] = 65504 * np.sign(towards[np.argmax(np.abs(towards).sum(axis=1))])
    with pytest.raises(ValueError, match="projected rows leave the range of float16"):
        estimator.transform(row)


def test_integers_become_float64(x: Floats) -> None:
    numbers = (100 * x).astype(np.int64)
    clean = Clear(COLUMNS).fit_transform(numbers)
    assert clean.dtype == np.float64
    assert clean.tobytes() == Clear(COLUMNS).fit_transform(numbers.astype(np.float64)).tobytes()


def test_a_fit_that_fails_leaves_no_fitted_estimator(x: Floats) -> None:
    estimator = Clear(COLUMNS, rank=12)
    with pytest.raises(ValueError):
        estimator.fit(x)
    with pytest.raises(NotFittedError):
        estimator.transform(x)


def test_it_is_cloned_and_pickled(x: Floats) -> None:
    estimator = Clear(COLUMNS, rank={"image": 2}, strength=0.5).fit(x)
    expected = estimator.transform(x).tobytes()
    assert pickle.loads(pickle.dumps(estimator)).transform(x).tobytes() == expected
    twin = clone(estimator)
    assert twin.get_params() == estimator.get_params()
    assert twin.fit(x).transform(x).tobytes() == expected


def test_frames_come_back_as_frames(frame: pd.DataFrame) -> None:
    frame.index += 1000
    estimator = Clear(COLUMNS).set_output(transform="pandas")
    clean = estimator.fit_transform(frame)
    assert clean.columns.equals(frame.columns)
    assert clean.index.equals(frame.index)
    assert (clean.dtypes == np.float32).all()
    assert clean.to_numpy().tobytes() == Clear(COLUMNS).fit_transform(frame.to_numpy()).tobytes()
    assert estimator.get_feature_names_out().tolist() == estimator.feature_names_in_.tolist() == list(frame.columns)


def test_rank_and_strength_are_searched_in_a_pipeline(frame: pd.DataFrame) -> None:
    names = list(frame.columns)
    columns = {"image": names[:12], "text": names[12:20]}
    pipeline = make_pipeline(StandardScaler(), Clear(columns, report=False), Ridge()).set_output(transform="pandas")
    grid = {"clear__rank": ["auto", *np.arange(1, 4)], "clear__strength": [0, 1.0, {"image": 0}]}
    # What text tells about an image: gone where the image loses it.
    target = frame["image_0"].to_numpy() - frame["image_0"].mean()
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(frame, target)
    assert len(search.cv_results_["params"]) == 12
    assert search.best_params_["clear__strength"] in (0, {"image": 0})
    assert search.predict(frame.iloc[:5]).shape == (5,)
    assert search.best_estimator_[:-1].get_feature_names_out().tolist() == names
