"""When markets are open: the one source of it, for freshness, bars, backfills and the table ``sessions``.

A calendar is a file of ``etl/adapter/calendars``: the hours of an ordinary day, and the days that are not. Read once a
process; exchange_calendars and pandas are needed to make such a file, never to read it. Pure.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from etl.errors import UsageError
from etl.model.times import NS_PER_S

ALWAYS = "24/7"
NEW_YORK = "XNYS"
OVERNIGHT = "us_overnight"
"""US stocks before each session of New York: from Sunday to Thursday, but not on the eve of a holiday."""
ALIASES: Mapping[str, str] = {"XNSE": "XBOM"}
"""Markets that keep another's days and hours: in the cash market the National Stock Exchange of India has Bombay's."""
SATURDAY = 5
OVERNIGHT_HOURS = "20:00-04:00"
"""In New York; it ends on the day of trading."""
INT64_MAX = (1 << 63) - 1

PRE, OPENING_AUCTION, REGULAR = "pre", "opening_auction", "regular"
CLOSING_AUCTION, POST = "closing_auction", "post"
NIGHT, HOLIDAY, CONTINUOUS = "overnight", "holiday", "continuous"
UNTIMED, UNKNOWN = "untimed", "unknown"


class Session(Struct, frozen=True):
    """[opens_ns, closes_ns) of a day of trading, the market's own. An auction that is a moment opens and closes at it.
    A ``holiday`` is a weekday without trading, ``untimed`` a day of trading whose hours nobody has told: both are its
    midnight. ``source``: who says so."""

    day: date
    session_kind: str
    opens_ns: int
    closes_ns: int
    is_early_close: bool = False
    source: str = ""


class Hours(Struct, frozen=True):
    """Of an ordinary day from ``since`` on, in the market's zone: ``09:30-16:00``, two such with a break at noon."""

    since: date
    regular: str
    pre: str = ""
    opening_auction: str = ""
    closing_auction: str = ""
    post: str = ""


class SpecialDay(Struct, frozen=True):
    """A day with hours of its own; none = it is closed, or the hours are not told (``is_untimed``)."""

    day: date
    regular: str = ""
    source: str = ""
    is_untimed: bool = False


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    """``first`` to ``last``: the days that are known. ``early``: when the last regular span ends on such a day."""

    zone: str
    source: str
    first: date
    last: date
    hours: list[Hours]
    closed: list[date]
    early: dict[date, str] = {}
    special: list[SpecialDay] = []


class _Corrections(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the place of the file's; the hours oldest first, as there."""

    special: list[SpecialDay] = []
    hours: list[Hours] = []


class MarketCalendar:
    """The days of one market."""

    def __init__(self, name: str, file: _File, corrections: _Corrections) -> None:
        self.name = name
        self.first, self.last = file.first, file.last
        self.zone = ZoneInfo(file.zone)
        self._source = file.source
        self._hours = [*reversed(corrections.hours), *reversed(file.hours)]
        self._closed = frozenset(file.closed)
        self._early = file.early
        self._special = {special.day: special for special in (*file.special, *corrections.special)}

    def sessions(self, first: date, last: date) -> Iterator[Session]:
        """Every session of the days from ``first`` to ``last``, in their order, holidays too. Raises ``UsageError`` for
        days that nobody has told yet."""
        if first < self.first or last > self.last:
            raise UsageError(f"calendar {self.name}: it tells of {self.first} to {self.last} alone")
        for number in range((last - first).days + 1):
            yield from self._of_day(first + timedelta(days=number))

    def days(self, first: date, last: date) -> Iterator[date]:
        """The days of trading."""
        found = (one.day for one in self.sessions(first, last) if one.session_kind in (REGULAR, UNTIMED))
        return iter(dict.fromkeys(found))

    def closes_early(self, day: date) -> time | None:
        text = self._early.get(day)
        return None if text is None else time.fromisoformat(text)

    def _of_day(self, day: date) -> Iterator[Session]:
        if special := self._special.get(day):
            if not special.regular:
                yield self._whole(day, UNTIMED if special.is_untimed else HOLIDAY, special.source)
            for span in special.regular.split():
                yield self._session(day, REGULAR, span, source=special.source)
        elif day in self._closed:
            yield self._whole(day, HOLIDAY, self._source)
        elif day.weekday() < SATURDAY:
            yield from self._ordinary(day)

    def _ordinary(self, day: date) -> Iterator[Session]:
        hours = next(hours for hours in self._hours if hours.since <= day)
        early = self._early.get(day, "")
        for kind in (PRE, OPENING_AUCTION, REGULAR, CLOSING_AUCTION, POST):
            spans: str = getattr(hours, kind)
            for span in spans.split():
                yield self._session(day, kind, _shortened(kind, span, hours.regular, early), early)

    def after_the_last(self) -> Session:
        """All time of which nobody has told yet."""
        day = self.last + timedelta(days=1)
        source = f"calendar {self.name} ends at {self.last}"
        return Session(day, UNKNOWN, self._ns(day, "00:00"), INT64_MAX, source=source)

    def _whole(self, day: date, kind: str, source: str) -> Session:
        midnight_ns = self._ns(day, "00:00")
        return Session(day, kind, midnight_ns, midnight_ns, source=source)

    def _session(self, day: date, kind: str, span: str, early: str = "", source: str = "") -> Session:
        opens, _, closes = span.partition("-")
        start_ns, end_ns = self._ns(day, opens), self._ns(day, closes)
        return Session(day, kind, start_ns, end_ns, bool(early), source or self._source)

    def _ns(self, day: date, clock: str) -> int:
        moment = datetime.combine(day, time.fromisoformat(clock), self.zone)
        return int(moment.timestamp()) * NS_PER_S


def _shortened(kind: str, span: str, regular: str, early: str) -> str:
    """``span`` on a day whose last regular one ends at ``early``: what follows the close moves with it."""
    closes = regular.rpartition("-")[2]
    if not early or kind in (PRE, OPENING_AUCTION):
        return span
    if kind == REGULAR:
        return f"{span.partition('-')[0]}-{min(span.partition('-')[2], early)}"
    return "-".join(_moved(clock, closes, early) for clock in span.split("-"))


def _moved(clock: str, closes: str, early: str) -> str:
    day = date(2000, 1, 1)
    at, close, sooner = (datetime.combine(day, time.fromisoformat(text)) for text in (clock, closes, early))
    return f"{at - (close - sooner):%H:%M}"


@cache
def calendar_of(name: str) -> MarketCalendar:
    """Raises ``UsageError`` where there is no such file."""
    file = ALIASES.get(name, name)
    try:
        payload = pkgutil.get_data("etl.adapter.calendars", f"{file}.json") or b""
    except FileNotFoundError:
        raise UsageError(
            f"calendar {name}: there is no such file in etl/adapter/calendars: run etl sessions make {name}"
        ) from None
    try:
        beside = pkgutil.get_data("etl.adapter.calendars", f"{file}_corrections.json") or b""
    except FileNotFoundError:
        beside = b"{}"
    corrections = msgspec.json.decode(beside, type=_Corrections)
    return MarketCalendar(name, msgspec.json.decode(payload, type=_File), corrections)


def sessions_of(name: str, first: date, last: date) -> Iterator[Session]:
    """Of a calendar by its name, ``us_overnight`` and ``24/7`` among them. Raises ``UsageError``."""
    if name == ALWAYS:
        yield Session(date(1970, 1, 1), CONTINUOUS, 0, INT64_MAX, source="the venue never closes")
        return
    if name != OVERNIGHT:
        yield from calendar_of(name).sessions(first, last)
        return
    for day in calendar_of(NEW_YORK).days(first, last):
        yield overnight(day)


def sessions_until(name: str, first: date, last: date) -> Iterator[Session]:
    """As ``sessions_of``; where the calendar ends before ``last``, the ``unknown`` that follows its end is the last.
    Raises ``UsageError`` for days before its first."""
    after = unknown_after(name)
    if after is None or last < after.day:
        yield from sessions_of(name, first, last)
        return
    if first < after.day:
        yield from sessions_of(name, first, after.day - timedelta(days=1))
    yield after


def overnight(day: date) -> Session:
    """The session of the night before the day of trading ``day``."""
    zone = calendar_of(NEW_YORK).zone
    opens, closes = map(time.fromisoformat, OVERNIGHT_HOURS.split("-"))
    spans = datetime.combine(day - timedelta(days=1), opens, zone), datetime.combine(day, closes, zone)
    start_ns, end_ns = (int(moment.timestamp()) * NS_PER_S for moment in spans)
    return Session(day, NIGHT, start_ns, end_ns, source="before each day of XNYS, 20:00 to 04:00")


def trades(name: str, day: date) -> bool | None:
    """Whether the market trades on ``day``; ``None`` where the calendar does not tell of that day."""
    if name == ALWAYS:
        return True
    calendar = calendar_of(NEW_YORK if name == OVERNIGHT else name)
    return any(calendar.days(day, day)) if calendar.first <= day <= calendar.last else None


def is_closed(name: str, day: date) -> bool:
    """Whether the calendar tells that its market does not trade on ``day``; of a night's date it says nothing."""
    return name != OVERNIGHT and trades(name, day) is False


def unknown_after(name: str) -> Session | None:
    """What follows the last day of a calendar; ``None`` where it never ends."""
    return None if name == ALWAYS else calendar_of(NEW_YORK if name == OVERNIGHT else name).after_the_last()


def known_days(name: str) -> tuple[date, date]:
    """The first and the last day that the calendar tells of. Raises ``UsageError``."""
    calendar = calendar_of(NEW_YORK if name == OVERNIGHT else name)
    return calendar.first, calendar.last
