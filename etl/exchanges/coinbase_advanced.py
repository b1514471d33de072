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
from etl.adapter.build import Stream, StreamCache, stream_of
from etl.adapter.contract import (
    Budget,
    Channel,
    ConnectionSequence,
    Credentials,
    Exchange,
    Fault,
    FaultKind,
    Ignored,
    Outcome,
    Rejected,
    Request,
    SequenceRule,
    Subscription,
)  # fmt: skip
from etl.adapter.dispatch import Reader, by_shape, read_one
from etl.adapter.fields import ABSENT, UNDECODABLE, Id, Name, inside, members, text_of
from etl.adapter.handshake import Grants, kind_of_words, told
from etl.exchanges._coinbase_wire import levels
from etl.model.codes import REPLAYED, Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Book, BookAction, Frame, Kind, Quote, Side, SizeUnit, Trade
from etl.model.times import NS_PER_US

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
    if not (event.trade_id.isascii() and event.trade_id.isdecimal() and len(event.trade_id) <= 18):
        raise fields.FieldFault(Code.FIELD_MALFORMED, f"trade_id {event.trade_id!r:.40}")
    price, size = fields.two(event.price, event.size)
    return build.trade(
        stream, frame, index, fields.rfc3339_ns(event.time), price, size, _TAKER.get(event.side, Side.NONE),
        event.trade_id, int(event.trade_id), place.publish_ns, flags=flags,
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


class CoinbaseAdvanced(Exchange):
    name = "coinbase_advanced"
    websocket_url = "wss://advanced-trade-ws.coinbase.com"
    rest_url = "https://api.coinbase.com"
    channels = (
        Channel("level2", Kind.BOOK, SequenceRule.NONE, None, 60.0, symbols_max=SYMBOLS_MAX),
        Channel("market_trades", Kind.TRADE, SequenceRule.CONTIGUOUS, None, 60.0),
        Channel("ticker", Kind.QUOTE, SequenceRule.NONE, None, 60.0),
    )
    default_channels = ("level2",)
    default_symbols = ("BTC-USD", "ETH-USD", "SOL-USD")
    ignored_names: ClassVar[Mapping[str, str]] = {
        "subscriptions": "all that is subscribed to; told as READY once it is all that was asked for",
        "error": "the venue refuses something; told as a Fault",
        "heartbeats": "each second; they keep the connection open, and are counted in its numbers",
        "other_channel": "products, candles of five minutes, orders: channels that are not subscribed to",
        "empty": "a frame without events",
    }
    changes: ClassVar[Mapping[str, str]] = {
        "2024": "books in USDC are those in USD: their products are aliases",
        "2026-09-09": "international derivatives have left",
    }
    event_time_min_ns = 1_230_768_000_000_000_000  # 2009, bitcoin's first block
    untimed_kinds: ClassVar[frozenset[Kind]] = frozenset({Kind.QUOTE})
    budgets = (Budget(10, 1.0),)
    connect_budgets = (Budget(1, 1.0),)
    messages_per_s = 8.0
    instruments_path = "/api/v3/brokerage/market/products?product_type=SPOT"

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._known = StreamCache(self._stream)
        self._grants = Grants()
        self._asked: list[str] = []
        self._is_ready = False

    def _stream(self, place: tuple[str, str]) -> Stream:
        return stream_of(self, *place, SizeUnit.BASE, key_unit_ns=NS_PER_US)

    # what to send

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return base_url

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        """One channel a message. Without heartbeats a quiet channel is closed within 90 s."""
        self._asked = [
            f"{name}.{symbol}" for name in subscription.channels for symbol in subscription.symbols
        ]
        return [_message("subscribe", "heartbeats"), *self._each("subscribe", subscription)]

    def resubscribe(self, subscription: Subscription) -> Sequence[str]:
        return [*self._each("unsubscribe", subscription), *self._each("subscribe", subscription)]

    @staticmethod
    def _each(action: str, subscription: Subscription) -> Iterator[str]:
        for name in subscription.channels:
            yield _message(action, name, subscription.symbols)

    def unanswered(self) -> Sequence[str]:
        return self._grants.unanswered(self._asked)

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
            said = text_of(message.get("message", ABSENT))
            return told("error", 0, Fault(kind_of_words(_FAULTS, said) or FaultKind.REQUEST, "error", said))
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
        for streams in listed:
            for name, symbols in streams.items():
                self._grants.grant(f"{name}.{symbol}" for symbol in symbols)
        was_ready = self._is_ready
        self._is_ready = was_ready or (bool(self._asked) and not self.unanswered())
        ready = Fault(FaultKind.READY, "subscriptions", "all acknowledged")
        return told("subscriptions", 0, ready if self._is_ready and not was_ready else None)


def _read(frame: Frame, index: int, raw: Raw, reader: Reader, place: _Place) -> Outcome:
    outcome = read_one(frame, index, raw, reader, place, "")
    if isinstance(outcome, Rejected):
        symbol = text_of(inside(raw).get("product_id", ABSENT))
        return msgspec.structs.replace(outcome, venue_symbol=symbol if fields.is_name(symbol) else "")
    return outcome


def _array(frame: Frame, payload: bytes) -> Sequence[Outcome]:
    return (Rejected(Code.UNKNOWN_MESSAGE, f"an array of {frame.endpoint!r:.80}"),)


def _message(action: str, channel: str, symbols: Sequence[str] = ()) -> str:
    products = {"product_ids": symbols} if symbols else {}
    return msgspec.json.encode({"type": action, **products, "channel": channel}).decode()


_read_acknowledgement = msgspec.json.Decoder(_Acknowledgement).decode
_read_envelope = msgspec.json.Decoder(_Envelope).decode
_TAKER = {"SELL": Side.BUY, "BUY": Side.SELL}
_BOOKS, _QUOTES = Reader(_BookEvent, _read_book), Reader(_Ticker, _read_ticker)
_ROWS: Mapping[str, tuple[Callable[[bytes | Raw], _Trades | _Tickers] | None, Reader, Reader]] = {
    "l2_data": (None, _BOOKS, _BOOKS),
    "market_trades": (
        msgspec.json.Decoder(_Trades).decode, Reader(_Trade, _read_trade), Reader(_Trade, _read_old_trade),
    ),
    "ticker": (msgspec.json.Decoder(_Tickers).decode, _QUOTES, _QUOTES),
}  # fmt: skip
"""Channel of a frame → how the rows are found in its events (``None`` = each event is one), how those of an update and
of a snapshot are read."""
_IGNORED = {
    "heartbeats": "heartbeats",
    **dict.fromkeys(("status", "candles", "ticker_batch", "user"), "other_channel"),
}
_FAULTS = (
    ("authentication", FaultKind.AUTHENTICATION),
    ("jwt", FaultKind.AUTHENTICATION),
    ("rate limit", FaultKind.RATE_LIMIT),
    ("internal", FaultKind.TRANSIENT),
)
