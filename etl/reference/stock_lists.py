"""What vendors of stocks list, and listed, into ``instruments`` of every store.

Symbols of stocks need no list to be understood, so that these are no part of what parsers know
(``etl/reference/instruments.py``). A ticker is one row: of several that had it, the one that is listed, else the one
that left last; whose it was before stands in ``symbol_names``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime

from msgspec import structs

from etl.adapter.contract import Request
from etl.errors import VenueError
from etl.exchanges import load as load_exchange
from etl.model.records import Kind
from etl.model.reference import INSTRUMENTS, InstrumentState
from etl.model.times import NS_PER_S
from etl.reference.instrument_states import DELISTED
from etl.reference.instruments import LEAST_SHARE
from etl.reference.recorded import read, record
from etl.settings import Settings
from etl.sources.access import VenueAccess

PAGES_MAX = 1_000


def refresh_all(settings: Settings, now_ns: int) -> dict[str, int]:
    """``refresh`` for each of the settings' venues that has such a list; instruments by venue."""
    exchanges = [load_exchange(venue) for venue in settings.venues.names]
    return {
        exchange.name: refresh(settings, VenueAccess.from_settings(settings, exchange), now_ns)
        for exchange in exchanges
        if exchange.listed_paths
    }


def refresh(settings: Settings, access: VenueAccess, now_ns: int) -> int:
    """Fetch the lists and add what is new of them to every store; returns how many instruments they name. Raises
    ``VenueError`` for an answer that is none, or names less than half of what was known, and ``StoreError``."""
    name = access.exchange.name
    told = asyncio.run(_fetch(access))
    before = {row.venue_symbol: row for row in read(settings, INSTRUMENTS, [name], InstrumentState)}
    if settings.venues.live and len(told) < len(before) * LEAST_SHARE:
        raise VenueError(f"{name}: the list names {len(told)} instruments, {len(before)} were known")
    today = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).date()
    record(settings, INSTRUMENTS, states(told.values(), before, today), [name], now_ns)
    return len(told)


def states(
    told: Iterable[InstrumentState], before: Mapping[str, InstrumentState], today: date
) -> Iterator[InstrumentState]:
    """One for each that is told, and one for each of ``before`` that is told no more. Nobody says since when one is
    listed: a ticker that is new, or another's now, is so since the day on which that was seen."""
    named = set()
    for row in told:
        named.add(row.venue_symbol)
        former = before.get(row.venue_symbol)
        is_same = former is not None and (former.figi == row.figi or not (former.figi and row.figi))
        seen = today if before and row.status != DELISTED else None
        listed = former.listed_day if former is not None and is_same else seen
        yield structs.replace(row, listed_day=listed)
    for venue_symbol, former in before.items():
        if venue_symbol not in named:
            yield structs.replace(former, status=DELISTED, delisted_day=former.delisted_day or today)


def chosen(rows: Iterable[InstrumentState]) -> dict[str, InstrumentState]:
    """By ticker: the one that is listed, else the one that left last."""
    found: dict[str, InstrumentState] = {}
    for row in rows:
        other = found.get(row.venue_symbol)
        if other is None or _rank(row) > _rank(other):
            found[row.venue_symbol] = row
    return found


def _rank(row: InstrumentState) -> tuple[bool, date]:
    return row.status != DELISTED, row.delisted_day or date.min


async def _fetch(access: VenueAccess) -> dict[str, InstrumentState]:
    rows: list[InstrumentState] = []
    async with access:
        for path in access.exchange.listed_paths:
            async for page in access.history.pages(Request(path, Kind.STATUS, ""), PAGES_MAX):
                try:
                    rows += access.exchange.read_listed(page.payload)
                except ValueError as error:
                    raise VenueError(f"{access.exchange.name}: not a list of stocks: {error}") from None
    return chosen(rows)
