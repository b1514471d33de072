"""Calendars against lists of other makers, and against the library that they are made of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from etl.adapter import market_calendar
from etl.adapter.market_calendar import (
    ALIASES,
    ALWAYS,
    CONTINUOUS,
    HOLIDAY,
    INT64_MAX,
    NEW_YORK,
    OVERNIGHT,
    REGULAR,
    UNKNOWN,
    UNTIMED,
    Session,
    calendar_of,
    known_days,
    sessions_of,
    sessions_until,
    trades,
)
from etl.exchanges import load, names
from etl.reference.calendar_maker import make

FIXTURES = Path(__file__).parent.parent / "fixtures"
CALENDARS = Path(market_calendar.__file__).parent / "calendars"
MADE = sorted(path.stem for path in CALENDARS.glob("*.json") if not path.stem.endswith("_corrections"))
EVENINGS_OF_DIWALI = {
    "2014-10-23", "2015-11-11", "2017-10-19", "2018-11-07", "2021-11-04", "2022-10-24", "2024-11-01", "2025-10-21",
}  # fmt: skip
WEEKENDS = {
    "2015-02-28", "2016-10-30", "2019-10-27", "2020-02-01", "2020-11-14", "2023-11-12", "2024-01-20", "2024-03-02",
    "2024-05-18", "2025-02-01", "2026-02-01", "2026-11-08",
}  # fmt: skip


def listed(name: str) -> Iterator[tuple[int, list[str], list[str]]]:
    """Year, weekdays without a session, and days that end early, as MMDD."""
    for line in (FIXTURES / f"sessions_{name}.txt").read_text().splitlines():
        if not line.startswith("#"):
            closed, _, early = line[len("2003 closed ") :].partition(" early ")
            yield int(line[:4]), closed.split(), early.split()


def weekdays(year: int) -> Iterator[date]:
    day = date(year, 1, 1)
    while day.year == year:
        if day.weekday() < 5:
            yield day
        day += timedelta(days=1)


def new_york_ns(day: date, clock: time) -> int:
    return int(datetime.combine(day, clock, ZoneInfo("America/New_York")).timestamp()) * 1_000_000_000


def utc(moment: str) -> int:
    return int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def test_every_session_of_new_york_from_2003_to_2031_is_that_of_a_second_list() -> None:
    expected = [
        (
            new_york_ns(day, time(9, 30)),
            new_york_ns(day, time(13 if f"{day:%m%d}" in early else 16)),
        )
        for year, closed, early in listed("xnys")
        for day in weekdays(year)
        if f"{day:%m%d}" not in closed
    ]
    found = [
        (one.opens_ns, one.closes_ns)
        for one in sessions_of(NEW_YORK, date(2003, 1, 1), date(2031, 12, 31))
        if one.session_kind == REGULAR
    ]
    assert len(expected) == 7_293
    assert found == expected


def test_every_day_of_bombay_from_2014_to_2026_is_that_of_a_second_list_but_for_weekends() -> None:
    expected = {
        f"{day}"
        for year, closed, _ in listed("xbom")
        for day in weekdays(year)
        if f"{day:%m%d}" not in closed
    }
    found = {f"{day}" for day in calendar_of("XBOM").days(*known_days("XBOM"))}
    assert {day for day in found if date.fromisoformat(day).weekday() >= 5} == WEEKENDS
    assert found - WEEKENDS == expected
    assert found >= EVENINGS_OF_DIWALI


@pytest.mark.parametrize(
    ("day", "spans"),
    [
        ("2024-01-20", ["03:45-10:00"]),  # a Saturday, which the library loses
        ("2024-03-02", ["03:45-04:30", "06:00-07:00"]),  # a drill
        ("2025-02-01", ["03:45-10:00"]),
        ("2026-02-01", ["03:45-10:00"]),  # a Sunday, in no library
        ("2025-10-21", ["08:15-09:15"]),  # Diwali
        ("2024-05-20", []),  # elections
        ("2024-11-20", []),
    ],
)
def test_the_special_days_of_bombay(day: str, spans: list[str]) -> None:
    moments = [tuple(utc(f"{day}T{clock}:00") for clock in span.split("-")) for span in spans]
    for name in ("XBOM", "XNSE"):
        found = [*sessions_of(name, date.fromisoformat(day), date.fromisoformat(day))]
        assert [(one.opens_ns, one.closes_ns) for one in found if one.session_kind == REGULAR] == moments
        assert ([one.session_kind for one in found] == [HOLIDAY]) is (not spans)


def test_an_evening_of_diwali_whose_hours_nobody_told_is_a_day_of_trading_and_no_session() -> None:
    sunday = date(2026, 11, 8)
    (told,) = sessions_of("XNSE", sunday, sunday)
    assert (told.session_kind, told.opens_ns, told.closes_ns) == (UNTIMED, *(utc("2026-11-07T18:30:00"),) * 2)
    assert "CMTR71775" in told.source
    assert (trades("XNSE", sunday), trades("XBOM", date(2026, 11, 10))) == (True, False)


def test_of_days_after_its_last_a_calendar_says_that_it_ends() -> None:
    assert [trades(name, date(2027, 1, 4)) for name in ("XBOM", "XNSE", NEW_YORK, ALWAYS)] == [
        None, None, True, True,
    ]  # fmt: skip
    found = [*sessions_until("XNSE", date(2026, 12, 31), date(2027, 1, 8))]
    assert [one.session_kind for one in found] == ["opening_auction", REGULAR, "closing_auction", UNKNOWN]
    after = Session(
        date(2027, 1, 1),
        UNKNOWN,
        utc("2026-12-31T18:30:00"),
        INT64_MAX,
        source="calendar XNSE ends at 2026-12-31",
    )
    assert found[-1] == after
    assert [*sessions_until("XNSE", date(2027, 2, 1), date(2027, 2, 2))] == [after]
    assert [*sessions_until("XNSE", date(2026, 12, 25), date(2026, 12, 25))] == [
        *sessions_of("XNSE", date(2026, 12, 25), date(2026, 12, 25))
    ]


def test_a_day_that_closes_early_moves_what_follows_the_close() -> None:
    day = date(2026, 11, 27)
    found = {one.session_kind: one for one in sessions_of(NEW_YORK, day, day)}
    assert {kind: (one.opens_ns, one.closes_ns) for kind, one in found.items()} == {
        "pre": (utc("2026-11-27T09:00:00"), utc("2026-11-27T14:30:00")),
        "opening_auction": (utc("2026-11-27T14:30:00"),) * 2,
        "regular": (utc("2026-11-27T14:30:00"), utc("2026-11-27T18:00:00")),
        "closing_auction": (utc("2026-11-27T18:00:00"),) * 2,
        "post": (utc("2026-11-27T18:00:00"), utc("2026-11-27T22:00:00")),
    }
    assert all(
        one.is_early_close for kind, one in found.items() if kind in ("regular", "closing_auction", "post")
    )


def test_bombay_closes_by_auction_since_august_2026() -> None:
    before, since = (
        [one.session_kind for one in sessions_of("XBOM", day, day)]
        for day in (date(2026, 7, 31), date(2026, 8, 3))
    )
    assert before == ["opening_auction", "regular"]
    assert since == ["opening_auction", "regular", "closing_auction"]


def test_a_venue_that_never_closes_has_one_session() -> None:
    (only,) = sessions_of(ALWAYS, date(2026, 1, 1), date(2026, 1, 2))
    assert only == Session(date(1970, 1, 1), CONTINUOUS, 0, INT64_MAX, source="the venue never closes")


@pytest.mark.parametrize("name", MADE)
def test_a_file_is_what_the_library_says_today(name: str) -> None:
    """What it gets wrong stands in the file of corrections beside it."""
    assert make(name, *known_days(name))[0] == (CALENDARS / f"{name}.json").read_text()


def test_the_maker_knows_breaks_and_hours_that_changed_and_warns_of_what_the_library_loses() -> None:
    text, warning = make("XTKS", date(2024, 10, 1), date(2024, 12, 31))
    assert json.loads(text)["hours"] == [
        {"since": "2024-10-01", "regular": "09:00-11:30 12:30-15:00"},
        {"since": "2024-11-05", "regular": "09:00-11:30 12:30-15:30"},
    ]
    assert json.loads(text)["closed"] == ["2024-10-14", "2024-11-04", "2024-12-31"]
    assert warning == ""
    assert "leaves out its sessions at weekends" in make("XBOM", date(2024, 1, 1), date(2024, 1, 31))[1]


def test_no_venue_uses_a_calendar_that_nothing_is_held_against() -> None:
    held = {path.stem.removeprefix("sessions_").upper() for path in FIXTURES.glob("sessions_*.txt")}
    assert {*MADE} == held
    assert {load(name).calendar for name in names()} <= {ALWAYS, OVERNIGHT, *held, *ALIASES}
