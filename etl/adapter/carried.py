"""Which venue symbols a connection, or a worker, carries. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from etl.adapter.series import is_share, share_of

ALL = "*"
"""In a subscription: all symbols that the venue has. Polygon writes it with the letter of a class before it, `O:*`."""

SEPARATOR = ","
"""Between the symbols of one request; no venue's symbol has it."""


class Carried:
    """``symbols`` of subscriptions, as a set that has what they stand for."""

    def __init__(self, symbols: Collection[str]) -> None:
        self._symbols = frozenset(symbols)
        self._shares = tuple(share_of(symbol) for symbol in symbols if is_share(symbol))
        self.has_all = any(is_all(symbol) for symbol in symbols)

    def __contains__(self, venue_symbol: str) -> bool:
        if self.has_all or venue_symbol in self._symbols:
            return True
        return any(venue_symbol in share for share in self._shares)

    def akin(self, venue_symbols: Iterable[str]) -> set[str]:
        """Those that may stand for some of the same: shares change with the number of workers."""
        if self.has_all:
            return set(venue_symbols)
        prefixes = tuple(share.prefix for share in self._shares)
        return {symbol for symbol in venue_symbols if prefixes and symbol.startswith(prefixes)}


def is_all(venue_symbol: str) -> bool:
    return venue_symbol.endswith(ALL)


def together(venue_symbols: Iterable[str]) -> str:
    """Several symbols, as one request asks for them."""
    return SEPARATOR.join(venue_symbols)


def apart(venue_symbols: str) -> tuple[str, ...]:
    """Those that ``together`` joined."""
    return tuple(venue_symbols.split(SEPARATOR))


def is_many(venue_symbol: str) -> bool:
    """Whether it stands for symbols that it does not name."""
    return is_all(venue_symbol) or is_share(venue_symbol)
