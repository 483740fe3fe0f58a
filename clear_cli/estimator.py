"""CLEAR as a scikit-learn transformer: one matrix whose columns are the embeddings of several modalities.

Nothing else imports this module, so that scikit-learn is loaded only by those who use it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import FLOAT_DTYPES, check_is_fitted, validate_data

from clear_cli import api
from clear_cli.config import Directions, Removal, Scale
from clear_cli.errors import DataError, UsageError
from clear_cli.projector import Renorm
from clear_cli.rank import DEFAULT_MAX_RANK, DEFAULT_RANK
from clear_cli.workflow.solving import MIN_COMPLETE_ITEMS

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]
Columns = slice | Sequence[int] | Sequence[str]


class Clear(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Removes from the columns of each modality what they share with those of the others.

    Fits and projects as `clear_cli.fit` and `clear_cli.apply` do, to the bit. Every parameter but `columns` is one of
    `clear_cli.api.Options`, which explains it.

    Args:
        columns: Per modality its columns: a slice, or a list of numbers or, for data frames, of names. Columns of no
            modality pass through unchanged. None: the first half of the columns is one modality, "first", and the
            rest another, "second"; of an odd number "second" has one more.
        rank: Directions to remove: "auto", 16, "90%", or a mapping by modality.
        strength: How much of each to remove: 0 to 1, "soft", or a mapping by modality.
        max_rank: Directions kept in the projectors.
        directions: "covariance" or "correlation".
        removal: "orthogonal" or "oblique".
        keep_mean: Leave the column means as they are.
        renorm: "none", "original" or "unit": the norm that the rows of each modality are given.
        scale: "none", or "rms" for the same root-mean-square row norm of all modalities.
        winsorise: Share of the rows that the fit takes as they are. None: all.
        report: Measure on a sample what the modalities share, before and after. A search over parameters that looks
            at its own score alone is faster without.

    Attributes:
        projectors_: The fitted projector of each modality.
        diagnostics_: What was found, as in `diagnostics.json`; its "warnings" are worth reading.
        columns_: Per modality the numbers of its columns.
        n_features_in_: Columns seen by `fit`.
        feature_names_in_: Their names, if they are all strings.

    Source: Zhan et al. 2026, arXiv 2603.01536.
    """

    def __init__(
        self,
        columns: Mapping[str, Columns] | None = None,
        rank: Any = DEFAULT_RANK.text,
        strength: Any = 1.0,
        max_rank: int = DEFAULT_MAX_RANK,
        directions: Directions = "covariance",
        removal: Removal = "orthogonal",
        keep_mean: bool = False,
        renorm: Renorm = "none",
        scale: Scale = "none",
        winsorise: float | None = None,
        report: bool = True,
    ) -> None:
        self.columns = columns
        self.rank = rank
        self.strength = strength
        self.max_rank = max_rank
        self.directions = directions
        self.removal = removal
        self.keep_mean = keep_mean
        self.renorm = renorm
        self.scale = scale
        self.winsorise = winsorise
        self.report = report

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002  (what scikit-learn calls with)
        """Fit the shared subspace of every modality.

        Args:
            X: (n, d) finite numbers; row i is item i in all modalities. A row of zeros is missing in its modality.
            y: Ignored.

        Raises:
            ValueError: X cannot be used, or the parameters do not fit it.
        """
        X = validate_data(self, X, dtype=FLOAT_DTYPES, ensure_min_samples=MIN_COMPLETE_ITEMS, ensure_min_features=2)
        columns = _column_numbers(self.columns, X.shape[1], getattr(self, "feature_names_in_", None))
        with _value_errors():
            fitted = api.fit(_parts(X, columns), **self._fit_parameters())
        self.columns_, self.projectors_, self.diagnostics_ = columns, fitted.projectors, fitted.diagnostics
        return self

    def transform(self, X: Any) -> Floats:
        """Project the columns of each modality; the others stay as they are.

        Args:
            X: (n, d) finite numbers.

        Returns:
            (n, d) of the type of X, or float64 where X does not hold floating point numbers.

        Raises:
            ValueError: X cannot be used, or a projected value leaves the range of its type.
        """
        check_is_fitted(self, "projectors_")
        X = validate_data(self, X, dtype=FLOAT_DTYPES, reset=False)
        out: Floats = X.copy()
        with _value_errors():
            fitted = api.Fit(self.projectors_, self.diagnostics_)
            projected: Any = api.apply(fitted, _parts(X, self.columns_))
        for name, numbers in self.columns_.items():
            out[:, numbers] = projected[name]
        return out

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = [np.dtype(one).name for one in FLOAT_DTYPES]
        return tags

    def _fit_parameters(self) -> dict[str, Any]:
        """What `clear_cli.fit` is called with: all that `__init__` takes, by the same names, except for the columns."""
        return {name: value for name, value in self.get_params(deep=False).items() if name != "columns"}


def _parts(X: Floats, columns: Mapping[str, Integers]) -> dict[str, Floats]:
    # take copies in C order whatever that of X: another order would be multiplied with other roundings.
    return {name: np.take(X, numbers, axis=1) for name, numbers in columns.items()}


@contextmanager
def _value_errors() -> Generator[None]:
    """What is wrong with data or parameters is a ValueError to scikit-learn."""
    try:
        yield
    except (DataError, UsageError) as error:
        raise ValueError(str(error)) from error


def _column_numbers(
    columns: Mapping[str, Columns] | None, count: int, names: Sequence[str] | None
) -> dict[str, Integers]:
    """The numbers of the columns of each modality, of `count` columns that may have names.

    Raises:
        ValueError: Columns that are not there, not columns at all, or claimed more than once.
    """
    if columns is None:
        columns = {"first": slice(0, count // 2), "second": slice(count // 2, count)}
    owners: dict[int, str] = {}
    numbers = {}
    for modality, some in columns.items():
        numbers[modality] = _numbers(modality, some, count, names)
        for number in numbers[modality].tolist():
            if number in owners:
                raise ValueError(f'column {number} of "{modality}" is already one of "{owners[number]}"')
            owners[number] = modality
    return numbers


def _numbers(modality: str, some: Columns, count: int, names: Sequence[str] | None) -> Integers:
    a_slice = isinstance(some, slice)
    given = np.asarray([end for end in (some.start, some.stop) if end is not None] if isinstance(some, slice) else some)
    if given.ndim == 1 and given.dtype.kind in "UOT" and not a_slice:
        given = _numbers_of_names(modality, given.tolist(), names)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise ValueError(f'columns of "{modality}" are a slice, or a list of numbers or names, not {some!r}')
    # Python would cut a slice that is too long short without a word.
    outside = given[(given < -count) | (given > (count if a_slice else count - 1))]
    if len(outside):
        raise ValueError(f'column {outside[0]} of "{modality}" is out of range: X has {count} columns')
    found: Integers = np.arange(count)[some if isinstance(some, slice) else given.astype(np.intp)]
    if not len(found):
        raise ValueError(f'"{modality}" has none of the {count} columns')
    return found


def _numbers_of_names(modality: str, wanted: Sequence[str], names: Sequence[str] | None) -> Integers:
    if names is None:
        raise ValueError(f'columns of "{modality}" are given by name, and those of X have no names')
    known = {name: number for number, name in enumerate(names)}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f'{len(unknown)} of {len(wanted)} columns of "{modality}" are not in X, first {unknown[0]!r}')
    return np.array([known[name] for name in wanted], dtype=np.intp)
