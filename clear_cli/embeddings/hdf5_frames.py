"""Frames that pandas stores in HDF5 (`DataFrame.to_hdf`), in its fixed format.

A frame is a group with the attribute `pandas_type`: the values of each type in a matrix `block<i>_values`, one row
for each of the frame's, and its index in `axis1`. What pandas pickles there is never loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from clear_cli.errors import DataError

INDEX = "axis1"


def frame_index(group: Any, name: str, option: str, path: Path) -> str | None:
    """The dataset that holds the index of a frame; None where the group is no frame.

    Args:
        group: The group.
        name: Its path.
        option: What names another id dataset, for messages.
        path: The file, for messages.

    Raises:
        DataError: An index that cannot be item ids.
    """
    if _text(group, "pandas_type") != "frame":
        return None
    levels = _text(group, f"{INDEX}_variety") == "multi"
    kind = "several levels" if levels else _text(group.get(INDEX), "kind") or "nothing"
    if kind in ("string", "integer"):
        return f"{name}/{INDEX}"
    pickled = _text(group.get(INDEX), "PSEUDOATOM") == "object"
    raise DataError(
        f'the index of the pandas frame "{name}" cannot hold item ids: it is '
        + ("pickled, and pickles are not loaded" if pickled else f"of {kind}"),
        where=path,
        fix=f"store the frame with an index of strings or of integers, or {option}",
    )


def refuse_table(group: h5py.Group, path: Path) -> None:
    """Refuse frames in the table format of pandas, in this group or as this group.

    Raises:
        DataError: There is one.
    """
    for one in (group, *(group.values() if len(group) < 1000 else ())):
        if _text(one, "pandas_type") == "frame_table":
            raise DataError(
                f'"{one.name.strip("/")}" is a pandas frame in table format, which is not supported',
                where=path,
                fix="store it in fixed format: frame.to_hdf(path, key=..., format='fixed')",
            )


def _text(item: Any, name: str) -> str | None:
    """An attribute that is text, in any of the forms that it may have."""
    value = None if item is None else item.attrs.get(name)
    return value.decode(errors="replace") if isinstance(value, bytes) else value if isinstance(value, str) else None
