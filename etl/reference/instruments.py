"""The venues' instrument lists, fetched anew and kept below ``state_dir``; the shipped ones stand in until then."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from etl.adapter.contract import Credentials, Exchange, Request, shipped_instruments
from etl.errors import VenueError
from etl.model.instruments import Instruments
from etl.model.records import Kind
from etl.settings import Settings
from etl.sources.history import History
from etl.sources.limiter import Limiter

REQUEST_WEIGHT = 20
LEAST_SHARE = 0.5
"""A list that lost more than half of what was known is taken for a broken answer."""


def known(settings: Settings, exchange: type[Exchange]) -> Instruments:
    """The newest list there is."""
    try:
        payload = _path(settings, exchange).read_bytes()
    except FileNotFoundError:
        return shipped_instruments(exchange)
    return Instruments(exchange.read_instruments(payload))


def with_known(settings: Settings, exchange: type[Exchange]) -> type[Exchange]:
    """``exchange``, whose parsers know the newest list from the start. A process goes on with the list that it began
    with: a symbol that was renamed in between would be two."""
    newest = known(settings, exchange)

    class Known(exchange):  # type: ignore[valid-type, misc]
        def __init__(
            self, credentials: Credentials | None = None, instruments: Instruments | None = None
        ) -> None:
            super().__init__(credentials, newest if instruments is None else instruments)

    return Known


def refresh(
    settings: Settings, exchange: type[Exchange], base_url: str, keys: Credentials, limiter: Limiter
) -> int:
    """Fetch and keep the list of a venue that has one; returns how many instruments it names.

    Raises ``VenueError`` for an answer that is none, and keeps the old list then.
    """
    payload = asyncio.run(_fetch(exchange, base_url, keys, limiter))
    try:
        found = Instruments(exchange.read_instruments(payload))
    except ValueError as error:
        raise VenueError(f"{exchange.name}: {error}") from None
    before = len(known(settings, exchange))
    if settings.live and len(found) < before * LEAST_SHARE:
        raise VenueError(f"{exchange.name}: the list names {len(found)} instruments, {before} were known")
    path = _path(settings, exchange)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(payload)
    unfinished.rename(path)
    return len(found)


async def _fetch(exchange: type[Exchange], base_url: str, keys: Credentials, limiter: Limiter) -> bytes:
    request = Request(exchange.instruments_path, Kind.STATUS, "", REQUEST_WEIGHT)
    async with History(base_url, exchange(keys), limiter) as history:
        return (await history.fetch(request)).payload


def _path(settings: Settings, exchange: type[Exchange]) -> Path:
    return settings.state_path / "instruments" / f"{exchange.name}.json"
