"""MEXC spot: what its binary messages and its history say, as records.

A trade has no id that its history has too, so its content is its identity. In a page that is full the rows of the last
millisecond are left aside: the next page begins with it, and tells all of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from etl.adapter import build, fields
from etl.adapter.build import Stream
from etl.adapter.fields import Columns, ContentCounts, Id, Levels, Name
from etl.exchanges import _mexc_pb2 as pb
from etl.model.codes import Code
from etl.model.records import Bar, BarState, Book, BookAction, Frame, Quote, Side, Trade
from etl.model.times import NS_PER_MS, NS_PER_S

SIDES = {1: Side.BUY, 2: Side.SELL}
_VERSION = re.compile(r"[0-9]{1,18}", re.ASCII).fullmatch


class Sent(Struct, frozen=True, gc=False):
    """What holds for all events of a message or a page; times in ms, 0 = not told. ``contents`` counts trades that say
    the same."""

    stream: Stream
    contents: ContentCounts
    send_ms: int = 0
    create_ms: int = 0


class AggregateRow(Struct, gc=False):
    """``{"a":null,"f":null,"l":null,"p":"46782.67","q":"0.0038","T":1641380483000,"m":false,"M":true}``"""

    p: str
    q: str
    T: Id
    m: bool


class TradeRow(Struct, gc=False):
    """``{"id":null,"price":"23","qty":"0.478468","quoteQty":"11.004764","time":1640830579240,"isBuyerMaker":true,…}``"""

    price: str
    qty: str
    time: Id
    isBuyerMaker: bool


class Snapshot(Struct, gc=False):
    """``{"lastUpdateId":74891313262,"bids":[["46780.48","0.007"]],"asks":[…],"timestamp":1661408462014}``"""

    lastUpdateId: Id
    bids: Levels
    asks: Levels
    timestamp: int = 0


class KlineRow(Struct, array_like=True, gc=False):
    """``[1640804880000,"47482.36","47482.36","47416.57","47436.1","3.550717",1640804940000,"168387.3"]``"""

    start_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    end_ms: int
    amount: str


class Item(Struct, gc=False):
    """Of the instrument list. ``baseSizePrecision`` is the lot itself, "0" where there is none."""

    symbol: Name
    baseAsset: Name
    quoteAsset: Name
    quotePrecision: int = 0
    baseSizePrecision: str = ""
    status: str | int = ""


class Listing(Struct, gc=False):
    symbols: list[Item]


class Error(Struct, gc=False):
    code: int
    msg: str = ""


def read_deal(frame: Frame, index: int, event: pb.Deal, sent: Sent) -> Trade:
    """Messages gather trades, and merge none."""
    return _trade(
        frame, index, event.price, event.quantity, event.time,
        SIDES.get(event.trade_type, Side.NONE), sent, event.trade_id,
    )  # fmt: skip


def read_aggregate(frame: Frame, index: int, event: AggregateRow, sent: Sent) -> Trade:
    return _trade(frame, index, event.p, event.q, event.T, Side.SELL if event.m else Side.BUY, sent)


def read_trade(frame: Frame, index: int, event: TradeRow, sent: Sent) -> Trade:
    side = Side.SELL if event.isBuyerMaker else Side.BUY
    return _trade(frame, index, event.price, event.qty, event.time, side, sent)


def _trade(
    frame: Frame, index: int, price: str, size: str, time_ms: int, side: Side, sent: Sent, trade_id: str = ""
) -> Trade:
    price, size = fields.two(price, size)
    stream, time_ns = sent.stream, fields.time_ns(time_ms, NS_PER_MS)
    content = f"{time_ms}/{fields.canonical(price)}/{fields.canonical(size)}/{side.name.lower()}"
    key = sent.contents.key(stream.venue_symbol, content)
    return build.trade(
        stream, frame, index, time_ns, price, size, side, trade_id, key=key, publish_ns=_ms(sent.send_ms)
    )


def read_depth(frame: Frame, index: int, event: pb.AggreDepth, sent: Sent) -> Book:
    """Quantity 0 removes; a side without changes is absent. There is no time but that of sending."""
    return build.book(
        sent.stream, frame, index, BookAction.ABSOLUTE, _ms(sent.send_ms), _levels(event.bids), _levels(event.asks),
        _version(event.to_version), _version(event.from_version),
    )  # fmt: skip


def read_limit_depth(frame: Frame, index: int, event: pb.LimitDepth, sent: Sent) -> Book:
    return build.book(
        sent.stream, frame, index, BookAction.SNAPSHOT, _ms(sent.send_ms), _levels(event.bids), _levels(event.asks),
        _version(event.version),
    )  # fmt: skip


def read_snapshot(frame: Frame, index: int, event: Snapshot, sent: Sent) -> Book:
    return build.book(
        sent.stream, frame, index, BookAction.SNAPSHOT, _ms(event.timestamp), fields.columns(event.bids),
        fields.columns(event.asks), event.lastUpdateId,
    )  # fmt: skip


def read_book_ticker(frame: Frame, index: int, event: pb.AggreBookTicker, sent: Sent) -> Quote:
    """A side that is empty has no price. Not every message has a version, so none is an identity."""
    return build.quote(
        sent.stream, frame, index, f"{frame.connection_id}/{frame.frame_sequence}/{index}", _ms(sent.send_ms),
        *_side(event.bid_price, event.bid_quantity), *_side(event.ask_price, event.ask_quantity),
        _version(event.version) if event.version else None,
    )  # fmt: skip


def read_kline(frame: Frame, index: int, event: pb.Kline, sent: Sent) -> Bar:
    """Told each second; that it is over only the venue's clock says."""
    told_ns = _ms(sent.create_ms or sent.send_ms)
    state = BarState.CLOSED if 0 < event.window_end * NS_PER_S <= told_ns else BarState.OPEN
    prices = fields.decimals(event.open, event.high, event.low, event.close)
    volume, amount = fields.two(event.volume, event.amount)
    return build.bar(
        sent.stream, frame, index, fields.time_ns(event.window_start, NS_PER_S), state, prices, volume,
        quote_volume=amount, publish_ns=told_ns,
    )  # fmt: skip


def read_kline_row(frame: Frame, index: int, event: KlineRow, sent: Sent) -> Bar:
    start_ns, is_over = (
        fields.time_ns(event.start_ms, NS_PER_MS),
        event.end_ms * NS_PER_MS <= frame.receive_time_ns,
    )
    prices = fields.decimals(event.open, event.high, event.low, event.close)
    volume, amount = fields.two(event.volume, event.amount)
    state = BarState.CLOSED if is_over else BarState.OPEN
    return build.bar(sent.stream, frame, index, start_ns, state, prices, volume, quote_volume=amount)


def _levels(levels: Sequence[pb.Level]) -> Columns:
    return fields.columns([(level.price, level.quantity) for level in levels])


def _side(price: str, size: str) -> tuple[str | None, str | None]:
    if not price or fields.is_no_order(price, size):
        return None, None
    told_price, told_size = fields.two(price, size)
    return told_price, told_size


def _version(text: str) -> int:
    if not _VERSION(text):
        raise fields.FieldFault(Code.FIELD_MALFORMED if text else Code.FIELD_MISSING, f"version {text!r:.40}")
    return int(text)


def _ms(count: int) -> int:
    """0 is absent: such a field is not sent."""
    return fields.time_ns(count, NS_PER_MS) if count else 0
