"""Series kept up to date by the calendar of their releases: asked for again on the days on which they are told anew.

What was done is kept below ``state_dir/observations``, a file a source: the day, by series, up to which it has all.
That day itself is asked for again, because a release may come later on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from etl.adapter.contract import Exchange
from etl.exchanges import load as load_exchange
from etl.ingest.backfill import run
from etl.ingest.backfill_jobs import WHOLE, day_of, make_job
from etl.model.records import Frame, Kind
from etl.model.times import NS_PER_DAY, parse_ns
from etl.settings import Settings
from etl.sources.access import VenueAccess
from etl.stores.files import write_whole

PAGES_MAX = 100
BEGIN = "1900-01-01"
"""From where a series is fetched that was never asked for."""


def refresh(settings: Settings, now_ns: int) -> dict[str, int]:
    """Rows by series, of those that had a release since they were last asked for. Raises ``VenueError``; series that
    were done by then stay done."""
    today, rows = day_of(now_ns), dict[str, int]()
    for exchange in map(load_exchange, settings.venues.names):
        if Kind.OBSERVATION not in exchange.history:
            continue
        path = settings.state_path / "observations" / f"{exchange.name}.json"
        done = _read(path)
        wanted = {one: done.get(one, BEGIN) for one in settings.backfill.series or exchange.default_symbols}
        due = asyncio.run(_due(VenueAccess.from_settings(settings, exchange), wanted, today))
        for series in due:
            end_ns = now_ns - now_ns % NS_PER_DAY + NS_PER_DAY
            job = make_job(settings, exchange.name, [series], [WHOLE], parse_ns(wanted[series]), end_ns)
            rows[series] = run(settings, job).rows
            done[series] = today
            write_whole(path, msgspec.json.encode(done))
    return rows


def has_release(days: Sequence[str], since: str, today: str) -> bool:
    """Whether one of ``days`` lies in [since, today]."""
    return any(since <= day <= today for day in days)


async def _due(access: VenueAccess, wanted: Mapping[str, str], today: str) -> list[str]:
    """Those without a past here, and those whose release has a day since then."""
    due = []
    async with access:
        parser = access.parser()
        for series, since in wanted.items():
            if since == BEGIN or has_release(await _days(access, parser, series, since), since, today):
                due.append(series)
    return due


async def _days(access: VenueAccess, parser: Exchange, series: str, since: str) -> Sequence[str]:
    number = 0
    for first in parser.calendar_requests(series, since):
        async for answer in access.history.pages(first, PAGES_MAX):
            number += 1
            place = (answer.endpoint, answer.receive_time_ns, answer.payload)
            parser.parse(Frame(parser.name, "calendar", number, *place))
    return parser.release_days(series)


def _read(path: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
