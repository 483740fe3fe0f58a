"""The items table: one row per modality and input row, saying what became of it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clear_cli.embeddings.parquet_layout import table_writer
from clear_cli.health import Status

_STATUSES = pa.array([status.label for status in Status])
_NAMES = pa.dictionary(pa.int8(), pa.string())
GROUP_ROWS = 1 << 17
FIGURES = ("removed", "norm_before", "norm_after", "moved")
"""Those of each row that the table holds."""


class ItemsWriter:
    """Writes `items.parquet`, chunk by chunk. Use as a context manager.

    Args:
        path: The file to write.
        id_type: Arrow type of the item ids.
    """

    def __init__(self, path: Path, id_type: pa.DataType) -> None:
        fields = [("item_id", id_type), ("modality", _NAMES), ("row", pa.int64()), ("status", _NAMES)]
        self._schema = pa.schema(fields + [(name, pa.float64()) for name in FIGURES])
        self._stack = ExitStack()
        self._writer = self._stack.enter_context(table_writer(path, self._schema, repeating=["modality", "status"]))
        self._waiting: list[pa.Table] = []

    def __enter__(self) -> ItemsWriter:
        return self

    def __exit__(self, *error: object) -> None:
        with self._stack:
            if error[0] is None:
                self._write_waiting()

    def write(
        self,
        modality: str,
        ids: pa.Array,
        start: int,
        status: npt.NDArray[np.uint8],
        figures: dict[str, npt.NDArray[np.float64]],
    ) -> None:
        """Add consecutive rows of a modality.

        Args:
            modality: Its name.
            ids: n item ids.
            start: Row number of the first.
            status: (n,) statuses.
            figures: (n,) each; null in the table where a row holds no values.
        """
        n = len(status)
        valueless = (status == Status.MISSING) | (status == Status.NON_FINITE)
        columns: list[Any] = [
            ids,
            pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, dtype=np.int8)), pa.array([modality])),
            pa.array(np.arange(start, start + n)),
            pa.DictionaryArray.from_arrays(pa.array(status.astype(np.int8)), _STATUSES),
            *(pa.array(figures[name], mask=valueless) for name in FIGURES),
        ]
        self._waiting.append(pa.table(columns, schema=self._schema))
        if sum(map(len, self._waiting)) >= GROUP_ROWS:
            self._write_waiting()

    def _write_waiting(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting).unify_dictionaries()
            self._writer.write_table(table, row_group_size=len(table))
            self._waiting = []
