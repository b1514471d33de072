"""Gate spot, websocket v4.

https://www.gate.com/docs/developers/apiv4/ws/en/
https://www.gate.com/docs/developers/apiv4/en/#spot

Each stream is asked for in a message of its own, whose ``id`` the answer repeats: so a refusal is of that stream alone.
The venue's other books (``spot.order_book``, ``spot.obu``) tell what ``spot.order_book_update`` tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

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
    Outcome,
    Rejected,
    Request,
    SequenceRule,
    Subscription,
)
from etl.adapter.dispatch import Reader, by_shape, elements, read_one, read_rows
from etl.adapter.fields import (
    ABSENT,
    UNDECODABLE,
    FieldFault,
    inside,
    listing,
    members,
    rejected,
    require_name,
    text_of,
)
from etl.adapter.handshake import Answers, told
from etl.adapter.paging import query_of, rows_of
from etl.exchanges import _gate_requests as ask
from etl.exchanges import _gate_wire as wire
from etl.model.codes import Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Frame, Kind, SizeUnit
from etl.model.times import NS_PER_MINUTE, NS_PER_MS, NS_PER_S

TRADES = Channel("spot.trades", Kind.TRADE, SequenceRule.CONTIGUOUS, Kind.TRADE, 60.0)
TOPS = Channel("spot.book_ticker", Kind.QUOTE, SequenceRule.RISING, None, 60.0)
BOOK = Channel(
    "spot.order_book_update@100ms", Kind.BOOK, SequenceRule.RANGE, None, 60.0, "spot.order_book_update", depth=ask.DEPTH
)  # fmt: skip
BARS = Channel(
    "spot.candlesticks@1m", Kind.BAR, SequenceRule.INTERVAL, Kind.BAR, 180.0, "spot.candlesticks", NS_PER_MINUTE
)  # fmt: skip

_READERS = {
    TRADES.family: Reader(wire.StreamTrade, wire.read_trade),
    TOPS.family: Reader(wire.BookTicker, wire.read_book_ticker),
    BOOK.family: Reader(wire.Depth, wire.read_depth),
    BARS.family: Reader(wire.Candle, wire.read_candle),
}
_ROWS = {
    "trades": Reader(wire.TradeRow, wire.read_trade_row),
    "candlesticks": Reader(wire.CandleRow, wire.read_candle_row),
}
_SNAPSHOT = Reader(wire.Snapshot, wire.read_snapshot)
_SOCKET_FAULTS = {3: FaultKind.TRANSIENT, 4: FaultKind.AUTHENTICATION}
"""What else there is calls the request wrong: 1 its form, 2 its argument."""
_REQUEST_FAULTS = {
    "TOO_MANY_REQUESTS": FaultKind.RATE_LIMIT,
    **dict.fromkeys(("INTERNAL", "SERVER_ERROR", "TOO_BUSY"), FaultKind.TRANSIENT),
}
"""By label; what else there is calls the request wrong."""
_read_message = msgspec.json.Decoder(wire.Message).decode


class Gate(Exchange):
    name = "gate"
    websocket_url = "wss://api.gateio.ws/ws/v4"
    rest_url = "https://api.gateio.ws"
    channels = (TRADES, TOPS, BOOK, BARS)
    default_symbols = ("BTC_USDT", "ETH_USDT", "SOL_USDT")
    changes: ClassVar[Mapping[str, str]] = {
        "2022-11-22": "messages tell `time_ms`",
        "2024-01-17": "a candlestick tells with `w` that it is over",
        "2025-01-08": "trades tell `id_market`, which counts those of a market: before, nothing proves them whole",
        "2025-11-30": "a book's change may be the whole of its best 100 levels (`full`)",
        "2026-09-25": "a trade's `id` is that of its market",
    }
    ignored_names: ClassVar[Mapping[str, str]] = {
        "subscription_reply": "the answer to a subscription",
        "error_reply": "the venue refuses a request; told as a Fault",
        "exchange_info": "the instrument list",
        "empty": "a page without rows",
        "pong": "the answer to a keep-alive",
        "24h_statistics": "24 h statistics",
        "other_channel": "what the channels that are read tell in another form",
    }
    ignored_events: ClassVar[Mapping[str, str]] = {
        "spot.pong": "pong",
        "spot.tickers": "24h_statistics",
        **dict.fromkeys(("spot.order_book", "spot.obu", "spot.trades_v2"), "other_channel"),
    }
    event_time_min_ns = 1_356_998_400_000_000_000  # 2013, when the venue opened
    untimed_kinds: ClassVar[frozenset[Kind]] = frozenset({Kind.BOOK})  # snapshots of 2021
    budgets = (Budget(200, 10.0),)
    history: ClassVar[Mapping[Kind, History]] = {
        Kind.TRADE: History("time"),
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
        self._asked: dict[int, tuple[str, str]] = {}

    def _stream(self, place: tuple[str, str]) -> Stream:
        """Raises ``FieldFault`` for what can be none."""
        symbol, name = place
        channel = self.channel(name)
        if channel is None:
            raise FieldFault(Code.UNKNOWN_MESSAGE, f"an event of {name!r:.80}")
        if not symbol:
            raise FieldFault(Code.SYMBOL_MISSING, f"an event of {name}")
        require_name(symbol)
        interval = ask.INTERVALS.get(name.partition("@")[2], "")
        return stream_of(
            self, symbol, name, SizeUnit.BASE, interval=interval, depth=channel.depth, key_unit_ns=NS_PER_MS
        )

    @classmethod
    def match(cls, name: str) -> Channel | None:
        """``spot.candlesticks@5m``, ``spot.order_book_update@20ms``; without its speed it is the snapshot."""
        family, _, parameter = name.partition("@")
        if name == BOOK.family or name == f"{BOOK.family}@20ms":
            return replace(BOOK, name=name, depth=20 if parameter else BOOK.depth)
        return (
            variant(cls.channels, family, name, ask.INTERVALS[parameter])
            if parameter in ask.INTERVALS
            else None
        )

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        return [
            Instrument(
                pair.id, f"{pair.base}-{pair.quote}", _step_of(pair.precision), _step_of(pair.amount_precision),
                expires_ns=pair.delisting_time * NS_PER_S, status=pair.trade_status,
            )
            for pair in listing(payload, list[wire.Pair])
        ]  # fmt: skip

    # what to send

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        """Without the slash behind it, the venue answers 404."""
        return f"{base_url}/"

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        messages: list[str] = []
        for channel in subscription.channels:
            for symbol in subscription.symbols:
                self._answers.ask([(channel, symbol)])
                number = len(messages) + 1
                self._asked[number] = channel, symbol
                messages.append(ask.subscribe(number, channel, symbol, now_ns))
        return messages

    def unanswered(self) -> Sequence[str]:
        return self._answers.unanswered()

    def snapshot_requests(self, subscription: Subscription) -> Sequence[Request]:
        if not any(channel.startswith(BOOK.family) for channel in subscription.channels):
            return ()
        return [ask.snapshot(symbol) for symbol in subscription.symbols]

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        """Whole seconds."""
        if kind is Kind.BOOK:
            yield ask.snapshot(venue_symbol)
        elif kind is Kind.TRADE:
            yield ask.trades(venue_symbol, start_ns, end_ns)
        elif kind is Kind.BAR:
            yield from ask.bars(venue_symbol, start_ns, end_ns, channel.partition("@")[2] or "1m")

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        is_paged = request.kind is Kind.TRADE
        return ask.TRADE_PAGES.following(request, rows_of(frame.payload)) if is_paged else None

    # parse

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        try:
            message = _read_message(frame.payload)
        except UNDECODABLE:
            return by_shape(frame, self._object, self._array)
        return self._message(frame, message)

    def _message(self, frame: Frame, message: wire.Message) -> Sequence[Outcome]:
        channel = message.channel
        if message.error and bytes(message.error) != b"null":
            return self._refused(message)
        if channel in _READERS and message.event == "update":
            return (self._event(frame, message),)
        if message.event in ("subscribe", "unsubscribe"):
            asked = self._asked.pop(message.id, None)
            return told("subscription_reply", 0, self._answers.grant(*asked) if asked else None)
        if channel in self.ignored_events and message.event in ("", "update"):
            return told(self.ignored_events[channel], 0)
        return (Rejected(Code.UNKNOWN_MESSAGE, f"event {message.event!r:.40} of {channel!r:.80}"),)

    def _event(self, frame: Frame, message: wire.Message) -> Outcome:
        sent = wire.Sent(self._known, message.channel, message.time, message.time_ms)
        outcome = read_one(frame, 0, message.result, _READERS[message.channel], sent, "")
        if isinstance(outcome, Rejected):
            return replace(outcome, venue_symbol=_symbol_of(inside(message.result)))
        return outcome

    def _refused(self, message: wire.Message) -> Sequence[Outcome]:
        try:
            error = msgspec.json.decode(message.error, type=wire.Error)
        except UNDECODABLE as undecodable:
            return (rejected(undecodable, 0, ""),)
        kind = _SOCKET_FAULTS.get(error.code, FaultKind.REQUEST)
        fault, asked = Fault(kind, str(error.code), error.message), self._asked.pop(message.id, None)
        if asked is None or kind is not FaultKind.REQUEST:
            return told("error_reply", 0, fault)
        return told("error_reply", 0, *self._answers.refuse(*asked, fault))

    def _object(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        """An answer to a request, or a message with a word that JSON has not."""
        message = members(payload)
        if "channel" in message:
            try:
                return self._message(frame, _read_message(payload))
            except UNDECODABLE as error:
                return (rejected(error, 0, ""),)
        if {"asks", "bids"} <= message.keys():
            return self._rows_of(frame, "order_book", payload)
        label = text_of(message.get("label", ABSENT))
        if label:
            said = text_of(message.get("message", ABSENT))
            return told("error_reply", 0, Fault(_REQUEST_FAULTS.get(label, FaultKind.REQUEST), label, said))
        return (Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(message)!r:.120}"),)

    def _array(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        return self._rows_of(frame, query_of(frame.endpoint)[0].rpartition("/")[2], payload)

    def _rows_of(self, frame: Frame, name: str, payload: bytes) -> Sequence[Outcome]:
        """The rows of a page; a snapshot is one."""
        if name == "currency_pairs":
            return told("exchange_info" if elements(payload) else "empty", 0)
        query = query_of(frame.endpoint)[1]
        symbol = query.get("currency_pair", "")
        channel = {
            "order_book": BOOK.family,
            "trades": TRADES.name,
            "candlesticks": f"{BARS.family}@{query.get('interval', '')}",
        }.get(name, "")
        if not channel:
            return (Rejected(Code.UNKNOWN_MESSAGE, f"an answer of {frame.endpoint!r:.80}"),)
        try:
            stream = self._known[symbol, channel]
        except FieldFault as error:
            return (rejected(error, 0, ""),)
        if name == "order_book":
            return (read_one(frame, 0, payload, _SNAPSHOT, stream, symbol),)
        return read_rows(frame, payload, _ROWS[name], stream, symbol) or told("empty", 0)


def _symbol_of(event: Mapping[str, Raw]) -> str:
    """Of candlesticks ``n`` tells interval and symbol: ``1m_BTC_USDT``."""
    named = text_of(event.get("currency_pair", ABSENT)) or text_of(event.get("s", ABSENT))
    return named or text_of(event.get("n", ABSENT)).partition("_")[2]


def _step_of(digits: int) -> str:
    return "1" if not digits else f"0.{'0' * (digits - 1)}1" if 0 < digits <= 38 else ""
