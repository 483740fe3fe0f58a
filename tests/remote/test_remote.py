"""Inputs and outputs in an object store: the real client of S3 against a server on this machine."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import Catalogue, planted, write_hdf5, write_npy, write_parquet
from tests.consumers import environments
from tests.contract.test_schemas import problems
from tests.environments import environment_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
Result = subprocess.CompletedProcess[str]

LISTING = """
import json, sys
from upath import UPath
root = UPath(sys.argv[1])
print(json.dumps(sorted(path.path.removeprefix(root.path) for path in root.rglob("*") if path.is_file())))
"""
COPY = """
import sys
from pathlib import Path
from upath import UPath
source, target = (UPath(one) for one in sys.argv[1:])
if source.is_dir():
    for path in source.rglob("*"):
        if path.is_file():
            end = target / path.path.removeprefix(source.path).lstrip("/")
            end.parent.mkdir(parents=True, exist_ok=True)
            end.write_bytes(path.read_bytes())
else:
    target.write_bytes(source.read_bytes())
"""


@pytest.fixture(scope="session")
def store() -> Iterator[tuple[Path, dict[str, str]]]:
    """The interpreter that has a client, and the settings that lead it to an empty store with one bucket."""
    python = environment_of(environments.HERE / "requirements/remote.txt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    server = subprocess.Popen(
        [python, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        make = "import fsspec; fsspec.filesystem('s3').mkdir('shop')"
        subprocess.run([python, "-c", make], env=settings, check=True, capture_output=True)
        yield python, settings
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def run(store: tuple[Path, dict[str, str]]) -> Callable[..., Result]:
    """Call Python with the client: a command of ours, or code."""
    python, settings = store

    def call(*arguments: Any, **more: str) -> Result:
        return subprocess.run(
            [python, *map(str, arguments)],
            env=settings | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return call


@pytest.fixture
def catalogue() -> Catalogue:
    return planted(items=300)


@pytest.fixture
def inputs(run: Callable[..., Result], tmp_path: Path, catalogue: Catalogue) -> list[str]:
    """A folder of parts, HDF5 in another order, and NPY with ids, all in the store."""
    folder = tmp_path / "in"
    write_parquet(folder / "image" / "country=a" / "part-0.parquet", catalogue.ids[:100], catalogue.image[:100])
    write_parquet(folder / "image" / "part-1.parquet", catalogue.ids[100:], catalogue.image[100:], row_group_size=70)
    write_hdf5(folder / "text.h5", catalogue.ids[::-1], catalogue.text[::-1])
    write_npy(folder / "audio.npy", catalogue.audio, catalogue.ids)
    assert run("-c", COPY, folder, "s3://shop/in").returncode == 0
    far = "s3://shop/in"
    return ["-m", f"image={far}/image", "-m", f"text={far}/text.h5", "-m", f"audio={far}/audio.npy",
            "--ids", f"audio={far}/audio.txt", "--rank", "3"]  # fmt: skip


def listing(run: Callable[..., Result], folder: str) -> list[str]:
    found: list[str] = json.loads(run("-c", LISTING, folder).stdout)
    return found


def test_outputs_in_a_store_are_those_on_disk(run: Callable[..., Result], inputs: list[str], tmp_path: Path) -> None:
    far = run("-m", "clear_cli", "run", *inputs, "--out", "s3://shop/clean", "-q")
    assert (far.returncode, "error" in far.stderr) == (0, False), far.stderr
    near = [one.replace("s3://shop/in", str(tmp_path / "in")) for one in inputs]
    assert run("-m", "clear_cli", "run", *near, "--out", tmp_path / "clean", "-q").returncode == 0
    assert run("-c", COPY, "s3://shop/clean", tmp_path / "fetched").returncode == 0
    ours = sorted(path.relative_to(tmp_path / "clean") for path in (tmp_path / "clean").rglob("*") if path.is_file())
    theirs = sorted(
        path.relative_to(tmp_path / "fetched") for path in (tmp_path / "fetched").rglob("*") if path.is_file()
    )
    assert ours == theirs
    for name in ours:
        if name.name in ("manifest.json", "report.html", "report.md"):
            continue  # what tells of the inputs: a store has entity tags, a disk hashes
        assert (tmp_path / "clean" / name).read_bytes() == (tmp_path / "fetched" / name).read_bytes(), name
    assert problems("manifest", json.loads((tmp_path / "fetched/manifest.json").read_text())) == []
    compared = run("-m", "clear_cli", "compare", "s3://shop/clean", tmp_path / "clean", "-o", "s3://shop/compared.md")
    assert (compared.returncode, compared.stderr) == (0, "")
    assert compared.stdout.split()[2] == "s3://shop/clean"
    assert "compared.md" in listing(run, "s3://shop")


def test_a_second_run_is_up_to_date_and_another_one_needs_overwrite(
    run: Callable[..., Result], inputs: list[str]
) -> None:
    out = ["--out", "s3://shop/again", "-q"]
    assert run("-m", "clear_cli", "run", *inputs, *out).returncode == 0
    second = run("-m", "clear_cli", "run", *inputs, *out)
    assert second.stdout.startswith("up to date")
    other = run("-m", "clear_cli", "run", *inputs[:-1], "2", *out)
    assert (other.returncode, other.stderr) == (
        4,
        "error: the output exists\n  in: s3://shop/again\n  fix: --overwrite\n",
    )
    assert run("-m", "clear_cli", "run", *inputs[:-1], "2", *out, "--overwrite", "--no-report").returncode == 0
    assert listing(run, "s3://shop/again") == [
        "/diagnostics.json", "/embeddings/audio.npy", "/embeddings/image/country=a/part-0.parquet",
        "/embeddings/image/part-1.parquet", "/embeddings/text.h5", "/manifest.json", "/projector.safetensors",
    ]  # fmt: skip
    assert [name for name in listing(run, "s3://shop") if ".partial" in name] == []


def test_what_fails_leaves_nothing_and_the_old_output_as_it_was(
    run: Callable[..., Result], inputs: list[str], tmp_path: Path, catalogue: Catalogue
) -> None:
    assert run("-m", "clear_cli", "run", *inputs, "--out", "s3://shop/kept", "-q").returncode == 0
    before = listing(run, "s3://shop/kept")
    assert run("-c", COPY, "s3://shop/kept/manifest.json", tmp_path / "before.json").returncode == 0
    text = catalogue.text.copy()
    text[7] = np.nan
    write_npy(tmp_path / "bad.npy", text, catalogue.ids)
    assert run("-c", COPY, tmp_path / "bad.npy", "s3://shop/bad.npy").returncode == 0
    bad = [*inputs[:2], "-m", "text=s3://shop/bad.npy", "--ids", f"text={tmp_path}/bad.txt"]
    for out in ("s3://shop/kept", "s3://shop/new"):
        failed = run("-m", "clear_cli", "run", *bad, "--out", out, "--overwrite", "-q")
        assert failed.returncode == 3, failed.stderr
        assert failed.stderr.startswith('error: embeddings of "text" hold NaN or infinity, first in row 7\n')
    assert listing(run, "s3://shop/kept") == before
    assert run("-c", COPY, "s3://shop/kept/manifest.json", tmp_path / "after.json").returncode == 0
    assert (tmp_path / "before.json").read_bytes() == (tmp_path / "after.json").read_bytes()
    assert listing(run, "s3://shop/new") == []


def test_what_a_killed_run_left_is_no_output_and_nothing_is_written_into_it(
    run: Callable[..., Result], inputs: list[str]
) -> None:
    out = "s3://shop/dead"
    dying = "import os; from clear_cli import __main__, publish_remote as at; at.manifest_of = lambda *_: os._exit(9); "
    assert run("-c", f"{dying}__main__.main()", "run", *inputs, "--out", out, "-q").returncode == 9
    left = listing(run, out)
    assert "/embeddings/text.h5" in left
    assert "/manifest.json" not in left
    for more in ([], ["--overwrite"]):
        again = run("-m", "clear_cli", "run", *inputs, "--out", out, "-q", *more)
        problem = f"the output holds files and no manifest.json of ours\n  in: {out}\n  fix: choose another --out\n"
        assert (again.returncode, again.stderr) == (4, f"error: {problem}")
    assert run("-m", "clear_cli", "verify", out).returncode == 3
    assert listing(run, out) == left


@pytest.mark.parametrize("name", ["text.h5", "image/part-1.parquet"])
def test_an_input_that_changes_while_it_is_read_is_an_error(
    run: Callable[..., Result], inputs: list[str], name: str
) -> None:
    file = f"s3://shop/in/{name}"
    changing = f"""
import fsspec
from clear_cli import __main__
from clear_cli.workflow import job
def write_json(*given, real=job.write_json):
    other = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    other.pipe("{file}", other.cat("{file}")[:-1] + b"?")
    real(*given)
job.write_json = write_json
__main__.main()
"""
    ended = run("-c", changing, "run", *inputs, "--out", "s3://shop/changed", "-q", "--no-report")
    problem = f"the input changed while it was read\n  in: {file}\n  fix: run again when it is complete\n"
    assert (ended.returncode, ended.stderr) == (3, f"error: {problem}")
    assert listing(run, "s3://shop/changed") == []


def test_projectors_are_applied_and_inspected_from_a_store(
    run: Callable[..., Result], inputs: list[str], tmp_path: Path
) -> None:
    assert run("-m", "clear_cli", "fit", *inputs, "--out", "s3://shop/fitted", "-q").returncode == 0
    applied = run("-m", "clear_cli", "apply", "s3://shop/fitted", *inputs[2:4], "--out", "s3://shop/applied", "-q")
    assert applied.returncode == 0, applied.stderr
    seen = json.loads(run("-m", "clear_cli", "inspect", "s3://shop/fitted", "--json").stdout)
    assert seen["modalities"]["text"]["rank"] == 3
    assert run("-c", COPY, "s3://shop/applied/items.parquet", tmp_path / "items.parquet").returncode == 0
    assert pq.read_metadata(io.BytesIO((tmp_path / "items.parquet").read_bytes())).num_rows == 300


def test_two_members_of_an_archive_with_their_ids_elsewhere(
    run: Callable[..., Result], tmp_path: Path, catalogue: Catalogue
) -> None:
    np.savez_compressed(tmp_path / "feats.npz", image=catalogue.image, text=catalogue.text)
    (tmp_path / "ids.txt").write_text("".join(f"{one}\n" for one in catalogue.ids))
    for name in ("feats.npz", "ids.txt"):
        assert run("-c", COPY, tmp_path / name, f"s3://shop/{name}").returncode == 0
    far, ids = "s3://shop/feats.npz", "s3://shop/ids.txt"
    inputs = ["-m", f"image={far}::image", "-m", f"text={far}::text", "--ids", f"image={ids}", "--ids", f"text={ids}"]
    result = run("-m", "clear_cli", "run", *inputs, "--out", "s3://shop/npz", "--rank", "3", "-q")
    assert result.returncode == 0, result.stderr
    assert run("-c", COPY, "s3://shop/npz/embeddings/feats.npz", tmp_path / "out.npz").returncode == 0
    out = np.load(tmp_path / "out.npz")
    assert out.files == ["image", "text"]
    assert all(out[name].shape == getattr(catalogue, name).shape for name in out.files)
    assert not np.allclose(out["image"], catalogue.image)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("s3://shop/nothing.parquet", "error: cannot read the file: no such file or directory\n"),
        ("ftps://shop/x.parquet", "error: there is no way to reach ftps://\n"),
        ("gs://shop/x.parquet", "error: gs:// needs a library that is not installed: gcsfs\n"),
    ],
)
def test_places_that_cannot_be_read(run: Callable[..., Result], path: str, problem: str) -> None:
    result = run("-m", "clear_cli", "inspect", path)
    assert result.returncode in (2, 3)
    assert result.stderr.startswith(f"{problem}  in: {path}\n")


def test_a_store_that_cannot_be_reached_is_an_error_of_the_environment(run: Callable[..., Result]) -> None:
    result = run("-m", "clear_cli", "inspect", "s3://shop/x.parquet", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert result.returncode == 4
    assert result.stderr.startswith(
        "error: the remote storage refuses, or cannot be reached\n  in: s3://shop/x.parquet\n  reason: Could not "
    )
