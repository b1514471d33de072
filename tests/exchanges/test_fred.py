"""FRED's vintages, against the generator of the simulated one, and what the parser alone decides."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from etl.adapter.contract import Credentials, Fault, FaultKind, Request
from etl.adapter.faults import fault_of_status
from etl.errors import VenueError
from etl.exchanges.fred import VINTAGES_MAX, Fred
from etl.ingest.backfill_jobs import Job, plan, slices
from etl.ingest.release_calendar import has_release
from etl.model.records import Frame, Kind
from etl.model.times import NS_PER_DAY, parse_ns
from etl.simulator.venues.fred import SIMULATED_KEY
from tests.support import fred


@pytest.mark.parametrize("page_rows", [0, 7])
@pytest.mark.parametrize("series", ["GDP", "UNRATE", "DGS10"])
def test_all_that_was_ever_told_comes_once_however_pages_and_windows_cut_it(
    series: str, page_rows: int
) -> None:
    venue = fred.simulated(page_rows)
    records, truth, requests = fred.backfilled(series, venue)
    assert sorted(one.record_key for one in records) == sorted(event.record_key for event in truth)
    assert all(one.publish_time_ns == one.key_time_ns == parse_ns(one.vintage_date) for one in records)
    assert len({one.record_key for one in records}) == len(records)
    told = venue.vintages(series, fred.NOW[:10])
    kept = {(one.observation_date, one.vintage_date, one.value) for one in records if not one.flags}
    assert kept == {(one.day, one.from_day, None if one.value == "." else one.value) for one in told}
    assert sum(one.flags == ("withdrawn",) for one in records) == len(records) - len(kept) > 0
    assert {(one.unit != "", one.release != "") for one in records} == {(True, True)}
    if series == "DGS10" and not page_rows:
        assert len({one.from_day for one in told}) > VINTAGES_MAX
        assert requests == 3 + 2, "its vintages are too many for one window"


def test_day_by_day_gives_what_the_whole_gives() -> None:
    venue = fred.simulated()
    whole, _, _ = fred.backfilled("UNRATE", venue)
    parts = []
    edges = [
        parse_ns(day)
        for day in ("1900-01-01", "2018-03-08", "2018-03-09", "2018-03-10", "2022-07-01", "2026-12-01")
    ]
    for span in pairwise(edges):
        parts += fred.backfilled("UNRATE", venue, span)[0]
    assert sorted(one.record_key for one in parts) == sorted(one.record_key for one in whole)


def test_the_key_goes_beside_the_request_and_not_into_its_path() -> None:
    parser = Fred(Credentials("abcdef"))
    first = next(parser.history_requests(Kind.OBSERVATION, "GDP", 0, NS_PER_DAY))
    assert "abcdef" not in first.path
    assert "api_key" not in first.path
    assert parser.key_query(first) == {"api_key": "abcdef"}


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (400, "Bad Request.  The value for variable api_key is not registered.", FaultKind.AUTHENTICATION),
        (400, "Bad Request.  The series does not exist.", FaultKind.REQUEST),
        (403, "<html><head>Access Denied", FaultKind.RATE_LIMIT),
        (423, "Locked", FaultKind.TRANSIENT),
        (429, "Too Many Requests.", FaultKind.RATE_LIMIT),
        (500, "Internal Server Error", FaultKind.TRANSIENT),
    ],
)
def test_what_a_status_means(status: int, said: str, kind: FaultKind) -> None:
    assert fault_of_status(status, said, 0.0, Fred.fault_codes).kind is kind


def test_a_refusal_under_status_200_is_a_fault() -> None:
    frame = Frame(
        "fred",
        "c",
        1,
        "http://x/fred/series?series_id=X",
        1,
        b'{"error_code":400,"error_message":"no api_key"}',
    )
    _, fault = Fred().parse(frame)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.AUTHENTICATION


def test_a_page_that_cannot_be_read_or_ends_too_early_is_no_end() -> None:
    request = Request("/fred/series/observations?series_id=X&offset=0", Kind.OBSERVATION, "X")
    for payload in (
        b"<html>",
        b'{"realtime_start":"1776-07-04","realtime_end":"9999-12-31","count":9,"offset":0,"limit":5,"observations":[]}',
    ):
        with pytest.raises(VenueError):
            Fred().next_request(request, Frame("fred", "c", 1, "", 1, payload))


def test_a_series_is_one_chunk_whatever_its_range() -> None:
    job = Job(
        exchange="fred", symbols=("GDP", "DGS10"), kinds=("observation",), start_ns=parse_ns("1900-01-01"),
        end_ns=parse_ns("2026-12-01"),
    )  # fmt: skip
    assert [(chunk.symbol, chunk.start_ns, chunk.end_ns) for chunk in plan(job)] == [
        ("GDP", job.start_ns, job.end_ns), ("DGS10", job.start_ns, job.end_ns),
    ]  # fmt: skip
    assert slices(job, 1) == [msgspec.structs.replace(job, symbols=(one,)) for one in job.symbols]


def test_the_calendar_of_a_series_tells_the_days_of_its_release_and_those_to_come() -> None:
    venue, parser = fred.simulated(), Fred(Credentials(SIMULATED_KEY))
    for number, request in enumerate(parser.calendar_requests("UNRATE", "2026-10-01"), 1):
        answer = fred.asked(venue, parser, request, fred.NOW)
        parser.parse(Frame("fred", "c", number, f"http://x{request.path}", 1, answer.body))
    days = parser.release_days("UNRATE")
    told = {one.from_day for name in ("UNRATE", "PAYEMS") for one in venue.vintages(name, fred.NOW[:10])}
    assert {day for day in days if day <= fred.NOW[:10]} == {day for day in told if day >= "2026-10-01"}
    assert days[-1] > fred.NOW[:10]
    assert has_release(days, "2026-10-01", fred.NOW[:10])
    assert not has_release(days, "2026-10-02", "2026-10-02")
    assert has_release(["2026-10-05"], "2026-10-05", "2026-10-05"), (
        "it may come later on the day that was asked for"
    )
