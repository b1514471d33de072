"""A file of ``etl/adapter/calendars`` out of exchange_calendars: what of its days is not ordinary.

The library needs pandas and seconds; made once, the file is read in a millisecond. What the library gets wrong stands
in the file of corrections beside it, which this never writes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from itertools import groupby, pairwise
from typing import Any

from etl.adapter.market_calendar import SATURDAY
from etl.errors import UsageError

Day = tuple[date, tuple[str, ...]]
"""With its bounds: opening, the break where there is one, close."""


def make(name: str, first: date, last: date) -> tuple[str, str]:
    """The text of ``NAME.json``, and what is known to be missing in it ("" = nothing). Raises ``UsageError`` for a
    calendar that the library cannot lay out."""
    zone, days, lost = _laid_out(name, first, last)
    hours = list(_hours(days))
    closed, early, special = _exceptions(days, hours, first, last)
    lines = {
        "zone": json.dumps(zone),
        "source": json.dumps(f"exchange_calendars {_version()}"),
        "first": json.dumps(f"{first}"),
        "last": json.dumps(f"{last}"),
        "hours": _list(json.dumps({"since": f"{day}", "regular": text}) for day, text in hours),
        "closed": _list(", ".join(json.dumps(f"{day}") for day in of_year) for of_year in _by_year(closed)),
        "early": "{" + ", ".join(f'"{day}": "{clock}"' for day, clock in early) + "}",
        "special": _list(
            json.dumps({"day": f"{day}", "regular": text, "source": f"exchange_calendars {_version()}"})
            for day, text in special
        ),
    }
    return "{\n" + ",\n".join(f' "{key}": {text}' for key, text in lines.items()) + "\n}\n", lost


def _laid_out(name: str, first: date, last: date) -> tuple[str, list[Day], str]:
    import exchange_calendars  # brings pandas

    try:
        calendar: Any = exchange_calendars.get_calendar(name, start=str(first), end=str(last))
    except (exchange_calendars.errors.CalendarError, NotImplementedError, ValueError) as error:
        raise UsageError(
            f"calendar {name}: exchange_calendars cannot lay it out: {str(error)[:200]}"
        ) from error
    rows = calendar.schedule.itertuples()
    days = [(row.Index.date(), _bounds(row, calendar.tz)) for row in rows]
    lost = f"calendar {name}: with pandas 3 exchange_calendars leaves out its sessions at weekends"
    return str(calendar.tz), days, lost if getattr(calendar, "special_weekmasks", ()) else ""


def _bounds(row: Any, zone: Any) -> tuple[str, ...]:
    moments = (row.open, row.break_start, row.break_end, row.close)
    # without a break there is NaT, equal to nothing
    return tuple(f"{moment.tz_convert(zone):%H:%M}" for moment in moments if moment == moment)


def _hours(days: list[Day]) -> Iterator[tuple[date, str]]:
    """The most frequent hours of each month, where they are other than before."""
    known = ""
    for _, of_month in groupby(days, key=lambda day: (day[0].year, day[0].month)):
        month = list(of_month)
        bounds, _ = Counter(bounds for _, bounds in month).most_common(1)[0]
        if _text(bounds) != known:
            known = _text(bounds)
            yield next(day for day, own in month if own == bounds), known


def _exceptions(
    days: list[Day], hours: list[tuple[date, str]], first: date, last: date
) -> tuple[list[date], list[tuple[date, str]], list[tuple[date, str]]]:
    trading = {day for day, _ in days}
    weekdays = (first + timedelta(days=number) for number in range((last - first).days + 1))
    closed = [day for day in weekdays if day.weekday() < SATURDAY and day not in trading]
    early: list[tuple[date, str]] = []
    special: list[tuple[date, str]] = []
    for day, bounds in days:
        usual = next((text for since, text in reversed(hours) if since <= day), "")
        text = _text(bounds)
        if day.weekday() >= SATURDAY or not usual:
            special.append((day, text))
        elif text != usual:
            is_shorter = text.rpartition("-")[0] == usual.rpartition("-")[0] and text < usual
            (early if is_shorter else special).append((day, bounds[-1] if is_shorter else text))
    return closed, early, special


def _text(bounds: tuple[str, ...]) -> str:
    return " ".join(f"{opens}-{closes}" for opens, closes in list(pairwise(bounds))[::2])


def _by_year(days: list[date]) -> Iterator[list[date]]:
    for _, of_year in groupby(days, key=lambda day: day.year):
        yield list(of_year)


def _list(items: Iterable[str]) -> str:
    text = ",\n  ".join(items)
    return f"[\n  {text}\n ]" if text else "[]"


def _version() -> str:
    from importlib.metadata import version

    return version("exchange_calendars")
