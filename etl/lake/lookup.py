"""Which files of one table hold what is asked for, and which others may hold the same identities. Pure.

A record's identity fixes its key time, not its time: a repaired copy of a trade may lie in another day's file. So
files are chosen by symbol and time, and those whose key times overlap with them are read beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import compress

import numpy as np

from etl.lake.catalog import File
from etl.lake.index import Index

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
        return {exchange: _KeyTimes(files) for exchange, files in _by_exchange(self.files).items()}

    def changed(self, added: Sequence[File], removed: Sequence[File]) -> Lookup:
        """After commits that added and removed these: what was made of the other files goes on."""
        gone = {file.path for file in (*added, *removed)}
        made = Lookup(self._table, [*(file for file in self.files if file.path not in gone), *added])
        if "_index" in self.__dict__:
            made._index = self._index.changed(added, removed)
        if "_by_key_time" in self.__dict__:
            old, new = self._by_key_time, _by_exchange(added)
            touched = {file.exchange for file in (*added, *removed)}
            made._by_key_time = old | {
                exchange: old.get(exchange, _KeyTimes(())).changed(new.get(exchange, ()), gone)
                for exchange in touched
            }
        return made

    def exchanges(self) -> list[str]:
        return self._index.exchanges(self._table)

    def find(self, exchange: str, symbols: Sequence[str], start_ns: int, end_ns: int) -> list[File]:
        """The files that may have rows of ``symbols`` (``BTC-*`` = all that begin so) from ``start_ns`` to before
        ``end_ns``."""
        return self._index.find(self._table, exchange, _few(bounds_of(symbols)), start_ns, end_ns)

    def beside(self, exchange: str, symbols: Sequence[str], files: Sequence[File]) -> list[File]:
        """The other files that may share identities of ``symbols`` with ``files``."""
        if not files:
            return []
        known = {file.path for file in files}
        start = min(file.key_time_ns_min for file in files)
        end = max(file.key_time_ns_max for file in files)
        overlapping = self._by_key_time[exchange].overlapping(start, end)
        bounds = _few(bounds_of(symbols))
        return [
            file
            for file in overlapping
            if file.path not in known
            and any(file.symbol_min <= last and first <= file.symbol_max for first, last in bounds)
        ]


class _KeyTimes:
    """Files of one exchange: found by key times in a millisecond among a million."""

    def __init__(self, files: Sequence[File]) -> None:
        self._files = files
        self._least = np.array([file.key_time_ns_min for file in files], dtype=np.int64)
        self._greatest = np.array([file.key_time_ns_max for file in files], dtype=np.int64)

    def changed(self, added: Sequence[File], gone: set[str]) -> _KeyTimes:
        """Without those of the paths ``gone``."""
        kept = np.array([file.path not in gone for file in self._files], dtype=bool)
        made = _KeyTimes(added)
        made._files = [*compress(self._files, kept), *added]
        made._least = np.concatenate((self._least[kept], made._least))
        made._greatest = np.concatenate((self._greatest[kept], made._greatest))
        return made

    def overlapping(self, start: int, end: int) -> list[File]:
        found = np.flatnonzero((self._least <= end) & (self._greatest >= start))
        return [self._files[number] for number in found.tolist()]


def _by_exchange(files: Iterable[File]) -> dict[str, list[File]]:
    found: dict[str, list[File]] = {}
    for file in files:
        found.setdefault(file.exchange, []).append(file)
    return found


def _few(bounds: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of more than ``SYMBOLS_EACH_MAX`` one from the first to the last."""
    if len(bounds) <= SYMBOLS_EACH_MAX:
        return bounds
    return [(min(first for first, _ in bounds), max(last for _, last in bounds))]


def bounds_of(symbols: Sequence[str]) -> list[tuple[str, str]]:
    """The first and the last name that each of ``symbols`` means."""
    return [(symbol.removesuffix("*"), _top(symbol)) for symbol in symbols]


def _top(symbol: str) -> str:
    """The last name that ``symbol`` means."""
    prefix = symbol.removesuffix("*")
    return f"{prefix}\U0010ffff" if prefix != symbol else symbol
