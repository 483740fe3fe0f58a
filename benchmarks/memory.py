"""Peak memory of the product as the kernel counts it, for catalogues of growing size, and what a further item costs.

What the interpreter and the libraries take is measured in the same run, by a process that imports what the product
had imported when it ended, and does nothing. The catalogues are made one at a time and removed after use.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from measuring import (
    BARE,
    BYTES,
    DIMS,
    Contender,
    catalogue,
    clear,
    machine,
    markdown,
    measure,
    need,
    product,
    work_folder,
)

MOST = 700e6
"""Bytes above interpreter and libraries, at the largest catalogue."""

SLOPES = {"same": 16.0, "other": 64.0}
"""Bytes that a further item may cost, by whether the text is in the same order as the image."""

TITLES = {"same": "Same order in both files", "other": "Text in another order"}

RUN = """
import atexit, json, runpy, sys
atexit.register(lambda: json.dump(list(sys.modules), open({modules!r}, "w")))
sys.argv = {arguments!r}
runpy.run_module("clear_cli", run_name="__main__")
"""
IMPORT = """
import importlib, json
for name in json.load(open({modules!r})):
    try:
        importlib.import_module(name)
    except Exception:
        pass  # aliases, and what has run as __main__
"""


def libraries(work: Path, options: Sequence[str], runs: int) -> float:
    """Peak memory in bytes of a process that imports what a run of the product imports; the median of some."""
    modules = str(work / "modules.json")
    out = work / "out-libraries"
    command = product(catalogue(work, 1000).files(), out / "run", *options)
    arguments = ["clear-cli", *command[command.index("run") :]]
    Contender([[sys.executable, "-c", RUN.format(modules=modules, arguments=arguments)]], out).run()
    clear(out)
    imports = [sys.executable, "-c", IMPORT.format(modules=modules)]
    return statistics.median(measure(imports).peak for _ in range(runs))


def peaks(items: int, work: Path, options: Sequence[str], runs: int) -> dict[str, float]:
    """Median peak memory in bytes by order of the text; the catalogue is removed when both are known."""
    need(work, 2.5 * items * BYTES * sum(DIMS.values()))  # the catalogue, rows to put in order, and the output
    medians = {}
    made = catalogue(work, items)
    for order in SLOPES:
        if order == "other":
            made = catalogue(work, items, shuffled=True)
            made.files()["text"].unlink()
        out = work / "out-memory"
        command = product(made.files(shuffled=order == "other"), out / "run", *options)
        medians[order] = statistics.median(Contender([command], out).run().peak for _ in range(runs))
        print(f"{items:,} items, {order} order: {medians[order] / 1e6:,.0f} MB", file=sys.stderr)
        clear(out)
    clear(made.folder)
    return medians


def table(measured: Mapping[int, float], base: float, slope_mark: float) -> str:
    """Peaks by number of items, the slope of the line through them, and what becomes of the marks."""
    rows = [[f"{items:,}", f"{peak / 1e6:,.0f}", f"{(peak - base) / 1e6:,.0f}"] for items, peak in measured.items()]
    text = markdown(["items", "peak memory, MB", "above interpreter and libraries, MB"], rows)
    above = max(measured.values()) - base
    text += f"\n\n- above interpreter and libraries: {above / 1e6:,.0f} MB, < {MOST / 1e6:g} asked: {met(above < MOST)}"
    if len(measured) > 1:
        slope = statistics.linear_regression(list(measured), list(measured.values())).slope
        text += f"\n- bytes per further item: {slope:.1f}, ≤ {slope_mark:g} asked: {met(slope <= slope_mark)}"
    return text


def met(yes: bool) -> str:
    return "met" if yes else "missed"


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 1_000_000, 4_000_000], metavar="N")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--options", type=shlex.split, default=BARE, help=f"of the product; default {shlex.join(BARE)}")
    parser.add_argument("--work", type=Path, metavar="DIR", help="catalogues and outputs; default benchmarks/.work")
    given = parser.parse_args()
    work = work_folder(given.work)
    work = work / "memory"  # catalogues of its own, for they do not stay whole
    clear(work)
    work.mkdir()
    base = libraries(work, given.options, given.runs)
    measured = {items: peaks(items, work, given.options, given.runs) for items in sorted(given.items)}
    dims = ", ".join(f"{name} {dim}" for name, dim in DIMS.items())
    print(f"Parquet, {dims}, float32: {BYTES * sum(DIMS.values()):,} bytes per item; ", end="")
    print(f"product with {shlex.join(given.options)}; median of {given.runs} runs\n\n{machine()}")
    print(f"- interpreter and libraries: {base / 1e6:,.0f} MB")
    for order, slope in SLOPES.items():
        one = {items: both[order] for items, both in measured.items()}
        print(f"\n### {TITLES[order]}\n\n{table(one, base, slope)}", flush=True)
    clear(work)


if __name__ == "__main__":
    main()
