"""Numbers as they are read: what is missing is a dash, and the sign of a negative number is a minus."""

from __future__ import annotations

from collections.abc import Sequence

from clear_cli.report.pairs import Change, Estimate

MISSING = "–"
DUST = 1e-9
"""A share so near to nothing, or to all, differs from it by what arithmetic rounds."""


def number(value: float | None, decimals: int | None = None) -> str:
    """So many decimals: two, or where that would show next to nothing three or two significant digits."""
    if value is None:
        return MISSING
    if decimals is None and value and not 5e-4 <= abs(value) < 1e5:
        return _signed(f"{value:.2g}")
    text = f"{value:,.{3 if abs(value) < 0.1 and value else 2}f}" if decimals is None else f"{value:.{decimals}f}"
    return text.removeprefix("-") if not float(text.replace(",", "")) else _signed(text)


def percent(value: float | None) -> str:
    """Whole percent; what is neither nothing nor all is not rounded to it."""
    if value is None:
        return MISSING
    if DUST < value < 0.005:
        return "< 1%"
    return "> 99%" if 0.995 < value < 1 - DUST else _signed(f"{round(100 * value) or 0:,}%")


def count(value: float | None) -> str:
    """A whole number with thousands separated."""
    return MISSING if value is None else _signed(f"{value:,.0f}")


def interval(found: Estimate | None, *, shown: str = "number") -> str:
    """A figure with its interval."""
    if found is None:
        return MISSING
    write = percent if shown == "percent" else number
    if found.low is None or found.high is None:
        return write(found.value)
    return f"{write(found.value)} ({write(found.low)} to {write(found.high)})"


def change(found: Change) -> tuple[str, str, str]:
    """Before, after and chance."""
    return number(found.before), number(found.after), number(found.chance)


def strength(value: float | None) -> str:
    """A strength; one that differs by direction is soft."""
    return "soft" if value is None else f"{value:g}"


def listed(words: Sequence[str]) -> str:
    """Words in a row: a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _signed(text: str) -> str:
    return text.replace("-", "−")
