"""The order book of one symbol at an instant, from the messages that a store holds: the last snapshot before it and the
changes since.

A message counts at the venue's time, or at ours where the venue tells none. The book is whole if nothing is known to be
missing between that snapshot and the instant; otherwise it is what was left, and ``BookAt`` says why it may be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec import Struct

from etl.errors import UsageError
from etl.exchanges import channel_family, load
from etl.model.records import Book, BookAction, Source
from etl.model.times import NS_PER_S, NS_PER_US, text_of
from etl.sequencing.book import JoinedBook, Level
from etl.settings import Settings
from etl.stores.query import Ask, opened, plain

MESSAGES_TABLES = {"clickhouse": "books", "lake": "book_updates"}
"""Where each store keeps a book's messages, one a row. TimescaleDB keeps none."""
MESSAGES_MAX = 2_000_000
"""Between the snapshot and the instant; a stream that has gone on for longer is asked about in vain."""
HELD_NS = 60 * NS_PER_S
"""A change that came so long before the snapshot may still continue it: a snapshot that is asked for is older than what
arrives meanwhile."""

_TIME = "CASE event_time_ns WHEN 0 THEN receive_time_ns ELSE event_time_ns END"
_COLUMNS = (
    "venue_symbol, channel, event_time_ns, receive_time_ns, connection_id, frame_sequence, frame_index, record_key, "
    "sequence, first_sequence, previous_sequence, book_action, bid_prices, bid_sizes, ask_prices, ask_sizes, depth"
)
_ARRIVAL = "receive_time_ns, connection_id, frame_sequence, frame_index"
_HARMLESS = "('start', 'source_hole')"
"""Kinds of gaps that say nothing of this book: it began after the one, and in the other the venue has nothing."""
_SNAPSHOTS = "book_action = 'snapshot'"


class BookAt(Struct, frozen=True):
    """Levels as (price, size), best first. ``time_ns`` and ``sequence`` are those of the last message in it.
    ``doubts`` say what may be missing, nothing = the book is whole."""

    exchange: str
    symbol: str
    channel: str
    at_ns: int
    time_ns: int
    sequence: int | None
    bids: list[Level]
    asks: list[Level]
    doubts: list[str]


def book_at(
    settings: Settings,
    store: str,
    exchange: str,
    symbol: str,
    at_ns: int,
    channel: str = "",
    levels_max: int = 0,
) -> BookAt:
    """``symbol`` is the unified one; ``channel``, or its family, may be left out where the symbol has one book;
    ``levels_max`` of a side, 0 = all.

    Raises ``UsageError`` where there is no snapshot before the instant, or several books; ``StoreError``.
    """
    if store not in MESSAGES_TABLES:
        raise UsageError(f"{store}: books are in {' and '.join(MESSAGES_TABLES)}")
    with opened(settings, store) as ask:
        messages = _Messages(ask, MESSAGES_TABLES[store], exchange, symbol, channel)
        snapshot = messages.last_snapshot(at_ns)
        records = list(messages.since(snapshot, at_ns))
        doubts = messages.gaps(snapshot, at_ns)
    book = JoinedBook()
    last = snapshot
    for record in records:
        for applied in book.take(record):
            last = applied
    if not book.join.is_joined:
        doubts.append(book.join.break_reason)
    elif book.join.held_messages:
        doubts.append(f"{book.join.held_messages} later changes do not continue {book.join.sequence}")
    return BookAt(
        exchange, symbol, messages.family, at_ns, _time_of(last), book.join.sequence,
        _shown(book.levels.bids(levels_max)), _shown(book.levels.asks(levels_max)), doubts,
    )  # fmt: skip


class _Messages:
    """What a store holds of one book: of the channels of one family, as a snapshot that is asked for has another name
    than the changes that continue it."""

    def __init__(self, ask: Ask, table: str, exchange: str, symbol: str, channel: str) -> None:
        self._ask, self._table = ask, table
        self._exchange, self._symbol = exchange, symbol
        self._where = f"exchange = {_quoted(exchange)} AND symbol = {_quoted(symbol)}"
        load(exchange)
        names: dict[str, list[str]] = {}
        for (name,) in self._rows("channel", (), "GROUP BY channel ORDER BY channel"):
            names.setdefault(channel_family(exchange, name), []).append(name)
        if len(names) > 1 and not channel:
            raise UsageError(f"{exchange} {symbol} has several books, name one: {', '.join(sorted(names))}")
        self.family = channel_family(exchange, channel) if channel else next(iter(names), "")
        self._of_channel = f"channel IN ({', '.join(map(_quoted, names.get(self.family, [self.family])))})"

    def last_snapshot(self, at_ns: int) -> Book:
        """The one that the book at ``at_ns`` begins with."""
        [[time_ns]] = self._rows(
            f"max({_TIME})",
            (
                self._of_channel,
                _SNAPSHOTS,
                f"time <= {_instant(at_ns + NS_PER_US - 1)}",
                f"{_TIME} <= {at_ns}",
            ),
        )
        if not time_ns:
            what = f"{self._exchange} {self._symbol}{self.family and ' '}{self.family}"
            raise UsageError(f"{what}: no snapshot of a book up to {text_of(at_ns)}")
        rows = self._rows(
            _COLUMNS,
            (self._of_channel, _SNAPSHOTS, f"time >= {_instant(time_ns)}", f"{_TIME} = {time_ns}"),
            f"ORDER BY {_ARRIVAL}",
        )
        return self._record(rows[-1])

    def since(self, snapshot: Book, at_ns: int) -> Iterator[Book]:
        """The snapshot and the changes up to ``at_ns``, in the order of their arrival.

        Where the venue counts nothing, only the snapshot's own connection continues it.
        """
        begin_ns = _time_of(snapshot) - HELD_NS
        counts = snapshot.sequence is not None
        rows = self._rows(
            _COLUMNS,
            (
                self._of_channel,
                "true" if counts else f"connection_id = {_quoted(snapshot.connection_id)}",
                f"time BETWEEN {_instant(begin_ns)} AND {_instant(at_ns + NS_PER_US - 1)}",
                f"{_TIME} <= {at_ns}",
            ),
            f"ORDER BY {_ARRIVAL} LIMIT {MESSAGES_MAX + 1}",
        )
        if len(rows) > MESSAGES_MAX:
            since = text_of(_time_of(snapshot))
            raise UsageError(f"{self._exchange} {self._symbol}: over {MESSAGES_MAX:,} messages since {since}")
        for row in rows:
            record = self._record(row)
            if record.book_action is not BookAction.SNAPSHOT or record.record_key == snapshot.record_key:
                yield record  # a snapshot from before is of no use

    def gaps(self, snapshot: Book, at_ns: int) -> list[str]:
        """What is declared missing between the two."""
        begin_ns = _time_of(snapshot)
        rows = self._rows(
            "gap_kind, gap_state, from_time_ns, reason",
            (
                self._of_channel,
                "gap_state <> 'repaired'",
                f"gap_kind NOT IN {_HARMLESS}",
                f"from_time_ns < {at_ns}",
                f"(to_time_ns = 0 OR to_time_ns > {begin_ns})",
            ),
            "ORDER BY from_time_ns",
            "gaps",
        )
        return [
            f"{kind} from {text_of(max(start_ns, begin_ns))}{f': {reason}' if reason else ''} ({state})"
            for kind, state, start_ns, reason in rows
        ]

    def _rows(
        self, columns: str, conditions: Sequence[str], then: str = "", table: str = ""
    ) -> Sequence[Sequence[Any]]:
        where = " AND ".join((self._where, *conditions))
        sql = f"SELECT {columns} FROM {table or self._table} WHERE {where} {then}"  # noqa: S608  names and literals of ours
        return self._ask(sql).rows

    def _record(self, row: Sequence[Any]) -> Book:
        venue_symbol, channel, event_ns, receive_ns, connection, frame, index, key, *rest = row
        last, first, previous, action, bid_prices, bid_sizes, ask_prices, ask_sizes, depth = rest
        return Book(
            self._exchange, self._symbol, venue_symbol, channel, event_ns, receive_ns, Source.STREAM, connection,
            frame, index, key, 0, 0, last, first, previous, book_action=BookAction[action.upper()],
            bid_prices=_texts(bid_prices), bid_sizes=_texts(bid_sizes),
            ask_prices=_texts(ask_prices), ask_sizes=_texts(ask_sizes), depth=depth or 0,
        )  # fmt: skip


def _texts(decimals: Sequence[Any] | None) -> tuple[str, ...]:
    return tuple(plain(value) for value in decimals or ())


def _shown(levels: Sequence[Level]) -> list[Level]:
    """What changes that add up left of a size is padded with zeros, which no store gives."""
    return [(price, plain(Decimal(size))) for price, size in levels]


def _time_of(record: Book) -> int:
    return record.event_time_ns or record.receive_time_ns


def _quoted(text: str) -> str:
    """As a literal that both engines read alike."""
    if "\\" in text or not text.isprintable():
        raise UsageError(f"{text!r:.80}: no name of a venue, a symbol or a channel")
    return "'" + text.replace("'", "''") + "'"


def _instant(time_ns: int) -> str:
    """The microsecond of ``time_ns``, to narrow down what is read; the exact time decides. A store's time may be finer:
    an end is the next microsecond."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // NS_PER_US)
    return f"'{moment:%Y-%m-%d %H:%M:%S.%f}'"
