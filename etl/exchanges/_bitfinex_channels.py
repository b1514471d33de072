"""Bitfinex's channels: their names, and what one of them is on a connection, under the number that it has there.

    trades · ticker · book, book.P1.F0.25 · candles.1m · status.deriv · status.liq

A book's name has precision, pace and length, unless they are ours (P0, F0, 100).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from zlib import crc32

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from etl.adapter.build import Stream
from etl.adapter.channels import variant
from etl.adapter.contract import BookBroken, Channel, Ignored, Outcome, SequenceRule
from etl.adapter.dispatch import Reader, read_one, read_rows
from etl.adapter.fields import INT64_MAX, FieldFault
from etl.adapter.levels import LevelBook
from etl.exchanges import _bitfinex_wire as wire
from etl.exchanges._bitfinex_wire import Sent, Stamp
from etl.model.codes import UNCHECKED, Code
from etl.model.records import Bar, BarState, BookAction, Frame, Kind
from etl.model.times import NS_PER_MINUTE

DEPTH = 100
CHECKED_LEVELS = 25
MISMATCHES_MAX = 2
"""In a row: then a book is wrong. A single one has been seen to pass."""
TRADES_KNOWN_MAX = 4_096
"""Of a channel: its latest trades, which are told again within 50 ms."""
INTERVALS = {
    **{name: name for name in ("1m", "5m", "15m", "30m", "1h", "3h", "6h", "12h")},
    "1D": "1d", "1W": "1w", "14D": "14d", "1M": "1M",
}  # fmt: skip
PRECISIONS, PACES, LENGTHS = ("P0", "P1", "P2", "P3", "P4"), ("F0", "F1"), ("1", "25", "100", "250")
BOOK = Channel(
    "book", Kind.BOOK, SequenceRule.NONE, None, 60.0, depth=DEPTH, checksum_until_ns=INT64_MAX,
)  # fmt: skip
COMMON = (
    Channel("trades", Kind.TRADE, SequenceRule.RISING, Kind.TRADE, 120.0),
    BOOK,
    Channel("ticker", Kind.QUOTE, SequenceRule.NONE, None, 120.0),
    Channel("candles.1m", Kind.BAR, SequenceRule.NONE, Kind.BAR, 180.0, "candles", NS_PER_MINUTE),
)
OF_DERIVATIVES = (
    Channel("status.deriv", Kind.STATS, SequenceRule.NONE, None, 60.0),
    Channel("status.liq", Kind.LIQUIDATION, SequenceRule.NONE),
)
LIQUIDATIONS = "status.liq"
"""One stream of all symbols."""
LIQUIDATIONS_KEY = "liq:global"


def match(channels: Sequence[Channel], name: str) -> Channel | None:
    """``candles.1h``; ``book.P1.F0.25``, each a book of its own."""
    family, _, parameters = name.partition(".")
    if family == "candles" and parameters in INTERVALS:
        return variant(channels, family, name, INTERVALS[parameters])
    precision, pace, length = (*parameters.split("."), "", "", "")[:3]
    is_book = precision in PRECISIONS and pace in PACES and length in LENGTHS
    if family != "book" or not is_book or name != _book_name(precision, pace, length):
        return None
    return replace(BOOK, name=name, family=name, depth=int(length))


def asked(name: str, symbol: str) -> dict[str, str]:
    """The members of a subscription."""
    family, _, parameters = name.partition(".")
    if family == "candles":
        return {"channel": family, "key": f"trade:{parameters}:{symbol}"}
    if family == "status":
        return {"channel": family, "key": LIQUIDATIONS_KEY if name == LIQUIDATIONS else f"deriv:{symbol}"}
    members = {"channel": family, "symbol": symbol}
    if family == "book":
        precision, pace, length = parameters.split(".") if parameters else ("P0", "F0", str(DEPTH))
        members |= {"prec": precision, "freq": pace, "len": length}
    return members


def named(channel: str, symbol: str, key: str, precision: str, pace: str, length: str) -> tuple[str, str]:
    """Channel and symbol of an answer to a subscription; a channel that is none of ours bears the venue's name."""
    if channel == "book":
        return _book_name(precision, pace, length), symbol
    if channel == "candles":
        _, interval, of = (*key.split(":", 2), "", "")[:3]
        return f"candles.{interval}", of
    if key == LIQUIDATIONS_KEY:
        return LIQUIDATIONS, ""
    if channel == "status":
        kind, _, of = key.partition(":")
        return f"status.{kind}", of
    return channel, symbol


def _book_name(precision: str, pace: str, length: str) -> str:
    name = f"book.{precision}.{pace}.{length}"
    return BOOK.name if name == f"book.P0.F0.{DEPTH}" else name


class Subscribed:
    """A channel on one connection. ``read`` and ``hear`` may raise one of ``UNREADABLE``."""

    def __init__(self, name: str, symbol: str) -> None:
        self.name, self.symbol = name, symbol

    def read(self, frame: Frame, payload: Raw, stamp: Stamp) -> Sequence[Outcome]:
        """An array: one event, or several."""
        raise NotImplementedError

    def hear(self, frame: Frame, word: str, payload: Raw, stamp: Stamp) -> Sequence[Outcome]:
        """What is told behind a word."""
        raise FieldFault(Code.UNKNOWN_MESSAGE, f"{word!r:.20} of {self.name}")


class LeftAside(Subscribed):
    """Orders one by one, loans, channels that nobody knows: all under one name."""

    def __init__(self, name: str, symbol: str, why: str) -> None:
        super().__init__(name, symbol)
        self._why = why

    def read(self, frame: Frame, payload: Raw, stamp: Stamp) -> Sequence[Outcome]:
        return (Ignored(self._why),)

    def hear(self, frame: Frame, word: str, payload: Raw, stamp: Stamp) -> Sequence[Outcome]:
        return (Ignored(self._why),)


class Events(Subscribed):
    """Each event is a record by itself."""

    def __init__(self, stream: Stream, reader: Reader) -> None:
        super().__init__(stream.channel, stream.venue_symbol)
        self._stream = stream
        self._reader = reader

    def read(self, frame: Frame, payload: Raw, stamp: Stamp) -> Sequence[Outcome]:
        return read_rows(frame, _as_rows(payload), self._reader, Sent(self._stream, stamp), self.symbol)


class Trades(Events):
    """``te`` is a trade, ``tu`` the same once more; the 30 before the subscription come in one array."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream, Reader(wire.TradeRow, self._read_old))
        self._executed = Reader(wire.TradeRow, self._read_new)
        self._known: dict[int, None] = {}

    def hear(self, frame: Frame, word: str, payload: Raw, stamp: Stamp) -> Sequence[Outcome]:
        if word in ("fte", "ftu"):
            return (Ignored("funding"),)
        if word not in ("te", "tu"):
            return super().hear(frame, word, payload, stamp)
        if word == "tu" and _decode_trade(payload).id in self._known:
            return (Ignored("tu"),)
        return (read_one(frame, 0, payload, self._executed, Sent(self._stream, stamp), self.symbol),)

    def _read_new(self, frame: Frame, index: int, row: wire.TradeRow, sent: Sent) -> Outcome:
        trade = wire.read_trade(frame, index, row, sent)
        self._know(row.id)
        return trade

    def _read_old(self, frame: Frame, index: int, row: wire.TradeRow, sent: Sent) -> Outcome:
        trade = wire.read_old_trade(frame, index, row, sent)
        self._know(row.id)
        return trade

    def _know(self, number: int) -> None:
        self._known[number] = None
        if len(self._known) > TRADES_KNOWN_MAX:
            del self._known[next(iter(self._known))]


class Levels(Subscribed):
    """A book, and its levels as the venue writes them, of which its checksums are. ``comes_in_bulk``: behind the first
    array of levels another is changes too."""

    def __init__(self, stream: Stream, comes_in_bulk: bool) -> None:
        super().__init__(stream.channel, stream.venue_symbol)
        self._stream = stream
        self._comes_in_bulk = comes_in_bulk
        self._has_begun = False
        self._levels: LevelBook | None = None
        self._mismatches = 0

    def read(self, frame: Frame, payload: Raw, stamp: Stamp) -> Sequence[Outcome]:
        is_array = _is_array_of_arrays(payload)
        is_snapshot = is_array and not (self._comes_in_bulk and self._has_begun)
        bids, asks = wire.sides_of(_decode_levels(payload) if is_array else (_decode_level(payload),))
        action = BookAction.SNAPSHOT if is_snapshot else BookAction.ABSOLUTE
        flags = (UNCHECKED,) if self._mismatches == 1 and not is_snapshot else ()
        record = wire.read_book(frame, bids, asks, action, Sent(self._stream, stamp), flags)
        if is_snapshot:
            self._begin()
        if self._levels is not None:
            self._levels.change(wire.as_written(bids), wire.as_written(asks))
        return (record,)

    def _begin(self) -> None:
        self._has_begun, self._mismatches = True, 0
        self._levels = LevelBook(self._stream.depth) if self._stream.depth >= CHECKED_LEVELS else None

    def hear(self, frame: Frame, word: str, payload: Raw, stamp: Stamp) -> Sequence[Outcome]:
        """``"cs",-1155249647``: a mismatch marks the changes behind it, a second one in a row is a wrong book, which is
        not looked at again before its next snapshot."""
        if word != "cs":
            return super().hear(frame, word, payload, stamp)
        theirs = _decode_checksum(payload) & 0xFFFFFFFF
        if self._levels is None:
            return (Ignored("checksum"),)
        ours = checksum_of(self._levels)
        self._mismatches = 0 if theirs == ours else self._mismatches + 1
        if self._mismatches < MISMATCHES_MAX:
            return (Ignored("checksum"),)
        self._levels = None
        reason = f"checksum {theirs}, ours is {ours}"
        return (Ignored("checksum"), BookBroken(self.symbol, self.name, reason))


class Candles(Events):
    """The running bar again and again, and the one before. The first array has hundreds, the newest first."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream, Reader(wire.Candle, self._read_candle))
        self._newest_ns = 0
        self._forming: Bar | None = None

    def read(self, frame: Frame, payload: Raw, stamp: Stamp) -> Sequence[Outcome]:
        """No message says that a bar is over but the first of a later one: then it is told once more."""
        before = self._forming
        outcomes = [*super().read(frame, payload, stamp)]
        if before is None or before.event_time_ns >= self._newest_ns:
            return outcomes
        if before.event_time_ns not in {one.event_time_ns for one in outcomes if isinstance(one, Bar)}:
            closed = replace(
                before, bar_state=BarState.CLOSED, receive_time_ns=frame.receive_time_ns,
                frame_sequence=frame.frame_sequence, frame_index=len(outcomes),
            )  # fmt: skip
            outcomes.append(closed)
        return outcomes

    def _read_candle(self, frame: Frame, index: int, row: wire.Candle, sent: Sent) -> Bar:
        bar = wire.read_candle(frame, index, row, sent, self._newest_ns)
        if bar.event_time_ns >= self._newest_ns:
            self._newest_ns = bar.event_time_ns
            self._forming = bar if bar.bar_state is BarState.OPEN else None
        return bar


class Liquidations(Subscribed):
    """Of all symbols: each row names its own. ``stream_of`` finds the stream of a symbol, or raises ``FieldFault``."""

    def __init__(self, stream_of: Callable[[str], Stream]) -> None:
        super().__init__(LIQUIDATIONS, "")
        self._stream_of = stream_of
        self._reader = Reader(wire.LiquidationRow, self._read_row)

    def read(self, frame: Frame, payload: Raw, stamp: Stamp) -> Sequence[Outcome]:
        return read_rows(frame, _as_rows(payload), self._reader, stamp, "")

    def _read_row(self, frame: Frame, index: int, row: wire.LiquidationRow, stamp: Stamp) -> Outcome:
        return wire.read_liquidation(frame, index, row, Sent(self._stream_of(row.symbol), stamp))


def checksum_of(levels: LevelBook) -> int:
    """CRC-32 of the 25 best levels, bid and ask by turns."""
    bids, asks = levels.bids(CHECKED_LEVELS), levels.asks(CHECKED_LEVELS)
    parts: list[str] = []
    for place in range(CHECKED_LEVELS):
        for side in (bids, asks):
            parts += side[place] if place < len(side) else ()
    return crc32(":".join(parts).encode())


def _is_array_of_arrays(payload: Raw) -> bool:
    """Or an empty one."""
    return bytes(payload)[1:].lstrip()[:1] in (b"[", b"]")


def _as_rows(payload: Raw) -> bytes | Raw:
    return payload if _is_array_of_arrays(payload) else b"[" + bytes(payload) + b"]"


_decode_trade = msgspec.json.Decoder(wire.TradeRow).decode
_decode_level = msgspec.json.Decoder(wire.Level).decode
_decode_levels = msgspec.json.Decoder(list[wire.Level]).decode
_decode_checksum = msgspec.json.Decoder(int).decode
