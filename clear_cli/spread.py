"""A figure over folds: its mean, how sure that is, and what it would be by chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365}
"""The 97.5 % point of Student's t, by degrees of freedom."""


def spread(values: Sequence[float | None], chance: Sequence[float | None]) -> dict[str, Any]:
    """`value` (mean over the folds), `low` and `high` (95 % interval of it, from Student's t), `chance`, `folds`.

    Folds share most of what they were learned on, so the interval is a little too narrow (Bengio & Grandvalet 2004).
    """
    known = [value for value in values if value is not None]
    by_chance = [value for value in chance if value is not None]
    if not known:
        return {"value": None, "low": None, "high": None, "chance": None, "folds": []}
    mean, degrees = float(np.mean(known)), len(known) - 1
    reach = T_975[degrees] * float(np.std(known, ddof=1)) / math.sqrt(len(known)) if degrees else math.nan
    return {
        "value": mean,
        "low": mean - reach,
        "high": mean + reach,
        "chance": float(np.mean(by_chance)) if by_chance else None,
        "folds": known,
    }
