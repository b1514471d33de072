"""Coinbase Advanced Trade, spot: books, numbered over the connection.

https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels

Each frame of a connection bears the next ``sequence_num``, acknowledgements and heartbeats too. Trades and quotes come
as well; they are those of ``coinbase``, which can be asked for them by id, so that the default is the books alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import ClassVar

import msgspec
from msgspec import Raw, Struct

from etl.adapter import build, fields
from etl.adapter.build import Stream, StreamCache
from etl.adapter.contract import (
    Budget,
    Channel,
    ConnectionSequence,
    Ignored,
    Outcome,
    Rejected,
    Request,
    SequenceRule,
    Subscription,
)  # fmt: skip
from etl.adapter.dispatch import Reader, by_shape, read_one
from etl.adapter.fields import ABSENT, UNDECODABLE, Id, Name, inside, members, text_of
from etl.exchanges._coinbase_family import CoinbaseFamily, bar, refused
from etl.exchanges._coinbase_wire import levels
from etl.model.codes import REPLAYED, Code
from etl.model.instruments import Instrument
from etl.model.records import Bar, Book, BookAction, Frame, Kind, Quote, Side, Trade
from etl.model.times import NS_PER_MINUTE

SYMBOLS_MAX = 8
"""Books on one connection: a snapshot of BTC-USD alone is 4.8 MB, and what is lost is lost of all of them."""
NO_YEARS = ("1970", "0001")
"""Of times that stand for none."""


class _Envelope(Struct, gc=False):
    channel: str
    sequence_num: Id
    timestamp: str = ""
    events: list[Raw] = []


class _Place(Struct, frozen=True, gc=False):
    """What a frame says about its events."""

    streams: StreamCache[tuple[str, str]]
    sequence: int
    publish_ns: int

    def stream(self, symbol: str, channel: str) -> Stream:
        fields.require_name(symbol)
        return self.streams[symbol, channel]


class _Level(Struct, gc=False):
    side: str
    price_level: str
    new_quantity: str
    event_time: str = ""


class _BookEvent(Struct, gc=False):
    type: str
    product_id: Name
    updates: list[_Level]


def _read_book(frame: Frame, index: int, event: _BookEvent, place: _Place) -> Book:
    """``{"type":"update","product_id":"BTC-USD","updates":[{"side":"offer","event_time":"2026-04-07T14:30:01.123456Z",
    "price_level":"68900.00","new_quantity":"2.0"}]}``: sizes as they are now, 0 removes; in no order."""
    stream = place.stream(event.product_id, "level2")
    is_snapshot = _is_snapshot(event.type)
    sides: dict[str, fields.Levels] = {"bid": [], "offer": []}
    for level in event.updates:
        if level.side not in sides:
            raise fields.FieldFault(Code.FIELD_MALFORMED, f"side {level.side!r:.20}")
        sides[level.side].append((level.price_level, level.new_quantity))
    action, letter = (BookAction.SNAPSHOT, "s") if is_snapshot else (BookAction.ABSOLUTE, "d")
    texts = set() if is_snapshot else {level.event_time for level in event.updates}
    times_ns = [fields.rfc3339_ns(text) for text in texts if text and text[:4] not in NO_YEARS]
    return build.book(
        stream, frame, index, action, max(times_ns, default=place.publish_ns),
        _best_first(sides["bid"], is_snapshot, -1), _best_first(sides["offer"], is_snapshot, 1),
        publish_ns=place.publish_ns, key=f"l2_data/{letter}/{frame.connection_id}/{place.sequence}/{index}",
    )  # fmt: skip


class _Trade(Struct, gc=False):
    trade_id: str
    product_id: Name
    price: str
    size: str
    side: str
    time: str


def _read_trade(frame: Frame, index: int, event: _Trade, place: _Place, flags: tuple[str, ...] = ()) -> Trade:
    """``{"trade_id":"995098700","product_id":"BTC-USD","price":"68900.50","size":"0.00150000","side":"BUY",
    "time":"2026-04-07T14:30:02.789012Z"}``: ``side`` is the maker's."""
    stream = place.stream(event.product_id, "market_trades")
    price, size = fields.two(event.price, event.size)
    return build.trade(
        stream, frame, index, fields.rfc3339_ns(event.time), price, size, _TAKER.get(event.side, Side.NONE),
        event.trade_id, fields.whole(event.trade_id), place.publish_ns, flags=flags,
    )  # fmt: skip


def _read_old_trade(frame: Frame, index: int, event: _Trade, place: _Place) -> Trade:
    """Of a snapshot: the trades before the subscription."""
    return _read_trade(frame, index, event, place, (REPLAYED,))


class _Trades(Struct, gc=False):
    type: str
    rows: list[Raw] = msgspec.field(name="trades")


class _Ticker(Struct, gc=False):
    product_id: Name
    best_bid: str
    best_bid_quantity: str
    best_ask: str
    best_ask_quantity: str


class _Candle(Struct, gc=False):
    start: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    product_id: Name


class _Candles(Struct, gc=False):
    type: str
    rows: list[Raw] = msgspec.field(name="candles")


def _read_candle(frame: Frame, index: int, event: _Candle, place: _Place) -> Bar:
    """``{"start":"1688998200","high":"1867.72","low":"1865.63","open":"1867.38","close":"1866.81","volume":"0.20269406",
    "product_id":"ETH-USD"}``: of five minutes, each second anew."""
    *prices, volume = fields.decimals(event.open, event.high, event.low, event.close, event.volume)
    stream = place.stream(event.product_id, "candles")
    return bar(stream, frame, index, fields.whole(event.start), prices, volume, place.publish_ns)


class _Tickers(Struct, gc=False):
    type: str
    rows: list[Raw] = msgspec.field(name="tickers")


def _read_ticker(frame: Frame, index: int, event: _Ticker, place: _Place) -> Quote:
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


def _best_first(pairs: fields.Levels, is_snapshot: bool, sign: int) -> fields.Columns:
    """A whole book from its best levels on, as every other venue tells it; changes as they came."""
    prices, sizes = levels(pairs)
    if not is_snapshot:
        return prices, sizes
    return fields.columns(sorted(zip(prices, sizes, strict=True), key=lambda level: sign * Decimal(level[0])))


def _is_snapshot(word: str) -> bool:
    if word not in ("snapshot", "update"):
        raise fields.FieldFault(Code.UNKNOWN_MESSAGE, f"an event of type {word!r:.40}")
    return word == "snapshot"


class _Acknowledgement(Struct, gc=False):
    subscriptions: dict[str, list[str]]


class _Product(Struct, gc=False):
    product_id: str
    base_currency_id: str
    quote_currency_id: str
    price_increment: str = ""
    base_increment: str = ""
    alias: str = ""


class _Products(Struct, gc=False):
    products: list[_Product]


class CoinbaseAdvanced(CoinbaseFamily):
    name = "coinbase_advanced"
    websocket_url = "wss://advanced-trade-ws.coinbase.com"
    rest_url = "https://api.coinbase.com"
    channels = (
        Channel("level2", Kind.BOOK, SequenceRule.NONE, None, 60.0, symbols_max=SYMBOLS_MAX),
        Channel("market_trades", Kind.TRADE, SequenceRule.CONTIGUOUS, None, 60.0),
        Channel("ticker", Kind.QUOTE, SequenceRule.NONE, None, 60.0),
        Channel("candles", Kind.BAR, SequenceRule.NONE, interval_ns=5 * NS_PER_MINUTE),
    )
    default_channels = ("level2",)
    intervals: ClassVar[Mapping[str, str]] = {"candles": "5m"}
    ignored_names: ClassVar[Mapping[str, str]] = {
        **CoinbaseFamily.ignored_names,
        "heartbeats": "each second; they keep the connection open, and are counted in its numbers",
        "other_channel": "products, orders: channels that are not subscribed to",
    }
    changes: ClassVar[Mapping[str, str]] = {
        "2024": "books in USDC are those in USD: their products are aliases",
        "2026-09-09": "international derivatives have left",
    }
    untimed_kinds: ClassVar[frozenset[Kind]] = frozenset({Kind.QUOTE})
    budgets = (Budget(10, 1.0),)
    connect_budgets = (Budget(1, 1.0),)
    messages_per_s = 8.0
    instruments_path = "/api/v3/brokerage/market/products?product_type=SPOT"

    # what to send

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        """Without heartbeats a quiet channel is closed within 90 s."""
        asked = self.subscribed(subscription.channels, subscription.symbols)
        return [self.message("subscribe", "heartbeats"), *asked]

    def message(self, action: str, channel: str, symbols: Sequence[str] = ()) -> str:
        products = {"product_ids": symbols} if symbols else {}
        return msgspec.json.encode({"type": action, **products, "channel": channel}).decode()

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        return iter(())

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        """A product with an ``alias`` has no data of its own: they come under that name."""
        return [
            Instrument(
                item.product_id, f"{item.base_currency_id}-{item.quote_currency_id}", item.price_increment,
                item.base_increment, alias_of=item.alias,
            )
            for item in fields.listing(payload, _Products).products
        ]  # fmt: skip

    # parse

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        try:
            envelope = _read_envelope(frame.payload)
        except UNDECODABLE:
            return by_shape(frame, self._object, _array)
        return self._take(frame, envelope)

    def _object(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        """What is no whole frame of a channel, or was none before it was mended."""
        message = members(payload)
        if text_of(message.get("type", ABSENT)) == "error":
            return refused(text_of(message.get("message", ABSENT)))
        if "channel" not in message:
            return (Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(message)!r:.120}"),)
        try:
            return self._take(frame, fields.decoded(payload, _read_envelope))
        except UNDECODABLE as error:
            return (fields.rejected(error, 0, ""),)

    def _take(self, frame: Frame, envelope: _Envelope) -> Sequence[Outcome]:
        number = ConnectionSequence(envelope.sequence_num)
        if envelope.channel in _ROWS:
            return [number, *self._events(frame, envelope)]
        if envelope.channel == "subscriptions":
            return [number, *self._acknowledged(envelope.events)]
        if envelope.channel in _IGNORED:
            return [number, Ignored(_IGNORED[envelope.channel])]
        return [number, Rejected(Code.UNKNOWN_MESSAGE, f"channel {envelope.channel!r:.40}")]

    def _events(self, frame: Frame, envelope: _Envelope) -> Sequence[Outcome]:
        """Each by itself: one that cannot be read costs no other."""
        rows, reader, of_snapshot = _ROWS[envelope.channel]
        try:
            publish_ns = fields.rfc3339_ns(envelope.timestamp) if envelope.timestamp else 0
        except fields.FieldFault as error:
            return [fields.rejected(error, 0, "")]
        place = _Place(self._known, envelope.sequence_num, publish_ns)
        outcomes: list[Outcome] = []
        for event in envelope.events:
            if rows is None:
                outcomes.append(_read(frame, len(outcomes), event, reader, place))
                continue
            try:
                several = fields.decoded(event, rows)
                one = of_snapshot if _is_snapshot(several.type) else reader
            except fields.UNREADABLE as error:
                outcomes.append(fields.rejected(error, len(outcomes), ""))
                continue
            for row in several.rows:
                outcomes.append(_read(frame, len(outcomes), row, one, place))
        return outcomes or [Ignored("empty")]

    def _acknowledged(self, events: Sequence[Raw]) -> Sequence[Outcome]:
        try:
            listed = [fields.decoded(event, _read_acknowledgement).subscriptions for event in events]
        except UNDECODABLE as error:
            return [fields.rejected(error, 0, "")]
        granted = (item for streams in listed for item in streams.items())
        return self.granted(f"{name}.{symbol}" for name, symbols in granted for symbol in symbols)


def _read(frame: Frame, index: int, raw: Raw, reader: Reader, place: _Place) -> Outcome:
    outcome = read_one(frame, index, raw, reader, place, "")
    if isinstance(outcome, Rejected):
        symbol = text_of(inside(raw).get("product_id", ABSENT))
        return msgspec.structs.replace(outcome, venue_symbol=symbol if fields.is_name(symbol) else "")
    return outcome


def _array(frame: Frame, payload: bytes) -> Sequence[Outcome]:
    return (Rejected(Code.UNKNOWN_MESSAGE, f"an array of {frame.endpoint!r:.80}"),)


_read_acknowledgement = msgspec.json.Decoder(_Acknowledgement).decode
_read_envelope = msgspec.json.Decoder(_Envelope).decode
_TAKER = {"SELL": Side.BUY, "BUY": Side.SELL}
_BOOKS, _QUOTES = Reader(_BookEvent, _read_book), Reader(_Ticker, _read_ticker)
_BARS = Reader(_Candle, _read_candle)
_ROWS: Mapping[str, tuple[Callable[[bytes | Raw], _Trades | _Tickers | _Candles] | None, Reader, Reader]] = {
    "l2_data": (None, _BOOKS, _BOOKS),
    "market_trades": (
        msgspec.json.Decoder(_Trades).decode, Reader(_Trade, _read_trade), Reader(_Trade, _read_old_trade),
    ),
    "ticker": (msgspec.json.Decoder(_Tickers).decode, _QUOTES, _QUOTES),
    "candles": (msgspec.json.Decoder(_Candles).decode, _BARS, _BARS),
}  # fmt: skip
"""Channel of a frame → how the rows are found in its events (``None`` = each event is one), how those of an update and
of a snapshot are read."""
_IGNORED = {
    "heartbeats": "heartbeats",
    **dict.fromkeys(("status", "ticker_batch", "user"), "other_channel"),
}
