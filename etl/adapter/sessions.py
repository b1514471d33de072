"""When a market's day ends, by ``market_calendar.py``, and what that makes of a bar of history. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import lru_cache

from etl.adapter.market_calendar import ALWAYS, NEW_YORK, OVERNIGHT, calendar_of, overnight
from etl.model.records import BarState
from etl.model.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_S, interval_ns

CLOSES = time(16)
OVERNIGHT_CLOSES = time(4)
"""In New York, on the day of trading."""
EXTENDED_HOURS_NS = 4 * NS_PER_HOUR
"""How long US stocks go on trading after the session."""
LONGEST_NS = {"mo": 31 * NS_PER_DAY, "q": 92 * NS_PER_DAY, "y": 366 * NS_PER_DAY}
"""Of bars whose length is not fixed."""


def session_end_ns(time_ns: int) -> int:
    """The end of the session of New York's day at ``time_ns``, whether or not it is one of trading."""
    return _end_of_hour_ns(time_ns // NS_PER_HOUR)


@lru_cache(maxsize=4096)
def _end_of_hour_ns(hour: int) -> int:
    """By hours since 1970: the day and daylight saving time change on a whole one."""
    calendar = calendar_of(NEW_YORK)
    day = datetime.fromtimestamp(hour * 3600, UTC).astimezone(calendar.zone).date()
    closes = calendar.closes_early(day) or CLOSES
    return int(datetime.combine(day, closes, calendar.zone).timestamp()) * NS_PER_S


def overnight_end_ns(time_ns: int) -> int:
    """The end of the overnight session at ``time_ns``, or of the next, whether or not it is one: 04:00 in New York."""
    return _overnight_end_of_hour_ns(time_ns // NS_PER_HOUR)


@lru_cache(maxsize=4096)
def _overnight_end_of_hour_ns(hour: int) -> int:
    now = datetime.fromtimestamp(hour * 3600, UTC).astimezone(calendar_of(NEW_YORK).zone)
    return overnight(now.date() + timedelta(days=now.time() >= OVERNIGHT_CLOSES)).closes_ns


def bar_state_of_history(calendar: str, interval: str, start_ns: int, receive_time_ns: int) -> BarState:
    """A bar that is still forming is OPEN; asked for after its day has ended it beats what the stream said (REVISED);
    CLOSED in between. The day ends with its session, for what begins after it with the extended hours, and where the
    market never closes 24 hours after the bar's start. A late feed is asked so much earlier."""
    length_ns = interval_ns(interval) or LONGEST_NS.get(interval.lstrip("0123456789"), 0)
    formed_ns = start_ns + length_ns
    if calendar == ALWAYS or length_ns > NS_PER_DAY:
        final_ns = start_ns + max(length_ns, NS_PER_DAY)
    else:
        session_ns = overnight_end_ns(start_ns) if calendar == OVERNIGHT else session_end_ns(start_ns)
        final_ns = session_ns if start_ns < session_ns else session_ns + EXTENDED_HOURS_NS
        if length_ns == NS_PER_DAY:
            formed_ns = session_ns
    if start_ns <= receive_time_ns < formed_ns:
        return BarState.OPEN
    return BarState.REVISED if receive_time_ns >= final_ns else BarState.CLOSED
