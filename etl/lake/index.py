"""Which files may hold what is asked for: made once from the logs, brought on by what commits change, asked in
microseconds. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import copy
from itertools import accumulate
from operator import attrgetter

from etl.lake.catalog import TIME_NS_MAX, File
from etl.lake.layout import day_of
from etl.model.times import NS_PER_DAY


class _Day:
    """The files of a table, an exchange and a date, by their least symbol."""

    def __init__(self, files: Iterable[File]) -> None:
        self.files = sorted(files, key=attrgetter("symbol_min"))
        self._firsts = [file.symbol_min for file in self.files]
        self._reached = list(accumulate((file.symbol_max for file in self.files), max))
        self._least_last = min(file.symbol_max for file in self.files)
        self._last_begin_ns = max(file.time_ns_min for file in self.files)
        self._first_end_ns = min(file.time_ns_max for file in self.files)

    def having(self, bounds: Sequence[tuple[str, str]]) -> list[File]:
        """Those that may have a symbol from the first to the last of any of ``bounds``: none begins after it, none ends
        before it."""
        found: list[File] = []
        reached = 0
        for start, end in sorted(self._places(first, last) for first, last in bounds):
            found += self.files[max(start, reached) : end]
            reached = max(reached, end)
        if all(first <= self._least_last for first, _ in bounds):
            return found
        return [
            file
            for file in found
            if any(file.symbol_min <= last and first <= file.symbol_max for first, last in bounds)
        ]

    def _places(self, first: str, last: str) -> tuple[int, int]:
        return bisect_left(self._reached, first), bisect_right(self._firsts, last)

    def at(self, files: list[File], start_ns: int, end_ns: int) -> list[File]:
        """Of ``files``, which are of this day, those with rows in [start_ns, end_ns): of a day within it all."""
        if self._last_begin_ns < end_ns and start_ns <= self._first_end_ns:
            return files
        return [file for file in files if file.time_ns_min < end_ns and start_ns <= file.time_ns_max]


_Place = tuple[str, str]
"""Table, exchange."""


class Index:
    def __init__(self, files: Iterable[File]) -> None:
        self._days: dict[_Place, dict[str, _Day]] = {}
        self._dates: dict[_Place, list[str]] = {}
        self._put(_by_place(files))

    def _put(self, changed: dict[_Place, dict[str, list[File]]]) -> None:
        """Those days anew; one without files is none."""
        for place, by_date in changed.items():
            days = self._days.get(place, {}) | {date: _Day(files) for date, files in by_date.items() if files}
            kept = sorted(days.keys() - {date for date, files in by_date.items() if not files})
            self._days[place], self._dates[place] = {date: days[date] for date in kept}, kept

    def changed(self, added: Collection[File], removed: Collection[File]) -> Index:
        """The index after a commit: of the days alone that it touches something is made anew."""
        gone = {file.path for file in (*added, *removed)}
        touched = _by_place((*added, *removed))
        new = _by_place(added)
        made = copy(self)
        made._days, made._dates = dict(self._days), dict(self._dates)
        made._put(
            {
                place: {
                    date: [
                        *(file for file in self.day(*place, date) if file.path not in gone),
                        *new.get(place, {}).get(date, ()),
                    ]
                    for date in by_date
                }
                for place, by_date in touched.items()
            }
        )
        return made

    def exchanges(self, table: str) -> list[str]:
        return sorted(exchange for (name, exchange), days in self._days.items() if name == table and days)

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
        self, table: str, exchange: str, bounds: Sequence[tuple[str, str]], start_ns: int, end_ns: int
    ) -> list[File]:
        """The files that may have rows in [start_ns, end_ns) of symbols from the first to the last of any of
        ``bounds``; by date and least symbol."""
        start = day_of(start_ns) if start_ns > 0 else ""
        end = day_of(end_ns - 1 + NS_PER_DAY) if end_ns < TIME_NS_MAX - NS_PER_DAY else ""
        found: list[File] = []
        by_date = self._days.get((table, exchange), {})
        for date in self._between(table, exchange, start, end):
            day = by_date[date]
            found += day.at(day.having(bounds), start_ns, end_ns)
        return found

    def _between(self, table: str, exchange: str, start: str, end: str) -> list[str]:
        dates = self._dates.get((table, exchange), [])
        last = bisect_left(dates, end) if end else len(dates)
        return dates[bisect_left(dates, start) : last]


def _by_place(files: Iterable[File]) -> dict[_Place, dict[str, list[File]]]:
    found: dict[_Place, dict[str, list[File]]] = {}
    for file in files:
        found.setdefault((file.table, file.exchange), {}).setdefault(file.date, []).append(file)
    return found
