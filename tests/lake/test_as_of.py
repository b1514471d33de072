"""``asof``: against the plain definition, row by row; sources, ages and gaps beside each column."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from etl.errors import UsageError
from etl.lake import Lake, asof
from etl.model.records import Gap, GapKind, GapState
from etl.settings import Settings
from tests.support import stream
from tests.support.lake import complete_until, export_records

MS, START = stream.MS, stream.START_NS


def plain(
    left: Sequence[dict[str, Any]],
    right: Sequence[dict[str, Any]],
    direction: str,
    tolerance: int | None,
    exact: bool,
) -> list[int | None]:
    """By row of ``left`` the number of the row of ``right``: of equal times the last, looking forward the first."""
    found: list[int | None] = []
    for row in left:
        best: tuple[int, int, int] | None = None
        for number, other in enumerate(right):
            age = row["t"] - other["t"]
            wrong_side = (age < 0 and direction == "backward") or (age > 0 and direction == "forward")
            if None in (row["k"], row["t"], other["k"], other["t"]) or row["k"] != other["k"] or wrong_side:
                continue
            if (age == 0 and not exact) or (tolerance is not None and abs(age) > tolerance):
                continue
            is_last = age > 0 or (age == 0 and direction != "forward")
            rank = (abs(age), age < 0, -number if is_last else number)
            best = min(best or (*rank, number), (*rank, number))  # type: ignore[assignment]
        found.append(best[-1] if best else None)
    return found


@pytest.mark.parametrize("direction", ["backward", "forward", "nearest"])
@pytest.mark.parametrize(
    ("groups", "tolerance", "exact"), [(1, None, True), (7, None, True), (7, 20, True), (3, 90, False)]
)
def test_it_is_what_the_plain_definition_gives(
    direction: Any, groups: int, tolerance: int | None, exact: bool
) -> None:
    draw = random.Random(f"{direction}{groups}{tolerance}")

    def rows(count: int) -> list[dict[str, Any]]:
        return [{"k": f"k{draw.randrange(groups)}", "t": draw.randrange(1, 400)} for _ in range(count)]

    left, right = rows(120), sorted(rows(90), key=lambda row: row["t"])
    found = asof(
        pl.DataFrame(left), pl.DataFrame(right).with_row_index("n"), by="k", on="t", direction=direction,
        columns=["n"], tolerance=tolerance, allow_exact_matches=exact,
    ).collect()  # fmt: skip
    expected = plain(left, right, direction, tolerance, exact)
    assert found["n"].to_list() == expected
    ages = [None if at is None else row["t"] - right[at]["t"] for row, at in zip(left, expected, strict=True)]
    assert found["n_age_ns"].to_list() == ages
    assert found.select("k", "t").rows(named=True) == left
    assert sum(at is not None for at in expected) > 20


def test_groups_over_years_join_as_well() -> None:
    """Their key has more than 64 bits."""
    year = 365 * stream.DAY
    left = pl.DataFrame(
        {"symbol": [f"S{n}" for n in range(1_000)], "time_ns": [START + n * year // 9 for n in range(1_000)]}
    )
    right = left.select("symbol", pl.col("time_ns") - pl.int_range(pl.len()), value=pl.int_range(pl.len()))
    found = asof(left, right).collect()
    assert found["value"].to_list() == list(range(1_000))
    assert found["value_age_ns"].to_list() == list(range(1_000))


def test_rows_without_a_group_or_a_time_match_nothing() -> None:
    left = pl.DataFrame({"symbol": ["A", None, "A", "B"], "time_ns": [5, 5, None, 5]})
    right = pl.DataFrame({"symbol": ["A", None, "A"], "time_ns": [4, 4, None], "value": [1, 2, 3]})
    assert asof(left, right).collect()["value"].to_list() == [1, None, None, None]
    assert asof(left, right, by=()).collect()["value"].to_list() == [2, 2, None, 2]
    assert asof(left, right[:0]).collect()["value_age_ns"].to_list() == [None] * 4


@pytest.fixture
def venues(settings: Settings) -> Settings:
    """Trades of one venue a ms; quotes of two others, by their own clocks; a hole in the quotes of one."""
    lost = Gap(
        *("okx", "BTC-USDT", "BTC-USDT", "bbo-tbt", START + 4 * MS, START + 9 * MS), stream.trade(0).source,
        *(stream.CONNECTION, 1, 0, "bbo-tbt/gap", START, 1), gap_kind=GapKind.DISCONNECT,
        gap_state=GapState.UNREPAIRABLE, from_time_ns=START + 4 * MS, to_time_ns=START + 8 * MS, reason="lost",
    )  # fmt: skip
    quotes = [
        stream.quote(
            n,
            exchange,
            channel=channel,
            event_time_ns=START + at * MS,
            bid=f"{at}.5",
            ask=None if at == 4 else "7",
        )
        for n, (exchange, channel, at) in enumerate(
            [("okx", "bbo-tbt", 1), ("bybit", "orderbook.1", 2), ("okx", "bbo-tbt", 4), ("okx", "bbo-tbt", 8)]
        )
    ]
    trades = [stream.trade(n) for n in range(10)]
    export_records(settings, [*trades, *quotes, lost, stream.trade(1, symbol="ETH-USDT")])
    complete_until(settings, START + 60_000 * MS)
    return settings


def test_each_column_tells_where_it_is_from_and_how_old_it_is(venues: Settings) -> None:
    lake = Lake(venues)
    joined = asof(lake.trades(columns=["symbol", "time_ns"]), lake.quotes(), columns=["bid"], tolerance="3ms")
    assert joined.collect().rows() == [
        ("BTC-USDT", START, None, None, None),
        ("BTC-USDT", START + 1 * MS, Decimal("1.5"), "okx", 0),
        ("ETH-USDT", START + 1 * MS, None, None, None),
        *(("BTC-USDT", START + n * MS, Decimal("2.5"), "bybit", (n - 2) * MS) for n in (2, 3)),
        *(("BTC-USDT", START + n * MS, Decimal("4.5"), "okx", (n - 4) * MS) for n in (4, 5, 6, 7)),
        *(("BTC-USDT", START + n * MS, Decimal("8.5"), "okx", (n - 8) * MS) for n in (8, 9)),
    ]
    assert (joined.table, joined.complete_until_ns) == ("trades asof quotes", START + 60_000 * MS)
    assert joined.versions == {"trades": 0, "quotes": 0}
    every = asof(
        lake.trades(symbol="ETH-*"), lake.quotes("bybit"), by=(), direction="nearest", prefix="bybit_"
    ).collect()
    assert every.select("bybit_bid", "bybit_ask_size", "bybit_bid_age_ns").rows() == [
        (Decimal("2.5"), None, -MS)
    ]


def test_a_column_by_itself_goes_back_to_its_last_value(venues: Settings) -> None:
    lake = Lake(venues)
    trade = lake.trades(
        symbol="BTC-USDT", start=START + 5 * MS, end=START + 6 * MS, columns=["symbol", "time_ns"]
    )
    names = ["bid", "ask"]
    whole = asof(trade, lake.quotes("okx"), columns=names).collect().row(0)[2:]
    assert whole == (Decimal("4.5"), "okx", MS, None, "okx", MS)
    each = asof(trade, lake.quotes("okx"), columns=names, skip_nulls=True).collect().row(0)[2:]
    assert each == (Decimal("4.5"), "okx", MS, Decimal(7), "okx", 4 * MS)


@pytest.mark.parametrize("skip_nulls", [False, True])
def test_a_hole_between_the_two_is_told(venues: Settings, skip_nulls: bool) -> None:
    lake = Lake(venues)
    trades, quotes = lake.trades(symbol="BTC-USDT"), lake.quotes("okx", with_gaps=True)
    joined = asof(trades, quotes, prefix="okx_", columns=["bid"], skip_nulls=skip_nulls).collect()
    # the hole lies between 4 and 8, both good: what was known at 4 may be over at 5
    assert joined["okx_gap"].to_list() == [None, *[False] * 4, True, True, True, False, False]
    later = asof(trades, quotes, direction="forward", columns=["bid"]).collect()
    assert later["gap"].to_list() == [*[False] * 5, True, True, True, False, None]
    bybit = asof(trades, lake.quotes("bybit", with_gaps=True)).collect()
    assert bybit["gap"].to_list() == [None, None, *[False] * 8]


def test_what_was_known_by_our_clock(venues: Settings) -> None:
    lake = Lake(venues)
    joined = asof(
        lake.trades(symbol="BTC-USDT"), lake.quotes(), on="receive_time_ns", columns=["bid"]
    ).collect()
    assert joined["bid"].to_list()[:3] == [Decimal("2.5"), Decimal("4.5"), Decimal("8.5")]


def test_what_cannot_be_joined_is_refused() -> None:
    frame = pl.DataFrame({"symbol": ["A"], "time_ns": [1], "bid": [2]})
    for options, told in (
        ({}, "left has bid already: give a prefix"),
        ({"prefix": "r_", "by": "exchange"}, "left has no column exchange"),
        ({"prefix": "r_", "columns": ["ask"]}, "right has no column ask"),
        ({"prefix": "r_", "direction": "sideways"}, "must be backward, forward or nearest"),
        ({"prefix": "r_", "tolerance": timedelta()}, "not a duration"),
    ):
        with pytest.raises(UsageError, match=told):
            asof(frame, frame.lazy(), **options)
