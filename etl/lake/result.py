"""What the lake answers: rows that are read when they are asked for, and what is known of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa
from msgspec import Struct, structs

from etl.lake.estimate import LARGE_SCAN_ROWS, LargeScanWarning, Scan, warning_of
from etl.lake.scan import TIME_NS, instant

ORDER = (TIME_NS, "exchange", "symbol", "record_key")
"""Of collected rows. Those of one symbol have this order, or nearly, in their files already."""


class Result(Struct, frozen=True):
    """Rows of a table, or what was made of several. ``collect()`` and its like give them in the order of their time.

    ``complete_until_ns``: what was published before then is in the lake, None = no export has told; ``start_ns`` and
    ``end_ns``: what was asked for, [start, end), after clamping; ``versions``: by table, the commit that was read;
    ``scan``: what may have to be read, from the log alone, so at most. ``names`` are the columns to show, () = all.
    """

    rows: pl.LazyFrame
    table: str
    complete_until_ns: int | None
    start_ns: int
    end_ns: int
    versions: Mapping[str, int]
    scan: Scan = Scan()
    look: Callable[[], Scan] | None = None
    """Asks the footers of the files; None = what was to be read has been."""
    names: tuple[str, ...] = ()
    is_one_symbol: bool = False
    is_ordered: bool = False
    """The rows stand in the order in which they are to be given."""
    holes: pl.DataFrame | None = None
    """With gaps: when and of whom data is missing, for what is joined to these rows."""

    @property
    def complete_until(self) -> datetime | None:
        """The same to the microsecond, UTC."""
        return None if self.complete_until_ns is None else instant(self.complete_until_ns)

    def closer_scan(self) -> Scan:
        """``scan`` by the footers of its files: only the row groups that may hold what is asked for."""
        return self.look() if self.look else self.scan

    def lazy(self) -> pl.LazyFrame:
        """To go on with in Polars. The rows come in the order of the files: ``sort("time_ns")`` where it matters."""
        self._warn_of_size()
        return self.rows.select(self.names) if self.names else self.rows

    def _warn_of_size(self) -> None:
        if self.look is None or self.scan.rows <= LARGE_SCAN_ROWS:
            return
        if (scan := self.look()).rows > LARGE_SCAN_ROWS:
            warnings.warn(warning_of(self.table, scan), LargeScanWarning, stacklevel=3)

    def collect(self) -> pl.DataFrame:
        """Decimals are ``Decimal``, times UTC; in the order of ``time_ns``."""
        self._warn_of_size()
        keys, shown = self._order()
        found: pl.DataFrame = self.rows.select(
            [*shown, *(name for name in keys if name not in shown)]
        ).collect()
        if self.is_one_symbol and keys and found[keys[0]].is_sorted():
            return found.select(shown)
        return (found.sort(keys, maintain_order=True) if keys else found).select(shown)

    def _order(self) -> tuple[list[str], list[str]]:
        """The columns to sort by, and those to show."""
        known = self.rows.collect_schema().names()
        keys = () if self.is_ordered else ORDER[:1] if self.is_one_symbol else ORDER
        return [name for name in keys if name in known], list(self.names) or known

    def to_polars(self) -> pl.DataFrame:
        return self.collect()

    def to_arrow(self) -> pa.Table:
        return self.collect().to_arrow()

    def to_pandas(self) -> Any:
        """Decimals are objects, integers that may be missing ``Int64``: as floats they would lose digits."""
        import pandas

        nullable = {pa.int64(): pandas.Int64Dtype()}
        table = self.to_arrow()
        whole = {
            field.name
            for field in table.schema
            if pa.types.is_int64(field.type) and not table[field.name].null_count
        }
        frame = table.to_pandas(types_mapper=nullable.get)
        return frame.astype(dict.fromkeys(whole, "int64"))

    def to_duckdb(self, connection: Any = None) -> Any:
        """As a relation of ``connection``, or of DuckDB's default one."""
        import duckdb

        return (connection or duckdb.default_connection()).from_arrow(self.to_arrow())

    def pipe(self, function: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Result:
        """What ``function`` makes of the rows in their order, with what is known of them:
        ``quotes.pipe(lambda rows: rows.filter(…))``."""
        keys, shown = self._order()
        rows = self.rows.sort(keys, maintain_order=True) if keys else self.rows
        return structs.replace(self, rows=function(rows.select(shown)), names=(), is_ordered=True)

    def __repr__(self) -> str:
        until = "unknown" if self.complete_until is None else f"{self.complete_until:%Y-%m-%d %H:%M:%S.%f}"
        return f"<{self.table}: {self.scan}, versions {dict(self.versions)}, complete until {until}>"
