"""What a book of OKX has to prove beyond its ids: that it began with a snapshot, and, until June 2026, its checksum."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, zip_longest
from zlib import crc32

from etl.adapter.contract import BookBroken, Outcome, Rejected
from etl.adapter.levels import LevelBook
from etl.exchanges._okx_wire import BOOK
from etl.model.records import Book, BookAction, Frame
from etl.model.times import NS_PER_S

BOOK_LEVELS = 400
"""The venue sends the removal of what leaves them."""
CHECKSUM_LEVELS = 25
CHECKSUM_UNTIL_NS = 1_782_172_800 * NS_PER_S
"""2026-06-23: the checksum is 0 since."""


class Books:
    """Those of one connection, by venue symbol."""

    def __init__(self) -> None:
        self._levels: dict[str, LevelBook] = {}
        """Where frames have a checksum, and no change was missed."""
        self._has_snapshot: dict[str, bool] = {}
        """Whether the venue began the book with one."""

    def began_with_a_change(self, symbol: str) -> bool:
        return not self._has_snapshot.get(symbol, True)

    def lose(self, symbol: str) -> None:
        """A change could not be read."""
        self._levels.pop(symbol, None)

    def doubts(self, frame: Frame, record: Outcome, checksum: int, symbol: str) -> Iterator[BookBroken]:
        """What is wrong with the book after ``record``, once until its next snapshot; 0 is no checksum."""
        if isinstance(record, Rejected):
            self.lose(symbol)
        if not isinstance(record, Book):
            return
        is_snapshot = record.book_action is BookAction.SNAPSHOT
        if is_snapshot:
            self._has_snapshot[symbol] = True
        elif symbol not in self._has_snapshot:
            self._has_snapshot[symbol] = False
            yield BookBroken(symbol, BOOK, "it begins with a change, no snapshot came")
        if frame.receive_time_ns >= CHECKSUM_UNTIL_NS:
            return
        if is_snapshot:
            self._levels[symbol] = LevelBook(BOOK_LEVELS)
        if (levels := self._levels.get(symbol)) is None:
            return
        levels.apply(record)
        ours = checksum_of(levels)
        if checksum not in (0, ours):
            self.lose(symbol)
            yield BookBroken(symbol, BOOK, f"checksum {checksum}, ours is {ours}")


def checksum_of(book: LevelBook) -> int:
    """CRC-32, signed, of the best levels in turn: bid price, bid size, ask price, ask size; the shorter side lacks."""
    pairs = zip_longest(book.bids(CHECKSUM_LEVELS), book.asks(CHECKSUM_LEVELS), fillvalue=())
    value = crc32(":".join(chain.from_iterable(bid + ask for bid, ask in pairs)).encode())
    return value - (value >> 31 << 32)
