"""Peak memory of the product for catalogues of growing size: what each further item costs."""

from __future__ import annotations

import argparse
import statistics
from itertools import pairwise
from pathlib import Path

from measuring import catalogue, clear, machine, measure, product, work_folder


def peak(items: int, folder: Path, runs: int, *, shuffled: bool) -> float:
    """Median peak memory in bytes."""
    files = catalogue(items, folder, shuffled=shuffled)
    text = files / ("text_shuffled.parquet" if shuffled else "text.parquet")
    peaks = []
    for _ in range(runs):
        clear(folder / "out-memory")
        command = product({"image": files / "image.parquet", "text": text}, folder / "out-memory", "--rank", "16", "-q")
        peaks.append(measure(command).peak)
    clear(folder / "out-memory")
    return statistics.median(peaks)


def markdown(peaks: dict[int, float]) -> str:
    """A table of peaks with the slope from each size to the next."""
    lines = ["| items | peak memory, MB | bytes per further item |", "|---:|---:|---:|"]
    slopes = {large: (peaks[large] - peaks[small]) / (large - small) for small, large in pairwise(peaks)}
    for items, size in peaks.items():
        lines.append(f"| {items:,} | {size / 1e6:,.0f} | {f'{slopes[items]:,.0f}' if items in slopes else ''} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 400_000], metavar="N")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--work", type=Path, metavar="DIR", help="catalogues and outputs; default benchmarks/.work")
    parser.add_argument("--shuffled", action="store_true", help="with the text in another order than the image")
    given = parser.parse_args()
    folder = work_folder(given.work)
    peaks = {items: peak(items, folder, given.runs, shuffled=given.shuffled) for items in sorted(given.items)}
    print(f"Image 768 and text 384 float32, {4 * (768 + 384):,} bytes per item in memory; rank 16; ", end="")
    print(f"median of {given.runs} runs\n\n{machine()}\n\n{markdown(peaks)}")


if __name__ == "__main__":
    main()
