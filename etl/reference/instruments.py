"""The venues' instrument lists, fetched anew and kept below ``state_dir``; the shipped ones stand in until then."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from etl.adapter.contract import Credentials, Exchange, shipped_instruments
from etl.errors import VenueError
from etl.exchanges import load as load_exchange
from etl.model.instruments import Instruments
from etl.settings import Settings
from etl.sources.access import VenueAccess
from etl.stores.files import write_whole

PAGES_MAX = 1_000
PAGE_END = b"\x1e"
"""Stands between the pages of a kept list: the record separator of JSON text sequences, which no JSON text holds."""
LEAST_SHARE = 0.5
"""A list that lost more than half of what was known is taken for a broken answer."""


def known(settings: Settings, exchange: type[Exchange]) -> Instruments:
    """The newest list there is."""
    try:
        kept = _path(settings, exchange).read_bytes()
    except FileNotFoundError:
        return shipped_instruments(exchange)
    return _instruments(exchange, kept.split(PAGE_END))


def _instruments(exchange: type[Exchange], pages: Sequence[bytes]) -> Instruments:
    return Instruments(item for page in pages for item in exchange.read_instruments(page))


def with_known(settings: Settings, exchange: type[Exchange]) -> type[Exchange]:
    """``exchange``, whose parsers know the newest list from the start. A process goes on with the list that it began
    with: a symbol that was renamed in between would be two."""
    newest = known(settings, exchange)

    return _with(exchange, newest)


def _with(exchange: type[Exchange], newest: Instruments) -> type[Exchange]:
    class Known(exchange):  # type: ignore[valid-type, misc]
        versions = tuple((until_ns, _with(former, newest)) for until_ns, former in exchange.versions)

        def __init__(
            self, credentials: Credentials | None = None, instruments: Instruments | None = None
        ) -> None:
            super().__init__(credentials, newest if instruments is None else instruments)

    return Known


def refresh_all(settings: Settings) -> dict[str, int]:
    """``refresh`` for each of the settings' venues that has a list; instruments by venue."""
    exchanges = [load_exchange(venue) for venue in settings.venues.names]
    return {
        exchange.name: refresh(settings, VenueAccess.from_settings(settings, exchange))
        for exchange in exchanges
        if exchange.listing_requests()
    }


def refresh(settings: Settings, access: VenueAccess) -> int:
    """Fetch and keep the list of a venue that has one; returns how many instruments it names.

    Raises ``VenueError`` for an answer that is none, and keeps the old list then.
    """
    exchange, pages = access.exchange, asyncio.run(_fetch(access))
    try:
        found = _instruments(exchange, pages)
    except ValueError as error:
        raise VenueError(f"{exchange.name}: {error}") from None
    before = len(known(settings, exchange))
    if settings.venues.live and len(found) < before * LEAST_SHARE:
        raise VenueError(f"{exchange.name}: the list names {len(found)} instruments, {before} were known")
    path = _path(settings, exchange)
    write_whole(path, PAGE_END.join(pages))
    return len(found)


async def _fetch(access: VenueAccess) -> list[bytes]:
    async with access:
        return [
            page.payload
            for request in access.exchange.listing_requests()
            async for page in access.history.pages(request, PAGES_MAX)
        ]


def _path(settings: Settings, exchange: type[Exchange]) -> Path:
    return settings.state_path / "instruments" / f"{exchange.name}.json"
