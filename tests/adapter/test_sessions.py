"""When a day ends, against the calendar, and what that makes of a bar of history."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from etl.adapter import sessions
from etl.adapter.market_calendar import ALWAYS, NEW_YORK, OVERNIGHT, known_days
from etl.adapter.sessions import bar_state_of_history
from etl.exchanges import load
from etl.model.records import Bar, BarState, Frame, Source
from etl.model.times import NS_PER_S
from etl.sources import market_hours


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NS_PER_S


def test_every_session_of_new_york_ends_when_the_calendar_says() -> None:
    days = market_hours.sessions("XNYS", *known_days("XNYS"))
    assert [sessions.session_end_ns(opens_ns) for opens_ns, _ in days] == [closes_ns for _, closes_ns in days]


@pytest.mark.parametrize(
    ("interval", "start", "received", "state"),
    [
        # Wednesday, closes 16:00 = 21:00 UTC; the bar of the day begins at midnight in New York
        ("1d", "2026-11-25T05:00", "2026-11-25T15:00", BarState.OPEN),
        ("1d", "2026-11-25T05:00", "2026-11-25T20:59", BarState.OPEN),
        ("1d", "2026-11-25T05:00", "2026-11-25T21:00", BarState.REVISED),
        ("1d", "2026-11-25T05:00", "2026-11-26T04:00", BarState.REVISED),
        # the day after Thanksgiving, closes 13:00
        ("1d", "2026-11-27T05:00", "2026-11-27T17:59", BarState.OPEN),
        ("1d", "2026-11-27T05:00", "2026-11-27T18:00", BarState.REVISED),
        # summer time: 16:00 = 20:00 UTC
        ("1d", "2026-07-01T04:00", "2026-07-01T19:59", BarState.OPEN),
        ("1d", "2026-07-01T04:00", "2026-07-01T20:00", BarState.REVISED),
        ("1m", "2026-11-25T15:00", "2026-11-25T15:00", BarState.OPEN),
        ("1m", "2026-11-25T15:00", "2026-11-25T15:01", BarState.CLOSED),
        ("1m", "2026-11-25T15:00", "2026-11-25T21:00", BarState.REVISED),
        ("1h", "2026-11-25T15:00", "2026-11-25T15:59", BarState.OPEN),
        # after the session, and before it
        ("1m", "2026-11-25T22:00", "2026-11-25T22:02", BarState.CLOSED),
        ("1m", "2026-11-25T22:00", "2026-11-26T01:00", BarState.REVISED),
        ("1m", "2026-11-25T10:00", "2026-11-25T10:02", BarState.CLOSED),
        ("1w", "2026-11-22T05:00", "2026-11-25T22:00", BarState.OPEN),
        ("1w", "2026-11-22T05:00", "2026-11-30T22:00", BarState.REVISED),
        ("1mo", "2026-11-01T04:00", "2026-11-25T22:00", BarState.OPEN),
        ("1mo", "2026-11-01T04:00", "2026-12-05T22:00", BarState.REVISED),
        # a clock that is not known, or wrong, says nothing
        ("1d", "2026-11-25T05:00", "1970-01-01T00:00", BarState.CLOSED),
    ],
)
def test_a_bar_of_history_by_the_session(interval: str, start: str, received: str, state: BarState) -> None:
    assert bar_state_of_history(NEW_YORK, interval, at(start), at(received)) is state


@pytest.mark.parametrize(
    ("moment", "ends"),
    [
        ("2026-11-30T00:59", "2026-11-30T09:00"),
        ("2026-11-30T01:00", "2026-11-30T09:00"),
        ("2026-11-30T08:59", "2026-11-30T09:00"),
        ("2026-11-30T09:00", "2026-12-01T09:00"),
        ("2026-03-06T05:00", "2026-03-06T09:00"),
        ("2026-03-09T00:00", "2026-03-09T08:00"),  # summer time since the morning before
        ("2026-11-02T01:00", "2026-11-02T09:00"),  # and no more
    ],
)
def test_an_overnight_session_ends_at_four(moment: str, ends: str) -> None:
    assert sessions.overnight_end_ns(at(moment)) == at(ends)


@pytest.mark.parametrize(
    ("interval", "start", "received", "state"),
    [
        # Sunday evening, for Monday; the bar of the day begins at midnight in New York
        ("1m", "2026-11-30T01:00", "2026-11-30T01:00", BarState.OPEN),
        ("1m", "2026-11-30T01:00", "2026-11-30T01:01", BarState.CLOSED),
        ("1m", "2026-11-30T01:00", "2026-11-30T08:59", BarState.CLOSED),
        ("1m", "2026-11-30T01:00", "2026-11-30T09:00", BarState.REVISED),
        ("1m", "2026-11-30T08:59", "2026-11-30T09:00", BarState.REVISED),
        ("1d", "2026-11-30T05:00", "2026-11-30T08:59", BarState.OPEN),
        ("1d", "2026-11-30T05:00", "2026-11-30T09:00", BarState.REVISED),
        ("1d", "2026-07-01T04:00", "2026-07-01T07:59", BarState.OPEN),
        ("1d", "2026-07-01T04:00", "2026-07-01T08:00", BarState.REVISED),
    ],
)
def test_a_bar_of_history_of_the_night(interval: str, start: str, received: str, state: BarState) -> None:
    assert sessions.bar_state_of_history(OVERNIGHT, interval, at(start), at(received)) is state


@pytest.mark.parametrize(
    ("feed", "received", "state"),
    [
        ("alpaca", "2026-11-30T20:59", BarState.OPEN),
        ("alpaca", "2026-11-30T21:00", BarState.REVISED),
        ("alpaca_delayed", "2026-11-30T21:14", BarState.OPEN),
        ("alpaca_delayed", "2026-11-30T21:15", BarState.REVISED),
        ("alpaca_boats", "2026-11-30T08:59", BarState.OPEN),
        ("alpaca_boats", "2026-11-30T09:00", BarState.REVISED),
        ("alpaca_overnight", "2026-11-30T09:14", BarState.OPEN),
        ("alpaca_overnight", "2026-11-30T09:15", BarState.REVISED),
    ],
)
def test_a_days_bar_ends_with_the_session_of_its_feed(feed: str, received: str, state: BarState) -> None:
    answer = b'{"bars":{"AAPL":[{"o":1,"h":1,"l":1,"c":1,"v":1,"t":"2026-11-30T05:00:00Z","n":1,"vw":1}]}}'
    path = "/v2/stocks/bars?symbols=AAPL&timeframe=1Day"
    frame = Frame(feed, "c", 1, path, at(received), answer, Source.BACKFILL)
    (bar,) = load(feed)().parse(frame)
    assert isinstance(bar, Bar)
    assert bar.bar_state is state


@pytest.mark.parametrize(
    ("interval", "received", "state"),
    [
        ("1d", "2026-11-25T23:59", BarState.OPEN),
        ("1d", "2026-11-26T00:00", BarState.REVISED),
        ("1m", "2026-11-25T00:00", BarState.OPEN),
        ("1m", "2026-11-25T23:00", BarState.CLOSED),
        ("1m", "2026-11-26T00:00", BarState.REVISED),
    ],
)
def test_a_bar_of_history_where_the_market_never_closes(
    interval: str, received: str, state: BarState
) -> None:
    assert bar_state_of_history(ALWAYS, interval, at("2026-11-25T00:00"), at(received)) is state
