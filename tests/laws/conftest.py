"""One hypothesis profile for all laws: the same few examples on every run.

HYPOTHESIS_PROFILE=thorough makes many; mutants makes few, for tests that run thousands of times (`make mutants`).
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

slow_is_fine = [HealthCheck.too_slow, HealthCheck.data_too_large]
common = {"deadline": None, "database": None, "suppress_health_check": slow_is_fine}
settings.register_profile("ci", max_examples=25, derandomize=True, phases=set(Phase) - {Phase.explain}, **common)
settings.register_profile(
    "mutants", max_examples=4, derandomize=True, phases=(Phase.explicit, Phase.generate), **common
)
settings.register_profile("thorough", max_examples=500, **common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
