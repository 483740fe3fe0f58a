"""Files for people, made of outputs that were published before: the report of one, the comparison of several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from clear_cli.errors import UsageError
from clear_cli.publish_file import FilePublication
from clear_cli.remote import is_remote
from clear_cli.report.comparison import Comparison
from clear_cli.workflow.published import FLAWS, damaged, read_output
from clear_cli.workflow.reporting import PAGE

MARKDOWN_ENDINGS, PAGE_ENDINGS = {".md", ".markdown"}, {".html", ".htm"}


def report(folder: Path, out: Path | None = None, *, item_ids: bool = True, overwrite: bool = False) -> Path:
    """Make the report of an output directory again, outside of it: what it holds is what its manifest says.

    Args:
        folder: The output of run, fit, apply or diagnose.
        out: The file to write, a page or Markdown by its ending. None: report.html in the current folder.
        item_ids: Name items by their ids, unless the output was made without.
        overwrite: Replace a file.

    Returns:
        The file.

    Raises:
        DataError: There are no diagnostics, or they are damaged or of another schema version.
        UsageError: The file would lie inside the output, or has an ending that says nothing.
        OutputError: The file exists, or the disk refuses.
    """
    from clear_cli.report.render import encoded, html, markdown  # slow to import

    target = Path.cwd() / PAGE if out is None else out
    staging = _file(target, [folder], what="the report", overwrite=overwrite)
    found = read_output(folder).report(item_ids=item_ids)
    try:
        text = encoded((markdown if _is_markdown(target) else html)(found))
    except FLAWS as error:
        raise damaged(folder) from error
    _write(staging, text)
    return target


def compare(outputs: Sequence[Path], out: Path | None = None, *, overwrite: bool = False) -> Comparison:
    """Set the outputs of several runs side by side, and write the comparison where a file is given.

    Args:
        outputs: Output directories of run, fit, apply or diagnose, or diagnostics.json files.
        out: The file to write, a page or Markdown by its ending.
        overwrite: Replace a file.

    Raises:
        DataError: As in `report`; or the outputs have no modality in common.
        UsageError: As in `report`; or there are fewer than two outputs.
        OutputError: As in `report`.
    """
    if len(outputs) < 2:
        raise UsageError("there is nothing to compare with", where=outputs[0], fix="clear-cli compare DIR1 DIR2")
    staging = None if out is None else _file(out, outputs, what="the comparison", overwrite=overwrite)
    compared = Comparison.of([_as_given(path) for path in outputs], [read_output(path).report() for path in outputs])
    if staging is not None:
        from clear_cli.report.render import comparison_html, comparison_markdown, encoded  # slow to import

        _write(staging, encoded((comparison_markdown if _is_markdown(staging.target) else comparison_html)(compared)))
    return compared


def _file(target: Path, outputs: Sequence[Path], *, what: str, overwrite: bool) -> FilePublication:
    """Where to write; refused before anything is read."""
    if target.suffix.lower() not in MARKDOWN_ENDINGS | PAGE_ENDINGS:
        raise UsageError(
            f'{what} is a page or Markdown, and "{target.name}" is neither',
            where="--out",
            fix=f"--out {target.stem or what.split()[-1]}.html",
        )
    staging = FilePublication(target, what=what, option="--out", overwrite=overwrite)
    staging.refuse_overlap(outputs, other="an output")
    return staging


def _as_given(path: Path) -> str:
    # "." and ".." are called by the name of the folder.
    return str(path) if is_remote(path) or path.name not in {"", ".."} else Path(os.path.abspath(path)).name  # noqa: PTH100


def _is_markdown(target: Path) -> bool:
    return target.suffix.lower() in MARKDOWN_ENDINGS


def _write(staging: FilePublication, text: bytes) -> None:
    def write(path: Path) -> None:
        path.write_bytes(text)

    with staging:
        staging.write(write)
        staging.publish()
