"""Remove cross-modal redundancy from item embeddings before a multimodal recommender trains on them.

    fitted = clear_cli.fit({"image": image, "text": text}, rank=16)
    clean = clear_cli.apply(fitted, {"image": image, "text": text})

The same names as the commands, on arrays and on paths. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from clear_cli.api import Fit, apply, fit, inspect, load, run
    from clear_cli.errors import ClearError

__all__ = ["ClearError", "Fit", "__version__", "apply", "fit", "inspect", "load", "run"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from clear_cli import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
