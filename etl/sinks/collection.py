"""How often Python's collector runs where messages come and go by the ten thousand."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

COLLECT_AFTER_OBJECTS = 100_000
"""Messages come some thousand at once and go again, none of them in a cycle: after 700 objects, the default, the
collector walks them over and over, for a tenth to a quarter of a sink's CPU, and a third of an export's."""


@contextmanager
def rare_collection() -> Iterator[None]:
    """Of the whole process, until its end; a decorator too."""
    before = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
