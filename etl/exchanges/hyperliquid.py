"""Hyperliquid: perpetuals, those of builders too (``xyz:TSLA``), and spot.

https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api

Nothing is numbered. A subscription to trades begins with the last 30 fills, which fill what a short outage missed; no
request has older ones. Each message of a book is all of it. History is asked for by POST, all of it on one path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from etl.adapter import fields
from etl.adapter.build import Stream, StreamCache, stream_of
from etl.adapter.channels import variant
from etl.adapter.contract import (
    LISTING_WEIGHT,
    Budget,
    Channel,
    Credentials,
    Exchange,
    FaultCode,
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
from etl.adapter.dispatch import by_shape, elements
from etl.adapter.fields import ABSENT, UNREADABLE, FieldFault, inside, members, text_of
from etl.adapter.handshake import Answers, told
from etl.exchanges import _hyperliquid_wire as wire
from etl.exchanges._hyperliquid_readers import Readers
from etl.model.codes import Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Frame, Kind, SizeUnit
from etl.model.times import NS_PER_MINUTE, NS_PER_MS, interval_ns

INFO = "/info"
GREETING = b"Websocket connection established."
REPLAYED_MAX = 30
PAGE_ROWS = 500
"""Answers of a span of time are cut at so many; only the newest 5,000 candles are kept."""
PAGE_WEIGHT = 20 + -(-PAGE_ROWS // 60)
_decode = msgspec.json.Decoder(wire.Message).decode


class Hyperliquid(Exchange):
    name = "hyperliquid"
    websocket_url = "wss://api.hyperliquid.xyz/ws"
    rest_url = "https://api.hyperliquid.xyz"
    channels = (
        Channel(wire.TRADES, Kind.TRADE, SequenceRule.NONE, None, 120.0, replayed_max=REPLAYED_MAX),
        Channel(wire.BBO, Kind.QUOTE, SequenceRule.NONE, None, 60.0),
        Channel(wire.BOOK, Kind.BOOK, SequenceRule.NONE, None, 60.0, depth=wire.DEPTH),
        Channel(wire.FAST_BOOK, Kind.BOOK, SequenceRule.NONE, None, 60.0, depth=wire.FAST_DEPTH),
        Channel("candle_1m", Kind.BAR, SequenceRule.INTERVAL, Kind.BAR, 180.0, wire.CANDLES, NS_PER_MINUTE),
        Channel(wire.CONTEXT, Kind.STATS, SequenceRule.NONE, None, 60.0),
    )
    default_channels = (wire.TRADES, wire.BBO, wire.BOOK, "candle_1m", wire.CONTEXT)
    default_symbols: ClassVar[tuple[str, ...]] = ("BTC", "ETH", "SOL")
    changes: ClassVar[Mapping[str, str]] = {
        "2024-10": "`l2Book` tells the `spread` of a book whose levels are merged",
        "2025-06": "`bbo`: the best prices as they change",
        "2025-07": "perpetuals of builders, `dex:COIN`",
        "2026-06-16": "`l2Book` comes every 5.4 s and no more every 0.5 s; with `fast` as before, with 5 levels",
    }
    ignored_names: ClassVar[Mapping[str, str]] = {
        "greeting": "the connection is there; no JSON",
        "pong": "the answer to our keep-alive",
        "subscription": "the answer to a subscription, or to the end of one",
        "error": "the venue refuses something; told as a Fault",
        "empty": "a message or a page without events",
        "outcomes": "outcome tokens (`#250`) and what they are",
        "merged_book": "a book whose levels were merged on request, which is never made here",
        "mids": "middle prices of all coins, derived from their books",
        "all_contexts": "the contexts of all coins at once; each has its own channel",
        "exchange_info": "a list of instruments",
        "funding_history": "past funding rates",
        "exchange_status": "whether the exchange is at work",
    }
    ignored_events: ClassVar[Mapping[str, str]] = {
        "allMids": "mids",
        "outcomeMetaUpdates": "outcomes",
        **dict.fromkeys(("assetCtxs", "allDexsAssetCtxs", "spotAssetCtxs", "fastAssetCtxs"), "all_contexts"),
    }
    event_time_min_ns = 1_577_836_800_000_000_000  # 2020; it opened in 2023, its longest candles begin before
    untimed_kinds = frozenset({Kind.STATS})
    connections_max = 10
    streams_max = 1_000
    """Of an address, over all its connections; what is beyond has no answer, and is told as unanswered."""
    connect_budgets = (Budget(30, 60.0),)
    messages_per_s = 20.0
    budgets = (Budget(1_200, 60.0),)
    keepalive = KeepAlive('{"method":"ping"}', 30.0)
    fault_codes = (
        FaultCode(429, FaultKind.RATE_LIMIT, "", 10.0),
        FaultCode(500, FaultKind.REQUEST, "null"),  # a coin that it does not know
    )
    history: ClassVar[Mapping[Kind, History]] = {Kind.BAR: History("time")}
    instruments_path = INFO
    listing_type: ClassVar[str] = "allPerpMetas"

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._readers = Readers(StreamCache(self._stream))
        self._answers = Answers()

    def _stream(self, place: tuple[str, str]) -> Stream:
        """Raises ``FieldFault`` for what is no coin, and for candles of no known length."""
        coin, channel = place
        fields.require_name(coin)
        facts = self.channel(channel)
        if facts is None:
            raise FieldFault(Code.UNKNOWN_MESSAGE, f"channel {channel!r:.60}")
        interval = channel.partition("_")[2] if facts.kind is Kind.BAR else ""
        return stream_of(
            self, coin, channel, SizeUnit.BASE, interval=interval, depth=facts.depth, key_unit_ns=NS_PER_MS
        )

    @classmethod
    def match(cls, name: str) -> Channel | None:
        """``candle_4h``."""
        family, _, interval = name.partition("_")
        is_candle = family == wire.CANDLES and interval in wire.INTERVALS
        return variant(cls.channels, family, name, interval) if is_candle else None

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        return wire.read_perps(payload)

    @classmethod
    def listing_requests(cls) -> Sequence[Request]:
        body = msgspec.json.encode({"type": cls.listing_type})
        return [Request(INFO, Kind.STATUS, "", LISTING_WEIGHT, body=body)]

    # what to send

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return base_url

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        """A message for each stream."""
        self._answers.ask(
            (channel, coin) for channel in subscription.channels for coin in subscription.symbols
        )
        return _messages("subscribe", subscription)

    def resubscribe(self, subscription: Subscription) -> Sequence[str | bytes]:
        return [*_messages("unsubscribe", subscription), *_messages("subscribe", subscription)]

    def unanswered(self) -> Sequence[str]:
        return self._answers.unanswered()

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        """Candles, in spans of as many as an answer holds."""
        if kind is not Kind.BAR:
            return
        interval = channel.partition("_")[2] or "1m"
        span_ns = PAGE_ROWS * interval_ns(interval) or end_ns - start_ns
        for first_ns in range(start_ns - start_ns % NS_PER_MS, end_ns, span_ns):
            asked = {
                "coin": venue_symbol, "interval": interval, "startTime": first_ns // NS_PER_MS,
                "endTime": (min(first_ns + span_ns, end_ns) - 1) // NS_PER_MS,
            }  # fmt: skip
            body = msgspec.json.encode({"type": "candleSnapshot", "req": asked})
            yield Request(INFO, kind, venue_symbol, PAGE_WEIGHT, end_ns, body)

    # frames

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        self._readers.begin(frame.receive_time_ns)
        outcomes = self._parse(frame)
        if over := self._readers.over:
            self._readers.over = []
            closed = [replace(bar, frame_index=place) for place, bar in enumerate(over, len(outcomes))]
            return [*outcomes, *closed]
        return outcomes

    def _parse(self, frame: Frame) -> Sequence[Outcome]:
        try:
            message = _decode(frame.payload)
            if self._readers.knows(message.channel) and bytes(message.data):
                return self._readers.read(frame, message.channel, message.data)
        except UNREADABLE:
            if frame.payload == GREETING:
                return (Ignored("greeting"),)
        return by_shape(frame, self._object, self._page)

    def _object(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        message = members(payload)
        msgspec.json.decode(payload)  # a garbled word deep within costs the message
        if "channel" not in message:
            return self._answer(frame, payload, message)
        channel, data = text_of(message["channel"]), message.get("data", ABSENT)
        if self._readers.knows(channel) and bytes(data):
            return self._readers.read(frame, channel, data)
        if channel in self.ignored_events:
            return told(self.ignored_events[channel], 0)
        if channel == "pong":
            return told("pong", 0)
        if channel == "subscriptionResponse":
            return self._acknowledged(frame, inside(data))
        if channel == "error":
            return self._refused(text_of(data))
        return (Rejected(Code.UNKNOWN_MESSAGE, f"channel {channel!r:.80}"),)

    def _acknowledged(self, frame: Frame, said: Mapping[str, Raw]) -> Sequence[Outcome]:
        """``{"method":"subscribe","subscription":{"type":"trades","coin":"SOL"}}``"""
        channel, coin = wire.stream_of(msgspec.json.decode(said.get("subscription", Raw(b"null"))))
        if text_of(said.get("method", ABSENT)) != "subscribe":
            return told("subscription", 0)
        if channel == wire.TRADES:
            self._readers.subscribed(coin, frame.receive_time_ns)
        return told("subscription", 0, self._answers.grant(channel, coin))

    def _refused(self, said: str) -> Sequence[Outcome]:
        """``Invalid subscription {"type":"trades","coin":"NOPE"}``; what is carried already is no refusal."""
        channel, coin = wire.named_by(said)
        if said.startswith("Already subscribed"):
            return told("error", 0, self._answers.grant(channel, coin))
        if said.startswith("Already unsubscribed"):
            return told("error", 0)
        fault = wire.fault_of(said)
        if not channel or fault.kind is not FaultKind.REQUEST:
            return told("error", 0, fault)
        return told("error", 0, *self._answers.refuse(channel, coin, fault))

    def _answer(self, frame: Frame, payload: bytes, message: Mapping[str, Raw]) -> Sequence[Outcome]:
        if {"coin", "levels"} <= message.keys():
            return self._readers.read(frame, wire.BOOK, payload)
        if "universe" in message:
            return told("exchange_info", 0)
        if "specialStatuses" in message:
            return told("exchange_status", 0)
        return (Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(message)!r:.120}"),)

    def _page(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        """Rows that answer a request; each names its coin."""
        found = elements(payload)
        first = next((row for raw in found if (row := inside(raw))), {})
        for telling, channel in _TOLD_BY:
            if telling <= first.keys():
                return self._readers.read(frame, channel, payload)
        for member, name in (("universe", "exchange_info"), ("fundingRate", "funding_history")):
            if member in first:
                return told(name, 0)
        return (Rejected(Code.UNKNOWN_MESSAGE, f"an array, {payload[:40]!r}"),) if found else told("empty", 0)


class HyperliquidSpot(Hyperliquid):
    """``PURR/USDC``; all other pairs are called by their number, ``@107``."""

    name = "hyperliquid_spot"
    default_symbols = ("@107", "PURR/USDC", "@142")
    listing_type = "spotMeta"

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        return wire.read_pairs(payload)


def _messages(method: str, subscription: Subscription) -> list[str]:
    return [
        msgspec.json.encode({"method": method, "subscription": wire.subscription_of(channel, coin)}).decode()
        for channel in subscription.channels
        for coin in subscription.symbols
    ]


_TOLD_BY = (({"tid", "px"}, wire.TRADES), ({"i", "o", "T"}, wire.CANDLES))
"""Members that tell rows of an answer."""
