"""What Kalshi answers to requests: rows, lists, refusals, and where the next page begins."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import msgspec
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec import Raw, Struct

from etl.adapter.build import StreamCache
from etl.adapter.contract import Fault, FaultKind, Ignored, Outcome, Request, Subscription
from etl.adapter.dispatch import Reader, read_rows
from etl.adapter.fields import ABSENT, UNDECODABLE, inside, listing, rfc3339_ns, text_of
from etl.adapter.handshake import kind_of_words, told
from etl.adapter.paging import by_token, query_of, with_query
from etl.adapter.series import Contract
from etl.errors import UsageError, VenueError
from etl.exchanges import _kalshi_wire as wire
from etl.model.instruments import Instrument
from etl.model.records import Frame, Kind
from etl.model.times import NS_PER_MINUTE, NS_PER_S

REST_PATH = "/trade-api/v2"
MARKETS = f"{REST_PATH}/markets"
PAGE_ROWS = 1_000
BARS_MAX = 10_000
REQUEST_WEIGHT = 10
WALKS_MAX = 1_000
"""Histories that are being paged through at once, of which the first row is remembered."""
SIZE_STEP = "0.01"


class PriceRange(Struct):
    step: str


class Market(Struct):
    ticker: str
    open_time: str = ""
    status: str = ""
    notional_value_dollars: str = ""
    price_ranges: list[PriceRange] = []


class MarketPage(Struct):
    markets: list[Market]


class Page(Struct):
    cursor: str | None = ""
    trades: list[Raw] = []
    markets: list[Raw] = []


def instruments(payload: bytes) -> Iterable[Instrument]:
    """A market keeps its name. Its price has a step where it is the same from nothing to a dollar."""
    for market in listing(payload, MarketPage).markets:
        steps = {each.step for each in market.price_ranges}
        yield Instrument(
            market.ticker,
            market.ticker,
            steps.pop() if len(steps) == 1 else "",
            SIZE_STEP,
            settle="USD",
            contract_size=market.notional_value_dollars,
            status=market.status,
            listed_ns=rfc3339_ns(market.open_time) if market.open_time else 0,
        )


def contracts(payload: bytes) -> Iterable[Contract]:
    """The markets of a series that are open or will be."""
    for market in listing(payload, MarketPage).markets:
        yield Contract(market.ticker, rfc3339_ns(market.open_time) if market.open_time else 0)


def series_requests(prefix: str) -> Sequence[Request]:
    """Of the markets whose names begin with ``KXBTC15M-``: the venue takes one status at a time. Raises
    ``UsageError``."""
    series = prefix.removesuffix("-")
    if not series or series == prefix:
        raise UsageError(f"kalshi: {prefix}*: a series is asked for as {series or 'KXBTC15M'}-*")
    query = {"series_ticker": series, "limit": PAGE_ROWS}
    paths = [f"{MARKETS}?{urlencode(query | {'status': status})}" for status in ("open", "unopened")]
    return [Request(path, Kind.STATUS, "", REQUEST_WEIGHT) for path in paths]


def wanted(channel: str, subscription: Subscription) -> dict[str, Any]:
    """What a subscription to one channel says; what takes no names gets none, nor do all markets have one."""
    wanted: dict[str, Any] = {"channels": [channel]}
    if channel != wire.LIFECYCLE and "*" not in subscription.symbols:
        wanted["market_tickers"] = subscription.symbols
    return wanted | FLAGS.get(channel, {})


def series_of(symbol: str) -> str:
    series, dash, _ = symbol.partition("-")
    return series + dash if dash else ""


def history_requests(kind: Kind, venue_symbol: str, start_ns: int, end_ns: int) -> Iterator[Request]:
    """By whole seconds, with one more at each end, for it is not said whether they are included. Trades lie in two
    tiers, of the last three months or so and of before: only the venue knows which has a span."""
    start_s, end_s = start_ns // NS_PER_S - 1, -(-end_ns // NS_PER_S) + 1
    if kind is Kind.TRADE:
        query = {"ticker": venue_symbol, "min_ts": start_s, "max_ts": end_s, "limit": PAGE_ROWS}
        for tier in ("markets", "historical"):
            path = f"{REST_PATH}/{tier}/trades?{urlencode(query)}"
            yield Request(path, kind, venue_symbol, REQUEST_WEIGHT, end_ns, start_ns=start_ns)
    elif kind is Kind.BAR:
        step_s = BARS_MAX * NS_PER_MINUTE // NS_PER_S
        for first_s in range(start_s, end_s, step_s):
            span = {"start_ts": first_s, "end_ts": min(end_s, first_s + step_s - 1)}
            query = {"market_tickers": venue_symbol, "period_interval": 1} | span
            path = f"{MARKETS}/candlesticks?{urlencode(query)}"
            yield Request(path, kind, venue_symbol, REQUEST_WEIGHT, end_ns)


def answer(
    frame: Frame, message: Mapping[str, Raw], streams: StreamCache[tuple[str, str]]
) -> Sequence[Outcome]:
    """Nothing where it is none. Raises one of ``UNDECODABLE``."""
    query = query_of(frame.endpoint)[1]
    if "trades" in message:
        place = wire.Place(streams, "", True, {})
        return read_rows(frame, message["trades"], _TRADES, place, query.get("ticker", "")) or [
            Ignored("empty")
        ]
    interval, length_ns = wire.INTERVALS.get(query.get("period_interval", ""), ("", 0))
    symbol = query.get("market_tickers", "")
    if "markets" in message and interval and symbol:
        bars = wire.BarPlace(streams[symbol, f"candlesticks_{interval}"], length_ns, interval)
        for market in msgspec.json.decode(message["markets"], type=list[dict[str, Raw]]):
            if text_of(market.get("market_ticker", ABSENT)) == symbol and "candlesticks" in market:
                return read_rows(frame, market["candlesticks"], _BARS, bars, symbol) or [Ignored("empty")]
        return [Ignored("empty")]
    for name in ("markets", "orderbook_fp", "orderbook"):
        if name in message:
            return [Ignored("market_list" if name == "markets" else "orderbook")]
    refusal = _refusal(message)
    return told("error", 0, refusal) if refusal else ()


def _refusal(message: Mapping[str, Raw]) -> Fault | None:
    """``{"error":{"code":…,"message":…}}``, ``{"error":"…"}``, ``{"code":…,"message":…}``, ``{"msg":"…"}``"""
    inner = inside(message.get("error", ABSENT)) or message
    texts = [text_of(inner.get(name, ABSENT)) for name in ("code", "message", "msg", "details", "error")]
    reason = " ".join(filter(None, texts))
    if not reason or not message.keys() <= _OF_REFUSALS:
        return None
    return Fault(kind_of_words(_WORDS, reason) or FaultKind.REQUEST, texts[0] or "error", reason)


class Walks:
    """The histories that are being read page by page. The venue answers a cursor that it does not know with the first
    page again: a walk that comes back to its first row has no end."""

    def __init__(self) -> None:
        self._first_rows: dict[str, bytes] = {}

    def following(self, request: Request, frame: Frame) -> Request | None:
        try:
            page = msgspec.json.decode(frame.payload, type=Page)
        except UNDECODABLE as error:
            raise VenueError(f"{request.path}: no page: {error}") from None
        walk = with_query(request, {}, ("cursor",)).path
        rows = page.trades or page.markets
        newest = bytes(rows[0]) if rows else b""
        first = self._first_rows.pop(walk, b"") if "cursor" in query_of(request.path)[1] else b""
        if first and first == newest:
            raise VenueError(f"{request.path}: the cursor leads back to the first page")
        following = by_token(request, "cursor", page.cursor)
        if following is not None:
            if len(self._first_rows) >= WALKS_MAX:
                self._first_rows.clear()
            self._first_rows[walk] = first or newest
        return following


@lru_cache(maxsize=4)
def _private_key(pem: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError) as error:
        raise UsageError(f"KALSHI_PRIVATE_KEY_PATH: no private key: {error}") from None
    if not isinstance(key, RSAPrivateKey):
        raise UsageError("KALSHI_PRIVATE_KEY_PATH: a private key, and none of RSA")
    return key


def signature(secret: str, text: str) -> str:
    """Base64 of RSA-PSS over SHA-256. A secret that is no PEM, as the simulated venue's, stands for itself. Raises
    ``UsageError`` for another key."""
    if not secret.startswith("-----BEGIN"):
        return secret
    pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH)
    return base64.b64encode(_private_key(secret).sign(text.encode(), pss, SHA256())).decode()


FLAGS = {wire.BOOK: {"use_yes_price": True}, "ticker": {"send_initial_snapshot": True}}
_TRADES = Reader(wire.TradeEvent, wire.read_trade)
_BARS = Reader(wire.Candlestick, wire.read_bar)
_OF_REFUSALS = frozenset({"error", "code", "message", "msg", "details", "service"})
_WORDS = (
    ("too many requests", FaultKind.RATE_LIMIT),
    ("header_timestamp_expired", FaultKind.AUTHENTICATION),
    ("authentication_error", FaultKind.AUTHENTICATION),
    ("signature", FaultKind.AUTHENTICATION),
    ("unavailable", FaultKind.TRANSIENT),
    ("internal", FaultKind.TRANSIENT),
)
FAULTS: Mapping[str, FaultKind | None] = {
    "6": None,  # subscribed already: nothing is wrong
    "9": FaultKind.AUTHENTICATION,
    "25": FaultKind.SLOW_CLIENT,
    "26": FaultKind.SUBSCRIPTION_LIMIT,
    "27": FaultKind.RATE_LIMIT,
    **dict.fromkeys(("1", "10", "17", "18"), FaultKind.TRANSIENT),
}
"""Codes of the socket; all others call what we sent wrong."""
