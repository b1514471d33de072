"""The levels of one book as a venue file keeps them, for a checksum over the best of them. Pure.

Prices and sizes stay the venue's own text, which most checksums are made of. For joining snapshots and changes see
``etl/sequencing``; this book trusts the order of what it is given.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from decimal import Decimal

from etl.adapter.fields import Columns
from etl.model.records import Book, BookAction

LEVELS_MAX = 10_000
"""Of one side, where the venue keeps no fewer: the worst go first."""

Level = tuple[str, str]


class _Side:
    """Keys rise from the best to the worst."""

    def __init__(self, rises: bool, levels_max: int) -> None:
        self._rises = rises
        self._levels_max = levels_max
        self._keys: list[Decimal] = []
        self._levels: dict[Decimal, Level] = {}

    def clear(self) -> None:
        self._keys.clear()
        self._levels.clear()

    def change(self, prices: Sequence[str], sizes: Sequence[str]) -> None:
        for price, size in zip(prices, sizes, strict=True):
            key = Decimal(price) if self._rises else Decimal(price).copy_negate()
            if not size.strip("0."):
                if self._levels.pop(key, None) is not None:
                    del self._keys[bisect_left(self._keys, key)]
            else:
                if key not in self._levels:
                    insort(self._keys, key)
                self._levels[key] = (price, size)
        for key in self._keys[self._levels_max :]:
            del self._levels[key]
        del self._keys[self._levels_max :]

    def best(self, count: int) -> list[Level]:
        return [self._levels[key] for key in self._keys[:count]]


class LevelBook:
    """``depth``: how many levels the venue keeps of a side (``Channel.depth``), 0 = all of them, up to
    ``LEVELS_MAX``; what falls behind is forgotten, as the venue forgets it."""

    def __init__(self, depth: int = 0) -> None:
        levels_max = min(depth, LEVELS_MAX) or LEVELS_MAX
        self._bids, self._asks = _Side(False, levels_max), _Side(True, levels_max)

    def apply(self, record: Book) -> None:
        """A snapshot begins anew; a change sets sizes, 0 removes."""
        if record.book_action is BookAction.SNAPSHOT:
            self._bids.clear()
            self._asks.clear()
        self.change((record.bid_prices, record.bid_sizes), (record.ask_prices, record.ask_sizes))

    def change(self, bids: Columns, asks: Columns) -> None:
        """Numbers in any spelling, where a checksum is made of another than the record's (``2e-8``)."""
        self._bids.change(*bids)
        self._asks.change(*asks)

    def bids(self, count: int = LEVELS_MAX) -> list[Level]:
        """(price, size) from the best on."""
        return self._bids.best(count)

    def asks(self, count: int = LEVELS_MAX) -> list[Level]:
        return self._asks.best(count)
