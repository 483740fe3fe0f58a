"""What goes wrong, said once: the problem, where it is, and how to fix it.

Every error that a user can cause is a `ClearError`. Its text is part of the product:

    error: column "embeding" not found
      in: items/image/part-003.parquet
      columns: item_id, embedding
      fix: --embedding-column image=embedding
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ClearError(Exception):
    """An error that the user can act on.

    Args:
        problem: What is wrong, in one line without a final stop.
        where: The file, dataset or option at fault.
        fix: What to do about it.
        flags: The options that it is about, as they are written; also that of `where`, if that is one.
        said: What was said of them, where more than that may have been.
        **details: Further labelled lines (candidates, both numbers), shown between `in` and `fix`.
    """

    exit_code = 1

    def __init__(
        self,
        problem: str,
        *,
        where: object = None,
        fix: str | None = None,
        flags: Iterable[str] = (),
        said: object = None,
        **details: object,
    ) -> None:
        super().__init__(problem)
        self.flags = (*flags, *([where] if isinstance(where, str) and where.startswith("-") else []))
        self.said = said
        self.problem = problem
        self.where = where
        self.fix = fix
        self.details = details

    def __str__(self) -> str:
        """The error as it is shown, without the leading `error: `."""
        lines = [self.problem]
        if self.where is not None:
            lines.append(f"  in: {self.where}")
        lines += [f"  {label.replace('_', ' ')}: {value}" for label, value in self.details.items()]
        if self.fix is not None:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


class UsageError(ClearError):
    """The command line, or the arguments of a call, make no sense."""

    exit_code = 2


class DataError(ClearError):
    """An input cannot be used as it is."""

    exit_code = 3


class OutputError(ClearError):
    """The output, or the machine, refuses: no space, no permission, something in the way."""

    exit_code = 4


class GateError(ClearError):
    """A figure does not pass a gate; what was written stays."""

    exit_code = 5


def closest(word: object, known: Iterable[str]) -> str | None:
    """The known word that is most like one that is not known; None where there are none."""
    return next(iter(difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.0)), None)
