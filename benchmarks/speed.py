"""The product against the floor, the plain script and its peers: wall time, processor time, peak memory.

Everything runs in fresh processes on the same files, in turns, every other turn in reverse order, after one warm-up
each. The product does more than any of them: it also aligns by id, checks every row, fits in buckets with float64
sums, says what it found, and makes its output durable on disk before it ends. Marks are what is asked of it.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path

import peers
from contenders import FLOOR, PRODUCT, SCRIPT, Bench, Mark, compare
from measuring import (
    BARE,
    DIMS,
    RANK,
    Catalogue,
    catalogue,
    clear,
    cores,
    in_turns,
    machine,
    markdown,
    spread,
    work_folder,
)

DEFAULT = ("-q",)
WIDE = {"image": 4096, "text": 384}
THREE = {**DIMS, "audio": 128}


def parquet(bench: Bench) -> str:
    """The usual job, bare and with what the product does by itself."""
    made = catalogue(bench.work, bench.items)
    files = made.files()
    default = f"{PRODUCT}, default options"
    contenders = {
        PRODUCT: bench.product(files),
        FLOOR: bench.floor(files),
        default: bench.product(files, options=DEFAULT),
        SCRIPT: bench.script(files),
    }
    marks = [
        Mark(PRODUCT, FLOOR, at_most=1.15),
        Mark(SCRIPT, PRODUCT, at_least=1.6),
        Mark(default, FLOOR, at_most=1.4),
    ]
    return titled("Parquet, same order in both files", made, compare(contenders, marks, bench.runs))


def other_order(bench: Bench) -> str:
    """The text in another order than the image; the floor has them in the same order, for it knows no ids."""
    made = catalogue(bench.work, bench.items, shuffled=True)
    files = made.files(shuffled=True)
    floor = f"{FLOOR}, same order"
    contenders = {
        PRODUCT: bench.product(files),
        floor: bench.floor(made.files()),
        SCRIPT: bench.script(files),
    }
    marks = [Mark(PRODUCT, floor, at_most=1.6), Mark(SCRIPT, PRODUCT)]
    return titled("Parquet, text in another order", made, compare(contenders, marks, bench.runs))


def hdf5(bench: Bench) -> str:
    """Contiguous HDF5."""
    return _plain(bench, catalogue(bench.work, bench.items, container="h5"), "HDF5, contiguous", 1.25)


def npy(bench: Bench) -> str:
    """NPY with a text file of ids."""
    return _plain(bench, catalogue(bench.work, bench.items, container="npy"), "NPY", 1.25)


def wide_parquet(bench: Bench) -> str:
    """Many dimensions: the product of the fit takes most of the time."""
    return _wide(bench, "parquet")


def wide_npy(bench: Bench) -> str:
    """The same, where reading costs next to nothing."""
    return _wide(bench, "npy")


def three(bench: Bench) -> str:
    """Three modalities against each pair of them, one after the other."""
    made = catalogue(bench.work, bench.items, THREE)
    pairs = f"{PRODUCT}, sum of the three pairs"
    contenders = {PRODUCT: bench.product(made.files()), pairs: bench.pairs(made.files())}
    return titled("Three modalities", made, compare(contenders, [Mark(PRODUCT, pairs, at_most=1.0)], bench.runs))


def with_peers(bench: Bench) -> str:
    """Other libraries that fit shared directions, at a size they can hold in memory several times."""
    made = catalogue(bench.work, bench.items // 4)
    files = made.files()
    able, unable = peers.contenders(files.values(), bench.work)
    contenders = {PRODUCT: bench.product(files), FLOOR: bench.floor(files), SCRIPT: bench.script(files), **able}
    marks = [Mark(name, PRODUCT) for name in contenders if name != PRODUCT]
    text = compare(contenders, marks, bench.runs)
    for name, problem in unable.items():
        text += f"\n- {name} is not in the table: {problem}"
    return titled("Peers", made, text)


CASES: dict[str, Callable[[Bench], str]] = {
    "parquet": parquet,
    "order": other_order,
    "hdf5": hdf5,
    "npy": npy,
    "wide-parquet": wide_parquet,
    "wide-npy": wide_npy,
    "three": three,
    "peers": with_peers,
}


def _plain(bench: Bench, made: Catalogue, title: str, at_most: float | None) -> str:
    files = made.files()
    contenders = {PRODUCT: bench.product(files), FLOOR: bench.floor(files), SCRIPT: bench.script(files)}
    marks = [Mark(PRODUCT, FLOOR, at_most=at_most), Mark(SCRIPT, PRODUCT)]
    return titled(title, made, compare(contenders, marks, bench.runs))


def _wide(bench: Bench, container: str) -> str:
    items = bench.items // 4
    made = catalogue(bench.work, items, WIDE, container)
    part = catalogue(bench.work, items // 10, WIDE, container)
    return _plain(bench, made, f"Wide, {container}", None) + "\n\n" + _rates(bench, made, part)


def _rates(bench: Bench, made: Catalogue, part: Catalogue) -> str:
    """The rate of A^T B in a fit: its operations by the time that a further item takes, so start-up cancels out.

    That time is the difference between a fit on all items and one on a tenth of them.
    """
    dims = list(made.dims.values())
    files, fewer = made.files(), part.files()
    contenders = {
        f"{PRODUCT}, fit": bench.product(files, command="fit"),
        f"{FLOOR}, fit": bench.floor(files, "--fit-only"),
        "matrix product alone": bench.gemm(dims),
        f"{PRODUCT}, fit on a tenth": bench.product(fewer, command="fit"),
        f"{FLOOR}, fit on a tenth": bench.floor(fewer, "--fit-only"),
    }
    measured = in_turns(contenders, bench.runs)
    clear(*(one.out for one in contenders.values()))
    operations = 2 * (made.items - part.items) * dims[0] * dims[1] / 1e9
    alone = [float(one.output) for one in measured["matrix product alone"]]
    rows = [["matrix product alone", spread(alone, 0), "", ""]]
    for name, mark in ((PRODUCT, Mark("", "", at_least=0.7)), (FLOOR, Mark("", ""))):
        both = zip(measured[f"{name}, fit"], measured[f"{name}, fit on a tenth"], strict=True)
        rates = [operations / (all_items.wall - tenth.wall) for all_items, tenth in both]
        shares = [rate / most for rate, most in zip(rates, alone, strict=True)]
        rows.append([f"{name}, fit", spread(rates, 0), spread(shares, 2), mark.verdict(shares)])
    return markdown(["", "float32 GFLOP/s", "share", "mark"], rows)


def titled(title: str, made: Catalogue, text: str) -> str:
    """A section of the report."""
    dims = ", ".join(f"{name} {dim}" for name, dim in made.dims.items())
    return f"### {title}\n\n{made.items:,} items; {dims}\n\n{text}"


def main() -> None:
    """Parse the command line, measure case after case, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(CASES)}; default all")
    parser.add_argument("--items", type=int, default=400_000, help="wide catalogues and those of peers have a quarter")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--options", type=shlex.split, default=BARE, help=f"of the product; default {shlex.join(BARE)}")
    parser.add_argument("--work", type=Path, metavar="DIR", help="catalogues and outputs; default benchmarks/.work")
    given = parser.parse_args()
    if unknown := set(given.cases) - set(CASES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    bench = Bench(work_folder(given.work), given.items, given.runs, given.threads, given.options)
    print(f"float32, rank {RANK}; product with {shlex.join(bench.options)}; {bench.threads} threads; ", end="")
    print(f"median (min..max) of {bench.runs} runs each, in turns\n\n{machine()}")
    for name in given.cases or CASES:
        print(f"\n{CASES[name](bench)}", flush=True)


if __name__ == "__main__":
    main()
