"""What research in the lake costs, for ``etl bench lake``: sums, as-of joins, order books."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from etl.lake import Lake, asof
from etl.lake.book_levels import ASKS, BIDS, levels_after
from etl.model.times import NS_PER_DAY

SYMBOLS = 1_000
LEVELS = 20
"""Changed by each message of a book."""
DEPTH = 20
MESSAGES_PER_INSTANT = 10
"""As of a channel that tells changes every 100 ms, asked for every second."""

Measure = Callable[[Callable[[], object]], dict[str, float]]


def day_of_lake(lake: Lake, exchange: str, day: date, rows: int, measure: Measure) -> dict[str, Any]:
    """Of the only symbol of ``day``: all of it added up, and an hour."""
    volume, price = pl.col("volume"), pl.col("last_price")
    sums = [pl.len(), volume.sum(), price.min().alias("low"), price.max().alias("high")]
    at = datetime(day.year, day.month, day.day)
    symbol = lake.trades(exchange).lazy().select(pl.col("symbol").first()).collect().item()

    def ask(start: datetime, end: datetime) -> int:
        found = lake.trades(exchange, symbol, start, end, incomplete="allow").lazy().select(sums).collect()
        return int(found["len"][0])

    whole, eleven = timedelta(days=1), at + timedelta(hours=11)
    assert ask(at, at + whole) == rows
    return {
        "lake_sum_ms": measure(lambda: ask(at, at + whole)),
        "lake_hour_ms": measure(lambda: ask(eleven, eleven + timedelta(hours=1))),
    }


def as_of(rows: int, measure: Measure) -> dict[str, Any]:
    """A third as many trades as quotes, of many symbols, each side sorted as its files are."""
    random = np.random.default_rng(1)
    trades, quotes = _drawn(random, rows // 3, "last_price"), _drawn(random, rows, "bid")
    ms = measure(lambda: asof(trades, quotes))
    return {"left_rows": len(trades), "right_rows": len(quotes), "symbols": SYMBOLS, "asof_ms": ms}


def _drawn(random: np.random.Generator, rows: int, value: str) -> pl.DataFrame:
    symbols = [f"S{number}-USDT" for number in random.integers(0, SYMBOLS, rows)]
    times = random.integers(0, NS_PER_DAY, rows)
    frame = pl.DataFrame(
        {"exchange": pl.repeat("binance", rows, eager=True), "symbol": symbols, "time_ns": times}
    )
    return frame.with_columns(pl.Series(value, random.random(rows))).sort("symbol", "time_ns")


def books(messages: int, measure: Measure) -> dict[str, Any]:
    """Both sides, each message changing levels around a price that moves."""
    random = np.random.default_rng(1)
    middle = 10_000 + random.integers(-1, 2, messages).cumsum()
    columns: dict[str, pl.Series] = {}
    for side, sign in ((BIDS, -1), (ASKS, 1)):
        prices = middle[:, None] + sign * random.integers(1, 200, (messages, LEVELS))
        sizes = random.integers(0, 4, (messages, LEVELS))
        kind = pl.List(pl.Decimal(38, 8))
        columns |= {
            f"{side}_prices": pl.Series(prices.tolist()).cast(kind),
            f"{side}_sizes": pl.Series(sizes.tolist()).cast(kind),
        }
    frame = pl.DataFrame(
        {"book_action": pl.repeat("absolute", messages, eager=True), **columns}
    ).with_columns(depth=0)
    counts = np.arange(1, messages + 1, MESSAGES_PER_INSTANT)
    ms = measure(lambda: [levels_after(frame, side, counts, DEPTH) for side in (BIDS, ASKS)])
    return {"messages": messages, "instants": len(counts), "books_ms": ms}
