"""A backtest over a week out of ``Client``: two moving averages of the price that cross.

    python docs/examples/backtest.py http://127.0.0.1:8060 TOKEN 2026-01-01

One day of trades is in memory at a time; the second run takes them from the client's cache. What a bar's close tells is
traded at the close of the next one, and midnight is a minute like any other.
"""

from __future__ import annotations

import argparse
from datetime import date, timedelta
from typing import Any

import polars as pl

from etl.client import Client

FAST, SLOW = 5, 20
"""Minutes."""
DAYS = 7


def closes(trades: pl.DataFrame) -> pl.DataFrame:
    """The last price of each minute that had a trade: ``minute``, ``close``."""
    return trades.group_by(minute=pl.col("time").dt.truncate("1m"), maintain_order=True).agg(
        close=pl.col("last_price").last().cast(pl.Float64)
    )


def bars_of(
    client: Client, exchange: str, symbol: str, first: date, days: int = DAYS, **options: Any
) -> pl.DataFrame:
    """The minutes of ``days`` from ``first`` on, a day at a time; ``options`` are those of ``Client.trades``."""
    found = (
        client.trades(
            exchange, symbol, first + timedelta(days=day), first + timedelta(days=day + 1), **options
        )
        for day in range(days)
    )
    return pl.concat([closes(trades) for trades in found])


def backtest(bars: pl.DataFrame, fast: int = FAST, slow: int = SLOW) -> pl.DataFrame:
    """With ``position`` (1 while the fast average is above the slow one, else 0) as it is held over a bar, and
    ``profit`` so far, for one unit."""
    is_above = pl.col("close").rolling_mean(fast) > pl.col("close").rolling_mean(slow)
    held = bars.with_columns(position=is_above.fill_null(value=False).cast(pl.Int8).shift(2, fill_value=0))
    return held.with_columns(profit=(pl.col("position") * pl.col("close").diff().fill_null(0.0)).cum_sum())


def main() -> None:
    parser = argparse.ArgumentParser(description="two moving averages that cross")
    for name in ("url", "token", "day"):
        parser.add_argument(name)
    parser.add_argument("--exchange", default="binance")
    parser.add_argument("--symbol", default="BTC-USDT")
    parser.add_argument("--days", type=int, default=DAYS)
    asked = parser.parse_args()
    day = date.fromisoformat(asked.day)
    with Client(asked.url, asked.token) as client:
        bars = bars_of(client, asked.exchange, asked.symbol, day, asked.days, progress=True)
    print(backtest(bars).tail(10))


if __name__ == "__main__":
    main()
