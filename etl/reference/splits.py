"""Splits of stocks, from the venues' reference data into ClickHouse: ``symbol_statistics`` adjusts by them."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta

import msgspec

from etl.adapter.contract import Credentials, Exchange, Request, Split
from etl.errors import VenueError
from etl.model.records import Frame, Kind
from etl.settings import Settings
from etl.sources.history import History
from etl.sources.limiter import Limiter
from etl.stores.clickhouse_http import connect, insert_path

DAYS_BACK = 60
"""More than the days that the statistics look back."""
DAYS_AHEAD = 14
PAGES_MAX = 100


def refresh(
    settings: Settings,
    exchange: type[Exchange],
    base_url: str,
    keys: Credentials,
    limiter: Limiter,
    today: date,
) -> int:
    """Fetch the splits around ``today`` and keep them; returns how many there are. Again is harmless.

    Raises ``VenueError`` for an answer that is none, and ``StoreError``.
    """
    days = {"from_day": today - timedelta(days=DAYS_BACK), "to_day": today + timedelta(days=DAYS_AHEAD)}
    request = Request(exchange.splits_path.format(**days), Kind.STATUS, "")
    found = asyncio.run(_fetch(exchange, base_url, keys, limiter, request))
    rows = [
        {"exchange": exchange.name, "symbol": s.symbol, "effective_day": s.day, "factor": s.factor}
        for s in found
    ]
    with connect(settings) as client:
        statement = "INSERT INTO symbol_splits (exchange, symbol, effective_day, factor) FORMAT JSONEachRow"
        client.insert(insert_path(statement, {}), msgspec.json.Encoder().encode_lines(rows))
    return len(rows)


async def _fetch(
    exchange: type[Exchange], base_url: str, keys: Credentials, limiter: Limiter, first: Request
) -> list[Split]:
    """Every page."""
    found: list[Split] = []
    parser, request = exchange(keys), first
    async with History(base_url, parser, limiter) as history:
        for _ in range(PAGES_MAX):
            answer = await history.fetch(request)
            try:
                found += exchange.read_splits(answer.payload)
            except ValueError as error:
                raise VenueError(f"{exchange.name}: not a list of splits: {error}") from None
            frame = Frame(exchange.name, "", 0, answer.endpoint, answer.receive_time_ns, answer.payload)
            following = parser.next_request(request, frame)
            if following is None:
                return found
            request = following
    raise VenueError(f"{exchange.name}: more than {PAGES_MAX} pages of splits")
