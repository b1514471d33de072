"""Backfills: planned by the clock, fetched from a simulated venue, killed in the middle, run again."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import msgspec
import pytest

from etl import settings as settings_module
from etl.adapter.market_calendar import is_closed
from etl.embedded.ports import free_ports
from etl.errors import UsageError, VenueError
from etl.exchanges import load
from etl.ingest.backfill import announce
from etl.ingest.backfill_coverage import Fetched, _fewer_than_counted, by_symbol, check, missing
from etl.ingest.backfill_jobs import Chunk, Job, archive_date, archive_day, day_of, make_job, plan, slices
from etl.ingest.backfill_marks import Marks, Plan, at_work
from etl.model.records import Bar, Kind, Record, Source
from etl.model.times import as_ns
from etl.settings import Settings
from etl.simulator.stocks import LISTED
from etl.stores.files import write_whole
from etl.transports.kafka import ensure_topics
from etl.transports.transport import transport_of
from etl.wire import codec

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
WEEK_NS = 7 * DAY_NS
MIDNIGHT_NS = time.time_ns() // DAY_NS * DAY_NS - DAY_NS
STEP_S = 10
"""The simulator's past has a trade of each symbol so often."""


def job(**values: object) -> Job:
    given: dict[str, object] = {
        "exchange": "binance",
        "symbols": ("BTCUSDT",),
        "kinds": ("trade",),
        "start_ns": MIDNIGHT_NS,
        "end_ns": MIDNIGHT_NS + 3 * HOUR_NS,
        **values,
    }
    return msgspec.convert(given, Job)


def test_trades_are_cut_at_whole_hours_and_bars_at_days() -> None:
    start, end = MIDNIGHT_NS + HOUR_NS // 2, MIDNIGHT_NS + DAY_NS + HOUR_NS
    spans = [(chunk.start_ns, chunk.end_ns) for chunk in plan(job(start_ns=start, end_ns=end))]
    assert spans[:2] == [(start, MIDNIGHT_NS + HOUR_NS), (MIDNIGHT_NS + HOUR_NS, MIDNIGHT_NS + 2 * HOUR_NS)]
    assert len(spans) == 25
    assert [(c.start_ns, c.end_ns) for c in plan(job(start_ns=start, end_ns=end, kinds=("bar",)))] == [
        (start, MIDNIGHT_NS + DAY_NS),
        (MIDNIGHT_NS + DAY_NS, end),
    ]


def test_of_bars_whole_months_are_asked_for_where_their_file_must_be_there() -> None:
    days = [as_ns(text) for text in ("2024-01-15", "2024-02-01", "2024-03-01", "2024-04-05")]
    asked = job(archive=True, kinds=("bar",), start_ns=days[0], end_ns=days[3])
    spans = [(chunk.start_ns, chunk.end_ns) for chunk in plan(asked)]
    assert len(spans) == 17 + 1 + 31 + 4
    assert (days[1], days[2]) in spans
    assert [end_ns for _, end_ns in spans[:-1]] == [start_ns for start_ns, _ in spans[1:]]
    assert len(plan(msgspec.structs.replace(asked, end_ns=as_ns("2024-04-08")))) == 17 + 1 + 1 + 7
    assert len(plan(msgspec.structs.replace(asked, kinds=("trade",)))) == 17 + 29 + 31 + 4
    (month,) = (chunk for chunk in plan(asked) if chunk.start_ns == days[1])
    file = archive_date(load("binance"), month)
    path = load("binance")().archive_path(Kind.BAR, "BTCUSDT", file)
    assert path == "/data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-02.zip"
    assert (
        load("binance_usdm")().archive_path(Kind.BAR, "BTCUSDT", file).startswith("/data/futures/um/monthly/")
    )


def test_the_archive_is_asked_for_whole_days() -> None:
    assert len(plan(job(archive=True, end_ns=MIDNIGHT_NS + DAY_NS))) == 1


def test_a_day_of_utc_comes_out_of_the_two_files_of_hong_kongs_days_and_each_is_read_once() -> None:
    asked = Job(
        exchange="okx", symbols=("BTC-USDT",), kinds=("trade",), start_ns=MIDNIGHT_NS,
        end_ns=MIDNIGHT_NS + 2 * DAY_NS, archive=True,
    )  # fmt: skip
    cut_ns = MIDNIGHT_NS + 16 * HOUR_NS
    spans = [(MIDNIGHT_NS, cut_ns), (cut_ns, cut_ns + DAY_NS), (cut_ns + DAY_NS, MIDNIGHT_NS + 2 * DAY_NS)]
    chunks = plan(asked)
    assert [(one.start_ns, one.end_ns) for one in chunks] == spans
    days = [day_of(MIDNIGHT_NS + n * DAY_NS) for n in range(3)]
    assert [archive_day(load("okx"), one) for one in chunks] == days
    assert [(one.start_ns, one.end_ns) for one in slices(asked, 256)] == spans
    assert [plan(one) for one in slices(asked, 256)] == [[one] for one in chunks]


def test_a_contract_that_is_over_is_asked_for_though_the_list_has_it_no_more_and_a_series_is_not() -> None:
    over, span = "KXBTC15M-26SEP151915-15", (0, DAY_NS)
    assert make_job(Settings(), "kalshi", [over], ["trade"], *span).symbols == (over,)
    with pytest.raises(UsageError, match=r"no instrument KXBTC15M-\*"):
        make_job(Settings(), "kalshi", ["KXBTC15M-*"], ["trade"], *span)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"symbols": ["NOSUCH"]}, "no instrument NOSUCH"),
        ({"kinds": ["quote"]}, "no history of quote; there is trade"),
        ({"kinds": []}, "name the kinds"),
        ({"end_ns": MIDNIGHT_NS}, "the range is empty"),
        (
            {"start_ns": MIDNIGHT_NS + 90 * DAY_NS, "end_ns": MIDNIGHT_NS + 91 * DAY_NS},
            "the range lies in the future",
        ),
        ({"end_ns": MIDNIGHT_NS + 90 * DAY_NS}, "the range lies in the future"),
        (
            {"start_ns": time.time_ns() + HOUR_NS, "end_ns": time.time_ns() + 2 * HOUR_NS},
            "the range lies in the future",
        ),
        ({"exchange_name": "alpaca", "symbols": [" AAPL", "aapl"]}, "no symbol 'aapl'.* own, AAPL"),
        ({"exchange_name": "alpaca", "symbols": ["AAPL MSFT"]}, "no symbol 'AAPL MSFT'"),
        ({"exchange_name": "nosuch"}, "no such venue"),
        ({"exchange_name": "polygon", "symbols": ["*"], "from_archive": True}, "no archive of trade"),
        ({"exchange_name": "polygon", "symbols": ["AAPL"], "from_archive": True}, "holds all symbols"),
        ({"exchange_name": "polygon", "symbols": ["*"]}, "history of trade is asked for by symbol"),
        ({"exchange_name": "polygon_options", "symbols": ["*"], "kinds": ["bar"]}, "of bar is asked for by"),
    ],
)
def test_what_the_venue_cannot_do_is_refused_at_once(changed: dict[str, object], complaint: str) -> None:
    asked: dict[str, object] = {
        "exchange_name": "binance",
        "symbols": ["BTCUSDT"],
        "kinds": ["trade"],
        "start_ns": MIDNIGHT_NS,
        "end_ns": MIDNIGHT_NS + HOUR_NS,
        **changed,
    }
    with pytest.raises(UsageError, match=complaint):
        make_job(Settings(), **asked)  # type: ignore[arg-type]


def test_spaces_around_what_was_typed_mean_nothing_and_a_symbol_is_fetched_once() -> None:
    span = MIDNIGHT_NS, MIDNIGHT_NS + HOUR_NS
    for venue, symbols in (
        ("binance", (" BTCUSDT", "BTCUSDT ", "", "BTC-USDT")),
        ("alpaca", (" AAPL", "AAPL\t")),
    ):
        asked = make_job(Settings(), venue, symbols, [" trade", "bar ", "trade", ""], *span)
        assert (asked.symbols, asked.kinds) == ((symbols[0].strip(),), ("trade", "bar"))
    assert make_job(Settings(), "polygon", [" BACpB "], ["trade"], *span).symbols == ("BACpB",)


def test_the_day_that_goes_on_may_be_asked_for_as_a_whole() -> None:
    today = MIDNIGHT_NS + DAY_NS, MIDNIGHT_NS + 2 * DAY_NS
    assert make_job(Settings(), "binance", [], ["bar"], *today).end_ns == today[1]


def test_a_job_that_is_not_done_has_no_coverage(settings: Settings) -> None:
    with pytest.raises(VenueError, match="is not done"):
        check(settings, (job(),), "unknown")


def done(
    kind: str, start_ns: int, end_ns: int, archive: bool = False, **values: object
) -> tuple[Chunk, Fetched]:
    chunk = Chunk("polygon", "AAPL", kind, start_ns, end_ns, archive)
    return chunk, msgspec.convert({"symbol": "AAPL", **values}, Fetched)


def test_a_day_with_fewer_trades_than_its_bars_count_is_a_hole_where_no_id_tells() -> None:
    day = MIDNIGHT_NS, MIDNIGHT_NS + DAY_NS
    hours = [done("trade", day[0] + n * HOUR_NS, day[0] + (n + 1) * HOUR_NS, rows=10) for n in range(24)]
    for trades, expected in (
        (0, []),
        (240, []),
        (241, ["the venue's bars count 241 trades, its history gave 240"]),
    ):
        found = list(_fewer_than_counted(load("polygon"), [*hours, done("bar", *day, trades=trades)]))
        assert [hole.reason for hole in found] == expected
        assert all((one.channel, one.from_time_ns, one.to_time_ns) == ("T", *day) for one in found)
    without_trades = [done("bar", *day, trades=5)]
    half_a_minute = [hours[0], done("bar", day[0], day[0] + HOUR_NS - 1, trades=11)]
    for unjudged in (without_trades, half_a_minute):
        assert list(_fewer_than_counted(load("polygon"), unjudged)) == []
    assert list(_fewer_than_counted(load("binance"), [*hours, done("bar", *day, trades=241)])) == []


@pytest.mark.parametrize(("trades", "holes"), [(290, 0), (291, 1)])
def test_a_month_of_bars_is_held_against_the_trades_of_all_its_days(trades: int, holes: int) -> None:
    first_ns, after_ns = as_ns("2024-02-01"), as_ns("2024-03-01")
    days = [
        done("trade", start, start + DAY_NS, archive=True, rows=10)
        for start in range(first_ns, after_ns, DAY_NS)
    ]
    month = done("bar", first_ns, after_ns, archive=True, trades=trades)
    assert len(list(_fewer_than_counted(load("polygon"), [*days, month]))) == holes
    assert list(_fewer_than_counted(load("polygon"), [*days[1:], month])) == [], (
        "a day that was not asked for"
    )


def test_whoever_watches_sees_how_far_a_backfill_is(settings: Settings) -> None:
    assert at_work(settings) == []
    asked = job(symbols=("ETHUSDT", "BTCUSDT"), kinds=("trade", "bar"), end_ns=MIDNIGHT_NS + 2 * DAY_NS)
    announce(settings, slices(asked, 256), "manual__2026-11-21T10:00:00+00:00")
    marks = Marks(settings, "manual__2026-11-21T10:00:00+00:00")
    for chunk in plan(asked)[:7]:
        marks.put(chunk.name, b"{}")
    (found,) = at_work(settings)
    assert (found.name, found.done) == ("manual__2026-11-21T10_00_00_00_00", 7)
    assert found.plan == Plan(
        exchange="binance",
        symbols=["BTCUSDT", "ETHUSDT"],
        kinds=["trade", "bar"],
        start_ns=MIDNIGHT_NS,
        end_ns=MIDNIGHT_NS + 2 * DAY_NS,
        chunks=2 * 2 * 25,
    )
    marks.remove()
    assert at_work(settings) == []


@pytest.mark.parametrize("name", ["..", ".", "", "../..", "other/..", "/", "字" * 100])
def test_a_backfill_of_any_name_keeps_to_a_folder_of_its_own(settings: Settings, name: str) -> None:
    kept = settings.state_path / "kept"
    write_whole(kept, b"")
    other, marks = Marks(settings, "other"), Marks(settings, name)
    for one in (other, marks):
        one.put("trade-2026-01-31-0", b"{}")
    marks.remove()
    assert kept.exists()
    assert other.get("trade-2026-01-31-0") == b"{}"
    assert marks.get("trade-2026-01-31-0") is None


@pytest.mark.integration
@pytest.mark.parametrize("venue", ["polygon", "alpaca"])
def test_a_stock_venue_gives_as_many_trades_as_its_bars_count(
    settings_with: Callable[..., Settings], venue: str
) -> None:
    settings = simulated(settings_with, venue)
    with serving(settings):
        words = _words("trade,bar", MIDNIGHT_NS, MIDNIGHT_NS + HOUR_NS, venue, "AAPL")
        summary = _run(settings, words)
        if venue == "polygon":
            _of_all_stocks(settings)
    assert (summary["rows"], summary["holes"]) == (3_600 // STEP_S + 60, 0)
    records = {(record.kind, record.record_key): record for record in published(settings)}.values()
    hour = [one for one in records if MIDNIGHT_NS <= one.event_time_ns < MIDNIGHT_NS + HOUR_NS]
    counted = sum(bar.trade_count for bar in hour if isinstance(bar, Bar))
    assert counted == sum(one.kind is Kind.TRADE for one in hour) == 3_600 // STEP_S


def test_of_bars_that_one_request_gives_of_several_symbols_a_chunk_is_a_week_of_a_hundred() -> None:
    symbols = tuple(f"S{number:03}" for number in range(250))
    asked = job(exchange="alpaca", symbols=symbols, kinds=("bar",), start_ns=WEEK_NS, end_ns=3 * WEEK_NS)
    found = plan(asked)
    assert [one.symbol for one in found] == [
        ",".join(symbols[at : at + 100]) for _ in range(2) for at in (0, 100, 200)
    ]
    assert [one.start_ns // WEEK_NS for one in found] == [1, 1, 1, 2, 2, 2]
    assert [one.symbols for one in slices(asked, 3)] == [symbols[:100], symbols[100:200], symbols[200:]]
    trades = msgspec.structs.replace(asked, kinds=("trade",), symbols=symbols[:2], end_ns=WEEK_NS + HOUR_NS)
    assert [one.symbol for one in plan(trades)] == ["S000", "S001"]
    alone = plan(msgspec.structs.replace(asked, symbols=symbols[:1]))
    assert [one.end_ns - one.start_ns for one in alone] == [DAY_NS] * 14


def test_a_hole_of_one_of_several_symbols_is_its_own() -> None:
    chunk = Chunk("alpaca", "AAPL,MSFT", "bar", 0, 2 * DAY_NS)
    bars = Fetched(
        2, 9, "AAPL,MSFT", parts=(Fetched(symbol="AAPL", trades=10), Fetched(symbol="MSFT", trades=5))
    )
    trades = [
        (
            Chunk("alpaca", symbol, "trade", day * DAY_NS, (day + 1) * DAY_NS),
            Fetched(rows=rows, symbol=symbol),
        )
        for symbol, of_days in (("AAPL", (6, 4)), ("MSFT", (4, 0)))
        for day, rows in enumerate(of_days)
    ]
    (hole,) = missing(load("alpaca"), list(by_symbol([(chunk, bars), *trades])), time.time_ns())
    assert (hole.symbol, hole.from_time_ns, hole.to_time_ns) == ("MSFT", 0, 2 * DAY_NS)
    undone = list(by_symbol([(chunk, None)]))
    assert [(one.symbol, fetched) for one, fetched in undone] == [("AAPL", None), ("MSFT", None)]


@pytest.mark.integration
def test_bars_of_several_stocks_are_those_of_each_and_go_on_where_they_were_killed(
    settings_with: Callable[..., Settings],
) -> None:
    """Two chunks: of a week that ends, in two pages, and of the one that follows."""
    settings = simulated(settings_with, "alpaca")
    cut_ns = MIDNIGHT_NS - MIDNIGHT_NS % WEEK_NS
    span = cut_ns - 2 * DAY_NS, cut_ns + DAY_NS // 2
    minutes = (span[1] - span[0]) // 60_000_000_000
    words = _words("bar", *span, "alpaca", ",".join(sorted(LISTED, reverse=True)))
    with serving(settings):
        (told,) = _told(settings, [*words, "--dry-run"])
        assert (told["requests"], told["rows"]) == (3, minutes * len(LISTED))
        marks = settings.state_path / "backfill"
        _kill_when(lambda: len(list(marks.glob("*/*.json"))) >= 1, settings, words)
        (mark,) = (msgspec.json.decode(path.read_bytes(), type=Fetched) for path in marks.glob("*/*.json"))
        assert [part.symbol for part in mark.parts] == sorted(LISTED, reverse=True)
        assert {part.rows for part in mark.parts} == {mark.rows // len(LISTED)}
        done = _run(settings, words)
        assert done == {"chunks": 2, "skipped": 1, "pages": 3, "rows": minutes * len(LISTED), "holes": 0}
        together = {_fact(record) for record in published(settings)}
        assert len(together) == minutes * len(LISTED)
        for symbol in ("AAPL", "TSLA"):
            own = {fact for fact in together if symbol in fact}
            assert len(own) == minutes
            low = len(published(settings))
            _run(settings, _words("bar", *span, "alpaca", symbol))
            assert {_fact(record) for record in published(settings)[low:]} == own


def _of_all_stocks(settings: Settings) -> None:
    """Bars of days: a request a day of trading, and none of the others."""
    first_ns = MIDNIGHT_NS - 7 * DAY_NS
    days = [date.fromisoformat(day_of(first_ns + n * DAY_NS)) for n in range(7)]
    count = sum(not is_closed("XNYS", day) for day in days)
    words = _words("bar", first_ns, MIDNIGHT_NS, "polygon", "*")
    (told,) = _told(settings, [*words, "--dry-run"])
    assert (told["requests"], told["rows"]) == (count, count * len(LISTED))
    summary = _run(settings, words)
    assert (summary["pages"], summary["rows"], summary["holes"]) == (count, count * len(LISTED), 0)


@pytest.mark.integration
def test_a_killed_backfill_goes_on_where_it_was_and_a_second_one_brings_nothing_new(
    settings_with: Callable[..., Settings],
) -> None:
    settings = simulated(settings_with)
    with serving(settings):
        words = _words("trade,bar", MIDNIGHT_NS, MIDNIGHT_NS + 12 * HOUR_NS)
        marks = settings.state_path / "backfill"
        _kill_when(lambda: len(list(marks.glob("*/*.json"))) >= 2, settings, words)
        done = len(list(marks.glob("*/*.json")))
        assert 2 <= done < 13
        expected = {"chunks": 13, "skipped": done, "pages": 25, "rows": 5_040, "holes": 0}
        assert _run(settings, words) == expected
        first = _identities(settings)
        assert len({key for kind, key in first if kind == "trade" and key}) >= 12 * 3_600 // STEP_S
        _run(settings, words)
    assert set(_identities(settings)) == set(first)
    assert {record.source for record in published(settings)} == {Source.BACKFILL}
    assert not list(marks.glob("*"))


@pytest.mark.integration
def test_the_archive_brings_what_the_history_brings_in_ms_and_in_microseconds(
    settings_with: Callable[..., Settings],
) -> None:
    """The day on which the venue's files changed their unit of time, and the one before."""
    settings = simulated(settings_with)
    first_ns = 1_735_603_200_000_000_000
    with serving(settings):
        words = _words("trade,bar", first_ns, first_ns + 2 * DAY_NS)
        done = _run(settings, [*words, "--archive"])
        assert (done["chunks"], done["rows"], done["holes"]) == (4, 2 * (8_640 + 1_440), 0)
        from_archive = [_fact(record) for record in published(settings)]
        assert len(from_archive) == done["rows"]
        _run(settings, words)
        # an aggregate tells each chunk's first id
        found = [one for one in published(settings)[len(from_archive) :] if one.kind is not Kind.AGG_TRADE]
        from_history = {_fact(record) for record in found}
        month_ns = as_ns("2025-02-01"), as_ns("2025-03-08")
        month = _run(settings, [*_words("bar", *month_ns), "--archive"])
        assert month == {"chunks": 8, "skipped": 0, "pages": month["pages"], "rows": 35 * 1_440, "holes": 0}
        today_ns = MIDNIGHT_NS + DAY_NS
        missing = _run(settings, [*_words("trade", today_ns, today_ns + DAY_NS), "--archive"])
    assert (missing["rows"], missing["holes"]) == (0, 1)
    assert set(from_archive) == {fact for fact in from_history if fact[1] < first_ns + 2 * DAY_NS}
    bars = (one for one in published(settings) if isinstance(one, Bar))
    february = {one.event_time_ns for one in bars if one.event_time_ns >= month_ns[0]}
    assert february == set(range(*month_ns, 60 * 10**9))


def _fact(record: Record) -> tuple[str, int, *tuple[str, ...]]:
    """What a record says, whatever it came by."""
    values = {name: getattr(record, name) for name in record.__struct_fields__}
    for name in ("receive_time_ns", "connection_id", "frame_sequence", "frame_index"):
        del values[name]
    return record.record_key, record.event_time_ns, *map(str, values.values())


@contextlib.contextmanager
def serving(settings: Settings) -> Iterator[None]:
    """The venue's simulator in a process of its own."""
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("ETL_")},
        **settings_module.as_environment(settings),
    }
    words = ("simulate", ",".join(settings.venues.names), "--session", "synthetic")
    process = subprocess.Popen([sys.executable, "-m", "etl", *words], env=environment, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.terminate()
        process.communicate(timeout=20)


def simulated(settings_with: Callable[..., Settings], venue: str = "binance") -> Settings:
    (port,) = free_ports(1)
    settings = settings_with(kafka=True, venues=venue, simulator_port=port)
    ensure_topics(settings)
    return settings


def _words(
    kinds: str, start_ns: int, end_ns: int, venue: str = "binance", symbol: str = "BTCUSDT"
) -> list[str]:
    span = [f"{start_ns // 10**9}", f"{end_ns // 10**9}"]
    texts = [time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(second))) for second in span]
    return [
        *("backfill", venue, "--symbols", symbol, "--kinds", kinds),
        *("--from", texts[0], "--to", texts[1], "--json"),
    ]


def _start(settings: Settings, words: list[str]) -> subprocess.Popen[bytes]:
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("ETL_")},
        **settings_module.as_environment(settings),
    }
    return subprocess.Popen([sys.executable, "-m", "etl", *words], env=environment, stdout=subprocess.PIPE)


def _run(settings: Settings, words: list[str]) -> dict[str, int]:
    return dict(_told(settings, words))


def _told(settings: Settings, words: list[str]) -> Any:
    process = _start(settings, words)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return json.loads(output)


def _kill_when(is_time: Callable[[], bool], settings: Settings, words: list[str]) -> None:
    process = _start(settings, words)
    deadline = time.monotonic() + 60
    while not is_time():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.communicate()


def published(settings: Settings) -> list[Record]:
    with transport_of(settings).reader(settings.topics.normalized, "test") as reader:
        return [
            codec.decode(message.value or b"")
            for partition, bounds in reader.bounds().items()
            for messages in reader.read(partition, bounds.low, bounds.high, 5_000)
            for message in messages
        ]


def _identities(settings: Settings) -> list[tuple[str, str]]:
    return [(record.kind.name.lower(), record.record_key) for record in published(settings)]
