"""The sessions of the settings' venues, out of their calendars into the table ``sessions`` of every store."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import date, timedelta

from etl.adapter.contract import Exchange
from etl.adapter.market_calendar import ALWAYS, known_days, sessions_until
from etl.exchanges import load as load_exchange
from etl.model.reference import SESSIONS, MarketSession
from etl.reference.recorded import record
from etl.settings import Settings

DAYS_AHEAD = 400
"""Of a calendar that tells of more, which are computed and not announced."""
WARNED_DAYS = 60
"""So long before a calendar ends each refresh says so: a year is announced in the last month of the one before."""

_log = logging.getLogger(__name__)


def refresh(settings: Settings, today: date, now_ns: int) -> dict[str, int]:
    """Bring every store up to what the calendars say; rows added, by store. Raises ``StoreError``, ``UsageError``."""
    exchanges = [load_exchange(name) for name in settings.venues.names]
    rows = [row for exchange in exchanges for row in sessions(exchange, today)]
    return record(settings, SESSIONS, rows, [exchange.name for exchange in exchanges], now_ns)


def sessions(exchange: type[Exchange], today: date) -> Iterator[MarketSession]:
    """All that its calendar tells of, ``DAYS_AHEAD`` days from ``today`` at most, and where it ends, if it ends before;
    one, where it never closes."""
    first, last = today, today
    if exchange.calendar != ALWAYS:
        (first, known), last = known_days(exchange.calendar), today + timedelta(days=DAYS_AHEAD)
        if known < today + timedelta(days=WARNED_DAYS):
            _log.warning("%s: calendar %s ends at %s", exchange.name, exchange.calendar, known)
    for one in sessions_until(exchange.calendar, first, last):
        yield MarketSession(
            exchange.name,
            one.day,
            one.session_kind,
            one.opens_ns,
            one.closes_ns,
            exchange.calendar,
            one.is_early_close,
            one.source,
        )
