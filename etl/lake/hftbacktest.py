"""Trades and a book of the lake as the array of events that hftbacktest reads (its ``types.event_dtype``).

https://hftbacktest.readthedocs.io/en/latest/data.html: 64 bytes an event, times in ns; ``ev`` is what happened, on
which side, and whether the row stands in the venue's order, in ours or in both. Prices and sizes are floats there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from etl.errors import UsageError
from etl.lake.research import Lake
from etl.model.times import Time

EVENT = np.dtype(
    [
        ("ev", "u8"),
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("order_id", "u8"),
        ("ival", "i8"),
        ("fval", "f8"),
    ],
    align=True,
)
DEPTH, TRADE, DEPTH_CLEAR, DEPTH_SNAPSHOT = 1, 2, 3, 4
EXCHANGE, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
EVENTS_MAX = 50_000_000
"""In memory at once, 64 bytes each, and twice that while they are put in order."""
COLUMNS = ("ev", "exch_ts", "local_ts", "px", "qty")
TRADE_COLUMNS = ("event_time_ns", "receive_time_ns", "sequence", "side", "last_price", "volume")

Events = np.ndarray[Any, np.dtype[np.void]]


def events(
    lake: Lake,
    exchange: str,
    symbol: str,
    start: Time,
    end: Time,
    *,
    channel: str = "",
    with_book: bool = True,
) -> Events:
    """Of [start, end), in order. The book begins with the last snapshot before ``start``; ``channel`` only where there
    are several. Raises ``UsageError`` for sizes that are changes, or more than ``EVENTS_MAX``."""
    trades = lake.trades(exchange, symbol, start, end, columns=TRADE_COLUMNS).collect()
    parts = [of_trades(trades)]  # before the book: it counts what a trade took out of the queue
    if with_book:
        parts.append(of_book(lake.book_messages(exchange, symbol, start, end, channel=channel)))
    rows = pl.concat(parts)
    if len(rows) > EVENTS_MAX:
        raise UsageError(f"{len(rows):,} events: more than {EVENTS_MAX:,}, convert a shorter range")
    made = np.zeros(len(rows), EVENT)
    for name in COLUMNS:
        made[name] = rows[name].to_numpy()
    return in_order(made)


def of_trades(trades: pl.DataFrame) -> pl.DataFrame:
    """A row a trade; ``side`` is the taker's, and where the venue tells none, there is none."""
    side = pl.when(pl.col("side") == "buy").then(BUY).when(pl.col("side") == "sell").then(SELL).otherwise(0)
    return _times(trades.sort("receive_time_ns", "sequence", maintain_order=True)).select(
        (side + TRADE).cast(pl.UInt64).alias("ev"),
        "exch_ts",
        "local_ts",
        pl.col("last_price").cast(pl.Float64).alias("px"),
        pl.col("volume").cast(pl.Float64).alias("qty"),
    )


def of_book(messages: pl.DataFrame) -> pl.DataFrame:
    """A row a level. A snapshot clears each side as far as it reaches, then sets it. Raises ``UsageError``."""
    if (messages["book_action"] == "relative").any():
        raise UsageError("hftbacktest knows sizes as they stand, and this venue sends their changes")
    rows = _times(messages).with_row_index("message")
    sides = [
        _side(rows, name, flag, place) for place, (name, flag) in enumerate((("bid", BUY), ("ask", SELL)))
    ]
    return pl.concat(sides).sort("message", "place", maintain_order=True).select(COLUMNS)


def _side(messages: pl.DataFrame, name: str, flag: int, place: int) -> pl.DataFrame:
    """``place``: bids of a message come before its asks, the clearing before the levels."""
    prices, sizes = (pl.col(f"{name}_{what}").cast(pl.List(pl.Float64)) for what in ("prices", "sizes"))
    is_snapshot = pl.col("book_action") == "snapshot"
    filled = messages.filter(prices.list.len() > 0).with_columns(px=prices, qty=sizes)
    clear = filled.filter(is_snapshot).with_columns(
        px=pl.col("px").list.last(), qty=pl.lit(0.0), ev=pl.lit(DEPTH_CLEAR | flag), place=pl.lit(2 * place)
    )
    levels = filled.explode("px", "qty").with_columns(
        ev=pl.when(is_snapshot).then(DEPTH_SNAPSHOT | flag).otherwise(DEPTH | flag),
        place=pl.lit(2 * place + 1),
    )
    columns = ("message", "place", pl.col("ev").cast(pl.UInt64), *COLUMNS[1:])
    return pl.concat([clear.select(columns), levels.select(columns)])


def _times(rows: pl.DataFrame) -> pl.DataFrame:
    """Where the venue told no time, ours stands for it."""
    venue, ours = pl.col("event_time_ns"), pl.col("receive_time_ns")
    return rows.with_columns(exch_ts=pl.when(venue > 0).then(venue).otherwise(ours), local_ts=ours)


def in_order(found: Events) -> Events:
    """By the venue's time and by ours: a row that no other overtook on its way is one event, any other two, once in
    each order. Times of receipt are moved on by the clocks' difference where one lies before the venue's time."""
    found = found[np.argsort(found["exch_ts"], kind="stable")]
    if not len(found):
        return found
    found["local_ts"] += max(0, int((found["exch_ts"] - found["local_ts"]).max()))
    local = found["local_ts"]
    is_both = (local == np.maximum.accumulate(local)) & (local == np.minimum.accumulate(local[::-1])[::-1])
    block = np.cumsum(is_both)  # from one that is both to the next
    stray, stray_block = found[~is_both], block[~is_both]
    by_local = np.lexsort((stray["local_ts"], stray_block))
    parts = (
        (found[is_both], block[is_both], EXCHANGE | LOCAL),
        (stray, stray_block, EXCHANGE),
        (stray[by_local], stray_block[by_local], LOCAL),
    )
    whole = np.concatenate([rows for rows, _, _ in parts])
    whole["ev"] |= np.repeat(
        np.array([flag for *_, flag in parts], np.uint64), [len(rows) for rows, *_ in parts]
    )
    place = np.repeat(np.arange(len(parts)), [len(rows) for rows, *_ in parts])
    return whole[np.lexsort((place, np.concatenate([blocks for _, blocks, _ in parts])))]


def write(path: Path, found: Events) -> None:
    """As its own converters do: one array, ``data``."""
    with path.open("wb") as file:  # by its name NumPy would add to it
        np.savez_compressed(file, data=found)
