"""What every reader of the output relies on, for every container: one test for each way to do it damage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import Floats, Run
from tests.consumers.containers import CONTAINERS, Container, clean, items, projected, write_text

NOT_A_NUMBER = 11
DOCS = Path(__file__).parents[2]


@dataclass(frozen=True)
class Published:
    """The input and the output of one modality, as the files and as ids and rows."""

    container: Container
    before: Path
    after: Path
    ids: list[Any]
    rows: Floats
    written_ids: list[Any]
    written: Floats

    @property
    def untouched(self) -> Any:
        """Rows that have nothing to project: all zeros, or not finite (null rows among them)."""
        return ~self.rows.any(axis=1) | ~np.isfinite(self.rows).all(axis=1)


@pytest.fixture(scope="module", params=CONTAINERS, ids=str)
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    container: Container = request.param
    folder = tmp_path_factory.mktemp("in")
    some = items()
    rows = some.image.astype(container.floats)
    rows[NOT_A_NUMBER] = np.nan
    before = folder / container.file
    container.write(before, some.ids, rows)
    text = write_text(folder, some, with_ids=container.file != "image.npy")
    embeddings = clean(before, text, tmp_path_factory.mktemp("out") / "clean", "--on-invalid", "keep")
    after = embeddings / container.file
    return Published(container, before, after, *container.read(before), *container.read(after))


def only(suffix: str) -> pytest.MarkDecorator:
    """Test just the containers in files that are called so."""
    some = [one for one in CONTAINERS if one.file.endswith(suffix)]
    return pytest.mark.parametrize("published", some, indirect=True, ids=str, scope="module")


def test_rows_their_order_and_their_ids_are_kept(published: Published) -> None:
    assert published.written_ids == published.ids
    assert len(published.written) == len(published.rows)
    expected = projected(published.after.parent, published.rows)
    touched = ~published.untouched
    tolerance = {"float16": 2e-2, "float32": 2e-5, "float64": 1e-11}[published.container.floats]
    np.testing.assert_allclose(published.written[touched].astype(np.float64), expected[touched], rtol=0, atol=tolerance)
    assert (published.written[touched] != published.rows[touched]).any(axis=1).all()


def test_zero_rows_stay_zero_and_there_is_no_new_one(published: Published) -> None:
    zero = ~published.rows.any(axis=1)
    assert not published.rows[0].any()
    assert np.array_equal(~published.written.any(axis=1), zero)


def test_there_is_no_new_nan(published: Published) -> None:
    finite = np.isfinite(published.rows).all(axis=1)
    assert not finite.all()
    assert np.array_equal(np.isfinite(published.written).all(axis=1), finite)


@only(".parquet")
def test_null_rows_stay_null(published: Published) -> None:
    before, after = pq.read_table(published.before), pq.read_table(published.after)
    assert [after[name].is_null().to_pylist() for name in after.column_names] == [
        before[name].is_null().to_pylist() for name in before.column_names
    ]


def test_type_and_dimension_are_kept(published: Published) -> None:
    assert published.written.dtype == published.container.floats
    assert published.written.shape == published.rows.shape


@only(".npy")
def test_npy_is_in_c_order_and_of_native_byte_order(published: Published) -> None:
    with published.after.open("rb") as file:
        assert np.lib.format.read_magic(file) == (1, 0)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        assert (shape, fortran, dtype.isnative) == (published.rows.shape, False, True)
        # A reader that heeds nothing but the shape and the type gets the rows in order.
        assert np.array_equal(np.fromfile(file, dtype).reshape(shape), published.written, equal_nan=True)


def test_there_is_nothing_but_embeddings_among_the_embeddings(published: Published) -> None:
    folder = published.after.parent
    inputs = {path.name for path in published.before.parent.iterdir()}
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*")} == inputs


@only(".parquet")
def test_the_types_of_all_columns_and_their_metadata_are_kept(published: Published) -> None:
    before, after = pq.read_table(published.before), pq.read_table(published.after)
    assert after.schema.equals(before.schema, check_metadata=True)
    assert after.schema.metadata == before.schema.metadata
    assert after["price"].equals(before["price"])


@only(".h5")
def test_everything_else_in_a_file_of_datasets_is_kept(published: Published) -> None:
    with h5py.File(published.before) as before, h5py.File(published.after) as after:
        assert set(after) == set(before)
        assert np.array_equal(after["price"], before["price"])
        x, y = before["embeddings"], after["embeddings"]
        assert dict(y.attrs) == dict(x.attrs)
        assert (y.chunks, y.compression, y.maxshape) == (x.chunks, x.compression, x.maxshape)


class TestFreshDirectory:
    @pytest.mark.parametrize(
        ("page", "words"),
        [
            ("docs/formats.md", "Write to a fresh directory, never beside the originals"),
            ("README.md", "Give it a data directory of its own"),
        ],
    )
    def test_the_docs_ask_for_one(self, page: str, words: str) -> None:
        assert words in " ".join((DOCS / page).read_text().split())

    def test_a_folder_with_features_and_a_cached_graph_is_not_written_to(self, call: Run, tmp_path: Path) -> None:
        """The graph of the old features would be used for the new ones."""
        folder = tmp_path / "baby"
        folder.mkdir()
        some = items()
        np.save(folder / "image_feat.npy", some.image)
        np.save(folder / "text_feat.npy", some.text)
        (folder / "mm_adj_10.pt").write_bytes(b"a graph")
        before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
        inputs = ["-m", f"image={folder}/image_feat.npy", "-m", f"text={folder}/text_feat.npy"]
        assert call("run", *inputs, "--out", folder, "--overwrite")[0] == 2
        other = tmp_path / "other"
        other.mkdir()
        (other / "mm_adj_10.pt").write_bytes(b"a graph")
        assert call("run", *inputs, "--out", other, "--overwrite")[0] == 4
        assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
        assert [path.name for path in other.iterdir()] == ["mm_adj_10.pt"]
