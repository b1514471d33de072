"""The lake. For research: ``from etl.lake import Lake, asof``; both are loaded when they are first asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etl.lake.as_of import asof
    from etl.lake.asked import IncompleteWarning
    from etl.lake.estimate import LargeScanWarning
    from etl.lake.research import Lake
    from etl.lake.result import Result

__all__ = ["IncompleteWarning", "Lake", "LargeScanWarning", "Result", "asof"]
_MODULES = {
    "IncompleteWarning": "asked",
    "Lake": "research",
    "LargeScanWarning": "estimate",
    "Result": "result",
    "asof": "as_of",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
