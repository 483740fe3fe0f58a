"""NPZ: members of a zip archive, read as streams, and an archive that differs in the embeddings alone."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clear_cli.embeddings import npy, npz, open_source
from clear_cli.embeddings.base import Chunk
from clear_cli.embeddings.npz import NpzSource
from clear_cli.errors import DataError, UsageError

ROWS = 50
RNG = np.random.default_rng(0)
IMAGE = RNG.standard_normal((ROWS, 8)).astype(np.float32)
TEXT = RNG.standard_normal((ROWS, 5)).astype(np.float16)
IDS = np.array([f"item-{i}" for i in range(ROWS)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feats.npz"


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 20 rows of IMAGE and 64 of TEXT."""
    monkeypatch.setattr(npy, "CHUNK_BYTES", 20 * 8 * 4)


def saved(path: Path, save: Any = np.savez_compressed, **members: Any) -> Path:
    save(path, **members)
    return path


def message(path: Path, **options: Any) -> str:
    with pytest.raises((DataError, UsageError)) as error:
        list(open_source(path, modality="image", **options).chunks())
    return str(error.value)


def read(source: Any, start: int = 0) -> Any:
    return np.concatenate([chunk.embeddings for chunk in source.chunks(start)])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_members_are_read_in_chunks_with_their_ids(path: Path, save: Any) -> None:
    source = open_source(saved(path, save, image=IMAGE, item_ids=IDS, price=np.arange(3)), modality="image")
    assert [(chunk.start, len(chunk)) for chunk in source.chunks()] == [(0, 20), (20, 20), (40, 10)]
    np.testing.assert_array_equal(read(source), IMAGE)
    np.testing.assert_array_equal(read(source, 40), IMAGE[40:])
    assert [one for ids in source.ids() for one in ids.to_pylist()] == IDS.tolist()
    assert source.describe()["member"] == "image"


def test_big_endian_members_and_integer_ids(path: Path) -> None:
    source = open_source(saved(path, image=IMAGE.astype(">f4"), ids=np.arange(ROWS, dtype=">i8")), modality="image")
    np.testing.assert_array_equal(read(source), IMAGE)
    assert next(source.ids()).to_pylist() == list(range(ROWS))


def test_without_ids_row_i_is_item_i_and_a_first_row_of_zeros_is_padding(path: Path) -> None:
    padded = IMAGE.copy()
    padded[0] = 0
    source = open_source(saved(path, image=padded), modality="image")
    assert source.id_kind == "row"
    assert source.notes == ["row 0 is all zeros: taken as padding, it stays as it is"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", [("image", "text"), ("text", "image")])
def test_the_archive_differs_in_the_embeddings_alone(path: Path, save: Any, order: tuple[str, str]) -> None:
    members = {"a": np.arange(7), "text": TEXT, "ids": IDS, "image": IMAGE, "z": np.array(["x"])}
    saved(path, save, **members)
    target = path.with_name("out.npz")
    sources = {
        name: NpzSource(path, modality=name, embedding_column=name, id_column="ids") for name in ("image", "text")
    }
    new = {"image": IMAGE * 2, "text": TEXT + 1}
    with sources[order[0]].sink(target, [sources[order[1]]]) as sink:
        for name in order:
            for chunk in sources[name].chunks():
                sink.write(name, chunk, new[name][chunk.start : chunk.stop])
    out = np.load(target)
    assert out.files == list(members)
    for name, value in members.items():
        np.testing.assert_array_equal(out[name], new.get(name, value))
        assert out[name].dtype == value.dtype
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(target) as after:
        kept = [(one.filename, one.compress_type, one.date_time) for one in before.infolist()]
        assert [(one.filename, one.compress_type, one.date_time) for one in after.infolist()] == kept
        for name in ("a.npy", "ids.npy", "z.npy"):
            assert before.read(name) == after.read(name)


def test_rows_left_out_are_an_error(path: Path) -> None:
    source = NpzSource(saved(path, image=IMAGE), modality="image")
    with pytest.raises(ValueError, match="not written"), source.sink(path.with_name("out.npz")) as sink:
        sink.write("image", next(source.chunks()), IMAGE[:20])


def test_the_member_must_be_clear(path: Path) -> None:
    saved(path, image=IMAGE, text=TEXT)
    assert message(path) == (
        f"more than one possible embedding member\n  in: {path}\n  candidates: image, text\n"
        "  fix: --embedding-column image=image"
    )
    assert message(path, embedding_column="imag") == (
        f'member "imag" not found\n  in: {path}\n  members: image, text\n'
        "  fix: --embedding-column image=image, or ::image behind the path"
    )
    saved(path, flags=np.arange(3))
    assert message(path) == (
        f"no embedding member found\n  in: {path}\n  present: flags\n  fix: name it: --embedding-column image=NAME"
    )


def test_members_that_cannot_be_used(path: Path) -> None:
    saved(path, image=np.arange(6).reshape(2, 3))
    assert message(path, embedding_column="image").startswith("embeddings of shape (2, 3) and type int64")
    saved(path, image=np.asfortranarray(IMAGE))
    assert message(path) == (
        f'member "image" is in Fortran order, which cannot be read as a stream\n  in: {path}\n'
        "  fix: numpy.savez(..., image=numpy.ascontiguousarray(x))"
    )
    saved(path, image=IMAGE, ids=IDS[:3])
    assert message(path, id_column="ids") == (
        f'member "ids" of shape (3,) and type <U7 cannot hold the ids\n  in: {path}\n'
        f"  supported: one dimension of {ROWS} strings or integers"
    )
    assert message(path, id_column="ids", ids=path) == f"--ids and --id-column exclude each other\n  in: {path}"


def test_objects_are_never_unpickled(path: Path) -> None:
    saved(path, image=IMAGE, evil=np.array([{}], dtype=object))
    np.testing.assert_array_equal(read(open_source(path, modality="image")), IMAGE)
    assert message(path, embedding_column="evil").startswith("embeddings of shape (1,) and type object")


def test_a_member_that_claims_more_than_it_holds(path: Path) -> None:
    header = npy.header_of((10**12, 4096), np.dtype(np.float32))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", header + bytes(64))
    assert message(path) == (
        f'member "image" is not as long as its header says\n  in: {path}\n'
        f"  header: shape (1000000000000, 4096), type float32: {10**12 * 4096 * 4 + 128:,} bytes\n  member: 192 bytes"
    )


def test_two_members_of_one_name(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("image.npy", npy.header_of((0, 2), np.dtype(np.float32)))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("image.npy", npy.header_of((0, 2), np.dtype(np.float32)))
    assert message(path) == f'more than one member is called "image"\n  in: {path}'


AGAIN = "\n  fix: copy or write the file again: it is cut short, or damaged"


def test_damage_is_found(path: Path) -> None:
    saved(path, np.savez, image=IMAGE)
    whole = path.read_bytes()
    at = whole.index(IMAGE.tobytes()[:64]) + 100
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert message(path) == f"member \"image\" cannot be read: bad crc-32 for file 'image.npy'\n  in: {path}{AGAIN}"
    path.write_bytes(whole[: len(whole) // 2])
    assert message(path) == f"not a readable NPZ archive: file is not a zip file\n  in: {path}{AGAIN}"


def test_one_member_cannot_be_two_modalities(path: Path) -> None:
    first, second = (NpzSource(saved(path, image=IMAGE), modality=name) for name in ("image", "text"))
    with pytest.raises(DataError, match='modalities "image" and "text" are the same: member "image"'):
        first.sink(path.with_name("out.npz"), [second])
    assert path.read_bytes()[:4] == npz.MAGIC


def test_pickled_ids_are_not_passed_over(path: Path) -> None:
    saved(path, image=IMAGE, item_ids=IDS.astype(object))
    assert message(path) == (
        'the ids may be in member "item_ids", which is pickled, and pickles are never loaded\n'
        f"  in: {path}\n  fix: numpy.savez(..., item_ids=ids.astype(str)), or --ids image=FILE"
    )
    path.with_name("ids.txt").write_text("\n".join(IDS))
    assert open_source(path, modality="image", ids=path.with_name("ids.txt")).id_kind == "text"


@pytest.mark.parametrize("code", [0xD800, sys.maxunicode + 1, 0xF0FFFFFF])
def test_ids_that_are_not_unicode(path: Path, code: int) -> None:
    saved(path, image=IMAGE[:2], ids=np.array([code, 65], "u4").view("U1"))
    with pytest.raises(DataError) as error:
        list(open_source(path, modality="image").ids())
    assert str(error.value) == f'an item id is not valid Unicode\n  in: {path}, member "ids"'


METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2]


@pytest.mark.parametrize("method", METHODS)
def test_an_archive_that_promises_what_its_bytes_cannot_hold(path: Path, method: int) -> None:
    header = npy.header_of((1, 10**9), np.dtype(np.float32))
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("image.npy", header)
        info = archive.getinfo("image.npy")
        info.file_size = len(header) + 4 * 10**9  # goes into the directory at the end
    assert message(path) == (
        f'member "image" cannot be as long as the archive says\n  in: {path}\n'
        f"  archive: 4,000,000,128 bytes, from {info.compress_size:,}"
    )


@pytest.mark.parametrize("method", METHODS[1:])
def test_an_archive_of_zeros_is_long_and_read(path: Path, method: int) -> None:
    """No method is taken for a liar that does what it can."""
    with zipfile.ZipFile(path, "w", method) as archive, archive.open("image.npy", "w") as member:
        member.write(npy.header_of((2**23, 2), np.dtype(np.float32)))
        for _ in range(64):
            member.write(bytes(1 << 20))
    assert path.stat().st_size < 100_000
    assert sum(map(len, open_source(path, modality="image").chunks())) == 2**23


def test_an_encrypted_member(path: Path) -> None:
    saved(path, image=IMAGE)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert message(path) == f'member "image" is encrypted\n  in: {path}'


def test_damage_of_a_member_that_is_carried_over(path: Path) -> None:
    saved(path, np.savez, image=IMAGE, z=np.arange(50))
    source = NpzSource(path, modality="image", id_column="z")
    data = bytearray(path.read_bytes())
    data[data.index(np.arange(50).tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError) as error, source.sink(path.with_name("out.npz")) as sink:
        sink.write("image", Chunk(0, IMAGE, None, None, ""), IMAGE)
    assert str(error.value) == f"member \"z\" cannot be read: bad crc-32 for file 'z.npy'\n  in: {path}{AGAIN}"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_no_damage_of_the_archive_and_hides_no_error(path: Path) -> None:
    saved(path, np.savez, big=np.zeros((300, 300, 9)), image=IMAGE)
    source = NpzSource(path, modality="image")
    with pytest.raises(OSError, match="No space left"), source.sink(Path("/dev/full")):
        pass
    saved(path, np.savez, image=IMAGE)
    with pytest.raises(KeyError, match="mine"), NpzSource(path, modality="image").sink(Path("/dev/full")):
        raise KeyError("mine")
