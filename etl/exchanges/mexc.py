"""MEXC spot v3: binary messages (Protocol Buffers) on the socket, control messages and history as JSON.

https://www.mexc.com/api-docs/spot-v3/websocket-market-streams
https://github.com/mexcdevelop/websocket-proto

A refusal has the code 0 as a success has, and one bad stream can block those beside it: each channel is asked for by
itself, and what its answer does not name is not subscribed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

import msgspec
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from msgspec.structs import replace

from etl.adapter.contract import (
    Budget,
    Channel,
    Credentials,
    Fault,
    FaultKind,
    History,
    Ignored,
    KeepAlive,
    Outcome,
    Rejected,
    Request,
    SequenceRule,
    Subscription,
)
from etl.adapter.dispatch import Reader, by_shape, read_all, read_one, read_rows
from etl.adapter.fields import UNDECODABLE, ContentCounts, is_name, listing, members, rejected
from etl.adapter.handshake import Answers, told
from etl.adapter.paging import NOT_A_ROW, After, query_of, rows_of, with_query
from etl.errors import VenueError
from etl.exchanges import _mexc_pb2 as pb
from etl.exchanges import _mexc_wire as wire
from etl.exchanges._mexc_family import BARS, INTERVALS, MexcFamily
from etl.model.codes import Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Frame, Kind, SizeUnit
from etl.model.times import NS_PER_HOUR, NS_PER_MS

PAGE_ROWS = 1_000
KLINE_ROWS = 500
DEPTH_LIMIT = 5_000
SPAN_NS = NS_PER_HOUR
"""Of one request for trades, at most."""
HISTORY_INTERVALS = {
    "60m": "Min60", "1W": "Week1", **{ours: name for name, ours in INTERVALS.items() if ours not in ("1h", "1w")}
}  # fmt: skip
DEALS = Channel("aggre.deals@100ms", Kind.TRADE, SequenceRule.NONE, Kind.TRADE, 60.0, "aggre.deals")
TOPS = Channel("aggre.bookTicker@100ms", Kind.QUOTE, SequenceRule.NONE, None, 60.0, "aggre.bookTicker")
BOOK = Channel("aggre.depth@100ms", Kind.BOOK, SequenceRule.RANGE, None, 60.0, "aggre.depth")
LEADS_WITH_SYMBOL = frozenset({"kline", "limit.depth"})
"""Families whose streams name the symbol before the parameter."""
KLINE_PAGES = After("startTime", 0, 0, lambda ms: int(ms) * NS_PER_MS)

_TOPIC = re.compile(r"spot@public\.([A-Za-z.]{1,24})\.v3\.api\.pb@([^@,\s\]]{1,64})@([^@,\s\]]{1,64})")
_BODIES = {
    "aggre_deals": "aggre.deals", "aggre_depth": "aggre.depth", "aggre_book_ticker": "aggre.bookTicker",
    "kline": "kline", "limit_depth": "limit.depth",
}  # fmt: skip
"""Member of a message → the family of its channel."""
_READS: Mapping[type[Any], Any] = {
    pb.Deal: wire.read_deal,
    pb.AggreDepth: wire.read_depth,
    pb.AggreBookTicker: wire.read_book_ticker,
    pb.Kline: wire.read_kline,
    pb.LimitDepth: wire.read_limit_depth,
}
_TRADES = Reader(wire.TradeRow, wire.read_trade)
_AGGREGATES = Reader(wire.AggregateRow, wire.read_aggregate)
_KLINES = Reader(wire.KlineRow, wire.read_kline_row)
_SNAPSHOT = Reader(wire.Snapshot, wire.read_snapshot)
_FAULTS = {
    429: FaultKind.RATE_LIMIT,
    403: FaultKind.BANNED,
    **dict.fromkeys((500, 502, 503, 504), FaultKind.TRANSIENT),
    **dict.fromkeys((700002, 10072, 10073), FaultKind.AUTHENTICATION),
}
"""https://www.mexc.com/api-docs/spot-v3/public-api-definitions; what else there is calls the request wrong."""


class Mexc(MexcFamily):
    name = "mexc"
    websocket_url = "wss://wbs-api.mexc.com/ws"
    channels = (DEALS, TOPS, BOOK, BARS)
    default_symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    changes: ClassVar[Mapping[str, str]] = {
        "2025-08": "the socket of JSON messages is closed; messages are binary",
        "2026-06-17": "deals may tell `tradeId`, book tickers `version`",
    }
    ignored_events: ClassVar[Mapping[str, str]] = {
        "mini_ticker": "24h_statistics",
        "mini_tickers": "24h_statistics",
        "book_ticker_batch": "book_ticker_batch",
    }
    ignored_names: ClassVar[Mapping[str, str]] = {
        **MexcFamily.ignored_names,
        "empty": "a message or a page without events",
        "page_end": "a row of a full page's last millisecond, which the next page begins with",
        "24h_statistics": "24 h statistics",
        "book_ticker_batch": "several best prices under one version",
    }
    size_unit = SizeUnit.BASE
    untimed_kinds: ClassVar[frozenset[Kind]] = frozenset(
        {Kind.QUOTE, Kind.BOOK}
    )  # the time of sending is optional
    streams_max = 30
    connection_life_s = 86_400.0
    budgets = (Budget(500, 10.0),)
    keepalive = KeepAlive('{"method":"PING"}', 15.0)
    history: ClassVar[Mapping[Kind, History]] = {
        Kind.TRADE: History("time"),
        Kind.BAR: History("time"),
        Kind.BOOK: History("time"),
    }
    """Of a book there is its snapshot now."""
    instruments_path = "/api/v3/exchangeInfo"

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._answers = Answers()
        self._subscriptions = 0

    @classmethod
    def match(cls, name: str) -> Channel | None:
        """``aggre.depth@10ms``, ``kline@Min5``, ``limit.depth@20``; ``aggre.depth`` is the snapshot."""
        family, _, parameter = name.partition("@")
        if family == "limit.depth" and parameter in ("5", "10", "20"):
            return Channel(name, Kind.BOOK, SequenceRule.RISING, None, 60.0, depth=int(parameter))
        found = next((one for one in (DEALS, TOPS, BOOK) if one.family == family), None)
        if found and parameter in ("", "10ms", "100ms"):
            return replace(found, name=name)
        return super().match(name)

    # what to send

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        """A request for each channel."""
        self._answers.ask(
            (channel, symbol) for channel in subscription.channels for symbol in subscription.symbols
        )
        return self._messages("SUBSCRIPTION", subscription)

    def resubscribe(self, subscription: Subscription) -> Sequence[str | bytes]:
        return [
            *self._messages("UNSUBSCRIPTION", subscription),
            *self._messages("SUBSCRIPTION", subscription),
        ]

    def _messages(self, method: str, subscription: Subscription) -> list[str]:
        messages = []
        for channel in subscription.channels:
            self._subscriptions += 1
            topics = [topic_of(channel, symbol) for symbol in subscription.symbols]
            request = {"method": method, "params": topics, "id": self._subscriptions}
            messages.append(msgspec.json.encode(request).decode())
        return messages

    def unanswered(self) -> Sequence[str]:
        return self._answers.unanswered()

    def snapshot_requests(self, subscription: Subscription) -> Sequence[Request]:
        if not any(channel.startswith(BOOK.family) for channel in subscription.channels):
            return ()
        return [self._snapshot_request(symbol) for symbol in subscription.symbols]

    @staticmethod
    def _snapshot_request(symbol: str) -> Request:
        """It weighs 1 at the venue; 10 keep those of many symbols 200 ms apart."""
        return Request(f"/api/v3/depth?symbol={symbol}&limit={DEPTH_LIMIT}", Kind.BOOK, symbol, 10)

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        """Trades an hour at a time, whole milliseconds."""
        if kind is Kind.BOOK:
            yield self._snapshot_request(venue_symbol)
        elif kind is Kind.BAR:
            interval = next(
                one
                for one, name in HISTORY_INTERVALS.items()
                if name == channel.partition("@")[2] or not channel
            )
            query = {
                "symbol": venue_symbol,
                "interval": interval,
                **_span(start_ns, end_ns),
                "limit": KLINE_ROWS,
            }
            yield Request(f"/api/v3/klines?{urlencode(query)}", kind, venue_symbol, 1, end_ns)
        elif kind is Kind.TRADE:
            for first_ns in range(start_ns - start_ns % NS_PER_MS, end_ns, SPAN_NS):
                query = {
                    "symbol": venue_symbol,
                    **_span(first_ns, min(first_ns + SPAN_NS, end_ns)),
                    "limit": PAGE_ROWS,
                }
                yield Request(f"/api/v3/aggTrades?{urlencode(query)}", kind, venue_symbol, 1, end_ns)

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        path, query = query_of(request.path)
        if path.endswith("/klines"):
            return KLINE_PAGES.following(request, rows_of(frame.payload))
        if not path.endswith("/aggTrades"):
            return None
        rows = rows_of(frame.payload)
        if len(rows) < int(query["limit"]):
            return None
        try:
            first_ms, last_ms = int(rows[0]["T"]), int(rows[-1]["T"])
        except NOT_A_ROW as error:
            raise VenueError(f"{request.path}: no row tells where the next page begins: {error!r}") from None
        return with_query(request, {"startTime": last_ms + (first_ms == last_ms)})

    # parse

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        if frame.payload[:1] >= b" ":
            return by_shape(frame, self._object, self._array)
        try:
            message = pb.Wrapper.FromString(frame.payload)
        except DecodeError:
            return by_shape(frame, self._object, self._array)
        body = message.WhichOneof("body")
        if body in self.ignored_events:
            return told(self.ignored_events[body], 0)
        symbol, channel = place_of(message.channel)
        facts = self.channel(channel)
        if body is None and facts and message.send_time and not len(UnknownFieldSet(message)):
            return told("empty", 0)
        if facts is None or _BODIES.get(body) != channel.partition("@")[0] or not is_name(symbol):
            return (Rejected(Code.UNKNOWN_MESSAGE, f"{body} of {message.channel!r:.80}"),)
        if message.symbol not in ("", symbol):
            reason = f"{message.symbol!r:.60} in a stream of {symbol}"
            return (Rejected(Code.SYMBOL_MISMATCH, reason, 0, symbol),)
        sent = wire.Sent(self._known[symbol, channel], self._contents, message.send_time, message.create_time)
        content = getattr(message, body)
        events = content.deals if body == "aggre_deals" else (content,)
        return read_all(frame, events, _READS, sent, lambda index: symbol) or told("empty", 0)

    def _object(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        message = members(payload)
        if "lastUpdateId" in message:
            return self._rows_of(frame, "depth", payload)
        if "symbols" in message and "timezone" in message:
            return told("exchange_info", 0)
        if not {"code", "msg"} <= message.keys():
            return (Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(message)!r:.120}"),)
        try:
            answer = msgspec.json.decode(payload, type=wire.Error)
        except UNDECODABLE as error:
            return (rejected(error, 0, ""),)
        if answer.code:
            kind = _FAULTS.get(answer.code, FaultKind.REQUEST)
            return told("error_reply", 0, Fault(kind, str(answer.code), answer.msg))
        if answer.msg == "PONG":
            return told("pong", 0)
        return told("subscription_reply", 0, *self._answered(answer.msg))

    def _answered(self, said: str) -> Iterable[Fault]:
        """``spot@…,spot@…`` grants these; ``Not Subscribed successfully! [spot@…].  Reason： Blocked! `` refuses."""
        places = [
            (channel, symbol) for topic in _TOPIC.finditer(said) for symbol, channel in [place_of(topic[0])]
        ]
        if not said.startswith("spot@"):
            fault = Fault(FaultKind.REQUEST, "not_subscribed", said)
            return [said_of for place in places for said_of in self._answers.refuse(*place, fault)] or [fault]
        return [ready for place in places if (ready := self._answers.grant(*place))]

    def _array(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        return self._rows_of(frame, query_of(frame.endpoint)[0].rpartition("/")[2], payload)

    def _rows_of(self, frame: Frame, name: str, payload: bytes) -> Sequence[Outcome]:
        """The rows of a page; a snapshot is one."""
        query = query_of(frame.endpoint)[1]
        symbol, interval = query.get("symbol", ""), HISTORY_INTERVALS.get(query.get("interval", ""), "")
        reader, channel = {
            "depth": (_SNAPSHOT, BOOK.family),
            "trades": (_TRADES, DEALS.name),
            "aggTrades": (_AGGREGATES, DEALS.name),
            "klines": (_KLINES, f"kline@{interval}" if interval else ""),
        }.get(name, (None, ""))
        if reader is None or not channel:
            return (Rejected(Code.UNKNOWN_MESSAGE, f"an answer of {frame.endpoint!r:.80}"),)
        if not symbol or not is_name(symbol):
            return (Rejected(Code.SYMBOL_MISSING, f"an answer of {frame.endpoint!r:.80}"),)
        sent = wire.Sent(self._known[symbol, channel], ContentCounts())
        if name == "depth":
            return (read_one(frame, 0, payload, reader, sent, symbol),)
        outcomes = read_rows(frame, payload, reader, sent, symbol)
        if name == "aggTrades" and str(len(outcomes)) == query.get("limit"):
            outcomes = _without_last_ms(outcomes)
        return outcomes or told("empty", 0)

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        return [
            Instrument(
                item.symbol, f"{item.baseAsset}-{item.quoteAsset}", step_of(item.quotePrecision),
                item.baseSizePrecision.strip("0.") and item.baseSizePrecision, status=str(item.status),
            )
            for item in listing(payload, wire.Listing).symbols
        ]  # fmt: skip


def topic_of(channel: str, venue_symbol: str) -> str:
    family, _, parameter = channel.partition("@")
    places = (venue_symbol, parameter) if family in LEADS_WITH_SYMBOL else (parameter, venue_symbol)
    return f"spot@public.{family}.v3.api.pb@{places[0]}@{places[1]}"


def place_of(topic: str) -> tuple[str, str]:
    """Venue symbol and channel, "" where it is no stream's name."""
    match = _TOPIC.fullmatch(topic)
    if match is None:
        return "", ""
    family, first, second = match.groups()
    symbol, parameter = (first, second) if family in LEADS_WITH_SYMBOL else (second, first)
    return symbol, f"{family}@{parameter}"


def step_of(digits: int) -> str:
    """10 to the power of minus ``digits``, as text."""
    return f"0.{'0' * (digits - 1)}1" if 0 < digits <= 38 else ""


def _span(start_ns: int, end_ns: int) -> dict[str, int]:
    return {"startTime": start_ns // NS_PER_MS, "endTime": -(-end_ns // NS_PER_MS) - 1}


def _without_last_ms(outcomes: list[Outcome]) -> list[Outcome]:
    """Unless all rows are of one millisecond: then the next page begins behind it."""
    times_ns = [getattr(one, "event_time_ns", 0) for one in outcomes]
    last_ns = max(times_ns)
    if last_ns in (0, times_ns[0]):
        return outcomes
    return [
        Ignored("page_end", index) if time_ns == last_ns else one
        for index, (one, time_ns) in enumerate(zip(outcomes, times_ns, strict=True))
    ]
