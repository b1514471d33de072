"""Kraken spot, websocket v1, as old tapes have it. https://docs.kraken.com/api/docs/websocket-v1

A feed of its own: its symbols, its frames and what it knows of a trade are others than those of v2. Prices and sizes
are text, times are seconds; trades have no ids, so that no request finds them again under the same identity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import Raw, Struct, field

from etl.adapter import build, fields
from etl.adapter.build import Stream, StreamCache
from etl.adapter.contract import (
    BookBroken,
    Channel,
    Credentials,
    Exchange,
    Fault,
    FaultKind,
    Ignored,
    KeepAlive,
    Outcome,
    Rejected,
    SequenceRule,
    Subscription,
)
from etl.adapter.dispatch import Reader, by_shape, elements, read_rows
from etl.adapter.fields import ABSENT, INT64_MAX, FieldFault, Id, members, text_of
from etl.adapter.handshake import Answers, told
from etl.exchanges import _kraken_channels as kraken
from etl.exchanges import _kraken_rest as rest
from etl.exchanges._kraken_channels import CheckedBook
from etl.model.codes import Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Bar, BarState, BookAction, Frame, Kind, Quote, Trade
from etl.model.times import NS_PER_MINUTE, interval_ns


class _Level(Struct, gc=False, array_like=True):
    price: str
    size: str
    time: str
    republished: str = ""
    """``r``: the level came back into the window."""


class _Sides(Struct, gc=False):
    all_asks: list[_Level] | None = field(default=None, name="as")
    all_bids: list[_Level] | None = field(default=None, name="bs")
    asks: list[_Level] = field(default_factory=list, name="a")
    bids: list[_Level] = field(default_factory=list, name="b")
    checksum: str = field(default="", name="c")


class _Trade(Struct, gc=False, array_like=True):
    price: str
    size: str
    time: str
    side: str
    order_type: str
    other: str


class _Spread(Struct, gc=False, array_like=True):
    bid: str
    ask: str
    time: str
    bid_size: str
    ask_size: str


class _Bar(Struct, gc=False, array_like=True):
    time: str
    end: str
    open: str
    high: str
    low: str
    close: str
    vwap: str
    volume: str
    count: Id


class _Asked(Struct, gc=False):
    name: str = ""
    depth: int = 0
    interval: int = 0


class _Event(Struct, gc=False):
    event: str
    status: str = ""
    errorMessage: str = ""
    channelName: str = ""
    pair: str = ""
    subscription: _Asked | None = None


class KrakenV1(Exchange):
    name = "kraken_v1"
    websocket_url = "wss://ws.kraken.com"
    rest_url = "https://api.kraken.com"
    channels = (
        Channel("trade", Kind.TRADE, SequenceRule.NONE, None, 120.0),
        Channel(
            "book-1000", Kind.BOOK, SequenceRule.NONE, None, 60.0, family="book", depth=1_000,
            checksum_until_ns=INT64_MAX,
        ),
        Channel("spread", Kind.QUOTE, SequenceRule.NONE, None, 120.0),
        Channel("ohlc-1", Kind.BAR, SequenceRule.NONE, family="ohlc", interval_ns=NS_PER_MINUTE),
    )  # fmt: skip
    default_symbols = ("XBT/USD", "ETH/USD")
    ignored_names: ClassVar[Mapping[str, str]] = {
        "heartbeat": "nothing else was sent for a second",
        "systemStatus": "the greeting, and the state of the whole venue",
        "pong": "the answer to a ping of ours",
        "subscriptionStatus": "the answer to a subscription; a refusal is told as a Fault",
        "error": "the venue refuses something; told as a Fault",
        "ticker": "24 h statistics",
        "empty": "a message without events",
    }
    event_time_min_ns = 1_377_993_600_000_000_000  # the venue opened in September 2013
    untimed_kinds = frozenset({Kind.BOOK, Kind.QUOTE})
    fault_codes = rest.FAULT_CODES
    keepalive = KeepAlive('{"event":"ping"}', 30.0)
    instruments_path = f"{rest.LIST}?execution_venue=international"

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._streams: StreamCache[tuple[str, str]] = StreamCache(lambda place: kraken.stream(self, *place))
        self._answers = Answers()
        self._books: dict[tuple[str, str], CheckedBook] = {}
        self._counts = fields.ContentCounts()
        self._readers = {
            "trade": Reader(_Trade, self._read_trade),
            "spread": Reader(_Spread, self._read_spread),
            "ohlc": Reader(_Bar, self._read_bar),
        }

    @classmethod
    def match(cls, name: str) -> Channel | None:
        return kraken.match(cls.channels, name)

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        for wsname, instrument in rest.read_instruments(payload):
            yield msgspec.structs.replace(instrument, venue_symbol=wsname)

    # what to send

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return base_url

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        self._answers.ask([(name, pair) for name in subscription.channels for pair in subscription.symbols])
        return [_request("subscribe", name, subscription.symbols) for name in subscription.channels]

    def resubscribe(self, subscription: Subscription) -> Sequence[str]:
        return [
            _request(event, name, subscription.symbols)
            for name in subscription.channels
            for event in ("unsubscribe", "subscribe")
        ]

    def unanswered(self) -> Sequence[str]:
        return self._answers.unanswered()

    # frames

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        return by_shape(frame, self._object, self._array)

    def _object(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        message = members(payload)
        if "event" not in message:
            return (Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(message)!r:.120}"),)
        try:
            event = msgspec.json.decode(payload, type=_Event)
        except msgspec.ValidationError as error:
            return (fields.rejected(error, 0, ""),)
        if event.event not in self.ignored_names:
            return (Rejected(Code.UNKNOWN_MESSAGE, f"event {event.event!r:.40}"),)
        if event.event not in ("subscriptionStatus", "error"):
            return (Ignored(event.event),)
        return told(event.event, 0, *self._answer(event))

    def _answer(self, event: _Event) -> Sequence[Fault | None]:
        """``{"channelID":1664,"channelName":"book-1000","event":"subscriptionStatus","pair":"WAVES/EUR","status":
        "subscribed","subscription":{"depth":1000,"name":"book"}}``, ``{"errorMessage":"Currency pair not supported
        FOO/BAR","event":"subscriptionStatus","pair":"FOO/BAR","status":"error","subscription":{"name":"trade"}}``"""
        if event.status == "subscribed":
            return (self._answers.grant(event.channelName, event.pair),)
        if event.status == "unsubscribed":
            return ()
        asked = event.subscription or _Asked()
        parameter = asked.depth or asked.interval
        channel = f"{asked.name}-{parameter}" if parameter else asked.name
        fault = rest.fault_of(event.event, event.errorMessage)
        if fault.kind is not FaultKind.REQUEST or not channel:
            return (fault,)
        return self._answers.refuse(channel, event.pair, fault)

    def _array(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        """``[channel id, data, …, channel, pair]``"""
        parts = elements(payload)
        channel, pair = (text_of(part) for part in [ABSENT, ABSENT, *parts][-2:])
        family = channel.partition("-")[0]
        if len(parts) < 4 or not (family in self._readers or family in ("book", "ticker")):
            return (Rejected(Code.UNKNOWN_MESSAGE, f"an array: {payload[:40]!r}"),)
        if family == "ticker":
            return (Ignored("ticker"),)
        if not pair:
            return (Rejected(Code.SYMBOL_MISSING, f"{channel} of {bytes(parts[-1])!r:.40}"),)
        try:
            stream = self._streams[pair, channel]
            if family == "book":
                return self._read_book(frame, parts[1:-2], stream)
            rows = parts[1] if family == "trade" else Raw(b"[" + bytes(parts[1]) + b"]")
            return read_rows(frame, rows, self._readers[family], stream, pair) or (Ignored("empty"),)
        except fields.UNREADABLE as error:
            return (fields.rejected(error, 0, pair),)

    # readers

    def _read_book(self, frame: Frame, parts: Sequence[Raw], stream: Stream) -> Sequence[Outcome]:
        """``{"as":[["0.05120","0.00000500","1582905486.493008"]],"bs":[…]}`` is the whole book, without a checksum;
        ``{"a":[…],"c":"974947235"}``, ``{"b":[…],"c":…}`` or ``{"a":[…]},{"b":[…],"c":…}`` changes it. It is as new as
        its newest level."""
        asks: list[_Level] = []
        bids: list[_Level] = []
        is_snapshot, checksum = False, ""
        for part in parts:
            sides = msgspec.json.decode(part, type=_Sides)
            is_snapshot |= sides.all_asks is not None or sides.all_bids is not None
            asks += sides.all_asks or sides.asks
            bids += sides.all_bids or sides.bids
            checksum = checksum or sides.checksum
        if not (is_snapshot or asks or bids or checksum):
            raise FieldFault(Code.UNKNOWN_MESSAGE, f"a book of {bytes(parts[0])[:40]!r}")
        record = build.book(
            stream, frame, 0, BookAction.SNAPSHOT if is_snapshot else BookAction.ABSOLUTE,
            max((rest.seconds_ns(level.time) for level in (*asks, *bids)), default=0),
            fields.columns([(level.price, level.size) for level in bids]),
            fields.columns([(level.price, level.size) for level in asks]),
        )  # fmt: skip
        book = self._books.setdefault((stream.venue_symbol, stream.channel), CheckedBook(stream.depth))
        if is_snapshot:
            book.begin(0)
        record, wrong = book.take(record, _checksum(checksum), None)
        return (record, BookBroken(stream.venue_symbol, stream.channel, wrong)) if wrong else (record,)

    def _read_trade(self, frame: Frame, index: int, row: _Trade, stream: Stream) -> Trade:
        """``["354.11000000","0.89594024","1618678142.557535","s","l",""]``: ``s`` is the taker's
        side, ``l`` the type of its order."""
        price, size = fields.two(row.price, row.size)
        return rest.trade(
            self._counts, frame, index, stream, rest.seconds_ns(row.time), price, size, row.side
        )

    def _read_spread(self, frame: Frame, index: int, row: _Spread, stream: Stream) -> Quote:
        """``["5698.40000","5700.00000","1542057299.545897","1.01234567","0.98765432"]``: a time of 0 is none."""
        time_ns = rest.seconds_ns(row.time) if row.time.strip("0.") else 0
        place = f"{frame.connection_id}/{frame.frame_sequence}/{index}"
        bid, bid_size, ask, ask_size = fields.sides(row.bid, row.bid_size, row.ask, row.ask_size)
        return build.quote(stream, frame, index, place, time_ns, bid, bid_size, ask, ask_size)

    def _read_bar(self, frame: Frame, index: int, row: _Bar, stream: Stream) -> Bar:
        """``["1542057314.748456","1542057360.435743","3586.70000","3586.70000","3586.60000","3586.60000","3586.68894",
        "0.03373000",2]``: its last trade, its end (with the fraction of a trade), the prices."""
        length_ns = interval_ns(stream.interval)
        end_ns = rest.seconds_ns(row.end) // length_ns * length_ns
        *prices, vwap, volume = fields.decimals(row.open, row.high, row.low, row.close, row.vwap, row.volume)
        state = BarState.CLOSED if end_ns <= frame.receive_time_ns else BarState.OPEN
        return build.bar(
            stream, frame, index, end_ns - length_ns, state, prices, volume,
            vwap if vwap.strip("0.") else None, trade_count=row.count,
        )  # fmt: skip


def _checksum(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise FieldFault(Code.FIELD_MALFORMED, f"checksum {text!r:.40}")
    return int(text)


def _request(event: str, name: str, pairs: Sequence[str]) -> str:
    family, _, parameter = name.partition("-")
    asked: dict[str, Any] = {"name": family}
    if parameter:
        asked["depth" if family == "book" else "interval"] = int(parameter)
    return msgspec.json.encode({"event": event, "pair": pairs, "subscription": asked}).decode()
