"""The report as one typed object, which the page and the Markdown render: what the diagnostics and the manifest say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clear_cli.report.modalities import Modality
from clear_cli.report.pairs import Document, Pair, number_of
from clear_cli.report.verdict import Recommendation, Verdict, recommendation, verdict
from clear_cli.report.words import listed

FITTED = ("run", "fit", "diagnose")
FILES = 5
"""Files listed of each input."""


@dataclass(frozen=True)
class InputFile:
    """A file that was read."""

    name: str
    size: int
    digest: str


@dataclass(frozen=True)
class InputOf:
    """What one modality was read from; of many files, the first few, and the digests of all.

    Digests are hashes of the contents where it is `hashed`, and what a store says of a file where not.
    """

    modality: str
    container: str
    rows: int
    files: tuple[InputFile, ...]
    more: int
    digests: tuple[str, ...]
    hashed: bool


@dataclass(frozen=True)
class Report:
    """All that a report says.

    Attributes:
        command: What was done: run, fit, apply or diagnose; empty where the manifest is missing.
        version: Of this package, when it was done.
        fitted: The modalities were fitted, and not only projected by an earlier fit.
        pairs: With their verdicts, in the same order.
        parameters: By name, as text.
        versions: Of the libraries.
        loudness: The largest mean row norm over the smallest, before and after.
    """

    command: str
    version: str
    fitted: bool
    recommendation: Recommendation
    verdicts: tuple[Verdict, ...]
    pairs: tuple[Pair, ...]
    modalities: tuple[Modality, ...]
    warnings: tuple[str, ...]
    parameters: Mapping[str, str]
    inputs: tuple[InputOf, ...]
    versions: Mapping[str, str]
    loudness: tuple[float | None, float | None]

    @property
    def names(self) -> list[str]:
        """The modalities."""
        return [one.name for one in self.modalities]

    @property
    def title(self) -> str:
        """What it is about."""
        return f"{'Redundancy of' if self.fitted else 'New items:'} {listed(self.names)}"

    @property
    def partial(self) -> bool:
        """Whether a strength below 1 leaves some of what is removed: an invertible map."""
        return any(one.changed and (one.strength is None or one.strength < 1) for one in self.modalities)

    @classmethod
    def of(cls, diagnostics: Document, manifest: Document | None = None, *, item_ids: bool = True) -> Report:
        """From the documents that a use-case writes.

        Args:
            diagnostics: As in diagnostics.json.
            manifest: As in manifest.json, with or without its outputs; None where it is not known.
            item_ids: Name items by their ids, and not only by their rows.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: They are not such documents.
        """
        manifest = manifest or {}
        inputs = manifest.get("inputs") or {}
        pairs = tuple(Pair.of(one) for one in diagnostics.get("pairs") or ())
        found = diagnostics["modalities"]
        modalities = tuple(
            Modality.of(name, found[name], _kept_in_sample(name, pairs), item_ids=item_ids)
            for name in _in_order(found, pairs)
        )
        command = str(manifest.get("command") or "")
        scales = diagnostics.get("scale_ratio") or {}
        loudness = number_of(scales.get("before")), number_of(scales.get("after"))
        fitted = command in FITTED if command else not any(pair.new_items for pair in pairs)
        return cls(
            command=command,
            version=str((diagnostics.get("tool") or {}).get("version") or ""),
            fitted=fitted,
            recommendation=recommendation(pairs, modalities, loudness[0], fitted=fitted),
            verdicts=tuple(verdict(pair) for pair in pairs),
            pairs=pairs,
            modalities=modalities,
            warnings=tuple(str(one) for one in diagnostics.get("warnings") or ()),
            parameters={str(key): _text(value) for key, value in sorted((manifest.get("parameters") or {}).items())},
            inputs=tuple(_input(one.name, inputs[one.name]) for one in modalities if one.name in inputs),
            versions={str(key): str(value) for key, value in sorted((manifest.get("versions") or {}).items())},
            loudness=loudness,
        )


def _in_order(found: Document, pairs: tuple[Pair, ...]) -> list[str]:
    """Names in the order that they were given in, which the pairs keep, where JSON sorts its keys; others after."""
    paired = dict.fromkeys(name for pair in pairs for name in pair.modalities if name in found)
    return [*paired, *sorted(found.keys() - paired.keys())]


def _kept_in_sample(name: str, pairs: tuple[Pair, ...]) -> float | None:
    kept = (
        pair.sample.variance_kept[pair.modalities.index(name)]
        for pair in pairs
        if pair.sample is not None and name in pair.modalities
    )
    return next(kept, None)


def _input(name: str, found: Document) -> InputOf:
    files = found.get("files") or []
    digests = tuple(str(one.get("xxh3_128", one.get("etag", ""))) for one in files)
    return InputOf(
        modality=name,
        container=str((found.get("layout") or {}).get("container") or ""),
        rows=int(found.get("rows") or 0),
        files=tuple(
            InputFile(str(one["name"]), int(one["bytes"]), digest)
            for one, digest in zip(files[:FILES], digests, strict=False)
        ),
        more=max(len(files) - FILES, 0),
        digests=digests,
        hashed=all("xxh3_128" in one for one in files),
    )


def _text(value: Any) -> str:
    """A parameter as text; one that is the same for all modalities, or all directions, is said once."""
    if isinstance(value, Mapping):
        texts = {str(key): _text(one) for key, one in sorted(value.items())}
        if len(set(texts.values())) == 1 and len(texts) > 1:
            return next(iter(texts.values()))
        return ", ".join(f"{key}: {one}" for key, one in texts.items()) or "none"
    if isinstance(value, (list, tuple)):
        return _text_of_many(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def _text_of_many(values: Sequence[Any]) -> str:
    """Values in a row; of many numbers, as of a soft strength, the least and the most."""
    texts = [_text(one) for one in values]
    if len(set(texts)) == 1:
        return texts[0]
    if len(values) > FILES and all(isinstance(one, int | float) for one in values):
        return f"{_text(min(values))} to {_text(max(values))} by direction"
    return ", ".join(texts) or "none"
