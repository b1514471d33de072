"""Kraken spot, websocket v2. https://docs.kraken.com/api/docs/websocket-v2

Prices and sizes are JSON numbers, whose text is kept. Each subscription is answered symbol by symbol. Books carry no
ids: the checksum of their ten best levels is all the proof there is, and complete where no more than ten are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from etl.adapter import build, fields
from etl.adapter.build import StreamCache
from etl.adapter.contract import (
    BookBroken,
    Budget,
    Channel,
    Credentials,
    Exchange,
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
from etl.adapter.dispatch import Reader, Rows, by_shape
from etl.adapter.fields import ABSENT, INT64_MAX, Columns, FieldFault, members, text_of
from etl.adapter.handshake import Answers, told
from etl.exchanges import _kraken_channels as kraken
from etl.exchanges import _kraken_rest as rest
from etl.exchanges import _kraken_wire as wire
from etl.exchanges._kraken_channels import DEPTHS, CheckedBook
from etl.model import records
from etl.model.codes import REPLAYED, Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import BarState, BookAction, Frame, Kind, Side, TradingStatus
from etl.model.times import NS_PER_MINUTE, interval_ns

_message = msgspec.json.Decoder(wire.Message).decode


class Kraken(Exchange):
    name = "kraken"
    websocket_url = "wss://ws.kraken.com/v2"
    rest_url = "https://api.kraken.com"
    channels = (
        Channel("instrument", Kind.STATUS, SequenceRule.NONE, market_wide=True),
        Channel("trade", Kind.TRADE, SequenceRule.CONTIGUOUS, Kind.TRADE, 120.0),
        Channel(
            "book", Kind.BOOK, SequenceRule.NONE, None, 60.0, depth=DEPTHS[0], checksum_until_ns=INT64_MAX
        ),
        Channel("ticker", Kind.QUOTE, SequenceRule.NONE, None, 120.0),
        Channel("ohlc", Kind.BAR, SequenceRule.INTERVAL, Kind.BAR, interval_ns=NS_PER_MINUTE),
    )
    default_symbols = ("BTC/USD", "ETH/USD", "SOL/USD")
    ignored_names: ClassVar[Mapping[str, str]] = {
        "heartbeat": "nothing else was sent for a second",
        "status": "the greeting, and the state of the whole venue",
        "pong": "the answer to a ping of ours",
        "subscribe": "the answer to a subscription; a refusal is told as a Fault",
        "unsubscribe": "the answer to the end of one",
        "error": "the venue refuses something; told as a Fault",
        "assets": "currencies, in the list of instruments",
        "pairs": "the list of instruments by request",
        "empty": "a message or a page without events",
    }
    changes: ClassVar[Mapping[str, str]] = {
        "2022-11": "trades by request bear the stream's `trade_id`; older answers have six columns",
        "2026-04-28": "pairs of other execution venues (`BTC/USD:BTNL`) are books of their own, left out of the list",
    }
    event_time_min_ns = 1_377_993_600_000_000_000  # the venue opened in September 2013
    untimed_kinds = frozenset({Kind.BOOK, Kind.QUOTE, Kind.STATUS})
    budgets = (Budget(1, 1.0),)
    connect_budgets = (Budget(150, 600.0),)
    fault_codes = rest.FAULT_CODES
    keepalive = KeepAlive('{"method":"ping"}', 30.0)
    history: ClassVar[Mapping[Kind, History]] = {Kind.TRADE: History("time"), Kind.BAR: History("time")}
    instruments_path = f"{rest.LIST}?execution_venue=international"

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._streams: StreamCache[tuple[str, str]] = StreamCache(lambda place: kraken.stream(self, *place))
        self._decimals = fields.DecimalTexts()
        self._answers = Answers()
        self._asked: list[str] = []
        self._books: dict[str, CheckedBook] = {}
        self._broken: list[BookBroken] = []
        self._places: dict[str, kraken.Places] = {}
        self._rest = rest.Answers(self.instruments, self._streams)
        readers = {
            "trade": Reader(wire.Trade, self._read_trade),
            "book": Reader(wire.Book, self._read_book),
            "ticker": Reader(wire.Ticker, self._read_ticker),
            "ohlc": Reader(wire.Bar, self._read_bar),
            "instrument": Reader(wire.Pair, self._read_pair),
        }
        self._rows = {channel: Rows(reader, "symbol") for channel, reader in readers.items()}

    @classmethod
    def match(cls, name: str) -> Channel | None:
        return kraken.match(cls.channels, name)

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        return [instrument for _, instrument in rest.read_instruments(payload)]

    # what to send

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return base_url

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        """A message a channel, numbered by it, as a refusal names none. The instruments lead: books are checked by
        their precision."""
        self._asked = sorted(subscription.channels, key=lambda name: name != "instrument")
        for name in self._asked:
            self._answers.ask(product([name], subscription.symbols if name != "instrument" else [""]))
        return [self._request("subscribe", name, subscription.symbols) for name in self._asked]

    def resubscribe(self, subscription: Subscription) -> Sequence[str]:
        return [
            self._request(method, name, subscription.symbols)
            for name in subscription.channels
            for method in ("unsubscribe", "subscribe")
        ]

    def unanswered(self) -> Sequence[str]:
        return self._answers.unanswered()

    def _request(self, method: str, name: str, symbols: Sequence[str]) -> str:
        channel, _, parameter = name.partition("-")
        params: dict[str, Any] = {"channel": channel}
        if channel != "instrument":
            params["symbol"] = symbols
        if channel == "book":
            params["depth"] = int(parameter or DEPTHS[0])
        elif channel == "ticker":
            params["event_trigger"] = "bbo"
        elif channel == "ohlc":
            params["interval"] = int(parameter or 1)
        number = self._asked.index(name) + 1 if name in self._asked else 0
        return msgspec.json.encode({"method": method, "params": params, "req_id": number}).decode()

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        return rest.history_requests(kind, venue_symbol, start_ns, end_ns, channel.partition("-")[2] or "1")

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        return rest.next_request(request, frame)

    # frames

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        try:
            return self._market(frame, _message(frame.payload))
        except fields.UNREADABLE:
            return by_shape(frame, self._object, lambda *_: (Rejected(Code.UNKNOWN_MESSAGE, "an array"),))

    def _market(self, frame: Frame, message: wire.Message) -> Sequence[Outcome]:
        """Raises one of ``UNREADABLE`` for what is no message of the market."""
        channel, data = message.channel, message.data
        rows = self._rows.get(channel)
        if rows is None:
            raise FieldFault(Code.UNKNOWN_MESSAGE, f"channel {channel!r:.40}")
        if channel == "instrument":
            data = msgspec.json.decode(data, type=wire.Listed).pairs
        outcomes = rows.read(frame, data, message.type == "snapshot")
        if self._broken:
            outcomes += self._broken
            self._broken = []
        return outcomes or [Ignored("assets" if channel == "instrument" else "empty")]

    def _object(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        message = members(payload)
        channel = text_of(message.get("channel", ABSENT))
        if channel in ("heartbeat", "status"):
            return (Ignored(channel),)
        try:
            if channel:
                return self._market(frame, _message(payload))
            if "method" in message:
                return self._answer(msgspec.json.decode(payload, type=wire.Answer))
            if "result" in message:
                return self._rest.read(frame, message)
        except fields.UNREADABLE as error:
            return (fields.rejected(error, 0, ""),)
        if said := rest.said_by(message):
            return told("error", 0, rest.fault_of("error", said))
        return (Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(message)!r:.120}"),)

    def _answer(self, answer: wire.Answer) -> Sequence[Outcome]:
        """``{"method":"subscribe","result":{"channel":"book","depth":10,"snapshot":true,"symbol":"ALGO/USD"},"success":
        true,"req_id":1,…}``, or ``"error":"Currency pair not supported FOO/BAR","success":false,"symbol":"FOO/BAR"`` in
        place of the result."""
        method, result = answer.method, answer.result or wire.Params()
        if method not in ("subscribe", "unsubscribe", "pong"):
            raise FieldFault(Code.UNKNOWN_MESSAGE, f"method {method!r:.40}")
        number, symbol = answer.req_id - 1, result.symbol or answer.symbol
        name = self._asked[number] if 0 <= number < len(self._asked) else result.channel
        if method != "subscribe":
            return told(method, 0)
        if not answer.success and answer.error != "Already subscribed":
            fault = rest.fault_of("subscribe", answer.error)
            if fault.kind is not FaultKind.REQUEST:
                return told(method, 0, fault)
            return told(method, 0, *self._answers.refuse(name, symbol, fault))
        if answer.success and result.channel == "book":
            self._books.setdefault(symbol, CheckedBook()).subscribed(result.depth)
        return told(method, 0, self._answers.grant(name, symbol))

    # readers

    def _decimal(self, raw: Raw) -> str:
        text = self._decimals[bytes(raw)]
        if text is None:
            raise FieldFault(Code.FIELD_MISSING, "a number that is null")
        return text

    def _columns(self, levels: Sequence[wire.Level]) -> Columns:
        return tuple([self._decimal(one.price) for one in levels]), tuple(
            [self._decimal(one.qty) for one in levels]
        )

    def _read_trade(self, frame: Frame, index: int, event: wire.Trade, is_snapshot: bool) -> records.Trade:
        """``{"symbol":"BTC/USD","side":"buy","price":105944.2,"qty":0.00027625,"ord_type":"limit","trade_id":10218208,
        "timestamp":"2023-10-06T17:35:55.440295Z"}``: ``side`` is the taker's; a snapshot repeats the last 50."""
        return build.trade(
            self._streams[event.symbol, "trade"], frame, index, fields.rfc3339_ns(event.timestamp),
            self._decimal(event.price), self._decimal(event.qty), Side.BUY if event.side == "buy" else Side.SELL,
            str(event.trade_id), event.trade_id, flags=(REPLAYED,) if is_snapshot else (),
        )  # fmt: skip

    def _read_book(self, frame: Frame, index: int, event: wire.Book, is_snapshot: bool) -> records.Book:
        """``{"symbol":"MATIC/USD","bids":[{"price":0.5666,"qty":4831.75496356}],"asks":[],"checksum":2439117997,
        "timestamp":"2023-10-06T17:35:55.440295Z"}``: new sizes, 0 removes; what falls behind the depth goes without a
        word."""
        symbol, bids, asks = event.symbol, self._columns(event.bids), self._columns(event.asks)
        time_ns = fields.rfc3339_ns(event.timestamp) if event.timestamp else 0
        book = self._books.get(symbol) or self._books.setdefault(symbol, CheckedBook())
        if is_snapshot:
            book.begin(max(len(event.bids), len(event.asks)))
        channel = f"book-{book.depth}" if book.depth not in (0, DEPTHS[0]) else "book"
        action = BookAction.SNAPSHOT if is_snapshot else BookAction.ABSOLUTE
        record = build.book(self._streams[symbol, channel], frame, index, action, time_ns, bids, asks)
        places = self._places.get(symbol) or kraken.places_of(self.instruments.get(symbol))
        record, wrong = book.take(record, event.checksum, places)
        if wrong:
            self._broken.append(BookBroken(symbol, channel, wrong))
        return record

    def _read_ticker(self, frame: Frame, index: int, event: wire.Ticker, is_snapshot: bool) -> records.Quote:
        """``{"symbol":"ALGO/USD","bid":0.10025,"bid_qty":740.0,"ask":0.10036,"ask_qty":1361.44813783,"last":0.10035,…,
        "timestamp":"2026-10-06T17:35:55.440295Z"}``: 0 is no order, 1970 no time."""
        bid, bid_size, ask, ask_size = map(
            self._decimal, (event.bid, event.bid_qty, event.ask, event.ask_qty)
        )
        is_timed = event.timestamp and not event.timestamp.startswith("1970-")
        return build.quote(
            self._streams[event.symbol, "ticker"], frame, index,
            f"{frame.connection_id}/{frame.frame_sequence}/{index}",
            fields.rfc3339_ns(event.timestamp) if is_timed else 0,
            *((bid, bid_size) if bid.strip("0.") else (None, None)),
            *((ask, ask_size) if ask.strip("0.") else (None, None)),
        )  # fmt: skip

    def _read_bar(self, frame: Frame, index: int, event: wire.Bar, is_snapshot: bool) -> records.Bar:
        """``{"symbol":"ALGO/USD","open":0.1,"high":0.1,"low":0.1,"close":0.1,"trades":2,"volume":31.4,"vwap":0.1,
        "interval_begin":"2023-10-04T16:25:00.000000000Z","interval":5,…}``: sent with each trade; that it
        is over only the clock says."""
        channel = "ohlc" if event.interval == 1 else f"ohlc-{event.interval}"
        stream, start_ns = self._streams[event.symbol, channel], fields.rfc3339_ns(event.interval_begin)
        is_over = start_ns + interval_ns(stream.interval) <= frame.receive_time_ns
        prices = [self._decimal(raw) for raw in (event.open, event.high, event.low, event.close)]
        return build.bar(
            stream, frame, index, start_ns, BarState.CLOSED if is_over else BarState.OPEN, prices,
            self._decimal(event.volume), self._decimal(event.vwap), trade_count=event.trades,
        )  # fmt: skip

    def _read_pair(self, frame: Frame, index: int, event: wire.Pair, is_snapshot: bool) -> records.Status:
        """``{"symbol":"BTC/USD","base":"BTC","quote":"USD","status":"online","price_precision":1,"qty_precision":8,…}``
        without a time; books are printed with these decimals from now on."""
        stream = self._streams[event.symbol, "instrument"]
        if event.price_precision is not None and event.qty_precision is not None:
            self._places[event.symbol] = event.price_precision, event.qty_precision
        place = f"{frame.connection_id}/{frame.frame_sequence}/{index}"
        status = wire.STATUSES.get(event.status, TradingStatus.NONE)
        return build.status(stream, frame, index, 0, event.status, status, event.status, key=place)
