"""Every option once on two published data sets: what the diagnostics say, and what nearest neighbours make of it.

Prints Markdown. The data are not ours to pass on: they are looked for in ../shared/data beside the repository (or
--data); where one is absent that is said and it is skipped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measuring import clear, measure, product
from real import Chapter, change, number, table, tell
from retrieval import DEPTH, SIDE_BY_SIDE, Floats, Interactions

Figures = dict[str, Any]
Load = Callable[[Path], Floats]


@dataclass(frozen=True)
class Case:
    """Modalities of the same items, row i of each being item i.

    Attributes:
        title: What they are.
        folder: Where they are, below that of the data.
        files: Per modality, its file.
        spared: The modality that one-sided removal leaves as it is.
        mask: Table of the items that are said to lack a modality; None where all are there.
    """

    title: str
    folder: str
    files: dict[str, str]
    spared: str
    mask: str | None = None

    def settings(self) -> dict[str, list[str]]:
        """Options of the command line, by what they are called in the tables."""
        return {
            "rank auto": [],
            "rank 90%": ["--rank", "90%"],
            "rank 8": ["--rank", "8"],
            "strength 0.5": ["--strength", "0.5"],
            "strength soft": ["--strength", "soft"],
            f"strength {self.spared}=0": ["--strength", f"{self.spared}=0"],
            "correlation": ["--directions", "correlation"],
            "oblique": ["--removal", "oblique"],
            "correlation, oblique": ["--directions", "correlation", "--removal", "oblique"],
            "scale rms, rank 0": ["--scale", "rms", "--rank", "0"],
            "scale rms": ["--scale", "rms"],
            "renorm original": ["--renorm", "original"],
            "renorm unit": ["--renorm", "unit"],
            "winsorise 99%": ["--winsorise", "99%"],
            "keep-mean": ["--keep-mean"],
        }

    def inputs(self, data: Path, work: Path) -> dict[str, Path]:
        """Per modality its file; with a mask, a copy in the folder to work in whose missing rows are zeros."""
        paths = {name: data / self.folder / file for name, file in self.files.items()}
        return paths if self.mask is None else dict(_masked(paths, data / self.folder / self.mask, work))


def _masked(paths: Mapping[str, Path], mask: Path, work: Path) -> Iterator[tuple[str, Path]]:
    there = np.genfromtxt(mask, names=True, delimiter="\t", dtype=int)
    for name, path in paths.items():
        x = np.load(path)
        x[there["item"][there[f"{name}_present"] == 0]] = 0
        masked = work / path.name
        np.save(masked, x)
        yield name, masked


LASTFM = {"text": "text_minilm.npy", "whisper": "audio_whisper.npy", "vggish": "audio_vggish.npy"}
TIKTOK = {"image": "image.npy", "audio": "audio.npy"}


def _lastfm(*names: str) -> Case:
    return Case(f"Last.fm-2K: {', '.join(names)}", "lastfm2k", {name: LASTFM[name] for name in names}, names[0])


CASES = (
    _lastfm("text", "whisper"),
    _lastfm("whisper", "vggish"),
    _lastfm("text", "whisper", "vggish"),
    Case("TikTok: image, audio", "tiktok", TIKTOK, "image"),
    Case("TikTok with missing rows", "tiktok", TIKTOK, "image", mask="missing_mask_0.6.tsv"),
)


@dataclass(frozen=True, eq=False)
class Found:
    """What came of a case.

    Attributes:
        diagnostics: Per setting, what the product reports.
        recall: Per setting, and of the inputs all together and one by one, the recall of each user; in the order of
            `SIDE_BY_SIDE`.
    """

    diagnostics: dict[str, Figures]
    recall: dict[str, Sequence[Floats]]


def find(case: Case, data: Path, work: Path) -> Found:
    """All settings of a case."""
    work.mkdir(parents=True, exist_ok=True)
    inputs = case.inputs(data, work)
    before = {name: np.load(path) for name, path in inputs.items()}
    taste = Interactions.read(data / case.folder / "interactions.tsv", len(next(iter(before.values()))))

    def recalls(modalities: Mapping[str, Floats]) -> list[Floats]:
        return [taste.recall(together(modalities)) for together in SIDE_BY_SIDE.values()]

    alone = {f"{name} alone": recalls({name: x}) for name, x in before.items()}
    found, out = Found({}, {AS_IT_WAS: recalls(before), **alone}), work / "out"
    for setting, options in case.settings().items():
        clear(out)
        measure(product(inputs, out, *options, "-q"))
        found.diagnostics[setting] = json.loads((out / "diagnostics.json").read_text(encoding="utf-8"))
        after = {name: np.load(out / "embeddings" / path.name) for name, path in inputs.items()}
        found.recall[setting] = recalls(after)
    clear(work)
    return found


def digest(case: Case, found: Found) -> Iterator[str]:
    """Markdown of everything found."""
    first, before = found.diagnostics["rank auto"], found.recall[AS_IT_WAS]
    yield from table(
        ["modality", "directions", *_MODALITY],
        [_modality_row(name, found, way) for name in case.files for way in ("rank auto", "correlation")],
    )
    for at, pair in enumerate(first["pairs"]):
        yield f"{' and '.join(pair['modalities'])}, {pair['items']:,} complete items:"
        yield ""
        yield from table(
            ["setting", "rank", *_PAIR], [_pair_row(name, one, at) for name, one in found.diagnostics.items()]
        )
    yield f"Recall@{DEPTH} of {len(before[0]):,} users by nearest neighbours, modalities side by side:"
    yield ""
    yield from table(
        ["setting", *SIDE_BY_SIDE],
        [
            [name, *(_recall(after, was) for after, was in zip(recall, before, strict=True))]
            for name, recall in found.recall.items()
        ],
    )
    yield from (f"- {warning}" for warning in first["warnings"])


AS_IT_WAS = "as it was"
_MODALITY = (
    "significant",
    "effective",
    "mean row norm",
    "norm of the mean row / mean row norm",
    "effective rank of all rows",
    "rows by status",
)
_PAIR = (
    "leftover",
    "held out (chance)",
    "variance kept",
    "top canonical r",
    "mean canonical r",
    "top canonical r, held out",
    "neighbour overlap",
)


def _modality_row(name: str, found: Found, way: str) -> list[str]:
    diagnostics = found.diagnostics[way]
    one = diagnostics["modalities"][name]
    pair = next(pair for pair in diagnostics["pairs"] if name in pair["modalities"])
    effective = pair["sample"]["effective_rank"]["before"][pair["modalities"].index(name)]
    rows = ", ".join(f"{count:,} {status}" for status, count in one["rows_by_status"].items() if count)
    return [
        name,
        "covariance" if way == "rank auto" else way,
        f"{one['significant_rank']} of {min(one['dim'], one['numeric_rank'])}",
        number(one["effective_shared_rank"], 1),
        number(one["row_norm_mean"]["before"], 2),
        number(one["mean_norm_ratio"]["before"], 2),
        f"{number(effective, 1)} of {one['dim']}",
        rows,
    ]


def _pair_row(setting: str, diagnostics: Figures, at: int) -> list[str]:
    pair = diagnostics["pairs"][at]
    sample, held_out = pair["sample"], pair["leftover"]["held_out"]
    modalities = [diagnostics["modalities"][name] for name in pair["modalities"]]
    tops = {when: sample["held_out"][when]["canonical_correlation_top"]["value"] for when in ("before", "after")}
    return [
        setting,
        ", ".join(str(one["rank"]) for one in modalities),
        number(pair["leftover"]["fit_algebraic"]),
        f"{number(held_out['value'])} ({number(held_out['chance'])})",
        ", ".join(f"{one['variance_kept']:.0%}" for one in modalities),
        change(sample["canonical_correlation_top"]),
        change(sample["canonical_correlation_mean"]),
        change(tops),
        f"{change(sample['neighbour_overlap'])} ({number(sample['neighbour_overlap']['chance'])})",
    ]


def _recall(after: Floats, before: Floats) -> str:
    """The mean over the users, and how much more it is than before, with the standard error of that."""
    more = after - before
    told = f" ({more.mean():+.3f} ± {more.std(ddof=1) / np.sqrt(len(more)):.3f})" if more.any() else ""
    return f"{after.mean():.3f}{told}"


def _chapter(case: Case) -> Chapter:
    return Chapter(case.title, [case.folder], lambda data, folder: digest(case, find(case, data, folder / "out-cases")))


if __name__ == "__main__":
    tell(__doc__, map(_chapter, CASES))
