"""The oblique removal is LEACE (Belrose et al. 2023), with the scores of the partner for its concept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.laws.planted import Floats, fit, planted
from tests.oracles.dense import centred, shrunk_covariance

RANK = 3


def scores(x: Floats, directions: Floats, kind: str) -> Floats:
    """(n, k) what of a modality predicts the shared directions of its partner."""
    weights = directions if kind == "covariance" else np.linalg.solve(shrunk_covariance(x), directions)
    return centred(x) @ weights


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["covariance", "correlation"])
@pytest.mark.parametrize("offset", [0, 100])
def test_an_oblique_removal_is_that_of_concept_erasure(kind: str, offset: float, ask: Callable[..., Floats]) -> None:
    sides = dict(zip(("image", "text"), planted(1500, (20, 14), offset=offset), strict=True))
    fitted = fit(sides, rank=RANK, removal="oblique", directions=kind, keep_mean=True)
    for name, partner in (("image", "text"), ("text", "image")):
        concept = scores(sides[partner], fitted.projectors[partner].directions[:, :RANK], kind)
        expected = ask("concept_erasure", "erase", rows=sides[name], concept=concept)
        np.testing.assert_allclose(fitted.projectors[name].transform(sides[name]), expected, atol=1e-8)


@pytest.mark.slow
def test_of_fewer_items_than_dimensions_an_oblique_removal_is_that_of_concept_erasure(
    ask: Callable[..., Floats],
) -> None:
    sides = dict(zip(("image", "text"), planted(40, (60, 50)), strict=True))
    fitted = fit(sides, rank=RANK, removal="oblique", keep_mean=True)
    concept = scores(sides["text"], fitted.projectors["text"].directions[:, :RANK], "covariance")
    expected = ask("concept_erasure", "erase", rows=sides["image"], concept=concept)
    np.testing.assert_allclose(fitted.projectors["image"].transform(sides["image"]), expected, atol=1e-8)
