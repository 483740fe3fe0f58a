"""What a run may take, how it is divided, and what is kept of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clear_cli import machine
from clear_cli.buffers import BUFFER_ROWS
from clear_cli.config import FitOptions
from clear_cli.embeddings import arrays, kept
from clear_cli.embeddings.align import align
from clear_cli.embeddings.arrays import ArrayRows
from clear_cli.embeddings.kept import Kept
from clear_cli.errors import UsageError
from clear_cli.machine import granted_memory, read_size
from clear_cli.values import PerModality, read_rank
from clear_cli.workflow.memory import Budget, budget, kept_rows, piece_bytes

GIB, MIB = 1 << 30, 1 << 20
WEIGH = Kept._weigh


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1GiB", GIB),
        ("2g", 2 * GIB),
        ("500M", 500 * MIB),
        ("1.5 GiB", 3 * GIB // 2),
        ("2GB", 2 * 10**9),
        ("4096", 4096),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GiB", "1 XB", "1e9"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        read_size(text)


def test_the_smallest_limit_of_the_cgroups_is_granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "job"
    own.mkdir()
    (own / "memory.max").write_text("max\n")
    (own / "memory.high").write_text(f"{300 * MIB}\n")
    (tmp_path / "memory.max").write_text(f"{200 * MIB}\n")
    monkeypatch.setattr(machine, "_cgroups", lambda: [own, tmp_path])
    assert granted_memory() == 200 * MIB
    (own / "cpu.max").write_text("150000 100000\n")
    assert machine.granted_threads() <= 2


BARE = FitOptions(rank=PerModality(read_rank(2)), report=False)


def sources(rows: int = 1000, dims: tuple[int, int] = (64, 32)) -> dict[str, ArrayRows]:
    rng = np.random.default_rng(0)
    return {name: ArrayRows(rng.normal(size=(rows, dim)), modality=name) for name, dim in zip("ab", dims, strict=True)}


def test_more_than_is_granted_is_a_usage_error_with_both_numbers() -> None:
    two = sources(dims=(512, 512))
    with pytest.raises(UsageError) as error:
        budget(two, align(two), 64 * MIB, BARE)
    # 32 buckets of 512 x 512 products and of BUFFER_ROWS rows on each side, all in eight bytes.
    moments = 32 * (512 * 512 + BUFFER_ROWS * 1024) * 8 / MIB
    needed = 200 + moments + 32 * 1000 / MIB
    assert str(error.value) == (
        "this takes more memory than is granted\n  in: --memory\n  granted: 64 MiB\n"
        f"  needed: about {needed:,.0f} MiB\n  fix: --memory 512MiB"
    )


def test_what_is_left_is_for_rows_whose_reading_is_costly() -> None:
    two = sources()
    share = budget(two, align(two), 4 * GIB, BARE)
    assert share.needed + share.kept == int(0.75 * 4 * GIB)
    assert [one._room for one in kept_rows(two, share.kept).values()] == [0, 0]
    for one in two.values():
        one.costly = True
    rooms = [one._room for one in kept_rows(two, 3 * MIB).values()]
    assert rooms == [2 * MIB, MIB]
    assert [one._room for one in kept_rows(two, 1000).values()] == [0, 0], "less than half of the rows"
    assert Budget(100, 90).kept == 0


@pytest.mark.parametrize(
    ("share", "rows", "ample"),
    [
        (Budget(100, 50), 0, True),
        (Budget(100, 51), 0, False),
        (Budget(100, 25), 50, True),
        (Budget(100, 25), 51, False),
    ],
)
def test_memory_is_ample_where_more_would_do_no_good(share: Budget, rows: int, ample: bool) -> None:
    assert share.ample(rows) == ample


def test_a_row_group_may_take_a_fixed_part_of_the_memory() -> None:
    assert piece_bytes(GIB, 2) == 64 * MIB
    assert piece_bytes(GIB, 4) == 32 * MIB


class TestKept:
    @pytest.fixture
    def rows(self, monkeypatch: pytest.MonkeyPatch) -> ArrayRows:
        """Ten rows in chunks of three, 16 bytes each."""
        monkeypatch.setattr(arrays, "CHUNK_BYTES", 48)
        monkeypatch.setattr(kept, "SLAB_BYTES", 100)
        monkeypatch.setattr(Kept, "_weigh", lambda *_: None)
        return ArrayRows(np.arange(20.0).reshape(10, 2), modality="a")

    @pytest.mark.parametrize("room", [0, 47, 48, 100, 1000])
    def test_every_reading_is_the_same(self, rows: ArrayRows, room: int) -> None:
        cache = Kept(rows, room)
        for last in (False, False, True):
            if last:
                cache.last()
            chunks = list(cache.chunks())
            assert [chunk.start for chunk in chunks] == [0, 3, 6, 9]
            np.testing.assert_array_equal(np.concatenate([chunk.embeddings for chunk in chunks]), rows._x)

    def test_what_is_kept_is_not_read_again(self, rows: ArrayRows, monkeypatch: pytest.MonkeyPatch) -> None:
        cache, asked = Kept(rows, 2 * 48), []
        plain = rows.chunks
        monkeypatch.setattr(rows, "chunks", lambda start=0: asked.append(start) or plain(start))
        list(cache.chunks())
        list(cache.chunks())
        assert asked == [0, 6]
        assert [chunk.start for chunk in cache.chunks(3)] == [3, 6, 9]

    def test_nothing_more_is_kept_where_that_takes_longer_than_decoding(self, rows: ArrayRows) -> None:
        cache = Kept(rows, 1000)
        reading = cache.chunks()
        for _ in range(3):
            next(reading)
        WEIGH(cache, 1.0, 0.4)
        assert cache._room > 0
        WEIGH(cache, 0.0, 0.2)
        assert cache._room == 0

    def test_the_last_reading_lets_go(self, rows: ArrayRows) -> None:
        cache = Kept(rows, 1000)
        list(cache.chunks())
        assert len(cache._chunks) == 4
        cache.last()
        reading = cache.chunks()
        next(reading)
        next(reading)
        assert len(cache._chunks) == 2
