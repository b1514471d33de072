"""Bars out of a folder of end-of-day files: both layouts, a session on a Saturday, a file that is none."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from etl.errors import UsageError, VenueError
from etl.exchanges import load
from etl.ingest.backfill import run
from etl.ingest.backfill_estimate import estimate
from etl.ingest.backfill_jobs import archive_day, make_job, plan
from etl.ingest.bulk_rates import measured
from etl.model.records import Bar, Gap, Kind
from etl.model.times import NS_PER_HOUR, NS_PER_MINUTE, parse_ns
from etl.settings import Settings, changed, make
from etl.transports.kafka import ensure_topics
from tests.support import fixtures
from tests.support.topics import quarantined, records

FORMER, UDIFF, UDIFF_END = (
    fixtures.read(fixtures.FOLDER / "nse.synthetic.jsonl")[number].frame for number in range(3)
)
INDIA_NS = 5 * NS_PER_HOUR + 30 * NS_PER_MINUTE


def put(folder: Path, day: str, text: str) -> None:
    path = folder / load("nse")().archive_path(Kind.BAR, "*", day).removeprefix("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(path.name.removesuffix(".zip"), text)
    path.write_bytes(file.getvalue())


@pytest.mark.parametrize(
    ("venue", "day", "path"),
    [
        ("nse", "2024-07-05", "/content/historical/EQUITIES/2024/JUL/cm05JUL2024bhav.csv.zip"),
        ("nse", "2024-07-08", "/content/cm/BhavCopy_NSE_CM_0_0_0_20240708_F_0000.csv.zip"),
        ("bse", "2024-07-05", "/download/BhavCopy/Equity/EQ050724_CSV.ZIP"),
        ("bse", "2024-07-08", "/download/BhavCopy/Equity/BhavCopy_BSE_CM_0_0_0_20240708_F_0000.CSV"),
    ],
)
def test_the_layout_goes_by_the_day(venue: str, day: str, path: str) -> None:
    assert load(venue)().archive_path(Kind.BAR, "*", day) == path


@pytest.mark.integration
def test_a_folder_is_read_whole_and_what_it_lacks_is_told(
    settings_with: Callable[..., Settings], tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    settings = settings_with(kafka=True, live=True, archive_url=f"file://{folder}")
    ensure_topics(settings)
    put(folder, "2024-07-05", FORMER)
    put(folder, "2024-07-08", UDIFF + UDIFF_END)
    put(
        folder,
        "2024-01-20",
        FORMER.replace("05-JUL-2024", "20-JAN-2024").replace("04-JUL-2024", "20-JAN-2024"),
    )
    span = parse_ns("2024-07-04T18:30:00"), parse_ns("2024-07-09T18:30:00")
    job = make_job(settings, "nse", [], ["bar"], *span, from_archive=True)
    days = [archive_day(load("nse"), chunk) for chunk in plan(job)]
    assert days == ["2024-07-05", "2024-07-06", "2024-07-07", "2024-07-08", "2024-07-09"]
    summary = run(settings, job)
    assert (summary.chunks, summary.rows, summary.holes) == (5, 5, 1), "a weekend is no hole, the 9th is"
    found = records(settings)
    bars = {(one.symbol, one.event_time_ns): one for one in found if isinstance(one, Bar)}
    reliance = bars["RELIANCE-INR", parse_ns("2024-07-08") - INDIA_NS]
    assert (reliance.open, reliance.close, reliance.volume, reliance.quote_volume, reliance.interval) == (
        "3180.00", "3201.80", "1000", "3200000.00", "1d",
    )  # fmt: skip
    assert sorted(symbol for symbol, _ in bars) == [
        "BAJAJ-AUTO-INR", "BAJAJ-AUTO-INR-BE", "M&M-INR", "RELIANCE-INR",
    ]  # fmt: skip
    codes = sorted(item.code for item in quarantined(settings))
    assert codes == ["decimal_malformed", "ohlc_inconsistent", "time_out_of_range"]
    (gap,) = {one.record_key: one for one in found if isinstance(one, Gap)}.values()
    assert gap.from_time_ns == parse_ns("2024-07-09") - INDIA_NS

    saturday = parse_ns("2024-01-19T18:30:00"), parse_ns("2024-01-20T18:30:00")
    assert run(settings, make_job(settings, "nse", [], ["bar"], *saturday, from_archive=True)).rows == 3

    put(folder, "2024-07-10", "")
    page = folder / load("nse")().archive_path(Kind.BAR, "*", "2024-07-10").removeprefix("/")
    page.write_bytes(b"<html>Access Denied</html>")
    blocked = parse_ns("2024-07-09T18:30:00"), parse_ns("2024-07-10T18:30:00")
    with pytest.raises(VenueError, match="not a zip file"):
        run(settings, make_job(settings, "nse", [], ["bar"], *blocked, from_archive=True))


@pytest.mark.integration
def test_a_month_that_has_no_file_is_read_by_its_days(
    settings_with: Callable[..., Settings], tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    settings = settings_with(kafka=True, live=True, archive_url=folder.as_uri())
    ensure_topics(settings)
    for day in ("2024-02-01", "2024-02-29"):
        put_minutes(folder, day)
    span = parse_ns("2024-02-01"), parse_ns("2024-03-08")
    job = make_job(settings, "binance", ["BTCUSDT"], ["bar"], *span, from_archive=True)
    summary = run(settings, job)
    assert (summary.chunks, summary.rows) == (1 + 7, 2 * 1_440)
    spans = {(one.from_time_ns, one.to_time_ns) for one in records(settings) if isinstance(one, Gap)}
    last_ns, next_ns = parse_ns("2024-02-01T23:59"), parse_ns("2024-02-29")
    assert (last_ns, next_ns) in spans, "days that have no file either"
    assert len(spans) == summary.holes == 1 + 7


def put_minutes(folder: Path, day: str) -> None:
    """A day of Binance's bars, with its checksum."""
    path = folder / load("binance")().archive_path(Kind.BAR, "BTCUSDT", day).removeprefix("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    first_ms = parse_ns(day) // 1_000_000
    starts = range(first_ms, first_ms + 86_400_000, 60_000)
    lines = (f"{ms},1,2,0.5,1.5,9,{ms + 59_999},12,3,4,5,0\n" for ms in starts)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(f"{path.stem}.csv", "".join(lines))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(f"{path.name}.CHECKSUM").write_text(f"{digest}  {path.name}\n")


def test_the_estimate_of_a_folder_goes_by_the_files_that_are_there(tmp_path: Path) -> None:
    folder = tmp_path / "us_stocks_sip" / "minute_aggs_v1" / "2024" / "02"
    folder.mkdir(parents=True)
    flat = fixtures.read(fixtures.FOLDER / "polygon.flatfile.jsonl")[0].frame
    for day in ("2024-02-26", "2024-02-27"):
        (folder / f"{day}.csv.gz").write_bytes(gzip.compress(flat.encode(), mtime=0))
    settings = make(state_dir=str(tmp_path / "state"), live=True, archive_url=f"file://{tmp_path}")
    span = parse_ns("2024-02-26T04:00:00"), parse_ns("2024-03-02T04:00:00")
    job = make_job(settings, "polygon", [], ["bar"], *span, from_archive=True)
    assert job.symbols == ("*",), "a file holds all symbols"
    (found,) = asyncio.run(estimate(settings, job))
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert (found.requests, found.rows, found.file_bytes) == (2, 2 * flat.count("\n"), size)


def test_five_years_of_minute_bars_are_planned_before_a_file_is_there(tmp_path: Path) -> None:
    settings = make(state_dir=str(tmp_path / "state"), live=True, archive_url=f"file://{tmp_path}")
    span = parse_ns("2021-01-01T04:00:00"), parse_ns("2026-01-01T04:00:00")
    job = make_job(settings, "polygon", [], ["bar"], *span, from_archive=True)
    (found,) = asyncio.run(estimate(settings, job, in_bulk=True))
    (by_line,) = asyncio.run(estimate(settings, job))
    assert (found.requests, found.rows) == (1_255, 1_255 * 800_000), (
        "a file each day of trading: a billion bars"
    )
    assert found.store_bytes == {
        store: round(size * found.rows) for store, size in measured().bytes_per_row.items()
    }
    rates = measured()
    assert found.seconds == pytest.approx(found.rows / min(rates.rows_per_s.values()), abs=0.1)
    assert by_line.seconds == pytest.approx(found.rows / rates.line_by_line_rows_per_s, abs=0.1)
    only = changed(settings, stores="lake")
    assert asyncio.run(estimate(only, job, in_bulk=True))[0].seconds < by_line.seconds / 3


def test_a_venue_without_files_of_its_own_says_what_to_set(settings: Settings) -> None:
    live = changed(settings, live=True)
    with pytest.raises(UsageError, match="set ETL_ARCHIVE_URL"):
        make_job(live, "nse", [], ["bar"], 0, parse_ns("2024-07-05"), from_archive=True)
