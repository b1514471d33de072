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

from etl.adapter import fields
from etl.adapter.build import Stream, StreamCache, stream_of
from etl.adapter.contract import (
    Behind,
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
from etl.adapter.fields import ABSENT, UNDECODABLE, Name, members, text_of
from etl.adapter.handshake import Grants, kind_of_words, told
from etl.adapter.paging import Before, id_pages, rows_of
from etl.exchanges import _coinbase_wire as wire
from etl.model.codes import Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Frame, Kind, SizeUnit, Trade
from etl.model.times import NS_PER_US

PAGE_ROWS = 1_000


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
        "heartbeat": "each second: the last trade's id, by which a trade that never came is told",
        "products": "the instrument list, or its changes",
        "other_channel": "orders one by one, auctions, accounts: channels that are not subscribed to",
        "empty": "a page without rows",
    }
    ignored_events: ClassVar[Mapping[str, str]] = {
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
        self._progress: dict[str, wire.Progress] = {}
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
        outcome = read_one(frame, 0, payload, reader, self._known[symbol, channel], symbol)
        if isinstance(outcome, Trade) and outcome.sequence is not None:
            progress = self._progress.setdefault(symbol, wire.Progress())
            progress.last_id = max(progress.last_id, outcome.sequence)
        return outcome

    def _heard(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        try:
            beat = fields.decoded(payload, _read_heartbeat)
        except UNDECODABLE as error:
            return (fields.rejected(error, 0, ""),)
        progress, heartbeat = self._progress.get(beat.product_id), Ignored("heartbeat")
        if progress is None or not progress.is_behind(beat.last_trade_id, frame.receive_time_ns):
            return (heartbeat,)
        reason = f"trade {beat.last_trade_id} has gone out, and {progress.last_id} is the last that came"
        return (heartbeat, Behind(beat.product_id, "matches", reason))

    def _object(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        message = members(payload)
        tag = text_of(message.get("type", ABSENT))
        if tag in _READERS:
            return (self._event(frame, payload, tag, text_of(message.get("product_id", ABSENT))),)
        if tag in self.ignored_events:
            return (Ignored(self.ignored_events[tag]),)
        if tag == "heartbeat":
            return self._heard(frame, payload)
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
_read_heartbeat = msgspec.json.Decoder(wire.Heartbeat).decode
_read_acknowledgement = msgspec.json.Decoder(_Acknowledgement).decode
_ROWS = Reader(wire.Match, wire.read_match)
_READERS = {
    "match": ("matches", Reader(wire.Match, wire.read_match)),
    "last_match": ("matches", Reader(wire.Match, wire.read_last_match)),
    "ticker": ("ticker", Reader(wire.Ticker, wire.read_ticker)),
    "snapshot": ("level2_batch", Reader(wire.Snapshot, wire.read_snapshot)),
    "l2update": ("level2_batch", Reader(wire.Update, wire.read_update)),
}
_TRADES_PATH = re.compile(r"/products/([^/]+)/trades$")
_TRADE_PAGES = Before("after", "trade_id", "time", fields.rfc3339_ns)
_FAULTS = (
    ("authentication", FaultKind.AUTHENTICATION),
    ("signature", FaultKind.AUTHENTICATION),
    ("rate limit", FaultKind.RATE_LIMIT),
    ("internal", FaultKind.TRANSIENT),
)
