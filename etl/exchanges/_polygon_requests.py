"""Addresses of Polygon's history of one symbol."""

from __future__ import annotations

from urllib.parse import urlencode

from etl.model.records import Kind
from etl.model.times import NS_PER_MS

PAGE_ROWS_MAX = 3_000
"""The venue allows 50,000; so few, an answer stays below 1 MiB and is one frame."""


def path_of(kind: Kind, ticks: str, bars: str, start_ns: int, end_ns: int, channel: str) -> str:
    """``ticks`` and ``bars``: the symbol as each writes it, quoted."""
    start_ms, end_ms = start_ns // NS_PER_MS, -(-end_ns // NS_PER_MS)
    if kind is Kind.BAR:
        span = "second" if channel == "A" else "minute"
        path = f"/v2/aggs/ticker/{bars}/range/1/{span}/{start_ms}/{end_ms - 1}"
        query: dict[str, str | int] = {"adjusted": "false", "sort": "asc"}
    else:
        path = f"/v3/{'trades' if kind is Kind.TRADE else 'quotes'}/{ticks}"
        query = {"timestamp.gte": start_ms * NS_PER_MS, "timestamp.lt": end_ms * NS_PER_MS}
        query |= {"order": "asc", "sort": "timestamp"}
    return f"{path}?{urlencode(query | {'limit': PAGE_ROWS_MAX})}"
