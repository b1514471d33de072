"""OKX: spot, perpetuals, dated futures and options, one feed each of one protocol.

https://www.okx.com/docs-v5/en/#public-data-websocket
https://www.okx.com/docs-v5/en/#order-book-trading-market-data

Single trades and candles come over the socket ``business``, all else over ``public``. ``trades`` tells the fills of one
order as one; what it lacks the history has as single trades only, so that ``trades-all`` is the one to be repaired.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from etl.adapter.build import Stream, StreamCache, stream_of
from etl.adapter.channels import variant
from etl.adapter.contract import (
    Budget,
    Channel,
    Credentials,
    Exchange,
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
from etl.adapter.dispatch import by_shape, elements, read_lines, read_one, read_rows
from etl.adapter.fields import ABSENT, inside, is_name, members, text_of
from etl.adapter.handshake import Answers, told
from etl.adapter.paging import query_of
from etl.adapter.pushes import Pushes, Route, as_rows, read_each
from etl.exchanges import _okx_history as history
from etl.exchanges import _okx_wire as wire
from etl.exchanges._okx_books import BOOK_LEVELS, CHECKSUM_UNTIL_NS, Books
from etl.model.codes import REPLAYED, Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Frame, Kind, Liquidation, SizeUnit
from etl.model.times import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_MS

ARGS_MAX = 500
"""Streams of one subscription: it may have 64 KB."""


class Okx(Exchange):
    name: ClassVar[str] = "okx"
    instrument_type: ClassVar[str] = "SPOT"
    websocket_url = "wss://ws.okx.com:8443"
    rest_url = "https://www.okx.com"
    channels: ClassVar[tuple[Channel, ...]] = (
        Channel("trades-all", Kind.TRADE, SequenceRule.CONTIGUOUS, Kind.TRADE, 60.0, socket="business"),
        Channel("candle1m", Kind.BAR, SequenceRule.INTERVAL, Kind.BAR, 180.0, "candle", NS_PER_MINUTE,
                socket="business"),
        Channel("trades", Kind.AGG_TRADE, SequenceRule.RANGE, None, 60.0, socket="public"),
        Channel("bbo-tbt", Kind.QUOTE, SequenceRule.RISING, None, 70.0, socket="public"),
        Channel("books", Kind.BOOK, SequenceRule.BACK_POINTER, None, 70.0, depth=BOOK_LEVELS, socket="public",
                checksum_until_ns=CHECKSUM_UNTIL_NS, symbols_max=29),
    )  # fmt: skip
    """A quiet book is repeated, or says that it is, once a minute."""
    default_channels: ClassVar[tuple[str, ...]] = ("trades-all", "candle1m", "bbo-tbt", "books")
    default_symbols: ClassVar[tuple[str, ...]] = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
    changes: ClassVar[Mapping[str, str]] = {
        "2023-10": "`trades-all` tells each trade; `trades` those of one order as one, with their `count`",
        "2025-09": "`source` 1 marks prints against retail price improvement orders (condition `rpi`)",
        "2026-06-11": "the business socket announces its end too (notice 64008)",
        "2026-06-23": "the checksum of books is 0; it is held against ours before",
    }
    ignored_names: ClassVar[Mapping[str, str]] = {
        "csv_header": "the first line of a daily file",
        "empty": "an answer or a frame without rows",
        "pong": "the answer to our keep-alive",
        "subscription": "a stream is granted, or let go",
        "error": "the venue refuses something; told as a Fault",
        "notice": "what the venue announces; its own end is told as a Fault",
        "keep_alive": "a quiet book says once a minute that nothing has changed",
        "24h_statistics": "last price and 24 h statistics",
        "instrument_state": "listings, maintenance and price limits",
        "greeks": "summaries of options",
        "index": "prices and candles of an index or a mark, not of an instrument",
        "rpi_book": "the book with retail price improvement orders, which is no part of `books`",
        "other_market": "block trades, spreads and event contracts",
    }
    event_time_min_ns = 1_230_768_000_000_000_000  # 2009, bitcoin's first block
    budgets = (Budget(20, 2.0),)
    connect_budgets = (Budget(3, 1.0),)
    fault_codes = wire.FAULT_CODES
    keepalive = KeepAlive("ping", 25.0, "pong")
    history: ClassVar[Mapping[Kind, History]] = {
        Kind.TRADE: History("both"),
        Kind.BAR: History("time"),
        Kind.BOOK: History("time"),
    }
    """Of trades three months; of a book its snapshot now."""
    instruments_path = "/api/v5/public/instruments?instType=SPOT"
    archive_url = "https://static.okx.com"
    archive_kinds: ClassVar[frozenset[Kind]] = frozenset({Kind.TRADE})
    archive_checksum = ""
    archive_day_ns = -8 * NS_PER_HOUR

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._known = StreamCache(self._stream)
        self._pushes = Pushes()
        self._answers = Answers()
        self._replayed_until_ns = 0
        """The next liquidations repeat those before: the first message of a subscription does."""
        self._books = Books()

    def _stream(self, place: tuple[str, str]) -> Stream:
        symbol, channel = place
        known = self.channel(channel)
        size_unit = SizeUnit.BASE if symbol.count("-") < 2 else SizeUnit.CONTRACT
        return stream_of(
            self, symbol, channel, size_unit, interval=wire.interval_of(channel), depth=known.depth if known else 0,
            key_unit_ns=NS_PER_MS,
        )  # fmt: skip

    @classmethod
    def match(cls, name: str) -> Channel | None:
        """``candle5m``, ``candle1Dutc``, ``books5``."""
        if name == "books5":
            return Channel(name, Kind.BOOK, SequenceRule.RISING, None, 70.0, depth=5, socket="public")
        interval = wire.interval_of(name)
        return variant(cls.channels, "candle", name, interval) if interval else None

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        return wire.read_instruments(payload)

    # what to send

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return f"{base_url}/ws/v5/{subscription.socket or 'public'}"

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        streams = _args(subscription, self.instrument_type)
        self._answers.ask(map(_name_of, streams))
        return [_request("subscribe", streams[at : at + ARGS_MAX]) for at in range(0, len(streams), ARGS_MAX)]

    def resubscribe(self, subscription: Subscription) -> Sequence[str | bytes]:
        """None for books that the venue begins without a snapshot: theirs is asked for by request."""
        if self._without_snapshot(subscription):
            return ()
        return [
            _request(action, _args(subscription, self.instrument_type))
            for action in ("unsubscribe", "subscribe")
        ]

    def unanswered(self) -> Sequence[str]:
        return self._answers.unanswered()

    def snapshot_requests(self, subscription: Subscription) -> Sequence[Request]:
        return [history.book_request(symbol) for symbol in self._without_snapshot(subscription)]

    def _without_snapshot(self, subscription: Subscription) -> list[str]:
        has_book = wire.BOOK in subscription.channels
        return [one for one in subscription.symbols if has_book and self._books.began_with_a_change(one)]

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        return history.requests(kind, venue_symbol, start_ns, end_ns, first_id, channel)

    def id_requests(self, kind: Kind, venue_symbol: str, first_id: int, last_id: int) -> Iterator[Request]:
        return history.id_requests(kind, venue_symbol, first_id, last_id)

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        return history.next_request(request, frame)

    def archive_path(self, kind: Kind, venue_symbol: str, day: str) -> str:
        return history.archive_path(venue_symbol, day) if kind in self.archive_kinds else ""

    # parse

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        """By what stands before the rows: stream and action."""
        found = self._pushes.rows(frame)
        if found is not None:
            return self._read(frame, *found) or (Ignored("empty"),)
        return by_shape(frame, self._object, _no_array, self._lines)

    def _object(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        message = members(payload)
        msgspec.json.decode(payload)  # a garbled word deep within costs the message
        if "arg" in message and "data" in message:
            return self._push(frame, message)
        if "event" in message:
            return self._control(frame, message)
        if "code" in message and "data" in message:
            return self._answer(frame, message)
        return (Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(message)!r:.120}"),)

    def _push(self, frame: Frame, message: Mapping[str, Raw]) -> Sequence[Outcome]:
        arg = inside(message["arg"])
        channel, symbol = (text_of(arg.get(name, ABSENT)) for name in ("channel", "instId"))
        action = text_of(message.get("action", ABSENT))
        if name := wire.ignored_as(channel):
            return (Ignored(name),)
        if channel == wire.LIQUIDATIONS:
            return self._liquidations(frame, message["data"])
        reader = wire.reader_of(channel, action)
        if reader is None:
            return (Rejected(Code.UNKNOWN_MESSAGE, f"{action!r:.20} of channel {channel!r:.40}", 0, symbol),)
        if not symbol or not is_name(symbol):
            code = Code.SYMBOL_MALFORMED if symbol else Code.SYMBOL_MISSING
            return (Rejected(code, f"{symbol!r:.80} of channel {channel}"),)
        route = Route(self._known[symbol, channel], reader)
        rows = as_rows(message["data"], route)
        if rows is None:
            self._books.lose(symbol)
            return read_each(frame, message["data"], route)
        said = f'"action":"{action}",' if action else ""
        self._pushes.learn(f'{{"arg":{{"channel":"{channel}","instId":"{symbol}"}},{said}', route)
        return self._read(frame, route, rows) or (Ignored("empty"),)

    def _read(self, frame: Frame, route: Route, rows: Sequence[Any]) -> list[Outcome]:
        outcomes = route.read(frame, rows)
        if route.stream.channel == wire.BOOK:
            for row, record in zip(rows, outcomes.copy(), strict=True):
                outcomes += self._books.doubts(frame, record, row.checksum, route.stream.venue_symbol)
        return outcomes

    def _liquidations(self, frame: Frame, array: Raw) -> Sequence[Outcome]:
        """``[{"instId":"IOST-USDT-SWAP","details":[{…},{…}],…}]``: of whichever instrument."""
        until_ns, self._replayed_until_ns = self._replayed_until_ns, 0
        outcomes: list[Outcome] = []
        for raw in elements(array):
            row = inside(raw)
            symbol = text_of(row.get("instId", ABSENT))
            for detail in elements(row["details"]) if "details" in row else (raw,):
                reader, index = wire.READERS[wire.LIQUIDATIONS], len(outcomes)
                if not symbol or not is_name(symbol):
                    outcomes.append(Rejected(Code.SYMBOL_MISSING, f"{symbol!r:.80}", index))
                    continue
                one = read_one(frame, index, detail, reader, self._known[symbol, wire.LIQUIDATIONS], symbol)
                if isinstance(one, Liquidation) and one.event_time_ns < until_ns:
                    one = replace(one, flags=(*one.flags, REPLAYED))
                outcomes.append(one)
        return outcomes or (Ignored("empty"),)

    def _lines(self, frame: Frame, file: str) -> Sequence[Outcome]:
        """``BTC-USDT-SWAP-trades-2025-09-01.csv``: ``BTC-USDT-SWAP,1347825391,buy,108212.7,0.5,1756656000123,0``"""
        symbol = file.partition("-trades-")[0]
        stream = self._known[symbol, "trades-all"]
        return read_lines(frame, wire.COLUMNS, wire.TRADES, stream, symbol, wire.HEADERS) or (
            Ignored("empty"),
        )

    def _control(self, frame: Frame, message: Mapping[str, Raw]) -> Sequence[Outcome]:
        event, code, reason = (text_of(message.get(name, ABSENT)) for name in ("event", "code", "msg"))
        if event == "subscribe":
            arg = {name: text_of(value) for name, value in inside(message.get("arg", ABSENT)).items()}
            if arg.get("channel") == wire.LIQUIDATIONS:
                self._replayed_until_ns = frame.receive_time_ns
            return told("subscription", 0, self._answers.grant(*_name_of(arg)))
        if event in ("error", "channel-conn-count-error"):
            fault, named = wire.fault(code or event, reason), _REFUSED.search(reason)
            refused = (fault,) if named is None else self._answers.refuse(named[1], named[2], fault)
            return told("error", 0, *refused)
        if event == "notice":
            return told("notice", 0, Fault(FaultKind.SHUTDOWN, code, reason) if code == "64008" else None)
        if event in ("unsubscribe", "login", "channel-conn-count"):
            return told("subscription", 0)
        return (Rejected(Code.UNKNOWN_MESSAGE, f"event {event!r:.40}"),)

    def _answer(self, frame: Frame, message: Mapping[str, Raw]) -> Sequence[Outcome]:
        """``{"code":"0","msg":"","data":[…]}``; a refusal comes with status 200 too."""
        code, reason = (text_of(message.get(name, ABSENT)) for name in ("code", "msg"))
        if code != "0":
            return told("error", 0, wire.fault(code, reason))
        path, query = query_of(frame.endpoint)
        channel, reader = wire.ANSWERS.get(path.rpartition("/")[2], ("", None))
        symbol = query.get("instId", "")
        if reader is None or not symbol:
            code = Code.SYMBOL_MISSING if reader else Code.UNKNOWN_MESSAGE
            return (Rejected(code, f"an answer of {frame.endpoint!r:.80}"),)
        stream = self._known[symbol, channel + query.get("bar", "")]
        return read_rows(frame, message["data"], reader, stream, symbol) or (Ignored("empty"),)


class OkxSwap(Okx):
    """Perpetuals. ``BTC-USD_UM-SWAP``, margined in dollars, is another than ``BTC-USD-SWAP``."""

    name = "okx_swap"
    instrument_type = "SWAP"
    instruments_path = "/api/v5/public/instruments?instType=SWAP"
    channels = (
        *Okx.channels,
        Channel("mark-price", Kind.STATS, SequenceRule.NONE, None, 60.0, socket="public"),
        Channel("funding-rate", Kind.STATS, SequenceRule.NONE, None, 300.0, socket="public"),
        Channel("open-interest", Kind.STATS, SequenceRule.NONE, None, 60.0, socket="public"),
        Channel("liquidation-orders", Kind.LIQUIDATION, SequenceRule.NONE, socket="public", market_wide=True),
    )
    default_channels = (
        *Okx.default_channels, "mark-price", "funding-rate", "open-interest", "liquidation-orders",
    )  # fmt: skip
    default_symbols = ("BTC-USDT-SWAP", "ETH-USDT-SWAP", "BTC-USD-SWAP")


class OkxFutures(OkxSwap):
    name = "okx_futures"
    instrument_type = "FUTURES"
    instruments_path = "/api/v5/public/instruments?instType=FUTURES"
    archive_kinds = frozenset()
    """A file has a whole family, and no page says under which name."""
    channels = tuple(channel for channel in OkxSwap.channels if channel.name != "funding-rate")
    default_channels = tuple(name for name in OkxSwap.default_channels if name != "funding-rate")
    default_symbols = ("BTC-USDT-261225", "ETH-USDT-261225", "BTC-USD-261225")


class OkxOption(OkxFutures):
    """Options trade seldom: no silence of theirs means anything but a book's."""

    name = "okx_option"
    instrument_type = "OPTION"
    instruments_path = "/api/v5/public/instruments?instType=OPTION"
    channels = tuple(
        channel if channel.name in ("books", "bbo-tbt", "mark-price") else replace(channel, stale_after_s=0.0)
        for channel in OkxFutures.channels
        if channel.name != "liquidation-orders"
    )
    default_channels = (*Okx.default_channels, "mark-price", "open-interest")
    default_symbols = ("BTC-USD-261225-100000-C", "BTC-USD-261225-100000-P", "ETH-USD-261225-4000-C")

    @classmethod
    def listing_requests(cls) -> Sequence[Request]:
        """Options are listed by their family, of which there are these."""
        paths = [f"{cls.instruments_path}&instFamily={family}" for family in ("BTC-USD", "ETH-USD")]
        return [Request(path, Kind.STATUS, "") for path in paths]


def _args(subscription: Subscription, instrument_type: str) -> list[dict[str, str]]:
    args: list[dict[str, str]] = []
    for channel in subscription.channels:
        if channel == wire.LIQUIDATIONS:
            args.append({"channel": channel, "instType": instrument_type})
        else:
            args += [{"channel": channel, "instId": symbol} for symbol in subscription.symbols]
    return args


def _request(action: str, args: Sequence[Mapping[str, str]]) -> str:
    return msgspec.json.encode({"op": action, "args": args}).decode()


def _name_of(arg: Mapping[str, str]) -> tuple[str, str]:
    return arg.get("channel", ""), arg.get("instId") or arg.get("instType", "")


def _no_array(frame: Frame, payload: bytes) -> Sequence[Outcome]:
    return (Rejected(Code.UNKNOWN_MESSAGE, f"an array: {payload[:40]!r}"),)


_REFUSED = re.compile(r"channel:([\w-]+), ?\w+:([\w-]+) doesn't exist")
"""No member of a refusal names the stream, its words do."""
