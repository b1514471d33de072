"""What exchanges traded last, with its ISIN, out of the newest of their daily files, into ``instruments``.

A file names what traded on its day: what it does not name stays as it was told, for nobody is delisted by a day
without a trade. The files lie where ``ETL_ARCHIVE_URL`` says; without it nothing is read.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from etl.errors import VenueError
from etl.exchanges import load as load_exchange
from etl.model.addresses import shown
from etl.model.records import Kind
from etl.model.reference import INSTRUMENTS, InstrumentState
from etl.model.times import NS_PER_S
from etl.reference.recorded import read, record
from etl.settings import Settings
from etl.sources import archive
from etl.sources.access import VenueAccess
from etl.sources.archive import ArchiveFile, ArchiveMissing

DAYS_BACK_MAX = 14
"""Longer than any run of holidays."""
BLOCK_BYTES_MAX = 1 << 20

_log = logging.getLogger(__name__)


def refresh_all(settings: Settings, now_ns: int) -> dict[str, int]:
    """``refresh`` for each of the settings' venues that has such files, if it is said where they lie; instruments by
    venue."""
    exchanges = [load_exchange(venue) for venue in settings.venues.names]
    return {
        exchange.name: refresh(
            settings, VenueAccess.from_settings(settings, exchange, needs_key=False), now_ns
        )
        for exchange in exchanges
        if exchange.listed_in_files and settings.venues.archive_url
    }


def refresh(settings: Settings, access: VenueAccess, now_ns: int) -> int:
    """Read the newest file and add what is new of it to every store; returns how many instruments it names, 0 where
    there is none of the last days. Raises ``VenueError`` for a file that is none, and ``StoreError``."""
    name = access.exchange.name
    told = asyncio.run(_newest(settings, access, now_ns))
    if not told:
        _log.warning("%s: no file of the last %s days", name, DAYS_BACK_MAX)
        return 0
    if unknown := sorted(symbol for symbol, row in told.items() if not row.isin):
        _log.warning(
            "%s: %s of %s instruments have no ISIN, %s first", name, len(unknown), len(told), unknown[0]
        )
    before = {row.venue_symbol: row for row in read(settings, INSTRUMENTS, [name], InstrumentState)}
    record(settings, INSTRUMENTS, (before | told).values(), [name], now_ns)
    return len(told)


async def _newest(settings: Settings, access: VenueAccess, now_ns: int) -> dict[str, InstrumentState]:
    """By the venue's symbol; empty where there is no file."""
    exchange, parser = access.exchange, access.parser()
    today = datetime.fromtimestamp((now_ns - exchange.archive_day_ns) // NS_PER_S, UTC).date()
    async with access:
        for days in range(DAYS_BACK_MAX):
            day = (today - timedelta(days=days)).isoformat()
            url = access.archive_url + parser.archive_path(Kind.BAR, "*", day)
            with TemporaryDirectory(prefix="archive-", dir=settings.state_path) as directory:
                try:
                    file = await archive.fetch(
                        access.session, url, Path(directory), exchange.archive_checksum
                    )
                except ArchiveMissing:
                    continue
                try:
                    return {row.venue_symbol: row for row in exchange.read_listed(_whole(file))}
                except ValueError as error:
                    raise VenueError(f"{shown(url)}: no list of instruments: {error}") from None
    return {}


def _whole(file: ArchiveFile) -> bytes:
    return b"".join(block.payload for block in file.blocks(BLOCK_BYTES_MAX))
