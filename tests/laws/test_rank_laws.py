"""How many directions a rule removes: always few enough to be there, and to leave something."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clear_cli.chance import Significance
from clear_cli.errors import UsageError
from clear_cli.rank import RankRule, cumulative_energy, energy_rank, numeric_rank, tied_at
from tests.laws.planted import Floats

values = st.one_of(st.just(0.0), st.floats(1e-3, 1e3))
spectra = st.lists(values, min_size=1, max_size=30).map(lambda one: np.sort(np.array(one))[::-1])
scales = st.sampled_from([1e-200, 1e-60, 1e-30, 1.0, 1e30, 1e60, 1e150])
shares = st.floats(0.01, 1.0)


@given(spectra, shares)
def test_a_share_of_the_energy_is_the_smallest_rank_that_holds_it(spectrum: Floats, share: float) -> None:
    energy = spectrum**2
    assume(energy.sum() > 0)
    rank = energy_rank(spectrum, share)
    assert energy[:rank].sum() >= share * energy.sum() * (1 - 1e-9)
    assert energy[: rank - 1].sum() < share * energy.sum() * (1 + 1e-9)


@given(spectra)
def test_all_of_the_energy_is_in_the_values_above_zero(spectrum: Floats) -> None:
    relative = spectrum / spectrum[0] if spectrum[0] else spectrum
    assert np.count_nonzero(relative > 1e-5) <= energy_rank(spectrum, 1.0) <= np.count_nonzero(spectrum)


@given(spectra, shares, scales)
def test_the_scale_of_the_data_does_not_change_a_rank(spectrum: Floats, share: float, scale: float) -> None:
    assert energy_rank(spectrum * scale, share) == energy_rank(spectrum, share)
    assert numeric_rank(spectrum * scale, 30) == numeric_rank(spectrum, 30)
    for rank in range(len(spectrum) + 1):
        clear_of_the_threshold = not 0 < rank < len(spectrum) or (
            abs((spectrum[rank - 1] - spectrum[rank]) / (spectrum[0] or 1) - 1e-4) > 1e-12
        )
        if clear_of_the_threshold and spectrum[0]:
            assert tied_at(spectrum * scale, rank) == tied_at(spectrum, rank)


@given(spectra)
def test_cumulative_energy_rises_to_one(spectrum: Floats) -> None:
    energy = cumulative_energy(spectrum)
    assert len(energy) == len(spectrum)
    assert (np.diff(energy) >= 0).all()
    assert energy[-1] == (pytest.approx(1) if spectrum[0] else 0)


def stands_out(significant: int, effective: float) -> Significance:
    return Significance(significant, effective, np.zeros(0), np.zeros(0))


@given(spectra, st.sampled_from(["auto", "0", "1", "50%", "90%", "100%"]), st.integers(1, 40), st.integers(0, 40))
def test_a_rank_leaves_a_dimension_and_removes_only_what_is_there(
    spectrum: Floats, rule: str, dim: int, significant: int
) -> None:
    kept = max(min(dim - 1, len(spectrum)), 0)
    assume(rule != "1" or kept >= 1)
    significance = stands_out(significant, 0.7 * significant)
    rank = RankRule.parse(rule).choose(spectrum, significance, dim=dim, kept=kept)
    assert 0 <= rank <= kept < max(dim, 1)
    assert rank <= np.count_nonzero(spectrum)
    if rule == "auto":
        assert rank <= significant


@given(st.integers(0, 20), st.floats(0, 1))
def test_the_automatic_rank_is_the_effective_number_rounded_up(significant: int, share: float) -> None:
    effective = share * significant
    rank = RankRule.parse("auto").choose(np.ones(30), stands_out(significant, effective), dim=31, kept=30)
    assert effective - 1e-6 <= rank < effective + 1
    assert rank <= significant


def test_no_rank_is_automatic_where_chance_is_not_known() -> None:
    with pytest.raises(UsageError) as error:
        RankRule.parse("auto").choose(np.ones(3), None, dim=4, kept=3)
    assert str(error.value) == "nothing is known of what stands out from chance here\n  fix: --rank 16 or --rank 90%"


@given(spectra, st.integers(0, 29))
def test_a_fixed_number_is_taken_as_it_is(spectrum: Floats, wanted: int) -> None:
    assume(spectrum[0] > 0)
    spectrum = np.maximum(spectrum, 1e-3)
    assume(wanted <= len(spectrum))
    assert RankRule.parse(str(wanted)).choose(spectrum, None, dim=31, kept=len(spectrum)) == wanted


@given(st.integers(1, 50), st.integers(0, 100))
def test_a_fixed_number_that_leaves_no_dimension_is_refused(dim: int, more: int) -> None:
    spectrum: Any = np.ones(dim)
    with pytest.raises(UsageError, match=f"rank {dim + more} would remove the whole modality: it has {dim} dimensions"):
        RankRule.parse(str(dim + more)).choose(spectrum, None, dim=dim, kept=dim)


@given(st.integers(0, 10**6))
def test_a_number_is_read_as_it_is_written(number: int) -> None:
    rule = RankRule.parse(f" {number} ")
    assert (rule.count, rule.share) == (number, None)


@given(st.floats(0.001, 100))
def test_a_percentage_is_read_as_it_is_written(percentage: float) -> None:
    rule = RankRule.parse(f"{percentage}%")
    assert rule.count is None
    assert rule.share == pytest.approx(percentage / 100)


@given(st.text(st.sampled_from("0123456789.%-+e _naif"), max_size=6))
def test_whatever_is_read_is_a_number_or_a_share(text: str) -> None:
    with suppress(UsageError):
        rule = RankRule.parse(text)
        assert (rule.count is not None and rule.count >= 0) or 0 < (rule.share or 0) <= 1


@pytest.mark.parametrize("text", ["", "-1", "1.5", "0%", "-5%", "101%", "nan%", "inf%", "%", "ninety%", "²", "Auto"])
def test_what_is_neither_a_number_nor_a_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as error:
        RankRule.parse(text)
    assert str(error.value) == (
        f'rank "{text}" is not auto, a number of directions or a percentage\n  fix: --rank 16 or --rank 90%'
    )


def test_a_cut_between_equal_values_is_tied_and_one_at_either_end_is_not() -> None:
    assert tied_at(np.array([1.0, 1.0]), 1)
    assert tied_at(np.array([2.0, 1.0, 1.0 - 1e-6, 0.5]), 2)
    assert not tied_at(np.array([2.0, 1.0, 1.0 - 3e-6, 0.5]), 2)
    assert not any(tied_at(np.ones(2), rank) for rank in (0, 2))


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_energy_is_in_the_squares_whatever_the_units(scale: float) -> None:
    spectrum = scale * np.array([2.0, 1.0, 1.0, 0.0])
    np.testing.assert_allclose(cumulative_energy(spectrum), [4 / 6, 5 / 6, 1, 1])
    assert [energy_rank(spectrum, share) for share in (0.6, 0.7, 5 / 6, 0.9, 1.0)] == [1, 2, 2, 3, 3]
    assert cumulative_energy(0 * spectrum).tolist() == [0, 0, 0, 0]
    assert cumulative_energy(spectrum[:0]).shape == (0,)
    assert (energy_rank(0 * spectrum, 1.0), energy_rank(spectrum[:0], 1.0)) == (0, 0)


def test_what_is_no_more_than_rounding_has_no_rank() -> None:
    eps = float(np.finfo(np.float64).eps)
    spectrum = np.array([1.0, 0.5, 9 * eps, 7 * eps])
    assert numeric_rank(spectrum, 8) == 3
    assert numeric_rank(spectrum, 10) == 2
    assert numeric_rank(spectrum, 2) == 4  # the larger of dimensions and values counts
    assert (numeric_rank(np.zeros(3), 3), numeric_rank(spectrum[:0], 3)) == (0, 0)


@pytest.mark.parametrize(
    ("rank", "dim", "values", "kept", "problem", "fix"),
    [
        (8, 8, 5, 5, "rank 8 would remove the whole modality: it has 8 dimensions", "--rank 5 or less"),
        (4, 4, 5, 5, "rank 4 would remove the whole modality: it has 4 dimensions", "--rank 3 or less"),
        (6, 8, 5, 5, "rank 6 is more than the 5 directions that the modalities can share", "--rank 5 or less"),
        (
            5,
            8,
            5,
            4,
            "rank 5 is more than the 4 directions that are kept",
            "--max-rank 5 when fitting, or --rank 4 or less",
        ),
    ],
)
def test_a_number_that_cannot_be_removed_is_refused_with_the_largest_that_can(
    rank: int, dim: int, values: int, kept: int, problem: str, fix: str
) -> None:
    with pytest.raises(UsageError) as error:
        RankRule.parse(str(rank)).choose(np.ones(values), None, dim=dim, kept=kept)
    assert str(error.value) == f"{problem}\n  fix: {fix}"
    largest = min(dim - 1, values, kept)
    assert RankRule.parse(str(largest)).choose(np.ones(values), None, dim=dim, kept=kept) == largest
    assert RankRule.parse("100%").choose(np.ones(values), None, dim=dim, kept=kept) == largest
