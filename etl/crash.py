"""Named places between two writes that must agree. A rig hooks one, to let the process die there as by ``kill -9``;
``etl/bench/crash_at.py`` is that rig. Without it nothing happens at any of them.
"""

from __future__ import annotations

from collections.abc import Callable

BETWEEN_RAW_AND_NORMALIZED = "between_raw_and_normalized"
AFTER_INTENT = "after_intent"
IN_INSERT = "in_insert"
BETWEEN_INSERTS = "between_inserts"
AFTER_INSERT = "after_insert"
BEFORE_COMMIT = "before_commit"
BEFORE_TIMESCALE_COMMIT = "before_timescale_commit"
BETWEEN_LAKE_FILE_AND_CATALOG = "between_lake_file_and_catalog"
BETWEEN_LAKE_COMMITS = "between_lake_commits"

_hooks: dict[str, Callable[[], None]] = {}
"""Of the whole process, for a command makes its objects itself. Filled before the command begins, or never."""


def hook(point: str, action: Callable[[], None]) -> None:
    """``action`` is called whenever ``point`` is reached."""
    _hooks[point] = action


def is_hooked(point: str) -> bool:
    return point in _hooks


def reach(point: str) -> None:
    if _hooks and point in _hooks:
        _hooks[point]()
