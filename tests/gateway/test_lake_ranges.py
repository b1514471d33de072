"""Pages out of the lake: none of their rows is missing or doubled, and a question costs no more than it may."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from msgspec import structs

from etl.gateway.lake_ranges import LakeRanges
from etl.gateway.patience import GaveUp
from etl.gateway.ranges import MADE, TABLES, Question, TooLarge, parse_page_cursor
from etl.lake import Lake
from etl.lake.derived import derive
from etl.model.records import Trade
from etl.model.times import NS_PER_DAY, NS_PER_MS, NS_PER_S
from etl.settings import Settings, changed, make
from tests.support.gateway import BASE_NS, book, trade
from tests.support.lake import complete_until, export_records

DAYS = 3


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, list[Trade]]:
    """Trades of which most share their millisecond with others, some their number too, in two exports that overlap."""
    random = Random(1)
    trades = []
    for number in range(400):
        time_ns = BASE_NS + random.choice((0, 0, DAYS)) * NS_PER_DAY + number // 10 * 1_000_000
        sequence = random.choice((None, number // 3))
        times: dict[str, Any] = {"event_time_ns": time_ns, "receive_time_ns": time_ns, "key_time_ns": time_ns}
        trades.append(trade(number, record_key=f"{number:04}", sequence=sequence, **times))
    settings = make(state_dir=str(tmp_path_factory.mktemp("lake")))
    export_records(settings, trades[:300])
    export_records(settings, trades[100:], start=300)
    return settings, trades


def question(limit: int, end_ns: int = BASE_NS + 30 * NS_PER_DAY) -> Question:
    return Question(
        table=TABLES["trades"], exchange="binance", symbol="BTC-USDT", start_ns=BASE_NS, end_ns=end_ns, limit=limit
    )  # fmt: skip


def is_here() -> bool:
    return False


@pytest.mark.parametrize("limit", [33, 100, 399, 400, 401])
def test_pages_of_any_size_have_every_row_once_in_order(
    stored: tuple[Settings, list[Trade]], limit: int
) -> None:
    settings, trades = stored
    ranges, asked = LakeRanges(settings), question(limit)
    expected = sorted(
        (one.event_time_ns, -1 if one.sequence is None else one.sequence, one.record_key) for one in trades
    )
    found: list[str] = []
    while True:
        pieces, last = ranges.page(asked, "arrow", is_here)
        rows = pa.ipc.open_stream(b"".join(pieces)).read_all()
        assert rows.num_rows == min(limit, len(trades) - len(found))
        found += rows.column("record_key").to_pylist()
        left = ranges.count(asked, is_here) - rows.num_rows
        assert left == len(trades) - len(found)
        if last is None:
            break
        assert (last.time_ns, last.sequence, last.record_key) == expected[len(found) - 1]
        asked = Question(
            **{name: getattr(asked, name) for name in asked.__struct_fields__}
            | {"after": parse_page_cursor(last.text())}
        )
    assert found == [key for _, _, key in expected]


def told_pages(ranges: LakeRanges, asked: Question) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while True:
        pieces, last = ranges.page(asked, "json", is_here)
        page = [json.loads(line) for line in b"".join(pieces).splitlines()]
        assert len(page) <= asked.limit
        rows += page
        if last is None:
            return rows
        asked = structs.replace(asked, after=parse_page_cursor(last.text()))


@pytest.mark.parametrize("limit", [1, 2, 50])
def test_bars_that_the_lake_made_are_paged(tmp_path: Path, limit: int) -> None:
    settings = make(state_dir=str(tmp_path))
    prints = [
        trade(
            number * 400,
            event_time_ns=BASE_NS + number * 400 * NS_PER_MS,
            last_price=f"{100 + number % 7}.5",
            volume="0.5",
        )
        for number in range(12)
    ]
    export_records(settings, prints)
    complete_until(settings, BASE_NS + NS_PER_DAY)
    derive(settings)
    asked = structs.replace(question(limit), table=MADE["ohlcv"], interval="1s", start_ns=BASE_NS - NS_PER_S)
    bars = Lake(settings).ohlcv("binance", "BTC-USDT", interval="1s", incomplete="allow").collect()
    assert len(bars) >= 5
    found = told_pages(LakeRanges(settings), asked)
    assert list(found[0]) == list(MADE["ohlcv"].columns)
    assert [(row["close"], Decimal(row["turnover"]), row["trades"]) for row in found] == [
        (f"{close.normalize():f}", turnover, count)
        for close, turnover, count in bars.select("close", "turnover", "trades").rows()
    ]
    assert LakeRanges(settings).count(asked, is_here) == len(bars)


@pytest.mark.parametrize("limit", [1, 3, 10, 50])
def test_books_are_told_as_they_stood_at_each_instant(tmp_path: Path, limit: int) -> None:
    settings = make(state_dir=str(tmp_path))
    export_records(settings, [book(500), book(2_700)])
    asked = structs.replace(
        question(limit), table=MADE["book_snapshots"], every_ns=NS_PER_S, depth=1, end_ns=BASE_NS + 10 * NS_PER_S
    )  # fmt: skip
    found = told_pages(LakeRanges(settings), asked)
    lake = Lake(settings).book_snapshots(
        "binance", "BTC-USDT", BASE_NS, asked.end_ns, every="1s", depth=1, incomplete="allow"
    )
    expected = lake.collect()
    assert list(found[0]) == list(MADE["book_snapshots"].columns)
    assert len(found) == 10
    assert (
        [row["sequence"] for row in found]
        == expected["sequence"].to_list()
        == [None] * 1 + [500] * 2 + [2_700] * 7
    )
    assert [row["bid_prices"] for row in found] == [[]] + [["1"]] * 9
    assert [row["gap"] for row in found] == expected["gap"].to_list()
    assert LakeRanges(settings).count(asked, is_here) == 10


def test_a_question_ends_when_its_time_is_over_and_when_nobody_waits(
    stored: tuple[Settings, list[Trade]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _ = stored
    cancelled: list[object] = []
    slow = pl.LazyFrame.collect

    class Never:
        """A query that does not end."""

        def fetch(self) -> None:
            return None

        def cancel(self) -> None:
            cancelled.append(self)

    def collect(rows: pl.LazyFrame, *, background: bool = False, **options: object) -> object:
        return Never() if background else slow(rows, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(pl.LazyFrame, "collect", collect)
    with pytest.raises(GaveUp):
        LakeRanges(settings).page(question(10), "json", lambda: True)
    hurried = changed(settings, gateway_query_within_s=0.01)
    with pytest.raises(TooLarge, match=r"takes longer than 0\.01 s"):
        LakeRanges(hurried).count(question(10), is_here)
    assert len(cancelled) == 2


def test_a_question_that_would_read_too_much_is_refused_before(stored: tuple[Settings, list[Trade]]) -> None:
    settings, trades = stored
    few = LakeRanges(changed(settings, gateway_scan_rows_max=100))
    with pytest.raises(TooLarge, match="one question reads 100"):
        few.page(question(len(trades) + 1), "json", is_here)
    with pytest.raises(TooLarge, match="one question reads 100"):
        few.count(question(1), is_here)


def test_a_cursor_of_before_is_still_good() -> None:
    cursor = parse_page_cursor("WzEsMiwiMyJd")
    assert (cursor.time_ns, cursor.sequence, cursor.record_key, cursor.span_ns) == (1, 2, "3", 0)
