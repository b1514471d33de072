"""What a scan reads, told before it runs: at most, from the log alone; more closely, from the footers of its files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.parquet as pq
from msgspec import Struct

from etl.lake.catalog import File
from etl.lake.layout import LAYOUT
from etl.lake.lookup import bounds_of
from etl.lake.storage import Storage
from etl.model.times import NS_PER_US

LARGE_SCAN_ROWS = 100_000_000
"""More are told of with a warning: a second of two cores to add one column up, some 30 GB to hold in all columns."""
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class LargeScanWarning(UserWarning):
    """More than ``LARGE_SCAN_ROWS`` rows are to be read."""


class Scan(Struct, frozen=True):
    """Files to open, and rows and bytes of theirs that may have to be read, in all columns."""

    files: int = 0
    rows: int = 0
    bytes: int = 0

    def __add__(self, other: Scan) -> Scan:
        return Scan(self.files + other.files, self.rows + other.rows, self.bytes + other.bytes)

    def __str__(self) -> str:
        return f"{self.files:,} files, {self.rows:,} rows, {self.bytes:,} bytes"


def at_most(files: Iterable[File]) -> Scan:
    """All that ``files`` hold."""
    found = list(files)
    return Scan(len(found), sum(file.rows for file in found), sum(file.bytes for file in found))


def by_footers(
    storage: Storage, files: Iterable[File], symbols: Sequence[str], start_ns: int, end_ns: int
) -> Scan:
    """Of ``files`` the row groups that may hold rows of ``symbols`` in [start_ns, end_ns): a footer is read of each
    that we wrote, another program's counts whole.

    Raises ``StoreUnavailable``."""
    found = Scan()
    for file in files:
        rows = file.rows
        if file.layout == LAYOUT and rows:
            with storage.open(file.path) as opened:
                rows = _rows(pq.read_metadata(opened), symbols, start_ns, end_ns)
        found += Scan(1, rows, file.bytes * rows // max(file.rows, 1))
    return found


def _rows(footer: Any, symbols: Sequence[str], start_ns: int, end_ns: int) -> int:
    names = [footer.schema.column(number).path for number in range(footer.num_columns)]
    symbol, time = names.index("symbol"), names.index("time")
    bounds = bounds_of(symbols)
    rows = 0
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        symbols_here, times_here = (group.column(column).statistics for column in (symbol, time))
        has_symbol = any(symbols_here.min <= last and first <= symbols_here.max for first, last in bounds)
        if has_symbol and _ns(times_here.min) < end_ns and start_ns < _ns(times_here.max) + NS_PER_US:
            rows += group.num_rows
    return rows


def _ns(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND * NS_PER_US


def warning_of(table: str, scan: Scan) -> str:
    """One line."""
    hint = "; ohlcv() has prices and volumes a second or a minute" if table == "trades" else ""
    return f"{table}: {scan} are to be read{hint}"
