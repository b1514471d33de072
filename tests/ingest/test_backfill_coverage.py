"""Any permutation, cut, doubling and re-publication of a true history declares exactly the true holes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import msgspec
import pytest

from etl.adapter.contract import Ignored
from etl.errors import VenueError
from etl.exchanges import load
from etl.ingest.backfill_coverage import (
    HISTORY_LAG_NS,
    HOLES_MAX,
    PUBLISHED_WITHIN_NS,
    ChunkCoverage,
    Done,
    Fetched,
    Judged,
    missing,
)
from etl.ingest.backfill_holes import Hole
from etl.ingest.backfill_jobs import Chunk
from etl.ingest.backfill_runs import Runs
from etl.model.records import Frame, Record, Source
from etl.model.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_MS, NS_PER_S, parse_ns

DAY_NS = 1_768_435_200 * NS_PER_S
"""2026-01-15."""
NOW_NS = DAY_NS + 60 * NS_PER_DAY
VENUE = "binance_usdm"
IDS = range(1_000, 1_400)
"""One each quarter of an hour, over a little more than four days."""
ID_NS = NS_PER_HOUR // 4


def time_of(number: int) -> int:
    return DAY_NS + (number - IDS[0]) * ID_NS


def days(count: int, kind: str, archive: bool = False) -> list[Chunk]:
    return [
        Chunk(VENUE, "BTCUSDT", kind, DAY_NS + day * NS_PER_DAY, DAY_NS + (day + 1) * NS_PER_DAY, archive)
        for day in range(count)
    ]


def lines(numbers: Iterable[int]) -> bytes:
    rows = (f"{n},91000.1,0.010,{2 * n},{2 * n},{time_of(n) // NS_PER_MS},true" for n in numbers)
    return "\n".join(rows).encode()


def bar_lines(numbers: Iterable[int]) -> bytes:
    starts = ((DAY_NS + n * NS_PER_MINUTE) // NS_PER_MS for n in numbers)
    return "\n".join(f"{at},1,2,1,2,5,{at + 59_999},7,3,1,1,0" for at in starts).encode()


def records(payload: bytes, file: str) -> list[Record]:
    endpoint = f"archive:https://h/BTCUSDT-{file}-2026-01-15.csv#lines=1-2;sha256=x"
    frame = Frame(VENUE, "c", 1, endpoint, NOW_NS, payload, Source.BACKFILL)
    found = [one for one in load(VENUE)().parse(frame) if isinstance(one, Record)]
    assert len(found) == len(payload.splitlines())
    return found


def fetched(chunk: Chunk, given: Sequence[Record]) -> Fetched:
    coverage = ChunkCoverage(load(VENUE)(), chunk)
    for record in given:
        coverage.judged(record, True)
    return coverage.fetched(1)


def spans_of(numbers: Iterable[int]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if spans and spans[-1][1] == number - 1:
            spans[-1] = spans[-1][0], number
        else:
            spans.append((number, number))
    return spans


@pytest.mark.parametrize("seed", range(60))
def test_a_history_in_any_order_cut_doubled_and_published_again_has_its_true_holes(seed: int) -> None:
    chance = random.Random(seed)
    lost = {number for number in IDS[1:-1] if chance.random() < chance.choice((0.01, 0.3))}
    given = records(lines(n for n in IDS if n not in lost), "aggTrades")
    chunks = days(5, "agg_trade")
    parts: list[list[Record]] = [[] for _ in chunks]
    for record in given:
        own = (record.event_time_ns - DAY_NS) // NS_PER_DAY
        # rows of a day can lie in its neighbour's file, and some are given twice
        for place in {own, *([min(4, own + 1)] if chance.random() < 0.1 else [])}:
            parts[place] += [record] * chance.choice((1, 1, 1, 2))
    for part in parts:
        chance.shuffle(part)
    done: list[tuple[Chunk, Fetched | None]] = [
        (chunk, fetched(chunk, part)) for chunk, part in zip(chunks, parts, strict=True)
    ]
    chance.shuffle(done)
    holes = missing(load(VENUE), done, NOW_NS)
    assert sorted((hole.from_id, hole.to_id) for hole in holes) == spans_of(lost)
    for hole in holes:
        assert (hole.from_time_ns, hole.to_time_ns) == (time_of(hole.from_id - 1), time_of(hole.to_id + 1))
    whole = [(chunk, fetched(chunk, records(lines(IDS), "aggTrades"))) for chunk in chunks]
    assert missing(load(VENUE), whole, NOW_NS) == []
    assert all(Judged(whole).closes(hole) for hole in holes)


@pytest.mark.parametrize("seed", range(20))
def test_bars_of_any_order_have_their_true_holes_at_the_edges_and_over_whole_days_too(seed: int) -> None:
    chance = random.Random(seed)
    bars = range(3 * 1_440)
    lost = set(range(1_440, 2_880)) if seed % 2 else set()
    for _ in range(4):
        begin = chance.choice((0, bars[-1] - 5, chance.randrange(len(bars))))
        lost |= set(range(begin, min(len(bars), begin + chance.randrange(1, 90))))
    given = records(bar_lines(n for n in bars if n not in lost), "1m")
    done: Done = []
    for chunk in days(3, "bar"):
        part = [one for one in given if chunk.start_ns <= one.event_time_ns < chunk.end_ns]
        part += chance.sample(part, len(part) // 5)
        chance.shuffle(part)
        done = [*done, (chunk, fetched(chunk, part))]
    holes = missing(load(VENUE), done, NOW_NS)
    found = [
        ((hole.from_time_ns - DAY_NS) // NS_PER_MINUTE + 1, (hole.to_time_ns - DAY_NS) // NS_PER_MINUTE - 1)
        for hole in holes
    ]
    assert sorted(found) == spans_of(lost)
    assert {hole.channel for hole in holes} == {"kline_1m"}


@pytest.mark.parametrize("seed", range(20))
def test_a_placeholder_in_a_file_has_its_id_and_is_no_hole(seed: int) -> None:
    chance = random.Random(seed)
    lost = {number for number in IDS[1:-1] if chance.random() < 0.1}
    void = {number for number in IDS if number not in lost and chance.random() < 0.2}
    void |= {IDS[0], IDS[-1]} if seed % 2 else set()
    chunks = days(5, "trade", archive=True)
    done: Done = []
    for chunk in chunks:
        own = [n for n in IDS if n not in lost and chunk.start_ns <= time_of(n) < chunk.end_ns]
        chance.shuffle(own)
        coverage = ChunkCoverage(load(VENUE)(), chunk)
        rows = (f"{n},{'0,0' if n in void else '91000.1,2'},9,{time_of(n) // NS_PER_MS},true" for n in own)
        endpoint = "archive:https://h/BTCUSDT-trades-2026-01-15.csv#lines=1-2;sha256=x"
        frame = Frame(VENUE, "c", 1, endpoint, NOW_NS, "\n".join(rows).encode(), Source.BACKFILL)
        for one in load(VENUE)().parse(frame):
            if isinstance(one, Ignored):
                coverage.ignored(one)
            else:
                assert isinstance(one, Record)
                coverage.judged(one, True)
        came = coverage.fetched(1)
        assert came.rows == len(set(own) - void)
        done = [*done, (chunk, came)]
    holes = missing(load(VENUE), done, NOW_NS)
    assert sorted((hole.from_id, hole.to_id) for hole in holes) == spans_of(lost)


def test_rows_as_two_interleaved_runs_of_ids_are_no_hole() -> None:
    order = [n for k in range(20) for n in (1_000 + k, 1_020 + k)]
    (chunk,) = days(1, "agg_trade")
    whole = fetched(chunk, records(lines(order), "aggTrades"))
    assert (whole.rows, len(whole.runs)) == (40, 1)
    assert missing(load(VENUE), [(chunk, whole)], NOW_NS) == []


def test_a_job_without_any_bar_lacks_all_of_its_days() -> None:
    done = [(chunk, fetched(chunk, [])) for chunk in days(2, "bar")]
    (hole,) = missing(load(VENUE), done, NOW_NS)
    assert (hole.from_time_ns, hole.to_time_ns) == (DAY_NS - NS_PER_MINUTE, DAY_NS + 2 * NS_PER_DAY)


def test_of_a_day_that_goes_on_only_what_is_over_is_missed_and_just_now_is_open() -> None:
    (chunk,) = days(1, "bar")
    half = fetched(chunk, records(bar_lines(range(719)), "1m"))
    noon_ns = DAY_NS + NS_PER_DAY // 2
    assert missing(load(VENUE), [(chunk, half)], noon_ns - 1) == []
    (hole,) = missing(load(VENUE), [(chunk, half)], noon_ns)
    assert hole.look_again_ns == noon_ns + HISTORY_LAG_NS
    assert hole.ask == msgspec.structs.replace(chunk, start_ns=noon_ns - NS_PER_MINUTE, end_ns=noon_ns)
    still: Done = [(hole.ask, fetched(hole.ask, []))]
    (same,) = missing(load(VENUE), still, noon_ns)
    assert same == hole, "asked for again alone, it is the same hole"
    came: Done = [(hole.ask, fetched(hole.ask, records(bar_lines([719]), "1m")))]
    assert missing(load(VENUE), came, noon_ns) == []
    assert Judged(came).closes(hole)
    (hole,) = missing(load(VENUE), [(chunk, half)], noon_ns + 2 * HISTORY_LAG_NS)
    assert hole.look_again_ns > 0, "its end is a moment ago"
    (later,) = missing(load(VENUE), [(chunk, half)], NOW_NS)
    assert (later.look_again_ns, later.ask, later.from_time_ns) == (0, None, hole.from_time_ns)


def test_ids_that_the_history_lacks_of_just_now_are_asked_for_again_with_those_around() -> None:
    (chunk,) = days(1, "agg_trade")
    given = records(lines(n for n in IDS[:9] if n != 1_005), "aggTrades")
    now_ns = time_of(1_006) + 1
    (hole,) = missing(load(VENUE), [(chunk, fetched(chunk, given))], now_ns)
    assert (hole.from_id, hole.look_again_ns) == (1_005, now_ns + HISTORY_LAG_NS)
    assert hole.ask is not None
    part = [one for one in given if hole.ask.start_ns <= one.event_time_ns < hole.ask.end_ns]
    assert missing(load(VENUE), [(hole.ask, fetched(hole.ask, part))], now_ns) == [hole]
    came: Done = [(hole.ask, fetched(hole.ask, records(lines(range(1_004, 1_007)), "aggTrades")))]
    assert missing(load(VENUE), came, now_ns) == []
    assert Judged(came).closes(hole)


def absent(chunk: Chunk) -> Fetched:
    coverage = ChunkCoverage(load(VENUE)(), chunk)
    coverage.miss("404")
    return coverage.fetched(0)


def test_a_file_that_is_not_there_yet_is_open_and_in_time_a_hole_and_never_two() -> None:
    chunks = days(3, "agg_trade", archive=True)
    given = records(lines(IDS[:288]), "aggTrades")
    parts = [[one for one in given if c.start_ns <= one.event_time_ns < c.end_ns] for c in chunks]
    done: Done = [
        (chunks[0], fetched(chunks[0], parts[0])),
        (chunks[1], absent(chunks[1])),
        (chunks[2], fetched(chunks[2], parts[2])),
    ]
    late_ns, old_ns = chunks[1].end_ns, chunks[1].end_ns + PUBLISHED_WITHIN_NS
    known: list[Hole] = []
    for now_ns, reason, look_again_ns in (
        (late_ns, "not published yet: 404", late_ns + NS_PER_DAY),
        (old_ns, "404", 0),
    ):
        (hole,) = known = missing(load(VENUE), done, now_ns, known)
        assert (hole.from_time_ns, hole.to_time_ns, hole.from_id) == (chunks[1].start_ns, chunks[1].end_ns, 0)
        assert (hole.reason, hole.look_again_ns) == (reason, look_again_ns)
    assert not Judged(done).closes(hole)
    came = [(chunk, fetched(chunk, part)) for chunk, part in zip(chunks, parts, strict=True)]
    assert Judged(came).closes(hole)
    assert Judged(came[1:2]).closes(hole)
    assert not Judged(came[:1]).closes(hole)


def test_an_old_day_that_a_server_does_not_find_is_looked_for_once_more_before_it_is_a_hole() -> None:
    (chunk,) = days(1, "agg_trade", archive=True)
    now_ns = chunk.end_ns + 400 * NS_PER_DAY
    (hole,) = missing(load(VENUE), [(chunk, absent(chunk))], now_ns)
    assert (hole.reason, hole.look_again_ns, hole.ask) == ("not found: 404", now_ns + NS_PER_DAY, chunk)
    assert missing(load(VENUE), [(chunk, absent(chunk))], now_ns + 1, [hole]) == [hole]
    (again,) = missing(load(VENUE), [(chunk, absent(chunk))], hole.look_again_ns, [hole])
    assert (again.reason, again.look_again_ns, again.ask) == ("404", 0, None)
    assert missing(load(VENUE), [(chunk, absent(chunk))], now_ns + NS_PER_DAY + 1, [again]) == [again]


def test_a_day_on_which_the_market_is_closed_lacks_no_file() -> None:
    chunks = [
        Chunk("polygon", "*", "bar", parse_ns(f"{day}T04:00"), parse_ns(f"{day}T04:00") + NS_PER_DAY, True)
        for day in ("2024-07-03", "2024-07-04", "2024-07-05", "2024-07-06")
    ]
    done = [(chunk, Fetched(symbol="*", channel="AM", missing="no such file")) for chunk in chunks]
    holes = missing(load("polygon"), done, parse_ns("2025-01-01"))
    assert [hole.from_time_ns for hole in holes] == [chunks[0].start_ns, chunks[2].start_ns]


def test_days_of_india_lack_a_file_by_their_calendar_and_after_its_end_that_is_said() -> None:
    def of(day: str) -> Chunk:
        begins_ns = parse_ns(day) - 5 * NS_PER_HOUR - NS_PER_HOUR // 2
        return Chunk("nse", "*", "bar", begins_ns, begins_ns + NS_PER_DAY, True)

    lacking = (
        "2026-11-08",
        "2024-03-02",
        "2026-10-19",
        "2027-01-04",
    )  # Diwali, a drill, a Monday, and nobody knows
    resting = ("2026-10-20", "2026-10-24", "2027-01-02", "2013-01-05")  # a holiday, and Saturdays
    done = [
        (of(day), Fetched(symbol="*", channel="eod", missing="no such file")) for day in (*lacking, *resting)
    ]
    now_ns = parse_ns("2027-06-01")
    reasons = {hole.from_time_ns: hole.reason for hole in missing(load("nse"), done, now_ns)}
    plain = "not found: no such file"
    ends = "; calendar XNSE ends at 2026-12-31: whether it traded is not known"
    assert reasons == {of(day).start_ns: plain + ends * (day > "2026-12-31") for day in lacking}


@pytest.mark.parametrize(("venue", "brought"), [("polygon", "aggs"), ("binance", "kline_1m")])
def test_a_file_of_bars_that_comes_late_closes_its_hole_whatever_its_channel(
    venue: str, brought: str
) -> None:
    chunk = Chunk(venue, "*", "bar", parse_ns("2024-07-03T04:00"), parse_ns("2024-07-04T04:00"), True)
    coverage = ChunkCoverage(load(venue)(), chunk)
    coverage.miss("404")
    (hole,) = missing(load(venue), [(chunk, coverage.fetched(0))], NOW_NS)
    came = Fetched(pages=3, rows=9, symbol=hole.symbol, channel=brought)
    assert Judged([(chunk, came)]).closes(hole)
    assert not Judged([(chunk, coverage.fetched(0))]).closes(hole)


def test_an_answer_about_all_symbols_that_has_none_is_a_hole_and_a_day_that_was_not_asked_for_is_none() -> (
    None
):
    days = [
        Chunk("polygon", "*", "bar", parse_ns(f"2024-07-0{n}"), parse_ns(f"2024-07-0{n + 1}")) for n in (3, 4)
    ]
    empty, closed = (Fetched(pages=pages, symbol="*", channel="A") for pages in (1, 0))
    done: Done = [(days[0], empty), (days[1], closed)]
    now_ns = days[0].end_ns + NS_PER_HOUR
    (hole,) = missing(load("polygon"), done, now_ns)
    assert (hole.from_time_ns, hole.to_time_ns, hole.ask) == (days[0].start_ns, days[0].end_ns, days[0])
    assert hole.reason == "not published yet: no row of any symbol"
    assert hole.look_again_ns == days[0].end_ns + NS_PER_DAY
    came = Fetched(pages=1, rows=9, symbol="*", channel="aggs")
    assert missing(load("polygon"), [(days[0], came)], now_ns, [hole]) == []
    assert Judged([(days[0], came)]).closes(hole)


def test_what_was_not_fetched_is_not_judged_and_closes_nothing() -> None:
    chunks = days(3, "agg_trade", archive=True)
    lost = {1_010, 1_100, 1_250}
    given = records(lines(n for n in IDS[:288] if n not in lost), "aggTrades")
    parts = [[one for one in given if c.start_ns <= one.event_time_ns < c.end_ns] for c in chunks]
    done: Done = [
        (chunks[0], fetched(chunks[0], parts[0])),
        (chunks[1], None),
        (chunks[2], fetched(chunks[2], parts[2])),
    ]
    assert [hole.from_id for hole in missing(load(VENUE), done, NOW_NS)] == [1_010, 1_250]
    between_days = Hole("BTC-USDT-PERP", "aggTrade", time_of(1_099), time_of(1_101), 1_100, 1_100)
    assert not Judged(done).closes(between_days)
    bars = days(3, "bar")
    half = [
        fetched(c, records(bar_lines(range(n, n + 1_440)), "1m")) for c, n in ((bars[0], 0), (bars[2], 2_880))
    ]
    assert missing(load(VENUE), [(bars[0], half[0]), (bars[1], None), (bars[2], half[1])], NOW_NS) == []


def test_trades_that_are_given_twice_do_not_hide_those_that_are_not() -> None:
    exchange = load("polygon")
    parser, hour = exchange(), (DAY_NS + 15 * NS_PER_HOUR, DAY_NS + 16 * NS_PER_HOUR)
    rows = ",".join(
        f'{{"exchange":11,"id":"{n}","participant_timestamp":{hour[0] + n},"price":1.5,"sequence_number":{n},'
        f'"sip_timestamp":{hour[0] + n},"size":100,"tape":3}}'
        for n in (1, 2, 2, 3)
    )
    coverage = ChunkCoverage(parser, Chunk("polygon", "AAPL", "trade", *hour))
    endpoint = "https://h/v3/trades/AAPL?limit=9"
    for one in parser.parse(
        Frame("polygon", "c", 1, endpoint, NOW_NS, f'{{"results":[{rows}],"status":"OK"}}'.encode())
    ):
        assert isinstance(one, Record)
        coverage.judged(one, True)
    assert coverage.fetched(1).rows == len({1, 2, 3})


def test_a_chunk_with_more_holes_than_a_true_one_is_refused() -> None:
    runs = Runs()
    for number in range(0, 2 * HOLES_MAX + 4, 2):
        runs.add(number, number)
    (chunk,) = days(1, "agg_trade")
    coverage = ChunkCoverage(load(VENUE)(), chunk)
    coverage._runs = runs
    with pytest.raises(VenueError, match="more than 1000 holes"):
        coverage.fetched(1)
