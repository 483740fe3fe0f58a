"""The journal of a run that can be resumed: which part files are finished, and what became of their rows.

It lies in the hidden workspace, beside the files that it speaks of, until these are published:

    run.json                         what decides the bytes of a part: version, parameters, inputs, projector, ...
    parts/<folder>/<n>.<modality>.rows   statuses and figures of the rows of part n, chunk by chunk, as NumPy arrays
    parts/<folder>/<n>.json          part n is finished: fingerprints of it and of the above, and the totals of each
                                     modality from its first row to the end of the part

The fit is made again, for what it holds is larger than what it costs to read the rows once: the projector must come out
the same to the byte. Of a container that is not a folder of parts there is nothing to go on from. Nothing has to be
safe on the disk: what a hash does not confirm is written again, and so is every part after it.
"""

from __future__ import annotations

import json
import shutil
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from clear_cli.disk import fingerprint
from clear_cli.embeddings.base import PartSink, Sink
from clear_cli.machine import Progress

RUN = "run.json"
State = dict[str, Any]
Arrays = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]


class Journal:
    """What earlier runs into the same place have finished, and what this one does. A context manager.

    Args:
        folder: Of the journal; made when there is something to keep.
        files: The folder whose subfolders hold the part files.
        run: What decides the bytes of a part; asked when all of it is known.
        progress: Who is told what is made of them.
    """

    def __init__(self, folder: Path, files: Path, run: Callable[[], State], progress: Progress) -> None:
        self._folder, self._files, self._run, self._progress = folder, files, run, progress
        self._containers: list[PartFiles] = []
        self._begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        kept = sum(one.finished for one in self._containers)
        if self._begun and not kept:
            shutil.rmtree(self._folder, ignore_errors=True)  # nothing to go on from
        elif self._folder.exists():
            told = f"{kept:,} finished parts are kept" if self._begun else "what was finished before is kept"
            self._progress.say(f"{told}: the same command with --resume goes on from there")

    def begin(self) -> None:
        """Forget what an earlier run has finished, unless it was this one."""
        self._begun = True
        before, run = _read(self._folder / RUN), json.loads(json.dumps(self._run()))  # tuples become lists
        changed = [key.replace("_", " ") for key, value in run.items() if before.get(key) != value]
        if before and not changed:
            return
        if before:
            self._progress.say(f"all parts are written again, for this has changed: {', '.join(changed)}")
        for folder in (self._folder, self._files):
            shutil.rmtree(folder, ignore_errors=True)
        (self._folder / "parts").mkdir(parents=True)
        (self._folder / RUN).write_text(json.dumps(run))

    def container(self, name: str, modalities: Sequence[str], sink: Sink) -> PartFiles | None:
        """The part files of one container, and its sink told to go on after them; None where there are none.

        Whatever else is there is removed.
        """
        target = self._files / name
        if not isinstance(sink, PartSink) or len(sink.parts) < 2:
            target.unlink(missing_ok=True) if target.is_file() else shutil.rmtree(target, ignore_errors=True)
            return None
        parts = PartFiles(self._folder / "parts" / name, target, sink.parts, modalities)
        sink.resume(parts.finished, parts.written)
        if parts.finished:
            self._progress.say(f"{name}: {parts.finished:,} of {len(sink.parts):,} parts are finished already")
        self._containers.append(parts)
        return parts


class PartFiles:
    """The parts of one container. Those that are finished are the first ones.

    Args:
        folder: Where to keep the journal of them.
        target: Where they are.
        parts: Their paths below it, and the rows of each.
        modalities: Those that they hold.

    Attributes:
        finished: How many parts are.
    """

    def __init__(
        self, folder: Path, target: Path, parts: Sequence[tuple[Path, int]], modalities: Sequence[str]
    ) -> None:
        self._folder, self._target, self._modalities = folder, target, modalities
        self._names = [name for name, _ in parts]
        self._ends = [0, *accumulate(rows for _, rows in parts)]
        self._lock = Lock()
        self.finished = 0
        self._last: State = {}
        while self.finished < len(parts) and (totals := self._confirmed(self.finished)) is not None:
            self.finished, self._last = self.finished + 1, totals
        # A part without rows ends where the one before it does, and so with its totals.
        self._totals = {(name, self._ends[self.finished]): one for name, one in self._last.items()}
        self._written = self.finished
        self._remove_unfinished()

    def replayed(self, modality: str) -> Iterator[Arrays]:
        """The statuses (n,) and figures (f, n) of each chunk of the finished parts."""
        for part in range(self.finished):
            path = self._rows(part, modality)
            if path.exists():
                with path.open("rb") as file:
                    while file.peek(1):
                        yield np.load(file, allow_pickle=False), np.load(file, allow_pickle=False)

    def totals(self, modality: str) -> State | None:
        """The totals of a modality up to the end of the finished parts; None before the first row."""
        return self._last.get(modality)

    def measured(self, modality: str, start: int, arrays: Arrays, totals: Callable[[], State]) -> None:
        """Keep what became of the rows of a chunk.

        Args:
            modality: Whose.
            start: Number of the first row.
            arrays: Statuses and figures, as `replayed` gives them.
            totals: The totals up to the end of the chunk.
        """
        part = bisect_right(self._ends, start) - 1
        with self._rows(part, modality).open("wb" if start == self._ends[part] else "ab") as file:
            for array in arrays:
                np.save(file, array, allow_pickle=False)
        end = start + len(arrays[0])
        if end == self._ends[part + 1]:
            with self._lock:
                self._totals[modality, end] = totals()
                self._finish()

    def written(self) -> None:
        """Take note that the next part is complete."""
        with self._lock:
            self._written += 1
            self._finish()

    def _finish(self) -> None:
        """Enter the parts that are written and whose rows are measured."""
        while (part := self.finished) < self._written:
            end = self._ends[part + 1]
            totals = {name: self._totals[name, end] for name in self._modalities if (name, end) in self._totals}
            if end and len(totals) < len(self._modalities):
                return
            entry = {"fingerprints": self._fingerprints(part), "totals": totals}
            self._entry(part).write_text(json.dumps(entry))
            self.finished += 1
            self._totals = {key: one for key, one in self._totals.items() if key[1] >= end}

    def _confirmed(self, part: int) -> State | None:
        """The totals at the end of a part, if its files are as its entry says."""
        entry = _read(self._entry(part))
        try:
            return entry["totals"] if entry["fingerprints"] == self._fingerprints(part) else None
        except (OSError, KeyError):
            return None

    def _fingerprints(self, part: int) -> State:
        rows = {name: self._rows(part, name) for name in self._modalities}
        files = {"": self._target / self._names[part], **{name: path for name, path in rows.items() if path.exists()}}
        return {name: fingerprint(path) for name, path in files.items()}

    def _remove_unfinished(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        parts = range(self.finished)
        kept = {self._target / self._names[part] for part in parts} | {self._entry(part) for part in parts}
        kept |= {self._rows(part, name) for part in parts for name in self._modalities}
        for path in (*self._target.rglob("*"), *self._folder.iterdir()):
            if path.is_file() and path not in kept:
                path.unlink()

    def _entry(self, part: int) -> Path:
        return self._folder / f"{part}.json"

    def _rows(self, part: int, modality: str) -> Path:
        return self._folder / f"{part}.{modality}.rows"


def promise(folder: Path, manifest: State) -> tuple[bool, int, int]:
    """What a journal promises to a run with this manifest; of several, the largest promises most.

    Returns:
        Whether it is of such a run, as far as that is known before the fit; how many parts are finished; how new it is.
    """
    before = _read(folder / RUN)
    known = json.loads(json.dumps({key: manifest[key] for key in ("version", "command", "parameters")}))
    alike = {key: before.get(key) for key in known} == known
    entries = [path.stat().st_mtime_ns for path in (folder / "parts").glob("*/*.json")]
    return alike, len(entries), max(entries, default=0)


def _read(path: Path) -> State:
    """A JSON object; an empty one where there is none, or half of one."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
