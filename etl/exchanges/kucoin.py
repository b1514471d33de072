"""KuCoin spot.

https://www.kucoin.com/docs-new/websocket-api/base-info/introduction
https://www.kucoin.com/docs-new/3470068w0 and its neighbours: books, trades, tickers, klines
https://github.com/Kucoin/kucoin-api-docs: as it was until 2023

A ticket is asked for before each connection: it goes into the address, and says how often to ping. Each stream is asked
for in a message of its own, whose ``id`` the answer repeats: so a refusal is of that stream alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import msgspec
from msgspec import Raw

from etl.adapter.build import Stream, StreamCache, stream_of
from etl.adapter.channels import variant
from etl.adapter.contract import (
    Budget,
    Channel,
    Credentials,
    Exchange,
    Fault,
    FaultCode,
    FaultKind,
    History,
    KeepAlive,
    Outcome,
    Rejected,
    Request,
    SequenceRule,
    Subscription,
    Ticket,
)
from etl.adapter.dispatch import Reader, by_shape, elements, read_one, read_rows
from etl.adapter.fields import (
    ABSENT,
    UNDECODABLE,
    FieldFault,
    listing,
    members,
    rejected,
    require_name,
    text_of,
)
from etl.adapter.handshake import Answers, told
from etl.adapter.paging import query_of, rows_of
from etl.exchanges import _kucoin_requests as ask
from etl.exchanges import _kucoin_wire as wire
from etl.model.codes import Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Bar, Frame, Kind, SizeUnit
from etl.model.times import NS_PER_MINUTE, NS_PER_MS

TRADES = Channel("match", Kind.TRADE, SequenceRule.RISING, Kind.TRADE, 60.0)
TOPS = Channel("ticker", Kind.QUOTE, SequenceRule.RISING, None, 60.0)
BOOK = Channel("level2", Kind.BOOK, SequenceRule.RANGE, None, 60.0)
BARS = Channel("candles_1min", Kind.BAR, SequenceRule.INTERVAL, Kind.BAR, 180.0, "candles", NS_PER_MINUTE)

_EVENTS = {
    (TRADES.family, "trade.l3match"): Reader(wire.Match, wire.read_match),
    (TOPS.family, "trade.ticker"): Reader(wire.Ticker, wire.read_ticker),
    (BOOK.family, "trade.l2update"): Reader(wire.Level2, wire.read_level2),
    (BARS.family, "trade.candles.update"): Reader(wire.Candle, wire.read_candle),
    (BARS.family, "trade.candles.add"): Reader(wire.Candle, wire.read_candle),
}
"""By family and subject."""
_TRADE_ROW = Reader(wire.TradeRow, wire.read_trade_row)
_CANDLE_ROW = Reader(wire.CandleRow, wire.read_candle_row)
_SNAPSHOT = Reader(wire.Snapshot, wire.read_snapshot)
_OK = "200000"
_ALL = "all"
"""Symbol in the topic of all tickers; the subject names each."""
_OF_ONE = (FaultKind.REQUEST, FaultKind.ENTITLEMENT, FaultKind.SUBSCRIPTION_LIMIT)
"""Faults that a stream may have and the others not."""
_read_message = msgspec.json.Decoder(wire.Message).decode


class Kucoin(Exchange):
    name = "kucoin"
    websocket_url = "wss://ws-api-spot.kucoin.com"
    rest_url = "https://api.kucoin.com"
    channels = (TRADES, TOPS, BOOK, BARS)
    default_symbols = ("BTC-USDT", "ETH-USDT", "ADA-USDT")
    changes: ClassVar[Mapping[str, str]] = {
        "2022-09-22": "changes of books tell their `time`",
        "2022-10-20": "`/api/v2/symbols` is the list",
        "2024-10-17": "a trade's `tradeId` is its `sequence`",
    }
    ignored_names: ClassVar[Mapping[str, str]] = {
        "welcome": "the connection is there",
        "ack": "the answer to a subscription",
        "pong": "the answer to a keep-alive",
        "error": "the venue refuses something; told as a Fault",
        "ticket": "the answer to the request for a ticket",
        "exchange_info": "the instrument list",
        "empty": "a page without rows",
        "24h_statistics": "24 h statistics",
        "other_channel": "what the channels that are read tell in another form",
        "call_auction": "the book and the price of a call auction",
        "margin": "indices, marks and loans of the margin market",
    }
    ignored_events: ClassVar[Mapping[str, str]] = {
        "/market/snapshot": "24h_statistics",
        **dict.fromkeys(
            ("/spotMarket/level1", "/spotMarket/level2Depth5", "/spotMarket/level2Depth50"), "other_channel"
        ),
        **dict.fromkeys(("/callauction/level2Depth50", "/callauction/callauctionData"), "call_auction"),
        **dict.fromkeys(("/indicator/index", "/indicator/markPrice", "/margin/fundingBook"), "margin"),
    }
    event_time_min_ns = 1_500_000_000_000_000_000  # July 2017; it opened in September
    untimed_kinds: ClassVar[frozenset[Kind]] = frozenset({Kind.QUOTE, Kind.BOOK})  # of former years
    streams_max = 300
    connection_life_s = 86_400.0
    connect_budgets = (Budget(30, 60.0),)
    messages_per_s = 9.0
    """100 in 10 s, pings among them."""
    budgets = (Budget(2_000, 30.0),)
    fault_codes = (FaultCode(429, FaultKind.RATE_LIMIT, "", 30.0),)
    keepalive = KeepAlive(ask.PING, ask.PING_S)
    history: ClassVar[Mapping[Kind, History]] = {
        Kind.TRADE: History("time", ask.TRADES_MAX),
        Kind.BAR: History("time"),
        Kind.BOOK: History("time"),
    }
    """Of a book there is its snapshot now."""
    instruments_path = ask.LISTING

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._known = StreamCache(self._stream)
        self._answers = Answers()
        self._asked: dict[str, tuple[str, str]] = {}
        self._forming = wire.Forming()

    def _stream(self, place: tuple[str, str]) -> Stream:
        """Raises ``FieldFault`` for what can be none."""
        symbol, name = place
        channel = self.channel(name)
        if channel is None:
            raise FieldFault(Code.UNKNOWN_MESSAGE, f"an event of {name!r:.80}")
        if not symbol:
            raise FieldFault(Code.SYMBOL_MISSING, f"an event of {name}")
        require_name(symbol)
        interval = ask.INTERVALS.get(name.partition("_")[2], "")
        return stream_of(self, symbol, name, SizeUnit.BASE, interval=interval, key_unit_ns=NS_PER_MS)

    @classmethod
    def match(cls, name: str) -> Channel | None:
        """``candles_5min``."""
        family, _, interval = name.partition("_")
        is_known = interval in ask.INTERVALS
        return variant(cls.channels, family, name, ask.INTERVALS[interval]) if is_known else None

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        return [
            Instrument(
                pair.symbol, f"{pair.baseCurrency}-{pair.quoteCurrency}", pair.priceIncrement, pair.baseIncrement,
                status=pair.status,
            )
            for pair in listing(payload, wire.Listing).data
        ]  # fmt: skip

    # what to send

    def ticket_request(self) -> Request:
        return ask.ticket()

    def read_ticket(self, payload: bytes) -> Ticket:
        return ask.read_ticket(payload)

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return f"{base_url}/"

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        streams = [(channel, symbol) for channel in subscription.channels for symbol in subscription.symbols]
        self._answers.ask(streams)
        self._asked |= {str(number): stream for number, stream in enumerate(streams, 1)}
        return [ask.subscribe(number, *stream) for number, stream in enumerate(streams, 1)]

    def unanswered(self) -> Sequence[str]:
        return self._answers.unanswered()

    def snapshot_requests(self, subscription: Subscription) -> Sequence[Request]:
        if BOOK.name not in subscription.channels:
            return ()
        return [ask.snapshot(symbol) for symbol in subscription.symbols]

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        if kind is Kind.BOOK:
            yield ask.snapshot(venue_symbol)
        elif kind is Kind.TRADE:
            yield ask.trades(venue_symbol, start_ns, end_ns)
        elif kind is Kind.BAR:
            yield from ask.bars(venue_symbol, start_ns, end_ns, channel.partition("_")[2] or "1min")

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        """None has pages. Raises ``OutOfReach`` where trades that were asked for are among no answer."""
        if request.kind is Kind.TRADE:
            ask.require_reach(request, rows_of(frame.payload, "data"))
        return None

    # parse

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        try:
            message = _read_message(frame.payload)
        except UNDECODABLE:
            return by_shape(frame, self._object, self._array)
        return self._message(frame, message)

    def _message(self, frame: Frame, message: wire.Message) -> Sequence[Outcome]:
        if message.type == "message":
            return self._event(frame, message)
        if message.type == "ack":
            asked = self._asked.pop(str(message.id), None)
            return told("ack", 0, self._answers.grant(*asked) if asked else None)
        if message.type in ("welcome", "pong"):
            return told(message.type, 0)
        if message.type == "error":
            return self._refused(message)
        return (Rejected(Code.UNKNOWN_MESSAGE, f"a message of type {message.type!r:.80}"),)

    def _event(self, frame: Frame, message: wire.Message) -> Sequence[Outcome]:
        head, _, symbol = message.topic.partition(":")
        if head in self.ignored_events:
            return told(self.ignored_events[head], 0)
        family, subject = head.removeprefix(ask.MARKET), message.subject
        if symbol == _ALL and family == TOPS.family:
            symbol, subject = subject, "trade.ticker"
        reader = _EVENTS.get((family, subject)) if head.startswith(ask.MARKET) else None
        if reader is None:
            return (Rejected(Code.UNKNOWN_MESSAGE, f"{subject!r:.40} of {message.topic!r:.80}"),)
        if family == BARS.family:
            symbol, _, interval = symbol.rpartition("_")
            family = f"{family}_{interval}"
        try:
            stream = self._known[symbol, family]
        except FieldFault as error:
            return (rejected(error, 0, symbol),)
        outcome = read_one(frame, 0, message.data, reader, stream, symbol)
        return (outcome, *self._forming.over(outcome, stream)) if isinstance(outcome, Bar) else (outcome,)

    def _refused(self, message: wire.Message) -> Sequence[Outcome]:
        """``{"id":"2","type":"error","code":404,"data":"topic /market/level2:NOPE-USDT is not found"}``"""
        code, asked = str(message.code), self._asked.pop(str(message.id), None)
        fault = Fault(ask.SOCKET_FAULTS.get(code, FaultKind.REQUEST), code, text_of(message.data))
        if asked is None or fault.kind not in _OF_ONE:
            return told("error", 0, fault)
        return told("error", 0, *self._answers.refuse(*asked, fault))

    def _array(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        return (Rejected(Code.UNKNOWN_MESSAGE, f"an array, {payload[:40]!r}"),)

    def _object(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        """An answer to a request, or a message with a word that JSON has not."""
        answer = members(payload)
        if "type" in answer:
            try:
                return self._message(frame, _read_message(payload))
            except UNDECODABLE as error:
                return (rejected(error, 0, ""),)
        code = text_of(answer.get("code", ABSENT))
        if not code:
            return (Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(answer)!r:.120}"),)
        if code != _OK:
            kind = ask.REQUEST_FAULTS.get(code, FaultKind.REQUEST)
            return told("error", 0, Fault(kind, code, text_of(answer.get("msg", ABSENT))))
        return self._answer(frame, answer.get("data", ABSENT))

    def _answer(self, frame: Frame, data: Raw) -> Sequence[Outcome]:
        """Rows of a page; a snapshot is one."""
        path, query = query_of(frame.endpoint.partition("#")[0])
        name, symbol = path.rpartition("/")[2], query.get("symbol", "")
        if name == "bullet-public":
            return told("ticket" if members(data) else "empty", 0)
        if name == "symbols":
            return told("exchange_info" if elements(data) else "empty", 0)
        is_book = name.partition("_")[0] == BOOK.name
        channel = BOOK.name if is_book else {
            "histories": TRADES.name, "candles": f"{BARS.family}_{query.get('type', '')}",
        }.get(name, "")  # fmt: skip
        if not channel:
            return (Rejected(Code.UNKNOWN_MESSAGE, f"an answer of {frame.endpoint!r:.80}"),)
        try:
            stream = self._known[symbol, channel]
        except FieldFault as error:
            return (rejected(error, 0, ""),)
        if is_book:
            return (read_one(frame, 0, data, _SNAPSHOT, stream, symbol),)
        reader = _TRADE_ROW if channel == TRADES.name else _CANDLE_ROW
        return read_rows(frame, data, reader, stream, symbol) or told("empty", 0)
