"""What FRED answers. https://fred.stlouisfed.org/docs/api/fred/"""

from __future__ import annotations

from msgspec import Struct


class Refusal(Struct):
    """``{"error_code":400,"error_message":"Bad Request.  The series does not exist."}``"""

    error_code: int
    error_message: str = ""


class Observation(Struct):
    """``{"realtime_start":"2026-08-14","realtime_end":"9999-12-31","date":"1929-01-01","value":"1065.9"}``; a
    value that is missing is ``.``."""

    realtime_start: str
    realtime_end: str
    date: str
    value: str


class Observations(Struct):
    """One page. ``count`` is of all pages; ``realtime_start`` and ``realtime_end`` are those of the question."""

    realtime_start: str
    realtime_end: str
    count: int
    offset: int
    limit: int
    observations: list[Observation]
    output_type: int = 1


class OneSeries(Struct):
    """``{"id":"GDP","title":"Gross Domestic Product","units":"Billions of Dollars","frequency_short":"Q", …}``"""

    id: str
    units: str = ""


class SeriesList(Struct):
    seriess: list[OneSeries]


class Release(Struct):
    """``{"id":53,"name":"Gross Domestic Product","press_release":true}``"""

    id: int
    name: str


class Releases(Struct):
    releases: list[Release]


class VintageDates(Struct):
    vintage_dates: list[str]
    count: int
    offset: int
    limit: int


class ReleaseDate(Struct):
    """``{"release_id":53,"date":"2026-07-30"}``"""

    release_id: int
    date: str


class ReleaseDates(Struct):
    release_dates: list[ReleaseDate]
