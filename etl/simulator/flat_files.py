"""Flat files as Polygon sells them, of a market of any size: a gzipped CSV a day, all stocks by name and minute.

Prices walk in cents from each stock's own; the same seed gives the same bytes. About 1 µs a bar, so that an archive of
ten million is there in seconds.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from etl.adapter.market_calendar import NEW_YORK, calendar_of
from etl.model.times import NS_PER_MINUTE, NS_PER_S

HEADINGS = "ticker,volume,open,close,high,low,window_start,transactions\n"
MINUTES_MAX = 390
OPENS_HOUR, OPENS_MINUTE = 9, 30
LETTERS = 26
COMPRESSION_LEVEL = 1


def write_archive(
    folder: Path, days: int, symbols: int, minutes: int, first: date, seed: int = 1
) -> Iterator[Path]:
    """One file after the other: ``days`` weekdays from ``first`` on, each with ``symbols`` × ``minutes`` bars."""
    day = first
    for number in range(days):
        while day.weekday() > 4:
            day += timedelta(days=1)
        path = folder / "us_stocks_sip" / "minute_aggs_v1" / f"{day:%Y}" / f"{day:%m}" / f"{day}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(packed(bars_of(day, symbols, minutes, seed + number)))
        yield path
        day += timedelta(days=1)


def packed(bars: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    options = csv.WriteOptions(include_header=False, quoting_style="none")
    csv.write_csv(bars, sink, options)
    return gzip.compress(HEADINGS.encode() + bytes(sink.getvalue()), COMPRESSION_LEVEL, mtime=0)


def bars_of(day: date, symbols: int, minutes: int, seed: int) -> pa.Table:
    """Text in the columns of ``HEADINGS``."""
    chance = np.random.default_rng(seed)
    shape = symbols, minutes
    first = chance.integers(500, 60_000, size=(symbols, 1))
    close = np.maximum(100, first + chance.integers(-12, 13, size=shape).cumsum(axis=1))
    opens = np.maximum(100, close + chance.integers(-8, 9, size=shape))
    high = np.maximum(opens, close) + chance.integers(0, 6, size=shape)
    low = np.minimum(opens, close) - chance.integers(0, 6, size=shape)
    volume = np.floor(chance.lognormal(6.0, 1.5, size=shape)).astype(np.int64) + 1
    count = np.minimum(volume, chance.integers(1, 200, size=shape))
    opening = datetime(
        day.year, day.month, day.day, OPENS_HOUR, OPENS_MINUTE, tzinfo=calendar_of(NEW_YORK).zone
    )
    starts = int(opening.timestamp()) * NS_PER_S + np.arange(minutes, dtype=np.int64) * NS_PER_MINUTE
    columns: dict[str, Any] = {
        "ticker": pa.array([ticker(number) for number in range(symbols)]).take(
            pa.array(np.repeat(np.arange(symbols), minutes))
        ),
        "volume": _text(volume),
        "open": _cents(opens),
        "close": _cents(close),
        "high": _cents(high),
        "low": _cents(low),
        "window_start": _text(np.tile(starts, symbols)),
        "transactions": _text(count),
    }
    return pa.table(columns)


def ticker(number: int) -> str:
    """``AAAA``, ``AAAB``, …: in the order of their numbers."""
    letters = []
    for _ in range(4):
        number, letter = divmod(number, LETTERS)
        letters.append(chr(ord("A") + letter))
    return "".join(reversed(letters))


def _text(numbers: Any) -> pa.Array:
    return pa.array(np.ravel(numbers)).cast(pa.string())


def _cents(numbers: Any) -> pa.Array:
    return pc.binary_join_element_wise(_text(numbers // 100), pc.utf8_lpad(_text(numbers % 100), 2, "0"), ".")
