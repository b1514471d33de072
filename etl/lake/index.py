"""Which files may hold what is asked for: made once from the logs, asked in microseconds. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from operator import attrgetter

from etl.lake.catalog import File

_AFTER_ALL = "\U0010ffff"


class _Day:
    """The files of a table, an exchange and a date, by their least symbol."""

    def __init__(self, files: Iterable[File]) -> None:
        self.files = sorted(files, key=attrgetter("symbol_min"))
        self._firsts = [file.symbol_min for file in self.files]
        self._reached = list(accumulate((file.symbol_max for file in self.files), max))
        self._least_last = min(file.symbol_max for file in self.files)

    def find(self, symbol: str) -> list[File]:
        """Those that may have ``symbol``: none begins after it, none ends before it."""
        prefix = symbol.removesuffix("*")
        top = f"{prefix}{_AFTER_ALL}" if symbol != prefix else symbol
        found = self.files[bisect_left(self._reached, prefix) : bisect_right(self._firsts, top)]
        return found if self._least_last >= prefix else [file for file in found if file.symbol_max >= prefix]


class Index:
    def __init__(self, files: Iterable[File]) -> None:
        days: dict[tuple[str, str], dict[str, list[File]]] = {}
        for file in files:
            days.setdefault((file.table, file.exchange), {}).setdefault(file.date, []).append(file)
        self._days = {
            place: {date: _Day(found) for date, found in sorted(by_date.items())}
            for place, by_date in days.items()
        }
        self._dates = {place: list(by_date) for place, by_date in self._days.items()}

    def exchanges(self, table: str) -> list[str]:
        return sorted(exchange for name, exchange in self._days if name == table)

    def day(self, table: str, exchange: str, date: str) -> list[File]:
        found = self._days.get((table, exchange), {}).get(date)
        return found.files if found else []

    def days(
        self, table: str, exchange: str, start: str = "", end: str = ""
    ) -> Iterator[tuple[str, list[File]]]:
        """Dates from ``start`` to before ``end`` ("" = open), each with its files."""
        for date in self._between(table, exchange, start, end):
            yield date, self._days[table, exchange][date].files

    def find(
        self, table: str, exchange: str, symbols: str | Sequence[str] = "", start: str = "", end: str = ""
    ) -> list[File]:
        """The files of these dates that may have rows of ``symbols``, one or several ("" = any; ``BTC-*`` = all that
        begin so); by date and least symbol."""
        found: list[File] = []
        by_date = self._days.get((table, exchange), {})
        for date in self._between(table, exchange, start, end):
            day = by_date[date]
            if not symbols:
                found += day.files
            elif isinstance(symbols, str):
                found += day.find(symbols)
            else:
                paths = {file.path for symbol in symbols for file in day.find(symbol)}
                found += [file for file in day.files if file.path in paths]
        return found

    def _between(self, table: str, exchange: str, start: str, end: str) -> list[str]:
        dates = self._dates.get((table, exchange), [])
        last = bisect_left(dates, end) if end else len(dates)
        return dates[bisect_left(dates, start) : last]
