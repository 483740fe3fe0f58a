"""Shared subspaces straight from moments, beside a dense decomposition of the same rows."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import scipy.linalg

from clear_cli.chance import draws_of, significance
from clear_cli.moments import CrossMoments
from clear_cli.subspace import Decomposition, Own, own_covariance, shared_subspaces, svd
from clear_cli.whitening import whitening
from tests.laws.planted import Floats, accumulated, angle, dense_covariance, planted, random_hashes

NAMES = ("image", "text", "audio")
DIMS = (7, 5, 4)
Sides = dict[str, Floats]
Pairs = dict[tuple[str, str], CrossMoments]


def sides_of(count: int = 2, rows: int = 600, scales: tuple[float, ...] = (1.0, 30.0, 0.1)) -> Sides:
    return {
        name: scale * x
        for name, x, scale in zip(NAMES[:count], planted(rows, DIMS[:count], offset=1), scales, strict=False)
    }


def moments_of(sides: Sides, *, reverse: bool = False) -> tuple[Pairs, Own]:
    """Moments of each pair, and of each modality with itself over its items."""
    pairs = [pair[::-1] if reverse else pair for pair in combinations(sides, 2)]
    hashes = random_hashes(len(next(iter(sides.values()))), 0)

    def one(a: Floats, b: Floats) -> CrossMoments:
        return accumulated(a, b, hashes).settle()

    cross = {(a, b): one(sides[a], sides[b]) for a, b in pairs}
    return cross, {(a, b): (one(sides[a], sides[a]), one(sides[b], sides[b])) for a, b in pairs}


def shrunk_for(x: Floats, items: int) -> Floats:
    """The covariance shrunk as OAS does for so many items (Chen et al. 2010, equation 23 as scikit-learn has it)."""
    s = dense_covariance(x, x)
    p = len(s)
    alpha, mu = np.mean(s**2), np.trace(s) / p
    share = min((alpha + mu**2) / ((items + 1) * (alpha - mu**2 / p)), 1.0)
    return (1 - share) * s + share * mu * np.eye(p)


def side_by_side(sides: Sides, name: str) -> Floats:
    """The blocks of a modality with the others, each over the volume of its partner."""
    partners = [y for partner, y in sides.items() if partner != name]
    blocks = [dense_covariance(sides[name], y) / np.sqrt(y.var(axis=0, ddof=1).sum()) for y in partners]
    return np.concatenate(blocks, axis=1)


def assert_signs(u: Floats) -> None:
    """The largest entry of each column is positive."""
    assert (u[np.abs(u).argmax(axis=0), np.arange(u.shape[1])] > 0).all()


@pytest.mark.parametrize("order", [("image", "text"), ("text", "image")])
def test_two_modalities_share_the_singular_vectors_of_their_cross_covariance(order: tuple[str, str]) -> None:
    sides = sides_of()
    cross, _ = moments_of({name: sides[name] for name in order})
    found = shared_subspaces(cross, NAMES[:2], Decomposition())
    u, sigma, vt = np.linalg.svd(dense_covariance(sides["image"], sides["text"]), full_matrices=False)
    np.testing.assert_allclose(found["image"].spectrum, sigma, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found["text"].spectrum, sigma, rtol=1e-9, atol=1e-12)
    for one, exact in ((found["image"], u), (found["text"], vt.T)):
        assert one.dim == len(exact)
        assert one.significance is None
        assert one.directions.flags.c_contiguous
        np.testing.assert_allclose(np.abs((one.directions[:, :3] * exact[:, :3]).sum(axis=0)), 1, rtol=1e-9)
    assert_signs(found[order[0]].directions)
    # Column j of both sides belongs to the same singular value, with its sign.
    c = dense_covariance(sides["image"], sides["text"])
    np.testing.assert_allclose(np.diag(found["image"].directions.T @ c @ found["text"].directions), sigma, rtol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_of_three_each_faces_the_others_side_by_side_at_the_same_volume(reverse: bool) -> None:
    sides = sides_of(3)
    cross, _ = moments_of(sides, reverse=reverse)
    found = shared_subspaces(cross, NAMES, Decomposition())
    for name in NAMES:
        u, sigma, _ = np.linalg.svd(side_by_side(sides, name), full_matrices=False)
        np.testing.assert_allclose(found[name].spectrum, sigma, rtol=1e-9)
        np.testing.assert_allclose(np.abs((found[name].directions[:, :3] * u[:, :3]).sum(axis=0)), 1, rtol=1e-9)
        assert_signs(found[name].directions)


def test_a_pair_that_is_not_there_is_left_out_and_a_constant_partner_shares_nothing() -> None:
    sides = sides_of(3)
    cross, _ = moments_of(sides)
    pair = shared_subspaces({("image", "text"): cross["image", "text"]}, NAMES[:2], Decomposition())
    del cross["image", "audio"]
    found = shared_subspaces(cross, NAMES, Decomposition())
    assert angle(found["image"].directions[:, :3], pair["image"].directions[:, :3]) < 1e-10
    sides["audio"][:] = 3.0
    cross, _ = moments_of(sides)
    found = shared_subspaces(cross, NAMES, Decomposition())
    assert angle(found["image"].directions[:, :3], pair["image"].directions[:, :3]) < 1e-10
    assert np.isfinite(found["audio"].spectrum).all()
    assert found["audio"].spectrum[0] < 1e-12


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("reverse", [False, True])
def test_directions_of_correlation_are_the_patterns_of_whitened_blocks(count: int, reverse: bool) -> None:
    sides = sides_of(count, rows=60)
    cross, own = moments_of(sides, reverse=reverse)
    how = Decomposition(correlation=True, cuts=dict.fromkeys(sides, 1e-12))
    found = shared_subspaces(cross, NAMES[:count], how, own)
    # Each modality is in count - 1 pairs, whose items it is shrunk for together.
    inverse_roots, roots = {}, {}
    for name, x in sides.items():
        s = shrunk_for(x, (count - 1) * len(x))
        roots[name] = scipy.linalg.sqrtm(s).real
        inverse_roots[name] = np.linalg.inv(roots[name])
    for name, x in sides.items():
        blocks = [
            inverse_roots[name] @ dense_covariance(x, y) @ inverse_roots[partner]
            for partner, y in sides.items()
            if partner != name
        ]
        u, sigma, _ = np.linalg.svd(np.concatenate(blocks, axis=1), full_matrices=False)
        r = min(len(sigma), len(found[name].spectrum))
        np.testing.assert_allclose(found[name].spectrum[:r], sigma[:r], rtol=1e-7)
        q, _ = np.linalg.qr(roots[name] @ u)
        np.testing.assert_allclose(np.abs((found[name].directions[:, :3] * q[:, :3]).sum(axis=0)), 1, rtol=1e-6)
        # A pattern has the sign of what it stands for.
        np.testing.assert_allclose(found[name].directions.T @ found[name].directions, np.eye(r), atol=1e-10)


def test_a_pattern_points_the_way_of_what_it_stands_for() -> None:
    sides = sides_of()
    cross, own = moments_of(sides)
    found = shared_subspaces(cross, NAMES[:2], Decomposition(correlation=True, cuts=dict.fromkeys(sides, 0.0)), own)
    image, text = (whitening(own_covariance(name, own), cut=0.0, items=600) for name in NAMES[:2])
    u, sigma, v = svd(image.whitener.T @ cross["image", "text"].cross_covariance() @ text.whitener)
    signs = np.sign(u[np.abs(u).argmax(axis=0), np.arange(len(sigma))])
    for one, root, vectors in ((found["image"], image.root, u), (found["text"], text.root, v)):
        assert (((root @ (vectors * signs)) * one.directions).sum(axis=0) > 0).all()


@pytest.mark.parametrize("count", [2, 3])
def test_within_what_varies_is_the_same_where_everything_does_and_leaves_out_what_does_not(count: int) -> None:
    sides = sides_of(count)
    cross, own = moments_of(sides)
    plain = shared_subspaces(cross, NAMES[:count], Decomposition())
    inner = shared_subspaces(cross, NAMES[:count], Decomposition(within=True, cuts=dict.fromkeys(sides, 1e-12)), own)
    for name in sides:
        np.testing.assert_allclose(inner[name].spectrum, plain[name].spectrum, rtol=1e-8, atol=1e-12)
        assert angle(inner[name].directions[:, :3], plain[name].directions[:, :3]) < 1e-8
    # A cut that leaves one direction in each leaves one direction to be shared: the leading one of its covariance.
    cut = shared_subspaces(cross, NAMES[:count], Decomposition(within=True, cuts=dict.fromkeys(sides, 0.9)), own)
    for name, x in sides.items():
        assert cut[name].spectrum[1] < 1e-9 * cut[name].spectrum[0]
        leading = np.linalg.eigh(dense_covariance(x, x))[1][:, -1]
        assert abs(leading @ cut[name].directions[:, 0]) == pytest.approx(1)


def test_each_modality_has_its_own_cut_and_its_covariance_is_that_of_all_its_items() -> None:
    sides = sides_of(3)
    cross, own = moments_of(sides)
    few = accumulated(sides["image"][:50], sides["image"][:50], random_hashes(50, 1))
    own = {**own, ("image", "audio"): (few, own["image", "audio"][1])}
    expected = np.average(
        [dense_covariance(sides["image"], sides["image"]), dense_covariance(*[sides["image"][:50]] * 2)],
        axis=0,
        weights=[600, 50],
    )
    np.testing.assert_allclose(own_covariance("image", own), expected, rtol=1e-8)
    np.testing.assert_allclose(own_covariance("text", own), dense_covariance(*[sides["text"]] * 2), rtol=1e-8)
    how = Decomposition(within=True, cuts={"image": 0.9, "text": 0.0, "audio": 0.0})
    found = shared_subspaces(cross, NAMES, how, own)
    assert np.count_nonzero(found["image"].spectrum > 1e-9 * found["image"].spectrum[0]) == 1
    assert np.count_nonzero(found["text"].spectrum > 1e-9 * found["text"].spectrum[0]) > 1


@pytest.mark.parametrize("options", [{}, {"within": True}, {"correlation": True}])
@pytest.mark.parametrize("count", [2, 3])
def test_what_is_planted_stands_out_from_chance_and_nothing_else_whatever_the_units(
    options: dict[str, Any], count: int
) -> None:
    found = []
    for scales in ((1.0, 1.0, 1.0), (1e-30, 1e25, 3.0)):
        sides = sides_of(count, rows=2000, scales=scales)
        cross, own = moments_of(sides)
        how = Decomposition(chance=True, cuts=dict.fromkeys(sides, 1e-12), **options)
        found.append(shared_subspaces(cross, NAMES[:count], how, own))
    for name in NAMES[:count]:
        tests = [one[name].significance for one in found]
        for one in found:
            tested = one[name].significance
            assert tested is not None
            assert tested.significant == 3
            ratios = tested.high / one[name].spectrum
            assert (ratios[:3] < 1).all()
            assert ratios[3] > 1
        assert tests[0] is not None
        assert tests[1] is not None
        if count == 2:
            relative = [one[name].significance.high / one[name].spectrum[0] for one in found]  # type: ignore[union-attr]
            np.testing.assert_allclose(relative[0], relative[1], rtol=1e-3)


def test_the_test_against_chance_is_that_of_the_draws_of_the_pair() -> None:
    cross, own = moments_of(sides_of())
    calls: list[int] = []

    def parallel(function: Any, items: Any) -> Any:
        calls.append(1)
        return map(function, items)

    found = shared_subspaces(cross, NAMES[:2], Decomposition(chance=True, parallel=parallel), own)
    assert calls
    (moments,) = cross.values()
    draws, unit = draws_of(moments)
    u, sigma, v = svd(moments.cross_covariance())
    expected = significance(sigma, u, v, draws, unit=unit)
    for one in found.values():
        assert one.significance is not None
        np.testing.assert_array_equal(one.significance.high, expected.high)
        np.testing.assert_array_equal(one.significance.median, expected.median)
        assert one.significance.significant == expected.significant


def test_of_three_the_draws_of_each_partner_stand_beside_each_other_at_the_same_volume() -> None:
    # Of a row in a hundred, one modality is loud: its pairs count in another unit than the one without it.
    sides = sides_of(3)
    sides["text"][::100] *= 40
    cross, _ = moments_of(sides)
    found = shared_subspaces(cross, NAMES, Decomposition(chance=True))
    units = set()
    for name in NAMES:
        blocks = []
        for partner in (one for one in NAMES if one != name):
            pair = (name, partner) if (name, partner) in cross else (partner, name)
            draws, unit = draws_of(cross[pair])
            volume = np.sqrt(sides[partner].var(axis=0, ddof=1).sum())
            units.add(unit / volume)
            blocks.append((draws if pair[0] == name else draws.transpose(0, 2, 1)) * (unit / volume))
        one = found[name]
        u, sigma, v = svd(side_by_side(sides, name))
        expected = significance(sigma, u, v, np.concatenate(blocks, axis=2).astype(np.float32))
        assert one.significance is not None
        np.testing.assert_allclose(one.significance.high, expected.high, rtol=1e-4)
        np.testing.assert_allclose(one.significance.median, expected.median, rtol=1e-4)
    assert max(units) > 1.5 * min(units)


def test_nothing_is_shared_by_a_constant_modality() -> None:
    sides = sides_of()
    sides["image"][:] = 0.5
    cross, own = moments_of(sides)
    for how in (Decomposition(), Decomposition(correlation=True, cuts=dict.fromkeys(sides, 1e-6), chance=True)):
        for one in shared_subspaces(cross, NAMES[:2], how, own).values():
            assert not one.spectrum.any()
            assert one.significance is None or one.significance.significant == 0


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1.0, 3.0, 1e200, 1e300])
@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (1, 1)])
def test_a_matrix_is_the_product_of_what_it_is_decomposed_into(scale: float, shape: tuple[int, int]) -> None:
    c = np.random.default_rng(0).normal(size=shape)
    u, sigma, v = svd(scale * c)
    r = min(shape)
    assert (u.shape, sigma.shape, v.shape) == ((shape[0], r), (r,), (shape[1], r))
    assert v.flags.c_contiguous
    np.testing.assert_allclose((u * (sigma / scale)) @ v.T, c, atol=1e-13)
    np.testing.assert_allclose(sigma / scale, np.linalg.svd(c, compute_uv=False), rtol=1e-12)
    for side in (u, v):
        np.testing.assert_allclose(side.T @ side, np.eye(r), atol=1e-13)


def test_an_exact_power_of_two_does_not_change_a_bit_but_the_exponent() -> None:
    c = np.random.default_rng(0).normal(size=(5, 3))
    u, sigma, v = svd(c)
    for exponent in (500, -500):
        u2, sigma2, v2 = svd(np.ldexp(c, exponent))
        assert (u.tobytes(), v.tobytes()) == (u2.tobytes(), v2.tobytes())
        assert np.ldexp(sigma, exponent).tobytes() == sigma2.tobytes()
    assert svd(np.zeros((3, 2)))[1].tolist() == [0, 0]
    assert svd(np.empty((0, 2)))[1].shape == (0,)


def test_a_matrix_that_divide_and_conquer_gives_up_on_is_decomposed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    c = 1e200 * np.random.default_rng(0).normal(size=(5, 3))
    expected = svd(c)

    def gives_up(*_: Any, **__: Any) -> None:
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", gives_up)
    u, sigma, v = svd(c)
    assert (u.shape, sigma.shape, v.shape) == ((5, 3), (3,), (3, 3))
    np.testing.assert_allclose(sigma, expected[1], rtol=1e-12)
    np.testing.assert_allclose((u * (sigma / 1e200)) @ v.T, c / 1e200, atol=1e-13)
