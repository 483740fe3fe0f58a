"""HDF5 with a dataset for each item, whose name is the id: `items/<id>`, or `<id>/image` beside `<id>/text`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from clear_cli.embeddings import hdf5_items, hdf5_layouts
from clear_cli.embeddings.hdf5_contents import GROUP_NAMES
from clear_cli.errors import UsageError
from tests.formats.hdf5_files import DIM, X, ids, make, message, opened, rewritten, values, written_together

NAMES = ["10", "2", "9", "a b", "日本"]
"""In the order of their bytes, which is the order of HDF5."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "items.h5"


def vectors(path: Path, names: Any = NAMES, pattern: str = "items/*", **layout: Any) -> Path:
    """A file with a row of X for each name."""
    with h5py.File(path, "w") as file:
        for name, x in zip(names, X, strict=False):
            file.create_dataset(pattern.replace("*", name), data=x, **layout)
    return path


class TestReading:
    @pytest.mark.parametrize("given", [None, "items", "/items/", "items/*", "/items/*"])
    def test_a_group_of_vectors_in_the_order_of_their_names(self, path: Path, given: str | None) -> None:
        source = opened(vectors(path, reversed(NAMES)), embedding_column=given)
        assert ids(source) == NAMES
        np.testing.assert_array_equal(values(source), X[:5][::-1])
        assert (source.rows, source.dim, source.dtype, source.id_kind) == (5, DIM, np.float32, "string")
        assert next(source.chunks()).where == f'{path}, datasets "items/*", rows 0 to 4'
        assert source.notes == []
        layout = source.describe()
        assert (layout["embedding_dataset"], layout["id_dataset"]) == ("items/*", None)

    def test_a_group_that_knows_the_order_of_creation_is_read_in_it(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            group = file.create_group("items", track_order=True)
            for i in range(40):
                group[str(99 - i)] = X[i]
        source = opened(path)
        assert ids(source) == [str(99 - i) for i in range(40)]
        np.testing.assert_array_equal(values(source), X[:40])

    @pytest.mark.parametrize("pattern", ["*", "*/image", "data/*/image", "*/image/emb"])
    @pytest.mark.parametrize("named", [False, True])
    def test_items_anywhere(self, path: Path, pattern: str, named: bool) -> None:
        source = opened(vectors(path, pattern=pattern), embedding_column=pattern if named else None)
        assert ids(source) == NAMES
        np.testing.assert_array_equal(values(source), X[:5])

    def test_an_item_without_the_modality_is_absent(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            for name, x in zip(NAMES, X, strict=False):
                file[f"{name}/image"] = x
                file[f"{name}/title"] = "a title"
                if name != "9":
                    file[f"{name}/text"] = x[:5]
        image, text = (opened(path, embedding_column=f"*/{name}") for name in ("image", "text"))
        assert ids(image) == NAMES
        assert ids(text) == ["10", "2", "a b", "日本"]
        np.testing.assert_array_equal(values(text), X[[0, 1, 3, 4], :5])
        assert image.notes == ["other matrices in the file are carried over as they are: */text"]
        assert "  candidates: */image, */text\n  fix: --embedding-column image=*/image" in message(path)

    def test_more_items_than_are_looked_at_and_than_are_listed_at_once(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hdf5_items, "BLOCK_ROWS", 500)
        monkeypatch.setattr(hdf5_layouts, "CHUNK_BYTES", 600 * 12)
        n = GROUP_NAMES + 300
        x = np.arange(3 * n, dtype=np.float32).reshape(n, 3)
        with h5py.File(path, "w") as file:
            for i in range(n):
                file[f"{i:05}"] = x[i]
        source = opened(path)
        assert ids(source) == [f"{i:05}" for i in range(n)]
        assert [chunk.start for chunk in source.chunks()] == [0, 600, 1200]
        np.testing.assert_array_equal(values(source), x)
        np.testing.assert_array_equal(next(source.chunks(600)).embeddings, x[600:1200])

    @pytest.mark.parametrize("kind", ["<f2", ">f4", "<f8"])
    def test_rows_of_one_and_every_type(self, path: Path, tmp_path: Path, kind: str) -> None:
        with h5py.File(path, "w") as file:
            for name, x in zip(NAMES, X, strict=False):
                file[name] = x[None].astype(kind)
        source = opened(path)
        assert source.dtype == np.dtype(kind).newbyteorder("=")
        np.testing.assert_array_equal(values(source), X[:5].astype(kind))
        with h5py.File(rewritten(source, tmp_path / "out.h5")) as file:
            assert (file["9"].shape, file["9"].dtype) == ((1, DIM), np.dtype(kind))
            np.testing.assert_array_equal(file["9"][0], X[2].astype(kind) * 2)

    def test_vectors_beside_a_matrix_are_not_meant(self, path: Path) -> None:
        with h5py.File(make(path), "r+") as file:
            file["mean"], file["std"] = X[:1], X[:1]
        source = opened(path)
        assert source.describe()["embedding_dataset"] == "embeddings"
        assert source.notes == ["other matrices in the file are carried over as they are: *"]


class TestWriting:
    @pytest.mark.parametrize(
        "layout", [{}, {"compression": "gzip"}, {"chunks": (3,), "maxshape": (None,)}, {"compact": True}], ids=str
    )
    def test_each_dataset_is_replaced_in_its_place(self, path: Path, tmp_path: Path, layout: dict[str, Any]) -> None:
        with h5py.File(path, "w", track_order=True) as file:
            for name, x in zip(NAMES, X, strict=False):
                compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                compact.set_layout(h5py.h5d.COMPACT)
                if "compact" in layout:
                    space = h5py.h5s.create_simple((DIM,))
                    file.require_group(name)
                    dataset = h5py.Dataset(
                        h5py.h5d.create(file[name].id, b"image", h5py.h5t.IEEE_F32LE, space, compact)
                    )
                    dataset[...] = x
                else:
                    dataset = file.create_dataset(f"{name}/image", data=x, **layout)
                dataset.attrs["url"] = f"https://example.org/{name}"
                file[f"{name}/title"] = name
        before = {}
        with h5py.File(path) as file:
            file.visititems(lambda name, item: before.update({name: dict(item.attrs)}))
        with h5py.File(rewritten(opened(path), tmp_path / "out.h5")) as file:
            after = {}
            file.visititems(lambda name, item: after.update({name: dict(item.attrs)}))
            assert list(after.items()) == list(before.items())
            for name, x in zip(NAMES, X, strict=False):
                np.testing.assert_array_equal(file[f"{name}/image"], x * 2)
                assert file[f"{name}/image"].chunks == layout.get("chunks", (DIM,) if "compression" in layout else None)
                assert file[f"{name}/title"].asstr()[()] == name

    def test_several_modalities_of_each_item(self, path: Path, tmp_path: Path) -> None:
        with h5py.File(path, "w") as file:
            for i, name in enumerate(NAMES):
                file[f"items/{name}/image"], file["items"][f"{name}/text"] = X[i], X[i, :3]
            file["all/item_id"], file["all/audio"] = np.arange(50), X
        columns = {"image": "items/*/image", "text": "items/*/text", "audio": "all/audio"}
        sources = [opened(path, modality=name, embedding_column=column) for name, column in columns.items()]
        with h5py.File(written_together(sources, tmp_path / "out.h5")) as file:
            for i, name in enumerate(NAMES):
                np.testing.assert_array_equal(file[f"items/{name}/image"], X[i] * 2)
                np.testing.assert_array_equal(file[f"items/{name}/text"], X[i, :3] * 2)
            np.testing.assert_array_equal(file["all/audio"], X * 2)

    def test_values_that_are_written_back_are_the_same_to_the_bit(self, path: Path, tmp_path: Path) -> None:
        source = opened(vectors(path, pattern="*/image"))
        assert rewritten(source, tmp_path / "out.h5", 1.0).read_bytes() == path.read_bytes()


class TestRefusals:
    def test_vectors_of_other_lengths_or_types(self, path: Path) -> None:
        others = [X[0, :5], X[0].astype("f8"), X[:1]]
        forms = ["(5,) and type float32", "(8,) and type float64", "(1, 8) and type float32"]
        for other, form in zip(others, forms, strict=True):
            with h5py.File(vectors(path), "r+") as file:
                file["items/5"] = other
            assert message(path, embedding_column="items") == (
                f'the datasets of the items differ: "items/5" has shape {form}, '
                f'"items/10" has shape (8,) and type float32\n  in: {path}'
            )

    @pytest.mark.parametrize(
        ("value", "form"),
        [
            (X, "shape (50, 8), type float32"),
            (np.arange(8), "shape (8,), type int64"),
            (np.float32(1), "shape (), type float32"),
            (np.empty(0, "f4"), "shape (0,), type float32"),
            (h5py.Empty("f4"), "shape None, type float32"),
        ],
    )
    def test_what_is_no_vector_of_floats(self, path: Path, value: Any, form: str) -> None:
        with h5py.File(path, "w") as file:
            file["items/1"] = value
        assert message(path, embedding_column="items/*") == (
            f'dataset "items/1" cannot hold the embedding of an item: {form}\n  in: {path}\n'
            "  supported: shape (d,) or (1, d) of float16, float32 or float64"
        )

    def test_text_and_groups_among_the_items_are_counted(self, path: Path) -> None:
        with h5py.File(vectors(path), "r+") as file:
            file["items/encoder"] = "clip"
            file.create_group("items/more")
        source = opened(path)
        assert ids(source) == NAMES
        assert source.notes == ['2 members of "items" are no embeddings of an item']

    def test_a_pattern_that_nothing_matches_is_answered_with_one_that_fits(self, path: Path) -> None:
        vectors(path, pattern="*/image")
        assert message(path, embedding_column="*/imagee") == (
            f'no dataset matches "*/imagee"\n  in: {path}\n'
            "  datasets: 10/image, 2/image, 9/image, a b/image, 日本/image\n  fix: --embedding-column image='*/image'"
        )
        assert message(path, embedding_column="nowhere/*").startswith('dataset "nowhere/*" not found')
        assert message(path, embedding_column="*/*").startswith('dataset "*/*" not found')

    def test_ids_beside_names_that_are_ids(self, path: Path) -> None:
        with pytest.raises(UsageError) as error:
            opened(vectors(path), id_column="item_id")
        assert str(error.value) == (
            f'--id-column does not apply to "items/*": the names of the datasets are the ids\n  in: {path}'
        )

    def test_items_in_other_files(self, path: Path, tmp_path: Path) -> None:
        vectors(tmp_path / "other.h5", pattern="*")
        with h5py.File(vectors(path), "r+") as file:
            file["items/7"] = h5py.ExternalLink("other.h5", "/2")
        assert message(path, embedding_column="items") == (
            f'"items/7" is in another file, behind an external link\n  in: {path}'
        )
        with h5py.File(vectors(path), "r+") as file:
            file.create_dataset("items/8", data=X[0], external=str(tmp_path / "raw"))
        assert message(path, embedding_column="items").startswith('dataset "items/8" is external')

    def test_a_name_that_is_not_utf8(self, path: Path) -> None:
        with h5py.File(vectors(path), "r+") as file:
            h5py.h5o.link(file["items/2"].id, file["items"].id, b"\xff")
        assert message(path, embedding_column="items") == f"an item id is not valid UTF-8\n  in: {path}"

    def test_a_file_that_is_cut_off_while_it_is_read(self, path: Path) -> None:
        source = opened(vectors(path))
        path.write_bytes(path.read_bytes()[: path.read_bytes().rindex(X[0].tobytes()) + 7])
        assert "truncated file" in message(path)
        with pytest.raises(Exception, match="these rows cannot be read: the file became shorter") as error:
            values(source)
        assert error.value.where == f'{path}, datasets "items/*", rows 0 to 4'  # type: ignore[attr-defined]
