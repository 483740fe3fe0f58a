"""What holds for every fit: geometry of the projection, and independence of how the data were read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clear_cli.diagnostics import leftover, removed_from
from clear_cli.embeddings import arrays
from clear_cli.projector import Projector
from tests.laws.planted import angle, dense_covariance, fit, orthonormal, planted

seeds = st.integers(0, 2**32 - 1)
dims = st.integers(2, 20)
strengths = st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0])
types = st.sampled_from([np.float32, np.float64])


@st.composite
def projectors(draw: st.DrawFn, strength: Any = strengths) -> Projector:
    """Projectors of any shape, on random directions."""
    dim = draw(st.integers(2, 24))
    kept = draw(st.integers(1, dim))
    rng = np.random.default_rng(draw(seeds))
    return Projector(
        modality="image",
        mean=draw(st.sampled_from([0.0, 1.0, 1000.0])) * rng.normal(size=dim),
        directions=orthonormal(dim, kept, rng),
        spectrum=np.sort(rng.uniform(size=kept))[::-1],
        rank=draw(st.integers(0, min(kept, dim - 1))),
        strength=draw(strength),
    )


def dense_projection(projector: Projector) -> Any:
    """P = I - strength U U^T."""
    u = projector.directions[:, : projector.rank]
    return np.eye(projector.dim) - u @ np.diag(projector.strength[: projector.rank]) @ u.T


@given(seed=seeds, dim_a=dims, dim_b=dims, rows=st.integers(10, 200), dtype=types)
def test_directions_are_orthonormal(seed: int, dim_a: int, dim_b: int, rows: int, dtype: Any) -> None:
    a, b = planted(rows, (dim_a, dim_b), shared=min(2, dim_a, dim_b), seed=seed, dtype=dtype)
    fitted = fit({"image": a, "text": b})
    for projector in fitted.projectors.values():
        u = projector.directions
        np.testing.assert_allclose(u.T @ u, np.eye(u.shape[1]), atol=1e-12)


@given(seed=seeds, dims=st.tuples(dims, dims, dims), rows=st.integers(10, 200))
def test_directions_of_three_modalities_are_orthonormal(seed: int, dims: tuple[int, int, int], rows: int) -> None:
    arrays = planted(rows, dims, shared=min(2, *dims), seed=seed)
    fitted = fit(dict(zip(("image", "text", "audio"), arrays, strict=True)))
    for projector in fitted.projectors.values():
        u = projector.directions
        np.testing.assert_allclose(u.T @ u, np.eye(u.shape[1]), atol=1e-12)


@given(projectors(), seeds)
def test_the_thin_map_is_the_dense_projection(projector: Projector, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(5, projector.dim)) + projector.mean
    expected = x @ dense_projection(projector)
    np.testing.assert_allclose(projector.transform(x), expected, rtol=1e-12, atol=1e-12 * (1 + np.abs(x).max()))


@given(projectors(strength=st.just(1.0)), seeds)
def test_full_removal_twice_is_full_removal_once(projector: Projector, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(5, projector.dim)) + projector.mean
    once = projector.transform(x)
    np.testing.assert_allclose(projector.transform(once), once, rtol=1e-12, atol=1e-12 * (1 + np.abs(x).max()))


@given(projectors(strength=st.sampled_from([0.3, 0.5, 0.8])), seeds)
def test_partial_removal_can_be_undone(projector: Projector, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(5, projector.dim))
    y = projector.transform(x)
    np.testing.assert_allclose(y @ np.linalg.inv(dense_projection(projector)), x, atol=1e-10 * (1 + np.abs(x).max()))


@given(seed=seeds, dim_a=dims, dim_b=dims, strength_a=strengths, strength_b=strengths, data=st.data())
def test_cross_covariance_after_is_that_before_between_the_projections(
    seed: int, dim_a: int, dim_b: int, strength_a: float, strength_b: float, data: st.DataObject
) -> None:
    a, b = planted(100, (dim_a, dim_b), shared=2, seed=seed)
    ranks = {"image": data.draw(st.integers(0, min(dim_a, dim_b) - 1)), "text": data.draw(st.integers(0, 1))}
    fitted = fit({"image": a, "text": b}, rank=ranks, strength={"image": strength_a, "text": strength_b})
    image, text = fitted.projectors["image"], fitted.projectors["text"]
    c = dense_covariance(a, b)
    expected = dense_projection(image).T @ c @ dense_projection(text)
    tolerance = 1e-12 * np.linalg.norm(c)
    np.testing.assert_allclose(removed_from(c, image, text), expected, atol=tolerance)
    np.testing.assert_allclose(dense_covariance(image.transform(a), text.transform(b)), expected, atol=tolerance)


@given(seed=seeds, dim_a=dims, dim_b=dims, strength_a=strengths, strength_b=strengths, data=st.data())
def test_of_two_modalities_each_singular_value_shrinks_by_its_own_factors(
    seed: int, dim_a: int, dim_b: int, strength_a: float, strength_b: float, data: st.DataObject
) -> None:
    a, b = planted(100, (dim_a, dim_b), shared=2, seed=seed)
    rank_a, rank_b = (data.draw(st.integers(0, min(dim_a, dim_b) - 1)) for _ in range(2))
    fitted = fit(
        {"image": a, "text": b},
        rank={"image": rank_a, "text": rank_b},
        strength={"image": strength_a, "text": strength_b},
    )
    image, text = fitted.projectors["image"], fitted.projectors["text"]
    j = np.arange(len(image.spectrum))
    factors = (1 - strength_a * (j < rank_a)) * (1 - strength_b * (j < rank_b))
    left = float(np.sum(factors**2 * image.spectrum**2))
    after = dense_covariance(image.transform(a), text.transform(b))
    assert np.linalg.norm(after) ** 2 == pytest.approx(left, rel=1e-10, abs=1e-20 * image.spectrum[0] ** 2)
    assert leftover(fitted.moments["image", "text"], image, text) == pytest.approx(
        np.sqrt(left / np.sum(image.spectrum**2)), rel=1e-9, abs=1e-9
    )


@given(seed=seeds, threads=st.sampled_from([1, 3]), dtype=types)
def test_the_order_of_items_changes_nothing(seed: int, threads: int, dtype: Any) -> None:
    a, b = planted(300, (12, 8), seed=seed, dtype=dtype)
    order = np.random.default_rng(seed).permutation(300)
    first = fit({"image": a, "text": b}, rank=3)
    second = fit({"image": a[order], "text": b[order]}, rank=3, threads=threads)
    tolerance = 1e-10 if dtype == np.float64 else 1e-5
    for name, projector in first.projectors.items():
        other = second.projectors[name]
        assert angle(projector.directions[:, :3], other.directions[:, :3]) < tolerance
        np.testing.assert_allclose(other.mean, projector.mean, atol=tolerance)
        np.testing.assert_allclose(other.spectrum, projector.spectrum, atol=tolerance)


@given(seed=seeds, dtype=types)
def test_the_order_of_rows_within_a_modality_changes_nothing(seed: int, dtype: Any) -> None:
    a, b = planted(300, (12, 8), seed=seed, dtype=dtype)
    rng = np.random.default_rng(seed)
    first, second = rng.permutation(300), rng.permutation(300)
    ids = np.array([f"item-{i}" for i in range(300)])
    plain = fit({"image": a, "text": b}, rank=3)
    shuffled = fit({"image": a[first], "text": b[second]}, ids={"image": ids[first], "text": ids[second]}, rank=3)
    for name, projector in plain.projectors.items():
        other = shuffled.projectors[name]
        tolerance = 1e-10 if dtype == np.float64 else 1e-5
        assert angle(projector.directions[:, :3], other.directions[:, :3]) < tolerance


@given(seed=seeds, rows=st.integers(5, 400), dtype=types, offset=st.sampled_from([0.0, 1.0, 100.0]))
@settings(max_examples=15)
@example(seed=0, rows=7, dtype=np.float32, offset=1000.0)
def test_chunks_of_any_size_give_the_same_bytes(seed: int, rows: int, dtype: Any, offset: float) -> None:
    a, b = planted(700, (12, 8), seed=seed, dtype=dtype, offset=offset)
    whole = fit({"image": a, "text": b}, rank=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "CHUNK_BYTES", rows * 12 * np.dtype(dtype).itemsize)
        parts = fit({"image": a, "text": b}, rank=3)
    for name, projector in whole.projectors.items():
        for part in ("directions", "spectrum", "mean"):
            assert getattr(parts.projectors[name], part).tobytes() == getattr(projector, part).tobytes()


@given(seed=seeds, exponent=st.integers(-100, 100), dtype=types)
def test_a_scale_of_two_changes_the_spectrum_and_nothing_else(seed: int, exponent: int, dtype: Any) -> None:
    a, b = planted(200, (8, 6), seed=seed, dtype=dtype)
    factor = dtype(2.0) ** dtype(exponent)
    first = fit({"image": a, "text": b}, rank=3)
    second = fit({"image": factor * a, "text": b}, rank=3)
    for name, projector in first.projectors.items():
        other = second.projectors[name]
        np.testing.assert_allclose(other.directions[:, :3], projector.directions[:, :3], atol=1e-5)
        assert angle(projector.directions[:, :3], other.directions[:, :3]) < (1e-12 if dtype == np.float64 else 1e-6)
        np.testing.assert_allclose(other.spectrum, projector.spectrum * 2.0**exponent, rtol=1e-5)
    y = first.projectors["image"].transform(a)
    np.testing.assert_allclose(
        second.projectors["image"].transform(factor * a) / factor, y, atol=1e-5 * float(np.abs(a).max())
    )


@given(seed=seeds, factor=st.sampled_from([1e-30, 1e-20, 1e-3, 1e3, 1e20, 1e30]), dtype=types)
def test_any_scale_of_either_modality_leaves_the_same_subspace(seed: int, factor: float, dtype: Any) -> None:
    a, b = planted(200, (8, 6), seed=seed)
    first = fit({"image": a, "text": b})
    second = fit({"image": (factor * a).astype(dtype), "text": (b / factor).astype(dtype)})
    for name, projector in first.projectors.items():
        other = second.projectors[name]
        assert projector.rank > 0
        assert other.rank == projector.rank
        u, w = projector.directions[:, : projector.rank], other.directions[:, : projector.rank]
        assert angle(u, w) < (1e-10 if dtype == np.float64 else 1e-5)


@given(seed=seeds, sides=st.tuples(*[st.floats(1e-3, 1e3)] * 3))
@settings(max_examples=10)
@example(seed=0, sides=(30, 1, 0.1))
@example(seed=0, sides=(1e-30, 1, 1e30))
def test_of_three_modalities_no_scale_turns_a_subspace(seed: int, sides: tuple[float, float, float]) -> None:
    names = ("image", "text", "audio")
    arrays = planted(200, (8, 6, 5), seed=seed)
    first = fit(dict(zip(names, arrays, strict=True)), rank=2)
    second = fit({name: side * x for name, side, x in zip(names, sides, arrays, strict=True)}, rank=2)
    for name, projector in first.projectors.items():
        assert angle(projector.directions[:, :2], second.projectors[name].directions[:, :2]) < 1e-8


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_number_of_threads_does_not_change_a_bit(dtype: Any) -> None:
    a, b, c = planted(40_000, (12, 8, 6), dtype=dtype, offset=3)
    modalities = {"image": a, "text": b, "audio": c}
    one, many = (fit(modalities, threads=threads) for threads in (1, 4))
    for name, projector in one.projectors.items():
        other = many.projectors[name]
        for part in ("mean", "directions", "spectrum"):
            assert getattr(projector, part).tobytes() == getattr(other, part).tobytes()
        assert projector.rank == other.rank
        assert projector.transform(modalities[name]).tobytes() == other.transform(modalities[name]).tobytes()
    for pair, sample in one.samples.items():
        assert all(x.tobytes() == y.tobytes() for x, y in zip(sample.rows(), many.samples[pair].rows(), strict=True))


@given(projectors(), seeds, st.sampled_from([np.float16, np.float32, np.float64]), st.booleans())
def test_rows_of_zeros_stay_zeros_to_the_bit(projector: Projector, seed: int, dtype: Any, negative: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(6, projector.dim)).astype(dtype)
    x[[1, 4]] = dtype(-0.0 if negative else 0.0)
    y = projector.transform(x)
    assert y[[1, 4]].tobytes() == x[[1, 4]].tobytes()


@given(projectors(), seeds, st.sampled_from([np.float16, np.float32, np.float64]))
def test_the_type_and_shape_of_rows_are_kept_and_the_input_is_not_touched(
    projector: Projector, seed: int, dtype: Any
) -> None:
    x = np.random.default_rng(seed).normal(size=(7, projector.dim)).astype(dtype)
    before = x.tobytes()
    y = projector.transform(x)
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    assert x.tobytes() == before
    assert not np.shares_memory(x, y)


@given(projectors(), seeds)
def test_rows_are_projected_one_by_one(projector: Projector, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(9, projector.dim)) + projector.mean
    alone = np.concatenate([projector.transform(row[None]) for row in x])
    np.testing.assert_allclose(projector.transform(x), alone, rtol=1e-12, atol=1e-13 * (1 + np.abs(x).max()))
