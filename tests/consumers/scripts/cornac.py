"""Cornac: a feature modality whose rows follow the item order of the interactions."""

from __future__ import annotations

from typing import Any

import h5py
from cornac.data import Dataset, FeatureModality


def look(path: str) -> tuple[Any, Any, dict[str, Any]]:
    with h5py.File(path) as file:
        modality = FeatureModality(features=file["embeddings"][:], ids=[key.decode() for key in file["ids"][:]])
    # Items are met in another order than that of the file, and some of them never.
    train = Dataset.build([("user", item, 1.0) for item in sorted(modality.ids)[::-1][:-5]])
    modality.build(id_map=train.iid_map)
    items = list(train.iid_map)
    facts = {"width": modality.feature_dim, "known": train.num_items}
    return items, modality.batch_feature([train.iid_map[item] for item in items]), facts
