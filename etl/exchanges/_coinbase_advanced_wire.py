"""What Coinbase Advanced Trade sends, and how each becomes a record."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from msgspec import Raw, Struct

from etl.adapter import build, fields
from etl.adapter.build import Stream, StreamCache
from etl.adapter.fields import Id, Name
from etl.exchanges._coinbase_family import bar
from etl.exchanges._coinbase_wire import levels
from etl.model.codes import REPLAYED, Code
from etl.model.records import Bar, Book, BookAction, Frame, Quote, Side, Trade

TAKER = {"SELL": Side.BUY, "BUY": Side.SELL}
"""By the maker's side."""
NO_YEARS = ("1970", "0001")
"""Of times that stand for none."""


class Envelope(Struct, gc=False):
    channel: str
    sequence_num: Id
    timestamp: str = ""
    events: list[Raw] = []


class Place(Struct, frozen=True, gc=False):
    """What a frame says about its events."""

    streams: StreamCache[tuple[str, str]]
    sequence: int
    publish_ns: int

    def stream(self, symbol: str, channel: str) -> Stream:
        fields.require_name(symbol)
        return self.streams[symbol, channel]


class Level(Struct, gc=False):
    side: str
    price_level: str
    new_quantity: str
    event_time: str = ""


class BookEvent(Struct, gc=False):
    type: str
    product_id: Name
    updates: list[Level]


def read_book(frame: Frame, index: int, event: BookEvent, place: Place) -> Book:
    """``{"type":"update","product_id":"BTC-USD","updates":[{"side":"offer","event_time":"2026-04-07T14:30:01.123456Z",
    "price_level":"68900.00","new_quantity":"2.0"}]}``: sizes as they are now, 0 removes; in no order."""
    stream = place.stream(event.product_id, "level2")
    is_whole = is_snapshot(event.type)
    sides: dict[str, fields.Levels] = {"bid": [], "offer": []}
    for level in event.updates:
        if level.side not in sides:
            raise fields.FieldFault(Code.FIELD_MALFORMED, f"side {level.side!r:.20}")
        sides[level.side].append((level.price_level, level.new_quantity))
    action, letter = (BookAction.SNAPSHOT, "s") if is_whole else (BookAction.ABSOLUTE, "d")
    texts = set() if is_whole else {level.event_time for level in event.updates}
    times_ns = [fields.rfc3339_ns(text) for text in texts if text and text[:4] not in NO_YEARS]
    return build.book(
        stream, frame, index, action, max(times_ns, default=place.publish_ns),
        _best_first(sides["bid"], is_whole, -1), _best_first(sides["offer"], is_whole, 1),
        publish_ns=place.publish_ns, key=f"l2_data/{letter}/{frame.connection_id}/{place.sequence}/{index}",
    )  # fmt: skip


class TradeRow(Struct, gc=False):
    trade_id: str
    product_id: Name
    price: str
    size: str
    side: str
    time: str


def read_trade(frame: Frame, index: int, event: TradeRow, place: Place, flags: tuple[str, ...] = ()) -> Trade:
    """``{"trade_id":"995098700","product_id":"BTC-USD","price":"68900.50","size":"0.00150000","side":"BUY",
    "time":"2026-04-07T14:30:02.789012Z"}``: ``side`` is the maker's."""
    stream = place.stream(event.product_id, "market_trades")
    price, size = fields.two(event.price, event.size)
    return build.trade(
        stream, frame, index, fields.rfc3339_ns(event.time), price, size, TAKER.get(event.side, Side.NONE),
        event.trade_id, fields.whole(event.trade_id), place.publish_ns, flags=flags,
    )  # fmt: skip


def read_old_trade(frame: Frame, index: int, event: TradeRow, place: Place) -> Trade:
    """Of a snapshot: the trades before the subscription."""
    return read_trade(frame, index, event, place, (REPLAYED,))


class Trades(Struct, gc=False):
    type: str
    rows: list[Raw] = msgspec.field(name="trades")


class Ticker(Struct, gc=False):
    product_id: Name
    best_bid: str
    best_bid_quantity: str
    best_ask: str
    best_ask_quantity: str


class Candle(Struct, gc=False):
    start: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    product_id: Name


class Candles(Struct, gc=False):
    type: str
    rows: list[Raw] = msgspec.field(name="candles")


def read_candle(frame: Frame, index: int, event: Candle, place: Place) -> Bar:
    """``{"start":"1688998200","high":"1867.72","low":"1865.63","open":"1867.38","close":"1866.81","volume":"0.20269406",
    "product_id":"ETH-USD"}``: of five minutes, each second anew."""
    *prices, volume = fields.decimals(event.open, event.high, event.low, event.close, event.volume)
    stream = place.stream(event.product_id, "candles")
    return bar(stream, frame, index, fields.whole(event.start), prices, volume, place.publish_ns)


class Tickers(Struct, gc=False):
    type: str
    rows: list[Raw] = msgspec.field(name="tickers")


def read_ticker(frame: Frame, index: int, event: Ticker, place: Place) -> Quote:
    """``{"type":"ticker","product_id":"BTC-USD","price":"68900.5",…,"best_bid":"68900.00","best_bid_quantity":"0.1",
    "best_ask":"68900.01","best_ask_quantity":"0.2"}``: it has no time of its own."""
    stream = place.stream(event.product_id, "ticker")
    bid, bid_size, ask, ask_size = fields.sides(
        event.best_bid, event.best_bid_quantity, event.best_ask, event.best_ask_quantity
    )
    key = f"{frame.connection_id}/{place.sequence}/{index}"
    return build.quote(
        stream, frame, index, key, 0, bid, bid_size, ask, ask_size, publish_ns=place.publish_ns
    )


def _best_first(pairs: fields.Levels, is_whole: bool, sign: int) -> fields.Columns:
    """A whole book from its best levels on, as every other venue tells it; changes as they came."""
    prices, sizes = levels(pairs)
    if not is_whole:
        return prices, sizes
    return fields.columns(sorted(zip(prices, sizes, strict=True), key=lambda level: sign * Decimal(level[0])))


def is_snapshot(word: str) -> bool:
    if word not in ("snapshot", "update"):
        raise fields.FieldFault(Code.UNKNOWN_MESSAGE, f"an event of type {word!r:.40}")
    return word == "snapshot"
