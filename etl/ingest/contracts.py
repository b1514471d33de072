"""Which contracts of series are to be subscribed to, let go and forgotten, and when. Pure, bounded.

    listed, or told of ─> planned ─ ahead_s before it opens ─> carried ─ over for kept_s ─> left ─ FORGET_S ─> forgotten

A contract is over when the venue tells it, or when the list has it no more. What the venue says of
one that is over, its result for instance, comes late: these messages are followed for ``STATUSES_KEPT_S``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

from msgspec import Struct

from etl.adapter.series import Contract, Series
from etl.model.times import NS_PER_S

CONTRACTS_MAX = 20_000
"""Planned and carried at once; those beyond wait for the end of others."""
CATCH_UP_S = 3_600.0
"""Of a contract that opened longer ago the history is not asked for: that is a backfill."""
FORGET_S = 10.0
"""After a contract was let go: what was under way to us has come."""
STATUSES_KEPT_S = 86_400.0


class Due(Struct, frozen=True):
    """What is to be done now, by venue symbol. ``joins``: when each opens, 0 = so long ago that it does not matter, or
    nobody knows. ``statuses``: of these, the venue will have said all that it says."""

    joins: Sequence[Contract]
    leaves: Sequence[str]
    forgets: Sequence[str]
    statuses: Sequence[str]


class Contracts:
    """Of the series of one worker."""

    def __init__(self, series: Series) -> None:
        self._ahead_ns = int(series.ahead_s * NS_PER_S)
        self._kept_ns = int(series.kept_s * NS_PER_S)
        self._planned: dict[str, Contract] = {}
        self._carried: dict[str, int] = {}
        """Since when it is over, 0 = it is not."""
        self._left: dict[str, int] = {}
        self._said: dict[str, int] = {}
        """When to forget it, and what was said of it."""
        self.turned_away = 0
        """How often a contract found no room."""

    def __len__(self) -> int:
        """How many are known in any way."""
        return len(self._planned.keys() | self._carried.keys() | self._left.keys() | self._said.keys())

    def list(self, contracts: Iterable[Contract], now_ns: int) -> None:
        """The whole list, as it stood at ``now_ns``."""
        listed = {contract.venue_symbol: contract for contract in contracts}
        self._planned = {symbol: each for symbol, each in self._planned.items() if symbol in listed}
        for symbol, over_ns in self._carried.items():
            self._carried[symbol] = 0 if symbol in listed else over_ns or now_ns
        for contract in listed.values():
            self._plan(contract)

    def tell(self, contract: Contract, now_ns: int) -> None:
        """What the venue says of one contract."""
        symbol = contract.venue_symbol
        if not contract.is_over:
            self._plan(contract)
            return
        self._planned.pop(symbol, None)
        if symbol in self._carried:
            self._carried[symbol] = self._carried[symbol] or now_ns
        else:
            self._hear_last(symbol, now_ns)

    def leave(self, venue_symbols: Iterable[str], now_ns: int) -> None:
        """Of these something is known from before; those that are neither planned nor carried are over."""
        for symbol in venue_symbols:
            if symbol not in self._planned and symbol not in self._carried:
                self._leave(symbol, now_ns)

    def due(self, now_ns: int) -> Due:
        opening = [each for each in self._planned.values() if each.opens_ns <= now_ns + self._ahead_ns]
        leaves = [
            symbol
            for symbol, over_ns in self._carried.items()
            if over_ns and now_ns - over_ns >= self._kept_ns
        ]
        for contract in opening:
            del self._planned[contract.venue_symbol]
            self._carried[contract.venue_symbol] = 0
        for symbol in leaves:
            del self._carried[symbol]
            self._leave(symbol, now_ns)
        since_ns = now_ns - int(CATCH_UP_S * NS_PER_S)
        joins = [each if each.opens_ns >= since_ns else Contract(each.venue_symbol) for each in opening]
        return Due(joins, leaves, _taken(self._left, now_ns), _taken(self._said, now_ns))

    def _plan(self, contract: Contract) -> None:
        symbol = contract.venue_symbol
        if symbol in self._carried or symbol in self._left:
            return
        if symbol not in self._planned and len(self._planned) + len(self._carried) >= CONTRACTS_MAX:
            self.turned_away += 1
            return
        self._planned[symbol] = contract

    def _leave(self, symbol: str, now_ns: int) -> None:
        self._left[symbol] = now_ns + int(FORGET_S * NS_PER_S)
        self._hear_last(symbol, now_ns)

    def _hear_last(self, symbol: str, now_ns: int) -> None:
        self._said.pop(symbol, None)
        self._said[symbol] = now_ns + int(STATUSES_KEPT_S * NS_PER_S)


def _taken(due_ns: dict[str, int], now_ns: int) -> list[str]:
    """Those whose time has come, taken out; they stand in the order of their times."""
    taken = list(takewhile(lambda symbol: due_ns[symbol] <= now_ns, due_ns))
    for symbol in taken:
        del due_ns[symbol]
    return taken
