"""Options that cannot hold together or mean nothing are refused, word for word, with a way out."""

from __future__ import annotations

from typing import Any

import pytest

import clear_cli
from clear_cli.errors import UsageError
from tests.laws.planted import Floats, planted


@pytest.fixture(scope="module")
def sides() -> dict[str, Floats]:
    return dict(zip(("image", "text"), planted(100, (12, 8)), strict=True))


def refusal(sides: dict[str, Floats], options: dict[str, Any]) -> str:
    with pytest.raises(UsageError) as error:
        clear_cli.fit(sides, **options)
    return str(error.value)


@pytest.mark.parametrize(
    ("options", "problem", "fix"),
    [
        (
            {"strength": "soft", "directions": "correlation"},
            "soft strength shrinks singular values of covariance, not correlations",
            "--directions covariance",
        ),
        (
            {"strength": {"text": "soft"}, "removal": "oblique"},
            "soft strength shrinks what an orthogonal removal takes",
            "--removal orthogonal",
        ),
        (
            {"renorm": "unit", "scale": "rms"},
            "rows that are given a norm cannot also be scaled",
            "--scale none or --renorm none",
        ),
        (
            {"renorm": "original", "keep_mean": True},
            "column means do not stay where rows are given a norm",
            "--renorm none, or without --keep-mean",
        ),
    ],
)
def test_options_that_contradict_each_other(
    sides: dict[str, Floats], options: dict[str, Any], problem: str, fix: str
) -> None:
    assert refusal(sides, options) == f"{problem}\n  fix: {fix}"


@pytest.mark.parametrize(
    ("option", "value", "known", "nearest"),
    [
        ("directions", "correlations", "covariance, correlation", "correlation"),
        ("removal", "orthognal", "orthogonal, oblique", "orthogonal"),
        ("renorm", "units", "none, original, unit", "unit"),
        ("scale", "RMS", "none, rms", "rms"),
        ("on_invalid", "keeep", "error, keep", "keep"),
    ],
)
def test_a_value_that_an_option_does_not_have(
    sides: dict[str, Floats], option: str, value: str, known: str, nearest: str
) -> None:
    flag = f"--{option.replace('_', '-')}"
    assert refusal(sides, {option: value}) == (
        f'"{value}" is not a value of {flag}\n  known: {known}\n  fix: {flag} {nearest}'
    )


@pytest.mark.parametrize("share", [0, -0.5, 1.5, 95, float("nan"), "0%", "101%", "most", [0.9]])
def test_a_share_of_rows_that_is_none(sides: dict[str, Floats], share: Any) -> None:
    assert refusal(sides, {"winsorise": share}) == (
        f'"{share}" is not a percentage\n  in: winsorise\n  fix: winsorise 99%'
    )


def test_a_share_of_rows_may_be_a_number_or_a_percentage(sides: dict[str, Floats]) -> None:
    number, text = (clear_cli.fit(sides, winsorise=share).projectors["image"] for share in ("0.95", "95%"))
    assert number.directions.tobytes() == text.directions.tobytes()


@pytest.mark.parametrize("strength", ["sofft", "hard", 2])
def test_a_strength_that_is_neither_a_number_nor_soft(sides: dict[str, Floats], strength: Any) -> None:
    assert refusal(sides, {"strength": strength}) == (
        f'strength "{strength}" is not a number between 0 and 1, or soft\n  fix: --strength 0.8'
    )
