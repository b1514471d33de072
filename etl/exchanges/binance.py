"""Binance spot.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
https://github.com/binance/binance-public-data (daily archives)

Identity: trades ``t``, aggregates ``a``, quotes ``u``, books ``channel/d|s/u``, bars ``interval/start in ns``.
Key times are whole ms, the coarsest that any source of this venue sends (archives since 2025 carry µs); quotes
and snapshots carry no time at all and take the UTC day of receipt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, Generic, NoReturn, TypeVar, cast
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import DecodeError, Meta, Struct, ValidationError, field

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
)
from etl.adapter.fields import FieldFault, is_name, readable
from etl.model.codes import Code
from etl.model.decimals import plain
from etl.model.instruments import Instrument, Instruments
from etl.model.records import (
    AggTrade,
    Bar,
    BarState,
    Book,
    BookAction,
    Frame,
    Kind,
    Quote,
    Record,
    Side,
    SizeUnit,
    Trade,
)
from etl.model.times import NS_PER_MINUTE, interval_ns

STREAMS_KNOWN_MAX = 4_096
STREAM_NAME_BYTES_MAX = 96
DEPTH_LIMIT = 1_000
PAGE_ROWS = 1_000
DAY_NS = 86_400_000_000_000
_MS = 1_000_000
_MS_MAX = (2**63 - 1) // 1_000_000
_US_MIN = 10**15
_US_MAX = (2**63 - 1) // 1_000
_STREAM_NAME_START = len(b'{"stream":"')

_NUMBER = r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+"
_ARE_TWO = re.compile(f"{_NUMBER} {_NUMBER}").fullmatch
_ARE_FOUR = re.compile(f"{_NUMBER} {_NUMBER} {_NUMBER} {_NUMBER}").fullmatch
_ARE_ALL = re.compile(f"(?:{_NUMBER} )*+").fullmatch

_BUY, _SELL, _BASE = Side.BUY, Side.SELL, SizeUnit.BASE


class Binance(Exchange):
    name: ClassVar[str] = "binance"
    websocket_url = "wss://stream.binance.com:9443"
    rest_url = "https://api.binance.com"
    channels: ClassVar[tuple[Channel, ...]] = (
        Channel("trade", Kind.TRADE, SequenceRule.CONTIGUOUS, Kind.TRADE, 60.0),
        Channel("bookTicker", Kind.QUOTE, SequenceRule.RISING, None, 60.0),
        Channel("depth@100ms", Kind.BOOK, SequenceRule.RANGE, None, 60.0, family="depth"),
        Channel(
            "kline_1m",
            Kind.BAR,
            SequenceRule.INTERVAL,
            Kind.BAR,
            180.0,
            family="kline",
            interval_ns=NS_PER_MINUTE,
        ),
        Channel("aggTrade", Kind.AGG_TRADE, SequenceRule.CONTIGUOUS, Kind.AGG_TRADE, 60.0),
    )
    default_channels: ClassVar[tuple[str, ...]] = ("trade", "bookTicker", "depth@100ms", "kline_1m")
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
    history: ClassVar[Mapping[Kind, History]] = {
        Kind.TRADE: History("both"),
        Kind.AGG_TRADE: History("both"),
        Kind.BAR: History("time"),
        Kind.BOOK: History("time"),
    }
    """Of a book there is its snapshot now."""
    archive_kinds = frozenset({Kind.TRADE, Kind.AGG_TRADE, Kind.BAR})
    ready_on_open = True
    instruments_path = "/api/v3/exchangeInfo"

    archive_url: ClassVar[str] = "https://data.binance.vision"
    archive_folder: ClassVar[str] = "/data/spot/daily"
    history_path: ClassVar[str] = "/api/v3"
    weights: ClassVar[Mapping[str, int]] = {"depth": 50, "historicalTrades": 25, "aggTrades": 4, "klines": 2}
    """Request weights by the last part of the path."""
    page_rows: ClassVar[Mapping[str, int]] = {}
    """Rows of a page where it is not ``PAGE_ROWS``."""
    ignored_events: ClassVar[Mapping[str, str]] = {
        "serverShutdown": "server_shutdown",
        "24hrTicker": "24h_statistics",
        "24hrMiniTicker": "24h_statistics",
        "1hTicker": "24h_statistics",
        "4hTicker": "24h_statistics",
        "1dTicker": "24h_statistics",
        "avgPrice": "average_price",
    }
    """Event type → the name under which it is left aside."""

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._events = self.event_readers()
        self._answers = self.answer_readers()
        self._streams: dict[bytes, Stream] = {}

    @classmethod
    def match(cls, name: str) -> Channel | None:
        """``depth@1000ms``, ``kline_5m``, ``depth20@100ms``, ``markPrice@arr@1s``."""
        base, _, interval = name.partition("@")[0].partition("_")
        depth = _depth_of(name)
        if depth:
            return Channel(name, Kind.BOOK, SequenceRule.RISING, None, 60.0, family=base, depth=depth)
        declared = next((channel for channel in cls.channels if channel.family == base), None)
        if declared is None or bool(interval) != (base == "kline"):
            return None
        length_ns = interval_ns(interval)
        rule = declared.rule if length_ns or not interval else SequenceRule.NONE  # ``1M`` has no fixed length
        return msgspec.structs.replace(declared, name=name, rule=rule, interval_ns=length_ns)

    # what to send

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return f"{base_url}/stream?streams={'/'.join(self.stream_names(subscription))}"

    def stream_names(self, subscription: Subscription) -> list[str]:
        """``btcusdt@trade`` for every symbol and channel."""
        return [
            f"{symbol.lower()}@{channel}"
            for symbol in subscription.symbols
            for channel in subscription.channels
        ]

    def snapshot_requests(self, subscription: Subscription) -> Sequence[Request]:
        if not any(channel.startswith("depth") for channel in subscription.channels):
            return ()
        return [
            self._request("depth", Kind.BOOK, symbol, limit=DEPTH_LIMIT) for symbol in subscription.symbols
        ]

    def history_requests(
        self,
        kind: Kind,
        venue_symbol: str,
        start_ns: int,
        end_ns: int,
        first_id: int | None = None,
        channel: str = "",
    ) -> Iterator[Request]:
        """Trades are asked for by id; without one, the aggregate at ``start_ns`` tells the first id."""
        start_ms, end_ms = start_ns // _MS, -(-end_ns // _MS)
        if kind is Kind.TRADE and first_id is not None:
            yield self._request("historicalTrades", kind, venue_symbol, end_ns, fromId=first_id)
        elif kind is Kind.TRADE:
            yield self._request("aggTrades", kind, venue_symbol, end_ns, startTime=start_ms, limit=1)
        elif kind is Kind.AGG_TRADE and first_id is not None:
            yield self._request("aggTrades", kind, venue_symbol, end_ns, fromId=first_id)
        elif kind is Kind.AGG_TRADE:
            yield self._request("aggTrades", kind, venue_symbol, end_ns, startTime=start_ms)
        elif kind is Kind.BAR:
            yield self._request(
                "klines",
                kind,
                venue_symbol,
                end_ns,
                interval=_interval_of(channel) or "1m",
                startTime=start_ms,
                endTime=end_ms - 1,
            )
        elif kind is Kind.BOOK:
            yield self._request("depth", kind, venue_symbol, limit=DEPTH_LIMIT)

    def id_requests(self, kind: Kind, venue_symbol: str, first_id: int, last_id: int) -> Iterator[Request]:
        endpoint = {Kind.TRADE: "historicalTrades", Kind.AGG_TRADE: "aggTrades"}.get(kind)
        if endpoint is None:
            return
        rows_max = self.page_rows.get(endpoint, PAGE_ROWS)
        for start in range(first_id, last_id + 1, rows_max):
            rows = min(rows_max, last_id + 1 - start)
            yield self._request(endpoint, kind, venue_symbol, fromId=start, limit=rows)

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        """Pages go on by id (bars by start time) until one is short, or reaches ``request.end_ns``."""
        path, query = _split(request.path)
        endpoint = path.rpartition("/")[2]
        rows = _rows(frame.payload)
        limit = int(query.get("limit", PAGE_ROWS))
        if not rows or endpoint == "depth":
            return None
        last = rows[-1]
        try:
            if endpoint == "aggTrades" and request.kind is Kind.TRADE:
                if request.end_ns and nanoseconds(rows[0]["T"]) >= request.end_ns:
                    return None
                first_id = int(rows[0]["f"])
                return self._request(
                    "historicalTrades", request.kind, request.symbol, request.end_ns, fromId=first_id
                )
            if endpoint == "klines":
                time_ns, following = nanoseconds(last[0]), {"startTime": int(last[6]) + 1}
            elif endpoint == "aggTrades":
                time_ns, following = nanoseconds(last["T"]), {"fromId": int(last["a"]) + 1}
            else:
                time_ns, following = nanoseconds(last["time"]), {"fromId": int(last["id"]) + 1}
        except (KeyError, IndexError, TypeError, ValueError, FieldFault):
            return None
        if len(rows) < limit or (request.end_ns and time_ns >= request.end_ns):
            return None
        if endpoint != "klines":
            query.pop("startTime", None)
        return msgspec.structs.replace(request, path=f"{path}?{urlencode(query | following)}")

    def archive_path(self, kind: Kind, venue_symbol: str, day: str) -> str:
        name = {Kind.TRADE: "trades", Kind.AGG_TRADE: "aggTrades", Kind.BAR: "klines"}.get(kind)
        if name is None:
            return ""
        folder, file = (
            (f"klines/{venue_symbol}/1m", "1m") if kind is Kind.BAR else (f"{name}/{venue_symbol}", name)
        )
        return f"{self.archive_folder}/{folder}/{venue_symbol}-{file}-{day}.zip"

    def headers(self, request: Request, now_ns: int) -> Mapping[str, str]:
        return {"X-MBX-APIKEY": self.credentials.key} if self.credentials.key else {}

    def _request(self, endpoint: str, kind: Kind, symbol: str, end_ns: int = 0, **query: Any) -> Request:
        query.setdefault("limit", self.page_rows.get(endpoint, PAGE_ROWS))
        path = f"{self.history_path}/{endpoint}?{urlencode({'symbol': symbol} | query)}"
        return Request(path, kind, symbol, self.weights.get(endpoint, 1), end_ns)

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        return [
            Instrument(item.symbol, cls.unified_symbol(item), item.step("tickSize"), item.step("stepSize"))
            for item in _instrument_list(payload)
        ]

    @staticmethod
    def unified_symbol(item: InstrumentItem) -> str:
        return f"{item.baseAsset}-{item.quoteAsset}"

    # parse

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        """About 2 µs for a trade or a quote of a stream seen before; everything else goes by its shape."""
        payload = frame.payload
        name_end = payload.find(b'"', _STREAM_NAME_START, STREAM_NAME_BYTES_MAX)
        stream = self._streams.get(payload[_STREAM_NAME_START:name_end])
        if stream is not None:
            try:
                return (stream.build(frame, stream, stream.decode(payload).data, 0),)
            except (DecodeError, UnicodeDecodeError, FieldFault):
                pass  # read again below, where it gets its code
        if frame.endpoint.startswith(_ARCHIVE):
            return self._archive_lines(frame) or _EMPTY
        try:
            message = msgspec.json.decode(readable(frame).payload)
        except _UNDECODABLE as error:
            rows = _salvaged(payload)
            return self._array(frame, rows) if rows else (Rejected(Code.UNDECODABLE, str(error)),)
        if isinstance(message, list):
            return self._array(frame, message) or _EMPTY
        if isinstance(message, dict):
            return self._object(frame, message)
        return (Rejected(Code.UNKNOWN_MESSAGE, f"a bare {type(message).__name__}"),)

    def _object(self, frame: Frame, message: dict[str, Any]) -> Sequence[Outcome]:
        name = message.get("stream")
        if isinstance(name, str) and "data" in message:
            data = message["data"]
            if isinstance(data, list):
                return [self._event(frame, name, item, index) for index, item in enumerate(data)] or _EMPTY
            return _with_fault(self._event(frame, name, data, 0))
        if "e" in message or _is_quote(message):
            return _with_fault(self._event(frame, _stream_of(frame.endpoint), message, 0))
        if "lastUpdateId" in message:
            return self._answer(frame, "depth", [message])
        return _control(message, frame.receive_time_ns)

    def _array(self, frame: Frame, rows: list[Any]) -> Sequence[Outcome]:
        """Rows of an answer, or the events of an ``!…@arr`` stream without its envelope."""
        if any(isinstance(row, dict) and "e" in row for row in rows):
            name = _stream_of(frame.endpoint)
            return [self._event(frame, name, item, index) for index, item in enumerate(rows)]
        return self._answer(frame, _endpoint_of(frame.endpoint, rows), rows)

    def _event(self, frame: Frame, name: str, data: object, index: int) -> Outcome:
        """One event of the stream called ``name``, "" where neither the frame nor its address says."""
        if isinstance(data, _Garbled):
            return Rejected(Code.UNDECODABLE, data.reason, index)
        if not isinstance(data, dict):
            return Rejected(Code.FIELD_MALFORMED, f"an event is a {type(data).__name__}", index)
        tag = data.get("e", "")
        if isinstance(tag, str) and tag in self.ignored_events:
            return Ignored(self.ignored_events[tag], index)
        symbol, channel = _symbol_and_channel(name, data)
        reader = self._events.get(_family(channel))
        if reader is None or tag != reader.tag:
            return Rejected(Code.UNKNOWN_MESSAGE, f"event {tag!r:.40} of stream {name!r:.80}", index)
        if not symbol:
            return Rejected(Code.SYMBOL_MISSING, f"stream {name!r:.80}", index)
        key = f"{symbol.lower()}@{channel}".encode()
        stream = self._streams.get(key)
        if stream is None or stream.venue_symbol != symbol:
            if not _CHANNEL.fullmatch(channel):
                return Rejected(Code.UNKNOWN_MESSAGE, f"stream {name!r:.80}", index)
            if not is_name(symbol):
                return Rejected(Code.SYMBOL_MALFORMED, f"{symbol!r:.80}", index)
            stream = self._stream(symbol, channel, reader)
            if len(self._streams) < STREAMS_KNOWN_MAX:
                self._streams[key] = stream
        return _read(frame, stream, reader, data, index)

    def _answer(self, frame: Frame, endpoint: str, rows: Sequence[object]) -> Sequence[Outcome]:
        """The rows of a history answer; a depth snapshot is one row."""
        reader = self._answers.get(endpoint)
        query = _split(frame.endpoint)[1]
        symbol, channel = query.get("symbol", ""), _CHANNELS.get(endpoint, "")
        if not rows:
            return ()
        if reader is None:
            return (Rejected(Code.UNKNOWN_MESSAGE, f"an answer of {frame.endpoint!r:.80}"),)
        if not symbol:
            return (Rejected(Code.SYMBOL_MISSING, f"{endpoint} of {frame.endpoint!r:.80}"),)
        stream = self._stream(symbol, channel + query.get("interval", ""), reader)
        return [_read(frame, stream, reader, row, index) for index, row in enumerate(rows)]

    def _archive_lines(self, frame: Frame) -> Sequence[Outcome]:
        """Lines of a CSV file ``archive:…/BTCUSDT-trades-2024-08-08.csv#lines=1-5000;sha256=…``."""
        symbol, kind = _archive_parts(frame.endpoint)
        endpoint = kind if kind in _ARCHIVE_COLUMNS else "klines"
        columns, reader = _ARCHIVE_COLUMNS.get(endpoint), self._answers[endpoint]
        stream = self._stream(symbol, _CHANNELS[endpoint] + (kind if columns is None else ""), reader)
        outcomes: list[Outcome] = []
        for index, line in enumerate(frame.payload.splitlines()):
            if line.startswith(_CSV_HEADERS):
                outcomes.append(Ignored("csv_header", index))
                continue
            cells = line.decode("ascii", "replace").split(",")
            row = cells if columns is None else dict(zip(columns, cells, strict=False))
            outcomes.append(_read(frame, stream, reader, row, index, strict=False))
        return outcomes

    def _stream(self, venue_symbol: str, channel: str, reader: Reader) -> Stream:
        symbol, flags = self.instruments.names[venue_symbol]
        return Stream(venue_symbol, symbol, channel, flags, _decoder(reader.event), reader.build)

    # one method a channel

    def event_readers(self) -> dict[str, Reader]:
        """Family of a stream (``depth@100ms`` → ``depth``) → how its events are read."""
        return {
            "trade": Reader(WireTrade, self._trade, "trade"),
            "aggTrade": Reader(_AggTrade, self._agg_trade, "aggTrade"),
            "bookTicker": Reader(WireQuote, self._quote),
            "depth": Reader(_Depth, self._depth, "depthUpdate"),
            "depthN": Reader(_Snapshot, self._snapshot),
            "kline": Reader(_Kline, self._kline, "kline"),
        }

    def answer_readers(self) -> dict[str, Reader]:
        """Last part of a history path → how its rows are read."""
        return {
            "depth": Reader(_Snapshot, self._snapshot),
            "trades": Reader(_TradeRow, self._trade),
            "historicalTrades": Reader(_TradeRow, self._trade),
            "aggTrades": Reader(_AggTradeRow, self._agg_trade),
            "klines": Reader(_KlineRow, self._kline_row),
        }

    def _trade(self, frame: Frame, stream: Stream, event: WireTrade, index: int) -> Record:
        """``{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000",
        "q":"0.02000000","T":1723161255342,"m":true,"M":true}``; ``m``: the buyer is the maker, so the taker
        sold. Futures add ``X``: MARKET, NA, INSURANCE_FUND, ADL. ``historicalTrades``:
        ``{"id":…,"price":…,"qty":…,"quoteQty":…,"time":…,"isBuyerMaker":…}``."""
        if event.s != stream.venue_symbol and event.s:
            mismatch(stream, event.s)
        price, size = event.p, event.q
        if not _ARE_TWO(f"{price} {size}"):
            price, size = decimals(price, size)
        time = event.T
        time_ns = time * _MS if 0 < time <= _MS_MAX else nanoseconds(time)
        trade_id = str(event.t)
        return Trade(
            self.name, stream.symbol, stream.venue_symbol, stream.channel, time_ns, frame.receive_time_ns,
            frame.source, frame.connection_id, frame.frame_sequence, index, trade_id, time_ns - time_ns % _MS,
            self.parser_version, event.t, None, None, nanoseconds(event.E) if event.E else 0, 0, stream.flags,
            price, size, _SELL if event.m else _BUY, trade_id, _BASE, "", "", (event.X,) if event.X else (),
        )  # fmt: skip

    def _agg_trade(self, frame: Frame, stream: Stream, event: _AggTrade, index: int) -> Record:
        """``{"e":"aggTrade","E":…,"s":"BNBBTC","a":12345,"p":"0.001","q":"100","f":100,"l":105,"T":…,
        "m":true,"M":true}``; in ``aggTrades`` the same letters without ``e``, ``E`` and ``s``."""
        if event.s != stream.venue_symbol and event.s:
            mismatch(stream, event.s)
        if event.f > event.l:
            raise FieldFault(Code.RANGE_REVERSED, f"f {event.f} > l {event.l}")
        price, size = event.p, event.q
        if not _ARE_TWO(f"{price} {size}"):
            price, size = decimals(price, size)
        time_ns = nanoseconds(event.T)
        aggregate_id, first_id = str(event.a), str(event.f)
        return AggTrade(
            self.name, stream.symbol, stream.venue_symbol, stream.channel, time_ns, frame.receive_time_ns,
            frame.source, frame.connection_id, frame.frame_sequence, index, aggregate_id, time_ns - time_ns % _MS,
            self.parser_version, event.a, None, None, nanoseconds(event.E) if event.E else 0, 0, stream.flags,
            price, size, _SELL if event.m else _BUY, aggregate_id, _BASE, first_id,
            first_id if event.f == event.l else str(event.l),
        )  # fmt: skip

    def _quote(self, frame: Frame, stream: Stream, event: WireQuote, index: int) -> Record:
        """``{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000",
        "A":"1.54698000"}``: no event type, no time; futures have both."""
        if event.s != stream.venue_symbol:
            mismatch(stream, event.s)
        bid: str | None
        ask: str | None
        bid_size: str | None
        ask_size: str | None
        bid, bid_size, ask, ask_size = event.b, event.B, event.a, event.A
        if not _ARE_FOUR(f"{bid} {bid_size} {ask} {ask_size}"):
            bid, bid_size, ask, ask_size = decimals(bid, bid_size, ask, ask_size)
        if bid[0] == "0" and not bid.strip("0.") and not bid_size.strip("0."):
            bid = bid_size = None  # an empty side comes as price 0 with size 0
        if ask[0] == "0" and not ask.strip("0.") and not ask_size.strip("0."):
            ask = ask_size = None
        time_ns = nanoseconds(event.T) if event.T else 0
        key_time_ns = time_ns - time_ns % _MS if time_ns else utc_day(frame.receive_time_ns)
        return Quote(
            self.name, stream.symbol, stream.venue_symbol, stream.channel, time_ns, frame.receive_time_ns,
            frame.source, frame.connection_id, frame.frame_sequence, index, str(event.u), key_time_ns,
            self.parser_version, event.u, None, None, nanoseconds(event.E) if event.E else 0, 0, stream.flags,
            bid, bid_size, ask, ask_size, _BASE,
        )  # fmt: skip

    def _depth(self, frame: Frame, stream: Stream, event: _Depth, index: int) -> Record:
        """``{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":50093239189,"u":50093239202,
        "b":[["61737.63000000","0.00000000"]],"a":[]}``: new quantities, 0 removes."""
        if event.s != stream.venue_symbol:
            mismatch(stream, event.s)
        time_ns = nanoseconds(event.E)
        levels = (event.b, event.a)
        return self._book(frame, stream, index, BookAction.ABSOLUTE, levels, (time_ns, 0), event.u, event.U)

    def _snapshot(self, frame: Frame, stream: Stream, event: _Snapshot, index: int) -> Record:
        """``/api/v3/depth`` and ``depth5@100ms``: ``{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[]}``."""
        levels = (event.bids, event.asks)
        return self._book(frame, stream, index, BookAction.SNAPSHOT, levels, (0, 0), event.lastUpdateId)

    def _book(
        self,
        frame: Frame,
        stream: Stream,
        index: int,
        action: BookAction,
        levels: tuple[WireLevels, WireLevels],
        times: tuple[int, int],
        sequence: int,
        first: int | None = None,
        previous: int | None = None,
    ) -> Record:
        """``times``: event and publication, ns, 0 = none."""
        time_ns, publish_ns = times
        if first is not None and first > sequence:
            raise FieldFault(Code.RANGE_REVERSED, f"U {first} > u {sequence}")
        bid_prices, bid_sizes = _level_columns(levels[0])
        ask_prices, ask_sizes = _level_columns(levels[1])
        key = f"{stream.channel}/{'s' if action is BookAction.SNAPSHOT else 'd'}/{sequence}"
        key_time_ns = key_time(time_ns) if time_ns else utc_day(frame.receive_time_ns)
        return Book(
            self.name, stream.symbol, stream.venue_symbol, stream.channel, time_ns, frame.receive_time_ns,
            frame.source, frame.connection_id, frame.frame_sequence, index, key, key_time_ns,
            self.parser_version, sequence, first, previous, publish_ns, 0, stream.flags,
            action, bid_prices, bid_sizes, ask_prices, ask_sizes, _BASE, _depth_of(stream.channel),
        )  # fmt: skip

    def _kline(self, frame: Frame, stream: Stream, event: _Kline, index: int) -> Record:
        """``{"e":"kline","E":…,"s":"BNBBTC","k":{"t":…,"T":…,"s":"BNBBTC","i":"1m","f":100,"L":200,"o":"0.0010",
        "c":"0.0020","h":"0.0025","l":"0.0015","v":"1000","n":100,"x":false,"q":"1.0000","V":"500",…}}``."""
        bar = event.k
        if event.s != stream.venue_symbol or bar.s != event.s:
            mismatch(stream, f"{event.s}, {bar.s}")
        if bar.i != _interval_of(stream.channel):
            raise FieldFault(Code.FIELD_MALFORMED, f"interval {bar.i!r:.20} in stream {stream.channel}")
        state = BarState.CLOSED if bar.x else BarState.OPEN
        return self._bar(frame, stream, bar, index, state, nanoseconds(event.E))

    def _kline_row(self, frame: Frame, stream: Stream, row: _KlineRow, index: int) -> Record:
        """``[1499040000000,"0.01","0.80","0.01","0.015","148976.1",1499644799999,"2434.1",308,"1756.8",…]``:
        start, open, high, low, close, volume, end, …; the running bar comes too: its end is still ahead."""
        ended = nanoseconds(row.T) < frame.receive_time_ns
        return self._bar(frame, stream, row, index, BarState.CLOSED if ended else BarState.OPEN, 0)

    def _bar(
        self,
        frame: Frame,
        stream: Stream,
        bar: _KlineBar | _KlineRow,
        index: int,
        state: BarState,
        publish_ns: int,
    ) -> Record:
        prices = decimals(bar.o, bar.h, bar.l, bar.c, bar.v, bar.q, bar.V)
        open_, high, low, close, volume, quote_volume, taker_buy_volume = prices
        start_ns = nanoseconds(bar.t)
        interval = _interval_of(stream.channel)
        return Bar(
            exchange=self.name,
            symbol=stream.symbol,
            venue_symbol=stream.venue_symbol,
            channel=stream.channel,
            event_time_ns=start_ns,
            receive_time_ns=frame.receive_time_ns,
            source=frame.source,
            connection_id=frame.connection_id,
            frame_sequence=frame.frame_sequence,
            frame_index=index,
            record_key=f"{interval}/{start_ns}",
            key_time_ns=start_ns,
            parser_version=self.parser_version,
            publish_time_ns=publish_ns,
            flags=stream.flags,
            interval=interval,
            open=open_,
            high=high,
            low=low,
            close=close,
            volume=volume,
            bar_state=state,
            size_unit=_BASE,
            quote_volume=quote_volume,
            taker_buy_volume=taker_buy_volume,
            trade_count=bar.n,
        )


# shared by the channels


@cache
def _decoder(event: type[Struct]) -> Callable[[bytes], _Envelope[Any]]:
    """Bytes of a combined-stream frame → its envelope with a typed event."""
    return msgspec.json.Decoder(_Envelope[event]).decode  # type: ignore[valid-type]


def nanoseconds(time: int) -> int:
    """A time of 13 digits (ms) or 16 (µs) as ns; between them lies nothing that this venue could mean."""
    if 0 < time <= _MS_MAX:
        return time * 1_000_000
    if _US_MIN <= time <= _US_MAX:
        return time * 1_000
    raise FieldFault(Code.TIME_OUT_OF_RANGE, f"time {time}")


def key_time(time_ns: int) -> int:
    """Whole ms: the coarsest unit in which any source of this venue tells an event's time."""
    return time_ns - time_ns % _MS


def utc_day(time_ns: int) -> int:
    """The key time of a fact without a time: the UTC day on which it was received."""
    return time_ns - time_ns % DAY_NS


def decimals(*texts: str) -> list[str]:
    plains = [plain(text) for text in texts]
    if None in plains:
        raise FieldFault(Code.DECIMAL_MALFORMED, f"{texts[plains.index(None)]!r:.80}")
    return cast("list[str]", plains)


def _level_columns(levels: WireLevels) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Prices and sizes. One match over all of them costs 0.1 µs a level, one by one 0.5."""
    if not levels:
        return (), ()
    prices, sizes = zip(*levels, strict=True)
    joined = " ".join((*prices, *sizes, ""))
    if not _ARE_ALL(joined) or joined.count(" ") != 2 * len(levels):
        return tuple(decimals(*prices)), tuple(decimals(*sizes))
    return prices, sizes


def mismatch(stream: Stream, named: str) -> NoReturn:
    raise FieldFault(Code.SYMBOL_MISMATCH, f"{named!r:.60} in a stream of {stream.venue_symbol!r:.40}")


def _read(
    frame: Frame, stream: Stream, reader: Reader, data: object, index: int, strict: bool = True
) -> Outcome:
    if isinstance(data, _Garbled):
        return Rejected(Code.UNDECODABLE, data.reason, index, stream.venue_symbol)
    try:
        return reader.build(frame, stream, msgspec.convert(data, reader.event, strict=strict), index)
    except ValidationError as error:
        return Rejected(_code(str(error)), str(error), index, stream.venue_symbol)
    except FieldFault as fault:
        return Rejected(fault.code, str(fault), index, stream.venue_symbol)


def _code(error: str) -> Code:
    """The code of what msgspec found; its text ends with the field's path, ``at `$.data.T```."""
    if "missing required field" in error:
        return Code.FIELD_MISSING
    if "of length" in error:
        if error.endswith(".s`"):
            return Code.SYMBOL_MISSING
        return Code.LEVELS_UNEVEN if any(path in error for path in _LEVEL_PATHS) else Code.FIELD_MISSING
    if ">=" in error or "<=" in error or "out of range" in error:
        return Code.TIME_OUT_OF_RANGE if error.endswith(_TIME_PATHS) else Code.INTEGER_OVERFLOW
    return Code.FIELD_MALFORMED


def _with_fault(outcome: Outcome) -> Sequence[Outcome]:
    if isinstance(outcome, Ignored) and outcome.name == "server_shutdown":
        return outcome, Fault(FaultKind.SHUTDOWN, "serverShutdown", "the venue closes this connection")
    return (outcome,)


def _control(message: dict[str, Any], receive_time_ns: int) -> Sequence[Outcome]:
    """Answers to what we sent: acknowledgements, errors, lists."""
    if "result" in message and "id" in message:
        return (Ignored("subscription_reply"),)
    if "symbols" in message and "timezone" in message:
        return (Ignored("exchange_info"),)
    error = message.get("error", message)
    code, reason = (error.get("code"), error.get("msg")) if isinstance(error, dict) else (None, None)
    if isinstance(code, int) and isinstance(reason, str):
        return Ignored("error_reply"), _fault(code, reason, receive_time_ns)
    return (Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(message)!r:.120}"),)


def _fault(code: int, reason: str, receive_time_ns: int) -> Fault:
    """https://developers.binance.com/docs/binance-spot-api-docs/errors; a ban names its end in ms."""
    banned_until = re.search(r"banned until (\d{13})\b", reason)
    if banned_until:
        wait_s = max(0.0, (int(banned_until[1]) * _MS - receive_time_ns) / 1e9)
        return Fault(FaultKind.BANNED, str(code), reason, wait_s)
    return Fault(_FAULTS.get(code, FaultKind.ENTITLEMENT), str(code), reason)


def _is_quote(message: dict[str, Any]) -> bool:
    return "u" in message and "s" in message and "B" in message and "A" in message


def _symbol_and_channel(name: str, data: dict[str, Any]) -> tuple[str, str]:
    """``btcusdt@depth@100ms`` → ``BTCUSDT``, ``depth@100ms``; from the event itself where there is no name."""
    symbol, at, channel = name.partition("@")
    if at and symbol and not symbol.startswith("!"):
        return symbol.upper(), channel
    named = data.get("s")
    for part in ("k", "o"):
        inner = data.get(part)
        if not isinstance(named, str) and isinstance(inner, dict):
            named = inner.get("s")
    if not name:
        tag = data.get("e", "bookTicker")
        bar = data.get("k")
        interval = bar.get("i") if isinstance(bar, dict) else None
        name = (
            f"kline_{interval}" if interval else _CHANNEL_BY_TAG.get(tag, tag) if isinstance(tag, str) else ""
        )
    return named if isinstance(named, str) else "", name.removeprefix("!")


def _family(channel: str) -> str:
    """``depth@100ms`` → ``depth``, ``kline_1m`` → ``kline``; a partial book (``depth5``) is ``depthN``."""
    return "depthN" if _depth_of(channel) else channel.partition("@")[0].partition("_")[0]


def _depth_of(channel: str) -> int:
    """Levels of a partial book stream (``depth5@100ms`` → 5), 0 of any other."""
    if not channel.startswith("depth"):
        return 0
    digits = channel[5:].partition("@")[0]
    return int(digits) if digits in ("5", "10", "20") else 0


def _interval_of(channel: str) -> str:
    return channel.partition("_")[2]


def _stream_of(address: str) -> str:
    """The stream named by an address ``…/ws/btcusdt@trade``, else ""."""
    name = address.rpartition("/ws/")[2] if "/ws/" in address else ""
    return "" if "/" in name else name


def _split(address: str) -> tuple[str, dict[str, str]]:
    path, _, query = address.partition("?")
    return path, dict(parse_qsl(query))


def _endpoint_of(address: str, rows: list[Any]) -> str:
    """The last part of the path; without an address, what the rows look like."""
    endpoint = _split(address)[0].rpartition("/")[2]
    if endpoint in _CHANNELS:
        return endpoint
    for row in rows:
        if isinstance(row, list):
            return "klines"
        if isinstance(row, dict) and ("a" in row or "isBuyerMaker" in row):
            return "aggTrades" if "a" in row else "trades"
    return endpoint


def _archive_parts(address: str) -> tuple[str, str]:
    """Venue symbol and kind (or interval) of ``…/BTCUSDT-trades-2024-08-08.csv#…``."""
    file = address.partition("#")[0].rpartition("/")[2]
    symbol, _, rest = file.partition("-")
    return symbol, rest.partition("-")[0]


def _rows(payload: bytes) -> list[Any]:
    """The rows of an answer, none if it is something else."""
    try:
        message = msgspec.json.decode(payload)
    except _UNDECODABLE:
        return []
    return message if isinstance(message, list) else []


def _salvaged(payload: bytes) -> list[Any]:
    """The elements of an array in which some text is garbled, which costs only these; none if it is no array."""
    try:
        elements = json.loads(payload.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return []
    return [_clean_or_garbled(element) for element in elements] if isinstance(elements, list) else []


def _clean_or_garbled(element: Any) -> Any:
    try:
        is_clean = b"\xef\xbf\xbd" not in msgspec.json.encode(element)
    except (UnicodeEncodeError, OverflowError, RecursionError):
        is_clean = False
    return element if is_clean else _Garbled("its text is not UTF-8")


def _instrument_list(payload: bytes) -> Sequence[InstrumentItem]:
    try:
        return msgspec.json.decode(payload, type=_ExchangeInfo).symbols
    except (DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not an instrument list: {error}") from None


class _Garbled(Struct, frozen=True):
    """Stands for an element that is no JSON."""

    reason: str


_CHANNEL = re.compile(r"[A-Za-z0-9_]{1,24}(?:@[A-Za-z0-9]{1,12}){0,2}")
"""``trade``, ``depth20@100ms``, ``markPrice@arr@1s``"""
_UNDECODABLE = (DecodeError, UnicodeDecodeError, RecursionError)
_ARCHIVE = "archive:"
_EMPTY = (Ignored("empty"),)
_CHANNEL_BY_TAG = {"depthUpdate": "depth", "markPriceUpdate": "markPrice"}
_CHANNELS = {
    "depth": "depth",
    "trades": "trade",
    "historicalTrades": "trade",
    "aggTrades": "aggTrade",
    "klines": "kline_",
}
"""Last part of a history path → the channel whose facts it returns."""
_ARCHIVE_COLUMNS: dict[str, tuple[str, ...]] = {
    "trades": ("id", "price", "qty", "quoteQty", "time", "isBuyerMaker"),
    "aggTrades": ("a", "p", "q", "f", "l", "T", "m"),
}
_CSV_HEADERS = (b"id,", b"agg_trade_id,", b"open_time,")
_TIME_PATHS = (".E`", ".T`", ".time`", ".k.t`", "$[0]`", "$[6]`")
_LEVEL_PATHS = (".b[", ".a[", ".bids[", ".asks[")
_FAULTS = {
    -1000: FaultKind.TRANSIENT,
    -1001: FaultKind.TRANSIENT,
    -1006: FaultKind.TRANSIENT,
    -1007: FaultKind.TRANSIENT,
    -1008: FaultKind.TRANSIENT,
    -1003: FaultKind.RATE_LIMIT,
    -1015: FaultKind.RATE_LIMIT,
    -1002: FaultKind.AUTHENTICATION,
    -1022: FaultKind.AUTHENTICATION,
    -2014: FaultKind.AUTHENTICATION,
    -2015: FaultKind.AUTHENTICATION,
}


# the wire, in the venue's own names

WireId = Annotated[int, Meta(ge=0, le=2**63 - 1)]
WireTime = Annotated[int, Meta(ge=1, le=2**63 - 1)]
WireSymbol = Annotated[str, Meta(min_length=1)]
WireLevels = list[tuple[str, str]]
_Data = TypeVar("_Data")


class _Envelope(Struct, Generic[_Data], gc=False):
    data: _Data


class WireTrade(Struct, gc=False, tag_field="e", tag="trade"):
    E: WireTime
    s: WireSymbol
    t: WireId
    p: str
    q: str
    T: WireTime
    m: bool
    X: ClassVar[str] = ""
    """What kind of print it is; only futures say."""


class _TradeRow(Struct, gc=False):
    t: WireId = field(name="id")
    p: str = field(name="price")
    q: str = field(name="qty")
    T: WireTime = field(name="time")
    m: bool = field(name="isBuyerMaker")
    E: ClassVar[int] = 0
    s: ClassVar[str] = ""
    X: ClassVar[str] = ""


class _AggTrade(Struct, gc=False, tag_field="e", tag="aggTrade"):
    E: WireTime
    s: WireSymbol
    a: WireId
    p: str
    q: str
    f: WireId
    l: WireId  # noqa: E741
    T: WireTime
    m: bool


class _AggTradeRow(Struct, gc=False):
    a: WireId
    p: str
    q: str
    f: WireId
    l: WireId  # noqa: E741
    T: WireTime
    m: bool
    E: ClassVar[int] = 0
    s: ClassVar[str] = ""


class WireQuote(Struct, gc=False):
    u: WireId
    s: str
    b: str
    B: str
    a: str
    A: str
    T: ClassVar[int] = 0
    E: ClassVar[int] = 0
    """Only futures time their quotes."""


class _Depth(Struct, gc=False, tag_field="e", tag="depthUpdate"):
    E: WireTime
    s: str
    U: WireId
    u: WireId
    b: WireLevels
    a: WireLevels


class _Snapshot(Struct, gc=False):
    lastUpdateId: WireId
    bids: WireLevels
    asks: WireLevels


class _KlineBar(Struct, gc=False):
    t: WireTime
    s: str
    i: str
    o: str
    c: str
    h: str
    l: str  # noqa: E741
    v: str
    n: WireId
    x: bool
    q: str
    V: str


class _Kline(Struct, gc=False, tag_field="e", tag="kline"):
    E: WireTime
    s: str
    k: _KlineBar


class _KlineRow(Struct, gc=False, array_like=True):
    t: WireTime
    o: str
    h: str
    l: str  # noqa: E741
    c: str
    v: str
    T: WireTime
    q: str
    n: WireId
    V: str


class _Filter(Struct, gc=False):
    tickSize: str = ""
    stepSize: str = ""


class InstrumentItem(Struct, gc=False):
    """One entry of ``exchangeInfo``."""

    symbol: str
    baseAsset: str
    quoteAsset: str
    contractType: str = ""
    deliveryDate: int = 0
    filters: list[_Filter] = []

    def step(self, name: str) -> str:
        return next((step for item in self.filters if (step := getattr(item, name))), "")


class _ExchangeInfo(Struct, gc=False):
    symbols: list[InstrumentItem]


_Build = Callable[[Frame, "Stream", Any, int], Record]


class Reader(Struct, frozen=True):
    """How an event or a row is read: its wire type, its method, its ``e`` ("" where it has none)."""

    event: type[Struct]
    build: _Build
    tag: str = ""


class Stream(Struct, frozen=True, gc=False):
    """What is the same for all events of a stream, looked up once."""

    venue_symbol: str
    symbol: str
    channel: str
    flags: tuple[str, ...]
    decode: Callable[[bytes], _Envelope[Any]]
    build: _Build
