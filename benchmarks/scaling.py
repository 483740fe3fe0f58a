"""How the time of the product grows: with the items, and with the size of the cross-covariance, d_a x d_b.

The second keeps d_a + d_b the same, and so the bytes that are read and written, and uses NPY, which takes next to no
time to decode: what grows is the arithmetic. Each series has the line of least squares through its medians.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
from collections.abc import Mapping
from pathlib import Path

from contenders import FLOOR, PRODUCT, Bench, Runs
from measuring import BARE, DIMS, Catalogue, catalogue, clear, cores, in_turns, machine, markdown, spread, work_folder

ITEMS = (50_000, 100_000, 200_000, 400_000)
SHAPES = ((1920, 128), (1792, 256), (1536, 512), (1024, 1024))
SHAPE_ITEMS = 100_000


def measured(bench: Bench, made: Catalogue) -> Runs:
    """Product and floor on one catalogue."""
    contenders = {PRODUCT: bench.product(made.files()), FLOOR: bench.floor(made.files())}
    runs = in_turns(contenders, bench.runs)
    clear(*(one.out for one in contenders.values()))
    return runs


def report(sizes: Mapping[str, float], runs: Mapping[str, Runs], unit: str) -> str:
    """Wall times by size, and the line through the medians of each contender.

    Args:
        sizes: What the time is held against, by label.
        runs: The runs by label.
        unit: Of the sizes.
    """
    walls = {name: {label: [one.wall for one in runs[label][name]] for label in sizes} for name in (PRODUCT, FLOOR)}
    rows = [[label, *(spread(walls[name][label], 2) for name in walls)] for label in sizes]
    text = markdown(["", *(f"{name}, wall, s" for name in walls)], rows)
    for name, by_label in walls.items():
        x, y = list(sizes.values()), [statistics.median(by_label[label]) for label in sizes]
        line = statistics.linear_regression(x, y)
        text += f"\n{'' if name == FLOOR else chr(10)}- {name}: {line.intercept:.2f} s + {line.slope:.3g} s per {unit}"
        text += f" (R² {statistics.correlation(x, y) ** 2:.4f})"
    return text


def main() -> None:
    """Parse the command line, measure both series, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the numbers of items")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--options", type=shlex.split, default=BARE, help=f"of the product; default {shlex.join(BARE)}")
    parser.add_argument("--work", type=Path, metavar="DIR", help="catalogues and outputs; default benchmarks/.work")
    given = parser.parse_args()
    bench = Bench(work_folder(given.work), 0, given.runs, given.threads, given.options)
    print(f"float32; product with {shlex.join(bench.options)}; {bench.threads} threads; ", end="")
    print(f"median (min..max) of {bench.runs} runs each, in turns\n\n{machine()}")

    counts = {f"{n:,}": n for n in (int(items * given.scale) for items in ITEMS)}
    runs = {label: measured(bench, catalogue(bench.work, n)) for label, n in counts.items()}
    dims = ", ".join(f"{name} {dim}" for name, dim in DIMS.items())
    millions = {label: n / 1e6 for label, n in counts.items()}
    print(f"\n### Items\n\nParquet; {dims}\n\n{report(millions, runs, 'million items')}", flush=True)

    items = int(SHAPE_ITEMS * given.scale)
    shapes = {f"{a:,} x {b:,}": {"image": a, "text": b} for a, b in SHAPES}
    runs = {label: measured(bench, catalogue(bench.work, items, one, "npy")) for label, one in shapes.items()}
    products = {label: one["image"] * one["text"] / 1e6 for label, one in shapes.items()}
    text = report(products, runs, "million entries of the cross-covariance")
    print(f"\n### Dimensions\n\nNPY; {items:,} items\n\n{text}", flush=True)


if __name__ == "__main__":
    main()
