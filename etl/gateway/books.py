"""Order books as they stand, joined from the topic for who asks: the last snapshot of each, and the changes since.

Nothing is kept for it: to follow every book of a topic would cost more than all else that the gateway does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec import structs

from etl.errors import WireError
from etl.exchanges import channel_family
from etl.gateway.entry import Entry, entry_of
from etl.model.records import Book, BookAction, Gap, Kind
from etl.sequencing.book import JoinedBook, breaks
from etl.transports.ranges import RangeReader
from etl.wire.codec import decode, encode, parse

BOOK, GAP = int(Kind.BOOK), int(Kind.GAP)
BACK_MESSAGES_MAX = 200_000
"""Of a partition: a book whose last snapshot lies further back is not told."""
STEP_MESSAGES = 20_000


def standing_books(
    reader: RangeReader, ends: Mapping[int, int], wants: Callable[[tuple[bytes, int]], bool]
) -> list[tuple[int, bytes]]:
    """The partition and a message of action ``snapshot`` of each book that is whole at ``ends``. Blocks.

    Raises ``TransportError``."""
    lows = {partition: bounds.low for partition, bounds in reader.bounds().items()}
    return [
        (partition, message)
        for partition, end in ends.items()
        for message in _joined(_changes(reader, partition, lows[partition], end, wants))
    ]


def _changes(
    reader: RangeReader, partition: int, low: int, end: int, wants: Callable[[tuple[bytes, int]], bool]
) -> list[Entry]:
    """Books' messages and gaps, back to where each book that was seen has a snapshot."""
    entries: list[Entry] = []
    low = max(low, end - BACK_MESSAGES_MAX)
    begun: set[bytes] = set()
    while end > low:
        start = max(low, end - STEP_MESSAGES)
        step = [
            entry
            for message in reader.read_on(partition, start, end)
            if (entry := entry_of(message)) is not None
            and entry.route[1] in (BOOK, GAP)
            and wants((entry.route[0], BOOK))
        ]
        entries = step + entries
        begun |= {entry.route[0] for entry in step if entry.route[1] == BOOK and _is_snapshot(entry.value)}
        if begun and begun >= {entry.route[0] for entry in entries if entry.route[1] == BOOK}:
            break
        end = start
    return entries


def _is_snapshot(value: bytes) -> bool:
    try:
        return bool(parse(value).book_action == BookAction.SNAPSHOT)
    except WireError:
        return False


def _joined(entries: Iterable[Entry]) -> list[bytes]:
    books: dict[tuple[str, str, str], JoinedBook] = {}
    last: dict[tuple[str, str, str], Book] = {}
    for entry in entries:
        try:
            record = decode(entry.value)
        except WireError:
            continue
        if not isinstance(record, Book | Gap):
            continue
        key = (record.exchange, record.symbol, channel_family(record.exchange, record.channel))
        if isinstance(record, Gap):
            if key in books and breaks(record, books[key]):
                books[key].join.reset(record.reason)
            continue
        for applied in books.setdefault(key, JoinedBook()).take(record):
            last[key] = applied
    return [
        encode(_snapshot(last[key], book))
        for key, book in books.items()
        if book.join.is_joined and key in last
    ]


def _snapshot(last: Book, book: JoinedBook) -> Book:
    """What the book is after ``last``."""
    bids, asks = book.levels.bids(), book.levels.asks()
    return structs.replace(
        last,
        book_action=BookAction.SNAPSHOT,
        first_sequence=None,
        previous_sequence=None,
        bid_prices=tuple(price for price, _ in bids),
        bid_sizes=tuple(size for _, size in bids),
        ask_prices=tuple(price for price, _ in asks),
        ask_sizes=tuple(size for _, size in asks),
        bid_orders=(),
        ask_orders=(),
    )
