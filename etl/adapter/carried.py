"""Which venue symbols a connection, or a worker, carries. Pure."""

from __future__ import annotations

from collections.abc import Collection

ALL = "*"
"""In a subscription: all symbols that the venue has. Polygon writes it with the letter of a class before it, `O:*`."""


class Carried:
    """``symbols`` of subscriptions, as a set that has what they stand for."""

    def __init__(self, symbols: Collection[str]) -> None:
        self._symbols = frozenset(symbols)
        self.has_all = any(is_all(symbol) for symbol in symbols)

    def __contains__(self, venue_symbol: str) -> bool:
        return self.has_all or venue_symbol in self._symbols


def is_all(venue_symbol: str) -> bool:
    return venue_symbol.endswith(ALL)
