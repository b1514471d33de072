"""Splits of stocks, from the venues' reference data into ClickHouse: ``symbol_statistics`` adjusts by them."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta

import msgspec

from etl.adapter.contract import Request
from etl.adapter.splits import Split
from etl.errors import VenueError
from etl.exchanges import load as load_exchange
from etl.model.records import Kind
from etl.settings import Settings
from etl.sources.access import VenueAccess
from etl.stores.clickhouse_http import connect, insert_path

DAYS_BACK = 60
"""More than the days that the statistics look back."""
DAYS_AHEAD = 14
PAGES_MAX = 100


def refresh_all(settings: Settings, today: date) -> dict[str, int]:
    """``refresh`` for each of the settings' venues that tells its splits; splits by venue."""
    exchanges = [load_exchange(venue) for venue in settings.venues.names]
    return {
        exchange.name: refresh(settings, VenueAccess.from_settings(settings, exchange), today)
        for exchange in exchanges
        if exchange.splits_path
    }


def refresh(settings: Settings, access: VenueAccess, today: date) -> int:
    """Fetch the splits around ``today`` and keep them; returns how many there are. Again is harmless.

    Raises ``VenueError`` for an answer that is none, and ``StoreError``.
    """
    days = {"from_day": today - timedelta(days=DAYS_BACK), "to_day": today + timedelta(days=DAYS_AHEAD)}
    request = Request(access.exchange.splits_path.format(**days), Kind.STATUS, "")
    rows = [
        {"exchange": access.exchange.name, "symbol": s.symbol, "effective_day": s.day, "factor": s.factor}
        for s in asyncio.run(_fetch(access, request))
    ]
    with connect(settings) as client:
        statement = "INSERT INTO symbol_splits (exchange, symbol, effective_day, factor) FORMAT JSONEachRow"
        client.insert(insert_path(statement, {}), msgspec.json.Encoder().encode_lines(rows))
    return len(rows)


async def _fetch(access: VenueAccess, first: Request) -> list[Split]:
    """Every page."""
    found: list[Split] = []
    async with access:
        async for page in access.history.pages(first, PAGES_MAX):
            try:
                found += access.exchange.read_splits(page.payload)
            except ValueError as error:
                raise VenueError(f"{access.exchange.name}: not a list of splits: {error}") from None
    return found
