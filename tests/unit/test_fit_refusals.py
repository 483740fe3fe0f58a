"""What a fit refuses or warns about, word for word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clear_cli.errors import ClearError, DataError, OutputError, UsageError
from clear_cli.machine import Machine
from clear_cli.rank import RankRule
from clear_cli.values import PerModality, read_rank, read_strength
from clear_cli.workflow.evidence import Evidence
from tests.laws.planted import Floats, fit, planted


@pytest.fixture
def sides() -> dict[str, Floats]:
    return dict(zip(("image", "text"), planted(200, (12, 8)), strict=True))


def refusal(kind: type[ClearError], call: Callable[[], Any]) -> str:
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


# Ranks


def test_a_rank_that_leaves_no_dimension(sides: dict[str, Floats]) -> None:
    expected = "rank 8 would remove the whole modality: it has 8 dimensions\n  fix: --rank 7 or less"
    assert refusal(UsageError, lambda: fit(sides, rank={"image": 2, "text": 8})) == expected
    assert refusal(UsageError, lambda: fit(sides, rank=8)) == expected


def test_a_rank_of_more_directions_than_are_kept(sides: dict[str, Floats]) -> None:
    assert refusal(UsageError, lambda: fit(sides, rank=6, max_rank=5)) == (
        "rank 6 is more than the 5 directions that are kept\n  fix: --max-rank 6 when fitting, or --rank 5 or less"
    )


@pytest.mark.parametrize("directions", ["covariance", "correlation"])
def test_a_rank_of_more_directions_than_the_partner_has(sides: dict[str, Floats], directions: str) -> None:
    sides["image"][:, 4:] = 0  # what the data leave of them does not change what is refused
    assert refusal(UsageError, lambda: fit(sides, rank={"image": 10, "text": 2}, directions=directions)) == (
        "rank 10 is more than the 8 directions that the modalities can share\n  fix: --rank 8 or less"
    )


def test_a_rank_for_an_unknown_modality(sides: dict[str, Floats]) -> None:
    assert refusal(UsageError, lambda: fit(sides, rank={"imgae": 2})) == (
        'no modality "imgae"\n  in: rank\n  modalities: image, text\n  fix: rank image=...'
    )


@pytest.mark.parametrize("strength", [-0.1, 1.1, "nan", "half", None, float("inf")])
def test_a_strength_that_is_none(strength: Any) -> None:
    assert refusal(UsageError, lambda: read_strength(strength)) == (
        f'strength "{strength}" is not a number between 0 and 1, or soft\n  fix: --strength 0.8'
    )


@pytest.mark.parametrize("max_rank", [5, 256])
@pytest.mark.parametrize("directions", ["covariance", "correlation"])
def test_a_fixed_rank_of_what_is_hardly_shared_is_cut_with_a_warning(directions: str, max_rank: int) -> None:
    a, b = planted(200, (12, 8), shared=2, noise=0)
    fitted = fit({"image": a, "text": b}, rank=5, directions=directions, max_rank=max_rank)
    assert {one.rank for one in fitted.projectors.values()} == {2}
    assert fitted.warnings == [
        f'"{name}" can lose only 2 of the 5 directions that rank 5 asks for' for name in ("image", "text")
    ]


def test_a_rank_above_what_a_projector_of_correlation_found_is_refused_when_it_is_applied() -> None:
    a, b = planted(200, (12, 8), shared=2, noise=0)
    projector = fit({"image": a, "text": b}, rank=2, directions="correlation").projectors["image"]
    kept = projector.directions.shape[1]
    rule = RankRule.parse("5")
    assert refusal(UsageError, lambda: rule.choose(projector.spectrum, None, dim=12, kept=kept)) == (
        "rank 5 is more than the 2 directions that the modalities can share\n  fix: --rank 2 or less"
    )


def test_a_small_third_modality_does_not_stop_removal_from_the_others(sides: dict[str, Floats]) -> None:
    price = np.random.default_rng(0).normal(size=(200, 1))
    fitted = fit({**sides, "price": price})
    assert fitted.projectors["image"].rank > 0


def test_by_default_what_stands_out_from_chance_is_removed() -> None:
    a, b = planted(400, (12, 8))
    fitted = fit({"image": a, "text": b})
    assert {one.rank for one in fitted.projectors.values()} == {2}  # the effective number of three that fade
    assert {one.significant for one in fitted.significances.values()} == {3}
    assert fitted.warnings == []


def test_a_share_that_needs_more_directions_than_are_kept_is_not_cut_in_silence(sides: dict[str, Floats]) -> None:
    assert fit(sides, rank="100%", max_rank=2).warnings


def test_rank_zero_is_no_reason_to_warn(sides: dict[str, Floats]) -> None:
    fitted = fit(sides, rank=0)
    assert fitted.warnings == []
    assert {one.rank for one in fitted.projectors.values()} == {0}


# Items


def test_modalities_without_a_common_item(sides: dict[str, Floats]) -> None:
    ids = {"image": [f"a{i}" for i in range(200)], "text": [f"b{i}" for i in range(200)]}
    assert refusal(DataError, lambda: fit(sides, ids=ids)) == (
        "no item occurs in two modalities\n"
        "  in: image: 200 rows, text: 200 rows\n"
        "  ids of image: a0, a1, a2\n"
        "  ids of text: b0, b1, b2\n"
        "  fix: give all modalities the same item ids"
    )


def test_a_pair_without_common_ids_is_told_of_once() -> None:
    modalities = dict(zip(("image", "text", "audio"), planted(100, (6, 5, 4)), strict=True))
    ids = {"image": range(100), "text": range(50), "audio": range(50, 100)}
    modalities["text"], modalities["audio"] = modalities["text"][:50], modalities["audio"][50:]
    kept: list[Evidence] = []
    fitted = fit(modalities, ids=ids, rank=1, keep=kept.append)
    assert [one for one in fitted.warnings if '"text" and "audio"' in one] == [
        '"text" and "audio" have no ids in common, so the pair is left out of the fit: are the ids of both written in '
        "the same way?"
    ]
    assert list(fitted.moments) == [("image", "text"), ("image", "audio")]
    assert ("text", "audio") in kept[0].moments, "other items may share ids: a merge has the pair"


def test_a_modality_that_shares_no_id() -> None:
    image, text, audio = planted(100, (6, 5, 4))
    ids = {"image": range(100), "text": range(100), "audio": range(100, 200)}
    assert refusal(DataError, lambda: fit({"image": image, "text": text, "audio": audio}, ids=ids)) == (
        '"audio" has 0 complete items with another modality, and the fit needs 10\n'
        "  in: <array audio>\n"
        "  fix: check that the ids match and that the rows are not missing"
    )


def test_ids_are_counted_by_pair() -> None:
    """A row that has no match in one modality may have one in another."""
    image, text, audio = planted(600, (6, 5, 4))
    ids = {"image": range(400), "text": range(250, 850), "audio": range(250, 850)}
    fitted = fit({"image": image[:400], "text": text, "audio": audio}, ids=ids, rank=1)
    told = (
        '"image" and "{0}" have only 150 ids in common, and 250 of 400 rows of "image" and 450 of 600 rows of "{0}" '
        "are not in the other one: are the ids of both written in the same way?"
    )
    assert fitted.warnings[:2] == [told.format("text"), told.format("audio")]


def test_too_few_complete_items() -> None:
    a, b = planted(50, (4, 3))
    a[9:] = 0
    assert refusal(DataError, lambda: fit({"image": a, "text": b})) == (
        '"image" has 9 complete items with another modality, and the fit needs 10\n'
        "  in: <array image>\n"
        "  fix: check that the ids match and that the rows are not missing"
    )


def test_just_enough_complete_items() -> None:
    a, b = planted(50, (4, 3))
    a[10:] = 0
    assert fit({"image": a, "text": b}).moments["image", "text"].items == 10


def test_fewer_items_than_dimensions_are_warned_about() -> None:
    for items, warned in ((19, True), (20, False)):
        a, b = planted(items, (12, 8))
        assert any("the fit follows noise" in one for one in fit({"image": a, "text": b}).warnings) is warned


def test_a_pair_with_too_few_complete_items_is_left_out_with_a_warning() -> None:
    image, text, audio = planted(100, (6, 5, 4))
    text[:50], audio[45:] = 0, 0
    fitted = fit({"image": image, "text": text, "audio": audio})
    assert fitted.warnings == [
        '"text" and "audio" have 0 complete items, fewer than 10: the pair is left out of the fit'
    ]
    assert list(fitted.moments) == list(fitted.samples) == [("image", "text"), ("image", "audio")]


def test_a_modality_without_any_pair_is_refused() -> None:
    image, text, audio = planted(100, (6, 5, 4))
    audio[5:] = 0
    assert refusal(DataError, lambda: fit({"image": image, "text": text, "audio": audio})) == (
        '"audio" has 5 complete items with another modality, and the fit needs 10\n'
        "  in: <array audio>\n"
        "  fix: check that the ids match and that the rows are not missing"
    )


# Ids


def test_lengths_that_differ_without_ids(sides: dict[str, Floats]) -> None:
    sides["text"] = sides["text"][:199]
    assert refusal(DataError, lambda: fit(sides)) == (
        "without item ids row i of every modality must be the same item, but the lengths differ\n"
        "  rows: image: 200, text: 199\n"
        "  fix: --ids NAME=ids.txt for each modality"
    )


def test_ids_of_one_modality_only(sides: dict[str, Floats]) -> None:
    assert refusal(DataError, lambda: fit(sides, ids={"text": range(200)})) == (
        '"image" has no item ids, but other modalities have\n'
        "  in: <array image>\n"
        "  ids: image: none, row i is item i, text: integers\n"
        "  fix: --ids image=ids.txt (one id per line, in row order)"
    )


def test_ids_of_kinds_that_cannot_match(sides: dict[str, Floats]) -> None:
    ids = {"image": list(range(200)), "text": list(map(str, range(200)))}
    assert refusal(DataError, lambda: fit(sides, ids=ids)) == (
        "item ids are strings in one modality and integers in another, so none would match\n"
        "  ids: image: integers, text: strings\n"
        "  fix: write the ids of all modalities with one type"
    )


@pytest.mark.parametrize("name", ["image", "text"])
def test_ids_that_occur_more_than_once(sides: dict[str, Floats], name: str) -> None:
    ids = {"image": [f"i{i}" for i in range(200)], "text": [f"i{i}" for i in range(200)]}
    for row, copy in ((7, 3), (50, 3), (90, 3), (100, 101)):
        ids[name][row] = ids[name][copy]
    assert refusal(DataError, lambda: fit(sides, ids=ids)) == (
        f'2 item ids of "{name}" occur more than once\n'
        f"  in: <array {name}>\n"
        "  first: i3 (rows 3, 7, 50); i101 (rows 100, 101)\n"
        "  fix: one row per item, for example their mean"
    )


def test_a_number_of_ids_that_is_not_that_of_the_rows(sides: dict[str, Floats]) -> None:
    assert refusal(DataError, lambda: fit(sides, ids={"image": range(199), "text": range(200)})) == (
        "199 ids do not fit 200 rows\n  in: <array image>"
    )


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        ([0.5, 1.5], "item ids of type double are not supported"),
        ([True, False], "item ids of type bool are not supported"),
        (["a", None], "1 item ids are null, the first at row 1 of this part"),
        ([b"a", b"\xff"], "an item id is not valid UTF-8"),
        ([[1], [2]], "item ids of type list<item: int64> are not supported"),
    ],
)
def test_ids_that_cannot_be_ids(ids: list[Any], problem: str) -> None:
    a, b = planted(2, (4, 3))
    assert refusal(DataError, lambda: fit({"image": a, "text": b}, ids={"image": ids, "text": ids})).startswith(problem)


@pytest.mark.parametrize("ids", [[1, "a"], [2**63 + 1, -5], ["\ud800", "b"], np.ones((2, 2), dtype=int)])
def test_ids_that_arrow_cannot_hold_are_refused_like_any_other(ids: Any) -> None:
    a, b = planted(2, (4, 3))
    refusal(DataError, lambda: fit({"image": a, "text": b}, ids={"image": ids, "text": ids}))


def test_a_list_of_integers_beyond_the_signed_range_can_be_ids() -> None:
    a, b = planted(200, (4, 3))
    ids = [2**63 + i for i in range(200)]
    assert fit({"image": a, "text": b}, ids={"image": ids, "text": ids}).moments["image", "text"].items == 200


# Arrays


@pytest.mark.parametrize(
    ("x", "shown"),
    [
        (np.zeros(5), "(5,) and type float64"),
        (np.zeros((5, 2), dtype=int), "(5, 2) and type int64"),
        (np.zeros((5, 2), dtype=complex), "(5, 2) and type complex128"),
        (np.zeros((5, 2), dtype=np.longdouble), f"(5, 2) and type {np.dtype(np.longdouble)}"),
        (np.zeros((5, 0)), "(5, 0) and type float64"),
        (np.zeros((5, 2, 2)), "(5, 2, 2) and type float64"),
        ([["a", "b"]], "(1, 2) and type <U1"),
    ],
)
def test_arrays_that_are_no_embeddings(x: Any, shown: str) -> None:
    assert refusal(DataError, lambda: fit({"image": x, "text": np.zeros((5, 2))})) == (
        f"embeddings of shape {shown} are not supported\n"
        "  in: <array image>\n"
        "  supported: two dimensions (items, dimensions) of float16, float32 or float64"
    )


@pytest.mark.parametrize("layout", ["fortran", "strided", "big-endian", "read-only"])
def test_arrays_may_lie_in_memory_in_any_way(sides: dict[str, Floats], layout: str) -> None:
    plain = fit(sides).projectors["image"]
    image = sides["image"]
    if layout == "fortran":
        image = np.asfortranarray(image)
    elif layout == "strided":
        image = np.repeat(image, 2, axis=1)[:, ::2]
    elif layout == "big-endian":
        image = image.astype(">f8")
    else:
        image.flags.writeable = False
    other = fit({**sides, "image": image}).projectors["image"]
    assert other.directions.tobytes() == plain.directions.tobytes()
    assert other.transform(image).astype("=f8").tobytes() == plain.transform(sides["image"]).tobytes()


# Values


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite(sides: dict[str, Floats], value: float) -> None:
    sides["text"][[17, 40], 2] = value
    expected = (
        'embeddings of "text" hold NaN or infinity, first in row 17\n'
        "  in: <array text>\n"
        "  fix: repair the rows, or --on-invalid keep to leave them out of the fit and pass them through"
    )
    assert refusal(DataError, lambda: fit(sides)) == expected


def test_the_row_that_is_not_finite_is_numbered_as_in_its_own_modality(sides: dict[str, Floats]) -> None:
    sides["text"][17, 2] = np.nan
    ids = {"image": np.arange(200), "text": np.arange(200)[::-1]}
    assert "first in row 17\n" in refusal(DataError, lambda: fit(sides, ids=ids))


# The list of items to fit on


def test_only_listed_items_enter_the_fit(sides: dict[str, Floats], tmp_path: Path) -> None:
    ids = [f"i{i}" for i in range(200)]
    path = tmp_path / "train.txt"
    path.write_text("".join(f"i{i}\r\n" for i in range(20, 120)) + "nobody\r\n", encoding="utf-8-sig")
    listed = fit(sides, ids={"image": ids, "text": ids}, rank=3, fit_items=path)
    alone = fit({name: x[20:120] for name, x in sides.items()}, rank=3)
    assert listed.moments["image", "text"].items == 100
    for name, projector in alone.projectors.items():
        u, w = projector.directions[:, :3], listed.projectors[name].directions[:, :3]
        np.testing.assert_allclose(u @ u.T, w @ w.T, atol=1e-10)
    assert len(listed.samples["image", "text"].hashes) == 100


def test_a_list_of_items_that_nobody_knows(sides: dict[str, Floats], tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("a\nb\n")
    ids = {name: [f"i{i}" for i in range(200)] for name in sides}
    assert refusal(DataError, lambda: fit(sides, ids=ids, fit_items=path)) == (
        f"no id in the list of items to fit on is known\n  in: {path}\n  ids: 2"
    )


def test_a_list_of_items_that_is_not_there(sides: dict[str, Floats], tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    assert refusal(DataError, lambda: fit(sides, fit_items=path)).startswith("cannot read the file: no such file")


def test_a_list_of_words_for_items_that_have_numbers(sides: dict[str, Floats], tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("12\ntwelve\n")
    ids = {name: range(200) for name in sides}
    assert refusal(DataError, lambda: fit(sides, ids=ids, fit_items=path)) == (
        f'ids must be integers here, as in the other modalities, but "twelve" is none\n  in: {path}'
    )


def test_a_list_of_numbers_beyond_64_bits(sides: dict[str, Floats], tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text(f"12\n{2**64}\n")
    ids = {name: range(200) for name in sides}
    assert refusal(DataError, lambda: fit(sides, ids=ids, fit_items=path)) == (
        f'ids must be integers here, as in the other modalities, but "a number beyond 64 bits" is none\n  in: {path}'
    )


def test_a_list_may_name_integers_beyond_the_signed_range(sides: dict[str, Floats], tmp_path: Path) -> None:
    ids = np.arange(2**63, 2**63 + 200, dtype=np.uint64)
    path = tmp_path / "train.txt"
    path.write_text("".join(f"{one}\n" for one in ids[:50]))
    fitted = fit(sides, ids=dict.fromkeys(sides, ids), fit_items=path)
    assert fitted.moments["image", "text"].items == 50


# What became of the rows


def test_every_row_knows_what_part_it_had(tmp_path: Path) -> None:
    image, text = planted(60, (4, 3))
    image[0], text[5], image[2] = 0, 0, np.nan
    ids = {"image": [f"i{i}" for i in range(60)], "text": [f"i{i}" for i in range(1, 61)]}
    path = tmp_path / "train.txt"
    path.write_text("".join(f"i{i}\n" for i in range(50)))
    fitted = fit({"image": image, "text": text}, ids=ids, fit_items=path, on_invalid="keep")
    status, alone = fitted.membership.part("image", 3, 57)
    # The text of item i6 is missing; items from i50 on are not on the list.
    assert status.tolist() == [0, 0, 0, 1] + [0] * 43 + [2] * 10
    assert np.flatnonzero(alone).tolist() == [3]
    status, alone = fitted.membership.part("text", 0, 60)
    # Text row 1 is item i2, whose image is not finite; nobody else knows item i60.
    assert status.tolist() == [0, 1] + [0] * 47 + [2] * 10 + [1]
    assert np.flatnonzero(alone).tolist() == [1, 59]


# The machine


def test_a_machine_has_a_thread_and_a_scratch_folder(tmp_path: Path) -> None:
    assert refusal(UsageError, lambda: Machine(threads=0)) == "--threads 0 is less than 1"
    nowhere = tmp_path / "nowhere"
    assert refusal(UsageError, lambda: Machine(tmp_dir=nowhere)) == (
        f"the folder for scratch files does not exist\n  in: {nowhere}\n  fix: --tmp-dir FOLDER"
    )


def test_a_full_disk_is_noticed_before_rows_are_reordered(
    sides: dict[str, Floats], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clear_cli.embeddings import stream

    class Usage:
        free = 100

    monkeypatch.setattr(stream.shutil, "disk_usage", lambda _: Usage)
    ids = {"image": np.arange(200), "text": np.arange(200)[::-1]}
    assert refusal(OutputError, lambda: fit(sides, ids=ids, tmp_dir=tmp_path)) == (
        "not enough space for the scratch file that puts rows in item order\n"
        f"  in: {tmp_path}\n"
        "  needed: 14,400 bytes\n"
        "  free: 100 bytes\n"
        "  fix: --tmp-dir with more space, or sort the files by item id"
    )
    assert list(tmp_path.iterdir()) == []


def test_an_option_by_modality_falls_back_to_the_plain_one() -> None:
    ranks = PerModality.of({"text": 4}, read_rank, read_rank("auto"), ["image", "text"], "rank")
    assert (ranks["image"].text, ranks["text"].text) == ("auto", "4")
