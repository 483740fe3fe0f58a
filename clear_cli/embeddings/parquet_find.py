"""Which columns are meant: the embeddings and the item ids, by name or by their types."""

from __future__ import annotations

import fnmatch
import re
from collections import defaultdict

import pyarrow as pa

from clear_cli.embeddings import base
from clear_cli.embeddings.parquet_columns import Embedding, ListColumn, WideColumns, list_size, list_type
from clear_cli.errors import DataError

SUPPORTED = (
    "list, large_list or fixed_size_list of float16, float32 or float64, views of these; a one-dimensional "
    "tensor; a vector of Spark ML; float columns as in emb_*"
)
OPTION = "--embedding-column"


def find_embedding(schema: pa.Schema, asked: str | None, *, modality: str, where: object) -> Embedding:
    """The embeddings that are asked for (a list column, or a glob over float columns), else the only ones there.

    Raises:
        DataError: There are none, or more than one, or their type is not supported.
    """
    if asked is None:
        candidates = _candidates(schema)
        present = [f"{name} ({kind})" for name, kind in _present(schema).items()]
        asked = base.guess(
            candidates, what="embedding column", option=OPTION, modality=modality, where=where, present=present
        )
    if asked not in schema.names:
        return _find_wide(schema, asked, modality, where)
    kind = _column_type(schema, asked, where)
    lists = list_type(kind)
    if lists is None:
        raise DataError(f'column "{asked}" of type {kind} cannot hold embeddings', where=where, supported=SUPPORTED)
    return ListColumn(asked, kind, list_size(lists) or 0)


def _candidates(schema: pa.Schema) -> list[str]:
    """What may be embeddings: lists, and columns of floats that are numbered."""
    wide = [pattern for pattern, names in _numbered(schema).items() if len(names) > 1]
    return [field.name for field in schema if list_type(field.type)] + wide


def _find_wide(schema: pa.Schema, asked: str, modality: str, where: object) -> WideColumns:
    """The float columns that match a glob, which have to share one pattern and one type."""
    groups = _numbered(schema)
    if asked in groups:
        matches = {asked: groups[asked]}
    else:
        matches = {pattern: kept for pattern, names in groups.items() if (kept := fnmatch.filter(names, asked))}
    present = list(_present(schema))
    if not matches:
        likely = _candidates(schema)
        base.named(asked, present, what="column", option=OPTION, modality=modality, where=where, likely=likely)
    pattern = base.guess(
        list(matches), what="group of columns", option=OPTION, modality=modality, where=where, present=present
    )
    types = {name: _column_type(schema, name, where) for name in matches[pattern]}
    first, kind = next(iter(types.items()))
    for name, other in types.items():
        if other != kind:
            raise DataError(f"embedding columns differ in type: {first} is {kind}, {name} is {other}", where=where)
    return WideColumns(asked, kind, tuple(types))


def find_ids(schema: pa.Schema, asked: str | None, *, modality: str, where: object) -> str:
    """The id column that is asked for, else the one that looks like it.

    Raises:
        DataError: There is none, or more than one, or its type cannot be an id.
    """
    option = "--id-column"
    present = _present(schema)
    candidates = [field.name for field in schema if base.id_kind_of(field.type)]
    if asked is None:
        described = [f"{name} ({kind})" for name, kind in present.items()]
        asked = base.guess_id(candidates, option=option, modality=modality, where=where, present=described)
    if asked not in schema.names:
        base.named(
            asked, list(present), what="column", option=option, modality=modality, where=where, likely=candidates
        )
    base.canonical_ids(pa.array([], _column_type(schema, asked, where)), where=where)
    return asked


def _numbered(schema: pa.Schema) -> dict[str, list[str]]:
    """Scalar float columns whose names end in a number, by what they have in common, in numeric order."""
    groups: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for field in schema:
        number = re.search(r"\d+$", field.name)
        if number and pa.types.is_floating(field.type):
            groups[f"{field.name[: number.start()]}*"].append((int(number[0]), field.name))
    return {pattern: [name for _, name in sorted(columns)] for pattern, columns in groups.items()}


def _present(schema: pa.Schema) -> dict[str, str]:
    """All columns with their types, as messages list them: numbered float columns as one."""
    wide = {pattern: names for pattern, names in _numbered(schema).items() if len(names) > 1}
    members = {name for names in wide.values() for name in names}
    present = {field.name: str(field.type) for field in schema if field.name not in members}
    return present | {pattern: f"{len(names)} columns" for pattern, names in wide.items()}


def _column_type(schema: pa.Schema, name: str, where: object) -> pa.DataType:
    if len(schema.get_all_field_indices(name)) > 1:
        raise DataError(f'more than one column is called "{name}"', where=where)
    return schema.field(name).type
