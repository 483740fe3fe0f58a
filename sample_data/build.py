"""Build the sample catalogue: draw products, picture them, describe them, encode and store the result.

Usage: ``python sample_data/build.py [--out DIR]``. The words and shapes come from ``shop.toml``; what the
files hold is told in ``README.md``.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pictures import SIDE, contact_sheet, placeholder_picture, take_picture
from products import SEED, Product, Words, draw_product, read_words, write_text
from scipy.sparse import csr_array
from skimage.color import rgb2gray, rgb2hsv
from skimage.feature import hog
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

N_PRODUCTS, N_LATER = 2000, 50
N_IMAGE, N_PLACEHOLDER = 1940, 24
N_TEXT, N_UNDESCRIBED = 1965, 15
N_BEHAVIOUR, N_SHOPPERS, VIEWS_EACH = 1900, 4000, 15
IMAGE_DIM, TEXT_DIM, VIEW_DIM = 128, 96, 26
LIBRARIES = ("h5py", "numpy", "pillow", "pyarrow", "scikit-image", "scikit-learn", "scipy")
DATASET = "clear_cli sample catalogue"
Array = NDArray[Any]


def describe_picture(picture: Array) -> list[Array]:
    """Classical descriptors of a picture: edges (HOG), a colour histogram, and colours on a coarse grid."""
    grey = rgb2gray(picture)
    edges = hog(grey, orientations=8, pixels_per_cell=(8, 8), cells_per_block=(2, 2), transform_sqrt=True)
    away = np.linspace(-1, 1, SIDE) ** 2
    centre = np.exp(-4 * np.add.outer(away, away)).ravel()  # the product is mostly there
    hsv = rgb2hsv(picture).reshape(-1, 3)
    histogram = np.histogramdd(hsv, bins=(10, 3, 4), range=((0, 1),) * 3, weights=centre / centre.sum())[0]
    grid = picture.reshape(4, SIDE // 4, 4, SIDE // 4, 3).mean(axis=(1, 3))
    return [edges, np.sqrt(histogram.ravel()), grid.ravel()]


def encode_pictures(pictures: list[Array], placeholder: Array) -> tuple[Array, Array]:
    """Encode pictures and the placeholder by PCA over their descriptors, fitted on the pictures."""
    kinds = [np.array(k) for k in zip(*map(describe_picture, [*pictures, placeholder]), strict=True)]
    scaled = [kind / np.sqrt(kind[:-1].var(axis=0).sum()) for kind in kinds]
    features = np.hstack([weight * kind for weight, kind in zip((1.5, 1.0, 0.4), scaled, strict=True)])
    axes = PCA(IMAGE_DIM, svd_solver="covariance_eigh").fit(features[:-1]).components_
    codes = features @ axes.T  # not centred: the mean of real embeddings is seldom zero
    return codes[:-1], codes[-1]


def encode_texts(texts: list[str], later: list[str]) -> tuple[Array, Array]:
    """Encode texts with TF-IDF and a truncated SVD, fitted on the catalogue and applied to later texts."""
    tfidf = TfidfVectorizer(stop_words="english", sublinear_tf=True, min_df=3)
    svd = TruncatedSVD(TEXT_DIM, algorithm="arpack", random_state=SEED)
    codes = svd.fit_transform(tfidf.fit_transform(texts))
    return codes, svd.transform(tfidf.transform(later))


def simulate_views(products: list[Product], rng: np.random.Generator) -> Array:
    """Let shoppers look at products by taste and popularity: 0 or 1, shape (products, shoppers)."""
    weights = {"category": 1.5, "brand": 1.2, "price_band": 0.9, "colour": 0.4}
    traits = []
    for name, weight in weights.items():
        values = np.array([getattr(p, name) for p in products])
        traits.append(weight * (values[:, None] == np.unique(values)))
    table = np.hstack(traits)
    taste = rng.normal(size=(N_SHOPPERS, table.shape[1]))
    appeal = taste @ table.T + np.log([p.popularity for p in products])
    appeal += rng.gumbel(size=appeal.shape)
    views: Array = np.zeros(appeal.shape)
    np.put_along_axis(views, np.argpartition(-appeal, VIEWS_EACH, axis=1)[:, :VIEWS_EACH], 1, axis=1)
    return views.T


def encode_behaviour(products: list[Product]) -> Array:
    """Encode co-views, factorised, beside six figures a shop keeps about each product."""
    rng = np.random.default_rng([SEED, 4])
    views = simulate_views(products, rng)
    seen = views.sum(axis=1)
    svd = TruncatedSVD(VIEW_DIM, algorithm="arpack", random_state=SEED)
    co_views = svd.fit_transform(csr_array(views / np.sqrt(np.maximum(seen, 1))[:, None]))
    season = 2 * np.pi * np.array([p.season for p in products])
    rating = np.clip(rng.normal(4.1, 0.4, len(products)), 1, 5)
    returned = rng.beta(2, 18, len(products))
    price = np.log([p.price for p in products])
    figures = np.column_stack([price, np.log1p(seen), rating, returned, np.cos(season), np.sin(season)])
    return np.hstack([5 * co_views, 0.3 * figures])  # neither part drowns the other


def stored(codes: Array, dtype: type = np.float32) -> Array:
    """Round to 1e-5, so that another processor's last bits do not show; + 0.0 turns -0.0 into 0.0."""
    return np.ascontiguousarray(np.round(codes, 5) + 0.0, dtype=dtype)


def store_image(path: Path, products: list[Product], titles: list[str], codes: Array) -> None:
    """Store picture embeddings as Parquet, in four row groups, beside title, category and price."""
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(stored(codes).ravel()), IMAGE_DIM)
    columns = {"item_id": [p.item_id for p in products], "embedding": embedding, "title": titles}
    columns |= {"category": [p.category for p in products], "price": [p.price for p in products]}
    metadata = {"dataset": DATASET, "encoder": "hog + colour, pca 128"}
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, path, row_group_size=500, compression="zstd", compression_level=9)


def store_text(path: Path, products: list[Product], titles: list[str], codes: Array) -> None:
    """Store text embeddings as HDF5, in compressed chunks, beside ids and title lengths."""
    ids = np.array([p.item_id for p in products], dtype=h5py.string_dtype())
    lengths = np.array([len(title) for title in titles], dtype=np.int32)
    n = min(256, len(products))
    with h5py.File(path, "w") as file:
        file.attrs["dataset"] = DATASET
        for name, data in {"embedding": stored(codes), "item_id": ids, "title_length": lengths}.items():
            chunks = (n, *data.shape[1:])
            file.create_dataset(name, data=data, chunks=chunks, compression="gzip", track_times=False)
        file["embedding"].attrs["encoder"] = "tf-idf, truncated svd 96"
        file["embedding"].attrs["language"] = "en"


def store_attributes(path: Path, products: list[Product], texts: list[tuple[str, str]]) -> None:
    """Store what was planted: every attribute of every product, and its words."""
    rows = [asdict(p) | {"title": t, "description": d} for p, (t, d) in zip(products, texts, strict=True)]
    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd", compression_level=9)


def chosen(stream: int, n_kept: int, n_odd: int) -> tuple[Array, Array]:
    """Rows of a modality: which products it has, in an order of its own, and which of them are odd."""
    rng = np.random.default_rng([SEED, stream])
    kept = rng.permutation(N_PRODUCTS)[:n_kept]
    return kept, rng.choice(kept, n_odd, replace=False)


def build_image(out: Path, products: list[Product], titles: list[str], words: Words) -> None:
    """Picture, encode and store; products without a picture have the placeholder or no row at all."""
    pictures = [take_picture(p, words) for p in products]
    codes, placeholder = encode_pictures(pictures, placeholder_picture(words))
    rows, unpictured = chosen(5, N_IMAGE, N_PLACEHOLDER)
    codes[unpictured] = placeholder
    store_image(out / "image.parquet", [products[i] for i in rows], [titles[i] for i in rows], codes[rows])
    kinds = np.array([p.category for p in products])
    shown = np.array([np.flatnonzero(kinds == kind)[:2] for kind in words["category"]]).T.ravel()
    sheet = contact_sheet([pictures[i] for i in shown], [titles[i] for i in shown])
    sheet.save(out / "pictures.png", optimize=True)


def build_text(out: Path, products: list[Product], texts: list[tuple[str, str]]) -> None:
    """Encode and store texts; products without a description have zeros or no row at all."""
    titles = [title for title, _ in texts]
    joined = [f"{title}. {description}" for title, description in texts]
    codes, later = encode_texts(joined[:N_PRODUCTS], joined[N_PRODUCTS:])
    rows, undescribed = chosen(6, N_TEXT, N_UNDESCRIBED)
    codes[undescribed] = 0
    store_text(out / "text.h5", [products[i] for i in rows], [titles[i] for i in rows], codes[rows])
    store_text(out / "new_items_text.h5", products[N_PRODUCTS:], titles[N_PRODUCTS:], later)


def build_behaviour(out: Path, products: list[Product]) -> None:
    """Encode and store behaviour; the least popular products have none."""
    known = np.argsort([-p.popularity for p in products], kind="stable")[:N_BEHAVIOUR]
    rows = np.random.default_rng([SEED, 7]).permutation(known)
    kept = [products[i] for i in rows]
    np.save(out / "behaviour.npy", stored(encode_behaviour(kept), np.float64))
    (out / "behaviour_ids.txt").write_bytes("".join(f"{p.item_id}\n" for p in kept).encode())


def build(out: Path) -> None:
    """Build every file of the sample into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    words = read_words()
    rng = np.random.default_rng([SEED, 0])
    numbers = np.sort(rng.choice(np.arange(1000, 9000), N_PRODUCTS + N_LATER, replace=False))
    products = [draw_product(int(number), words) for number in numbers]
    texts = [write_text(p, words) for p in products]
    build_image(out, products[:N_PRODUCTS], [title for title, _ in texts], words)
    build_text(out, products, texts)
    build_behaviour(out, products[:N_PRODUCTS])
    store_attributes(out / "attributes.parquet", products, texts)
    made_with = {name: version(name) for name in LIBRARIES}
    made_with["machine"] = f"{platform.system()} {platform.machine()}"
    (out / "versions.json").write_bytes((json.dumps(made_with, indent=2) + "\n").encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the sample catalogue.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="default: this folder")
    # One thread, so that sums are taken in one order.
    with threadpool_limits(1):
        build(parser.parse_args().out)
