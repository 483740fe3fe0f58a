"""Recommending by nearest neighbours alone: what the embeddings themselves know about taste, without any training.

The profile of a user is the sum of the unit-norm rows of the items in their training split; all items but those of
the training and validation splits are ranked by their cosine to it; recall is over the items of the test split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Floats = npt.NDArray[np.floating[Any]]

DEPTH = 20
BATCH = 1_000


@dataclass(frozen=True, eq=False)
class Interactions:
    """Who took what: one row for each user who has items in the training and in the test split.

    Attributes:
        train: (users, items) 0 or 1.
        seen: The same with the validation split.
        test: (users, items) 0 or 1.
    """

    train: csr_array
    seen: csr_array
    test: csr_array

    @classmethod
    def read(cls, path: Path, items: int) -> Interactions:
        """From a table of user, item and split, separated by tabs."""
        user, item, split = np.loadtxt(path, str, skiprows=1, delimiter="\t", unpack=True)
        rows, columns = user.astype(int), item.astype(int)

        def part(*splits: str) -> csr_array:
            chosen = np.isin(split, splits)
            shape = (rows.max() + 1, items)
            found = csr_array((np.ones(chosen.sum(), np.float32), (rows[chosen], columns[chosen])), shape)
            found.data[:] = 1
            return found

        train, seen, test = part("train"), part("train", "valid"), part("test")
        asked = np.flatnonzero((train.sum(axis=1) > 0) & (test.sum(axis=1) > 0))
        return cls(train[asked], seen[asked], test[asked])

    @property
    def users(self) -> int:
        """How many users are asked for."""
        return int(self.test.shape[0])

    def recall(self, rows: Floats) -> Floats:
        """(users,) recall among the first `DEPTH` items, for rows (items, d)."""
        x = _unit(rows)
        profiles = self.train @ x
        return np.concatenate([self._recall(profiles, x, start) for start in range(0, self.users, BATCH)])

    def _recall(self, profiles: Floats, x: Floats, start: int) -> Floats:
        users = slice(start, start + BATCH)
        scores = profiles[users] @ x.T
        scores[self.seen[users].nonzero()] = -np.inf
        first = np.argpartition(-scores, DEPTH, axis=1)[:, :DEPTH]
        wanted = self.test[users].toarray()
        hits: Floats = np.take_along_axis(wanted, first, axis=1).sum(axis=1) / wanted.sum(axis=1)
        return hits


def as_written(modalities: Mapping[str, Floats]) -> Floats:
    """Modalities side by side: the loudest decides."""
    return np.hstack([x.astype(np.float64) for x in modalities.values()])


def equally_loud(modalities: Mapping[str, Floats]) -> Floats:
    """Modalities side by side, each divided by the root mean square of its row norms."""
    return np.hstack([_loudness_taken_out(x.astype(np.float64)) for x in modalities.values()])


def centred(modalities: Mapping[str, Floats]) -> Floats:
    """The same, after the mean row of each modality is taken off, without which all rows may point the same way."""
    rows = [x.astype(np.float64) for x in modalities.values()]
    there = [x.any(axis=1, keepdims=True) for x in rows]
    about_mean = [(x - x.sum(axis=0) / one.sum()) * one for x, one in zip(rows, there, strict=True)]
    return np.hstack([_loudness_taken_out(x) for x in about_mean])


SIDE_BY_SIDE = {"as written": as_written, "equally loud": equally_loud, "centred, equally loud": centred}
"""Ways to make one row of an item's rows in several modalities."""


def _loudness_taken_out(x: Floats) -> Floats:
    louder: Floats = x / np.sqrt((x**2).sum(axis=1).mean())
    return louder


def _unit(x: Floats) -> Floats:
    """Rows of norm 1; rows of zeros, which stand for missing ones, stay zeros."""
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    unit: Floats = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0).astype(np.float32)
    return unit
