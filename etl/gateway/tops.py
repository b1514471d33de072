"""The best of one instrument: the first levels of its books, and mid and spread of its quotes. Pure.

Both are told as they stand, if they changed, however many messages changed them.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from etl.exchanges import channel_family
from etl.model.decimals import EXACT
from etl.model.derived import BookTop, Mid
from etl.model.records import Book, Gap, Quote
from etl.sequencing.book import JoinedBook, Level, breaks

CHANNELS_MAX = 8
"""Of books of one instrument."""


class BookTops:
    """The first ``depth`` levels of the book of each channel."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._books: dict[str, _Top] = {}

    def take(self, record: Book | Gap) -> None:
        family = channel_family(record.exchange, record.channel)
        top = self._books.get(family)
        if isinstance(record, Gap):
            if top is not None and breaks(record, top.book):
                top.book.join.reset(record.reason)
            return
        if top is None:
            if len(self._books) >= CHANNELS_MAX:
                return
            top = self._books[family] = _Top()
        for applied in top.book.take(record):
            top.last = applied

    def reset(self) -> None:
        """Messages are missing."""
        for top in self._books.values():
            top.book.join.reset("messages are missing")

    def told(self) -> Iterator[BookTop]:
        for top in self._books.values():
            if (told := top.told(self._depth)) is not None:
                yield told


class _Top:
    def __init__(self) -> None:
        self.book = JoinedBook()
        self.last: Book | None = None
        self._seen: Book | None = None
        self._told: tuple[bool, list[Level], list[Level]] = (False, [], [])

    def told(self, depth: int) -> BookTop | None:
        """``None`` if it is what was told last."""
        is_joined, last = self.book.join.is_joined, self.last
        if last is None or (last is self._seen and is_joined == self._told[0]):
            return None
        self._seen = last
        bids = self.book.levels.bids(depth) if is_joined else []
        asks = self.book.levels.asks(depth) if is_joined else []
        if (is_joined, bids, asks) == self._told:
            return None
        self._told = (is_joined, bids, asks)
        return BookTop(
            exchange=last.exchange,
            symbol=last.symbol,
            channel=last.channel,
            event_time_ns=last.event_time_ns,
            receive_time_ns=last.receive_time_ns,
            sequence=last.sequence,
            bid_prices=tuple(price for price, _ in bids),
            bid_sizes=tuple(size for _, size in bids),
            ask_prices=tuple(price for price, _ in asks),
            ask_sizes=tuple(size for _, size in asks),
            is_joined=is_joined,
        )


class Mids:
    """Of the last quote."""

    def __init__(self) -> None:
        self._last: Quote | None = None
        self._told: tuple[str | None, str | None] = (None, None)

    def take(self, quote: Quote) -> None:
        self._last = quote

    def told(self) -> Iterator[Mid]:
        last = self._last
        if last is None or (last.bid, last.ask) == self._told:
            return
        self._told = (last.bid, last.ask)
        mid, spread = _mid_and_spread(last.bid, last.ask)
        yield Mid(
            exchange=last.exchange,
            symbol=last.symbol,
            event_time_ns=last.event_time_ns,
            receive_time_ns=last.receive_time_ns,
            bid=last.bid,
            ask=last.ask,
            mid=mid,
            spread=spread,
        )


def _mid_and_spread(bid: str | None, ask: str | None) -> tuple[str | None, str | None]:
    if bid is None or ask is None:
        return None, None
    low, high = Decimal(bid), Decimal(ask)
    return f"{EXACT.divide(EXACT.add(low, high), Decimal(2)):f}", f"{EXACT.subtract(high, low):f}"
