"""Moments files as they are read: nothing in them is trusted, and whatever is wrong is said in one error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from clear_cli.embeddings.base import IdKind
from clear_cli.errors import DataError
from clear_cli.moments import CrossMoments
from clear_cli.sample import Sample, sample_items
from clear_cli.subspace import Pair
from clear_cli.tensors import Kind
from clear_cli.workflow.evidence import Described

KIND = Kind(
    "moments file",
    "moments",
    1,
    fix="clear-cli fit ... --moments-out FILE writes one",
    give="what clear-cli fit ... --moments-out FILE wrote",
)

MAX_EXPONENT = 2200
"""No scale that brings a float64 near 1 is beyond 2 ** this."""
ROUNDING = 1e-3
"""Products and squares are rounded to float32 on their own."""

Array = npt.NDArray[Any]
Side = tuple[int, np.dtype[Any]]


@contextmanager
def opened(path: Path) -> Iterator[Stored]:
    """A moments file, for as long as it is read.

    Raises:
        DataError: Not there, not ours, damaged, or of a later format; also of what is read in the block.
    """
    with KIND.opened(path) as (file, header):
        yield Stored.of(file, header, path)


@dataclass(frozen=True, eq=False)
class Stored:
    """What an open file holds.

    Attributes:
        file: As safetensors opened it.
        path: What to name in an error.
        modalities: Each as it was read.
        pairs: Which they are, whether there are moments of each side by itself, and the capacity of the sample if any.
        settings: What decided how rows were accumulated.
    """

    file: Any
    path: Path
    modalities: dict[str, Described]
    pairs: list[tuple[Pair, bool, int | None]]
    settings: dict[str, Any]

    @classmethod
    def of(cls, file: Any, header: dict[str, Any], path: Path) -> Stored:
        """From a file and its header."""
        try:
            modalities = {str(one["name"]): _described(one, path) for one in header["modalities"]}
            pairs = [_pair(one, modalities) for one in header["pairs"]]
            settings = dict(header["settings"])
            if not modalities or {name for pair, _, _ in pairs for name in pair} != set(modalities):
                raise ValueError("a modality without a pair")
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, f"its header makes no sense ({type(error).__name__}: {error})") from error
        return cls(file, path, modalities, pairs, settings)

    def array(self, name: str, dtype: npt.DTypeLike, shape: tuple[int | None, ...]) -> Array:
        """An array of this type and shape (None for any length), all of it finite."""
        if name not in self.file.keys():  # noqa: SIM118  (not a mapping)
            raise self.damaged(f"it lacks {name}")
        array: Array = self.file.get_tensor(name)
        fits = len(array.shape) == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
        if array.dtype != dtype or not fits:
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise self.damaged(f"{name} is {array.dtype} {array.shape}, not {np.dtype(dtype)} ({wanted})")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise self.damaged(f"{name} holds NaN or infinity")
        return array

    def moments(self, prefix: str, dims: tuple[int, int], buckets: int) -> CrossMoments:
        """Settled moments."""
        count = self._counts(f"{prefix}.count", (buckets,))
        sides = [self._side(prefix, side, dim, buckets) for side, dim in zip("ab", dims, strict=True)]
        sums, squares, pilots, exponents = ((one, other) for one, other in zip(*sides, strict=True))
        products = self.array(f"{prefix}.products", np.float64, (buckets, *dims))
        moments = CrossMoments.of(count, sums, squares, products, pilots, exponents)
        with np.errstate(all="ignore"):
            read_off: list[Array] = [moments.mean(0), moments.mean(1), moments.cross_covariance()]
            read_off.append(np.array([moments.total_variance(0), moments.total_variance(1)]))
        if not all(np.isfinite(one).all() for one in read_off):
            raise self.damaged(f"{prefix} is beyond the range of float64")
        # Cauchy and Schwarz, but for rounding.
        sizes = [np.sqrt(one) * (1 + ROUNDING) for one in squares]
        for side, of, size in zip("ab", sums, sizes, strict=True):
            if (np.abs(of).max(axis=1, initial=0.0) > size * np.sqrt(count)).any():
                raise self.damaged(f"{prefix}.sums_{side} are larger than the squares allow")
        if (np.abs(products).max(axis=(1, 2), initial=0.0) > sizes[0] * sizes[1]).any():
            raise self.damaged(f"{prefix}.products are larger than the squares allow")
        return moments

    def sample(self, prefix: str, sides: tuple[Side, Side], capacity: int) -> Sample:
        """A sample of this capacity."""
        hashes = self.array(f"{prefix}.hashes", np.uint64, (None,))
        if not len(hashes) <= capacity <= sample_items(*sides):
            raise self.damaged(f"{prefix} has {len(hashes)} items and room for {capacity}")
        contents = self.array(f"{prefix}.contents", np.uint64, (len(hashes),))
        a, b = (
            self.array(f"{prefix}.rows_{side}", dtype, (len(hashes), dim))
            for side, (dim, dtype) in zip("ab", sides, strict=True)
        )
        sample = Sample(*sides, capacity)
        sample.update(a, b, hashes, contents)
        return sample

    def damaged(self, problem: str) -> DataError:
        """The error for what no fit writes."""
        return _damaged(self.path, problem)

    def _side(self, prefix: str, side: str, dim: int, buckets: int) -> tuple[Array, Array, Array, Array]:
        sums = self.array(f"{prefix}.sums_{side}", np.float64, (buckets, dim))
        squares = self._counts(f"{prefix}.squares_{side}", (buckets,), np.float64)
        pilot = self.array(f"{prefix}.pilot_{side}", np.float64, (dim,))
        exponents = self.array(f"{prefix}.exponents_{side}", np.int64, (buckets,))
        if (exponents != exponents[0]).any() or not -MAX_EXPONENT <= exponents[0] <= MAX_EXPONENT:
            raise self.damaged(f"{prefix}.exponents_{side} is not one scale for all buckets")
        return sums, squares, pilot, exponents

    def _counts(self, name: str, shape: tuple[int], dtype: npt.DTypeLike = np.int64) -> Array:
        array = self.array(name, dtype, shape)
        if (array < 0).any():
            raise self.damaged(f"{name} is negative")
        return array


def _described(one: Mapping[str, Any], path: Path) -> Described:
    rows, dim, dtype, ids = one["rows"], one["dim"], np.dtype(one["dtype"]), one["ids"]
    if not (_natural(rows) and _natural(dim) and dim and dtype.kind == "f" and ids in get_args(IdKind)):
        raise ValueError(f"no modality: {dict(one)}")
    return Described(rows, dim, dtype, str(path), ids)


def _pair(one: Mapping[str, Any], modalities: Mapping[str, Described]) -> tuple[Pair, bool, int | None]:
    a, b = one["modalities"]
    capacity = one["sample_capacity"]
    if a == b or not {a, b} <= set(modalities) or not (capacity is None or _natural(capacity)):
        raise ValueError(f"no pair: {dict(one)}")
    return (a, b), bool(one["own"]), capacity


def _natural(value: Any) -> bool:
    return type(value) is int and value >= 0


def _damaged(path: Path, problem: str) -> DataError:
    return DataError(f"the moments file is damaged: {problem}", where=path, fix=KIND.fix)
