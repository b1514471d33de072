"""When a market's day ends, as data: venue files read no calendar. ``tests/adapter/test_sessions.py`` holds the dates
against exchange_calendars. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from etl.model.records import BarState
from etl.model.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_S, interval_ns

ALWAYS = "24/7"
NEW_YORK = "XNYS"
OVERNIGHT = "us_overnight"
"""US stocks before each session of New York: from Sunday to Thursday, but not on the eve of a holiday."""
CLOSES_HOUR, CLOSES_EARLY_HOUR = 16, 13
OVERNIGHT_OPENS, OVERNIGHT_CLOSES = time(20), time(4)
"""In New York; the second is on the day of trading."""
EXTENDED_HOURS_NS = 4 * NS_PER_HOUR
"""How long US stocks go on trading after the session."""
LONGEST_NS = {"mo": 31 * NS_PER_DAY, "q": 92 * NS_PER_DAY, "y": 366 * NS_PER_DAY}
"""Of bars whose length is not fixed."""
EARLY_CLOSES_UNTIL = 2031
_EARLY = """
20030703 20031128 20031224 20031226 20041126 20051125 20060703 20061124 20070703 20071123 20071224 20080703
20081128 20081224 20091127 20091224 20101126 20111125 20120703 20121123 20121224 20130703 20131129 20131224
20140703 20141128 20141224 20151127 20151224 20161125 20170703 20171124 20180703 20181123 20181224 20190703
20191129 20191224 20201127 20201224 20211126 20221125 20230703 20231124 20240703 20241129 20241224 20250703
20251128 20251224 20261127 20261224 20271126 20280703 20281124 20290703 20291123 20291224 20300703 20301129
20301224 20310703 20311128 20311224
"""
EARLY_CLOSES = frozenset(_EARLY.split())
"""Days on which the New York exchanges close at 13:00, from 2003, where the venues' histories begin."""
_ZONE = ZoneInfo("America/New_York")


def session_end_ns(time_ns: int) -> int:
    """The end of the session of New York's day at ``time_ns``, whether or not it is one of trading."""
    return _end_of_hour_ns(time_ns // NS_PER_HOUR)


@lru_cache(maxsize=4096)
def _end_of_hour_ns(hour: int) -> int:
    """By hours since 1970: the day and daylight saving time change on a whole one."""
    day = datetime.fromtimestamp(hour * 3600, UTC).astimezone(_ZONE).replace(minute=0, second=0)
    closes = CLOSES_EARLY_HOUR if f"{day:%Y%m%d}" in EARLY_CLOSES else CLOSES_HOUR
    return int(day.replace(hour=closes, fold=0).timestamp()) * NS_PER_S


def overnight_ns(day: date) -> tuple[int, int]:
    """The overnight session that belongs to the day of trading ``day``, as [opening, closing)."""
    opens = datetime.combine(day - timedelta(days=1), OVERNIGHT_OPENS, _ZONE)
    closes = datetime.combine(day, OVERNIGHT_CLOSES, _ZONE)
    return int(opens.timestamp()) * NS_PER_S, int(closes.timestamp()) * NS_PER_S


def overnight_end_ns(time_ns: int) -> int:
    """The end of the overnight session at ``time_ns``, or of the next, whether or not it is one: 04:00 in New York."""
    return _overnight_end_of_hour_ns(time_ns // NS_PER_HOUR)


@lru_cache(maxsize=4096)
def _overnight_end_of_hour_ns(hour: int) -> int:
    now = datetime.fromtimestamp(hour * 3600, UTC).astimezone(_ZONE)
    return overnight_ns(now.date() + timedelta(days=now.time() >= OVERNIGHT_CLOSES))[1]


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
