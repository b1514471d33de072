"""FRED and ALFRED of the Federal Reserve Bank of St. Louis: macro series with all their vintages, by request alone.
https://fred.stlouisfed.org/docs/api/fred/

One series is asked for in four steps, each answer telling the next: its unit, its release, the dates of its vintages,
and the observations, within windows of so many vintages as one answer may span.

- An observation holds in an interval of real time. An answer cuts it to the interval that was asked for, so that its
  first day would be taken for a vintage: windows overlap by a day, and what begins with a window was told by the one
  before.
- What ends within a window and has no successor was withdrawn on the day after: an observation without a value.
- The same vintage with another value, as series without an ALFRED history have it, is another observation.
- An observation of ``.`` is there, and has no value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import ClassVar, TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from etl.adapter.contract import (
    Budget,
    Channel,
    Credentials,
    Exchange,
    Fault,
    FaultCode,
    FaultKind,
    History,
    Ignored,
    Outcome,
    Rejected,
    Request,
    SequenceRule,
)
from etl.adapter.fields import UNDECODABLE, UNREADABLE, DecimalTexts, FieldFault, rejected
from etl.adapter.paging import query_of, with_query
from etl.errors import VenueError
from etl.exchanges import _fred_wire as wire
from etl.model.codes import Code
from etl.model.instruments import Instruments
from etl.model.records import Frame, Kind, Observation
from etl.model.times import NS_PER_DAY, NS_PER_S

CHANNEL = "observations"
FIRST_DAY, LAST_DAY = "1776-07-04", "9999-12-31"
"""Of real time, by the source's own word."""
PAGE_ROWS_MAX = 5_000
"""The source allows 100,000; so few, an answer stays below 1 MiB and is one frame."""
VINTAGE_DATES_MAX = 10_000
VINTAGES_MAX = 1_500
"""Of one window: somewhere near 2,000 the source refuses."""
MISSING = "."
WITHDRAWN = "withdrawn"
"""Flag of an observation that a later vintage has no more."""
_EPOCH = date(1970, 1, 1)
_Found = TypeVar("_Found")


class _Series(Struct):
    """What the answers before told of a series. ``pending`` is the last row, whose successor may come with the next
    page."""

    unit: str = ""
    release: str = ""
    release_id: int = 0
    release_days: list[str] = []
    vintages: list[str] = []
    pending: wire.Observation | None = None


class Fred(Exchange):
    name = "fred"
    websocket_url = ""
    rest_url = "https://api.stlouisfed.org"
    channels = (Channel(CHANNEL, Kind.OBSERVATION, SequenceRule.NONE, Kind.OBSERVATION),)
    ignored_names: ClassVar[Mapping[str, str]] = {
        "series": "a series' title and unit, which its observations carry",
        "release": "the release of a series, which its observations carry",
        "release_dates": "the calendar of a release",
        "vintage_dates": "the days on which a series was told anew",
        "carried_over": "an observation that holds since before the real time asked for",
        "empty_page": "an answer without observations",
        "refusal": "an answer that says why there is none",
    }
    default_symbols: ClassVar[tuple[str, ...]] = ("GDP", "CPIAUCSL", "UNRATE", "PAYEMS", "FEDFUNDS", "DGS10")
    key_variables = (("FRED_API_KEY",),)
    budgets = (Budget(110, 60.0), Budget(2, 1.1))
    """120 a minute are documented; more than 2 a second are refused since 2026."""
    fault_codes = (
        FaultCode(400, FaultKind.AUTHENTICATION, "api_key"),
        FaultCode(403, FaultKind.RATE_LIMIT, "<html"),
        FaultCode(423, FaultKind.TRANSIENT),
    )
    history: ClassVar[Mapping[Kind, History]] = {Kind.OBSERVATION: History("time")}
    untimed_kinds = frozenset((Kind.OBSERVATION,))
    event_time_min_ns = -2_208_988_800 * NS_PER_S
    """1900-01-01: no vintage of ALFRED is older, and ClickHouse counts ns from there on."""
    changes: ClassVar[Mapping[str, str]] = {
        "2026": "more than two requests a second are refused with 429, and so is all that follows",
        "2026-04": "ICE BofA series (`BAML…`) tell three years alone; what we have of them stays",
    }

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._decimals = DecimalTexts()
        self._known: dict[str, _Series] = {}

    # requests

    def key_query(self, request: Request) -> Mapping[str, str]:
        return {"api_key": self.credentials.key}

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        """Vintages of [start_ns, end_ns), days in UTC. Each request is made when the answers to those before it were
        parsed."""
        first, last = day_text(start_ns // NS_PER_DAY), day_text((end_ns - 1) // NS_PER_DAY)
        yield self._request("/fred/series", venue_symbol)
        yield self._request("/fred/series/release", venue_symbol)
        yield self._request("/fred/series/vintagedates", venue_symbol, limit=VINTAGE_DATES_MAX, offset=0)
        vintages = sorted(one for one in self._of(venue_symbol).vintages if first <= one <= last)
        for place in range(0, len(vintages), VINTAGES_MAX):
            window = vintages[place : place + VINTAGES_MAX]
            start = vintages[place - 1] if place else day_before(window[0])
            self._of(venue_symbol).pending = None
            yield self._request(
                "/fred/series/observations", venue_symbol, realtime_start=start, realtime_end=window[-1],
                output_type=1, units="lin", sort_order="asc", limit=PAGE_ROWS_MAX, offset=0,
            )  # fmt: skip

    def calendar_requests(self, venue_symbol: str, from_day: str) -> Iterator[Request]:
        yield self._request("/fred/series/release", venue_symbol)
        known = self._of(venue_symbol)
        known.release_days = []
        query = {
            "release_id": known.release_id, "realtime_start": from_day, "realtime_end": LAST_DAY, "file_type": "json",
            "include_release_dates_with_no_data": "true", "sort_order": "asc", "limit": 10_000,
        }  # fmt: skip
        yield Request(f"/fred/release/dates?{urlencode(query)}", Kind.OBSERVATION, venue_symbol)

    def release_days(self, venue_symbol: str) -> Sequence[str]:
        return self._of(venue_symbol).release_days

    @staticmethod
    def _request(path: str, series: str, **parameters: object) -> Request:
        query = {"series_id": series, "file_type": "json", **parameters}
        return Request(f"{path}?{urlencode(query)}", Kind.OBSERVATION, series)

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        path, query = query_of(request.path)
        if path == "/fred/series/observations":
            pages: type[wire.Observations | wire.VintageDates] = wire.Observations
        elif path == "/fred/series/vintagedates":
            pages = wire.VintageDates
        else:
            return None
        try:
            page = msgspec.json.decode(frame.payload, type=pages)
        except UNDECODABLE as error:
            raise VenueError(f"{path}: no page of {query['series_id']}: {error}") from None
        rows = page.observations if isinstance(page, wire.Observations) else page.vintage_dates
        offset = page.offset + len(rows)
        if offset >= page.count:
            return None
        if not rows:
            raise VenueError(f"{path}: a page without rows, {page.count - offset} before the end")
        return with_query(request, {"offset": offset})

    def told_rows(self, request: Request, frame: Frame) -> int | None:
        """All of the window; what it carries over is among them."""
        if query_of(request.path)[0] != "/fred/series/observations":
            return None
        return msgspec.json.decode(frame.payload, type=wire.Observations).count

    # answers

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        path, query = query_of(frame.endpoint)
        series = query.get("series_id", "")
        try:
            match path.rpartition("/fred/")[2]:
                case "series":
                    self._of(series).unit = _one(
                        msgspec.json.decode(frame.payload, type=wire.SeriesList).seriess
                    ).units
                    return [Ignored("series", 0)]
                case "series/release":
                    release = _one(msgspec.json.decode(frame.payload, type=wire.Releases).releases)
                    known = self._of(series)
                    known.release, known.release_id = release.name, release.id
                    return [Ignored("release", 0)]
                case "release/dates":
                    days = msgspec.json.decode(frame.payload, type=wire.ReleaseDates).release_dates
                    for known in self._known.values():
                        known.release_days += [day.date for day in days if day.release_id == known.release_id]
                    return [Ignored("release_dates", 0)]
                case "series/vintagedates":
                    dates = msgspec.json.decode(frame.payload, type=wire.VintageDates).vintage_dates
                    self._of(series).vintages += dates
                    return [Ignored("vintage_dates", 0)]
                case "series/observations" if series:
                    page = msgspec.json.decode(frame.payload, type=wire.Observations)
                    return list(self._page(frame, series, page)) or [Ignored("empty_page", 0)]
        except UNREADABLE as error:
            return self._refusal(frame) or [rejected(error, 0, "")]
        return self._refusal(frame) or [Rejected(Code.UNKNOWN_MESSAGE, path[-80:], 0, "")]

    @staticmethod
    def _refusal(frame: Frame) -> list[Outcome]:
        try:
            refusal = msgspec.json.decode(frame.payload, type=wire.Refusal)
        except UNDECODABLE:
            return []
        kind = FaultKind.AUTHENTICATION if "api_key" in refusal.error_message else FaultKind.REQUEST
        return [Ignored("refusal", 0), Fault(kind, str(refusal.error_code), refusal.error_message)]

    def _page(self, frame: Frame, series: str, page: wire.Observations) -> Iterator[Outcome]:
        known, rows = self._of(series), page.observations
        extra = len(rows)
        for index, row in enumerate(rows):
            try:
                read = self._observation(frame, series, index, row)
            except UNREADABLE as error:
                yield rejected(error, index, series)
                continue
            if known.pending is not None and (gone := _withdrawn(known.pending, row, page.realtime_end)):
                yield self._observation(frame, series, extra, gone, (WITHDRAWN,))
                extra += 1
            known.pending = row
            is_carried_over = row.realtime_start <= page.realtime_start != FIRST_DAY
            yield Ignored("carried_over", index) if is_carried_over else read
        if known.pending is not None and page.offset + len(rows) >= page.count:
            if gone := _withdrawn(known.pending, None, page.realtime_end):
                yield self._observation(frame, series, extra, gone, (WITHDRAWN,))
            known.pending = None

    def _observation(
        self, frame: Frame, series: str, index: int, row: wire.Observation, flags: tuple[str, ...] = ()
    ) -> Observation:
        value = None if row.value == MISSING else self._decimals[row.value]
        if value is None and row.value != MISSING:
            raise FieldFault(Code.DECIMAL_MALFORMED, "an empty value")
        known, time_ns = self._of(series), _day(row.realtime_start) * NS_PER_DAY
        for day in (row.realtime_end, row.date):
            _day(day)
        return Observation(
            exchange=self.name,
            symbol=series,
            venue_symbol=series,
            channel=CHANNEL,
            event_time_ns=0,
            receive_time_ns=frame.receive_time_ns,
            source=frame.source,
            connection_id=frame.connection_id,
            frame_sequence=frame.frame_sequence,
            frame_index=index,
            record_key=f"{row.date}/{row.realtime_start}/{row.value}",
            key_time_ns=time_ns,
            parser_version=self.parser_version,
            publish_time_ns=time_ns,
            flags=flags,
            observation_date=row.date,
            vintage_date=row.realtime_start,
            value=value,
            unit=known.unit,
            release=known.release,
        )

    def _of(self, series: str) -> _Series:
        return self._known.setdefault(series, _Series())


def _one(found: Sequence[_Found]) -> _Found:
    if len(found) != 1:
        raise FieldFault(Code.FIELD_MISSING, f"{len(found)} answers to a question of one series")
    return found[0]


def _withdrawn(
    row: wire.Observation, following: wire.Observation | None, end: str
) -> wire.Observation | None:
    """What no later vintage says, as of the day after its last; ``end`` is the last day that was asked for."""
    if row.realtime_end >= end:
        return None
    after = day_text(_day(row.realtime_end) + 1)
    if following is not None and following.date == row.date and following.realtime_start == after:
        return None
    return wire.Observation(after, LAST_DAY, row.date, MISSING)


def day_before(day: str) -> str:
    return (date.fromisoformat(day) - timedelta(days=1)).isoformat()


def day_text(number: int) -> str:
    """``YYYY-MM-DD`` of days since 1970."""
    return (_EPOCH + timedelta(days=number)).isoformat()


def _day(text: str) -> int:
    """Raises ``FieldFault`` for what is no date."""
    try:
        return (date.fromisoformat(text) - _EPOCH).days
    except ValueError:
        raise FieldFault(Code.FIELD_MALFORMED, f"no date: {text!r:.40}") from None
