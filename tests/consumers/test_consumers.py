"""Real consumers on the output of the tool: they see what they saw of the input, but for the values."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import Floats, write_hdf5
from tests.consumers.containers import Items, assert_projected, clean, items, parquet_table, projected, write_text
from tests.environments import Script, Sight

pytestmark = pytest.mark.slow

Find = Callable[[str], Script]


@dataclass(frozen=True)
class Cleaned:
    """Embeddings before and after, by path, and the rows that should be after."""

    before: Path
    after: Path
    columns: list[str]
    ids: list[str]
    expected: Floats
    stored: Any = None

    def assert_seen(self, before: Sight, after: Sight) -> None:
        """The consumer saw the same of both, but for the values."""
        assert before.ids == after.ids == self.ids
        assert after.facts == before.facts
        assert_projected(after.embeddings, before.embeddings, self.expected, self.stored)


def cleaned(folder: Path, some: Items, file: str, columns: list[str] | None = None, *options: str) -> Cleaned:
    """Run the tool on a file of images that is already there."""
    image = folder / file
    embeddings = clean(image, write_text(folder, some), folder / "out", *options)
    expected = projected(embeddings, some.image)
    return Cleaned(image, embeddings / file, columns or ["embedding"], some.ids, expected, some.image.dtype)


def save_rows(path: Path, some: Items) -> Path:
    """For a consumer that writes its own input."""
    np.savez(path, ids=np.array(some.ids), embeddings=some.image)
    return path


@pytest.fixture(
    scope="module",
    params=["list", "large_list", "fixed_size_list", "wide", "folder", "float16", "float64"],
)
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Cleaned:
    form, folder, some = request.param, tmp_path_factory.mktemp("table"), items()
    if form in ("float16", "float64"):
        some = Items(some.ids, some.image.astype(form), some.text)
        form = "fixed_size_list"
    table = parquet_table(some.ids, some.image, "list" if form == "folder" else form)
    columns = [name for name in table.column_names if name.startswith("embedding")]
    if form != "folder":
        pq.write_table(table, folder / "image.parquet", row_group_size=70)
        return cleaned(folder, some, "image.parquet", columns)
    (folder / "image").mkdir()
    for number, start in enumerate(range(0, 200, 80)):
        pq.write_table(table.slice(start, 80), folder / f"image/part-{number:05d}.parquet")
    return cleaned(folder, some, "image", columns)


class TestFrames:
    @pytest.mark.parametrize("name", ["pandas", "polars", "duckdb"])
    def test_a_frame_has_the_same_columns_types_and_rows(self, find: Find, table: Cleaned, name: str) -> None:
        paths = (table.before, table.after)
        before, after = find(name).call(*(("look", {"path": path, "columns": table.columns}) for path in paths))
        table.assert_seen(before, after)

    def test_a_pandas_store_gives_the_same_frame(self, find: Find, tmp_path: Path) -> None:
        pandas, some = find("pandas"), items()
        rows = save_rows(tmp_path / "rows.npz", some)
        pandas.call(("write_hdf", {"path": tmp_path / "image.h5", "rows": rows}))
        store = cleaned(tmp_path, some, "image.h5")
        store.assert_seen(*pandas.call(*(("look_hdf", {"path": path}) for path in (store.before, store.after))))


@pytest.mark.parametrize("fixed", [False, True], ids=["list", "fixed size"])
def test_hugging_face_datasets_restore_the_same_features(find: Find, tmp_path: Path, fixed: bool) -> None:
    datasets, some = find("datasets"), items()
    rows, image = save_rows(tmp_path / "rows.npz", some), tmp_path / "image.parquet"
    datasets.call(("write", {"path": image, "rows": rows, "fixed": fixed}))
    found = cleaned(tmp_path, some, "image.parquet")
    cache = {"cache": tmp_path / "cache"}
    before, after, together = datasets.call(
        ("look", {"path": found.before} | cache),
        ("look", {"path": found.after} | cache),
        ("look_together", {"paths": [found.before, found.after]} | cache),
    )
    assert "ClassLabel" in before.facts["features"]
    found.assert_seen(before, after)
    assert together.ids == 2 * some.ids
    assert np.array_equal(together.embeddings, np.concatenate([before.embeddings, after.embeddings]))


def test_lancedb_makes_a_table_and_finds_the_nearest_by_the_new_values(find: Find, tmp_path: Path) -> None:
    some = items()
    pq.write_table(parquet_table(some.ids, some.image, "fixed_size_list", name="vector"), tmp_path / "image.parquet")
    found = cleaned(tmp_path, some, "image.parquet", ["vector"])
    before, after = find("lancedb").call(
        *(("look", {"path": path, "database": tmp_path / f"db-{i}", "queries": 10})
          for i, path in enumerate((found.before, found.after)))
    )  # fmt: skip
    for sight in (before, after):
        far = np.square(sight.embeddings[-10:, None] - sight.embeddings[None]).sum(axis=2)
        nearest = [[sight.ids[item] for item in row[:5]] for row in far.argsort(axis=1, kind="stable")]
        assert sight.facts.pop("nearest") == nearest
    found.assert_seen(before, after)


def test_cornac_gives_every_known_item_its_own_row(find: Find, tmp_path: Path) -> None:
    some = items()
    write_hdf5(tmp_path / "image.h5", some.ids, some.image)
    found = cleaned(tmp_path, some, "image.h5")
    before, after = find("cornac").call(*(("look", {"path": path}) for path in (found.before, found.after)))
    assert before.ids != some.ids
    assert before.ids == after.ids
    assert before.facts == after.facts == {"width": 24, "known": 195}
    rows = [some.ids.index(item) for item in after.ids]
    assert np.array_equal(before.embeddings, some.image[rows])
    assert_projected(after.embeddings, before.embeddings, found.expected[rows])


class TestEmbeddingReader:
    def test_a_folder_of_parquet_parts(self, find: Find, tmp_path: Path) -> None:
        some = items()
        (tmp_path / "image").mkdir()
        table = parquet_table(some.ids, some.image)
        for number, start in enumerate(range(0, 200, 80)):
            pq.write_table(table.slice(start, 80), tmp_path / f"image/image_{number}.parquet")
        found = cleaned(tmp_path, some, "image")
        options = {"file_format": "parquet", "embedding_column": "embedding", "meta_columns": ["item_id"]}
        found.assert_seen(
            *find("embedding_reader").call(
                *(("look", {"folder": path} | options) for path in (found.before, found.after))
            )
        )

    @pytest.mark.parametrize("order", ["C", "F"])
    def test_all_npy_files_of_the_folder_are_embeddings(self, find: Find, tmp_path: Path, order: Any) -> None:
        """It globs the whole folder and heeds no Fortran order."""
        some = items()
        np.save(tmp_path / "image.npy", np.asarray(some.image, order=order))
        (tmp_path / "ids.txt").write_text("".join(f"{one}\n" for one in some.ids))
        found = cleaned(tmp_path, some, "image.npy", None, "--ids", f"image={tmp_path}/ids.txt")
        (after,) = find("embedding_reader").call(("look", {"folder": found.after.parent, "file_format": "npy"}))
        assert after.facts == {"count": 200, "dimension": 24, "bytes": 96}
        assert_projected(after.embeddings, some.image, found.expected)

    def test_clip_retrieval_pairs_shards_with_metadata(self, find: Find, tmp_path: Path) -> None:
        some, clip = items(), tmp_path / "clip"
        some = Items(some.ids, some.image.astype(np.float16), some.text)
        for name in ("img_emb", "metadata"):
            (clip / name).mkdir(parents=True)
        table = parquet_table(some.ids, some.image).drop_columns("embedding")
        for number, start in enumerate(range(0, 200, 80)):
            np.save(clip / f"img_emb/img_emb_{number}.npy", some.image[start : start + 80])
            pq.write_table(table.slice(start, 80), clip / f"metadata/metadata_{number}.parquet")
        embeddings = clean(clip / "img_emb", write_text(tmp_path, some), tmp_path / "out")
        expected = projected(embeddings, some.image)
        found = Cleaned(clip / "img_emb", embeddings / "img_emb", [], some.ids, expected, stored="float16")
        assert {one.name for one in found.after.iterdir()} == {one.name for one in found.before.iterdir()}
        options = {"file_format": "parquet_npy", "metadata_folder": clip / "metadata", "meta_columns": ["item_id"]}
        found.assert_seen(
            *find("embedding_reader").call(
                *(("look", {"folder": path} | options) for path in (found.before, found.after))
            )
        )


class TestTorch:
    @pytest.mark.parametrize("floats", ["float16", "float32", "float64"])
    def test_npy_of_any_order_is_batched_and_multiplied_without_a_cast(
        self, find: Find, tmp_path: Path, floats: str
    ) -> None:
        some, found, calls = items(), [], []
        image = some.image.astype(floats)
        text = write_text(tmp_path, some, with_ids=False)
        orders: list[tuple[str, Any, Any]] = [("c", "C", "="), ("fortran", "F", "="), ("big_endian", "C", ">")]
        for name, order, byte_order in orders:
            before = tmp_path / f"{name}.npy"
            np.save(before, np.asarray(image, image.dtype.newbyteorder(byte_order), order=order))
            found.append(clean(before, text, tmp_path / name))
            calls += [(function, {"path": found[-1] / before.name}) for function in ("look_npy", "look_mmrec")]
        seen = find("torch").call(*calls)
        for embeddings, after, mmrec in zip(found, seen[::2], seen[1::2], strict=True):
            assert after.facts == {"type": f"torch.{floats}", "finite": True}
            assert_projected(after.embeddings, image, projected(embeddings, image))
            assert np.array_equal(mmrec.embeddings, after.embeddings.astype(np.float32))

    def test_hdf5_is_batched_with_its_ids(self, find: Find, tmp_path: Path) -> None:
        some = items()
        write_hdf5(tmp_path / "image.h5", some.ids, some.image)
        found = cleaned(tmp_path, some, "image.h5")
        found.assert_seen(*find("torch").call(*(("look_hdf5", {"path": path}) for path in (found.before, found.after))))


@pytest.fixture(scope="module")
def spark_folders(find: Find, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Items]:
    """What Spark wrote, with its _SUCCESS and its checksums."""
    folder, some = tmp_path_factory.mktemp("spark"), items()
    find("spark").call(("write", {"folder": folder, "rows": save_rows(folder / "rows.npz", some)}))
    return folder, some


class TestSpark:
    @pytest.mark.parametrize(
        "name",
        [
            "array",
            "vector",
            "partitioned",
        ],
    )
    def test_a_folder_has_the_same_schema_and_rows(
        self, find: Find, spark_folders: tuple[Path, Items], name: str
    ) -> None:
        folder, some = spark_folders
        embeddings = clean(folder / name, write_text(folder, some), folder / f"out-{name}")
        by_id = np.argsort(some.ids)
        before, after = find("spark").call(*(("look", {"path": one / name}) for one in (folder, embeddings)))
        fields = {one["name"]: one for one in json.loads(after.facts["schema"])["fields"]}
        assert fields["embedding"]["metadata"] == {"encoder": "planted"}
        ids, expected = sorted(some.ids), projected(embeddings, some.image)[by_id]
        Cleaned(folder / name, embeddings / name, [], ids, expected).assert_seen(before, after)
