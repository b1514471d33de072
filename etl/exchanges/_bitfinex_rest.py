"""Bitfinex's requests: trades and candles by time, the list of pairs. https://docs.bitfinex.com/reference/rest-public-trades

Rows are those of the stream. An answer whose first element is ``"error"`` is a refusal, whatever its status.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import unquote, urlencode

import msgspec
from msgspec import Raw

from etl.adapter import fields
from etl.adapter.build import StreamCache
from etl.adapter.contract import Fault, FaultCode, FaultKind, Ignored, Outcome, Rejected, Request
from etl.adapter.dispatch import Reader, elements, read_rows
from etl.adapter.fields import ABSENT, text_of
from etl.adapter.handshake import told
from etl.adapter.paging import After, query_of, rows_of, with_query
from etl.errors import VenueError
from etl.exchanges import _bitfinex_wire as wire
from etl.exchanges._bitfinex_talk import RATE_WAIT_S
from etl.exchanges._bitfinex_wire import Sent
from etl.model.codes import Code
from etl.model.instruments import Instrument
from etl.model.records import Frame, Kind
from etl.model.times import NS_PER_MS

PAGE_ROWS = 10_000
BUDGET = 60
TRADES_WEIGHT, CANDLES_WEIGHT = 6, 3
"""Of the budget, so that 10 requests of trades, or 20 of candles, go out in a minute; the venue takes 15 and 30."""
LIST = "/v2/conf/pub:list:pair:{},pub:map:currency:sym"
CODE_CHARACTERS_MAX = 40

_TRADES = Reader(wire.TradeRow, wire.read_trade)
_CANDLES = Reader(wire.Candle, wire.read_candle)
_PATH = re.compile(r"/v2/(trades|candles)/(?:trade:(\w+):)?([^/?]+)/hist$")
_PAGES = After("start", 1, 1, lambda ms: fields.time_ns(ms, NS_PER_MS), step=0)
_CANDLE_PAGES = After("start", 0, 0, lambda ms: fields.time_ns(ms, NS_PER_MS))
_FAULTS = {
    "10001": FaultKind.TRANSIENT,
    "10020": FaultKind.REQUEST,
    "10100": FaultKind.AUTHENTICATION,
    "10114": FaultKind.AUTHENTICATION,
    "11010": FaultKind.RATE_LIMIT,
    "20060": FaultKind.TRANSIENT,
}
FAULT_CODES = (
    *(
        FaultCode(500, kind, f'["error",{code},', RATE_WAIT_S if kind is FaultKind.RATE_LIMIT else 0.0)
        for code, kind in _FAULTS.items()
    ),
    FaultCode(429, FaultKind.RATE_LIMIT, "ratelimit", RATE_WAIT_S),
    FaultCode(429, FaultKind.CONNECTION_LIMIT, wait_s=RATE_WAIT_S),
)
"""A handshake that is one too many is refused by 429 and no word of a rate."""


def history_requests(
    kind: Kind, venue_symbol: str, start_ns: int, end_ns: int, interval: str
) -> Iterator[Request]:
    """Both ends are included, in ms; the oldest row comes first."""
    query = {
        "start": start_ns // NS_PER_MS, "end": -(-end_ns // NS_PER_MS) - 1, "limit": PAGE_ROWS, "sort": 1,
    }  # fmt: skip
    if kind is Kind.TRADE:
        path, weight = f"/v2/trades/{venue_symbol}/hist", TRADES_WEIGHT
    elif kind is Kind.BAR:
        path, weight = f"/v2/candles/trade:{interval}:{venue_symbol}/hist", CANDLES_WEIGHT
    else:
        return
    yield Request(f"{path}?{urlencode(query)}", kind, venue_symbol, weight, end_ns)


def next_request(request: Request, frame: Frame) -> Request | None:
    """Trades go on in the last row's millisecond, which ``page_end`` left aside; one that fills a page alone is passed.
    Raises ``VenueError``."""
    rows = rows_of(frame.payload)
    if rows[:1] == ["error"]:
        raise VenueError(f"{request.path}: {rows[1:]!r:.80}")
    if request.kind is Kind.BAR:
        return _CANDLE_PAGES.following(request, rows)
    following = _PAGES.following(request, rows)
    if following is not None and following.path == request.path:
        return with_query(following, {"start": int(query_of(following.path)[1]["start"]) + 1})
    return following


def read_answer(frame: Frame, payload: bytes, streams: StreamCache[tuple[str, str]]) -> Sequence[Outcome]:
    """Of a page of trades that is full the last millisecond is left aside: the next page begins with it. Raises one of
    ``UNREADABLE``."""
    path, query = query_of(frame.endpoint)
    asked = _PATH.search(unquote(path))
    rows = elements(payload)
    if rows and text_of(rows[0]) == "error":
        return told("error", 0, _fault_of(rows))
    if "/v2/conf/" in path:
        return (Ignored("exchange_info"),)
    if asked is None or (asked[1] == "candles") != bool(asked[2]):
        return (Rejected(Code.UNKNOWN_MESSAGE, f"rows of {frame.endpoint!r:.80}"),)
    symbol = asked[3]
    if symbol[:1] == "f":
        return (Ignored("funding"),)
    channel = f"candles.{asked[2]}" if asked[2] else "trades"
    sent = Sent(streams[symbol, channel])
    if asked[2]:
        return read_rows(frame, payload, _CANDLES, sent, symbol)
    return _without_last_ms(read_rows(frame, payload, _TRADES, sent, symbol), query)


def _without_last_ms(outcomes: list[Outcome], query: Mapping[str, str]) -> list[Outcome]:
    is_full = outcomes and query.get("sort") == "1" and query.get("limit") == str(len(outcomes))
    times_ns = [getattr(one, "event_time_ns", 0) for one in outcomes]
    if not is_full or times_ns[-1] in (0, times_ns[0]):
        return outcomes
    return [
        Ignored("page_end", index) if time_ns == times_ns[-1] else one
        for index, (one, time_ns) in enumerate(zip(outcomes, times_ns, strict=True))
    ]


def _fault_of(parts: Sequence[Raw]) -> Fault:
    """``["error",11010,"ratelimit: error"]``"""
    code, said = [*parts[1:3], ABSENT, ABSENT][:2]
    kind = _FAULTS.get(bytes(code).decode(), FaultKind.REQUEST)
    wait_s = RATE_WAIT_S if kind is FaultKind.RATE_LIMIT else 0.0
    return Fault(kind, bytes(code).decode()[:CODE_CHARACTERS_MAX], text_of(said), wait_s)


def read_instruments(payload: bytes, is_contract: bool) -> Iterable[Instrument]:
    """``[["BTCUSD","DUSK:USD","UDCUST"],[["UDC","USDC"],["UST","USDt"]]]``: pairs, and what their currencies are called
    elsewhere. A name stays the venue's where the other is none by our rules, or is another listed currency's."""
    try:
        pairs, names = msgspec.json.decode(payload, type=tuple[list[str], list[tuple[str, str]]])
    except fields.UNDECODABLE as error:
        raise ValueError(f"not an instrument list: {error}") from None
    cut = {pair: _currencies(pair, is_contract) for pair in pairs}
    listed = {name for both in cut.values() for name in both}
    known = {
        venue: other.upper()
        for venue, other in names
        if other.isascii() and other.isalnum() and other.upper() not in listed
    }
    for pair, (base, quote) in cut.items():
        symbol = f"{known.get(base, base)}-{known.get(quote, quote)}"
        yield Instrument(f"t{pair}", f"{symbol}-PERP" if is_contract else symbol)


def _currencies(pair: str, is_contract: bool) -> tuple[str, str]:
    """At the colon, or behind three letters; ``BTCF0:USTF0`` is the contract of BTC and UST."""
    base, colon, quote = pair.partition(":")
    if not colon:
        base, quote = pair[:3], pair[3:]
    return (base.removesuffix("F0"), quote.removesuffix("F0")) if is_contract else (base, quote)
