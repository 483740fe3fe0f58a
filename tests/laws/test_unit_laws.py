"""Units: a factor on a whole modality changes no figure, one on some of its columns those that add columns up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.laws.planted import Floats, fit, planted, shared

WHOLE = 30.0
COLUMNS = np.where(np.arange(12) < 4, WHOLE, 1.0)


def figures(a: Floats, b: Floats) -> dict[str, Any]:
    found = shared(a, b).figures(2)
    held = found["held_out"]
    return {
        "rv": found["rv"],
        "correlations": found["canonical_correlations"],
        "r2_of_b": found["linear_r2"][0],
        "r2_of_a": found["linear_r2"][1],
        "correlation_held_out": held["canonical_correlation_top"]["value"],
        "r2_of_b_held_out": held["linear_r2"][0]["value"],
        "r2_of_a_held_out": held["linear_r2"][1]["value"],
    }


@pytest.mark.parametrize(("factor", "differ"), [
    (WHOLE, set()),
    (COLUMNS, {"rv", "r2_of_a", "correlation_held_out", "r2_of_b_held_out", "r2_of_a_held_out"}),
], ids=["whole", "columns"])  # fmt: skip
def test_figures_of_a_modality_in_other_units(factor: Any, differ: set[str]) -> None:
    a, b = planted(200, (12, 8))
    before, after = figures(a, b), figures(a * factor, b)
    assert {key for key, value in before.items() if value != pytest.approx(after[key], rel=1e-6)} == differ


@pytest.mark.parametrize("directions", ["covariance", "correlation"])
def test_directions_of_a_modality_in_other_units(directions: Any) -> None:
    a, b = planted(200, (12, 8))

    def subspaces(a: Floats) -> list[Floats]:
        projectors = fit({"image": a, "text": b}, rank=2, directions=directions).projectors
        return [one.directions[:, :2] @ one.directions[:, :2].T for one in projectors.values()]

    plain, whole, columns = subspaces(a), subspaces(a * WHOLE), subspaces(a * COLUMNS)
    for i in (0, 1):
        np.testing.assert_allclose(whole[i], plain[i], atol=1e-6)
        assert np.abs(columns[i] - plain[i]).max() > 1e-4, "of the partner, too: what is shared is weighed otherwise"
