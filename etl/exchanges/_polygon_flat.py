"""Flat files: a gzipped CSV a day with the minute bars of every stock, in the words of the history's rows.
https://massive.com/docs/flat-files/stocks/minute-aggregates

    ticker,volume,open,close,high,low,window_start,transactions
    AAPL,5040,191.9,191.78,191.94,191.75,1708938000000000000,118

A line says what a row of ``/v2/aggs`` says, and becomes the same record under the same identity.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from msgspec import Raw

from etl.adapter.bulk import BulkBars
from etl.adapter.fields import FieldFault, whole
from etl.adapter.market_calendar import NEW_YORK
from etl.model.codes import Code
from etl.model.times import NS_PER_HOUR, NS_PER_MS

ARCHIVE = "archive:"
START = "window_start"
HEADINGS = ("ticker", "volume", "open", "close", "high", "low", START, "transactions")
"""The usual order, for a block that is read without the first."""
DAY_NS = 4 * NS_PER_HOUR
"""A file is a day of New York, whose trading begins at 4:00 and ends at 20:00 there."""
BULK = BulkBars(
    HEADINGS,
    ticker="ticker",
    start=START,
    prices=("open", "high", "low", "close"),
    volume="volume",
    trade_count="transactions",
    symbols=re.compile(r"[A-Z][A-Za-z.]{0,11}"),
    calendar=NEW_YORK,
    rows_per_day=800_000,
)
"""Five years of 10,000 stocks are about a billion bars: most stocks have none in most minutes."""
_MEMBERS = {"volume": "v", "open": "o", "close": "c", "high": "h", "low": "l", "transactions": "n"}


def row_of(cells: Mapping[str, str]) -> Raw:
    """A row of history in JSON, numbers in their own text. Raises ``FieldFault``."""
    start_ns = whole(cells.get(START, ""))
    if start_ns % NS_PER_MS:
        raise FieldFault(Code.TIME_OUT_OF_RANGE, f"{START}={start_ns}: no whole ms")
    ticker = cells.get("ticker", "")
    if not ticker or not ticker.isprintable() or '"' in ticker or "\\" in ticker:
        raise FieldFault(Code.SYMBOL_MALFORMED, f"ticker={ticker!r:.60}")
    numbers = "".join(f',"{member}":{cells.get(name, "")}' for name, member in _MEMBERS.items())
    return Raw(f'{{"T":"{ticker}","t":{start_ns // NS_PER_MS}{numbers}}}'.encode())


def cells_of(line: str) -> Sequence[str]:
    return [cell.strip() for cell in line.split(",")]
