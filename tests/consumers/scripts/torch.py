"""PyTorch: batches of rows through a linear layer that does not cast, and the way that MMRec loads its features."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

Answer = tuple[Any, Any, dict[str, Any]]


class Rows(Dataset):
    """Rows of an HDF5 file, each with its id."""

    def __init__(self, path: str) -> None:
        self.file = h5py.File(path)

    def __len__(self) -> int:
        return len(self.file["ids"])

    def __getitem__(self, row: int) -> tuple[str, torch.Tensor]:
        return self.file["ids"][row].decode(), torch.from_numpy(self.file["embeddings"][row])


def answer(ids: list[str], batches: list[torch.Tensor]) -> Answer:
    rows = torch.cat(batches)
    layer = torch.nn.Linear(rows.shape[1], 8, dtype=rows.dtype)
    return ids, rows.numpy(), {"type": str(rows.dtype), "finite": bool(layer(batches[0]).isfinite().all())}


def look_npy(path: str) -> Answer:
    dataset = TensorDataset(torch.from_numpy(np.load(path)))
    return answer([], [batch for (batch,) in DataLoader(dataset, batch_size=64)])


def look_hdf5(path: str) -> Answer:
    batches = list(DataLoader(Rows(path), batch_size=64))
    return answer([one for ids, _ in batches for one in ids], [rows for _, rows in batches])


def look_mmrec(path: str) -> Answer:
    features = torch.from_numpy(np.load(path, allow_pickle=True)).type(torch.FloatTensor)
    embedding = torch.nn.Embedding.from_pretrained(features, freeze=False)
    return answer([], [embedding(torch.arange(len(features))).detach()])
