"""What one client wants of the topic, within what its token is good for."""

from __future__ import annotations

from etl.errors import UsageError
from etl.gateway.selection import Selection

SELECTIONS_MAX = 1_000
"""Of one client."""
ROUTES_MAX = 50_000
"""Instruments and kinds of which is remembered whether this client wants them."""


class Interest:
    def __init__(self, allowed: Selection) -> None:
        self.allowed = allowed
        self._selections: list[Selection] = []
        self._known: dict[tuple[bytes, int], bool] = {}

    def wants(self, route: tuple[bytes, int]) -> bool:
        known = self._known.get(route)
        if known is None:
            if len(self._known) >= ROUTES_MAX:
                self._known.clear()
            known = self.allowed.matches(route) and any(one.matches(route) for one in self._selections)
            self._known[route] = known
        return known

    def add(self, selection: Selection) -> None:
        """Raises ``UsageError``."""
        if len(self._selections) >= SELECTIONS_MAX:
            raise UsageError(f"at most {SELECTIONS_MAX} selections")
        self._selections.append(selection)
        self._known.clear()

    def remove(self, selection: Selection) -> None:
        """Raises ``UsageError``."""
        if selection not in self._selections:
            raise UsageError("unsubscribe: nothing was subscribed to in these words")
        self._selections.remove(selection)
        self._known.clear()
