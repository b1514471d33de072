"""Bitfinex: spot, and perpetual contracts as a feed of their own. https://docs.bitfinex.com/docs/ws-general

Both speak websocket v2 on one address. A frame names no symbol, but the number that its channel has on this connection;
each bears the connection's next number, heartbeats too. Books have checksums, trades a history by time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import msgspec
from msgspec import Raw

from etl.adapter import fields
from etl.adapter.build import Stream, StreamCache, stream_of
from etl.adapter.contract import (
    Budget,
    Channel,
    ConnectionSequence,
    Credentials,
    Exchange,
    History,
    Ignored,
    KeepAlive,
    Outcome,
    Rejected,
    Request,
    Subscription,
)
from etl.adapter.dispatch import Reader, by_shape, elements
from etl.adapter.fields import UNREADABLE, members, rejected, text_of
from etl.exchanges import _bitfinex_channels as channels
from etl.exchanges import _bitfinex_rest as rest
from etl.exchanges import _bitfinex_wire as wire
from etl.exchanges._bitfinex_channels import LIQUIDATIONS, Subscribed
from etl.exchanges._bitfinex_talk import IN_BULK, KNOWN, WITH_NUMBER, WITH_TIME, Event, Talk, streams_of
from etl.exchanges._bitfinex_wire import Stamp
from etl.model.codes import Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Frame, Kind, SizeUnit
from etl.model.times import NS_PER_MS

STREAMS_MAX = 25
_EVENTS = {
    "ticker": Reader(wire.Ticker, wire.read_ticker),
    "status.deriv": Reader(wire.Status, wire.read_status),
}


class Bitfinex(Exchange):
    name = "bitfinex"
    websocket_url = "wss://api-pub.bitfinex.com/ws/2"
    rest_url = "https://api-pub.bitfinex.com"
    channels: ClassVar[tuple[Channel, ...]] = channels.COMMON
    default_symbols: ClassVar[tuple[str, ...]] = ("tBTCUSD", "tETHUSD", "tSOLUSD")
    default_channels: ClassVar[tuple[str, ...]] = ("trades", "book", "candles.1m")
    changes: ClassVar[Mapping[str, str]] = {
        "2018": "checksums of books, numbers and times of frames, by flags",
        "2019-09": "the status of a contract tells mark price and open interest",
        "2026-04": "tickers end with a null",
    }
    ignored_names: ClassVar[Mapping[str, str]] = {
        "info": "the greeting, restarts and maintenance; what calls for something is told as a Fault",
        "conf": "the answer to our flags",
        "subscribed": "the answer to a subscription",
        "unsubscribed": "the answer to the end of one",
        "error": "the venue refuses something; told as a Fault",
        "pong": "the answer to a keep-alive",
        "heartbeat": "a channel gave nothing for 15 s; it has its number, and may come before its channel's answer",
        "tu": "a trade that `te` has told",
        "checksum": "a book's checksum, held against ours",
        "order_book": "orders one by one",
        "funding": "loans and their market",
        "other_channel": "a channel that is not known",
        "liquidation_match": "the trades that close a position, which the liquidation before them has told",
        "page_end": "a row of a full page's last millisecond, which the next page begins with",
        "exchange_info": "the list of pairs and currencies",
        "empty": "a message or a page without events",
    }
    event_time_min_ns = 1_354_320_000_000_000_000  # the venue opened in December 2012
    untimed_kinds = frozenset({Kind.BOOK, Kind.QUOTE})
    """Whose time is that of the frame, which old tapes have not."""
    streams_max = STREAMS_MAX
    budgets = (Budget(rest.BUDGET, 60.0),)
    connect_budgets = (Budget(15, 60.0),)
    fault_codes = rest.FAULT_CODES
    keepalive = KeepAlive('{"event":"ping","cid":1}', 15.0)
    history: ClassVar[Mapping[Kind, History]] = {Kind.TRADE: History("time"), Kind.BAR: History("time")}
    instruments_path: ClassVar[str] = rest.LIST.format("exchange")
    is_of_contracts: ClassVar[bool] = False

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._known = StreamCache(self._stream)
        self._talk = Talk(self._subscribed)

    def _stream(self, place: tuple[str, str]) -> Stream:
        """Raises ``FieldFault`` for what is no symbol, or no channel."""
        symbol, name = place
        fields.require_name(symbol)
        channel = self.channel(name)
        if channel is None or not symbol:
            raise fields.FieldFault(Code.UNKNOWN_MESSAGE, f"channel {name!r:.40} of {symbol!r:.40}")
        interval = channels.INTERVALS[name.partition(".")[2]] if channel.kind is Kind.BAR else ""
        return stream_of(
            self, symbol, name, SizeUnit.BASE, interval=interval, depth=channel.depth, key_unit_ns=NS_PER_MS
        )

    def _subscribed(self, name: str, symbol: str) -> Subscribed:
        """The channel of an answer. Raises ``FieldFault`` for names that can be none."""
        fields.require_name(name)
        fields.require_name(symbol)
        if name == LIQUIDATIONS:
            return channels.Liquidations(lambda each: self._known[each, LIQUIDATIONS])
        if symbol[:1] == "f":
            return channels.LeftAside(name, symbol, "funding")
        if name.startswith("book.R0."):
            return channels.LeftAside(name, symbol, "order_book")
        if self.channel(name) is None:
            return channels.LeftAside(name, symbol, "other_channel")
        stream, family = self._known[symbol, name], name.partition(".")[0]
        if family == "book":
            return channels.Levels(stream, comes_in_bulk=bool(self._talk.flags & IN_BULK))
        if family == "candles":
            return channels.Candles(stream)
        return channels.Trades(stream) if family == "trades" else channels.Events(stream, _EVENTS[name])

    @classmethod
    def match(cls, name: str) -> Channel | None:
        return channels.match(cls.channels, name)

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        return rest.read_instruments(payload, cls.is_of_contracts)

    # what to send

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return base_url

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        return self._talk.open(subscription)

    def resubscribe(self, subscription: Subscription) -> Sequence[str | bytes]:
        return self._talk.resubscribe(streams_of(subscription))

    def unanswered(self) -> Sequence[str]:
        return self._talk.unanswered()

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        return rest.history_requests(kind, venue_symbol, start_ns, end_ns, channel.partition(".")[2] or "1m")

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        return rest.next_request(request, frame)

    # frames

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        try:
            parts = elements(frame.payload)
            number = int(bytes(parts[0]))
        except (*UNREADABLE, ValueError, IndexError):
            return by_shape(frame, self._object, self._array)
        return self._channel(frame, number, parts)

    def _object(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        message = members(payload)
        if text_of(message.get("event", fields.ABSENT)) not in KNOWN:
            return (Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(message)!r:.120}"),)
        try:
            return self._talk.take(fields.decoded(payload, _decode_event))
        except UNREADABLE as error:
            return (rejected(error, 0, ""),)

    def _array(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        """An answer to a request, or a frame with a word in it that JSON has not."""
        parts = elements(payload)
        if parts and bytes(parts[0]).isdigit():
            return self._channel(frame, int(bytes(parts[0])), parts)
        try:
            return rest.read_answer(frame, payload, self._known) or (Ignored("empty"),)
        except UNREADABLE as error:
            return (rejected(error, 0, ""),)

    def _channel(self, frame: Frame, number: int, parts: Sequence[Raw]) -> Sequence[Outcome]:
        """``[232957,[60400,1,0.68826974],17,1618677544123]``: the channel's number, what it tells, and by the flags in
        force the frame's number and time. More may come to stand between them."""
        if number not in self._talk.subscribed:
            try:
                self._talk.learn(frame.endpoint)
            except UNREADABLE as error:
                return [rejected(error, 0, "")]
        flags = self._talk.flags
        has_number, has_time = bool(flags & WITH_NUMBER), bool(flags & WITH_TIME)
        end = len(parts) - has_number - has_time
        channel = self._talk.subscribed.get(number)
        symbol = channel.symbol if channel else ""
        counted: list[Outcome] = []
        try:
            if end < 2:
                raise fields.FieldFault(Code.FIELD_MISSING, f"{len(parts)} elements with the flags {flags}")
            sequence = _whole(parts[end]) if has_number else 0
            counted = [ConnectionSequence(sequence)] if has_number else []
            stamp = Stamp(sequence, fields.time_ns(_whole(parts[-1]), NS_PER_MS) if has_time else 0)
            return [*counted, *(_told(frame, number, channel, parts[1:end], stamp) or (Ignored("empty"),))]
        except UNREADABLE as error:
            return [*counted, rejected(error, 0, symbol)]


class BitfinexDerivatives(Bitfinex):
    """Perpetuals: ``tBTCF0:USTF0``, sizes in coin."""

    name = "bitfinex_derivatives"
    channels = (*channels.COMMON, *channels.OF_DERIVATIVES)
    default_symbols = ("tBTCF0:USTF0", "tETHF0:USTF0", "tSOLF0:USTF0")
    default_channels = ("trades", "book", "candles.1m", "status.deriv", "status.liq")
    event_time_min_ns = 1_567_296_000_000_000_000  # since September 2019
    instruments_path = rest.LIST.format("futures")
    is_of_contracts = True


def _told(
    frame: Frame, number: int, channel: Subscribed | None, body: Sequence[Raw], stamp: Stamp
) -> Sequence[Outcome]:
    """May raise one of ``UNREADABLE``."""
    word = text_of(body[0])
    if word == "hb":
        return (Ignored("heartbeat"),)
    if channel is None:
        raise fields.FieldFault(Code.SYMBOL_MISSING, f"channel {number} was not subscribed to")
    if word and len(body) < 2:
        raise fields.FieldFault(Code.FIELD_MISSING, f"{word!r:.20}, and nothing behind it")
    if word:
        return channel.hear(frame, word, body[1], stamp)
    return channel.read(frame, body[0], stamp)


def _whole(raw: Raw) -> int:
    return fields.whole(bytes(raw).decode())


_decode_event = msgspec.json.Decoder(Event).decode
