"""Bybit v5: spot, linear (USDT and USDC), inverse and options, each a feed with a socket of its own.

https://bybit-exchange.github.io/docs/v5/ws/connect
https://bybit-exchange.github.io/docs/v5/market/instrument

A symbol such as ``BTCUSDT`` is one of several markets, and no frame says of which: the address does. No history gives
trades by id or time; what no overlapping connection has stays missing, and is declared so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from etl.adapter.build import STREAMS_KNOWN_MAX, Stream, StreamCache, stream_of
from etl.adapter.contract import (
    Budget,
    Channel,
    Credentials,
    Exchange,
    History,
    Ignored,
    KeepAlive,
    Outcome,
    Rejected,
    Request,
    SequenceRule,
    Subscription,
)
from etl.adapter.dispatch import Endpoint, Reader, by_shape, read_lines, read_one, read_rows
from etl.adapter.fields import (
    ABSENT,
    UNREADABLE,
    decoded,
    inside,
    is_name,
    members,
    rejected,
    text_of,
    time_ns,
)
from etl.adapter.handshake import told
from etl.adapter.paging import Before, by_token, query_of, rows_of
from etl.errors import VenueError
from etl.exchanges import _bybit_wire as wire
from etl.exchanges._bybit_answers import FAULT_CODES, Requests, cursor_of, fault_of, instruments_of
from etl.model.codes import Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Frame, Kind, SizeUnit
from etl.model.times import NS_PER_MINUTE, NS_PER_MS, interval_ns

ARGUMENTS_MAX = 10
"""Topics of one request: what spot takes."""
INTERVALS = {
    **{str(minutes): f"{minutes}m" for minutes in (1, 3, 5, 15, 30)},
    **{str(60 * hours): f"{hours}h" for hours in (1, 2, 4, 6, 12)},
    "D": "1d", "W": "1w", "M": "1M",
}  # fmt: skip
DEPTHS = frozenset({"25", "50", "100", "200", "500", "1000"})
TRADES = Channel("publicTrade", Kind.TRADE, SequenceRule.NONE, None, 60.0)
TOPS = Channel("orderbook.1", Kind.QUOTE, SequenceRule.RISING, None, 10.0)
"""Told again every 3 s without a change."""
BOOK = Channel("orderbook.50", Kind.BOOK, SequenceRule.CONTIGUOUS, None, 60.0, depth=50)
BARS = Channel("kline.1", Kind.BAR, SequenceRule.INTERVAL, Kind.BAR, 180.0, "kline", NS_PER_MINUTE)
TICKERS = Channel("tickers", Kind.STATS, SequenceRule.NONE, None, 60.0)
LIQUIDATIONS = Channel("allLiquidation", Kind.LIQUIDATION, SequenceRule.NONE)
LINES = Reader(wire.TradeLine, wire.read_trade_line)
KLINE_PAGES = Before("end", 0, 0, lambda ms: time_ns(int(ms), NS_PER_MS), step=1)


class _Route(Struct, frozen=True, gc=False):
    stream: Stream
    reader: Reader
    decode: Callable[[Any], Any]
    """One event, or an array of them."""


class Bybit(Exchange):
    name: ClassVar[str] = "bybit"
    category: ClassVar[str] = "spot"
    websocket_url: ClassVar[str] = "wss://stream.bybit.com/v5/public/spot"
    rest_url = "https://api.bybit.com"
    channels: ClassVar[tuple[Channel, ...]] = (replace(TRADES, rule=SequenceRule.RISING), TOPS, BOOK, BARS)
    default_symbols: ClassVar[tuple[str, ...]] = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    changes: ClassVar[Mapping[str, str]] = {
        "2023-12-14": "books tell the matching engine's time `cts`",
        "2025-02-20": "`allLiquidation` tells all, where `liquidation` told one a second",
        "2025-03-20": "`orderbook.1` sends whole quotes only, and repeats the last one",
        "2025-08-05": "trades tell `seq`; those of one match come in messages of 1,024 at most",
        "2026-06-11": "`singleOpenInterest`, of one side, beside `openInterest`",
    }
    ignored_events: ClassVar[Mapping[str, str]] = {
        "tickers": "24h_statistics",
        "adlAlert": "adl_alert",
        "insurance": "insurance_fund",
        "priceLimit": "price_limit",
        "system": "system_status",
        "orderbook.rpi": "rpi_book",
        "orderbook.full": "full_book",
    }
    """Topic without its symbol, or its first word."""
    ignored_names: ClassVar[Mapping[str, str]] = {
        "subscription_reply": "the answer to a subscription; a refusal is told as a Fault",
        "pong": "the answer to a keep-alive",
        "error_reply": "the venue refuses a request; told as a Fault",
        "csv_header": "the first line of a daily file",
        "empty": "an answer or a message without events",
        "exchange_info": "the instrument list",
        "24h_statistics": "24 h statistics, and tickers that change nothing else",
        "adl_alert": "how near automatic deleveraging is",
        "insurance_fund": "the insurance fund's balances",
        "price_limit": "the limits of order prices",
        "system_status": "planned maintenance",
        "rpi_book": "books with the orders of retail price improvement apart",
        "full_book": "changes of the whole book, which begin with no snapshot",
    }
    event_time_min_ns = 1_541_030_400_000_000_000  # 2018-11, when the venue opened
    connections_max = 1_000
    streams_max = 500
    """21,000 characters of topics, each with 42 at most."""
    budgets = (Budget(600, 5.0),)
    connect_budgets = (Budget(500, 300.0),)
    fault_codes = FAULT_CODES
    keepalive = KeepAlive('{"op":"ping"}', 20.0)
    history: ClassVar[Mapping[Kind, History]] = {Kind.BAR: History("time")}
    instruments_path: ClassVar[str] = "/v5/market/instruments-info?category=spot"

    size_unit: ClassVar[SizeUnit] = SizeUnit.BASE
    readers: ClassVar[Mapping[str, Reader]] = {
        "publicTrade": Reader(wire.Trade, wire.read_trade),
        "orderbook": Reader(wire.Book, wire.read_book),
        "tickers": Reader(wire.Ticker, wire.read_ticker),
        "kline": Reader(wire.Kline, wire.read_kline),
        "allLiquidation": Reader(wire.Liquidation, wire.read_liquidation),
        "liquidation": Reader(wire.OldLiquidation, wire.read_liquidation),
    }
    """By the first word of the topic."""
    endpoints: ClassVar[Mapping[str, Endpoint]] = {
        "recent-trade": Endpoint("publicTrade", Reader(wire.TradeRow, wire.read_trade_row)),
        "kline": Endpoint("kline.", Reader(wire.KlineRow, wire.read_kline_row), 1, 1_000, KLINE_PAGES),
        "orderbook": Endpoint("orderbook.1000", Reader(wire.Book, wire.read_answered_book)),
    }
    """By the last part of the path. The update id of an answered book is that of the stream of 1,000 levels."""

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._known = StreamCache(self._stream)
        self._tops = Reader(wire.Book, wire.Tops().read)
        self._routes: dict[str, _Route] = {}
        self._requests = Requests()

    def _stream(self, place: tuple[str, str]) -> Stream:
        venue_symbol, channel = place
        facts = self.channel(channel)
        interval = INTERVALS.get(channel.partition(".")[2], "") if channel.startswith("kline.") else ""
        return stream_of(
            self, venue_symbol, channel, self.size_unit, interval=interval,
            depth=facts.depth if facts else 0, key_unit_ns=NS_PER_MS,
        )  # fmt: skip

    @classmethod
    def match(cls, name: str) -> Channel | None:
        """``orderbook.200``, each depth a book of its own; ``kline.5``; ``liquidation``, as it was until 2025."""
        family, _, parameter = name.partition(".")
        if family == "orderbook" and parameter in DEPTHS:
            return replace(BOOK, name=name, family=name, depth=int(parameter))
        known = {channel.family for channel in cls.channels}
        if family == "kline" in known and parameter in INTERVALS:
            length_ns = interval_ns(INTERVALS[parameter])
            rule = SequenceRule.INTERVAL if length_ns else SequenceRule.NONE
            return replace(BARS, name=name, rule=rule, interval_ns=length_ns)
        is_old = name == "liquidation" and LIQUIDATIONS.name in known
        return replace(LIQUIDATIONS, name=name) if is_old else None

    # what to send

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return base_url

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        return self._messages("subscribe", subscription)

    def resubscribe(self, subscription: Subscription) -> Sequence[str | bytes]:
        return [*self._messages("unsubscribe", subscription), *self._messages("subscribe", subscription)]

    def _messages(self, action: str, subscription: Subscription) -> list[str]:
        names = (
            f"{channel}.{self.topic_symbol(symbol, channel)}"
            for channel in subscription.channels
            for symbol in subscription.symbols
        )
        topics = list(dict.fromkeys(names))
        return [
            self._requests.message(action, topics[start : start + ARGUMENTS_MAX])
            for start in range(0, len(topics), ARGUMENTS_MAX)
        ]

    def topic_symbol(self, venue_symbol: str, channel: str) -> str:
        return venue_symbol

    def unanswered(self) -> Sequence[str]:
        return self._requests.unanswered()

    @classmethod
    def listing_requests(cls) -> Sequence[Request]:
        return [Request(cls.instruments_path, Kind.STATUS, "")]

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        return instruments_of(payload)

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        """Bars, from the newest to the oldest."""
        if kind not in self.history:
            return
        query = {
            "category": self.category, "symbol": venue_symbol,
            "interval": channel.partition(".")[2] or "1", "start": start_ns // NS_PER_MS,
            "end": -(-end_ns // NS_PER_MS) - 1, "limit": self.endpoints["kline"].rows_max,
        }  # fmt: skip
        path = f"/v5/market/kline?{urlencode(query)}"
        yield Request(path, kind, venue_symbol, 1, end_ns, start_ns=start_ns)

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        if request.kind is not Kind.BAR:
            try:
                return by_token(request, "cursor", cursor_of(frame.payload))
            except ValueError as error:
                raise VenueError(f"{request.path}: {error}") from None
        return KLINE_PAGES.following(request, rows_of(frame.payload, "result", "list"))

    def archive_path(self, kind: Kind, venue_symbol: str, day: str) -> str:
        return f"/trading/{venue_symbol}/{venue_symbol}{day}.csv.gz" if kind in self.archive_kinds else ""

    # parse

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        try:
            message = _decode(frame.payload)
            route = self._routes[message.topic]
            events = route.decode(message.data)
        except (*UNREADABLE, KeyError):
            return by_shape(frame, self._object, _array, self._lines)
        place, read = self._sent(message, route.stream), route.reader.read
        outcomes: list[Outcome] = []
        for index, event in enumerate(events if type(events) is list else (events,)):
            try:
                outcomes.append(read(frame, index, event, place))
            except UNREADABLE as error:
                outcomes.append(rejected(error, index, route.stream.venue_symbol))
        return outcomes or (Ignored("empty"),)

    def _lines(self, frame: Frame, file: str) -> Sequence[Outcome]:
        """``BTCUSDT2024-12-01.csv``"""
        symbol = file[: -len("2024-12-01.csv")]
        place = wire.Sent(self._known[symbol, TRADES.name])
        return read_lines(frame, wire.COLUMNS, LINES, place, symbol, (b"timestamp,",)) or (Ignored("empty"),)

    def _sent(self, message: wire.Message, stream: Stream) -> wire.Sent:
        return wire.Sent(stream, message.type, message.ts, message.cts)

    def _object(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        message = members(payload)
        if "topic" in message:
            return self._topic(frame, payload)
        if "retCode" in message:
            return self._answer(frame, message)
        action = text_of(message.get("op", ABSENT))
        if action in ("ping", "pong"):
            return told("pong", 0)
        if action == "unsubscribe":
            return told("subscription_reply", 0)
        if action == "subscribe" or ("success" in message and action == ""):
            return self._requests.take(message)
        return (Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(message)!r:.120}"),)

    def _topic(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        """A message of a topic that was not met before, or with anything wrong in it."""
        try:
            message = decoded(payload, _decode)
        except UNREADABLE as error:
            return (rejected(error, 0, ""),)
        channel, _, symbol = message.topic.rpartition(".")
        first = channel.partition(".")[0]
        if name := self.ignored_events.get(channel) or self.ignored_events.get(first or symbol):
            return told(name, 0)
        facts = self.channel(channel)
        if facts is None or not is_name(symbol):
            return (Rejected(Code.UNKNOWN_MESSAGE, f"topic {message.topic!r:.80}"),)
        stream = self._known[symbol, channel]
        reader = self._tops if facts.kind is Kind.QUOTE else self.readers[first]
        if len(self._routes) < STREAMS_KNOWN_MAX:
            several: Any = list[reader.wire] | reader.wire  # type: ignore[name-defined]
            self._routes[message.topic] = _Route(stream, reader, msgspec.json.Decoder(several).decode)
        place = self._sent(message, stream)
        if bytes(message.data)[:1] != b"[":
            return (read_one(frame, 0, message.data, reader, place, symbol),)
        return read_rows(frame, message.data, reader, place, symbol) or (Ignored("empty"),)

    def _answer(self, frame: Frame, message: Mapping[str, msgspec.Raw]) -> Sequence[Outcome]:
        """``{"retCode":0,"retMsg":"OK","result":{…},"retExtInfo":{},"time":1672025956592}``"""
        code, reason = bytes(message["retCode"]), text_of(message.get("retMsg", ABSENT))
        if not code.removeprefix(b"-").isdigit() or len(code) > 9:
            return (Rejected(Code.FIELD_MALFORMED, f"retCode {code[:40]!r}"),)
        if int(code):
            return told("error_reply", 0, fault_of(int(code), reason))
        path, query = query_of(frame.endpoint)
        name, raw = path.rpartition("/")[2], message.get("result", ABSENT)
        result, endpoint = inside(raw), self.endpoints.get(name)
        if name == "instruments-info" and "list" in result:
            return told("exchange_info", 0)
        if endpoint is None or not ("list" in result or {"b", "a"} <= result.keys()):
            return (Rejected(Code.UNKNOWN_MESSAGE, f"an answer of {frame.endpoint!r:.80}"),)
        symbol = query.get("symbol", "") or text_of(result.get("symbol", ABSENT))
        if not is_name(symbol) or not symbol:
            return (Rejected(Code.SYMBOL_MISSING, f"an answer of {frame.endpoint!r:.80}"),)
        channel = endpoint.channel + (query.get("interval", "1") if name == "kline" else "")
        place = wire.Sent(self._known[symbol, channel])
        if "list" not in result:
            return (read_one(frame, 0, raw, endpoint.reader, place, symbol),)
        return read_rows(frame, result["list"], endpoint.reader, place, symbol) or told("empty", 0)


class BybitLinear(Bybit):
    name = "bybit_linear"
    category = "linear"
    websocket_url = "wss://stream.bybit.com/v5/public/linear"
    channels: ClassVar[tuple[Channel, ...]] = (TRADES, TOPS, BOOK, BARS, TICKERS, LIQUIDATIONS)
    archive_url: ClassVar[str] = "https://public.bybit.com"
    archive_kinds: ClassVar[frozenset[Kind]] = frozenset({Kind.TRADE})
    """Those of spot number their rows anew in each file, and so name no trade."""
    archive_checksum = ""
    ignored_events = {topic: name for topic, name in Bybit.ignored_events.items() if topic != "tickers"}
    instruments_path = "/v5/market/instruments-info?category=linear&limit=1000"


class BybitInverse(BybitLinear):
    """Contracts of one dollar each, settled in coin."""

    name = "bybit_inverse"
    category = "inverse"
    websocket_url = "wss://stream.bybit.com/v5/public/inverse"
    default_symbols = ("BTCUSD", "ETHUSD")
    size_unit = SizeUnit.QUOTE
    instruments_path = "/v5/market/instruments-info?category=inverse&limit=1000"


class BybitOption(BybitLinear):
    """Trades come by coin, of all its options."""

    name = "bybit_option"
    category = "option"
    websocket_url = "wss://stream.bybit.com/v5/public/option"
    channels = (
        replace(TRADES, stale_after_s=0.0),
        replace(BOOK, name="orderbook.100", family="orderbook.100", depth=100, stale_after_s=0.0),
        TICKERS,
    )
    default_symbols = ("BTC-25DEC26-100000-C-USDT", "BTC-25DEC26-100000-P-USDT", "ETH-25DEC26-4000-C-USDT")
    history: ClassVar[Mapping[Kind, History]] = {}
    archive_url, archive_kinds = "", frozenset()
    instruments_path = "/v5/market/instruments-info?category=option&limit=1000&baseCoin={}"
    coins: ClassVar[tuple[str, ...]] = ("BTC", "ETH", "SOL")

    @classmethod
    def listing_requests(cls) -> Sequence[Request]:
        return [Request(cls.instruments_path.format(coin), Kind.STATUS, "") for coin in cls.coins]

    def topic_symbol(self, venue_symbol: str, channel: str) -> str:
        return venue_symbol.partition("-")[0] if channel == TRADES.name else venue_symbol

    def _sent(self, message: wire.Message, stream: Stream) -> wire.Sent:
        coin = self._known if stream.channel == TRADES.name else None
        return wire.Sent(stream, message.type, message.ts, message.cts, coin)


def _array(frame: Frame, payload: bytes) -> Sequence[Outcome]:
    return (Rejected(Code.UNKNOWN_MESSAGE, f"an array, {payload[:40]!r}"),)


_decode = msgspec.json.Decoder(wire.Message).decode
