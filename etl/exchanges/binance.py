"""Binance spot.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
https://github.com/binance/binance-public-data (daily archives)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

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
    Ignored,
    Outcome,
    Rejected,
    Request,
    SequenceRule,
    Subscription,
)
from etl.adapter.dispatch import Endpoint, Reader, Streams, by_shape, elements, read_lines, read_rows
from etl.adapter.fields import ABSENT, inside, listing, members, ms_or_us_ns, text_of
from etl.adapter.handshake import told
from etl.adapter.paging import NOT_A_ROW, After, id_pages, query_of, rows_of
from etl.errors import VenueError
from etl.exchanges import _binance_wire as wire
from etl.model.codes import Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Frame, Kind, SizeUnit
from etl.model.times import NS_PER_MINUTE, NS_PER_MS

DEPTH_LIMIT = 1_000
PAGE_ROWS = 1_000
TRADES = Reader(wire.TradeRow, wire.read_trade)
TRADE_PAGES = After("fromId", "id", "time", ms_or_us_ns)
AGG_TRADES = Reader(wire.AggTrade, wire.read_agg_trade)
AGG_TRADE_PAGES = After("fromId", "a", "T", ms_or_us_ns, ("startTime",))
KLINES = Reader(wire.KlineRow, wire.read_kline_row)
KLINE_PAGES = After("startTime", 6, 0, ms_or_us_ns)


class Binance(Exchange):
    name: ClassVar[str] = "binance"
    websocket_url = "wss://stream.binance.com:9443"
    websocket_url_others: ClassVar[tuple[str, ...]] = (
        "wss://stream.binance.com:443", "wss://data-stream.binance.vision",
    )  # fmt: skip
    rest_url = "https://api.binance.com"
    channels: ClassVar[tuple[Channel, ...]] = (
        Channel("trade", Kind.TRADE, SequenceRule.CONTIGUOUS, Kind.TRADE, 60.0),
        Channel("bookTicker", Kind.QUOTE, SequenceRule.RISING, None, 60.0),
        Channel("depth@100ms", Kind.BOOK, SequenceRule.RANGE, None, 60.0, "depth"),
        Channel("kline_1m", Kind.BAR, SequenceRule.INTERVAL, Kind.BAR, 180.0, "kline", NS_PER_MINUTE),
        Channel("aggTrade", Kind.AGG_TRADE, SequenceRule.CONTIGUOUS, Kind.AGG_TRADE, 60.0),
    )
    default_channels: ClassVar[tuple[str, ...]] = ("trade", "bookTicker", "depth@100ms", "kline_1m")
    changes: ClassVar[Mapping[str, str]] = {
        "2025-01-01": "archive files tell times in µs",
        "2026-07": "the instrument list may say CANCEL_ONLY",
    }
    default_symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    ignored_names: ClassVar[Mapping[str, str]] = {
        "empty": "an empty array: a page or a frame without events",
        "subscription_reply": "the answer to SUBSCRIBE, UNSUBSCRIBE and the like",
        "error_reply": "the venue refuses a request; what it means is told as a Fault",
        "server_shutdown": "the venue announces that it closes the connection; told as a Fault",
        "24h_statistics": "24 h and rolling window statistics",
        "average_price": "the average over five minutes, derived from trades",
        "exchange_info": "the instrument list",
        "csv_header": "the first line of an archive file",
    }
    event_time_min_ns = 1_230_768_000_000_000_000  # 2009, bitcoin's first block
    untimed_kinds: ClassVar[frozenset[Kind]] = frozenset({Kind.QUOTE, Kind.BOOK})  # bookTicker, REST depth
    streams_max = 1_024
    connection_life_s = 86_400.0
    budgets = (Budget(6_000, 60.0),)
    connect_budgets = (Budget(300, 300.0),)
    fault_codes = (
        FaultCode(403, FaultKind.BANNED),
    )  # of the firewall before it; a place it does not serve gets 451
    history: ClassVar[Mapping[Kind, History]] = {
        Kind.TRADE: History("both"),
        Kind.AGG_TRADE: History("both"),
        Kind.BAR: History("time"),
        Kind.BOOK: History("time"),
    }
    """Of a book there is its snapshot now."""
    archive_kinds = frozenset({Kind.TRADE, Kind.AGG_TRADE, Kind.BAR})
    archive_months = frozenset({Kind.BAR})  # of trades one is gigabytes, which a killed run begins anew
    messages_per_s = 5.0
    ready_on_open = True
    instruments_path = "/api/v3/exchangeInfo"

    archive_url: ClassVar[str] = "https://data.binance.vision"
    archive_folder: ClassVar[str] = "/data/spot/daily"
    history_path: ClassVar[str] = "/api/v3"
    size_unit: ClassVar[SizeUnit] = SizeUnit.BASE
    ignored_events: ClassVar[Mapping[str, str]] = {
        "serverShutdown": "server_shutdown",
        "avgPrice": "average_price",
        **dict.fromkeys(("24hrTicker", "24hrMiniTicker", "1hTicker", "4hTicker", "1dTicker"), "24h_statistics"),
    }  # fmt: skip
    event_readers: ClassVar[Mapping[str, Reader]] = {
        "trade": Reader(wire.StreamTrade, wire.read_trade, "trade"),
        "aggTrade": Reader(wire.StreamAggTrade, wire.read_agg_trade, "aggTrade"),
        "bookTicker": Reader(wire.StreamQuote, wire.read_quote),
        "depth": Reader(wire.Depth, wire.read_depth, "depthUpdate"),
        "depthN": Reader(wire.Snapshot, wire.read_snapshot),
        "kline": Reader(wire.Kline, wire.read_kline, "kline"),
    }
    """Family of a stream (a partial book's is ``depthN``) → how its events are read."""
    endpoints: ClassVar[Mapping[str, Endpoint]] = {
        "depth": Endpoint("depth", Reader(wire.Snapshot, wire.read_snapshot), 50, DEPTH_LIMIT),
        "trades": Endpoint("trade", TRADES, 25, PAGE_ROWS),
        "historicalTrades": Endpoint("trade", TRADES, 25, PAGE_ROWS, TRADE_PAGES),
        "aggTrades": Endpoint("aggTrade", AGG_TRADES, 4, PAGE_ROWS, AGG_TRADE_PAGES),
        "klines": Endpoint("kline_", KLINES, 2, PAGE_ROWS, KLINE_PAGES),
    }
    """By the last part of the path."""

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._known = StreamCache(self._stream)
        self._streams = Streams(
            b'{"stream":"', "e", self.event_readers, self.ignored_events, _FAULT_EVENTS, self.place, _family,
            self._known,
        )  # fmt: skip

    def _stream(self, place: tuple[str, str]) -> Stream:
        venue_symbol, channel = place
        interval, depth = channel.partition("_")[2], _depth_of(channel)
        listed = self.instruments.get(venue_symbol)
        size_unit = listed.size_unit if listed and listed.size_unit else self.size_unit
        return stream_of(
            self, venue_symbol, channel, size_unit, interval=interval, depth=depth, key_unit_ns=NS_PER_MS
        )

    @staticmethod
    def place(name: str, event: Mapping[str, Raw]) -> tuple[str, str]:
        """Venue symbol and channel of an event of the stream ``name``."""
        return place_of(name, event)

    @classmethod
    def match(cls, name: str) -> Channel | None:
        """``depth@1000ms``, ``kline_5m``, ``depth20@100ms``, ``markPrice@arr@1s``."""
        family, _, interval = name.partition("@")[0].partition("_")
        if depth := _depth_of(name):
            whole = cls.channels[2]
            return Channel(name, Kind.BOOK, SequenceRule.RISING, None, 60.0, family, 0, depth, whole.socket)
        return variant(cls.channels, family, name, interval)

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        return [
            wire.instrument(item, name)
            for item in listing(payload, wire.InstrumentList).symbols
            if (name := cls.unified_symbol(item))
        ]

    @staticmethod
    def unified_symbol(item: wire.InstrumentItem) -> str:
        """ "" where the list does not say yet what it is: its records keep the venue's name and a flag."""
        return f"{item.baseAsset}-{item.quoteAsset}"

    # what to send

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        """``…/stream?streams=btcusdt@trade/…`` for every symbol and channel."""
        names = dict.fromkeys(
            self.stream_name(symbol, channel)
            for symbol in subscription.symbols
            for channel in subscription.channels
        )
        group = f"/{subscription.socket}" if subscription.socket else ""
        return f"{base_url}{group}/stream?streams={'/'.join(names)}"

    def stream_name(self, venue_symbol: str, channel: str) -> str:
        return f"{venue_symbol.lower()}@{channel}"

    def headers(self, request: Request, now_ns: int) -> Mapping[str, str]:
        return {"X-MBX-APIKEY": self.credentials.key} if self.credentials.key else {}

    def snapshot_requests(self, subscription: Subscription) -> Sequence[Request]:
        if not any(channel.startswith("depth") for channel in subscription.channels):
            return ()
        return [self._request("depth", Kind.BOOK, symbol) for symbol in subscription.symbols]

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        """Trades are asked for by id; without one, the aggregate at ``start_ns`` tells the first id."""
        if kind not in self.history:
            return
        start_ms, end_ms = start_ns // NS_PER_MS, -(-end_ns // NS_PER_MS)
        if kind is Kind.BOOK:
            yield self._request("depth", kind, venue_symbol)
        elif kind is Kind.BAR:
            span = {"startTime": start_ms, "endTime": end_ms - 1}
            interval = channel.partition("_")[2] or "1m"
            yield self._request("klines", kind, venue_symbol, end_ns, interval=interval, **span)
        elif kind in _BY_ID and first_id is not None:
            yield self._request(_BY_ID[kind], kind, venue_symbol, end_ns, fromId=first_id)
        elif kind in _BY_ID:
            least = {"limit": 1} if kind is Kind.TRADE else {}
            yield self._request("aggTrades", kind, venue_symbol, end_ns, startTime=start_ms, **least)

    def id_requests(self, kind: Kind, venue_symbol: str, first_id: int, last_id: int) -> Iterator[Request]:
        if kind in self.history and (endpoint := _BY_ID.get(kind)):
            for start, rows in id_pages(first_id, last_id, self.endpoints[endpoint].rows_max):
                yield self._request(endpoint, kind, venue_symbol, fromId=start, limit=rows)

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        """Pages go on by id (bars by start time) until one is short, or reaches ``request.end_ns``."""
        name = _last_part(request.path)
        endpoint = self.endpoints.get(name)
        if endpoint is None or endpoint.pages is None:
            return None
        rows = rows_of(frame.payload)
        if request.kind is not Kind.TRADE or name != "aggTrades":
            return endpoint.pages.following(request, rows)
        if not rows:
            return None
        try:  # an aggregate tells the first trade of the span
            first_id, time_ns = int(rows[0]["f"]), ms_or_us_ns(rows[0]["T"])
        except NOT_A_ROW as error:
            raise VenueError(f"{request.path}: no aggregate tells the first trade: {error!r}") from None
        if request.end_ns and time_ns >= request.end_ns:
            return None
        return self._request(_BY_ID[Kind.TRADE], Kind.TRADE, request.symbol, request.end_ns, fromId=first_id)

    def _request(self, name: str, kind: Kind, symbol: str, end_ns: int = 0, **query: Any) -> Request:
        endpoint = self.endpoints[name]
        query.setdefault("limit", endpoint.rows_max)
        path = f"{self.history_path}/{name}?{urlencode({'symbol': symbol} | query)}"
        return Request(path, kind, symbol, endpoint.weight, end_ns)

    def archive_path(self, kind: Kind, venue_symbol: str, day: str) -> str:
        folder, file = {
            Kind.TRADE: (f"trades/{venue_symbol}", "trades"),
            Kind.AGG_TRADE: (f"aggTrades/{venue_symbol}", "aggTrades"),
            Kind.BAR: (f"klines/{venue_symbol}/1m", "1m"),
        }.get(kind, ("", ""))
        base = self.archive_folder if day.count("-") == 2 else self.archive_folder.replace("daily", "monthly")
        return f"{base}/{folder}/{venue_symbol}-{file}-{day}.zip" if kind in self.archive_kinds else ""

    # parse

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        """About 1.6 µs for a trade or a quote of a stream seen before; everything else goes by its shape."""
        shapes = self._object, self._array, self._archive_lines
        return self._streams.read(frame) or by_shape(frame, *shapes) or (Ignored("empty"),)

    def _object(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        message = members(payload)
        if "lastUpdateId" in message:
            return self._answer(frame, "depth", b"[" + payload + b"]")
        msgspec.json.decode(payload)  # a garbled word deep within costs the message
        if "data" in message and bytes(message.get("stream", ABSENT))[:1] == b'"':
            data = message["data"]
            events = elements(data) if bytes(data)[:1] == b"[" else [data]
            return self._streams.read_each(frame, text_of(message["stream"]), events)
        if "e" in message or {"u", "s", "B", "A"} <= message.keys():
            return self._streams.read_each(frame, _stream_of(frame.endpoint), [payload])
        return _control(message, frame.receive_time_ns)

    def _array(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        """Rows of an answer, or the events of an ``!…@arr`` stream without its envelope."""
        name, rows = _last_part(frame.endpoint), elements(payload)
        if name not in self.endpoints and any("e" in inside(row) for row in rows):
            return self._streams.read_each(frame, _stream_of(frame.endpoint), rows)
        return self._answer(frame, name or _SHAPES.get(bytes(rows[0])[:1], ""), payload) if rows else ()

    def _answer(self, frame: Frame, name: str, array: bytes) -> Sequence[Outcome]:
        """The rows of a history answer; a depth snapshot is one row."""
        query, endpoint = query_of(frame.endpoint)[1], self.endpoints.get(name)
        if endpoint is None or "symbol" not in query:
            code = Code.UNKNOWN_MESSAGE if endpoint is None else Code.SYMBOL_MISSING
            return (Rejected(code, f"an answer of {frame.endpoint!r:.80}"),)
        stream = self._known[query["symbol"], endpoint.channel + query.get("interval", "")]
        return read_rows(frame, array, endpoint.reader, stream, query["symbol"])

    def _archive_lines(self, frame: Frame, file: str) -> Sequence[Outcome]:
        """Lines of ``BTCUSDT-trades-2024-08-08.csv``."""
        symbol, kind, *_ = file.split("-")
        name, interval = (kind, "") if kind in _ARCHIVE_COLUMNS else ("klines", kind)
        endpoint, columns = self.endpoints[name], _ARCHIVE_COLUMNS.get(name, ())
        stream = self._known[symbol, endpoint.channel + interval]
        return read_lines(frame, columns, endpoint.reader, stream, symbol, _CSV_HEADERS)


def _control(message: Mapping[str, Raw], receive_time_ns: int) -> Sequence[Outcome]:
    """Answers to what we sent: acknowledgements, errors, lists."""
    if "result" in message and "id" in message:
        return (Ignored("subscription_reply"),)
    if "timezone" in message and ("symbols" in message or "optionSymbols" in message):
        return (Ignored("exchange_info"),)
    error = inside(message["error"]) if "error" in message else message
    code, reason = bytes(error.get("code", ABSENT)), text_of(error.get("msg", ABSENT))
    if _INTEGER.fullmatch(code) and reason:
        return told("error_reply", 0, _fault(int(code), reason, receive_time_ns))
    return (Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(message)!r:.120}"),)


def _fault(code: int, reason: str, receive_time_ns: int) -> Fault:
    """https://developers.binance.com/docs/binance-spot-api-docs/errors; a ban names its end in ms."""
    banned_until = re.search(r"banned until (\d{13})\b", reason)
    if banned_until:
        wait_s = max(0.0, (int(banned_until[1]) * NS_PER_MS - receive_time_ns) / 1e9)
        return Fault(FaultKind.BANNED, str(code), reason, wait_s)
    return Fault(_FAULTS.get(code, FaultKind.ENTITLEMENT), str(code), reason)


def place_of(name: str, event: Mapping[str, Raw]) -> tuple[str, str]:
    """``btcusdt@depth@100ms`` → ``BTCUSDT``, ``depth@100ms``; from the event itself where there is no name."""
    symbol, _, channel = name.partition("@")
    if not channel or symbol.startswith("!"):
        bar, order = (inside(event.get(part, ABSENT)) for part in ("k", "o"))
        symbol = next((text for it in (event, bar, order) if (text := text_of(it.get("s", ABSENT)))), "")
        tag, interval = text_of(event.get("e", ABSENT)) or "bookTicker", text_of(bar.get("i", ABSENT))
        unnamed = f"kline_{interval}" if interval else _CHANNEL_BY_TAG.get(tag, tag)
        return symbol, name.removeprefix("!") or unnamed
    return symbol.upper(), channel if _CHANNEL.fullmatch(channel) else ""


def _family(channel: str) -> str:
    """``depth@100ms`` → ``depth``, ``kline_1m`` → ``kline``; a partial book (``depth5``) is ``depthN``."""
    return "depthN" if _depth_of(channel) else channel.partition("@")[0].partition("_")[0]


def _depth_of(channel: str) -> int:
    """Levels of a partial book stream (``depth5@100ms`` → 5), 0 of any other."""
    digits = channel.partition("@")[0].removeprefix("depth")
    return int(digits) if digits in ("5", "10", "20") else 0


def _stream_of(address: str) -> str:
    """The stream named by an address ``…/ws/btcusdt@trade``, else ""."""
    name = address.rpartition("/ws/")[2] if "/ws/" in address else ""
    return "" if "/" in name else name


def _last_part(address: str) -> str:
    return address.partition("?")[0].rpartition("/")[2]


_CHANNEL = re.compile(r"[A-Za-z0-9_]{1,24}(?:@[A-Za-z0-9]{1,12}){0,2}")
"""``trade``, ``depth20@100ms``, ``markPrice@arr@1s``"""
_INTEGER = re.compile(rb"-?[0-9]{1,18}")
_BY_ID = {Kind.TRADE: "historicalTrades", Kind.AGG_TRADE: "aggTrades"}
_CHANNEL_BY_TAG = {"depthUpdate": "depth", "markPriceUpdate": "markPrice"}
_SHAPES = {b"[": "klines", b"{": "trades"}
"""What rows look like → whose they are, where no address says so."""
_ARCHIVE_COLUMNS: dict[str, tuple[str, ...]] = {
    "trades": ("id", "price", "qty", "quoteQty", "time", "isBuyerMaker"),
    "aggTrades": ("a", "p", "q", "f", "l", "T", "m"),
}
_CSV_HEADERS = (b"id,", b"agg_trade_id,", b"open_time,")
_FAULT_EVENTS = {
    "serverShutdown": Fault(FaultKind.SHUTDOWN, "serverShutdown", "the venue closes this connection")
}
_FAULTS = {
    **dict.fromkeys((-1000, -1001, -1006, -1007, -1008), FaultKind.TRANSIENT),
    **dict.fromkeys((-1003, -1015), FaultKind.RATE_LIMIT),
    **dict.fromkeys((-1002, -1022, -2014, -2015), FaultKind.AUTHENTICATION),
}
