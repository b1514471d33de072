"""Order books: the levels, a snapshot and the changes after it. Pure.

``Join`` (join.py) follows the sequences alone and is what a worker can afford; ``JoinedBook`` holds the levels too;
``rebuild`` turns a topic's records into the book at each step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from msgspec import Struct

from etl.exchanges import channel_family
from etl.model.decimals import EXACT
from etl.model.records import Book, BookAction, Gap, GapKind, GapState, Record
from etl.sequencing.gap import NO_EVENT_BEFORE
from etl.sequencing.join import Join

Level = tuple[str, str]
"""Price and size as the venue wrote them."""


class OrderBook:
    """The levels of one symbol. Prices are compared as numbers and given back as they were written."""

    def __init__(self) -> None:
        self._bids: dict[Decimal, Level] = {}
        self._asks: dict[Decimal, Level] = {}

    def apply(self, record: Book) -> None:
        if record.book_action is BookAction.SNAPSHOT:
            self._bids.clear()
            self._asks.clear()
        for side, prices, sizes in (
            (self._bids, record.bid_prices, record.bid_sizes),
            (self._asks, record.ask_prices, record.ask_sizes),
        ):
            for price, size in zip(prices, sizes, strict=True):
                _set(side, price, size, is_relative=record.book_action is BookAction.RELATIVE)
        if record.depth:
            self._truncate(record.depth)

    def bids(self, levels_max: int = 0) -> list[Level]:
        """Best first; 0 = all."""
        return [self._bids[price] for price in sorted(self._bids, reverse=True)[: levels_max or None]]

    def asks(self, levels_max: int = 0) -> list[Level]:
        """Best first; 0 = all."""
        return [self._asks[price] for price in sorted(self._asks)[: levels_max or None]]

    @property
    def is_crossed(self) -> bool:
        """Best bid at or above best ask: within one venue's own book, proof that it is wrong."""
        return bool(self._bids and self._asks) and max(self._bids) >= min(self._asks)

    def _truncate(self, depth: int) -> None:
        for side, worst_first in (
            (self._bids, sorted(self._bids)),
            (self._asks, sorted(self._asks, reverse=True)),
        ):
            for price in worst_first[: max(0, len(worst_first) - depth)]:
                del side[price]


class JoinedBook:
    """One symbol's book, whole or waiting."""

    def __init__(self) -> None:
        self.join = Join()
        self.levels = OrderBook()
        self.begun_ns = 0
        """When the snapshot came that it goes back to."""

    def take(self, record: Book) -> Iterator[Book]:
        """Apply ``record`` and what it releases; each applied record as soon as it is in ``levels``."""
        for applied in self.join.take(record):
            self.levels.apply(applied)
            if applied.book_action is BookAction.SNAPSHOT:
                self.begun_ns = applied.receive_time_ns
            if self.levels.is_crossed:
                self.join.reset(f"crossed at {applied.sequence}")
                return
            yield applied


class Step(Struct, frozen=True):
    """The book of ``symbol`` after ``record``. ``levels`` is live: read it before taking the next step."""

    exchange: str
    symbol: str
    record: Book
    levels: OrderBook


def rebuild(records: Iterable[Record]) -> Iterator[Step]:
    """The books at each step, from the records of the normalized topic in their order, of any number of symbols.

    A gap of the book's channel that its ids do not show resets that symbol: the next snapshot begins anew.
    """
    books: dict[tuple[str, str, str], JoinedBook] = {}
    for record in records:
        if not isinstance(record, Book | Gap):
            continue
        key = (record.exchange, record.symbol, channel_family(record.exchange, record.channel))
        if isinstance(record, Gap):
            if key in books and breaks(record, books[key]):
                books[key].join.reset(record.reason or record.gap_kind.name.lower())
            continue
        book = books.setdefault(key, JoinedBook())
        for applied in book.take(record):
            yield Step(record.exchange, record.symbol, applied, book.levels)


def breaks(gap: Gap, book: JoinedBook) -> bool:
    """Whether the book cannot go on: not where ids prove the hole themselves, nothing was there before, or the hole was
    declared before the snapshot that the book begins with. What becomes of a hole (its end, its repair) is told later,
    by the same gap."""
    if 0 < gap.detected_time_ns < book.begun_ns:
        return False
    told_by_ids = gap.from_sequence is not None or gap.to_sequence is not None
    told_by_ids = told_by_ids or (NO_EVENT_BEFORE in gap.flags and book.join.sequence is not None)
    harmless = gap.gap_kind in (GapKind.START, GapKind.SOURCE_HOLE) or gap.gap_state is GapState.REPAIRED
    return not told_by_ids and not harmless


def _set(side: dict[Decimal, Level], price: str, size: str, is_relative: bool) -> None:
    key = Decimal(price)
    amount = Decimal(size)
    if is_relative and key in side:
        amount = EXACT.add(amount, Decimal(side[key][1]))
        size = f"{amount:f}"
    if amount == 0:
        side.pop(key, None)
    else:
        side[key] = (price, size)
