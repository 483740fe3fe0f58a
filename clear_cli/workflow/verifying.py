"""Whether an output is still what was published: its files against the hashes in its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clear_cli.disk import fingerprints
from clear_cli.embeddings.base import shown, unreadable
from clear_cli.errors import DataError
from clear_cli.publish import MANIFEST, read_manifest
from clear_cli.publish_remote import revisions
from clear_cli.remote import is_remote, reachable


@dataclass(frozen=True)
class Verdict:
    """What became of the files of an output, by their paths inside it.

    Attributes:
        unchanged: How many are as they were published.
        changed: Those with other contents.
        missing: Those in the manifest alone.
        additional: Those not in the manifest.
    """

    unchanged: int
    changed: list[str]
    missing: list[str]
    additional: list[str]

    def refuse(self, where: object) -> None:
        """Raise a DataError unless every file is as it was published, and there is no other."""
        found = {key: shown(names) for key in ("changed", "missing", "additional") if (names := getattr(self, key))}
        if found:
            problem = "the output is not what was published"
            first = "move the additional files away, and " if self.additional else ""
            raise DataError(problem, where=where, fix=f"{first}run again with --overwrite", **found)


def verify(out: Path) -> Verdict:
    """Compare every file of an output directory with its manifest.

    In a store, files are known by size and entity tag.

    Raises:
        DataError: There is no manifest of ours, or a file cannot be read.
    """
    with reachable(out):
        if not is_remote(out) and not out.exists():
            raise unreadable(FileNotFoundError(), out)
        manifest = read_manifest(out)
        published = None if manifest is None else manifest.get("outputs")
        if not isinstance(published, dict):
            raise DataError(
                f"no {MANIFEST} of ours here", where=out, fix="give an output directory of run, fit, diagnose or apply"
            )
        try:
            found = revisions(out) if is_remote(out) else fingerprints(out, but=MANIFEST)
        except OSError as error:
            raise unreadable(error, error.filename or out) from error
    both = published.keys() & found.keys()
    changed = sorted(name for name in both if published[name] != found[name])
    return Verdict(
        unchanged=len(both) - len(changed),
        changed=changed,
        missing=sorted(published.keys() - found.keys()),
        additional=sorted(found.keys() - published.keys()),
    )
