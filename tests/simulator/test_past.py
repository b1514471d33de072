"""The days before a session: computed, the same in every life, and joined to the session without a seam."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import re
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from etl.adapter.contract import Ignored
from etl.exchanges import load
from etl.model.records import Bar, BarState, Frame, Kind, Record, Source
from etl.model.times import as_ns
from etl.simulator.archive import Archive, file_of
from etl.simulator.connection import Connection
from etl.simulator.feed import Feed
from etl.simulator.history import PRINTS, Entry, History
from etl.simulator.market import Instrument
from etl.simulator.past import STEP_NS, Past
from etl.simulator.serve import Options, make_feed
from etl.simulator.stocks import LISTED
from etl.simulator.truth import IGNORED, TruthEvent
from etl.simulator.venue import Response
from etl.simulator.words import time_text

DAY_NS = 86_400_000_000_000
NOW_NS = time.time_ns()
STREAMS = {
    "binance": {"btcusdt@trade", "btcusdt@bookTicker"},
    "polygon": {"T.AAPL", "Q.AAPL"},
    "alpaca": {"trades.AAPL", "quotes.AAPL"},
}


class Client(Connection):
    def write(self, payloads: Any) -> None:
        pass


def started(tmp_path: Path, exchange: str, **values: Any) -> tuple[Feed, int]:
    """A feed that has sent for a second, and when it began."""
    options = Options(exchanges=(exchange,), state_path=tmp_path, rate=100, session="synthetic")
    feed = make_feed(options if not values else Options(**{**options_of(options), **values}), exchange)
    began_ns = feed.session.history.past_end_ns
    client = Client()
    feed.opened(client, began_ns)
    client.streams = set(STREAMS[exchange])
    feed.note_streams(client, began_ns)
    for tick in range(1, 201):
        feed.tick(began_ns + STEP_NS + tick * 5_000_000)
    return feed, began_ns


def options_of(options: Options) -> dict[str, Any]:
    return {name: getattr(options, name) for name in options.__struct_fields__}


def ask(feed: Feed, path: str, now_ns: int) -> Any:
    return ask_all(feed, path, now_ns)[0]


def ask_all(feed: Feed, path: str, now_ns: int) -> tuple[Any, list[TruthEvent]]:
    """The answer, and what the venue says that it tells."""
    endpoint, _, query = path.partition("?")
    answer = feed.answer(endpoint, query, dict(pair.split("=", 1) for pair in query.split("&")), now_ns)
    assert answer is not None
    assert answer.status == 200, answer.body
    return json.loads(answer.body), list(answer.events)


def test_binance_ids_run_on_from_the_past_into_the_session(tmp_path: Path) -> None:
    feed, began_ns = started(tmp_path, "binance")
    last = began_ns // STEP_NS - 1
    rows = ask(feed, f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={last - 20}&limit=40", began_ns)
    assert [row["id"] for row in rows] == list(range(last - 20, last + 20))
    assert all(a["time"] <= b["time"] for a, b in itertools.pairwise(rows))
    assert rows[0]["time"] == (last - 20) * STEP_NS // 1_000_000


@pytest.mark.parametrize("exchange", ["polygon", "alpaca"])
@pytest.mark.parametrize("kind", ["trades", "quotes"])
def test_pages_cross_the_seam_once(tmp_path: Path, exchange: str, kind: str) -> None:
    feed, began_ns = started(tmp_path, exchange)
    start = began_ns - 20 * STEP_NS
    path: str | None = {
        "polygon": f"/v3/{kind}/AAPL?timestamp.gte={start}&limit=6",
        "alpaca": f"/v2/stocks/{kind}?symbols=AAPL&start={time_text(start)}&limit=6",
    }[exchange]
    first, found = path, list[TruthEvent]()
    while path:
        page, events = ask_all(feed, path, began_ns)
        found += events
        if exchange == "polygon":
            path = page["next_url"].removeprefix("https://api.polygon.io") if "next_url" in page else None
        else:
            path = f"{first}&page_token={page['next_page_token']}" if page["next_page_token"] else None
    keys = [event.record_key for event in found]
    assert len(set(keys)) == len(keys) > 50
    assert [event.time_ns for event in found[:20]] == [start + n * STEP_NS for n in range(20)]


def test_bars_of_the_past_are_made_of_its_trades_and_end_with_it(tmp_path: Path) -> None:
    feed, began_ns = started(tmp_path, "binance")
    minute = began_ns // 60_000_000_000 - 3
    start_ms = minute * 60_000
    bars = ask(feed, f"/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime={start_ms}", began_ns)
    assert [bar[0] for bar in bars] == [start_ms, start_ms + 60_000, start_ms + 120_000]
    first = minute * 60_000_000_000 // STEP_NS
    trades = ask(feed, f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={first}&limit=6", began_ns)
    prices = [float(trade["price"]) for trade in trades]
    assert [float(bars[0][n]) for n in (1, 2, 3, 4)] == [
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
    ]
    assert bars[0][8] == 6


def test_a_day_of_every_interval_is_there(tmp_path: Path) -> None:
    feed, began_ns = started(tmp_path, "polygon")
    day = began_ns // DAY_NS - 2
    start, end = day * DAY_NS // 1_000_000, (day + 1) * DAY_NS // 1_000_000 - 1
    for span, count in (("day", 1), ("hour", 24), ("minute", 1_440)):
        path = f"/v2/aggs/ticker/AAPL/range/1/{span}/{start}/{end}?limit=50000"
        results = ask(feed, path, began_ns)["results"]
        assert (len(results), results[0]["t"]) == (count, start)


def unzipped(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = archive.namelist()
        return archive.read(name)


@pytest.mark.parametrize(
    ("exchange", "day", "digits", "heading"),
    [
        ("binance", "2024-12-31", 13, 0),
        ("binance", "2025-01-01", 16, 0),
        ("binance_usdm", "2025-01-01", 13, 1),
    ],
)
def test_a_daily_file_is_what_the_requests_tell_and_what_the_parser_reads(
    tmp_path: Path, exchange: str, day: str, digits: int, heading: int
) -> None:
    options = Options(exchanges=(exchange,), state_path=tmp_path, rate=100, session="synthetic")
    feed, parser = make_feed(options, exchange), load(exchange)()
    start_ms = int(datetime.fromisoformat(f"{day}T00:00:00Z").timestamp()) * 1_000
    for kind, count in ((Kind.TRADE, 8_640), (Kind.AGG_TRADE, 8_640), (Kind.BAR, 1_440)):
        path = parser.archive_path(kind, "BTCUSDT", day)
        zipped, named = (feed.answer(one, "", {}, NOW_NS) for one in (path, f"{path}.CHECKSUM"))
        assert zipped is not None
        assert named is not None
        assert named.body.split()[0].decode() == hashlib.sha256(zipped.body).hexdigest()
        lines = unzipped(zipped.body)
        assert len(re.findall(rb"\b%d\d{%d}\b" % (start_ms, digits - 13), lines)) == 1
        endpoint = f"archive:http://venue{path.removesuffix('.zip')}.csv#lines=1-2;sha256=0"
        outcomes = parser.parse(Frame(exchange, "c", 1, endpoint, NOW_NS, lines, Source.BACKFILL))
        assert sum(isinstance(one, Ignored) for one in outcomes) == heading
        records = [one for one in outcomes if isinstance(one, Record)]
        assert list(zipped.lines) == lines.splitlines()
        truth = [event for event in zipped.events if event.kind != IGNORED]
        assert len(records) == count
        assert [
            (one.kind.name.lower(), one.symbol, one.record_key, one.event_time_ns) for one in records
        ] == [(event.kind, event.symbol, event.record_key, event.time_ns) for event in truth]


def test_a_monthly_file_has_the_lines_of_its_days_and_comes_on_a_monday(tmp_path: Path) -> None:
    feed, parser = make_feed(options_at(tmp_path, "binance"), "binance"), load("binance")()
    path = parser.archive_path(Kind.BAR, "BTCUSDT", "2024-02")
    days = [parser.archive_path(Kind.BAR, "BTCUSDT", f"2024-02-{day:02}") for day in range(1, 30)]
    month, *lines = (unzipped(asked_of(feed, one, NOW_NS).body) for one in (path, *days))
    assert month == b"".join(lines)
    for text, published in (("2024-02", "2024-03-04"), ("2024-06", "2024-07-01"), ("2024-12", "2025-01-06")):
        file = file_of(Archive({}), parser.archive_path(Kind.BAR, "BTCUSDT", text))
        assert file is not None
        assert file.published_ns == as_ns(published)


@pytest.mark.parametrize(
    ("exchange", "symbol", "begins"),
    [
        ("okx", "BTC-USDT", "2025-08-31T16:00:00Z"),
        ("okx_swap", "BTC-USDT-SWAP", "2025-08-31T16:00:00Z"),
        ("bybit_linear", "BTCUSDT", "2025-09-01T00:00:00Z"),
        ("bybit_inverse", "BTCUSD", "2025-09-01T00:00:00Z"),
    ],
)
def test_a_daily_file_of_a_venue_without_checksums_has_its_own_day_and_the_streams_identities(
    tmp_path: Path, exchange: str, symbol: str, begins: str
) -> None:
    options = Options(exchanges=(exchange,), state_path=tmp_path, rate=100, session="synthetic")
    feed, parser = make_feed(options, exchange), load(exchange)()
    path = parser.archive_path(Kind.TRADE, symbol, "2025-09-01")
    file = feed.answer(path, "", {}, NOW_NS)
    assert file is not None
    lines = gzip.decompress(file.body) if path.endswith(".gz") else unzipped(file.body)
    endpoint = f"archive:http://venue{path.removesuffix('.gz').replace('.zip', '.csv')}#lines=1-2;sha256=0"
    outcomes = parser.parse(Frame(exchange, "c", 1, endpoint, NOW_NS, lines, Source.BACKFILL))
    assert outcomes[0] == Ignored("csv_header")
    records = [one for one in outcomes if isinstance(one, Record)]
    start_ns = int(datetime.fromisoformat(begins).timestamp()) * 10**9
    assert [one.event_time_ns for one in records] == [start_ns + n * STEP_NS for n in range(8_640)]
    truth = [event for event in file.events if event.kind != IGNORED]
    assert [(one.symbol, one.record_key) for one in records] == [
        (one.symbol, one.record_key) for one in truth
    ]
    assert [one.symbol for one in records[:1]] == [parser.instruments.symbol(symbol)]


def test_the_bars_of_a_span_that_coinbase_is_asked_for_are_those_of_the_parser(tmp_path: Path) -> None:
    options = Options(exchanges=("coinbase",), state_path=tmp_path, rate=100, session="synthetic")
    feed, parser = make_feed(options, "coinbase"), load("coinbase")()
    start_ns = (NOW_NS // DAY_NS - 2) * DAY_NS
    requests = list(parser.history_requests(Kind.BAR, "BTC-USD", start_ns, start_ns + DAY_NS))
    found: list[Record] = []
    for request in requests:
        path, _, query = request.path.partition("?")
        answer = feed.answer(path, query, dict(pair.split("=", 1) for pair in query.split("&")), NOW_NS)
        assert answer is not None
        frame = Frame("coinbase", "c", 1, request.path, NOW_NS, answer.body, Source.BACKFILL)
        records = [one for one in parser.parse(frame) if isinstance(one, Record)]
        assert [one.record_key for one in records] == [event.record_key for event in answer.events]
        assert parser.next_request(request, frame) is None
        found += records[::-1]
    minutes = [start_ns + n * 60 * 10**9 for n in range(1_440)]
    assert [one.record_key for one in found] == [f"1m/{start}" for start in minutes]


def test_all_stocks_of_a_week_are_asked_for_in_a_request_a_day_of_trading(tmp_path: Path) -> None:
    """Thanksgiving, its short Friday, a weekend, the change from daylight saving time long past."""
    now_ns = as_ns("2026-12-01T12:00:00")
    parser, feed = load("polygon")(), make_feed(options_at(tmp_path, "polygon"), "polygon")
    requests = list(
        parser.history_requests(Kind.BAR, "*", as_ns("2026-11-25T05:00:00"), as_ns("2026-12-01T05:00:00"))
    )
    days = [request.path.partition("?")[0][-10:] for request in requests]
    assert days == ["2026-11-25", "2026-11-27", "2026-11-30"]
    later = next(iter(parser.history_requests(Kind.BAR, "*", as_ns("2026-11-25T05:00:01"), now_ns)))
    assert "/2026-11-27?" in later.path, "a day belongs to the range in which it begins"
    for request, day in zip(requests, days, strict=True):
        answer = asked_of(feed, request.path, now_ns)
        frame = Frame("polygon", "c", 1, request.path, now_ns, answer.body, Source.BACKFILL)
        bars = [one for one in parser.parse(frame) if isinstance(one, Bar)]
        assert [(one.symbol, one.record_key) for one in bars] == [
            (e.symbol, e.record_key) for e in answer.events
        ]
        assert {one.symbol for one in bars} == set(LISTED)
        assert {(one.interval, one.event_time_ns) for one in bars} == {("1d", as_ns(f"{day}T05:00:00"))}
        assert {one.bar_state for one in bars} == {BarState.REVISED}
        assert parser.next_request(request, frame) is None
        of_one = asked_of(feed, f"/v2/aggs/ticker/AAPL/range/1/day/{day}/{day}", now_ns)
        (expected,) = json.loads(of_one.body)["results"]
        (own,) = (one for one in bars if one.symbol == "AAPL")
        assert [own.open, own.close, own.volume] == [f"{expected[name]}" for name in "ocv"]
    closed = asked_of(feed, requests[0].path.replace(days[0], "2026-11-26"), now_ns)
    frame = Frame("polygon", "c", 1, requests[0].path, now_ns, closed.body, Source.BACKFILL)
    assert parser.parse(frame) == [Ignored("empty_page")]


def asked_of(feed: Feed, url: str, now_ns: int) -> Response:
    path, _, query = url.partition("?")
    answer = feed.answer(path, query, dict(pair.split("=", 1) for pair in query.split("&") if pair), now_ns)
    assert answer is not None
    return answer


def options_at(tmp_path: Path, exchange: str) -> Options:
    return Options(exchanges=(exchange,), state_path=tmp_path, rate=100, session="synthetic")


def test_a_day_that_is_not_over_is_not_in_the_archive(tmp_path: Path) -> None:
    feed, began_ns = started(tmp_path, "binance")
    today = datetime.fromtimestamp(began_ns // 10**9, UTC).date().isoformat()
    for path in (load("binance")().archive_path(Kind.TRADE, "BTCUSDT", today), "/data/spot/daily/nosuch.zip"):
        answer = feed.answer(path, "", {}, began_ns)
        assert answer is not None
        assert answer.status == 404


def test_another_life_tells_the_same_past_and_none_of_what_the_first_sent(tmp_path: Path) -> None:
    feed, began_ns = started(tmp_path, "binance")
    path = f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={began_ns // STEP_NS - 500}&limit=400"
    before = ask(feed, path, began_ns)
    again, began_again_ns = started(tmp_path, "binance")
    assert began_again_ns == began_ns
    assert ask(again, path, began_ns) == before
    assert (
        ask(again, "/api/v3/trades?symbol=BTCUSDT&limit=1000", began_ns)[0]["id"]
        > before[-1]["id"] + 1_000_000
    )


def test_a_looped_recording_has_a_past_that_ends_at_its_first_trade(tmp_path: Path) -> None:
    feed, began_ns = started(tmp_path, "binance", session="shipped")
    rows = ask(feed, "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=3735683250&limit=20", began_ns)
    assert [row["id"] for row in rows] == list(range(3735683250, 3735683270))


def test_what_lies_below_an_id_or_a_time_is_of_the_session_and_then_of_the_days_before() -> None:
    past = Past(lambda symbol: Instrument(symbol, symbol, 2, 0, 10_000), 100 * STEP_NS)
    history = History(past=past)
    for number in (100, 101, 103):
        history.add("A", PRINTS, Entry(number, number * STEP_NS, None))

    def below(limit: int, **bound: int) -> list[int]:
        return [entry.number for entry in history.below("A", PRINTS, limit, **bound)]

    assert below(4, number=103) == [98, 99, 100, 101]
    assert below(2, number=104) == [101, 103]
    assert below(3, number=99) == below(3, end_ns=99 * STEP_NS) == [96, 97, 98]
    assert below(2, end_ns=101 * STEP_NS) == [99, 100]
    assert [entry.number for entry in History().below("A", PRINTS, 5, number=7)] == []
