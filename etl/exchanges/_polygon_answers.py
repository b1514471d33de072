"""Polygon's answers to requests: where their rows are, whose, of which interval, and what it means that there are none.

``{"results":[…],"status":"OK","request_id":"…","next_url":"…"}`` and its older relatives.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

import msgspec
from msgspec import Raw

from etl.adapter.contract import Fault, FaultKind, Ignored, Outcome, Rejected
from etl.adapter.fields import UNDECODABLE, inferred_interval, text_of
from etl.adapter.handshake import kind_of_words, told
from etl.exchanges import _polygon_wire as wire
from etl.exchanges._polygon_wire import Page
from etl.model.codes import Code
from etl.model.times import NS_PER_MS


def page_of(endpoint: str, answer: wire.Answer, bars: Sequence[Raw]) -> Page:
    """What an answer to ``endpoint`` says of its rows; the interval of ``bars`` by their starts where no address names
    it."""
    addresses = (endpoint, answer.next_url or "")
    symbol = text_of(answer.ticker) or text_of(answer.symbol) or text_of(answer.pair)
    symbol = symbol or next((unquote(named[1]) for it in addresses if (named := _TICKER.search(it))), "")
    for address in addresses:
        if span := _RANGE.search(address):
            return Page(symbol, span[1] + _SPANS.get(span[2], span[2]))
    try:
        starts = [msgspec.json.decode(row, type=wire.BarStart).t * NS_PER_MS for row in bars]
    except UNDECODABLE:
        return Page(symbol)
    return Page(symbol, inferred_interval([starts]), ("interval_inferred",))


def without_rows(answer: wire.Answer) -> Sequence[Outcome]:
    if _said(answer.tickers) or _said(answer.ticker)[:1] == b"{" or _said(answer.open):
        return [Ignored("snapshot")]
    status, text = answer.status or "", answer.error or answer.message or ""
    kind = kind_of_words(FAULTS, f"{status} {text}")
    if kind is not None:
        return told("status", 0, Fault(kind, status, text))
    if status in ("OK", "DELAYED", "success") or answer.resultsCount == 0:
        return [Ignored("empty_page")]
    return [Rejected(Code.UNKNOWN_MESSAGE, f"an answer of unknown shape: status {answer.status!r}")]


def _said(raw: Raw) -> bytes:
    """Nothing for what is absent or null."""
    return bytes(raw).removeprefix(b"null")


def array_of(*candidates: Raw) -> bytes:
    """The first that says anything; a single row as a page of one."""
    rows = next((said for said in map(_said, candidates) if said), b"[]")
    return b"[" + rows + b"]" if rows[:1] == b"{" else rows


_SPANS = {"second": "s", "minute": "m", "hour": "h", "day": "d", "week": "w", "month": "mo", "year": "y"}
_TICKER = re.compile(
    r"/(?:v3/trades|v3/quotes|v2/aggs/ticker|v2/last/trade|v2/last/nbbo|v2/ticks/stocks/(?:trades|nbbo))/([^/?{}]+)"
)
_RANGE = re.compile(r"/range/([0-9]+)/([a-z]+)")
FAULTS = (
    ("your plan", FaultKind.ENTITLEMENT),
    ("not_authorized", FaultKind.ENTITLEMENT),
    ("not authorized", FaultKind.ENTITLEMENT),
    ("not entitled", FaultKind.ENTITLEMENT),
    ("auth_failed", FaultKind.AUTHENTICATION),
    ("api key", FaultKind.AUTHENTICATION),
    ("max_connections", FaultKind.CONNECTION_LIMIT),
    ("maximum number of websocket connections", FaultKind.CONNECTION_LIMIT),
    ("exceeded the maximum requests", FaultKind.RATE_LIMIT),
    ("too many requests", FaultKind.RATE_LIMIT),
    ("slow", FaultKind.SLOW_CLIENT),
    ("auth_timeout", FaultKind.TRANSIENT),
    ("force_disconnect", FaultKind.TRANSIENT),
    ("error", FaultKind.TRANSIENT),
)
"""Words in a status and its message, the more telling first."""
