"""Values of options, read from a text or an argument: for all modalities, or for some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar, get_args

from clear_cli.errors import UsageError, closest
from clear_cli.rank import RankRule

T = TypeVar("T")

Strength = float | Literal["soft"]


@dataclass(frozen=True)
class PerModality(Generic[T]):
    """A value for every modality: the named ones have their own, the others the plain one."""

    plain: T
    named: Mapping[str, T] = field(default_factory=dict)

    def __getitem__(self, modality: str) -> T:
        return self.named.get(modality, self.plain)

    @classmethod
    def of(
        cls, value: Any, read: Callable[[Any], T], plain: T, modalities: Iterable[str], option: str
    ) -> PerModality[T]:
        """From an argument of a call: one value for all, or a mapping of some modalities to theirs.

        Raises:
            UsageError: A modality that does not exist.
        """
        if isinstance(value, PerModality):
            pairs, plain = value.named, value.plain
        elif isinstance(value, Mapping):
            pairs = {name: read(one) for name, one in value.items()}
        else:
            return cls(plain if value is None else read(value))
        for name in pairs:
            known_modality(name, list(modalities), option=option)
        return cls(plain, pairs)

    @classmethod
    def parse(
        cls, texts: Sequence[str], read: Callable[[str], T], plain: T, modalities: Sequence[str], option: str
    ) -> PerModality[T]:
        """From repeated options: `VALUE` for all modalities, `NAME=VALUE` for one.

        Raises:
            UsageError: A modality that does not exist, or one that is given twice.
        """
        named: dict[str, T] = {}
        plains: list[T] = []
        for text in texts:
            name, equals, value = text.partition("=")
            if not equals:
                plains.append(read(text))
                continue
            known_modality(name, modalities, option=option)
            if name in named:
                raise UsageError(f'{option} is given twice for "{name}"', flags=[option], said=name)
            named[name] = read(value)
        if len(plains) > 1:
            raise UsageError(f"{option} is given twice", fix=f"{option} NAME=VALUE for one modality", flags=[option])
        return cls(plains[0] if plains else plain, named)


def known_modality(name: str, modalities: Sequence[str], *, option: str) -> None:
    """Check that a modality exists.

    Raises:
        UsageError: It does not; the message lists those that do and suggests the nearest.
    """
    if name in modalities:
        return
    nearest = closest(name, modalities)
    raise UsageError(
        f'no modality "{name}"',
        where=option,
        said=name,
        modalities=", ".join(modalities),
        fix=f"{option} {nearest}=..." if nearest else None,
    )


def read_strength(value: Any) -> Strength:
    """A strength between 0 and 1, from a number or its text; or `soft`.

    Raises:
        UsageError: It is neither.
    """
    return "soft" if value == "soft" else read_number(value, known="a number between 0 and 1, or soft")


def read_number(value: Any, known: str = "a number between 0 and 1") -> float:
    """A strength between 0 and 1, from a number or its text.

    Raises:
        UsageError: It is neither.
    """
    try:
        strength = float(value)
    except (TypeError, ValueError):
        strength = -1.0
    if not 0 <= strength <= 1:
        raise UsageError(f'strength "{value}" is not {known}', fix="--strength 0.8", flags=["--strength"], said=value)
    return strength


def read_share(value: Any, option: str) -> float:
    """A share in (0, 1], from 0.99, "0.99" or "99%".

    Raises:
        UsageError: It is neither.
    """
    text = str(value).strip()
    try:
        share = RankRule(text).share if text.endswith("%") else float(text)
    except ValueError:
        share = None
    if share is None or not 0 < share <= 1:
        raise UsageError(f'"{value}" is not a percentage', where=option, fix=f"{option} 99%")
    return float(share)


def read_rank(value: Any) -> RankRule:
    """A rank rule from 16, "16", "90%" or a RankRule. Errors as in `RankRule.parse`."""
    return value if isinstance(value, RankRule) else RankRule.parse(str(value))


def check_choice(value: str, choices: Any, option: str) -> None:
    """Check that a value is one of the choices of an option.

    Raises:
        UsageError: It is not; the message lists them and suggests the nearest.
    """
    known = get_args(choices)
    if value not in known:
        fix = f"{option} {closest(value, known)}"
        raise UsageError(f'"{value}" is not a value of {option}', known=", ".join(known), fix=fix, flags=[option])
