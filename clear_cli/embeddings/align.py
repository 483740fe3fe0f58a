"""Which rows of which modalities describe the same item.

Ids are read once, alone; embeddings are not touched. Every item that may matter to the fit gets a number:
the rows of the first modality in their order, then items that only later modalities know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from clear_cli.embeddings.base import IdKind, Mask, Rows
from clear_cli.embeddings.ids import (
    Index,
    Keys,
    Positions,
    as_kind,
    common_kind,
    fold,
    folded_in_one_order,
    keys_of,
    keys_of_rows,
    read_keys,
    refuse_duplicates,
)
from clear_cli.embeddings.npy_ids import open_ids
from clear_cli.errors import DataError
from clear_cli.health import Hashes, mix

LIST_ROWS = 1 << 17

NO_GROUP = np.uint64(0)
"""The group of an item that has none."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where each row stands among the items.

    Attributes:
        items: Number of items; item numbers are 0 .. items - 1.
        positions: Per modality, (rows,) the item number of each row, -1 for an item that no other modality
            has; None where row i is item i.
        folded: (items,) what decides an item's hash; None where it is the item's number.
        shared: (items,) which items more than one modality has a row for; None for all.
        fit: (items,) which items may enter the fit; None for all.
        unknown_fit_items: Ids of the fit list that no modality has.
        groups: (items,) hash of the group of each item, whose items stay together; None where there are no groups.
    """

    items: int
    positions: dict[str, Positions | None]
    folded: Hashes | None
    shared: Mask | None
    fit: Mask | None
    unknown_fit_items: int = 0
    groups: Hashes | None = None

    def item_numbers(self, modality: str, start: int, rows: int) -> Positions:
        """Item numbers of some consecutive rows of a modality, -1 for none: (rows,)."""
        positions = self.positions[modality]
        return np.arange(start, start + rows) if positions is None else positions[start : start + rows]

    def hashes(self, items: slice) -> Hashes:
        """A hash of the id of each of some consecutive items, for sampling: (n,)."""
        return mix(np.arange(items.start, items.stop, dtype=np.uint64) if self.folded is None else self.folded[items])

    def shared_items(self, a: str, b: str) -> int:
        """How many items both modalities have a row for."""
        return int(np.count_nonzero(self._present(a) & self._present(b)))

    def _present(self, modality: str) -> Mask:
        present = np.zeros(self.items, dtype=bool)
        positions = self.positions[modality]
        if positions is None:
            # The first modality's items come first; later modalities may have added more.
            present[:] = True
        else:
            present[positions[positions >= 0]] = True
        return present


def grouped(alignment: Alignment, modality: str, groups: Rows) -> Alignment:
    """The alignment with the groups that the rows of one modality belong to, which `groups` has as its ids."""
    hashes = np.full(alignment.items, NO_GROUP)
    start = 0
    for values in groups.ids():
        numbers = alignment.item_numbers(modality, start, len(values))
        known = numbers >= 0
        hashes[numbers[known]] = mix(fold(keys_of(values)))[known]
        start += len(values)
    return replace(alignment, groups=hashes)


def align(sources: Mapping[str, Rows], fit_items: Path | None = None) -> Alignment:
    """Match the rows of all modalities by item id.

    Raises:
        DataError: Kinds of ids that cannot match, duplicate ids, unequal lengths without ids, an empty fit list.
    """
    kind = common_kind(sources)
    nobody = keys_of_rows(0)
    if kind == "row":
        items = next(iter(sources.values())).rows
        fit, unknown = _fit_mask(lambda: keys_of_rows(items), nobody, fit_items, "integer")
        return Alignment(items, dict.fromkeys(sources), None, None, fit, unknown)
    folded = folded_in_one_order(sources, kind)
    if folded is None:
        return _match(sources, kind, fit_items)
    name, first = next(iter(sources.items()))
    refuse_duplicates(folded, name, first)
    fit, unknown = _fit_mask(lambda: read_keys(first, kind), nobody, fit_items, kind)
    return Alignment(first.rows, dict.fromkeys(sources), folded, None, fit, unknown)


def _match(sources: Mapping[str, Rows], kind: IdKind, fit_items: Path | None) -> Alignment:
    """The alignment of modalities that differ in items, or in their order."""
    positions: dict[str, Positions | None] = {}
    known = others = keys_of_rows(0)
    for modality, source in sources.items():
        keys = read_keys(source, kind)
        refuse_duplicates(keys[:, 0], modality, source)
        if not positions:
            positions[modality], known = None, keys
        elif np.array_equal(keys, known):
            positions[modality] = None
        else:
            found = Index(known).find(keys)
            new = np.flatnonzero(found < 0)
            if modality == list(sources)[-1]:
                others = keys[new]  # nobody is left to share these with
            else:
                found[new] = len(known) + np.arange(len(new))
                known = np.concatenate([known, keys[new]])
            positions[modality] = found
    # Items that a later modality added are absent from the earlier ones that were thought complete.
    for modality, source in sources.items():
        if positions[modality] is None and source.rows < len(known):
            positions[modality] = np.arange(source.rows)
    holders = np.zeros(len(known), dtype=np.uint8)
    for places in positions.values():
        holders[slice(None) if places is None else places[places >= 0]] += 1
    fit, unknown = _fit_mask(lambda: known, others, fit_items, kind)
    return Alignment(len(known), positions, fold(known), holders > 1, fit, unknown)


def _fit_mask(
    known_keys: Callable[[], Keys], others: Keys, fit_items: Path | None, kind: IdKind
) -> tuple[Mask | None, int]:
    """Which of the known items the list names, and how many of its ids are neither known nor among the others."""
    if fit_items is None:
        return None, 0
    listed = list(open_ids(fit_items).blocks(LIST_ROWS))
    wanted = np.unique(np.concatenate([keys_of_rows(0), *(_keys_as(ids, kind, fit_items) for ids in listed)]), axis=0)
    known = known_keys()
    found = Index(known).find(wanted)
    if not (found >= 0).any():
        raise DataError("no id in the list of items to fit on is known", where=fit_items, ids=f"{len(wanted):,}")
    mask = np.zeros(len(known), dtype=bool)
    mask[found[found >= 0]] = True
    return mask, int(np.count_nonzero(Index(others).find(wanted[found < 0]) < 0))


def _keys_as(ids: pa.Array, kind: IdKind, where: Path) -> Keys:
    ids = as_kind(ids, kind, where=where)
    if pa.types.is_integer(ids.type) != (kind == "integer"):
        raise DataError(f"the list of items to fit on holds {ids.type}, and the modalities have strings", where=where)
    return keys_of(ids)
