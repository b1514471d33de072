"""MEXC perpetual contracts, of every settlement on one socket: JSON.

https://www.mexc.com/api-docs/futures/websocket-api

An acknowledgement names its channel and no symbol, so they are counted. The 100 newest trades can be asked for and no
others, which proves nothing of a hole; bars can.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

import msgspec
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
from etl.adapter.fields import (
    ABSENT,
    UNDECODABLE,
    UNREADABLE,
    ContentCounts,
    decoded,
    is_name,
    listing,
    members,
    rejected,
    text_of,
)
from etl.adapter.handshake import told
from etl.adapter.paging import query_of
from etl.exchanges import _mexc_contract_wire as wire
from etl.exchanges._mexc_family import BARS, INTERVALS, MexcFamily
from etl.model.codes import Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Frame, Kind, SizeUnit
from etl.model.times import NS_PER_S, interval_ns

KLINE_ROWS = 2_000
DEPTH_LIMIT = 1_000
UNPACKED_BYTES_MAX = 8 << 20
"""Of a packed message; longer ones are held."""
FULL_BOOK = Channel("depth.full", Kind.BOOK, SequenceRule.RISING, None, 60.0, depth=20)
READERS: Mapping[str, Reader] = {
    "deal": Reader(wire.Deal, wire.read_deal),
    "depth": Reader(wire.Depth, wire.read_depth),
    "depth.full": Reader(wire.Depth, wire.read_full_depth),
    "ticker": Reader(wire.Ticker, wire.read_ticker),
    "fair.price": Reader(wire.Price, wire.read_fair_price),
    "index.price": Reader(wire.Price, wire.read_index_price),
    "funding.rate": Reader(wire.Funding, wire.read_funding),
    "kline": Reader(wire.Kline, wire.read_kline),
}
"""By the family of the channel."""
_decode = msgspec.json.Decoder(wire.Message).decode
_GZIP = b"\x1f\x8b"
_NAMED = re.compile(r"\[([A-Za-z0-9_]{1,64})\]")
_FAULTS = {
    510: FaultKind.RATE_LIMIT,
    **dict.fromkeys((500, 501), FaultKind.TRANSIENT),
    **dict.fromkeys((401, 402), FaultKind.AUTHENTICATION),
    403: FaultKind.BANNED,
}
"""What else there is calls the request wrong: 600, 1001, 2011."""


class MexcContract(MexcFamily):
    name = "mexc_contract"
    websocket_url = "wss://contract.mexc.com/edge"
    channels = (
        Channel("deal", Kind.TRADE, SequenceRule.RISING, None, 60.0),
        Channel("depth", Kind.BOOK, SequenceRule.RANGE, None, 60.0),
        BARS,
        Channel("ticker", Kind.STATS, SequenceRule.NONE, None, 60.0),
        Channel("fair.price", Kind.STATS, SequenceRule.NONE, None, 60.0),
        Channel("index.price", Kind.STATS, SequenceRule.NONE, None, 60.0),
        Channel("funding.rate", Kind.STATS, SequenceRule.NONE),
    )
    default_symbols = ("BTC_USDT", "ETH_USDT", "SOL_USDT")
    default_channels = ("deal", "depth", "kline@Min1", "ticker")
    changes: ClassVar[Mapping[str, str]] = {
        "2025-04-09": "book changes are merged, with `begin` and `end`",
        "2025-08-21": "trades come in lists",
        "2026-06-18": "trades and books tell `cts`, trades `i`",
    }
    ignored_events: ClassVar[Mapping[str, str]] = {
        "push.tickers": "24h_statistics",
        "push.contract": "contract_details",
        "push.event.contract": "contract_details",
    }
    ignored_names: ClassVar[Mapping[str, str]] = {
        **MexcFamily.ignored_names,
        "empty": "a message or a page without events; the frozen book of a contract that is gone",
        "24h_statistics": "24 h statistics of all contracts",
        "contract_details": "what a contract is",
    }
    size_unit = SizeUnit.CONTRACT
    budgets = (Budget(10, 2.0),)
    keepalive = KeepAlive('{"method":"ping"}', 15.0)
    history: ClassVar[Mapping[Kind, History]] = {Kind.BAR: History("time"), Kind.BOOK: History("time")}
    """Of a book there is its snapshot now."""
    instruments_path = "/api/v1/contract/detail"

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._asked: Counter[str] = Counter()
        self._symbols: set[str] = set()
        self._refused_symbols: set[str] = set()
        self._is_any_granted = False

    @classmethod
    def match(cls, name: str) -> Channel | None:
        """``kline@Hour4``; ``depth.full``, the best 20 levels of a side as a whole."""
        return FULL_BOOK if name == FULL_BOOK.name else super().match(name)

    # what to send

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        """A message for each stream."""
        self._symbols = set(subscription.symbols)
        self._asked = Counter(
            channel.partition("@")[0] for channel in subscription.channels for _ in subscription.symbols
        )
        return self._messages("sub", subscription)

    def resubscribe(self, subscription: Subscription) -> Sequence[str | bytes]:
        return [*self._messages("unsub", subscription), *self._messages("sub", subscription)]

    @staticmethod
    def _messages(verb: str, subscription: Subscription) -> list[str]:
        messages = []
        for channel in subscription.channels:
            family, _, interval = channel.partition("@")
            more: dict[str, Any] = {"interval": interval} if interval else {}
            more |= {"limit": FULL_BOOK.depth} if channel == FULL_BOOK.name else {}
            for symbol in subscription.symbols:
                request = {"method": f"{verb}.{family}", "param": {"symbol": symbol, **more}}
                messages.append(msgspec.json.encode(request).decode())
        return messages

    def unanswered(self) -> Sequence[str]:
        return [f"{count} of {channel}" for channel, count in self._asked.items() if count > 0]

    def snapshot_requests(self, subscription: Subscription) -> Sequence[Request]:
        if "depth" not in subscription.channels:
            return ()
        return [self._snapshot_request(symbol) for symbol in subscription.symbols]

    @staticmethod
    def _snapshot_request(symbol: str) -> Request:
        return Request(f"/api/v1/contract/depth/{symbol}?limit={DEPTH_LIMIT}", Kind.BOOK, symbol)

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        """Bars in spans of as many as an answer holds."""
        if kind is Kind.BOOK:
            yield self._snapshot_request(venue_symbol)
        elif kind is Kind.BAR:
            interval = channel.partition("@")[2] or "Min1"
            length_ns = interval_ns(INTERVALS[interval]) or end_ns - start_ns
            for first_ns in range(start_ns - start_ns % NS_PER_S, end_ns, KLINE_ROWS * length_ns):
                last_ns = min(first_ns + KLINE_ROWS * length_ns, end_ns) - 1
                query = {"interval": interval, "start": first_ns // NS_PER_S, "end": last_ns // NS_PER_S}
                yield Request(
                    f"/api/v1/contract/kline/{venue_symbol}?{urlencode(query)}", kind, venue_symbol, 1, end_ns
                )

    # parse

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        if frame.payload.startswith(_GZIP):
            frame = _unpacked(frame)
        try:
            message = _decode(frame.payload)
            return self._pushed(frame, message)
        except (*UNREADABLE, KeyError):
            return by_shape(frame, self._object, _array)

    def _pushed(self, frame: Frame, message: wire.Message) -> Sequence[Outcome]:
        """Events of a stream. Raises ``KeyError`` for any other message."""
        family = message.channel.removeprefix("push.")
        reader = READERS[family if family != message.channel else ""]
        symbol, channel = message.symbol, family
        if family == "kline":
            interval = text_of(members(message.data).get("interval", ABSENT))
            channel = f"kline@{interval}"
        if self.channel(channel) is None:
            return (Rejected(Code.UNKNOWN_MESSAGE, f"channel {channel!r:.80}"),)
        if not symbol or not is_name(symbol):
            return (Rejected(Code.SYMBOL_MISSING, f"{message.channel} of {symbol!r:.60}"),)
        sent = wire.Sent(self._known[symbol, channel], self._contents, message.ts)
        if bytes(message.data)[:1] == b"[":
            return read_rows(frame, message.data, reader, sent, symbol) or told("empty", 0)
        return (read_one(frame, 0, message.data, reader, sent, symbol),)

    def _object(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        message = members(payload)
        if "success" in message:
            return self._answer(frame, payload)
        try:
            said = decoded(payload, _decode)
        except UNDECODABLE as error:
            if "channel" in message:
                return (rejected(error, 0, ""),)
            return (Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(message)!r:.120}"),)
        if said.channel in self.ignored_events:
            return told(self.ignored_events[said.channel], 0)
        if said.channel == "pong":
            return told("pong", 0)
        if said.channel == "rs.error":
            return told("subscription_reply", 0, *self._refused(text_of(said.data)))
        if said.channel.startswith(("rs.sub.", "rs.unsub.")):
            return told("subscription_reply", 0, *self._acknowledged(said.channel, text_of(said.data)))
        try:
            return self._pushed(frame, said)
        except KeyError:
            return (Rejected(Code.UNKNOWN_MESSAGE, f"channel {said.channel!r:.80}"),)
        except UNREADABLE as error:
            return (rejected(error, 0, said.symbol),)

    def _acknowledged(self, channel: str, said: str) -> Iterable[Fault]:
        """``{"channel":"rs.sub.depth","data":"success","ts":…}``"""
        if said != "success":
            return self._refused(said)
        family = channel.removeprefix("rs.sub.")
        if self._asked[family] <= 0:
            return ()
        self._asked[family] -= 1
        self._is_any_granted = True
        return self._ready()

    def _refused(self, said: str) -> Iterable[Fault]:
        """``Contract [NOPE_USDT] not exists``, for each of its streams: which channel asked is not told."""
        match = _NAMED.search(said)
        symbol, fault = match[1] if match else "", Fault(FaultKind.REQUEST, "rs.error", said)
        if symbol in self._refused_symbols:
            return ()
        self._refused_symbols.add(symbol)
        if symbol not in self._symbols or self._symbols <= self._refused_symbols:
            return [fault]
        self._asked.subtract(list(self._asked))
        return [*self._ready(), replace(fault, channels=tuple(self._asked), symbols=(symbol,))]

    def _ready(self) -> Iterable[Fault]:
        if self._is_any_granted and not any(count > 0 for count in self._asked.values()):
            return [Fault(FaultKind.READY, "subscribed", "")]
        return ()

    def _answer(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        """``{"success":true,"code":0,"data":…}``; without success it is an error, whatever the status."""
        try:
            answer = decoded(payload, msgspec.json.Decoder(wire.Answer).decode)
        except UNDECODABLE as error:
            return (rejected(error, 0, ""),)
        if not answer.success:
            kind = _FAULTS.get(answer.code, FaultKind.REQUEST)
            return told("error_reply", 0, Fault(kind, str(answer.code), answer.message))
        path, query = query_of(frame.endpoint)
        folder, _, symbol = path.rpartition("/")
        name = folder.rpartition("/")[2]
        if symbol == "detail":
            return told("exchange_info", 0)
        if name not in ("depth", "deals", "kline") or not is_name(symbol):
            return (Rejected(Code.UNKNOWN_MESSAGE, f"an answer of {frame.endpoint!r:.80}"),)
        channel = {"depth": "depth", "deals": "deal"}.get(name, f"kline@{query.get('interval', 'Min1')}")
        sent = wire.Sent(self._known[symbol, channel], ContentCounts())
        try:
            return _rows_of(frame, name, answer.data, sent) or told("empty", 0)
        except UNREADABLE as error:
            return (rejected(error, 0, symbol),)

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        return [
            Instrument(
                item.symbol, f"{item.baseCoin}-{item.quoteCoin}-PERP",
                wire.number(item.priceUnit), wire.number(item.volUnit), settle=item.settleCoin,
                contract_size="" if item.contractSize is ABSENT else wire.number(item.contractSize),
                status="" if item.state is None else str(item.state),
            )
            for item in listing(payload, wire.Listing).data
        ]  # fmt: skip


def _unpacked(frame: Frame) -> Frame:
    """A packed message is the same JSON; what cannot be unpacked stays as it is, and is held."""
    try:
        unpacker = zlib.decompressobj(wbits=31)
        payload = unpacker.decompress(frame.payload, UNPACKED_BYTES_MAX)
    except zlib.error:
        return frame
    return replace(frame, payload=payload) if unpacker.eof else frame


def _rows_of(frame: Frame, name: str, data: msgspec.Raw, sent: wire.Sent) -> Sequence[Outcome]:
    symbol = sent.stream.venue_symbol
    if name == "deals":
        return read_rows(frame, data, READERS["deal"], sent, symbol)
    if name == "kline":
        rows = wire.rows_of_klines(data)
        return read_all(frame, rows, {wire.Kline: wire.read_kline}, sent, lambda index: symbol)
    book = decoded(data, msgspec.json.Decoder(wire.Depth).decode)
    return (wire.read_full_depth(frame, 0, book, sent),) if book.asks or book.bids else ()


def _array(frame: Frame, payload: bytes) -> Sequence[Outcome]:
    return (
        Rejected(Code.UNKNOWN_MESSAGE, f"an array, {payload[:40]!r}")
        if payload.strip() != b"[]"
        else Ignored("empty"),
    )
