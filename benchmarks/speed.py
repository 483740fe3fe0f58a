"""The product against the plain script: wall time, processor time, peak memory, and whether they agree.

Both run in fresh processes on the same files, in turns, taking turns at going first, after one warm-up
each. The product does more: it also aligns by id, checks every row, measures redundancy before and after,
writes a table of all items, and makes its output durable on disk before it ends.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from measuring import (
    Measured,
    benchmark,
    catalogue,
    clear,
    machine,
    measure,
    product,
    spread,
    work_folder,
)

RANK = 16


def compare(image: Path, text: Path, folder: Path, runs: int) -> tuple[dict[str, list[Measured]], str]:
    """Run both in turns on two files.

    Returns:
        The measured runs of `product` and of `script`, in pairs, and what the check of their outputs says.
    """
    outs = {"product": folder / "out-product", "script": folder / "out-script"}
    commands = {
        "product": product({"image": image, "text": text}, outs["product"], "--rank", str(RANK), "-q"),
        "script": benchmark("script.py", image, text, outs["script"], "--rank", RANK),
    }
    measured: dict[str, list[Measured]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        order = list(commands) if turn % 2 else list(reversed(commands))
        for name in order:
            clear(outs[name])
            one = measure(commands[name])
            print(f"{name}: {one.wall:.1f} s" + ("" if turn else " (warm-up)"), file=sys.stderr)
            if turn:
                measured[name].append(one)
    check = benchmark("agree.py", outs["product"] / "embeddings", outs["script"])
    agreement = subprocess.run(check, check=True, capture_output=True, text=True).stdout.strip()
    clear(*outs.values())
    return measured, agreement


def markdown(measured: dict[str, list[Measured]]) -> str:
    """A table of medians and ranges, and of the ratios of each pair of runs."""
    lines = ["| | wall, s | processor, s | peak memory, MB |", "|---|---:|---:|---:|"]
    for name, runs in measured.items():
        cells = (
            spread([one.wall for one in runs]),
            spread([one.cpu for one in runs]),
            spread([one.peak for one in runs], 0, 1e6),
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    pairs = list(zip(measured["product"], measured["script"], strict=True))
    ratios = (
        spread([a.wall / b.wall for a, b in pairs], 2),
        spread([a.cpu / b.cpu for a, b in pairs], 2),
        spread([a.peak / b.peak for a, b in pairs], 2),
    )
    lines.append(f"| product / script | {' | '.join(ratios)} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=400_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--work", type=Path, metavar="DIR", help="catalogues and outputs; default benchmarks/.work")
    parser.add_argument("--shuffled", action="store_true", help="also with the text in another order than the image")
    given = parser.parse_args()
    folder = work_folder(given.work)
    files = catalogue(given.items, folder, shuffled=given.shuffled)
    texts = {"Same order in both files": "text.parquet"}
    if given.shuffled:
        texts["Text in another order"] = "text_shuffled.parquet"
    print(f"{given.items:,} items, image 768 and text 384 float32, rank {RANK}; ", end="")
    print(f"median (min..max) of {given.runs} runs each, in turns\n\n{machine()}")
    for title, text in texts.items():
        measured, agreement = compare(files / "image.parquet", files / text, folder, given.runs)
        print(f"\n### {title}\n\n{markdown(measured)}\n\n{agreement}", flush=True)


if __name__ == "__main__":
    main()
