"""What a venue says of its files of bars, so that they can be read by whole columns. Pure data."""

from __future__ import annotations

import re

from msgspec import Struct


class BulkBars(Struct, frozen=True):
    """A file without quotes, a bar a line. Columns by what they hold; ``start`` is in ns and a whole ms, ``prices`` are
    open, high, low, close. What else a bar says is the same of all bars of a block, and taken from the first, which the
    venue's own parser reads.

    ``symbols`` matches, as a whole, tickers that are the unified symbol as they stand; a line with another is left to
    the parser, as is every line that is not plainly good. ``rows_per_day`` is for
    estimates of files that are not there.
    """

    headings: tuple[str, ...]
    ticker: str
    start: str
    prices: tuple[str, str, str, str]
    volume: str
    trade_count: str
    symbols: re.Pattern[str]
    calendar: str
    rows_per_day: int
