"""Which files may hold what is asked for: made once from the logs, asked in microseconds. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from etl.lake.catalog import File


class Index:
    def __init__(self, files: Iterable[File]) -> None:
        days: dict[tuple[str, str], dict[str, list[File]]] = {}
        for file in files:
            days.setdefault((file.table, file.exchange), {}).setdefault(file.date, []).append(file)
        self._days = {place: dict(sorted(by_date.items())) for place, by_date in days.items()}
        self._dates = {place: list(by_date) for place, by_date in self._days.items()}

    def exchanges(self, table: str) -> list[str]:
        return sorted(exchange for name, exchange in self._days if name == table)

    def days(
        self, table: str, exchange: str, start: str = "", end: str = ""
    ) -> Iterator[tuple[str, list[File]]]:
        """Dates from ``start`` to before ``end`` ("" = open), each with its files."""
        dates = self._dates.get((table, exchange), [])
        last = bisect_left(dates, end) if end else len(dates)
        for date in dates[bisect_left(dates, start) : last]:
            yield date, self._days[table, exchange][date]

    def day(self, table: str, exchange: str, date: str) -> list[File]:
        return self._days.get((table, exchange), {}).get(date, [])

    def find(self, table: str, exchange: str, symbol: str = "", start: str = "", end: str = "") -> list[File]:
        """The files of these dates that may have rows of ``symbol`` ("" = any; ``BTC-*`` = all that begin so)."""
        prefix = symbol.removesuffix("*")
        top = f"{prefix}\U0010ffff" if symbol != prefix else symbol
        return [
            file
            for _, files in self.days(table, exchange, start, end)
            for file in files
            if not symbol or (file.symbol_min <= top and prefix <= file.symbol_max)
        ]
