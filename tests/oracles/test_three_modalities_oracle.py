"""Of more than two modalities each faces the row of its blocks with all others, over each pair's complete items."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from tests.laws.planted import Floats, angle, dense_covariance, fit, orthonormal, planted

NAMES = ("image", "text", "audio")
DIMS = (12, 9, 7)


def volume(x: Floats) -> float:
    """What a block is divided by: the root of the total variance of the partner, which has its units."""
    return float(np.sqrt(x.var(axis=0, ddof=1).sum()))


def dense_row_of_blocks(sides: dict[str, Floats], modality: str) -> tuple[Floats, Floats]:
    """U and sigma of one modality, where a row of zeros is a missing row."""
    blocks = []
    for partner in sides:
        if partner != modality:
            complete = sides[modality].any(axis=1) & sides[partner].any(axis=1)
            x, y = sides[modality][complete], sides[partner][complete]
            blocks.append(dense_covariance(x, y) / volume(y))
    u, sigma, _ = np.linalg.svd(np.concatenate(blocks, axis=1), full_matrices=False)
    return u, sigma


def pairwise(scales: tuple[float, float, float], items: int = 2000) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Each pair shares two directions of its own. Returns the modalities and, for each, its shared directions."""
    rng = np.random.default_rng(0)
    signals = {pair: rng.normal(size=(items, 2)) for pair in combinations(NAMES, 2)}
    sides, shared = {}, {}
    for name, scale in zip(NAMES, scales, strict=True):
        own = np.concatenate([signal for pair, signal in signals.items() if name in pair], axis=1)
        shared[name] = orthonormal(24, 4, rng)
        sides[name] = scale * (own @ shared[name].T + rng.normal(size=(items, 24)))
    return sides, shared


def captured(directions: Floats, shared: Floats) -> float:
    """Share of the planted shared directions that lies in these directions."""
    return float(np.linalg.norm(directions.T @ shared) ** 2 / shared.shape[1])


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("offset", [0.0, 20.0])
def test_directions_are_those_of_the_dense_row_of_blocks(missing: float, offset: float) -> None:
    sides = dict(zip(NAMES, planted(1200, DIMS, offset=offset), strict=True))
    rng = np.random.default_rng(1)
    for x in sides.values():
        x[rng.uniform(size=len(x)) < missing] = 0
    fitted = fit(sides, rank=3)
    for name, projector in fitted.projectors.items():
        u, sigma = dense_row_of_blocks(sides, name)
        assert angle(projector.directions[:, :3], u[:, :3]) < 1e-10
        np.testing.assert_allclose(projector.spectrum, sigma, atol=1e-12 * float(sigma[0]))
        assert projector.dim == DIMS[NAMES.index(name)]


def test_each_pair_is_over_its_own_complete_items() -> None:
    sides = dict(zip(NAMES, planted(300, DIMS), strict=True))
    sides["image"][:100] = 0
    sides["audio"][50:120] = 0
    fitted = fit(sides)
    items = {pair: moments.items for pair, moments in fitted.moments.items()}
    assert items == {("image", "text"): 200, ("image", "audio"): 180, ("text", "audio"): 230}


def test_a_mean_is_over_the_complete_items_of_all_pairs() -> None:
    sides = dict(zip(NAMES, planted(300, DIMS, offset=3), strict=True))
    sides["image"][:100] = 0
    projector = fit(sides).projectors["text"]
    with_image, with_audio = sides["text"][100:].sum(axis=0), sides["text"].sum(axis=0)
    np.testing.assert_allclose(projector.mean, (with_image + with_audio) / 500, rtol=1e-12)


def test_each_modality_finds_what_it_shares_with_every_other() -> None:
    sides, shared = pairwise((1, 1, 1))
    for name, projector in fit(sides, rank=4).projectors.items():
        assert captured(projector.directions[:, :4], shared[name]) > 0.97


@pytest.mark.parametrize("scales", [(30, 1, 0.1), (0.1, 30, 1), (1, 0.1, 30)])
def test_neither_the_loudest_nor_the_quietest_modality_decides(scales: tuple[float, float, float]) -> None:
    sides, shared = pairwise(scales)
    for name, projector in fit(sides, rank=4).projectors.items():
        assert captured(projector.directions[:, :4], shared[name]) > 0.97


def test_a_modality_that_shares_nothing_changes_little() -> None:
    image, text, _ = planted(3000, DIMS)
    stranger = np.random.default_rng(5).normal(size=(3000, 7))
    with_stranger = fit({"image": image, "text": text, "audio": stranger}, rank={"image": 3, "text": 3, "audio": 1})
    alone = fit({"image": image, "text": text}, rank=3)
    for name in ("image", "text"):
        u, w = (one.projectors[name].directions[:, :3] for one in (alone, with_stranger))
        assert angle(u, w) < 0.05


def test_the_order_of_the_modalities_does_not_matter() -> None:
    sides = dict(zip(NAMES, planted(500, DIMS), strict=True))
    plain = fit(sides, rank=2)
    turned = fit({name: sides[name] for name in reversed(NAMES)}, rank=2)
    for name, projector in plain.projectors.items():
        assert angle(projector.directions[:, :2], turned.projectors[name].directions[:, :2]) < 1e-10
        np.testing.assert_allclose(turned.projectors[name].spectrum, projector.spectrum, rtol=1e-9, atol=1e-15)
