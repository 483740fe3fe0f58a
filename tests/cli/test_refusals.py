"""What the command line refuses though each part of it makes sense, word for word, with nothing written."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.conftest import Catalogue, Floats, Run, write_npy, write_parquet

SUPPORTED = "Parquet (a file or a folder of parts), HDF5, NPY (a file or a folder), NPZ, .itememb"
TWO = ["-m", "image=image.parquet", "-m", "text=text.parquet"]
ITEMS = ["--embedding-column", "items/*"]


def write_items(name: str, rows: list[Floats]) -> None:
    """An HDF5 file with a dataset for each item."""
    with h5py.File(name, "w") as file:
        for i, row in enumerate(rows):
            file[f"items/{i}"] = row


@pytest.fixture
def here(tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, call: Run) -> Path:
    """A folder with inputs of many kinds and a fitted projector."""
    monkeypatch.chdir(tmp_path)
    write_parquet(Path("image.parquet"), catalogue.ids, catalogue.image)
    write_parquet(Path("text.parquet"), catalogue.ids, catalogue.text)
    write_npy(Path("numbers.npy"), np.arange(5))
    write_npy(Path("matrix.npy"), np.ones((5, 3)))
    Path("matrices.txt").touch()
    with h5py.File("several.h5", "w") as file:
        file["emb"], file["words"], file["item_id"] = np.ones((5, 3)), np.arange(5), np.arange(5)
    Path("empty.npy").touch()
    Path("both.itememb").write_text("item_id:token\timg:float_seq\ttxt:float_seq\na\t1 2\t3 4\nb\t1 2\t3 4\n")
    write_items("integers.h5", [np.arange(4)] * 3)
    write_items("unlike.h5", [np.zeros(4, np.float32), np.zeros(5, np.float32)])
    assert call("fit", *TWO, "--out", "fitted", "--rank", "2")[0] == 0
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", *TWO, "--memory", "lots"], 2, '"lots" is not a size\n  fix: --memory 4GiB'),
        (
            ["run", *TWO, "--group-column", "image=item_id", "--group-column", "text=item_id"],
            2,
            "groups are columns of one modality\n  in: --group-column\n  modalities: image, text",
        ),
        (
            ["run", *TWO, "--fit-items", "numbers.npy"],
            3,
            "the list of items to fit on holds int64, and the modalities have strings\n  in: numbers.npy",
        ),
        (
            ["run", "-m", "image=both.itememb::img", "-m", "text=both.itememb::txt"],
            3,
            "several modalities of one atomic file are not supported\n  in: both.itememb",
        ),
        (
            ["apply", "fitted", *TWO, "--rank", "auto"],
            2,
            "nothing is known of what stands out from chance here\n  fix: --rank 16 or --rank 90%",
        ),
        (
            ["check", "fitted", "--gate", "audio.rank>=1"],
            2,
            'gate "audio.rank>=1" is about nothing here\n  in: --gate\n  known: image, text\n'
            "  fix: --gate 'image.rank>=1'",
        ),
        (
            ["run", "-m", "image=matrix.npy", "-m", "text=matrix.npy", "--ids", "image=matrix.npy"],
            3,
            "item ids of shape (5, 3) and type float64 are not supported\n  in: matrix.npy\n"
            "  supported: one dimension of strings or integers\n  fix: the file of the ids: this one holds embeddings",
        ),
        (
            ["run", *TWO[:2], "-m", "text=several.h5::wrods"],
            3,
            'dataset "wrods" not found\n  in: several.h5\n  datasets: emb, item_id, words\n'
            "  fix: --embedding-column text=emb, or ::emb behind the path",
        ),
        (
            ["run", *TWO[:2], "-m", "text=txt.parquet"],
            3,
            "cannot read the file: no such file or directory\n  in: txt.parquet\n  near: text.parquet\n"
            "  fix: text.parquet",
        ),
        (
            ["run", *TWO[:2], "-m", "text=fited/text.parquet"],
            3,
            "cannot read the file: no such file or directory\n  in: fited/text.parquet\n  missing: fited\n"
            "  near: fitted\n  fix: fitted",
        ),
        *(
            (
                command,
                3,
                "cannot read the file: not a directory\n  in: several.h5/x\n  file: several.h5, which is no folder",
            )
            for command in (["run", *TWO[:2], "-m", "text=several.h5/x"], ["inspect", "several.h5/x"])
        ),
        (["apply", "fited", *TWO], 3, "no projector here\n  in: fited\n  near: fitted\n  fix: fitted"),
        (
            ["apply", "several.h5", *TWO],
            3,
            "this is no projector, but a file of HDF5\n  in: several.h5\n"
            "  fix: give the output directory of clear-cli fit or clear-cli run, or its projector.safetensors",
        ),
        *(
            (
                [*command, "fited"],
                3,
                "cannot read the file: no such file or directory\n  in: fited\n  near: fitted\n  fix: fitted",
            )
            for command in (["check", "--gate", "rank>1"], ["report"], ["compare", "fitted"], ["verify"])
        ),
        (
            ["check", "elsewhere", "--gate", "rank>1"],
            3,
            "cannot read the file: no such file or directory\n  in: elsewhere\n"
            "  fix: give an output directory of run, fit, apply or diagnose",
        ),
        (
            ["run", *TWO[:2], "-m", "text=sevral.npy"],
            3,
            "cannot read the file: no such file or directory\n  in: sevral.npy\n  near: several.h5\n  fix: several.h5",
        ),
        (
            ["run", *TWO[:2], "-m", "text=matrices.npy"],
            3,
            "cannot read the file: no such file or directory\n  in: matrices.npy\n  near: matrix.npy\n"
            "  fix: matrix.npy",
        ),
        (
            ["run", *TWO, "-m", "text=more.parquet"],
            2,
            'modality "text" is given twice\n  in: -m\n'
            "  fix: -m text2=more.parquet for a modality of its own, or one folder with all parts of one",
        ),
        (
            ["apply", "fitted", "-m", "text=image.parquet"],
            3,
            'the projector of "text" has 16 dimensions, the embeddings have 24\n  in: image.parquet\n'
            "  projectors: image has 24, text has 16\n  fix: apply it to embeddings of the same encoder, or fit again",
        ),
        (
            ["fit", *TWO, "--dry-run", "--out", "out"],
            2,
            'no option "--dry-run"\n  in: clear-cli fit\n  option of: run\n  fix: without it, or clear-cli run',
        ),
        (["run", *TWO, "--threads", "two"], 2, '"two" is not an integer\n  in: --threads\n  fix: --threads 4'),
        (["inspect", "empty.npy"], 3, f"the file is empty\n  in: empty.npy\n  supported: {SUPPORTED}"),
        (
            ["inspect", "integers.h5", *ITEMS],
            3,
            'dataset "items/0" cannot hold the embedding of an item: shape (4,), type int64\n  in: integers.h5\n'
            "  supported: shape (d,) or (1, d) of float16, float32 or float64",
        ),
        (
            ["inspect", "unlike.h5", *ITEMS],
            3,
            'the datasets of the items differ: "items/1" has shape (5,) and type float32, '
            '"items/0" has shape (4,) and type float32\n  in: unlike.h5',
        ),
    ],
)
def test_is_refused(call: Run, here: Path, arguments: list[str], code: int, message: str) -> None:
    out = ["--out", "out"] if arguments[0] in ("run", "apply") else []
    assert call(*arguments, *out) == (code, "", f"error: {message}\n")
    assert not (here / "out").exists()
