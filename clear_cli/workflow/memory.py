"""How the memory that a run is granted is divided: what the work needs, and what is left for rows that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from clear_cli.buffers import BUFFER_ROWS
from clear_cli.chance import DRAWS
from clear_cli.config import FitOptions
from clear_cli.embeddings.align import Alignment
from clear_cli.embeddings.base import CHUNK_BYTES, Rows
from clear_cli.embeddings.kept import Kept
from clear_cli.embeddings.stream import PARTITION_BYTES, SCATTER_BYTES, reordered
from clear_cli.errors import UsageError
from clear_cli.moments import bucket_count
from clear_cli.sample import sample_items
from clear_cli.shared import BUCKETS
from clear_cli.workflow.evidence import FOLDS

INTERPRETER_BYTES = 200 << 20
"""Python with its libraries, and what they allocate for themselves."""

ITEM_BYTES = 32
"""What alignment keeps for an item, at its peak: keys, their order, and where each row stands."""

CHUNKS_IN_FLIGHT = 14
"""Chunks of a modality that are alive at a time while it is written: read ahead, projected, waiting for the sink."""

PIECES_IN_FLIGHT = 3
"""Row groups of a modality: one that is collected, one that is encoded, and what the encoder makes of it."""


@dataclass(frozen=True)
class Budget:
    """Bytes.

    Attributes:
        granted: What the process may take.
        needed: What the work takes, whatever is kept.
    """

    granted: int
    needed: int

    @property
    def kept(self) -> int:
        """What is left for decoded rows, with a reserve for what no estimate knows."""
        return max(int(0.75 * self.granted) - self.needed, 0)

    def ample(self, rows: int = 0) -> bool:
        """Whether more would do no good: the work takes half at most, and so many bytes of rows can all be kept."""
        return 2 * self.needed <= self.granted and rows <= self.kept

    def __str__(self) -> str:
        mib = 1 << 20
        return f"memory: {self.granted / mib:,.0f} MiB granted, about {self.needed / mib:,.0f} MiB needed"


def piece_bytes(granted: int, modalities: int) -> int:
    """Bytes that a row group may take when it is written, so that those in flight fit in a part of the memory."""
    return granted // (8 * max(modalities, 2))


def budget(sources: Mapping[str, Rows], alignment: Alignment, granted: int, options: FitOptions) -> Budget:
    """What a run needs at its peak, roughly.

    Raises:
        UsageError: More than is granted.
    """
    report = options.report
    pairs = sum(_pair_bytes(a, b, options) for a, b in combinations(sources.values(), 2))
    reordering = sum(
        min(2 * PARTITION_BYTES + 2 * SCATTER_BYTES, 4 * _bytes(sources[name]))
        for name in sources
        if reordered(alignment.positions[name])
    )
    writing = sum(map(_writing_bytes, sources.values()))
    # What is reported is worked out while the embeddings are written.
    needed = (
        INTERPRETER_BYTES
        + ITEM_BYTES * alignment.items
        + (pairs + max(reordering, writing) if report else max(pairs + reordering, writing))
    )
    if needed > granted:
        mib = 1 << 20
        raise UsageError(
            "this takes more memory than is granted",
            where="--memory",
            granted=f"{granted / mib:,.0f} MiB",
            needed=f"about {needed / mib:,.0f} MiB",
            fix=f"--memory {-(-needed // (256 * mib)) * 256}MiB",
        )
    return Budget(granted, needed)


def kept_rows(sources: Mapping[str, Rows], kept: int) -> dict[str, Kept]:
    """The sources, each with its share of the memory for rows that are kept; none for less than half of them.

    Memory that is taken from the system costs about as much as decoding does: for a small part it is not worth it.
    """
    sizes = costly_bytes(sources)
    total = max(sum(sizes.values()), 1)
    kept = kept if kept >= total // 2 else 0
    return {name: Kept(source, kept * sizes[name] // total) for name, source in sources.items()}


def costly_bytes(sources: Mapping[str, Rows]) -> dict[str, int]:
    """What the rows of each take, decoded; nothing where reading them again costs nothing."""
    return {name: _bytes(source) if source.costly else 0 for name, source in sources.items()}


def _pair_bytes(a: Rows, b: Rows, options: FitOptions) -> int:
    """The moments of a pair, with their buffers, what chance makes of them, and its sample."""
    buckets = bucket_count(a.dim, b.dim)
    working = np.result_type(a.dtype, b.dtype, np.float32).itemsize
    moments = buckets * (a.dim * b.dim * 8 + BUFFER_ROWS * (a.dim + b.dim) * working)
    shapes = [(one.dim, one.dtype) for one in (a, b)]
    row_bytes = sum(dim * dtype.itemsize for dim, dtype in shapes)
    if options.tested:
        moments += DRAWS * a.dim * b.dim * 4
    if options.own:
        moments += sum(FOLDS * (8 * one.dim**2 + 2 * BUFFER_ROWS * one.dim * working) for one in (a, b))
    sampled = options.report or options.winsorise
    sample = min(sample_items(*shapes), a.rows, b.rows) * row_bytes if sampled else 0
    if not options.report:
        return moments + sample
    # The sample before and after; products of it by bucket and by fold; covariances and what is made of them.
    squares = a.dim**2 + b.dim**2
    return moments + 2 * sample + 8 * (BUCKETS * a.dim * b.dim + (FOLDS + 8) * squares)


def _writing_bytes(source: Rows) -> int:
    return min(CHUNKS_IN_FLIGHT * CHUNK_BYTES + PIECES_IN_FLIGHT * source.held_bytes, 4 * _bytes(source))


def _bytes(source: Rows) -> int:
    return source.rows * source.dim * source.dtype.itemsize
