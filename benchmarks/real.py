"""A digest of what the product finds on two published data sets, and what it removes, as Markdown.

The data are not ours to pass on. They are looked for in ../shared/data beside the repository (or --data);
where a data set is absent that is said and it is skipped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measuring import ROOT, clear, machine, measure, product, work_folder

DATA = ROOT.parent / "shared" / "data"
SETTINGS = {"default": [], "rank 8": ["--rank", "8"]}
Figures = dict[str, Any]


@dataclass(frozen=True)
class Catalogue:
    """Embeddings of the same items.

    Attributes:
        title: What they are.
        files: Per modality, the file.
        ids: Per modality, the file of its item ids; nothing where row i is item i.
    """

    title: str
    files: dict[str, str]
    ids: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Chapter:
    """What is told of one data set.

    Attributes:
        title: Its headline.
        needs: Files or folders, below that of the data.
        lines: Gives its lines, from the folder of the data and one to work in.
    """

    title: str
    needs: Sequence[str]
    lines: Callable[[Path, Path], Iterable[str]]


def _lastfm(*modalities: str) -> Catalogue:
    names = {"text": "text_tags_minilm", "whisper": "audio_whisper", "vggish": "audio_vggish"}
    ids = {"text": "text_tags", "whisper": "audio_whisper", "vggish": "audio_vggish"}
    return Catalogue(
        f"Last.fm-2K: {', '.join(modalities)}",
        {one: f"lastfm2k/raw/{names[one]}.npy" for one in modalities},
        {one: f"lastfm2k/raw/{ids[one]}_ids.txt" for one in modalities},
    )


CATALOGUES = (
    _lastfm("text", "whisper"),
    _lastfm("text", "whisper", "vggish"),
    Catalogue("TikTok: image, audio", {"image": "tiktok/image.npy", "audio": "tiktok/audio.npy"}),
)


def diagnose(catalogue: Catalogue, data: Path, out: Path, options: Sequence[str]) -> Figures:
    """The diagnostics of one run."""
    clear(out)
    ids = [part for name, path in catalogue.ids.items() for part in ("--ids", f"{name}={data / path}")]
    measure(product({name: data / path for name, path in catalogue.files.items()}, out, *ids, *options, "-q"))
    diagnostics: Figures = json.loads((out / "diagnostics.json").read_text(encoding="utf-8"))
    clear(out)
    return diagnostics


def digest(modalities: Sequence[str], results: dict[str, Figures]) -> Iterator[str]:
    """Markdown of the diagnostics of one catalogue at every setting."""
    yield from table(
        ["pair", "setting", "complete items", "leftover", *_PAIR_FIGURES, "linear R2 forth", "linear R2 back", _KNN],
        [_pair_row(pair, setting) for setting, one in results.items() for pair in one["pairs"]],
    )
    yield from table(
        ["modality", "setting", "rank", "energy at rank", "variance kept", "effective rank", "mean row norm"],
        [_modality_row(name, one, setting) for setting, one in results.items() for name in modalities],
    )
    for setting, one in results.items():
        yield from (f"- {setting}: {warning}" for warning in one["warnings"])


_PAIR_FIGURES = {
    "top canonical r": "canonical_correlation_top",
    "mean canonical r": "canonical_correlation_mean",
    "RV": "rv",
    "debiased CKA": "cka_debiased",
}
_KNN = "neighbour overlap (chance)"


def _pair_row(pair: Figures, setting: str) -> list[str]:
    sample = pair["sample"]
    knn = sample["neighbour_overlap"]
    return [
        " + ".join(pair["modalities"]),
        setting,
        f"{pair['items']:,}",
        number(pair["leftover"]["fit_algebraic"]),
        *(change(sample[key]) for key in _PAIR_FIGURES.values()),
        *(change({when: sample["linear_r2"][when][side] for when in ("before", "after")}) for side in (0, 1)),
        f"{change(knn)} ({number(knn['chance'])})",
    ]


def _modality_row(name: str, diagnostics: Figures, setting: str) -> list[str]:
    one = diagnostics["modalities"][name]
    # Every pair measures it on its own complete items; the first pair speaks for the modality.
    pair = next(pair for pair in diagnostics["pairs"] if name in pair["modalities"])
    side, ranks = pair["modalities"].index(name), pair["sample"]["effective_rank"]
    return [
        name,
        setting,
        str(one["rank"]),
        number(one["energy_at_rank"]),
        number(one["variance_kept"]),
        change({when: ranks[when][side] for when in ("before", "after")}, 1),
        change(one["row_norm_mean"], 2),
    ]


def number(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def change(figure: Figures, digits: int = 3) -> str:
    """`before → after`."""
    return f"{number(figure['before'], digits)} → {number(figure['after'], digits)}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table, and an empty line."""
    yield f"| {' | '.join(header)} |"
    yield f"|---|---|{'---:|' * (len(header) - 2)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def tell(doc: str | None, chapters: Iterable[Chapter]) -> None:
    """Parse the command line and print the machine and each chapter whose data are there."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0] if doc else None)
    parser.add_argument("--data", type=Path, default=DATA, help="default ../shared/data beside the repository")
    parser.add_argument("--work", type=Path, metavar="DIR", help="outputs; default benchmarks/.work")
    given = parser.parse_args()
    data, folder = given.data.resolve(), work_folder(given.work)
    print(machine())
    for chapter in chapters:
        print(f"\n### {chapter.title}\n")
        absent = [path for path in chapter.needs if not (data / path).exists()]
        if absent:
            print(f"Skipped: {absent[0]} is not there.")
            continue
        print("\n".join(chapter.lines(data, folder)), flush=True)


def _chapter(catalogue: Catalogue) -> Chapter:
    def lines(data: Path, folder: Path) -> Iterable[str]:
        results = {name: diagnose(catalogue, data, folder / "out-real", more) for name, more in SETTINGS.items()}
        return digest(list(catalogue.files), results)

    return Chapter(catalogue.title, [*catalogue.files.values(), *catalogue.ids.values()], lines)


if __name__ == "__main__":
    tell(__doc__, map(_chapter, CATALOGUES))
