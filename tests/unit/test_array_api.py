"""`clear_cli.fit` and `clear_cli.apply` on arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clear_cli
from clear_cli.embeddings import arrays
from clear_cli.errors import DataError, UsageError
from tests.laws.planted import Floats, dense_covariance, planted

IMAGE, TEXT = "image", "text"


@pytest.fixture
def sides() -> dict[str, Floats]:
    return dict(zip((IMAGE, TEXT), planted(300, (12, 8), dtype=np.float32, offset=3), strict=True))


def test_what_is_fitted_is_removed(sides: dict[str, Floats]) -> None:
    clean = clear_cli.apply(clear_cli.fit(sides, rank=3), sides)
    assert list(clean) == [IMAGE, TEXT]
    after = np.linalg.norm(dense_covariance(clean[IMAGE], clean[TEXT]))
    assert after < 0.1 * np.linalg.norm(dense_covariance(sides[IMAGE], sides[TEXT]))
    assert {name: (x.dtype, x.shape) for name, x in clean.items()} == {
        name: (x.dtype, x.shape) for name, x in sides.items()
    }


def test_a_fit_can_be_saved_and_loaded(sides: dict[str, Floats], tmp_path: Path) -> None:
    fitted = clear_cli.fit(sides)
    fitted.save(tmp_path / "projector.safetensors")
    expected = clear_cli.apply(fitted, sides)
    for again in (
        clear_cli.load(tmp_path / "projector.safetensors"),
        tmp_path / "projector.safetensors",
        str(tmp_path),
    ):
        clean = clear_cli.apply(again, sides)
        assert all(clean[name].tobytes() == expected[name].tobytes() for name in sides)


def test_one_modality_can_be_projected_alone(sides: dict[str, Floats]) -> None:
    fitted = clear_cli.fit(sides)
    both = clear_cli.apply(fitted, sides)
    assert clear_cli.apply(fitted, {TEXT: sides[TEXT]})[TEXT].tobytes() == both[TEXT].tobytes()


def test_rank_and_strength_can_be_changed_when_applying(sides: dict[str, Floats]) -> None:
    fitted = clear_cli.fit(sides, rank=3)
    lower = clear_cli.apply(fitted, sides, rank={IMAGE: 1}, strength={TEXT: 0})
    other = clear_cli.fit(sides, rank={IMAGE: 1, TEXT: 3}, strength={TEXT: 0})
    expected = clear_cli.apply(other, sides)
    assert all(lower[name].tobytes() == expected[name].tobytes() for name in sides)
    assert lower[TEXT].tobytes() == sides[TEXT].tobytes()


def test_threads_do_not_change_a_bit_of_a_fit_or_its_figures(sides: dict[str, Floats]) -> None:
    one, many = (clear_cli.fit(sides, threads=threads) for threads in (1, 4))
    assert one.diagnostics == many.diagnostics
    assert all(
        one.projectors[name].directions.tobytes() == many.projectors[name].directions.tobytes() for name in sides
    )


def test_ids_may_be_any_sequence(sides: dict[str, Floats]) -> None:
    order = np.random.default_rng(0).permutation(300)
    shuffled = {IMAGE: sides[IMAGE], TEXT: sides[TEXT][order]}
    plain = clear_cli.fit(sides, rank=3).projectors[TEXT]
    names = np.array([f"i{i}" for i in range(300)])
    for ids in (
        {IMAGE: range(300), TEXT: order},
        {IMAGE: list(range(300)), TEXT: tuple(order.tolist())},
        {IMAGE: names, TEXT: names[order].tolist()},
        {IMAGE: names.astype(bytes), TEXT: names[order].astype(object)},
    ):
        found = clear_cli.fit(shuffled, ids=ids, rank=3).projectors[TEXT]
        u, w = plain.directions[:, :3], found.directions[:, :3]
        np.testing.assert_allclose(u @ u.T, w @ w.T, atol=1e-5)


def test_a_list_of_lists_is_an_array(sides: dict[str, Floats]) -> None:
    plain = clear_cli.fit({name: x.astype(np.float64) for name, x in sides.items()})
    listed = clear_cli.fit({name: x.tolist() for name, x in sides.items()})
    for name in sides:
        assert plain.projectors[name].directions.tobytes() == listed.projectors[name].directions.tobytes()


@pytest.mark.parametrize("count", [0, 1])
def test_one_modality_has_no_redundancy(sides: dict[str, Floats], count: int) -> None:
    with pytest.raises(UsageError) as error:
        clear_cli.fit(dict(list(sides.items())[:count]))
    assert str(error.value) == f"redundancy is between modalities, and there is only {count}"


def test_an_unknown_modality_cannot_be_projected(sides: dict[str, Floats]) -> None:
    with pytest.raises(UsageError) as error:
        clear_cli.apply(clear_cli.fit(sides), {"txet": sides[IMAGE]})
    told = 'the projector has no modality "txet"\n  modalities: image, text\n  fix: -m text=...'
    assert str(error.value) == told


@pytest.mark.parametrize("option", ["rank", "strength"])
def test_an_option_for_an_unknown_modality_is_refused(sides: dict[str, Floats], option: str) -> None:
    with pytest.raises(UsageError, match='no modality "imgae"'):
        clear_cli.fit(sides, **{option: {"imgae": 1}})


def test_ids_for_an_unknown_modality_are_refused(sides: dict[str, Floats]) -> None:
    with pytest.raises(UsageError):
        clear_cli.fit(sides, ids={"imgae": range(300), "txet": range(299, -1, -1)})


def test_rows_that_are_not_finite_are_an_error_when_applying_too(sides: dict[str, Floats]) -> None:
    fitted = clear_cli.fit(sides)
    sides[IMAGE][7, 1] = np.nan
    with pytest.raises(DataError, match="first in row 7"):
        clear_cli.apply(fitted, sides)


def test_kept_rows_that_are_not_finite_pass_through_when_applying(sides: dict[str, Floats]) -> None:
    fitted = clear_cli.fit(sides)
    sides[IMAGE][7, 1] = np.nan
    clean = clear_cli.apply(fitted, sides, on_invalid="keep")
    assert clean[IMAGE][7].tobytes() == sides[IMAGE][7].tobytes()


def test_a_word_that_on_invalid_does_not_know_is_refused(sides: dict[str, Floats]) -> None:
    on_invalid: Any = "kep"
    with pytest.raises(UsageError):
        clear_cli.fit(sides, on_invalid=on_invalid)


def test_a_negative_number_of_directions_to_keep_is_refused(sides: dict[str, Floats]) -> None:
    with pytest.raises(UsageError) as error:
        clear_cli.fit(sides, max_rank=-1)
    assert str(error.value) == "max rank -1 is negative"


def test_ids_of_other_kinds_are_refused(sides: dict[str, Floats]) -> None:
    ids: list[Any] = [object()] * len(sides[IMAGE])
    with pytest.raises(DataError) as error:
        clear_cli.fit(sides, ids=dict.fromkeys(sides, ids))
    problem, *rest = str(error.value).splitlines()
    assert problem.startswith("these ids cannot be used: Could not convert <object object at ")
    assert rest == [f"  in: <array {IMAGE}>", "  supported: strings, or integers of 64 bits"]


def test_arrays_and_paths_are_not_mixed_up(sides: dict[str, Floats], tmp_path: Path) -> None:
    fitted, path = clear_cli.fit(sides), tmp_path / "p.safetensors"
    fitted.save(path)
    for call, message in (
        (
            lambda: clear_cli.fit({**sides, IMAGE: "image.npy"}),
            "some embeddings are arrays and some are paths\n  fix: give all as arrays or all as paths",
        ),
        (
            lambda: clear_cli.apply(fitted, sides, out=tmp_path / "out"),
            "arrays are returned, not written\n  fix: apply without out and name",
        ),
        *(
            (call, "files are written from a saved projector to a directory\n  fix: apply(path, {...}, out=...)")
            for call in (
                lambda: clear_cli.apply(fitted, {IMAGE: "image.npy"}, out=tmp_path / "out"),
                lambda: clear_cli.apply(path, {IMAGE: "image.npy"}),
            )
        ),
    ):
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message


def test_the_figures_of_a_fit_are_those_of_its_projectors(sides: dict[str, Floats]) -> None:
    fitted = clear_cli.fit(sides, rank={IMAGE: 3, TEXT: 2})
    figures = fitted.diagnostics["modalities"]
    for name, projector in fitted.projectors.items():
        one = figures[name]
        assert (one["rows"], one["dim"], one["dtype"]) == (300, projector.dim, "float32")
        assert (one["rank"], one["strength"]) == (projector.rank, 1.0)
        energy = projector.spectrum**2
        assert one["energy_at_rank"] == pytest.approx(energy[: projector.rank].sum() / energy.sum())
    (pair,) = fitted.diagnostics["pairs"]
    assert (pair["modalities"], pair["items"]) == ([IMAGE, TEXT], 300)
    sample = pair["sample"]
    assert sample["items"] == 300
    assert sample["rv"]["after"] < sample["rv"]["before"]
    written = clear_cli.apply(fitted, sides)
    shares = [np.linalg.norm(dense_covariance(x[IMAGE], x[TEXT])) for x in (written, sides)]
    assert pair["leftover"]["sample_as_written"] == pytest.approx(shares[0] / shares[1], rel=1e-6)
    assert pair["leftover"]["fit_algebraic"] == pytest.approx(shares[0] / shares[1], rel=1e-4)


def test_an_array_is_read_in_chunks_that_know_their_rows_and_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 3 * 16)
    x = np.arange(16.0).reshape(8, 2)
    rows = arrays.ArrayRows(x, modality=IMAGE, ids=list("abcdefgh"))
    chunks = list(rows.chunks())
    assert [(chunk.start, chunk.stop, len(chunk)) for chunk in chunks] == [(0, 3, 3), (3, 6, 3), (6, 8, 2)]
    assert [chunk.start for chunk in rows.chunks(3)] == [3, 6]
    np.testing.assert_array_equal(np.concatenate([chunk.embeddings for chunk in chunks]), x)
    assert [one for ids in rows.ids() for one in ids.to_pylist()] == list("abcdefgh")
    assert (rows.rows, rows.dim, rows.dtype, rows.id_kind) == (8, 2, np.float64, "string")
