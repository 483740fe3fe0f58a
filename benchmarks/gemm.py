"""The float32 rate of this machine for the product of a fit, A^T B: what is left of it in a fit is the measure.

Usage: python benchmarks/gemm.py 4096 384 [--threads 2]

Prints GFLOP/s of all threads together, each multiplying blocks of its own on one BLAS thread. Nothing is read
and nothing is added up.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ThreadPoolExecutor

os.environ.update(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")  # before NumPy is imported

import numpy as np
from measuring import cores

ROWS = 4096
SECONDS = 3.0


def flops(dims: tuple[int, int], seed: int) -> float:
    """Operations per second of one thread."""
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal((ROWS, dim), dtype=np.float32) for dim in dims)
    product = np.matmul(a.T, b)
    times = 0
    started = time.perf_counter()
    while (passed := time.perf_counter() - started) < SECONDS:
        np.matmul(a.T, b, out=product)
        times += 1
    return 2 * ROWS * dims[0] * dims[1] * times / passed


def main() -> None:
    """Multiply in all threads at once, print the sum of their rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("dims", type=int, nargs=2)
    parser.add_argument("--threads", type=int, default=cores())
    given = parser.parse_args()
    with ThreadPoolExecutor(given.threads) as pool:
        rates = pool.map(lambda seed: flops(tuple(given.dims), seed), range(given.threads))
    print(f"{sum(rates) / 1e9:.1f}")


if __name__ == "__main__":
    main()
