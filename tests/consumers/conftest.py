from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.consumers import environments
from tests.environments import Script

Find = Callable[[str], Script]


@pytest.fixture(scope="session")
def find(tmp_path_factory: pytest.TempPathFactory) -> Find:
    """Find a consumer by the name of its script; its environment is built on first use."""
    scratch = tmp_path_factory.mktemp("consumers")
    return lambda name: environments.consumer(name, scratch)
