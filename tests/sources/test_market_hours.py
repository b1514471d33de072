from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from etl.adapter.market_calendar import OVERNIGHT
from etl.errors import UsageError
from etl.exchanges import load
from etl.sources.market_hours import MarketHours, sessions

XNYS = MarketHours("XNYS")


def ns(moment: str) -> int:
    return int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-20T14:29:59", False),
        ("2026-11-20T14:30:00", True),
        ("2026-11-20T20:59:59", True),
        ("2026-11-20T21:00:00", False),
        ("2026-11-21T16:00:00", False),  # Saturday
        ("2026-11-26T16:00:00", False),  # Thanksgiving
        ("2026-11-27T17:59:59", True),
        ("2026-11-27T18:00:00", False),  # closes early
        ("2027-03-15T13:30:00", True),  # daylight saving, and beyond the first layout
        ("2025-01-08T15:00:00", True),  # before the layout
        ("2025-01-09T15:00:00", False),  # a day of mourning
    ],
)
def test_new_york_is_open_when_it_is(moment: str, is_open: bool) -> None:
    assert XNYS.is_open(ns(moment)) is is_open


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        # the week in which summer time begins, on Sunday 2026-03-08: the session of Friday, then that of Monday
        ("2026-03-06", "2026-03-10", ("2026-03-06T01 09", "2026-03-09T00 08", "2026-03-10T00 08")),
        # and that in which it ends, on Sunday 2026-11-01
        ("2026-10-30", "2026-11-03", ("2026-10-30T00 08", "2026-11-02T01 09", "2026-11-03T01 09")),
        # none on the eve of Thanksgiving, but one on its evening, before a day that closes early
        ("2026-11-25", "2026-11-30", ("2026-11-25T01 09", "2026-11-27T01 09", "2026-11-30T01 09")),
        # Christmas on a Friday; New Year's Day on the next
        ("2026-12-24", "2027-01-04", (
            "2026-12-24T01 09", "2026-12-28T01 09", "2026-12-29T01 09",
            "2026-12-30T01 09", "2026-12-31T01 09", "2027-01-04T01 09",
        )),
        # no Sunday evening before a Monday that is a holiday; a day of mourning
        ("2027-01-15", "2027-01-19", ("2027-01-15T01 09", "2027-01-19T01 09")),
        ("2025-01-08", "2025-01-10", ("2025-01-08T01 09", "2025-01-10T01 09")),
    ],
)  # fmt: skip
def test_an_overnight_session_precedes_each_day_of_trading(
    first: str, last: str, expected: tuple[str, ...]
) -> None:
    spans = tuple((ns(f"{span[:13]}:00:00"), ns(f"{span[:11]}{span[14:]}:00:00")) for span in expected)
    assert sessions(OVERNIGHT, date.fromisoformat(first), date.fromisoformat(last)) == spans


@pytest.mark.parametrize(
    ("feed", "moment", "is_open"),
    [
        ("alpaca_boats", "2026-11-30T00:59:59", False),  # Sunday, 19:59:59 in New York
        ("alpaca_boats", "2026-11-30T01:00:00", True),
        ("alpaca_boats", "2026-11-30T08:59:59", True),
        ("alpaca_boats", "2026-11-30T09:00:00", False),
        ("alpaca_boats", "2026-11-28T02:00:00", False),  # Friday evening
        ("alpaca_boats", "2026-11-30T15:00:00", False),  # the regular session
        ("alpaca_overnight", "2026-11-30T01:14:59", False),  # 15 minutes late
        ("alpaca_overnight", "2026-11-30T01:15:00", True),
        ("alpaca_overnight", "2026-11-30T09:14:59", True),
        ("alpaca_overnight", "2026-11-30T09:15:00", False),
        ("alpaca", "2026-11-30T01:00:00", False),
        ("alpaca", "2026-11-30T14:30:00", True),
        ("alpaca_delayed", "2026-11-30T14:44:59", False),
        ("alpaca_delayed", "2026-11-30T14:45:00", True),
        ("alpaca_delayed", "2026-11-30T21:14:59", True),
        ("alpaca_crypto", "2026-11-28T02:00:00", True),
    ],
)
def test_a_feed_is_open_in_the_sessions_that_it_sends(feed: str, moment: str, is_open: bool) -> None:
    assert MarketHours.of(load(feed), is_live=True).is_open(ns(moment)) is is_open
    assert MarketHours.of(load(feed), is_live=False).is_open(ns(moment))  # simulated: never closed


def test_a_calendar_that_there_is_not_says_how_one_is_made() -> None:
    with pytest.raises(
        UsageError, match=r"calendar XBSE: there is no such file in .*: run etl sessions make XBSE"
    ):
        sessions("XBSE", date(2026, 7, 1), date(2026, 11, 29))


@pytest.mark.parametrize("moment", ["2027-01-01T05:00:00", "2013-12-31T05:00:00"])
def test_a_calendar_beyond_the_days_that_it_tells_of_is_refused(moment: str) -> None:
    assert MarketHours("XBOM").is_open(ns("2026-12-31T05:00:00"))
    with pytest.raises(UsageError, match="calendar XBOM: it tells of 2014-01-01 to 2026-12-31 alone"):
        MarketHours("XBOM").is_open(ns(moment))


def test_a_market_that_never_closes_needs_no_calendar() -> None:
    assert MarketHours("24/7").is_open(0)
