"""Alpaca: US stocks (SIP, IEX, a test stream), options, crypto. https://docs.alpaca.markets/docs/streaming-market-data

Feeds: ``alpaca`` (SIP), ``alpaca_iex``, ``alpaca_test``, ``alpaca_options``, ``alpaca_crypto``. They differ in
addresses and symbols; each parses every frame of the venue, of any asset class.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from etl.adapter.carried import SEPARATOR
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
    Reply,
    Request,
    SequenceRule,
    Subscription,
)
from etl.adapter.dispatch import Tagged
from etl.adapter.fields import UNDECODABLE, readable, rejected
from etl.adapter.handshake import Grants, Handshake, told
from etl.adapter.market_calendar import OVERNIGHT
from etl.adapter.paging import by_token
from etl.errors import VenueError
from etl.exchanges import _alpaca_actions as actions
from etl.exchanges import _alpaca_answers as answers
from etl.exchanges import _alpaca_wire as wire
from etl.exchanges._alpaca_msgpack import json_of, rfc3339
from etl.exchanges._alpaca_readers import Readers
from etl.model.codes import Code
from etl.model.instruments import Instruments
from etl.model.records import Frame, Kind
from etl.model.reference import CorporateAction
from etl.model.times import NS_PER_DAY, NS_PER_MINUTE

PAGE_ROWS_MAX = 5_000
"""The venue allows 10,000; so few, an answer stays below 1 MiB and is one frame."""
SEVERAL_ROWS_MAX = 10_000
"""Of an answer about several symbols: all that the venue allows, for their number is what a backfill costs. Above 1 MiB
it is compressed on the raw topic."""
SYMBOLS_MAX = 100
"""Of one request. So many it takes of options; of stocks and coins no limit is told."""
QUOTED_OPTIONS_MAX = 1_000
"""Of the larger plan; the basic one has 200, which the venue says. It takes no star for them."""
NO_RULE = SequenceRule.NONE


LITERAL = "-"
"""For ``asof``: a symbol means itself, as on the stream. Without it the venue maps symbols through renames, as of
today: asked for META in 2021 it gives what was FB."""


class Alpaca(Exchange):
    name = "alpaca"
    parser_version = 2
    changes: ClassVar[Mapping[str, str]] = {
        "2025-11-03": "sizes of quotes are shares, no more round lots",
        "2026": "overnight feeds (`boats`, `overnight`); history maps renamed symbols unless `asof=-`",
    }
    websocket_url = "wss://stream.data.alpaca.markets/v2/sip"
    rest_url = "https://data.alpaca.markets"
    channels: ClassVar[tuple[Channel, ...]] = (
        Channel("trades", Kind.TRADE, NO_RULE, Kind.TRADE, 30),
        Channel("quotes", Kind.QUOTE, NO_RULE, Kind.QUOTE, 30),
        Channel("bars", Kind.BAR, NO_RULE, Kind.BAR, 180, interval_ns=NS_PER_MINUTE),
        Channel("updatedBars", Kind.BAR, NO_RULE, Kind.BAR, interval_ns=NS_PER_MINUTE),
        Channel("dailyBars", Kind.BAR, NO_RULE, Kind.BAR, interval_ns=NS_PER_DAY),
        Channel("statuses", Kind.STATUS, NO_RULE),
        Channel("lulds", Kind.STATUS, NO_RULE),
        Channel("corrections", Kind.CORRECTION, NO_RULE, Kind.TRADE),
        Channel("cancelErrors", Kind.CORRECTION, NO_RULE, Kind.TRADE),
    )
    default_channels: ClassVar[tuple[str, ...]] = (
        "trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds",
    )  # fmt: skip
    ignored_names: ClassVar[Mapping[str, str]] = {
        "success": "control message: connected, authenticated",
        "subscription": "control message: what the connection is subscribed to",
        "error": "control message or a refused request; what it means is told as a Fault",
        "empty_frame": "an array without events",
        "empty_page": "a history answer without rows",
        "i": "auction imbalance",
        "n": "news",
        "snapshot": "the venue's own summary: latest trade, quote and bars of a symbol",
    }
    ignored_events: ClassVar[Mapping[str, str]] = {"i": "i", "n": "n"}
    default_symbols: ClassVar[tuple[str, ...]] = ("AAPL", "MSFT", "NVDA", "AMZN", "TSLA", "SPY")
    key_variables = (("ALPACA_API_KEY", "APCA_API_KEY_ID"), ("ALPACA_API_SECRET", "APCA_API_SECRET_KEY"))
    connections_max = 1
    budgets = (Budget(200, 60.0),)
    """Of the basic plan; the larger one has 10,000."""
    history: ClassVar[Mapping[Kind, History]] = dict.fromkeys(
        (Kind.TRADE, Kind.QUOTE, Kind.BAR), History("time")
    )
    history_together: ClassVar[Mapping[Kind, int]] = {Kind.BAR: SYMBOLS_MAX}
    event_time_min_ns = 1_451_606_400_000_000_000
    """2016-01-01, where the venue's history begins."""
    calendar = "XNYS"
    actions_paths: ClassVar[tuple[str, ...]] = (
        "/v1/corporate-actions?start={from_day}&end={to_day}&limit=1000&sort=asc",
    )
    """By the day on which they are processed, it seems."""
    ticker_market: ClassVar[str] = "US"
    are_perpetuals: ClassVar[bool] = False
    history_path: ClassVar[str] = "/v2/stocks"
    history_query: ClassVar[Mapping[str, str]] = {"feed": "sip", "asof": LITERAL}

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        readers = Readers(self, self.are_perpetuals)
        self._events = Tagged("T", readers.of_stream(), self.ignored_events, ("S",))
        self._answers = answers.AnswerReader(readers)
        self._grants = Grants()
        self._handshake = Handshake({"connected": self._login, "authenticated": self._subscribe})

    @classmethod
    def read_actions(cls, payload: bytes) -> Iterable[CorporateAction]:
        return actions.read_actions(cls.name, payload)

    # the connection

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return base_url

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        """The server speaks first; ``parse`` answers its ``connected`` and ``authenticated``."""
        self._handshake.subscription = subscription
        return ()

    def headers(self, request: Request, now_ns: int) -> Mapping[str, str]:
        if not self.credentials.key:
            return {}
        return {"APCA-API-KEY-ID": self.credentials.key, "APCA-API-SECRET-KEY": self.credentials.secret}

    def _login(self, subscription: Subscription) -> Reply:
        return self._reply({"action": "auth", "key": self.credentials.key, "secret": self.credentials.secret})

    def _subscribe(self, subscription: Subscription, action: str = "subscribe") -> Reply:
        return self._reply({"action": action} | dict.fromkeys(_asked(subscription), subscription.symbols))

    def resubscribe(self, subscription: Subscription) -> Sequence[str | bytes]:
        return [self._subscribe(subscription, action).payload for action in ("unsubscribe", "subscribe")]

    def unanswered(self) -> Sequence[str]:
        asked = self._handshake.subscription
        if asked is None:
            return ()
        return self._grants.unanswered(f"{name}.{it}" for name in _asked(asked) for it in asked.symbols)

    def _reply(self, message: Mapping[str, Any]) -> Reply:
        return Reply(msgspec.json.encode(message).decode())

    def _control(self, tag: str, raw: bytes | Raw, index: int) -> Sequence[Outcome] | None:
        """``{"T":"success","msg":"connected"}``, ``{"T":"error","code":406,"msg":"connection limit exceeded"}``"""
        if tag not in _CONTROLS:
            return None
        said = msgspec.json.decode(raw, type=wire.Control)
        if tag == "subscription":
            lists = {name: them for name, them in msgspec.json.decode(raw).items() if isinstance(them, list)}
            self._grants.grant(f"{name}.{it}" for name, them in lists.items() for it in them)
            return told(tag, index, Fault(FaultKind.READY, tag, ""))
        if tag == "error":
            kind = _FAULTS.get(said.code, FaultKind.TRANSIENT)
            return told(tag, index, kind and Fault(kind, str(said.code), said.msg))
        if self._handshake.knows(said.msg):
            return self._handshake.take(tag, said.msg, "", index)
        return told(tag, index)

    # frames

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        """About 2.4 µs for a trade, 3.3 µs for a quote, in frames of several."""
        outcomes = self._events.read(frame, frame.payload, _STREAM)
        return self._otherwise(frame) if outcomes is None else outcomes or [Ignored("empty_frame")]

    def _otherwise(self, frame: Frame) -> Sequence[Outcome]:
        """Not an array of market data in JSON: msgpack, an answer, or an array with something else in it."""
        try:
            payload = json_of(frame.payload) if frame.payload[:1] >= b"\x80" else readable(frame).payload
        except UNDECODABLE as error:
            return [Rejected(Code.UNDECODABLE, str(error))]
        if payload.lstrip()[:1] == b"{":
            return self._answer(frame, payload)
        outcomes = self._events.read(frame, payload, _STREAM)
        outcomes = outcomes or self._events.read_each(frame, payload, _STREAM, self._control)
        return outcomes or [Ignored("empty_frame")]

    def _answer(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        try:
            answer = answers.decode_answer(payload)
            if answer.T:
                return self._events.read_element(frame, 0, payload, _STREAM, self._control)
            return self._answers.read(frame, answer, payload)
        except UNDECODABLE as error:
            return [Ignored("snapshot")] if answers.is_snapshot(payload) else [rejected(error, 0, "")]

    # requests

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        """By time, to the ns; bars of one minute, not adjusted for splits, as the stream sends them, of several symbols
        one after the other."""
        if kind not in self.history:
            return
        rows_max = SEVERAL_ROWS_MAX if SEPARATOR in venue_symbol else PAGE_ROWS_MAX
        query = {
            "symbols": venue_symbol, "start": rfc3339(start_ns), "end": rfc3339(end_ns - 1),
            "limit": str(rows_max), "sort": "asc", **self.history_query,
        }  # fmt: skip
        if kind is Kind.BAR:
            query["timeframe"] = "1Day" if channel == "dailyBars" else "1Min"
            query |= {"adjustment": "raw"} if self.history_path == "/v2/stocks" else {}
        path = f"{self.history_path}/{_HISTORY_NAMES[kind]}?{urlencode(query)}"
        yield Request(path, kind, venue_symbol, 1, end_ns)

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        try:
            return by_token(request, "page_token", answers.decode_answer(frame.payload).next_page_token)
        except UNDECODABLE as error:
            raise VenueError(f"{request.path}: no page: {error}") from None


class AlpacaIex(Alpaca):
    """Trades and quotes of one exchange only, on the free plan: 30 symbols for each of the two."""

    name = "alpaca_iex"
    websocket_url = "wss://stream.data.alpaca.markets/v2/iex"
    history_query: ClassVar[Mapping[str, str]] = {"feed": "iex", "asof": LITERAL}


class AlpacaDelayed(Alpaca):
    """All of the market, 15 minutes late. Its history is that of ``alpaca``, which has no feed of this name."""

    name = "alpaca_delayed"
    websocket_url = "wss://stream.data.alpaca.markets/v2/delayed_sip"
    delay_s = 900.0


class AlpacaBoats(Alpaca):
    """The night of the Blue Ocean ATS, 20:00 to 04:00 in New York before each day of trading; a channel may
    be silent for long. https://docs.alpaca.markets/us/docs/245-trading"""

    name = "alpaca_boats"
    changes: ClassVar[Mapping[str, str]] = {
        **Alpaca.changes,
        "2026-10-12": "a session before each day of trading: Sunday to Thursday, none on the eve of a holiday",
    }
    websocket_url = "wss://stream.data.alpaca.markets/v1beta1/boats"
    channels = tuple(replace(channel, stale_after_s=0.0) for channel in Alpaca.channels[:5])
    default_channels = ("trades", "quotes", "bars")
    history_query: ClassVar[Mapping[str, str]] = {"feed": "boats", "asof": LITERAL}
    calendar = OVERNIGHT


class AlpacaOvernight(AlpacaBoats):
    """What the venue derives from ``boats``, 15 minutes late, on the free plan."""

    name = "alpaca_overnight"
    websocket_url = "wss://stream.data.alpaca.markets/v1beta1/overnight"
    delay_s = 900.0


class AlpacaTest(Alpaca):
    """The stream that never closes, with one invented stock."""

    name = "alpaca_test"
    websocket_url = "wss://stream.data.alpaca.markets/v2/test"
    default_symbols = ("FAKEPACA",)
    actions_paths, ticker_market = (), ""
    default_channels = ("trades", "quotes", "bars")
    calendar = "24/7"


class AlpacaOptions(Alpaca):
    """The stream speaks msgpack only. History has trades and bars, no quotes."""

    name = "alpaca_options"
    changes: ClassVar[Mapping[str, str]] = {}
    websocket_url = "wss://stream.data.alpaca.markets/v1beta1/opra"
    channels = (
        Channel("trades", Kind.TRADE, NO_RULE, Kind.TRADE, 60),
        Channel("quotes", Kind.QUOTE, NO_RULE, None, 60, symbols_max=QUOTED_OPTIONS_MAX),
        Channel("bars", Kind.BAR, NO_RULE, Kind.BAR, interval_ns=NS_PER_MINUTE),
    )
    default_channels = ("trades", "quotes")
    default_symbols = ("SPY261218C00600000",)
    history = dict.fromkeys((Kind.TRADE, Kind.BAR), History("time"))
    history_path = "/v1beta1/options"
    actions_paths, ticker_market = (), ""
    history_query: ClassVar[Mapping[str, str]] = {}

    def handshake_headers(self, now_ns: int) -> Mapping[str, str]:
        return {"Content-Type": "application/msgpack"}

    def _reply(self, message: Mapping[str, Any]) -> Reply:
        return Reply(msgspec.msgpack.encode(message))


class AlpacaOptionsIndicative(AlpacaOptions):
    """Trades 15 minutes late, and quotes that are made up: never to be mixed with those of ``alpaca_options``."""

    name = "alpaca_options_indicative"
    websocket_url = "wss://stream.data.alpaca.markets/v1beta1/indicative"
    history_query: ClassVar[Mapping[str, str]] = {"feed": "indicative"}


class AlpacaCrypto(Alpaca):
    name = "alpaca_crypto"
    changes: ClassVar[Mapping[str, str]] = {}
    websocket_url = "wss://stream.data.alpaca.markets/v1beta3/crypto/us"
    channels: ClassVar[tuple[Channel, ...]] = (
        Channel("trades", Kind.TRADE, NO_RULE, Kind.TRADE, 300),
        Channel("quotes", Kind.QUOTE, NO_RULE, Kind.QUOTE, 60),
        Channel("bars", Kind.BAR, NO_RULE, Kind.BAR, 300, interval_ns=NS_PER_MINUTE),
        Channel("updatedBars", Kind.BAR, NO_RULE, Kind.BAR, interval_ns=NS_PER_MINUTE),
        Channel("dailyBars", Kind.BAR, NO_RULE, Kind.BAR, interval_ns=NS_PER_DAY),
        Channel("orderbooks", Kind.BOOK, NO_RULE),
    )
    default_channels: ClassVar[tuple[str, ...]] = (
        "trades", "quotes", "bars", "updatedBars", "dailyBars", "orderbooks",
    )  # fmt: skip
    default_symbols = ("BTC/USD", "ETH/USD")
    calendar = "24/7"
    history_path = "/v1beta3/crypto/us"
    actions_paths, ticker_market = (), ""
    history_query: ClassVar[Mapping[str, str]] = {}


class AlpacaCryptoPerps(AlpacaCrypto):
    """Perpetuals, in beta and outside the USA: what is asked for is the latest of each, so there is no history."""

    name = "alpaca_crypto_perps"
    websocket_url = "wss://stream.data.alpaca.markets/v1beta1/crypto-perps/global"
    channels = (
        *(replace(channel, repair=None) for channel in AlpacaCrypto.channels),
        Channel("pricing", Kind.STATS, NO_RULE, None, 60),
    )
    default_channels = (*AlpacaCrypto.default_channels, "pricing")
    default_symbols = ("BTC-PERP", "ETH-PERP")
    history: ClassVar[Mapping[Kind, History]] = {}
    are_perpetuals = True


def _asked(subscription: Subscription) -> list[str]:
    return [name for name in subscription.channels if name not in _COME_WITH_TRADES]


_FAULTS: Mapping[int, FaultKind | None] = {
    **dict.fromkeys((400, 410, 412, 413), FaultKind.REQUEST),  # syntax, action, only msgpack, no star
    **dict.fromkeys((401, 402, 404), FaultKind.AUTHENTICATION),
    403: None,  # already authenticated: nothing is wrong
    405: FaultKind.SUBSCRIPTION_LIMIT,
    406: FaultKind.CONNECTION_LIMIT,
    407: FaultKind.SLOW_CLIENT,
    **dict.fromkeys((408, 409, 411), FaultKind.ENTITLEMENT),  # v2, subscription, scope
    500: FaultKind.TRANSIENT,
}
"""https://docs.alpaca.markets/docs/streaming-market-data#errors"""
_STREAM = wire.Page()
_CONTROLS = frozenset({"success", "subscription", "error"})
_COME_WITH_TRADES = frozenset({"corrections", "cancelErrors"})
_HISTORY_NAMES = {Kind.TRADE: "trades", Kind.QUOTE: "quotes", Kind.BAR: "bars"}
