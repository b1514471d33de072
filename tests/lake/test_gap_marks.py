"""``with_gaps``: which rows stand beside a hole, and which do not."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from etl.errors import UsageError
from etl.lake import Lake
from etl.lake.derived import derive
from etl.model.records import Gap, GapKind, GapState, Record
from etl.settings import Settings
from tests.support import stream
from tests.support.lake import complete_until, export_records

MS, START = stream.MS, stream.START_NS
TRADES = [stream.trade(number) for number in range(10)]


def hole(start: int, end: int, **values: Any) -> Gap:
    """Between the good events ``start`` and ``end``, ms; an end of 0 has not come yet."""
    given = {
        "gap_kind": GapKind.DISCONNECT,
        "gap_state": GapState.UNREPAIRABLE,
        "from_sequence": None,
        "to_sequence": None,
    }
    times = {
        "from_time_ns": START + start * MS,
        "to_time_ns": end and START + end * MS,
        "event_time_ns": START + start * MS,
    }
    return stream.gap(start, **({"record_key": f"g/{start}-{end}-{sorted(values)}"} | given | times | values))


@pytest.fixture
def marks(settings: Settings) -> Callable[..., list[int]]:
    """Of ten trades, one a ms: those that are marked, if these gaps are declared."""

    def ask(*gaps: Record, **options: Any) -> list[int]:
        export_records(settings, [*TRADES, *gaps])
        found = Lake(settings).trades("binance", "BTC-USDT", **{"with_gaps": True, **options}).collect()
        return [
            (at - START) // MS for at, is_marked in found.select("time_ns", "gap").iter_rows() if is_marked
        ]

    return ask


def test_the_first_row_after_a_hole_is_marked_and_the_last_before_it_is_not(
    marks: Callable[..., list[int]],
) -> None:
    assert marks(hole(3, 6), hole(8, 0)) == [4, 5, 6, 9]


def test_a_window_reaches_back_over_the_hole(marks: Callable[..., list[int]]) -> None:
    assert marks(hole(3, 4), with_gaps="3ms") == [4, 5, 6]


def test_events_of_one_time_may_have_a_hole_between_them(marks: Callable[..., list[int]]) -> None:
    assert marks(hole(5, 5)) == [5, 6]


def test_holes_that_overlap_are_one(marks: Callable[..., list[int]]) -> None:
    assert marks(hole(1, 8), hole(2, 3), hole(2, 3, record_key="again")) == [2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    "values",
    [
        {"gap_state": GapState.REPAIRED},
        {"gap_kind": GapKind.START},
        {"gap_kind": GapKind.SOURCE_HOLE},
        {"exchange": "okx"},
        {"symbol": "ETH-USDT"},
        {"symbol": "ETH-*"},
        {"channel": "bookTicker"},
        {"channel": "depth@100ms"},
        {"from_time_ns": 0, "to_time_ns": 0, "event_time_ns": 0},
    ],
    ids=str,
)
def test_what_says_nothing_of_these_rows_marks_nothing(
    marks: Callable[..., list[int]], values: dict[str, Any]
) -> None:
    assert marks(hole(3, 6, **values)) == []


@pytest.mark.parametrize(
    "values",
    [
        {"exchange": "*", "symbol": "*"},
        {"symbol": "*"},
        {"symbol": "BTC-*"},
        {"channel": "nobody-knows"},
        {"gap_state": GapState.OPEN, "gap_kind": GapKind.SEQUENCE},
        {"gap_state": GapState.SOURCE_HOLE},
    ],
    ids=str,
)
def test_a_hole_of_many_symbols_marks_each_of_them(
    marks: Callable[..., list[int]], values: dict[str, Any]
) -> None:
    assert marks(hole(3, 6, **values), hole(7, 8)) == [4, 5, 6, 8]


def test_the_time_before_the_first_row_that_is_asked_for_counts(marks: Callable[..., list[int]]) -> None:
    assert marks(hole(3, 4), start=START + 4 * MS) == []
    assert marks(hole(3, 5), start=START + 4 * MS, end=START + 6 * MS, incomplete="allow") == [4, 5]


def test_each_symbol_has_its_own_row_before(settings: Settings) -> None:
    other = [stream.trade(number, symbol="ETH-USDT") for number in (2, 9)]
    export_records(settings, [*TRADES, *other, hole(3, 6), hole(3, 6, symbol="ETH-USDT")])
    found = Lake(settings).trades(with_gaps=True, columns=["symbol", "time_ns"]).collect()
    marked = [(symbol, (at - START) // MS) for symbol, at, is_marked in found.iter_rows() if is_marked]
    assert marked == [("BTC-USDT", 4), ("BTC-USDT", 5), ("BTC-USDT", 6), ("ETH-USDT", 9)]


def test_a_bar_is_marked_by_holes_of_its_own_time(settings: Settings) -> None:
    minute = 60_000
    begin = stream.bar(0).event_time_ns
    bars = [
        *(stream.bar(n) for n in range(5)),
        stream.bar(0, channel="kline_5m", interval="5m", record_key="5m/0"),
    ]
    late = (begin - START) // MS + 2 * minute + 1_000
    export_records(settings, [*bars, hole(late, late + minute, channel="kline_1m")])
    found = Lake(settings).bars(with_gaps=True).collect().sort("interval", "time_ns")
    assert found.select("interval", "gap").rows() == [
        ("1m", False), ("1m", False), ("1m", True), ("1m", True), ("1m", False), ("5m", True),
    ]  # fmt: skip
    hour = Lake(settings).bars(with_gaps="2m", interval="1m").collect()
    assert hour["gap"].to_list() == [False, False, True, True, True]


def test_bars_made_of_trades_are_marked_by_holes_of_the_trades(settings: Settings) -> None:
    second = 1_000
    trades = [stream.trade(n * second, trade_id=str(n), last_price=str(n + 1), volume="2") for n in range(5)]
    export_records(settings, [*trades, hole(second, 2 * second), hole(0, 4 * second, channel="kline_1m")])
    complete_until(settings, START + stream.DAY)
    assert Lake(settings).ohlcv().complete_until_ns == START // stream.DAY * stream.DAY
    derive(settings)
    bars = Lake(settings).ohlcv("binance", "BTC-*", interval="1s", with_gaps=True).collect()
    begin = START // (second * MS) * second * MS
    assert bars.select("symbol", "time_ns", "close", "turnover", "trades", "gap").rows() == [
        ("BTC-USDT", begin + n * second * MS, Decimal(n + 1), Decimal(2 * n + 2), 1, n in (1, 2))
        for n in range(5)
    ]
    assert (
        Lake(settings)
        .ohlcv(start=begin + 1, end=begin + 2 * second * MS, interval="1s")
        .collect()["trades"]
        .sum()
        == 1
    )
    assert Lake(settings).ohlcv().complete_until_ns == START + stream.DAY
    with pytest.raises(UsageError, match="ohlcv_5m: no such table"):
        Lake(settings).ohlcv(interval="5m")


def test_the_ledger_is_what_concerns_the_time_asked_for(settings: Settings) -> None:
    gaps = [
        hole(3, 6),
        hole(8, 0),
        hole(1, 2, exchange="okx"),
        hole(4, 5, exchange="*", symbol="*"),
        hole(1, 9, symbol="ETH-*"),
    ]
    export_records(settings, gaps)
    lake = Lake(settings)

    def found(*asked: Any, **options: Any) -> list[int]:
        rows = lake.gaps(*asked, incomplete="allow", **options).collect()
        return sorted((at - START) // MS for at in rows["from_time_ns"])

    assert found() == [1, 1, 3, 4, 8]
    assert found("binance", "BTC-USDT") == [3, 4, 8]
    assert found("binance", "ETH-USDT") == [1, 4]
    assert found("binance", "E*") == [1, 4]
    assert found("binance", "BTC-USDT", START + 6 * MS, START + 7 * MS) == []
    assert found("binance", "BTC-USDT", START + 5 * MS, START + 7 * MS) == [3]
    assert found("binance", "BTC-USDT", START + 900 * MS) == [8]
    assert lake.gaps(columns=["reason"]).collect().columns == ["reason"]
