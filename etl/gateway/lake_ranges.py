"""Pages of ranges out of the lake: the rows, columns and cursors that ClickHouse gives (``ranges.py``). Blocks."""

from __future__ import annotations

from threading import Lock

import polars as pl
import pyarrow as pa

from etl.errors import UsageError
from etl.gateway.frames import WRITERS, as_float, exact_text
from etl.gateway.ranges import COMMON, DECIMAL_LISTS, DECIMALS, TEXT, PageCursor, Question, TooLarge
from etl.lake import Lake
from etl.lake.scan import SCHEMAS, TIME_NS
from etl.settings import Settings

TABLES = {"books": "book_updates"}
"""By their names over HTTP, where the lake has another."""
_sequence, _key = pl.col("sequence").fill_null(-1), pl.col("record_key")


class LakeRanges:
    """One view of the lake for all threads, at each question the newest."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._lake: Lake | None = None

    def count(self, question: Question) -> int:
        """Rows from here to the end of the range. Raises ``EtlError``."""
        return int(self._rows(question).select(pl.len()).collect().item())

    def page(self, question: Question, form: str) -> tuple[bytes, PageCursor | None]:
        """In one of ``ranges.FORMATS``; and where it ends, if it is full. Raises ``EtlError``."""
        scan_max = self._settings.gateway.scan_rows_max
        if (count := self.count(question)) > scan_max:
            raise TooLarge(f"{count:,} rows from here on; one question reads {scan_max:,}, ask for less")
        names = (*COMMON, *question.table.columns)
        found = (
            self._rows(question)
            .sort(TIME_NS, _sequence, _key)
            .head(question.limit)
            .select(pl.col(TIME_NS).alias("__at"), *(self._column(question, name) for name in names))
            .collect()
        )
        last = None
        if found.height == question.limit:
            at_ns, sequence, key = found.select("__at", _sequence, _key).row(-1)
            last = PageCursor(at_ns, sequence, key)
        return WRITERS[form](found.drop("__at")), last

    def _rows(self, question: Question) -> pl.LazyFrame:
        """Those that are asked for and follow the page before. Raises ``EtlError``."""
        if question.symbol.endswith("*"):
            raise UsageError("symbol: one name")
        after = question.after
        with self._lock:
            if self._lake is None:
                self._lake = Lake(self._settings)
            else:
                self._lake.refresh()
            result = self._lake.table(
                _table(question),
                question.exchange,
                question.symbol,
                after.time_ns if after else question.start_ns,
                question.end_ns,
                pl.col("interval") == question.interval if question.interval else None,
                incomplete="allow",
            )
        return result.lazy().filter(_follows(after)) if after else result.lazy()

    def _column(self, question: Question, name: str) -> pl.Expr:
        if name == "time":
            return pl.from_epoch(TIME_NS, "ns").dt.replace_time_zone("UTC").alias("time")
        convert = exact_text if question.decimals == TEXT else as_float
        if name in DECIMALS:
            return pl.coalesce(convert(pl.col(name)), convert(_wide(name))).alias(name)
        if name in DECIMAL_LISTS:
            levels = (pl.col(name), _wide(name).str.split(","))
            return _or_none(name, *(one.list.eval(convert(pl.element())) for one in levels))
        kind = SCHEMAS[_table(question)].field(name).type if name != "exchange" else pa.string()
        if pa.types.is_list(kind):
            return _or_none(name, pl.col(name))
        return pl.col(name).fill_null("") if pa.types.is_string(kind) else pl.col(name)


def _table(question: Question) -> str:
    return TABLES.get(question.table.name, question.table.name)


def _follows(after: PageCursor) -> pl.Expr:
    is_later = (_sequence > after.sequence) | ((_sequence == after.sequence) & (_key > after.record_key))
    return (pl.col(TIME_NS) > after.time_ns) | ((pl.col(TIME_NS) == after.time_ns) & is_later)


def _wide(name: str) -> pl.Expr:
    """The text of a value that its column does not hold."""
    return pl.col("wide_decimals").map.get(name)


def _or_none(name: str, *lists: pl.Expr) -> pl.Expr:
    """The first that is there, else an empty one, as ClickHouse has it."""
    return pl.coalesce(*lists, pl.lit([])).alias(name)
