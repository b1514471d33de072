"""Coinbase Exchange, public channels: trades, and a quote with each of them.

https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproducttrades

Its book (``level2_batch``) has neither numbers nor checksums, so that a loss in it cannot be seen: books are taken from
``coinbase_advanced``, which is the same matching engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar

import msgspec
from msgspec import Struct

from etl.adapter import fields
from etl.adapter.contract import (
    Behind,
    Budget,
    Channel,
    Credentials,
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
from etl.adapter.paging import Before, id_pages, query_of, rows_of
from etl.exchanges import _coinbase_wire as wire
from etl.exchanges._coinbase_family import CoinbaseFamily, refused
from etl.model.codes import Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Frame, Kind, Trade
from etl.model.times import NS_PER_S, interval_ns

PAGE_ROWS = 1_000
BARS_MAX = 300
"""Of one request: a longer span is refused."""


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
    status: str = ""


class Coinbase(CoinbaseFamily):
    name = "coinbase"
    websocket_url = "wss://ws-feed.exchange.coinbase.com"
    rest_url = "https://api.exchange.coinbase.com"
    channels = (
        Channel("matches", Kind.TRADE, SequenceRule.CONTIGUOUS, Kind.TRADE, 60.0),
        Channel("ticker", Kind.QUOTE, SequenceRule.RISING, None, 60.0),
        Channel("level2_batch", Kind.BOOK, SequenceRule.NONE, None, 60.0, "level2"),
    )
    default_channels = ("matches", "ticker")
    ignored_names: ClassVar[Mapping[str, str]] = {
        **CoinbaseFamily.ignored_names,
        "heartbeat": "each second: the last trade's id, by which a trade that never came is told",
        "products": "the instrument list, or its changes",
        "other_channel": "orders one by one, auctions, accounts: channels that are not subscribed to",
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
    untimed_kinds: ClassVar[frozenset[Kind]] = frozenset({Kind.QUOTE, Kind.BOOK})
    """A snapshot has no time, nor has a first ticker."""
    budgets = (Budget(5, 1.0),)
    connect_budgets = (Budget(8, 1.0),)
    messages_per_s = 10.0
    history: ClassVar[Mapping[Kind, History]] = {Kind.TRADE: History("time"), Kind.BAR: History("time")}
    """Trades from the newest back: no request begins at a time. Exact ids are asked for directly. Of bars, a minute
    without a trade has none, and no stream tells any."""
    intervals = {
        f"candles_{interval_ns(name) // NS_PER_S}": name for name in ("1m", "5m", "15m", "1h", "6h", "1d")
    }
    instruments_path = "/products"

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._progress: dict[str, wire.Progress] = {}

    # what to send

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        """One message a channel; with the trades go the heartbeats that tell their last id."""
        beats = ["heartbeat"] if "matches" in subscription.channels else []
        return [*self.subscribed([*subscription.channels, *beats], subscription.symbols)]

    def message(self, action: str, channel: str, symbols: Sequence[str] = ()) -> str:
        return msgspec.json.encode({"type": action, "product_ids": symbols, "channels": [channel]}).decode()

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        if kind is Kind.TRADE:
            path = f"/products/{venue_symbol}/trades?limit={PAGE_ROWS}"
            yield Request(path, kind, venue_symbol, 1, end_ns, start_ns=start_ns)
        elif kind is Kind.BAR:
            length_s = int(channel.partition("_")[2] or "60")
            first_s, end_s = start_ns // NS_PER_S // length_s * length_s, -(-end_ns // NS_PER_S)
            for at_s in range(first_s, end_s, BARS_MAX * length_s):
                last_s = min(at_s + BARS_MAX * length_s, end_s) - 1  # whether it is included or not
                span = f"start={_time_text(at_s)}&end={_time_text(last_s)}"
                path = f"/products/{venue_symbol}/candles?granularity={length_s}&{span}"
                yield Request(path, kind, venue_symbol, 1, end_ns, start_ns=start_ns)

    def id_requests(self, kind: Kind, venue_symbol: str, first_id: int, last_id: int) -> Iterator[Request]:
        """``after`` names the id that follows the newest row."""
        if kind is Kind.TRADE:
            for start, rows in id_pages(first_id, last_id, PAGE_ROWS):
                path = f"/products/{venue_symbol}/trades?limit={rows}&after={start + rows}"
                yield Request(path, kind, venue_symbol)

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        rows = rows_of(frame.payload)
        return _TRADE_PAGES.following(request, rows) if request.kind is Kind.TRADE else None

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        return [
            Instrument(
                item.id,
                f"{item.base_currency}-{item.quote_currency}",
                item.quote_increment,
                item.base_increment,
                status=item.status,
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
            return refused(said)
        return (Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(message)!r:.120}"),)

    def _acknowledged(self, payload: bytes) -> Sequence[Outcome]:
        try:
            listed = fields.decoded(payload, _read_acknowledgement).channels
        except UNDECODABLE as error:
            return (fields.rejected(error, 0, ""),)
        return self.granted(f"{one.name}.{symbol}" for one in listed for symbol in one.product_ids)

    def _rows(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        path, query = query_of(frame.endpoint)
        if path.endswith("/products"):
            return (Ignored("products"),) if elements(payload) else ()
        asked = _ROWS_PATH.search(path)
        channel = (
            f"candles_{query.get('granularity', '60')}" if asked and asked[2] == "candles" else "matches"
        )
        if asked is None or (channel != "matches" and channel not in self.intervals):
            return (Rejected(Code.UNKNOWN_MESSAGE, f"rows of {frame.endpoint!r:.80}"),)
        return read_rows(frame, payload, _ROWS[asked[2]], self._known[asked[1], channel], asked[1])


def _time_text(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


_read_head = msgspec.json.Decoder(_Head).decode
_read_heartbeat = msgspec.json.Decoder(wire.Heartbeat).decode
_read_acknowledgement = msgspec.json.Decoder(_Acknowledgement).decode
_ROWS = {"trades": Reader(wire.Match, wire.read_match), "candles": Reader(wire.Candle, wire.read_candle)}
_READERS = {
    "match": ("matches", Reader(wire.Match, wire.read_match)),
    "last_match": ("matches", Reader(wire.Match, wire.read_last_match)),
    "ticker": ("ticker", Reader(wire.Ticker, wire.read_ticker)),
    "snapshot": ("level2_batch", Reader(wire.Snapshot, wire.read_snapshot)),
    "l2update": ("level2_batch", Reader(wire.Update, wire.read_update)),
}
_ROWS_PATH = re.compile(r"/products/([^/]+)/(trades|candles)$")
_TRADE_PAGES = Before("after", "trade_id", "time", fields.rfc3339_ns)
