"""Coinbase Exchange, public channels: trades, and a quote with each of them.

https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproducttrades

Its book (``level2_batch``) has neither numbers nor checksums, so that a loss in it cannot be seen: books are taken from
``coinbase_advanced``, which is the same matching engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import msgspec
from msgspec import Struct

from etl.adapter import build, fields
from etl.adapter.build import Stream, StreamCache, stream_of
from etl.adapter.contract import (
    Budget,
    Channel,
    Credentials,
    Exchange,
    Fault,
    FaultKind,
    History,
    Ignored,
    Outcome,
    Rejected,
    Request,
    SequenceRule,
    Subscription,
)  # fmt: skip
from etl.adapter.dispatch import Reader, by_shape, elements, read_one, read_rows
from etl.adapter.fields import ABSENT, UNDECODABLE, Id, Levels, Name, members, text_of
from etl.adapter.handshake import Grants, kind_of_words, told
from etl.adapter.paging import Before, id_pages, rows_of
from etl.model.codes import REPLAYED, Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Book, BookAction, Frame, Kind, Quote, Side, SizeUnit, Trade
from etl.model.times import NS_PER_US

PAGE_ROWS = 1_000
NO_TIME = ("", "0001-01-01T00:00:00.000000Z")
"""What stands for no time at all."""


class Match(Struct, gc=False):
    """On the stream, and without its product as a row of the history."""

    trade_id: Id
    side: str
    size: str
    price: str
    time: str


def _read_match(frame: Frame, index: int, event: Match, stream: Stream, flags: tuple[str, ...] = ()) -> Trade:
    """``{"type":"match","trade_id":280232,"maker_order_id":"…","taker_order_id":"…","side":"sell","size":"985",
    "price":"0.00001305","product_id":"SKL-BTC","sequence":177100030,"time":"2021-04-17T16:43:37.089723Z"}``: ``side``
    is the maker's."""
    price, size = fields.two(event.price, event.size)
    side = _TAKER.get(event.side, Side.NONE)
    time_ns = fields.rfc3339_ns(event.time)
    return build.trade(
        stream, frame, index, time_ns, price, size, side, str(event.trade_id), event.trade_id, flags=flags
    )


def _read_last_match(frame: Frame, index: int, event: Match, stream: Stream) -> Trade:
    """The last trade before the subscription."""
    return _read_match(frame, index, event, stream, (REPLAYED,))


class _Ticker(Struct, gc=False):
    sequence: Id
    best_bid: str
    best_ask: str
    time: str = ""
    best_bid_size: str = ""
    """Both sizes came in 2022."""
    best_ask_size: str = ""


def _read_ticker(frame: Frame, index: int, event: _Ticker, stream: Stream) -> Quote:
    """``{"type":"ticker","sequence":333938798,"product_id":"BAND-GBP","price":"14.7775",…,"best_bid":"14.7550",
    "best_bid_size":"1.5","best_ask":"14.8060","best_ask_size":"2","side":"buy","time":"2021-04-17T16:43:30.244075Z",
    "trade_id":881613,"last_size":"0.04"}``: the best prices after a trade, which ``matches`` tells too."""
    bid, bid_size = _side(event.best_bid, event.best_bid_size)
    ask, ask_size = _side(event.best_ask, event.best_ask_size)
    return build.quote(
        stream, frame, index, str(event.sequence), _time_ns(event.time), bid, bid_size, ask, ask_size,
        event.sequence,
    )  # fmt: skip


def _side(price: str, size: str) -> tuple[str | None, str | None]:
    if not price.strip("0."):
        return None, None
    if size:
        known_price, known_size = fields.two(price, size)
        return known_price, known_size
    return fields.decimals(price)[0], None


class _Snapshot(Struct, gc=False):
    bids: Levels
    asks: Levels
    time: str = ""


def _read_snapshot(frame: Frame, index: int, event: _Snapshot, stream: Stream) -> Book:
    """``{"type":"snapshot","product_id":"BAND-GBP","asks":[["14.8024","12.77"],…],"bids":[…]}``: the whole book."""
    bids, asks = levels(event.bids), levels(event.asks)
    return build.book(stream, frame, index, BookAction.SNAPSHOT, _time_ns(event.time), bids, asks)


class _Update(Struct, gc=False):
    changes: list[tuple[str, str, str]]
    time: str = ""


def _read_update(frame: Frame, index: int, event: _Update, stream: Stream) -> Book:
    """``{"type":"l2update","product_id":"SKL-BTC","changes":[["sell","0.00001306","660.5"]],
    "time":"2021-04-17T16:43:37.075687Z"}``: sizes as they are now, 0 removes."""
    bids: Levels = []
    asks: Levels = []
    for side, price, size in event.changes:
        if side not in _BOOK_SIDES:
            raise fields.FieldFault(Code.FIELD_MALFORMED, f"side {side!r:.20}")
        (bids if side == "buy" else asks).append((price, size))
    return build.book(
        stream, frame, index, BookAction.ABSOLUTE, _time_ns(event.time), levels(bids), levels(asks)
    )


def levels(pairs: Levels) -> fields.Columns:
    """As columns; a size below zero cannot be of an order."""
    prices, sizes = fields.columns(pairs)
    if any(size[0] == "-" for size in sizes):
        raise fields.FieldFault(Code.SIZE_NEGATIVE, "a level's size is below zero")
    return prices, sizes


def _time_ns(text: str) -> int:
    """0 where the venue says none: it has also sent the year 1 and, of snapshots, one before it."""
    return 0 if text in NO_TIME or text[0] == "-" else fields.rfc3339_ns(text)


class _Head(Struct, gc=False):
    type: str
    product_id: str = ""


class _Subscribed(Struct, gc=False):
    name: str
    product_ids: list[Name] = []


class _Acknowledgement(Struct, gc=False):
    channels: list[_Subscribed]


class _Product(Struct, gc=False):
    id: str
    base_currency: str
    quote_currency: str
    quote_increment: str = ""
    base_increment: str = ""


class Coinbase(Exchange):
    name = "coinbase"
    websocket_url = "wss://ws-feed.exchange.coinbase.com"
    rest_url = "https://api.exchange.coinbase.com"
    channels = (
        Channel("matches", Kind.TRADE, SequenceRule.CONTIGUOUS, Kind.TRADE, 60.0),
        Channel("ticker", Kind.QUOTE, SequenceRule.RISING, None, 60.0),
        Channel("level2_batch", Kind.BOOK, SequenceRule.NONE, None, 60.0, "level2"),
    )
    default_channels = ("matches", "ticker")
    default_symbols = ("BTC-USD", "ETH-USD", "SOL-USD")
    ignored_names: ClassVar[Mapping[str, str]] = {
        "subscriptions": "all that is subscribed to; told as READY once it is all that was asked for",
        "error": "the venue refuses something; told as a Fault",
        "heartbeat": "each second: the last trade's id",
        "products": "the instrument list, or its changes",
        "other_channel": "orders one by one, auctions, accounts: channels that are not subscribed to",
        "empty": "a page without rows",
    }
    ignored_events: ClassVar[Mapping[str, str]] = {
        "heartbeat": "heartbeat",
        "status": "products",
        **dict.fromkeys(
            ("received", "open", "done", "change", "activate", "auction", "rfq_match", "level3"),
            "other_channel",
        ),
    }
    changes: ClassVar[Mapping[str, str]] = {
        "2022-12": "ticker tells the sizes at the best prices",
        "2023-08-01": "level2 and full need a key; level2_batch does not",
    }
    event_time_min_ns = 1_230_768_000_000_000_000  # 2009, bitcoin's first block
    untimed_kinds: ClassVar[frozenset[Kind]] = frozenset({Kind.QUOTE, Kind.BOOK})
    """A snapshot has no time, nor has a first ticker."""
    budgets = (Budget(5, 1.0),)
    connect_budgets = (Budget(8, 1.0),)
    messages_per_s = 10.0
    history: ClassVar[Mapping[Kind, History]] = {Kind.TRADE: History("time")}
    """From the newest back: no request begins at a time. Exact ids are asked for directly."""
    instruments_path = "/products"

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
        """One message a channel; with the trades go the heartbeats that tell their last id."""
        names = [*subscription.channels, *(["heartbeat"] if "matches" in subscription.channels else [])]
        self._asked = [f"{name}.{symbol}" for name in names for symbol in subscription.symbols]
        return [_message("subscribe", name, subscription.symbols) for name in names]

    def resubscribe(self, subscription: Subscription) -> Sequence[str]:
        return [
            _message(action, name, subscription.symbols)
            for name in subscription.channels
            for action in ("unsubscribe", "subscribe")
        ]

    def unanswered(self) -> Sequence[str]:
        return self._grants.unanswered(self._asked)

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        if kind in self.history:
            path = f"/products/{venue_symbol}/trades?limit={PAGE_ROWS}"
            yield Request(path, kind, venue_symbol, 1, end_ns, start_ns=start_ns)

    def id_requests(self, kind: Kind, venue_symbol: str, first_id: int, last_id: int) -> Iterator[Request]:
        """``after`` names the id that follows the newest row."""
        if kind in self.history:
            for start, rows in id_pages(first_id, last_id, PAGE_ROWS):
                path = f"/products/{venue_symbol}/trades?limit={rows}&after={start + rows}"
                yield Request(path, kind, venue_symbol)

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        return _TRADE_PAGES.following(request, rows_of(frame.payload))

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        return [
            Instrument(
                item.id,
                f"{item.base_currency}-{item.quote_currency}",
                item.quote_increment,
                item.base_increment,
            )
            for item in fields.listing(payload, list[_Product])
        ]

    # parse

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        try:
            head = _read_head(frame.payload)
        except UNDECODABLE:
            return by_shape(frame, self._object, self._rows) or (Ignored("empty"),)
        if head.type in _READERS:
            return (self._event(frame, frame.payload, head.type, head.product_id),)
        return by_shape(frame, self._object, self._rows)

    def _event(self, frame: Frame, payload: bytes, tag: str, symbol: str) -> Outcome:
        if not symbol:
            return Rejected(Code.SYMBOL_MISSING, f"a {tag} of no product")
        if not fields.is_name(symbol):
            return Rejected(Code.SYMBOL_MALFORMED, f"{symbol!r:.80}")
        channel, reader = _READERS[tag]
        return read_one(frame, 0, payload, reader, self._known[symbol, channel], symbol)

    def _object(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        message = members(payload)
        tag = text_of(message.get("type", ABSENT))
        if tag in _READERS:
            return (self._event(frame, payload, tag, text_of(message.get("product_id", ABSENT))),)
        if tag in self.ignored_events:
            return (Ignored(self.ignored_events[tag]),)
        if tag == "subscriptions":
            return self._acknowledged(payload)
        said = text_of(message.get("reason", ABSENT)) or text_of(message.get("message", ABSENT))
        if tag == "error" or (said and "type" not in message):
            return told("error", 0, Fault(kind_of_words(_FAULTS, said) or FaultKind.REQUEST, "error", said))
        return (Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(message)!r:.120}"),)

    def _acknowledged(self, payload: bytes) -> Sequence[Outcome]:
        try:
            listed = fields.decoded(payload, _read_acknowledgement).channels
        except UNDECODABLE as error:
            return (fields.rejected(error, 0, ""),)
        for one in listed:
            self._grants.grant(f"{one.name}.{symbol}" for symbol in one.product_ids)
        was_ready = self._is_ready
        self._is_ready = was_ready or (bool(self._asked) and not self.unanswered())
        is_new = self._is_ready and not was_ready
        return told(
            "subscriptions",
            0,
            Fault(FaultKind.READY, "subscriptions", "all acknowledged") if is_new else None,
        )

    def _rows(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        path = frame.endpoint.partition("?")[0]
        if path.endswith("/products"):
            return (Ignored("products"),) if elements(payload) else ()
        asked = _TRADES_PATH.search(path)
        if asked is None:
            return (Rejected(Code.UNKNOWN_MESSAGE, f"rows of {frame.endpoint!r:.80}"),)
        return read_rows(frame, payload, _ROWS, self._known[asked[1], "matches"], asked[1])


def _message(action: str, channel: str, symbols: Sequence[str]) -> str:
    return msgspec.json.encode({"type": action, "product_ids": symbols, "channels": [channel]}).decode()


_read_head = msgspec.json.Decoder(_Head).decode
_read_acknowledgement = msgspec.json.Decoder(_Acknowledgement).decode
_TAKER = {"sell": Side.BUY, "buy": Side.SELL}
_BOOK_SIDES = ("buy", "sell")
_ROWS = Reader(Match, _read_match)
_READERS = {
    "match": ("matches", Reader(Match, _read_match)),
    "last_match": ("matches", Reader(Match, _read_last_match)),
    "ticker": ("ticker", Reader(_Ticker, _read_ticker)),
    "snapshot": ("level2_batch", Reader(_Snapshot, _read_snapshot)),
    "l2update": ("level2_batch", Reader(_Update, _read_update)),
}
_TRADES_PATH = re.compile(r"/products/([^/]+)/trades$")
_TRADE_PAGES = Before("after", "trade_id", "time", fields.rfc3339_ns)
_FAULTS = (
    ("authentication", FaultKind.AUTHENTICATION),
    ("signature", FaultKind.AUTHENTICATION),
    ("rate limit", FaultKind.RATE_LIMIT),
    ("internal", FaultKind.TRANSIENT),
)
