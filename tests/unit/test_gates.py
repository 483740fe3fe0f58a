"""Gates hold where they hold for every pair and modality, and what is not known does not pass."""

from __future__ import annotations

from typing import Any

import pytest

from clear_cli import glossary
from clear_cli.errors import UsageError
from clear_cli.gates import Gate, divided, judge, refuse_unknowable
from clear_cli.metrics import METRICS, MODALITY_METRICS, PAIR_METRICS, SHARES, places_of


def pair(a: str, b: str, leftover: float | None) -> dict[str, Any]:
    return {"modalities": [a, b], "items": 400, "leftover": {"held_out": {"value": leftover}}}


DOCUMENT: dict[str, Any] = {
    "pairs": [pair("image", "text", 0.05), pair("image", "audio", 0.2), pair("audio", "text", 0.15)],
    "modalities": {"image": {"variance_kept": 0.6}, "text": {"variance_kept": 0.9}, "audio": {}},
    "warnings": ["one"],
    "scale_ratio": None,
}


def passed(text: str) -> dict[str, bool]:
    return {verdict.place: verdict.passed for verdict in judge([Gate.parse(text)], DOCUMENT)}


def test_a_gate_is_about_every_pair() -> None:
    assert passed("leftover_heldout<=0.1") == {"image+text": True, "image+audio": False, "audio+text": False}
    assert passed("complete_items >= 400") == {"image+text": True, "image+audio": True, "audio+text": True}


def test_a_pair_has_no_order() -> None:
    assert passed("text+image.leftover_heldout<0.1") == {"image+text": True}
    refuse_unknowable([Gate.parse("text+image.rv<1")], "run", ["image", "text"])
    with pytest.raises(UsageError):
        refuse_unknowable([Gate.parse("image+image.rv<1")], "run", ["image", "text"])


@pytest.mark.parametrize("asked", ["", "text+audio.", "audio+text."])
def test_a_pair_that_was_left_out_fails(asked: str) -> None:
    there = {**DOCUMENT, "pairs": DOCUMENT["pairs"][:2]}
    verdicts = judge([Gate.parse(f"{asked}complete_items>=0")], there)
    assert [str(one) for one in verdicts if not one.passed] == [f"{asked}complete_items>=0: not computed (text+audio)"]
    assert len(verdicts) == (1 if asked else 3)


def test_a_gate_may_be_about_one() -> None:
    assert passed("image+text.leftover_heldout<0.1") == {"image+text": True}
    assert passed("text.variance_kept>90%") == {"text": False}
    assert passed("text.variance_kept>=90%") == {"text": True}
    with pytest.raises(UsageError) as error:
        passed("video.variance_kept>0.5")
    assert str(error.value) == (
        'gate "video.variance_kept>0.5" is about nothing here\n  in: --gate\n  known: image, text, audio\n'
        "  fix: --gate 'image.variance_kept>0.5'"
    )


def test_a_gate_may_be_about_the_whole() -> None:
    (verdict,) = judge([Gate.parse("scale_ratio<=2")], {**DOCUMENT, "scale_ratio": {"after": 1.5}})
    assert (verdict.place, verdict.value, verdict.passed) == ("", 1.5, True)


@pytest.mark.parametrize("text", ["audio.variance_kept>=0", "rv<=1", "scale_ratio<10"])
def test_what_was_not_computed_fails(text: str) -> None:
    assert not any(passed(text).values())


def test_what_is_no_number_was_not_computed() -> None:
    odd = {"modalities": {"image": {"variance_kept": "much"}, "text": {"variance_kept": {"of": 1}}}}
    verdicts = judge([Gate.parse("variance_kept>=0")], odd)
    assert [(one.place, one.value, one.passed) for one in verdicts] == [("image", None, False), ("text", None, False)]


def test_a_verdict_says_the_figure_and_where_it_was() -> None:
    texts = [
        str(verdict) for verdict in judge([Gate.parse(" variance_kept >= 0.7 "), Gate.parse("warnings<2")], DOCUMENT)
    ]
    assert texts == [
        "variance_kept >= 0.7: 0.6 (image)",
        "variance_kept >= 0.7: 0.9 (text)",
        "variance_kept >= 0.7: not computed (audio)",
        "warnings<2: 1",
    ]


def test_a_gate_on_nothing_fails() -> None:
    alone = {"image": DOCUMENT["modalities"]["image"]}
    (verdict,) = judge([Gate.parse("leftover_heldout<=1")], {**DOCUMENT, "modalities": alone, "pairs": []})
    assert not verdict.passed
    assert str(verdict) == "leftover_heldout<=1: not computed"


@pytest.mark.parametrize(
    ("text", "holds"),
    [("warnings==1", True), ("warnings<1", False), ("warnings>0", True), ("warnings>=2", False), ("warnings<=1", True)],
)
def test_each_sign_means_what_it_says(text: str, holds: bool) -> None:
    assert passed(text) == {"": holds}


@pytest.mark.parametrize("text", ["", "rv", "rv<", "rv=1", "rv<=nan", "<=1", "rv<=x", "rv<=1 2"])
def test_what_is_no_gate(text: str) -> None:
    with pytest.raises(UsageError) as error:
        Gate.parse(text)
    assert str(error.value) == f"\"{text}\" is not a gate\n  in: --gate\n  fix: --gate 'leftover_heldout<=0.1'"


def test_an_unknown_metric_lists_those_that_are_known_and_the_nearest() -> None:
    with pytest.raises(UsageError) as error:
        Gate.parse("leftover_held<=0.1")
    lines = [
        'no metric "leftover_held"',
        "in: --gate",
        f"metrics: {', '.join(METRICS)}",
        "fix: --gate 'leftover_heldout<=0.1'",
    ]
    assert str(error.value) == "\n  ".join(lines)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("leftover", "leftover_heldout"),
        ("heldout", "leftover_heldout"),
        ("canonical", "canonical_correlation"),
        ("neighbours", "neighbour_overlap"),
        ("overlap", "neighbour_overlap"),
        ("variance", "variance_kept"),
        ("missing", "rows_missing"),
        ("leftover_fitt", "leftover_fit"),
    ],
)
def test_a_part_of_a_name_stands_for_the_first_that_has_it(word: str, meant: str) -> None:
    with pytest.raises(UsageError) as error:
        Gate.parse(f"image+text.{word}<5%")
    assert error.value.fix == f"--gate 'image+text.{meant}<5%'"


@pytest.mark.parametrize(
    ("condition", "meant"),
    [(">=80", ">=80%"), ("<2.01", "<2.01%"), (">100.0", ">100.0%"), (">=201%", ">=100%"), ("<800", "<100%")],
)
def test_a_share_is_no_percentage(condition: str, meant: str) -> None:
    with pytest.raises(UsageError) as error:
        Gate.parse(f"image.variance_kept{condition}")
    assert str(error.value) == (
        '"variance_kept" is a share: the whole is 1, or 100%\n'
        f"  in: --gate\n  fix: --gate 'image.variance_kept{meant}'"
    )


def test_what_is_a_share() -> None:
    others = {one for one in METRICS if one not in SHARES}
    assert others == {
        "complete_items", "significant_correlations", "rank", "significant_rank", "rows_missing", "rows_placeholder",
        "rows_non_finite", "rows_zeroed", "mean_squared_distortion", "drift_mean_shift", "drift_variance_ratio",
        "scale_ratio", "warnings",
    }  # fmt: skip
    assert [Gate.parse(f"{one}<=80").limit for one in sorted(others)] == [80.0] * len(others)
    # Of new items more may be kept, or left over, than there was.
    assert [Gate.parse(f"{one}<=2").limit for one in sorted(SHARES)] == [2.0] * len(SHARES)


def test_what_a_file_says_for_other_commands_does_not_count() -> None:
    texts = ["variance_kept>=0.5", "rank<=8", "drift_mean_shift<=1"]
    flags, of_file = ([Gate.parse(one, *where) for one in texts] for where in ((), ("clear.toml, key gates.x",)))
    two = ["image", "text"]
    assert divided(flags, "diagnose", two) == (flags, [])
    assert divided(of_file, "diagnose", two) == ([of_file[1]], [of_file[0], of_file[2]])
    assert divided(of_file, "apply", two) == (of_file, [])
    pairs = [Gate.parse("complete_items>9", "clear.toml, key gates.x"), Gate.parse("complete_items>9")]
    assert divided(pairs, "apply", two) == (pairs, [])
    assert divided(pairs, "apply", ["text"]) == ([pairs[1]], [pairs[0]])


@pytest.mark.parametrize("metric", ["scale_ratio", "rv"])
def test_what_takes_two_modalities_is_not_of_one(metric: str) -> None:
    of_flag, of_file = Gate.parse(f"{metric}<=1"), Gate.parse(f"{metric}<=1", "clear.toml, key gates.x")
    assert divided([of_file], "run", ["text"]) == ([], [of_file])
    with pytest.raises(UsageError, match="one modality, and no pair"):
        refuse_unknowable([of_flag], "run", ["text"])


def test_what_a_file_says_of_other_modalities_does_not_count() -> None:
    def of_file(*texts: str) -> list[Gate]:
        return [Gate.parse(one, "clear.toml, key gates.x") for one in texts]

    here, there = of_file("image.rank<=8", "text+image.complete_items>9"), of_file("audio.rank<1", "audio+text.rv<1")
    assert divided(here + there, "run", ["image", "text"], ["audio", "image"]) == (here, there)
    assert divided(there[1:], "run", ["text"], ["audio"]) == ([], there[1:])
    # A name that nobody knows is a typing error.
    wrong = of_file("audoi.rank<1", "image+audoi.rv<1", "audio+audoi.rv<1")
    assert divided(wrong, "run", ["image", "text"], ["audio", "image"]) == (wrong, [])
    assert divided(wrong[1:], "run", ["image"], ["audio"]) == (wrong[1:], [])
    flag = [Gate.parse("audio.rank<1")]
    assert divided(flag, "run", ["image", "text"], ["audio"]) == (flag, [])


def test_a_limit_is_suggested_as_it_was_given() -> None:
    with pytest.raises(UsageError, match=r"image\.rank<0\.12345678'"):
        passed("imag.rank<0.12345678")


@pytest.mark.parametrize(
    ("text", "command", "options", "problem", "fix", "others"),
    [
        ("drift_mean_shift<1", "run", {}, "is not computed by run", "clear-cli apply", ("rv", "significant_rank")),
        ("rv<1", "apply", {}, "is not computed by apply", "clear-cli run", ("complete_items", "leftover_new_items")),
        ("rv<1", "run", {"report": False}, "is not computed with --no-report", "--report", ("significant_rank",)),
        ("rv<1", "run", {"report": False, "tested": False}, "is not computed with --no-report", "--report", ("rank",)),
    ],
)
@pytest.mark.parametrize("where", ["--gate", "clear.toml, key gates.x"])
def test_what_a_command_does_not_compute_is_refused_with_what_it_does(
    text: str, command: str, options: dict[str, bool], problem: str, fix: str, others: tuple[str, ...], where: str
) -> None:
    fine, bad = Gate.parse("warnings<9"), Gate.parse(text, where)
    refuse_unknowable([fine], command, ["image", "text"], **options)
    with pytest.raises(UsageError) as error:
        refuse_unknowable([fine, bad], command, ["image", "text"], **options)
    assert (error.value.problem, error.value.where) == (f'"{bad.metric}" {problem}', where)
    assert (error.value.fix, error.value.said) == (f"{fix}, or one of these", text)
    known = str(error.value.details["metrics"]).split(", ")
    assert {"warnings", *others} <= set(known) <= set(METRICS) - {bad.metric}
    assert ("significant_rank" in known) == ("significant_rank" in others)


def test_what_stands_out_is_known_where_it_is_tested() -> None:
    refuse_unknowable([Gate.parse("significant_rank>1")], "run", ["image", "text"])
    refuse_unknowable([Gate.parse("significant_rank>1")], "run", ["image", "text"], report=False)
    with pytest.raises(UsageError, match="significant_rank"):
        refuse_unknowable([Gate.parse("significant_rank>1")], "run", ["image", "text"], report=False, tested=False)


@pytest.mark.parametrize(
    ("text", "of_flag", "of_file"),
    [
        ("rvv<1", "--gate 'rv<1'", 'rv = "<1"'),
        ("image.rnk<1", "--gate 'image.rank<1'", 'image.rank = "<1"'),
        ("image+text.rvv<1", "--gate 'image+text.rv<1'", '"image+text".rv = "<1"'),
        ("rv<101", "--gate 'rv<100%'", 'rv = "<100%"'),
        ("rv<1 2", "--gate 'leftover_heldout<=0.1'", 'leftover_heldout = "<=0.1"'),
    ],
)
def test_a_fix_is_written_as_the_place_at_fault_wants_it(text: str, of_flag: str, of_file: str) -> None:
    for where, fix in (("--gate", of_flag), ("clear.toml, key gates.x", of_file)):
        with pytest.raises(UsageError) as error:
            Gate.parse(text, where)
        assert (error.value.fix, error.value.where, error.value.said) == (fix, where, text)


def test_a_gate_about_nothing_says_what_there_is() -> None:
    for modalities, known, fix in (
        (["image", "text"], "image+text", "--gate 'image+text.rv<1'"),
        (["image"], "one modality, and no pair", "another gate"),
    ):
        with pytest.raises(UsageError) as error:
            refuse_unknowable([Gate.parse("image+txet.rv<1")], "run", modalities)
        assert (error.value.details, error.value.fix) == ({"known": known}, fix)
        assert (error.value.where, error.value.said) == ("--gate", "image+txet.rv<1")


def test_as_json_a_gate_is_its_condition() -> None:
    (verdict,) = judge([Gate.parse("text.rank<=8", "clear.toml, key gates.x")], {"modalities": {"text": {"rank": 9}}})
    gate = {"text": "text.rank<=8", "metric": "rank", "place": "text", "sign": "<=", "limit": 8.0}
    assert verdict.document() == {"gate": gate, "place": "text", "value": 9, "passed": False}


def test_where_figures_are() -> None:
    two, metrics = ["image", "text"], ("rank", "rv", "scale_ratio", "warnings")
    assert [places_of(one, two) for one in metrics] == [two, ["image+text"], [""], [""]]
    assert [places_of(one, two[:1]) for one in metrics] == [["image"], [], [], [""]]


def test_every_metric_is_a_figure_of_the_document() -> None:
    known = glossary.paths()
    assert {f"pairs[].{path}" for path in PAIR_METRICS.values()} <= set(known)
    assert {f"modalities.*.{path}" for path in MODALITY_METRICS.values()} <= set(known)
