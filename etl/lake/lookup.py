"""Which files of one table hold what is asked for, and which others may hold the same identities. Pure.

A record's identity fixes its key time, not its time: a repaired copy of a trade may lie in another day's file. So
files are chosen by symbol and time, and those whose key times overlap with them are read beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from etl.lake.catalog import TIME_NS_MAX, File
from etl.lake.index import Index
from etl.lake.layout import day_of
from etl.model.times import NS_PER_DAY

ANY = ("*",)
"""As symbols: all."""
TIME_NS_MIN = -(1 << 63)
SYMBOLS_EACH_MAX = 100
"""Of more, only the first and the last are compared with what a file says of itself."""


class Lookup:
    """``files`` are those of one table."""

    def __init__(self, table: str, files: Iterable[File]) -> None:
        self.files = list(files)
        self._table = table

    @cached_property
    def _index(self) -> Index:
        return Index(self.files)

    @cached_property
    def _by_key_time(self) -> dict[str, _KeyTimes]:
        by_exchange: dict[str, list[File]] = {}
        for file in self.files:
            by_exchange.setdefault(file.exchange, []).append(file)
        return {exchange: _KeyTimes(files) for exchange, files in by_exchange.items()}

    def exchanges(self) -> list[str]:
        return self._index.exchanges(self._table)

    def find(self, exchange: str, symbols: Sequence[str], start_ns: int, end_ns: int) -> list[File]:
        """The files that may have rows of ``symbols`` (``BTC-*`` = all that begin so) from ``start_ns`` to before
        ``end_ns``."""
        start = day_of(start_ns) if start_ns > 0 else ""
        end = day_of(end_ns - 1 + NS_PER_DAY) if end_ns < TIME_NS_MAX - NS_PER_DAY else ""
        in_time = [
            file
            for _, files in self._index.days(self._table, exchange, start, end)
            for file in files
            if file.time_ns_min < end_ns and start_ns <= file.time_ns_max
        ]
        return _holding(in_time, symbols)

    def beside(self, exchange: str, symbols: Sequence[str], files: Sequence[File]) -> list[File]:
        """The other files that may share identities of ``symbols`` with ``files``."""
        if not files:
            return []
        known = {file.path for file in files}
        start = min(file.key_time_ns_min for file in files)
        end = max(file.key_time_ns_max for file in files)
        overlapping = self._by_key_time[exchange].overlapping(start, end)
        return _holding([file for file in overlapping if file.path not in known], symbols)


class _KeyTimes:
    """Files of one exchange: found by key times in a millisecond among a million."""

    def __init__(self, files: Sequence[File]) -> None:
        self._files = files
        self._least = np.array([file.key_time_ns_min for file in files], dtype=np.int64)
        self._greatest = np.array([file.key_time_ns_max for file in files], dtype=np.int64)

    def overlapping(self, start: int, end: int) -> list[File]:
        found = np.flatnonzero((self._least <= end) & (self._greatest >= start))
        return [self._files[number] for number in found.tolist()]


def _holding(files: Sequence[File], symbols: Sequence[str]) -> list[File]:
    """Those that may have rows of ``symbols``."""
    bounds = bounds_of(symbols)
    if not 1 < len(bounds) <= SYMBOLS_EACH_MAX:
        least, most = min(first for first, _ in bounds), max(last for _, last in bounds)
        return [file for file in files if file.symbol_min <= most and least <= file.symbol_max]
    return [
        file
        for file in files
        if any(file.symbol_min <= last and first <= file.symbol_max for first, last in bounds)
    ]


def bounds_of(symbols: Sequence[str]) -> list[tuple[str, str]]:
    """The first and the last name that each of ``symbols`` means."""
    return [(symbol.removesuffix("*"), _top(symbol)) for symbol in symbols]


def _top(symbol: str) -> str:
    """The last name that ``symbol`` means."""
    prefix = symbol.removesuffix("*")
    return f"{prefix}\U0010ffff" if prefix != symbol else symbol
