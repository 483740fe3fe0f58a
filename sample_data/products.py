"""Draw the products of the sample catalogue and write their titles and descriptions."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SEED = 20260
SMALL_WORDS = ("a", "and", "by", "for", "in", "the", "with")
Words = dict[str, Any]


def read_words() -> Words:
    """Read the vocabulary, shares and shapes of the shop."""
    return tomllib.loads(Path(__file__).with_name("shop.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Product:
    """One product: the attributes that its picture, its text and its figures are made from."""

    item_id: str
    category: str
    colour: str
    pattern: str
    finish: str
    viewpoint: str
    light: str
    background: str
    size: float
    brand: str
    tone: str
    use: str
    audience: str
    warranty: str
    season: float
    price: float
    price_band: str
    popularity: float

    def rng(self, stream: int) -> np.random.Generator:
        """A generator of its own, so that no product depends on how many were drawn before it."""
        return np.random.default_rng([SEED, stream, int(self.item_id[4:])])


def draw_product(number: int, words: Words) -> Product:
    """Draw the attributes of product ``number``, independently but for what a shop would tie together."""
    rng = np.random.default_rng([SEED, 1, number])

    def one(table: str) -> str:
        return str(rng.choice(list(words[table])))

    category, brand = one("category"), one("brand")
    kind, label = words["category"][category], words["brand"][brand]
    finish = str(rng.choice(kind["finishes"]))
    factor = label["factor"] * words["finish"][finish]["factor"] * rng.lognormal(0.0, 0.25)
    return Product(
        item_id=f"SKU-{number:06d}",
        category=category,
        colour=one("colour"),
        pattern=str(rng.choice(list(words["pattern"]), p=[p["share"] for p in words["pattern"].values()])),
        finish=finish,
        viewpoint=one("viewpoint"),
        light=one("light"),
        background=one("background"),
        size=round(float(rng.uniform(0.58, 0.88)), 3),
        brand=brand,
        tone=label["tone"],
        use=str(rng.choice(words["use"][kind["use"]])),
        audience=one("audience"),
        warranty=one("warranty"),
        season=round(float(rng.uniform(0, 1)), 3),
        price=float(np.ceil(kind["price"] * factor)) - 0.05,
        price_band="budget" if factor < 0.95 else "middle" if factor < 1.5 else "premium",
        popularity=round(float(rng.lognormal(0.0, 0.9)), 4),
    )


def wording(product: Product, words: Words, rng: np.random.Generator) -> dict[str, list[str]]:
    """The words a product's text chooses from: any noun, but of every look only the common word and one more."""
    slots = {"brand": [product.brand], "use": [product.use], "noun": words["category"][product.category]["words"]}
    for look in ("colour", "pattern", "finish"):
        known = words[look][getattr(product, look)]["words"]
        slots[look] = [known[0], str(rng.choice(known))]
    return slots


def fill(template: str, slots: dict[str, list[str]], rng: np.random.Generator) -> str:
    """Put words into a template, and mend the spaces and articles."""
    text = template.format(**{slot: rng.choice(options) for slot, options in slots.items()})
    text = re.sub(r" +", " ", text).strip()
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def write_text(product: Product, words: Words) -> tuple[str, str]:
    """Write the title and the description of a product."""
    rng = product.rng(3)
    said, slots = words["text"], wording(product, words, rng)
    title = fill(rng.choice(said["title"]), slots, rng)
    title = " ".join(w if w in SMALL_WORDS else w[:1].upper() + w[1:] for w in title.split())
    sources = [  # how often each kind of sentence is there
        (0.80, words["category"][product.category]["says"]),
        (0.50, words["finish"][product.finish]["says"]),
        (0.45, said["colour"]),
        (0.00 if product.pattern == "plain" else 0.55, said["pattern"]),
        (0.60, said["use"]),
        (0.75, words["tone"][product.tone]),
        (0.55, words["audience"][product.audience]),
        (0.60, words["warranty"][product.warranty]),
        (0.40, said["care"]),
        (0.45, said["service"]),
    ]
    kept = [rng.choice(sentences) for share, sentences in sources if rng.random() < share]
    rng.shuffle(kept)
    sentences = [fill(s, slots, rng) for s in [rng.choice(said["opening"]), *kept]]
    return title, " ".join(s[:1].upper() + s[1:] for s in sentences if s)
