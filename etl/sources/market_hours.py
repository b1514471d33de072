"""When silence means something: the sessions of a market, as ``etl/adapter/market_calendar.py`` has them."""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache

from etl.adapter.contract import Exchange
from etl.adapter.market_calendar import ALWAYS, CONTINUOUS, NIGHT, REGULAR, known_days, sessions_of
from etl.model.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_S

HOURS_PER_DAY = 24

EPOCH = date(1970, 1, 1)
Sessions = tuple[tuple[int, int], ...]


class MarketHours:
    """``calendar`` is a file of ``etl/adapter/calendars``, ``us_overnight`` or ``24/7``. Regular sessions only: before
    and after them even a liquid stock may be silent for minutes. A late feed has its sessions ``delay_s`` later."""

    def __init__(self, calendar: str, delay_s: float = 0.0) -> None:
        self._name = calendar
        self._delay_ns = int(delay_s * NS_PER_S)

    @classmethod
    def of(cls, exchange: type[Exchange], is_live: bool) -> MarketHours:
        """Those of a venue; a simulated one never closes."""
        return cls(exchange.calendar, exchange.delay_s) if is_live else cls(ALWAYS)

    def is_open(self, now_ns: int) -> bool:
        """Whether the market is in session. Raises ``UsageError`` where the calendar does not tell of that day."""
        if self._name == ALWAYS:
            return True
        time_ns = now_ns - self._delay_ns
        return any(start <= time_ns < end for start, end in _around(self._name, time_ns // NS_PER_DAY))


@lru_cache(maxsize=64)
def open_hours(calendar: str, day_number: int) -> int | None:
    """In how many hours of a UTC day, so many days after 1970, the market is in session for a while; ``None`` where the
    calendar does not tell of that day."""
    if calendar == ALWAYS:
        return HOURS_PER_DAY
    first, last = known_days(calendar)
    if not first <= EPOCH + timedelta(days=day_number) <= last:
        return None
    spans, first_ns = _around(calendar, day_number), day_number * NS_PER_DAY
    return sum(
        any(opens_ns < hour_ns + NS_PER_HOUR and hour_ns < closes_ns for opens_ns, closes_ns in spans)
        for hour_ns in range(first_ns, first_ns + NS_PER_DAY, NS_PER_HOUR)
    )


@lru_cache(maxsize=64)
def _around(calendar: str, day_number: int) -> Sessions:
    """The sessions of a day and of those beside it: what begins in the evening, or elsewhere on another date."""
    day, beside = EPOCH + timedelta(days=day_number), timedelta(days=1)
    first, last = known_days(calendar)
    if not first <= day <= last:
        return sessions(calendar, day, day)  # which says what is wrong
    return sessions(calendar, max(first, day - beside), min(last, day + beside))


def sessions(calendar: str, first: date, last: date) -> Sessions:
    """When a market is open on the days from ``first`` to ``last``, as [opening, closing) in ns: two of them on a day
    with a break. Raises ``UsageError`` for a calendar that there is not, or days that it does not tell of."""
    return tuple(
        (one.opens_ns, one.closes_ns)
        for one in sessions_of(calendar, first, last)
        if one.session_kind in (REGULAR, NIGHT, CONTINUOUS)
    )
