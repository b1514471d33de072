"""A simulated FRED with its vintages.

GET /fred/fred/series?series_id=GDP&api_key=…&file_type=json            GET /fred/fred/series/release?series_id=GDP&…
GET /fred/fred/series/vintagedates?series_id=GDP&limit=10000&offset=0&… GET /fred/fred/release/dates?release_id=53&…
GET /fred/fred/series/observations?series_id=GDP&realtime_start=…&realtime_end=…&limit=…&offset=…&…

Each period is told first some weeks after its beginning, revised twice, and some of them a year later; now and then there is
no value (``.``), and one period in twenty is withdrawn. Of one series every day has a vintage. What is told later than now
is not known yet. Without a key of 32 small letters and digits the answer is 400, beyond ``limit`` it is 429.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import cached_property

from msgspec import Struct

from etl.model.times import NS_PER_DAY, NS_PER_MINUTE
from etl.simulator.dialect import Dialect
from etl.simulator.limit import Limit
from etl.simulator.market import Instrument
from etl.simulator.session import Session
from etl.simulator.truth import EMPTY, IGNORED, TruthEvent
from etl.simulator.venue import Channel, Response, Venue
from etl.simulator.words import Template

FIRST_DAY, LAST_DAY = "1776-07-04", "9999-12-31"
SERIES = Template('{"realtime_start":"$today","realtime_end":"$today","seriess":[{"id":"$id","realtime_start":"$today","realtime_end":"$today","title":"$title","observation_start":"$first","observation_end":"$last","frequency":"$frequency","frequency_short":"$short","units":"$units","units_short":"$units","seasonal_adjustment":"Seasonally Adjusted","seasonal_adjustment_short":"SA","last_updated":"$today 07:52:05-05","popularity":90,"notes":" "}]}')  # fmt: skip
RELEASE = Template('{"realtime_start":"$today","realtime_end":"$today","releases":[{"id":$release_id,"realtime_start":"$today","realtime_end":"$today","name":"$release","press_release":true,"link":"http://www.example.org/"}]}')  # fmt: skip
VINTAGES = Template('{"realtime_start":"1776-07-04","realtime_end":"9999-12-31","order_by":"vintage_date","sort_order":"asc","count":$count,"offset":$offset,"limit":$limit,"vintage_dates":[$rows]}')  # fmt: skip
DATES = Template('{"realtime_start":"$start","realtime_end":"9999-12-31","order_by":"release_date","sort_order":"asc","count":$count,"offset":0,"limit":10000,"release_dates":[$rows]}')  # fmt: skip
DATE_ROW = Template('{"release_id":$release_id,"date":"$day"}')
PAGE = Template('{"realtime_start":"$start","realtime_end":"$end","observation_start":"1600-01-01","observation_end":"9999-12-31","units":"lin","output_type":1,"file_type":"json","order_by":"observation_date","sort_order":"asc","count":$count,"offset":$offset,"limit":$limit,"observations":[$rows]}')  # fmt: skip
ROW = Template('{"realtime_start":"$from_day","realtime_end":"$to_day","date":"$day","value":"$value"}')
REFUSAL = Template('{"error_code":$code,"error_message":"$message"}')
NO_KEY = "Bad Request.  The value for variable api_key is not registered."
NO_SERIES = "Bad Request.  The series does not exist."
TOO_MANY = "Too Many Requests.  Exceeded Rate Limit"
SIMULATED_KEY = "demo-key"
AHEAD_DAYS = 60
"""How far the calendar of a release reaches."""


class Series(Struct, frozen=True):
    """``lag_days``: from the beginning of a period to its first value; ``first`` and ``digits`` of that value."""

    id: str
    title: str
    units: str
    release_id: int
    release: str
    step: str
    began: date
    lag_days: int
    first: int
    digits: int


SHORT = {"Quarterly": "Q", "Monthly": "M", "Daily": "D"}
LISTED = {
    one.id: one
    for one in (
        Series("GDP", "Gross Domestic Product", "Billions of Dollars", 53, "Gross Domestic Product", "Quarterly", date(1947, 1, 1), 120, 243_164, 3),
        Series("CPIAUCSL", "Consumer Price Index", "Index 1982-1984=100", 10, "Consumer Price Index", "Monthly", date(1962, 1, 1), 45, 30_040, 3),
        Series("UNRATE", "Unemployment Rate", "Percent", 50, "Employment Situation", "Monthly", date(2016, 1, 1), 38, 49, 1),
        Series("PAYEMS", "All Employees, Total Nonfarm", "Thousands of Persons", 50, "Employment Situation", "Monthly", date(2016, 1, 1), 38, 143_224, 0),
        Series("FEDFUNDS", "Federal Funds Effective Rate", "Percent", 18, "H.15 Selected Interest Rates", "Monthly", date(2016, 1, 1), 33, 34, 2),
        Series("DGS10", "Market Yield on U.S. Treasury Securities at 10-Year", "Percent", 18, "H.15 Selected Interest Rates", "Daily", date(2020, 1, 1), 1, 188, 2),
    )
}  # fmt: skip


class Told(Struct, frozen=True):
    """What is said of the period that begins on ``day``, from one day on to another."""

    day: str
    from_day: str
    to_day: str
    value: str


class Fred(Venue):
    exchange = "fred"
    symbols: Mapping[str, Instrument] = {name: Instrument(name, name, 2, 0, 100) for name in LISTED}
    channels: Mapping[str, Channel] = {}
    dialect = Dialect(replies={})

    def __init__(self, exchange: str) -> None:
        super().__init__(exchange)
        self.limit = Limit(120, NS_PER_MINUTE)
        self._vintages: dict[str, list[Told]] = {}

    @cached_property
    def keys(self) -> frozenset[str]:
        return frozenset((SIMULATED_KEY,))

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        if query.get("api_key") not in self.keys:
            return _refused(400, NO_KEY)
        if self.limit.wait_ns(now_ns):
            return _refused(429, TOO_MANY)
        today = (date(1970, 1, 1) + timedelta(days=now_ns // NS_PER_DAY)).isoformat()
        if path == "/fred/release/dates":
            return self._release_dates(int(query["release_id"]), query, today)
        series = LISTED.get(query.get("series_id", ""))
        if series is None:
            return _refused(400, NO_SERIES)
        match path:
            case "/fred/series":
                words = {
                    "id": series.id, "title": series.title, "first": series.began, "last": today,
                    "frequency": series.step, "short": SHORT[series.step], "units": series.units, "today": today,
                }  # fmt: skip
                return Response(200, SERIES(words).encode(), is_reference=True)
            case "/fred/series/release":
                words = {"today": today, "release_id": series.release_id, "release": series.release}
                return Response(200, RELEASE(words).encode(), is_reference=True)
            case "/fred/series/vintagedates":
                limit, offset = self.page_limit(query, 10_000, 10_000), int(query.get("offset", 0))
                told = self.vintages(series.id, today)
                ends = {_later(one.to_day, 1) for one in told if one.to_day != LAST_DAY}
                days = sorted({one.from_day for one in told} | ends)
                rows = ",".join(f'"{day}"' for day in days[offset : offset + limit])
                words = {"count": len(days), "offset": offset, "limit": limit, "rows": rows}
                return Response(200, VINTAGES(words).encode(), is_reference=True)
            case "/fred/series/observations":
                return self._observations(series, query, today)
        return _refused(404, "Not Found")

    def vintages(self, name: str, today: str) -> list[Told]:
        """All that was said until ``today``, by period and then as it was said."""
        if name not in self._vintages:
            self._vintages[name] = list(_told(LISTED[name], today))
        return [
            Told(one.day, one.from_day, one.to_day if one.to_day < today else LAST_DAY, one.value)
            for one in self._vintages[name]
            if one.from_day <= today
        ]

    def _release_dates(self, release_id: int, query: Mapping[str, str], today: str) -> Response:
        start = query.get("realtime_start", today)
        end = (date.fromisoformat(today) + timedelta(days=AHEAD_DAYS)).isoformat()
        days = {
            one.from_day
            for series in LISTED.values()
            if series.release_id == release_id
            for one in _told(series, end)
            if start <= one.from_day <= end
        }
        rows = [DATE_ROW({"release_id": release_id, "day": day}) for day in sorted(days)]
        words = {"start": start, "count": len(rows), "rows": ",".join(rows)}
        return Response(200, DATES(words).encode(), is_reference=True)

    def _observations(self, series: Series, query: Mapping[str, str], today: str) -> Response:
        start, end = query.get("realtime_start", today), query.get("realtime_end", today)
        limit, offset = self.page_limit(query, 100_000, 100_000), int(query.get("offset", 0))
        found = [
            one for one in self.vintages(series.id, today) if one.from_day <= end and one.to_day >= start
        ]
        rows = found[offset : offset + limit]
        text = [
            ROW({
                "from_day": max(one.from_day, start), "to_day": min(one.to_day, end), "day": one.day, "value": one.value,
            })
            for one in rows
        ]  # fmt: skip
        words = {
            "start": start, "end": end, "count": len(found), "offset": offset, "limit": limit, "rows": ",".join(text),
        }  # fmt: skip
        events = [
            TruthEvent(IGNORED, "carried_over", "") if one.from_day <= start != FIRST_DAY else _event(series.id, one)
            for one in rows
        ]  # fmt: skip
        events += self._withdrawn(series.id, found, offset, offset + len(rows), end)
        return Response(200, PAGE(words).encode(), events or [EMPTY])

    @staticmethod
    def _withdrawn(
        name: str, found: Sequence[Told], first: int, beyond: int, end: str
    ) -> Iterator[TruthEvent]:
        """Periods that are told no more: each is seen by what comes behind it, or by the end of all."""
        for place in range(max(0, first - 1), beyond):
            one = found[place]
            following = found[place + 1] if place + 1 < len(found) else None
            if one.to_day >= end or (following is not None and place + 1 >= beyond):
                continue
            after = _later(one.to_day, 1)
            if following is None or (following.day, following.from_day) != (one.day, after):
                yield _event(name, Told(one.day, after, LAST_DAY, "."))


def _event(name: str, told: Told) -> TruthEvent:
    return TruthEvent("observation", name, f"{told.day}/{told.from_day}/{told.value}")


def _told(series: Series, until: str) -> Iterator[Told]:
    chance = random.Random(series.id)
    units, last = series.first, date.fromisoformat(until)
    for day in _periods(series, last):
        units += chance.randint(-3, 6)
        first = day + timedelta(days=series.lag_days)
        steps = (30, 61) if series.step != "Daily" else ()
        days = [first, *(first + timedelta(days=step) for step in steps)]
        if chance.random() < 0.1:
            days.append(first + timedelta(days=365))
        texts = ["." if chance.random() < 0.02 else _text(units, series.digits)]
        texts += [_text(units + chance.randint(1, 9), series.digits) for _ in days[1:]]
        ends = [(following - timedelta(days=1)).isoformat() for following in days[1:]]
        is_withdrawn = chance.random() < 0.05
        ends.append((days[-1] + timedelta(days=90)).isoformat() if is_withdrawn else LAST_DAY)
        for said, to_day, text in zip(days, ends, texts, strict=True):
            yield Told(day.isoformat(), said.isoformat(), to_day, text)


def _periods(series: Series, last: date) -> Iterator[date]:
    day = series.began
    while day <= last:
        if series.step != "Daily" or day.weekday() < 5:
            yield day
        months = {"Quarterly": 3, "Monthly": 1, "Daily": 0}[series.step]
        month = day.month - 1 + months
        day = date(day.year + month // 12, month % 12 + 1, 1) if months else day + timedelta(days=1)


def _text(units: int, digits: int) -> str:
    """A number as the source writes it: with no zeros at its end but the first."""
    sign, number = "-" if units < 0 else "", abs(units)
    whole, fraction = divmod(number, 10**digits)
    return f"{sign}{whole}.{fraction:0{digits}d}" if digits else f"{sign}{whole}"


def _later(day: str, days: int) -> str:
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()


def _refused(code: int, message: str) -> Response:
    return Response(code, REFUSAL({"code": code, "message": message}).encode())
