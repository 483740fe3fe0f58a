"""HDF5 is written as its input with other embedding values: nothing else changes, and nothing is written twice."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from clear_cli.embeddings import hdf5_layouts, hdf5_write
from clear_cli.embeddings.base import Chunk
from clear_cli.errors import DataError
from tests.formats.hdf5_files import DIM, IDS, LAYOUTS, ROWS, X, ids, make, opened, rewritten, values, written_together


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "items.h5"


class TestWriting:
    """The output is the input with other embedding values."""

    @pytest.mark.parametrize("libver", ["earliest", "latest"])
    @pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
    def test_everything_but_the_values_is_kept(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Any, libver: str
    ) -> None:
        monkeypatch.setattr(hdf5_layouts, "CHUNK_BYTES", 20 * DIM * 4)
        with h5py.File(path, "w", libver=libver, track_order=True) as file:
            file.attrs["encoder"] = "clip"
            group = file.create_group("image")
            group.attrs["size"] = np.arange(3)
            group.create_dataset("z", data=np.arange(5), compression="gzip")
            dataset = group.create_dataset("emb", data=X, fillvalue=-1, track_times=True, **layout)
            dataset.attrs["norm"] = "none"
            dataset.attrs["ids"] = group.create_dataset("id", data=IDS).ref
            group["titles"] = ["β", "α"]
            dataset.dims[0].label = "item"
            file["soft"], file["hard"] = h5py.SoftLink("/image/emb"), dataset
            file["away"] = h5py.ExternalLink("nowhere.h5", "/x")
        before = anatomy(path)
        out = rewritten(opened(path, embedding_column="image/emb"), tmp_path / "out.h5")
        assert anatomy(out) == before
        with h5py.File(out) as file:
            np.testing.assert_array_equal(file["image/emb"], X * 2)
        assert anatomy(path) == before

    def test_compact_datasets(self, path: Path, tmp_path: Path) -> None:
        compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        compact.set_layout(h5py.h5d.COMPACT)
        with h5py.File(path, "w") as file:
            file["item_id"] = IDS
            created = h5py.h5d.create(
                file.id, b"embeddings", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(X.shape), compact
            )
            h5py.Dataset(created)[...] = X
        with h5py.File(rewritten(opened(path), tmp_path / "out.h5")) as file:
            assert file["embeddings"].id.get_create_plist().get_layout() == h5py.h5d.COMPACT
            np.testing.assert_array_equal(file["embeddings"], X * 2)

    @pytest.mark.parametrize("kind", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
    @pytest.mark.parametrize("layout", ["contiguous", "chunked", "chunks of a few columns"])
    def test_type_and_byte_order_on_disk_stay(self, path: Path, tmp_path: Path, kind: str, layout: str) -> None:
        source = opened(make(path, X.astype(kind), **LAYOUTS[layout]))
        with h5py.File(rewritten(source, tmp_path / "out.h5")) as file:
            assert file["embeddings"].dtype == np.dtype(kind)
            np.testing.assert_array_equal(file["embeddings"], X.astype(kind) * 2)

    @pytest.mark.parametrize("kind", ["<f2", ">f4", "<f8"])
    def test_values_that_are_written_back_are_the_same_to_the_bit(self, path: Path, tmp_path: Path, kind: str) -> None:
        x = X.astype(kind)
        x[0, :5] = [np.nan, -np.nan, np.inf, -0.0, np.finfo(kind).smallest_subnormal]
        source = opened(make(path, x))
        with source.sink(tmp_path / "out.h5") as sink:
            for chunk in source.chunks():
                sink.write(source.modality, chunk, chunk.embeddings)
        assert (tmp_path / "out.h5").read_bytes() == path.read_bytes()

    @pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
    def test_two_runs_give_the_same_bytes(self, path: Path, tmp_path: Path, layout: Any) -> None:
        source = opened(make(path, track_times=True, **layout))
        assert rewritten(source, tmp_path / "1.h5").read_bytes() == rewritten(source, tmp_path / "2.h5").read_bytes()

    def test_no_time_is_recorded(self, path: Path, tmp_path: Path) -> None:
        source = opened(make(path, track_times=True, **LAYOUTS["gzip, shuffle, fletcher32"]))
        first = rewritten(source, tmp_path / "1.h5").read_bytes()
        time.sleep(1.05)  # HDF5 counts in seconds
        assert rewritten(source, tmp_path / "2.h5").read_bytes() == first

    def test_a_user_block_stays(self, path: Path, tmp_path: Path) -> None:
        with h5py.File(path, "w", userblock_size=512) as file:
            file["embeddings"], file["item_id"] = X, IDS
        path.write_bytes(b"#!/bin/sh\n" + path.read_bytes()[10:])
        out = rewritten(opened(path), tmp_path / "out.h5")
        assert out.read_bytes()[:512] == path.read_bytes()[:512] != bytes(512)
        np.testing.assert_array_equal(next(opened(out).chunks()).embeddings, X * 2)

    def test_the_output_of_a_read_only_file_is_writable(self, path: Path, tmp_path: Path) -> None:
        make(path).chmod(0o400)
        assert rewritten(opened(path), tmp_path / "out.h5").stat().st_mode & 0o200

    def test_a_filter_that_rounds_is_kept_and_noted(self, path: Path, tmp_path: Path) -> None:
        source = opened(make(path, chunks=(7, DIM), scaleoffset=2))
        assert source.notes == ['the filter "scaleoffset" may round what is written']
        with h5py.File(rewritten(source, tmp_path / "out.h5")) as file:
            assert file["embeddings"].scaleoffset == 2
            np.testing.assert_allclose(file["embeddings"], X * 2, atol=0.03)

    def test_two_modalities_of_one_file_do_not_touch_each_other(self, path: Path, tmp_path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["image/emb"], file["text/emb"], file["item_id"] = X, X + 1, IDS
        with h5py.File(rewritten(opened(path, embedding_column="text/emb"), tmp_path / "text.h5")) as file:
            np.testing.assert_array_equal(file["image/emb"], X)
            np.testing.assert_array_equal(file["text/emb"], (X + 1) * 2)

    def test_rows_that_were_never_stored_can_be_written(self, path: Path, tmp_path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["item_id"] = IDS
            file.create_dataset("embeddings", (ROWS, DIM), "f4", chunks=(7, DIM), compression="gzip")
        source = opened(path)
        with source.sink(tmp_path / "out.h5") as sink:
            for chunk in source.chunks():
                assert not chunk.embeddings.any()
                sink.write(source.modality, chunk, X)
        np.testing.assert_array_equal(next(opened(tmp_path / "out.h5").chunks()).embeddings, X)

    def test_rows_left_out_are_an_error_for_they_keep_their_old_values(self, path: Path, tmp_path: Path) -> None:
        source = opened(make(path))
        with (
            pytest.raises(ValueError, match=r"^20 of 50 rows of image were written"),
            source.sink(tmp_path / "out.h5") as sink,
        ):
            sink.write(source.modality, Chunk(0, X[:20], None, None, ""), X[:20])

    def test_an_error_on_the_way_is_not_masked_and_the_file_is_closed(self, path: Path, tmp_path: Path) -> None:
        source = opened(make(path))
        with pytest.raises(KeyError, match="mine"), source.sink(tmp_path / "out.h5"):
            raise KeyError("mine")
        h5py.File(tmp_path / "out.h5", "w").close()

    def test_a_target_that_cannot_be_written_is_an_oserror(self, path: Path, tmp_path: Path) -> None:
        source = opened(make(path))
        with pytest.raises(FileNotFoundError), source.sink(tmp_path / "nowhere" / "out.h5"):
            pass

    @pytest.mark.parametrize(
        ("layout", "room"), [({"compression": "gzip"}, 20_000), ({}, 20_000), (None, -20_000)], ids=str
    )
    def test_a_full_disk_is_an_oserror_and_no_crash(self, path: Path, tmp_path: Path, layout: Any, room: int) -> None:
        """The cache of HDF5 hides it until the file is closed, and the process then ends in a segmentation fault."""
        rows = 4000
        with h5py.File(path, "w") as file:  # what was never stored makes the file grow
            file["item_id"] = np.arange(rows)
            chunks = {} if layout is None else {"chunks": (100, DIM), **layout}
            dataset = file.create_dataset("embeddings", (rows, DIM), "f4", **chunks)
            if layout != {}:
                dataset[:] = 0
        limit = path.stat().st_size + room
        done = subprocess.run(
            [sys.executable, "-c", FULL_DISK, str(path), str(tmp_path / "out.h5")],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, f"[Errno 27] File too large: '{tmp_path / 'out.h5'}'\n")


FULL_DISK = """
import sys
from pathlib import Path
import numpy as np
from clear_cli.embeddings.hdf5 import Hdf5Source

source = Hdf5Source(Path(sys.argv[1]), modality="image")
try:
    with source.sink(Path(sys.argv[2])) as sink:
        for chunk in source.chunks():
            sink.write("image", chunk, np.random.default_rng(0).standard_normal(chunk.embeddings.shape).astype("f4"))
except OSError as error:
    print(error)
"""


class TestSeveralModalities:
    """They are replaced in one copy of their file."""

    def test_both_are_replaced_at_their_own_pace(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hdf5_layouts, "CHUNK_BYTES", 20 * DIM * 4)
        wide = np.concatenate([X, X, X], axis=1).astype(np.float64)
        with h5py.File(path, "w") as file:
            file["image/emb"], file["item_id"], file["other"] = X, IDS, X
            file.create_dataset("text/emb", data=wide, chunks=(3, 5), compression="gzip")
        image = opened(path, embedding_column="/image/emb")
        text = opened(path, modality="text", embedding_column="/text/emb")
        with h5py.File(written_together([image, text], tmp_path / "out.h5")) as file:
            np.testing.assert_array_equal(file["image/emb"], X * 2)
            np.testing.assert_array_equal(file["text/emb"], wide * 2)
            np.testing.assert_array_equal(file["other"], X)

    def test_ids_are_shared_or_beside_the_embeddings_or_named_like_them(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["image_emb"], file["image_ids"] = X, IDS
            file["text_emb"], file["text_ids"] = X, IDS[::-1]
            file["audio/emb"], file["audio/key"] = X, np.arange(ROWS)
        for name, expected in (("image_emb", "image_ids"), ("text_emb", "text_ids"), ("audio/emb", "audio/key")):
            assert opened(path, embedding_column=name).describe()["id_dataset"] == expected
        assert ids(opened(path, embedding_column="text_emb")) == IDS[::-1]

    def test_only_what_no_modality_replaces_is_carried_over_as_it_is(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["image"], file["text"], file["audio"], file["item_id"] = X, X, X, IDS
            file["latest"] = h5py.SoftLink("/text")
        image = opened(path, embedding_column="image")
        assert image.notes == ["other matrices in the file are carried over as they are: audio, text"]
        image.beside([opened(path, modality="text", embedding_column="latest")])
        assert image.notes == ["other matrices in the file are carried over as they are: audio"]

    def test_a_modality_that_is_not_written_to_its_end_is_named(self, path: Path, tmp_path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["image"], file["text"], file["item_id"] = X, X, IDS
        image = opened(path, embedding_column="image")
        text = opened(path, modality="text", embedding_column="text")
        with (
            pytest.raises(ValueError, match=r"^0 of 50 rows of text were written"),
            image.sink(tmp_path / "out.h5", [text]) as sink,
        ):
            sink.write("image", Chunk(0, X, None, None, ""), X)

    def test_one_dataset_is_one_modality(self, path: Path, tmp_path: Path) -> None:
        with h5py.File(make(path), "r+") as file:
            file["alias"] = h5py.SoftLink("/embeddings")
        text = opened(path, modality="text", embedding_column="alias")
        with pytest.raises(DataError) as error:
            opened(path).sink(tmp_path / "out.h5", [text])
        assert str(error.value) == f'modalities "image" and "text" are the same: embeddings\n  in: {path}'


BIG = np.random.default_rng(1).standard_normal((4000, 64)).astype(np.float32)

COPIED: dict[str, tuple[dict[str, Any], float]] = {
    "contiguous": ({}, 0),
    "chunked": ({"chunks": (400, 64)}, 0),
    "chunks of a few columns": ({"chunks": (400, 16)}, 0),
    "gzip": ({"chunks": (400, 64), "compression": "gzip"}, 0),
    "lzf, extendible": ({"chunks": (400, 64), "compression": "lzf", "maxshape": (None, 64)}, 0),
    "the last rows are part of a chunk": ({"chunks": (1500, 64), "compression": "gzip"}, 1000 / 4000),
    "the last columns are part of a chunk": ({"chunks": (400, 48), "compression": "gzip"}, 16 / 64),
}


class TestNothingIsWrittenTwice:
    """The copy leaves out what is about to be replaced, and nobody reads what would have been there."""

    @pytest.fixture(autouse=True)
    def poisoned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.copied: list[int] = []

        def copy_and_poison(source: Path, target: Path, holes: hdf5_layouts.Ranges) -> int:
            self.copied.append(copy(source, target, holes))
            with target.open("r+b") as file:
                for start, length in holes.tolist():
                    file.seek(start)
                    file.write(b"\xa5" * length)
            return self.copied[-1]

        copy = hdf5_write.copy_around
        monkeypatch.setattr(hdf5_write, "copy_around", copy_and_poison)

    @pytest.mark.parametrize("libver", ["earliest", "latest"])
    @pytest.mark.parametrize("layout", COPIED)
    def test_what_is_copied(self, path: Path, tmp_path: Path, layout: str, libver: str) -> None:
        options, left = COPIED[layout]
        with h5py.File(path, "w", libver=libver) as file:
            file["item_id"] = np.arange(len(BIG))
            stored = file.create_dataset("embeddings", data=BIG, **options).id.get_storage_size()
        source = opened(path)
        out = rewritten(source, tmp_path / "out.h5", 0.7)
        np.testing.assert_array_equal(values(opened(out)), (BIG * 0.7).astype(np.float32))
        around = path.stat().st_size - stored
        assert self.copied[0] == pytest.approx(around + left * stored, abs=0.05 * stored)
        # Filtered chunks that grow move to the end of the file, and later ones take their places.
        most = path.stat().st_size + 2 * int(np.prod(options.get("chunks", 0))) * BIG.itemsize
        assert out.stat().st_size <= most

    def test_a_contiguous_file_is_written_once_to_the_byte(self, path: Path, tmp_path: Path) -> None:
        source = opened(make(path, BIG, np.arange(len(BIG))))
        rewritten(source, tmp_path / "out.h5")
        assert self.copied == [path.stat().st_size - BIG.nbytes]

    def test_pieces_of_chunks_are_copied_for_they_are_read_again(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hdf5_layouts, "CHUNK_BYTES", 1 << 16)
        monkeypatch.setattr(hdf5_layouts, "PIECE_BYTES", 1 << 18)
        for options in ({"compression": "gzip"}, {}):
            source = opened(make(path, BIG, np.arange(len(BIG)), chunks=(2000, 32), **options))
            out = rewritten(source, tmp_path / "out.h5")
            assert self.copied[-1] == path.stat().st_size
            np.testing.assert_array_equal(values(opened(out)), BIG * 2)

    @pytest.mark.parametrize(("options", "copied"), [({}, 0), ({"chunks": (400, 64)}, BIG.nbytes)], ids=str)
    def test_a_user_block(self, path: Path, tmp_path: Path, options: Any, copied: int) -> None:
        """Releases of HDF5 differ in whether the places of chunks count it: there, all is copied."""
        with h5py.File(path, "w", userblock_size=1024) as file:
            file["item_id"] = np.arange(len(BIG))
            file.create_dataset("embeddings", data=BIG, **options)
        out = rewritten(opened(path), tmp_path / "out.h5")
        np.testing.assert_array_equal(values(opened(out)), BIG * 2)
        assert self.copied == [path.stat().st_size - BIG.nbytes + copied]

    def test_small_places_are_copied_and_many_small_ones_side_by_side_are_not(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = opened(make(path, BIG, np.arange(len(BIG)), chunks=(40, 64)))  # 10 KB each
        rewritten(source, tmp_path / "out.h5")
        assert self.copied[0] < 0.1 * path.stat().st_size
        monkeypatch.setattr(hdf5_write, "HOLE_BYTES", BIG.nbytes)
        rewritten(source, tmp_path / "out.h5")
        assert self.copied[1] == path.stat().st_size

    def test_several_modalities(self, path: Path, tmp_path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["image"], file["item_id"], file["other"] = BIG, np.arange(len(BIG)), BIG
            file.create_dataset("text", data=-BIG, chunks=(400, 64), compression="gzip")
            stored = BIG.nbytes + file["text"].id.get_storage_size()
        names = ("image", "text")
        sources = [opened(path, modality=name, embedding_column=name) for name in names]
        out = written_together(sources, tmp_path / "out.h5")
        assert self.copied == [path.stat().st_size - stored]
        with h5py.File(out) as file:
            np.testing.assert_array_equal(file["image"], BIG * 2)
            np.testing.assert_array_equal(file["text"], BIG * -2)
            np.testing.assert_array_equal(file["other"], BIG)

    @pytest.mark.parametrize("fill", [0, -1])
    def test_rows_that_are_added_later_have_the_fill_value(self, path: Path, tmp_path: Path, fill: int) -> None:
        make(path, BIG, np.arange(len(BIG)), chunks=(1500, 24), maxshape=(None, None), fillvalue=fill)
        with h5py.File(rewritten(opened(path), tmp_path / "out.h5"), "r+") as file:
            file["embeddings"].resize((4100, 70))
            assert (file["embeddings"][4000:] == fill).all()
            assert (file["embeddings"][:, 64:] == fill).all()
            np.testing.assert_array_equal(file["embeddings"][:4000, :64], BIG * 2)


def anatomy(path: Path) -> dict[str, Any]:
    """All that a file has, but for the values of `image/emb`."""
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        found["superblock"] = (file.userblock_size, file.libver, file.id.get_create_plist().get_link_creation_order())
        found["/"] = (attributes(file), list(file))

        def link(name: str, kind: Any) -> None:
            found[f"link {name}"] = (type(kind).__name__, getattr(kind, "path", None))

        def visit(name: str, item: Any) -> None:
            found[name] = (attributes(item), list(item) if isinstance(item, h5py.Group) else dataset(item))

        def dataset(item: h5py.Dataset) -> Any:
            pipeline = item.id.get_create_plist()
            filters = [pipeline.get_filter(i) for i in range(pipeline.get_nfilters())]
            layout = (item.shape, item.maxshape, item.chunks, item.dtype.str, pipeline.get_layout(), filters)
            more = (repr(item.fillvalue), pipeline.get_obj_track_times(), [d.label for d in item.dims])
            return layout, more, None if item == file["image/emb"] else item[()].tolist()

        file.visititems_links(link)
        file.visititems(visit)
    return found


def attributes(item: Any) -> list[tuple[str, str]]:
    return [(name, repr(value)) for name, value in item.attrs.items()]
