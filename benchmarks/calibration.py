"""Whether `--rank auto` is calibrated: what it finds where nothing is shared, and how near it comes to what is.

Usage: python benchmarks/calibration.py [chance planted fading cost] [--scale 0.1]

- chance: how often something stands out in modalities that are independent, whatever their rows look like
- planted: 16 equal shared directions, at growing numbers of items
- fading: shared directions that fade geometrically, whose effective number is known
- cost: the test against chance beside the fit

Every replicate has a seed of its own, made of what it is, so that any part of the run gives the same figures.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

os.environ.update(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")  # before NumPy is imported

import numpy as np
import numpy.typing as npt
from measuring import DIMS, machine, markdown, spread
from scipy.stats import binomtest

from clear_cli.chance import LEVEL, Significance, draws_of, significance
from clear_cli.health import pair_hashes, row_hashes
from clear_cli.moments import CrossMoments

Rows = npt.NDArray[np.float32]
Dims = tuple[int, int]
Rng = np.random.Generator

WORKERS = 2
BLOCK = 8192
"""Rows that are handed to the moments at a time."""


def seeded(*what: int) -> Rng:
    """A generator for one replicate."""
    return np.random.default_rng(what)


def moments_of(a: Rows, b: Rows, hashes: npt.NDArray[np.uint64], **options: Any) -> CrossMoments:
    """The moments of all rows, block by block."""
    moments = CrossMoments(a.shape[1], b.shape[1])
    for start in range(0, len(a), BLOCK):
        rows = slice(start, start + BLOCK)
        moments.update(a[rows], b[rows], hashes[rows], **options)
    return moments


def decomposed(moments: CrossMoments) -> tuple[Any, Any, Any]:
    """Sigma, U and V of the cross-covariance."""
    u, sigma, vt = np.linalg.svd(moments.cross_covariance(), full_matrices=False)
    return sigma, u, vt.T


def tested(a: Rows, b: Rows) -> Significance:
    """What stands out from chance, as a fit finds it."""
    moments = moments_of(a, b, pair_hashes(row_hashes(a), row_hashes(b)))
    draws, unit = draws_of(moments)
    return significance(*decomposed(moments), draws, unit=unit)


# Nothing shared


def gaussian(rng: Rng, items: int, dim: int) -> Rows:
    return rng.standard_normal((items, dim), dtype=np.float32)


def heavy_tailed(rng: Rng, items: int, dim: int) -> Rows:
    return rng.standard_t(3, (items, dim)).astype(np.float32)


def log_normal(rng: Rng, items: int, dim: int) -> Rows:
    return np.exp(gaussian(rng, items, dim))


def sparse(rng: Rng, items: int, dim: int) -> Rows:
    return np.maximum(gaussian(rng, items, dim) - np.float32(1), 0)


def hubs(rng: Rng, items: int, dim: int) -> Rows:
    """The first hundredth of the items, the same in each modality, are 50 times as long as the others."""
    rows = gaussian(rng, items, dim)
    rows[: items // 100] *= 50
    return rows


def one_hub(rng: Rng, items: int, dim: int) -> Rows:
    """One item is 50 times as long as the others, in each modality."""
    rows = gaussian(rng, items, dim)
    rows[0] *= 50
    return rows


def copied_hub(rng: Rng, items: int, dim: int) -> Rows:
    """Ten copies of one item that is 50 times as long as the others, in each modality."""
    rows = gaussian(rng, items, dim)
    rows[:10] = 50 * rows[0]
    return rows


def duplicated(rng: Rng, items: int, dim: int) -> Rows:
    """Ten copies of each item: row i of each modality is a copy of row i mod items / 10."""
    return np.tile(gaussian(rng, items // 10, dim), (10, 1))


KINDS: Mapping[str, Callable[[Rng, int, int], Rows]] = {
    "Gaussian": gaussian,
    "t, 3 degrees of freedom": heavy_tailed,
    "log-normal": log_normal,
    "ReLU, 16 % not zero": sparse,
    "hubs": hubs,
    "duplicated": duplicated,
    "one hub": one_hub,
    "ten copies of a hub": copied_hub,
}
SHAPES: Sequence[Dims] = ((64, 64), (256, 128), (512, 512))
REPLICATES = {400: 200, 2_000: 150, 10_000: 100, 50_000: 40}
"""Items, and how often each kind and shape is tested with so many."""


@dataclass(frozen=True)
class Cell:
    """Independent modalities of one kind, size and shape."""

    kind: str
    items: int
    dims: Dims

    def stands_out(self, replicate: int) -> bool:
        """Whether anything does in one replicate."""
        rng = seeded(list(KINDS).index(self.kind), self.items, *self.dims, replicate)
        a, b = (KINDS[self.kind](rng, self.items, dim) for dim in self.dims)
        return tested(a, b).significant > 0


@dataclass(frozen=True)
class Count:
    """Findings among replicates of which the level allows 5 %."""

    found: int
    runs: int

    def __add__(self, other: Count) -> Count:
        return Count(self.found + other.found, self.runs + other.runs)

    @property
    def p(self) -> float:
        """Exact binomial probability of so many findings or more, were the rate 5 %."""
        return float(binomtest(self.found, self.runs, 1 - LEVEL, alternative="greater").pvalue)

    def row(self, label: str, tests: int) -> list[str]:
        """Label and figures; whether the rate is above the level is told with all `tests` considered."""
        interval = binomtest(self.found, self.runs).proportion_ci(0.95, method="exact")
        above = "yes" if self.p * tests < 0.05 else "no"
        rate, low, high = (f"{x:.3f}" for x in (self.found / self.runs, interval.low, interval.high))
        return [label, f"{self.runs:,}", f"{self.found}", rate, f"{low}..{high}", f"{self.p:.3f}", above]


COUNT_HEAD = ["", "replicates", "found", "rate", "95 % interval", "p (rate ≤ .05)", "above .05"]


def chance(pool: Executor, scale: float) -> Iterator[str]:
    """Nothing shared: how often something is found."""
    yield "\n### Nothing shared\n"
    replicates = {items: scaled(runs, scale) for items, runs in REPLICATES.items()}
    each = ", ".join(f"{runs} at {items:,}" for items, runs in replicates.items())
    yield f"Replicates of each kind and shape: {each} items. Shapes: {' '.join(map(str, SHAPES))}.\n"
    cells = {Cell(*one): Count(0, 0) for one in product(KINDS, REPLICATES, SHAPES)}
    futures = [(cell, pool.submit(cell.stands_out, one)) for cell in cells for one in range(replicates[cell.items])]
    for cell, future in futures:
        cells[cell] += Count(int(future.result()), 1)

    def pooled(label: str, of: Callable[[Cell], bool], tests: int) -> list[str]:
        return sum((count for cell, count in cells.items() if of(cell)), Count(0, 0)).row(label, tests)

    rows = [pooled(kind, lambda cell, kind=kind: cell.kind == kind, len(KINDS)) for kind in KINDS]  # type: ignore[misc]
    rows += [pooled("all", lambda _: True, 1)]
    yield markdown(COUNT_HEAD, rows)
    by_size = [pooled(f"{n:,} items", lambda cell, n=n: cell.items == n, len(REPLICATES)) for n in REPLICATES]  # type: ignore[misc]
    by_shape = [pooled(f"{a} x {b}", lambda cell, s=(a, b): cell.dims == s, len(SHAPES)) for a, b in SHAPES]  # type: ignore[misc]
    yield "\n" + markdown(COUNT_HEAD, by_size + by_shape)
    highest = sorted(cells, key=lambda cell: cells[cell].p)[:5]
    rows = [cells[one].row(f"{one.kind}, {one.items:,}, {one.dims}", len(cells)) for one in highest]
    yield f"\nThe five of the {len(cells)} cells with the smallest p:\n\n{markdown(COUNT_HEAD, rows)}"
    above = [one for one in cells if cells[one].p * len(cells) < 0.05]
    yield f"\n- cells significantly above .05 (Bonferroni over {len(cells)}): {len(above)}"


# Something shared


def shared(rng: Rng, items: int, dims: Dims, sigma: npt.NDArray[np.float64], noise: float) -> tuple[Rows, Rows]:
    """Modalities whose cross-covariance has the singular values `sigma`, each with white noise of its own."""
    signal = gaussian(rng, items, len(sigma)) * np.sqrt(sigma, dtype=np.float32, casting="same_kind")
    sides = []
    for dim in dims:
        directions = np.linalg.qr(rng.standard_normal((dim, len(sigma))))[0].astype(np.float32)
        sides.append(signal @ directions.T + np.float32(noise) * gaussian(rng, items, dim))
    return sides[0], sides[1]


PLANTED = 16
PLANTED_DIMS = (96, 64)
PLANTED_REPLICATES = {1_000: 20, 4_000: 20, 16_000: 20, 64_000: 10, 256_000: 5}
NOISES = (0.3, 1.0)
"""Standard deviation of the noise in each dimension; the first shared direction has 1."""


def planted_one(items: int, noise: float, replicate: int) -> Significance:
    rng = seeded(items, int(10 * noise), replicate)
    return tested(*shared(rng, items, PLANTED_DIMS, np.ones(PLANTED), noise))


def planted(pool: Executor, scale: float) -> Iterator[str]:
    """Equal shared directions: the rank is their number, and does not drift with the items."""
    yield f"\n### {PLANTED} equal shared directions, {PLANTED_DIMS[0]} + {PLANTED_DIMS[1]} dimensions\n"
    rows = []
    for noise, (items, runs) in product(NOISES, PLANTED_REPLICATES.items()):
        found = list(pool.map(partial(planted_one, items, noise), range(scaled(runs, scale))))
        good = all(abs(n - PLANTED) <= 1 for one in found for n in (one.significant, one.effective, one.rank))
        figures = [
            spread([one.significant for one in found], 0),
            spread([one.effective for one in found], 2),
            spread([one.rank for one in found], 0),
        ]
        rows.append([f"{noise}", f"{items:,}", str(len(found)), *figures, "yes" if good else "no"])
    head = ["noise", "items", "replicates", "significant", "effective", "rank", f"all {PLANTED} ± 1"]
    yield markdown(head, rows)


TRUE_NUMBERS = (2.0, 4.0, 8.0)
FADING = (((768, 384), {4_000: 5, 40_000: 3}), ((128, 96), {4_000: 10, 40_000: 10, 400_000: 3}))
"""Dimensions, and how often each number of items is tested with them."""
TOLERANCE = 0.15


def geometric(number: float, length: int) -> npt.NDArray[np.float64]:
    """Singular values sigma_j = r ** j with about this effective number."""
    # Without an end it is (1 + r²) / (1 - r²).
    ratio = np.sqrt((number - 1) / (number + 1))
    return np.asarray(ratio ** np.arange(length))


def effective(sigma: npt.NDArray[np.float64]) -> float:
    """(sum sigma²)² / sum sigma⁴."""
    return float((sigma**2).sum() ** 2 / (sigma**4).sum()) if len(sigma) else 0.0


def fading_one(items: int, dims: Dims, sigma: npt.NDArray[np.float64], noise: float, replicate: int) -> Significance:
    rng = seeded(items, *dims, int(10 * effective(sigma)), int(10 * noise), replicate)
    return tested(*shared(rng, items, dims, sigma, noise))


def fading(pool: Executor, scale: float) -> Iterator[str]:
    """Directions that fade: the effective number is that of the true spectrum."""
    yield "\n### Shared directions that fade geometrically\n"
    rows = []
    for (dims, sizes), number, noise in product(FADING, TRUE_NUMBERS, NOISES):
        sigma = geometric(number, min(dims))
        for items, runs in sizes.items():
            one = partial(fading_one, items, dims, sigma, noise)
            found = list(pool.map(one, range(scaled(runs, scale))))
            errors = [each.effective / effective(sigma) - 1 for each in found]
            rows.append(
                [
                    f"{dims[0]} + {dims[1]}, noise {noise}",
                    f"{items:,}",
                    str(len(found)),
                    f"{effective(sigma):.2f}",
                    f"{statistics.median(effective(sigma[: each.significant]) for each in found):.2f}",
                    spread([each.effective for each in found], 2),
                    spread([each.significant for each in found], 0),
                    spread([each.rank for each in found], 0),
                    spread(errors, 1, 0.01),
                    "yes" if max(map(abs, errors)) <= TOLERANCE else "no",
                ]
            )
    head = [
        "",
        "items",
        "replicates",
        "true",
        "of the significant",
        "effective",
        "significant",
        "rank",
        "error, %",
        "all within 15 %",
    ]
    yield markdown(head, rows)


# What it costs

COST_ITEMS = 400_000
COST_TURNS = 3
COST_MARK = 10.0
COST_CASES = {
    "nothing shared": np.zeros(0),
    f"{PLANTED} shared alike": np.ones(PLANTED),
    "8 shared, fading": geometric(8, DIMS["text"]),
}


@dataclass(frozen=True)
class Clocks:
    """Seconds of a part: on the wall, and of the processor, where others that run weigh less."""

    wall: float
    processor: float

    @classmethod
    def now(cls) -> Clocks:
        return cls(time.perf_counter(), time.process_time())

    def __sub__(self, other: Clocks) -> Clocks:
        return Clocks(self.wall - other.wall, self.processor - other.processor)


def cost(_: Executor, scale: float) -> Iterator[str]:
    """The test against chance beside the fit, in memory, with as many threads as workers."""
    dims = (DIMS["image"], DIMS["text"])
    items = scaled(COST_ITEMS, scale)
    yield f"\n### Cost of the test: {dims[0]} + {dims[1]} dimensions, {items:,} items, {WORKERS} threads\n"
    hashes = seeded(1).integers(0, 2**64, items, dtype=np.uint64)
    rows = []
    for name, sigma in COST_CASES.items():
        a, b = shared(seeded(0), items, dims, sigma, 1.0)
        with ThreadPoolExecutor(WORKERS) as threads:
            turns = [_cost(a, b, hashes, threads) for _ in range(COST_TURNS + 1)][1:]  # the first warms up
        for clock in ("wall", "processor"):
            fit, test = ([getattr(turn[part], clock) for turn in turns] for part in (0, 1))
            shares = [100 * one / other for one, other in zip(test, fit, strict=True)]
            met = f"≤ {COST_MARK:.0f}: {'met' if statistics.median(shares) <= COST_MARK else 'missed'}"
            rows.append([f"{name}, {clock}", spread(fit, 2), spread(test, 2), spread(shares, 1), met])
    yield markdown(["", "fit, s", "test against chance, s", "share, %", "mark"], rows)


def _cost(a: Rows, b: Rows, hashes: npt.NDArray[np.uint64], threads: Executor) -> tuple[Clocks, Clocks]:
    """What the fit takes, and what the test."""
    started = Clocks.now()
    moments = moments_of(a, b, hashes, parallel=threads.map)
    found = decomposed(moments)
    fitted = Clocks.now()
    draws, unit = draws_of(moments, parallel=threads.map)
    significance(*found, draws, unit=unit, parallel=threads.map)
    return fitted - started, Clocks.now() - fitted


PARTS = {"chance": chance, "planted": planted, "fading": fading, "cost": cost}


def scaled(count: int, scale: float) -> int:
    return max(round(count * scale), 1)


def main() -> None:
    """Parse the command line, run the parts, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; default all")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies replicates, and the items of `cost`")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    print(machine())
    with ProcessPoolExecutor(WORKERS) as pool:
        for name in given.parts or PARTS:
            for text in PARTS[name](pool, given.scale):
                print(text, flush=True)


if __name__ == "__main__":
    main()
