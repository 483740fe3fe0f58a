"""Modalities side by side are a join by item id, in blocks of any size, from rows in any order."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from threading import Event
from time import sleep
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clear_cli.embeddings import arrays, stream
from clear_cli.embeddings.align import Alignment, align
from clear_cli.embeddings.arrays import ArrayRows
from clear_cli.embeddings.base import Chunk, Rows
from clear_cli.embeddings.kept import Kept
from clear_cli.embeddings.stream import Aligned
from clear_cli.errors import OutputError
from clear_cli.parallel import Prefetch
from tests.laws.planted import Floats

NAMES = ("image", "text", "audio", "video")
Catalogue = dict[str, tuple[list[Any], Floats]]


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    """Two to four modalities of one catalogue: each has some of the items, in an order of its own."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    items = draw(st.integers(1, 40))
    known = [f"item-{i}" for i in range(items)] if draw(st.booleans()) else list(range(-5, items - 5))
    catalogue: Catalogue = {}
    for name in NAMES[: draw(st.integers(2, 4))]:
        chosen = np.flatnonzero(rng.uniform(size=items) < draw(st.sampled_from([0.3, 0.9, 1.0])))
        if draw(st.booleans()):
            chosen = rng.permutation(chosen)
        dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
        rows = rng.normal(size=(len(chosen), draw(st.integers(1, 4)))).astype(dtype)
        catalogue[name] = ([known[i] for i in chosen], rows)
    return catalogue


def sources_of(catalogue: Catalogue) -> dict[str, ArrayRows]:
    integers = all(isinstance(one, int) for ids, _ in catalogue.values() for one in ids)
    return {
        name: ArrayRows(rows, modality=name, ids=np.array(ids, dtype=np.int64 if integers else np.str_))
        for name, (ids, rows) in catalogue.items()
    }


def items_of(catalogue: Catalogue) -> list[Any]:
    """The items in order: those of the first modality, then those that only later ones know, but for the last."""
    ids = [ids for ids, _ in catalogue.values()]
    return list(dict.fromkeys(one for part in ids[:-1] for one in part))


def streamed(sources: Mapping[str, Rows], alignment: Alignment) -> list[dict[str, Floats]]:
    with (
        tempfile.TemporaryDirectory() as scratch,
        Aligned(sources, alignment, scratch=Path(scratch)) as aligned,
    ):
        first = list(aligned.blocks())
        second = list(aligned.blocks())
        assert list(Path(scratch).iterdir()) == []
    for one, again in zip(first, second, strict=True):
        assert one.items == again.items
        assert all(one.rows[name].tobytes() == again.rows[name].tobytes() for name in sources)
    starts = [block.items.start for block in first]
    assert starts == [0, *(block.items.stop for block in first)][: len(first)]
    assert all(len(rows) == block.items.stop - block.items.start > 0 for block in first for rows in block.rows.values())
    return [block.rows for block in first]


bytes_at_a_time = st.sampled_from([1, 16, 40, 1 << 20])


@given(catalogues(), bytes_at_a_time, bytes_at_a_time, bytes_at_a_time, st.sampled_from([0, 30, 1000]))
def test_blocks_are_a_join_by_item_id(
    catalogue: Catalogue, partition: int, scatter: int, chunk: int, kept: int
) -> None:
    sources = {name: Kept(source, kept) for name, source in sources_of(catalogue).items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "PARTITION_BYTES", partition)
        patch.setattr(stream, "SCATTER_BYTES", scatter)
        patch.setattr(stream, "CHUNK_BYTES", chunk)
        patch.setattr(arrays, "CHUNK_BYTES", chunk)
        alignment = align(sources)
        blocks = streamed(sources, alignment)
    items = items_of(catalogue)
    assert alignment.items == len(items)
    for name, (ids, rows) in catalogue.items():
        where = dict(zip(ids, rows, strict=True))
        missing = np.zeros(rows.shape[1], rows.dtype)
        side = np.concatenate([np.empty((0, rows.shape[1]), rows.dtype), *(block[name] for block in blocks)])
        assert side.dtype == rows.dtype
        np.testing.assert_array_equal(
            side, np.array([where.get(one, missing) for one in items]).reshape(-1, rows.shape[1])
        )


@given(catalogues())
def test_every_row_knows_its_item_and_every_pair_its_overlap(catalogue: Catalogue) -> None:
    alignment = align(sources_of(catalogue))
    number = {one: i for i, one in enumerate(items_of(catalogue))}
    for name, (ids, _) in catalogue.items():
        numbers = alignment.item_numbers(name, 0, len(ids))
        assert numbers.tolist() == [number.get(one, -1) for one in ids]
        half = len(ids) // 2
        assert alignment.item_numbers(name, half, len(ids) - half).tolist() == numbers[half:].tolist()
    for a in catalogue:
        for b in catalogue:
            if a != b:
                assert alignment.shared_items(a, b) == len(set(catalogue[a][0]) & set(catalogue[b][0]))


@given(st.integers(0, 40), st.integers(2, 4))
def test_without_ids_row_i_is_item_i(items: int, modalities: int) -> None:
    rng = np.random.default_rng(items)
    sides = {name: rng.normal(size=(items, 3)) for name in NAMES[:modalities]}
    sources = {name: ArrayRows(x, modality=name) for name, x in sides.items()}
    blocks = streamed(sources, align(sources))
    for name, x in sides.items():
        np.testing.assert_array_equal(np.concatenate([np.empty((0, 3)), *(block[name] for block in blocks)]), x)


@given(catalogues(), st.data())
def test_a_list_of_items_to_fit_on_names_items_by_id(catalogue: Catalogue, data: st.DataObject) -> None:
    items = items_of(catalogue)
    if not items:
        return
    listed = data.draw(st.lists(st.sampled_from(items), min_size=1))
    unknown = ["999001", "999002"][: data.draw(st.integers(0, 2))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.txt"
        path.write_text("\n".join([*map(str, listed), *unknown, ""]))
        alignment = align(sources_of(catalogue), path)
    assert alignment.fit is not None
    assert alignment.fit.tolist() == [one in set(listed) for one in items]
    assert alignment.unknown_fit_items == len(unknown)


def test_who_leaves_does_not_wait_for_rows_that_are_put_in_order(tmp_path: Path) -> None:
    """An interrupt during the scattering of a large file ends it at once."""
    begun, read = Event(), []

    class Slow(ArrayRows):
        def chunks(self, start: int = 0) -> Iterator[Chunk]:
            for chunk in super().chunks(start):
                read.append(chunk.start)
                begun.set()
                sleep(0.05)
                yield chunk

    ids = [f"item-{i}" for i in range(400)]
    x = np.ones((400, 2))
    sources = {"image": ArrayRows(x, modality="image", ids=ids), "text": Slow(x, modality="text", ids=ids[::-1])}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "CHUNK_BYTES", 2 * 16)
        patch.setattr(stream, "SCATTER_BYTES", 2 * 24)
        aligned = Aligned(sources, align(sources), scratch=tmp_path)
        with aligned, closing(aligned.blocks()) as blocks, Prefetch(blocks), aligned.watched():
            assert begun.wait(10)
        assert len(read) < 20
        read.clear()
        with aligned, closing(aligned.blocks()) as late:
            with aligned.watched():
                pass  # and leaves before the first step is taken
            with pytest.raises(OutputError):
                next(late)
    assert len(read) < 20
