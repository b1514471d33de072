"""The bars of all stocks of a day in one answer: a request a day for what were one a stock.
https://massive.com/docs/rest/stocks/aggregates/daily-market-summary

    GET /v2/aggs/grouped/locale/us/market/stocks/2025-11-25?adjusted=false
    {"queryCount":11234,"resultsCount":11234,"adjusted":false,"results":[{"T":"AAPL","v":…,"t":1764104400000,"n":3},…]}

A row is that of ``/v2/aggs/ticker/AAPL/range/1/day``, and becomes the same bar under the same identity: it begins at
midnight in New York. ``t`` has been told as the start of its window and as its end (16:00), so the day is that of the
address, and ``t`` has to lie within it. Answers adjusted for splits are no record of what was traded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import urlencode

from etl.adapter.fields import FieldFault
from etl.adapter.market_calendar import NEW_YORK, calendar_of, is_closed
from etl.exchanges._polygon_wire import Page
from etl.model.codes import Code
from etl.model.times import NS_PER_S, as_ns

INTERVAL = "1d"
_ADDRESS = "/v2/aggs/grouped/locale/us/market/stocks/{day}?"
_RAW = re.compile(r"/grouped/locale/us/market/stocks/(\d{4}-\d\d-\d\d)\?(?:.*&)?adjusted=false(?:&|$)")


def paths(start_ns: int, end_ns: int) -> Iterator[str]:
    """One for each day that begins within [start_ns, end_ns), but for those on which the market is closed."""
    day = datetime.fromtimestamp(start_ns // NS_PER_S, UTC).date() - timedelta(days=1)
    while (begins_ns := _midnight_ns(day)) < end_ns:
        if begins_ns >= start_ns and not is_closed(NEW_YORK, day):
            yield _ADDRESS.format(day=day) + urlencode({"adjusted": "false", "include_otc": "false"})
        day += timedelta(days=1)


def page_of(endpoint: str) -> Page | None:
    """``None``: not such an answer, or one of adjusted prices."""
    asked = _RAW.search(endpoint)
    try:
        return Page("", INTERVAL, start_ns=_midnight_ns(date.fromisoformat(asked[1]))) if asked else None
    except ValueError:
        return None


def start_ns(told_ns: int, day_ns: int) -> int:
    """Of a row that tells ``told_ns`` in the answer of the day that begins at ``day_ns``. Raises ``FieldFault``."""
    day = datetime.fromtimestamp(day_ns // NS_PER_S, calendar_of(NEW_YORK).zone).date()
    if not day_ns <= told_ns <= _midnight_ns(day + timedelta(days=1)):
        raise FieldFault(Code.TIME_OUT_OF_RANGE, f"time {told_ns}: not of {day}")
    return day_ns


def _midnight_ns(day: date) -> int:
    return as_ns(datetime.combine(day, time(), calendar_of(NEW_YORK).zone))
