"""Every figure of diagnostics.json by its path: what it is and how it is computed. Documents are generated from here.

In a path `*` stands for the name of a modality, `[]` for the entries of a list, `(spread)` for a figure over folds,
which has the fields of SPREAD, `(change)` for one with `before` and `after` the removal, and `(share)` for one whose
whole is 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

Schema = dict[str, Any]


class Term(NamedTuple):
    """A figure.

    Attributes:
        path: Where it is in the document.
        meaning: What it says, with its formula.
    """

    path: str
    meaning: str


SPREAD = (
    Term("value", "mean over the folds"),
    Term("low", "lower end of the 95 % interval of the mean, from Student's t over the folds"),
    Term("high", "upper end"),
    Term("chance", "what the same arithmetic gives for independent modalities"),
    Term("folds", "the value of each fold"),
)

DOCUMENT = (
    Term(
        "schema_version",
        "1; it changes where a figure is removed or comes to mean something else, not where one is added",
    ),
    Term("tool.name", "`clear_cli`"),
    Term("tool.version", "its version"),
    Term("warnings", "what the user should know"),
    Term("scale_ratio.before", "largest over smallest mean row norm of the modalities, as read"),
    Term("scale_ratio.after", "the same, as written"),
)

MODALITY = (
    Term("rows", "rows of the input"),
    Term("dim", "columns, d"),
    Term("dtype", "their type"),
    Term("rank", "directions removed, k"),
    Term("strength", "how much of each is removed, lambda; null where it differs between directions (`soft`)"),
    Term("strengths", "lambda_j of the k directions"),
    Term("directions_kept", "directions in the projector, k_max"),
    Term("numeric_rank", "singular values above max(d, r) eps sigma_1"),
    Term(
        "spectrum",
        "sigma_j: of C at two modalities, of [C_mq / sqrt(tr S_q)] at more, canonical correlations with `--directions correlation`",
    ),
    Term("cumulative_energy (share)", "sum_{i<=j} sigma_i^2 / sum sigma_i^2"),
    Term("energy_at_rank (share)", "cumulative energy at k"),
    Term("gap_at_rank (share)", "(sigma_k - sigma_k+1) / sigma_1"),
    Term("significant_rank", "singular values that stand out from chance, tested one after the other at the 5 % level"),
    Term(
        "effective_shared_rank",
        "(sum s_j^2)^2 / sum s_j^4 over the significant ones, s_j = (sigma_j + sqrt(sigma_j^2 - nu_j^2)) / 2, nu_j the chance median",
    ),
    Term("chance", "null where nothing was tested"),
    Term("chance.median", "nu_j: median over the signed draws of the top singular value after the same deflation"),
    Term("chance.high", "tau_j: its 95th percentile"),
    Term("placeholders", "different filler rows that were found"),
    Term("rows_by_status.used", "rows that entered the fit"),
    Term(
        "rows_by_status.incomplete",
        "rows whose item has no usable row in a modality that this one was fitted with: projected",
    ),
    Term("rows_by_status.excluded", "rows whose item is not among those to fit on: projected"),
    Term("rows_by_status.new", "(apply) rows that an earlier fit is applied to: projected"),
    Term("rows_by_status.missing", "null or all zeros: they stay exactly that"),
    Term("rows_by_status.placeholder", "the same bytes in many rows: left out of the fit, but projected"),
    Term("rows_by_status.non_finite", "NaN or infinity: passed through"),
    Term(
        "rows_without_other_modality",
        "usable rows whose item has no usable row elsewhere: where they are cleaned, the shared signal is lost",
    ),
    Term("rows_zeroed", "usable rows that came out all zeros"),
    Term(
        "variance_kept (share)",
        "sum ||x_c P||^2 / sum ||x_c||^2 over the usable rows about the mean of the fit, as written, before any scale or norm is given",
    ),
    Term(
        "variance_kept_sample (share)",
        "tr(P^T S P) / tr S of the sample of the first pair: what is known before any row is written",
    ),
    Term("mean_squared_distortion", "mean ||x - y||^2 between a row and its output"),
    Term("row_norm_rms", "root of the mean ||x||^2 over the complete items of the fit"),
    Term("row_norm_mean (change)", "mean ||x||"),
    Term(
        "mean_norm_ratio (change) (share)",
        "norm of the mean row over the mean row norm: 1 where all rows point the same way",
    ),
    Term("histograms.row_norm.edges", "edges of the bins, eight per doubling"),
    Term("histograms.row_norm.before", "rows per bin, as read"),
    Term("histograms.row_norm.after", "rows per bin, as written"),
    Term("histograms.removed.edges", "edges of 20 bins of the share of energy removed"),
    Term("histograms.removed.rows", "rows per bin"),
    Term("most_affected[].item_id", "the ten rows that lose the largest share of their energy: item id"),
    Term("most_affected[].row", "row number"),
    Term("most_affected[].removed (share)", "share removed, 1 - ||x_c P||^2 / ||x_c||^2"),
    Term("least_affected[].item_id", "the ten rows that lose the smallest share"),
    Term("least_affected[].row", "row number"),
    Term("least_affected[].removed (share)", "share removed"),
    Term("drift", "(apply) null where the projector knows no variances, or nothing is removed"),
    Term("drift.rows", "usable rows of the new items"),
    Term("drift.mean_shift", "||U^T (mean_new - mu)|| / sqrt(sum of the fit's variances along U)"),
    Term("drift.variance_ratio", "variance along U, new over fit"),
    Term("drift.share_inside.fit (share)", "share of all variance that is along U, at the fit"),
    Term("drift.share_inside.new (share)", "the same of the new items"),
    Term(
        "drift.cleaned",
        "the rows look like output of this projector at full strength (orthogonal): their variance along U, also as a "
        "share of all, is below a thousandth of that at the fit, and their mean along U is where it is put",
    ),
)

PAIR = (
    Term("modalities", "the two names, a and b"),
    Term("items", "complete items, n"),
    Term("total_variance", "tr S of a and of b"),
    Term("covariance_over_chance", "||C||_F / sqrt(tr S_a tr S_b / (n - 1)): near 1 where nothing is shared"),
    Term("leftover.fit_algebraic (share)", "||P_a^T C P_b||_F / ||C||_F, from the moments of all complete items"),
    Term("leftover.sample_as_written (share)", "the same ratio, measured on the projected and cast rows of the sample"),
    Term("leftover.held_out (spread) (share)", "the same ratio on a fold, with directions refitted without it; chance: sqrt(tr S'_a tr S'_b / n) / ||C||_F of the fold"),
    Term("leftover.new_items_algebraic (share)", "(apply) the same ratio over the complete items among the new ones"),
    Term("heatmap.before", "U^T C V in the leading directions"),
    Term("heatmap.after", "U^T P_a^T C P_b V"),
    Term("curve[].rank", "a rank that could be removed"),
    Term("curve[].strength", "at this strength"),
    Term("curve[].leftover (share)", "would leave this, of the fit"),
    Term("curve[].variance_kept (share)", "and keep these shares tr(P^T S P) / tr S of a and of b, of the sample"),
    Term("curve[].neighbour_overlap (share)", "(`diagnose --curve`) and this cross-modal overlap"),
    Term("sample.items", "the complete items with the smallest id hash, at most 20,000"),
    Term("sample.rv (change) (share)", "RV, plain: ||C||_F^2 / (||S_a||_F ||S_b||_F), which is linear CKA (Robert & Escoufier 1976)"),
    Term("sample.cka_debiased (change) (share)", "RV, debiased: linear CKA from the unbiased HSIC estimator (Song et al. 2012): near 0 for independent modalities"),
    Term("sample.canonical_correlation_top (change) (share)", "largest singular value of S_a^-1/2 C S_b^-1/2, of the fit. Strength below 1 cannot change it"),
    Term("sample.canonical_correlation_top_chance (change) (share)", "median of the same over signed draws"),
    Term("sample.canonical_correlation_mean (change) (share)", "mean over all directions"),
    Term("sample.canonical_correlations (change) (share)", "the largest 64"),
    Term("sample.canonical_correlations_chance (change) (share)", "chance median after deflation by the directions before"),
    Term("sample.canonical_correlations_significant (change)", "how many stand out from chance"),
    Term("sample.linear_r2 (change) (share)", "||S_a^-1/2 C||_F^2 / tr S_b: variance of b that is linear in a; and of a in b"),
    Term("sample.effective_rank (change)", "exp of the entropy of the normalised singular values of a and of b (Roy & Vetterli 2007; RankMe)"),
    Term("sample.held_out (change)", "null for fewer than four items in a fold"),
    Term("sample.held_out.canonical_correlation_top (change) (spread) (share)", "correlation on a fold of the first pair of canonical variates learned without it (OAS shrinkage)"),
    Term("sample.held_out.canonical_correlation_mean (change) (spread) (share)", "mean over the first k pairs"),
    Term("sample.held_out.canonical_correlations (change) (share)", "mean over the folds, of the first 64 pairs"),
    Term("sample.held_out.linear_r2[] (change) (spread) (share)", "1 - ||B - A W||^2 / ||B||^2 on a fold, W learned without it; of b from a, then of a from b. Below 0 where it is worse than the mean"),
    Term("sample.neighbour_overlap.before (share)", "mean Jaccard overlap of the cosine nearest neighbours in a and in b"),
    Term("sample.neighbour_overlap.after (share)", "as written"),
    Term("sample.neighbour_overlap.chance (share)", "of two independent random sets of neighbours (hypergeometric)"),
    Term("sample.neighbour_overlap.neighbours", "how many neighbours, 10"),
    Term("sample.neighbour_overlap.items", "among so many items, at most 2,000"),
    Term("sample.variance_kept (share)", "tr(P^T S P) / tr S of a and of b"),
    Term("sample.scatter.*.before", "items in the first two shared directions"),
    Term("sample.scatter.*.after", "the same items as written"),
)  # fmt: skip

SECTIONS = ((DOCUMENT, ""), (MODALITY, "modalities.*."), (PAIR, "pairs[]."))


def paths() -> dict[str, str]:
    """Every path of the document, written out, and its meaning."""
    return {path: term.meaning for path, term in _places()}


def shares() -> set[str]:
    """Every path, written out, of a figure whose whole is 1."""
    return {path for path, term in _places() if "(share)" in term.path}


def _places() -> Iterator[tuple[str, Term]]:
    for terms, prefix in SECTIONS:
        for term in terms:
            for path in _written_out(prefix + term.path):
                yield path, term


def _written_out(path: str) -> list[str]:
    name, _, marks = path.partition(" ")
    head, dot, tail = name.partition("sample.held_out.")
    spots = [name]
    if "(change)" in marks:
        # What is held out is measured as a whole before and after.
        ways = [f"{head}{dot}{side}.{tail}" for side in ("before", "after")]
        spots = ways if dot else [f"{name}.{side}" for side in ("before", "after")]
    return [f"{spot}.{term.path}" for spot in spots for term in SPREAD] if "(spread)" in marks else spots


def describe(schema: Schema) -> None:
    """Put into a schema of the document, as the description of each figure, what it means."""
    for section, prefix in SECTIONS:
        for term in section:
            path = prefix + term.path.partition(" ")[0]
            # What is held out is described once, for before and after.
            _place(schema, path.replace("sample.held_out.", "sample.held_out.before."))["description"] = term.meaning
    for term in SPREAD:
        schema["$defs"]["spread"]["properties"][term.path]["description"] = term.meaning


def _place(schema: Schema, path: str) -> Schema:
    place = schema
    for step in path.split("."):
        within = _followed(schema, place)
        place = within["additionalProperties"] if step == "*" else within["properties"][step.removesuffix("[]")]
        if step.endswith("[]"):
            place = _followed(schema, place)["items"]
    return place


def _followed(schema: Schema, place: Schema) -> Schema:
    reference = place.get("$ref")
    found: Schema = place if reference is None else schema["$defs"][reference.removeprefix("#/$defs/")]
    return found


def markdown() -> str:
    """The page docs/diagnostics.md."""
    parts = [_INTRODUCTION]
    for title, terms in (
        ("The document", DOCUMENT),
        ("Of each modality: `modalities.<name>.`", MODALITY),
        ("Of each pair: `pairs[].`", PAIR),
        ("Of each figure over folds (spread)", SPREAD),
    ):
        parts += [f"## {title}\n", "| field | meaning |", "| --- | --- |", *map(_row, terms), ""]
    return "\n".join(parts)


def _row(term: Term) -> str:
    name, _, marks = term.path.partition(" ")
    shown = " *" + ", ".join(mark.strip("()") for mark in marks.split()) + "*" if marks else ""
    return f"| `{name}`{shown} | {term.meaning.replace('|', chr(92) + '|')} |"


_INTRODUCTION = """# Diagnostics

What every figure of `diagnostics.json` says. This page is generated from the program (`python docs/generate.py`).

Figures of the fit (`fit`, in-sample) are of the items that the directions were fitted on, and flatter them; held-out ones
are of items that they did not see, a fold at a time; chance is what a figure would be were the modalities independent.
*change* marks figures with `before` and `after` the removal, *spread* those with a value, an interval and a chance level
over four folds, *share* those whose whole is 1. Why each is computed as it is: [mathematics.md](mathematics.md).
"""
