"""How long a question to the lake may take, and whether anybody still waits for its answer."""

from __future__ import annotations

import time
from collections.abc import Callable

from etl.errors import EtlError
from etl.gateway.ranges import TooLarge


class GaveUp(EtlError):
    """Who asked has gone."""


class Patience:
    """From now on ``within_s``, or until ``has_gone``, which is asked on the thread that waits."""

    def __init__(self, within_s: float, has_gone: Callable[[], bool]) -> None:
        self._within_s = within_s
        self._until_s = time.monotonic() + within_s
        self._has_gone = has_gone

    def check(self) -> None:
        """Raises ``TooLarge`` or ``GaveUp`` once it is at its end."""
        if time.monotonic() >= self._until_s:
            raise TooLarge(f"takes longer than {self._within_s:g} s; ask for less")
        if self._has_gone():
            raise GaveUp("nobody waits for the answer any more")
