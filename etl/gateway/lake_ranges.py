"""Pages of ranges out of the lake: the rows, columns and cursors that ClickHouse gives (``ranges.py``). Blocks, for no
longer than a question may take, and reads no more once nobody waits for the answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from copy import copy
from threading import Lock

import polars as pl
import pyarrow as pa
from msgspec import structs

from etl.errors import EtlError, UsageError
from etl.gateway.frames import WRITERS, as_float, exact_text
from etl.gateway.patience import Patience
from etl.gateway.ranges import (
    ANSWER_BYTES_MAX,
    BOOK_SNAPSHOTS,
    COMMON,
    DECIMAL_LISTS,
    DECIMALS,
    MADE,
    OHLCV,
    TEXT,
    PageCursor,
    Question,
    TooLarge,
)
from etl.lake import Lake
from etl.lake.scan import SCHEMAS, TIME_NS
from etl.settings import Settings

TABLES = {"books": "book_updates", BOOK_SNAPSHOTS: "book_updates"}
"""By their names over HTTP, where the lake has another."""
POLL_S_MIN, POLL_S_MAX = 0.001, 0.05
"""Between two looks whether Polars has done, doubled with each."""
HasGone = Callable[[], bool]
"""Whether nobody waits for the answer any more."""
_AT = "__at"
_sequence, _key = pl.col("sequence").fill_null(-1), pl.col("record_key")


class LakeRanges:
    """One view of the lake for all threads, at each question the newest."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._lake: Lake | None = None

    def count(self, question: Question, has_gone: HasGone) -> int:
        """Rows from here to the end of the range. Raises ``EtlError``."""
        if question.table.name == BOOK_SNAPSHOTS:
            return len(question.instants)
        rows = self._rows(self._newest(), question)
        if question.after:
            rows = rows.filter(~_is_passed(question.after, TIME_NS))
        rows = rows.select(pl.len())
        return int(collect(rows, self._patience(has_gone)).item())

    def page(
        self, question: Question, form: str, has_gone: HasGone
    ) -> tuple[Iterator[bytes], PageCursor | None]:
        """In one of ``ranges.FORMATS``, piece by piece; and where it ends, if it is full. Raises ``EtlError``."""
        patience = self._patience(has_gone)
        if question.table.name in MADE:
            found, last = self._made(question, patience)
            return WRITERS[form](found), last
        names = (*COMMON, *question.table.columns)
        columns = (pl.col(TIME_NS).alias(_AT), *(_column(question, name) for name in names))
        found = collect(self._page_rows(question, patience).select(columns), patience)
        if not _is_in_order(found):
            found = found.sort(_AT, _sequence, _key)
        if question.after:
            found = found.slice(_passed(found, question.after))
        last = None
        if found.height >= question.limit:
            found = found.head(question.limit)
            last = question.cursor_at(*found.select(_AT, _sequence, _key).row(-1))
        if (size := int(found.estimated_size())) > ANSWER_BYTES_MAX:
            raise TooLarge(f"an answer of {size >> 20} MiB, more than {ANSWER_BYTES_MAX >> 20}; ask for less")
        return WRITERS[form](found.drop(_AT)), last

    def _made(self, question: Question, patience: Patience) -> tuple[pl.DataFrame, PageCursor | None]:
        """A page of what is made in the lake or of it, and where it ends, if it is full. Raises ``EtlError``."""
        rows = self._bars(question) if question.table.name == OHLCV else self._books(question)
        columns = (pl.col(TIME_NS).alias(_AT), *(_column(question, name) for name in question.table.columns))
        found = collect(rows.select(columns), patience)
        last = question.cursor_at(found[_AT][-1], -1, "") if found.height == question.limit else None
        return found.drop(_AT), last

    def _bars(self, question: Question) -> pl.LazyFrame:
        """Raises ``EtlError``."""
        rows = self._rows(self._newest(), question)
        if question.after:
            rows = rows.filter(pl.col(TIME_NS) > question.after.time_ns)
        return rows.sort(TIME_NS).head(question.limit)

    def _books(self, question: Question) -> pl.LazyFrame:
        """Raises ``EtlError``, so where it takes more messages than are held at once."""
        instants = question.instants[: question.limit]
        start_ns = instants[0] if instants else question.from_ns
        end_ns = instants[-1] + 1 if instants else start_ns
        lake = self._newest()
        self._rows(lake, structs.replace(question, after=None, start_ns=start_ns, end_ns=end_ns))
        return lake.book_snapshots(
            question.exchange,
            question.symbol,
            start_ns,
            end_ns,
            every=question.every_ns,
            depth=question.depth,
            channel=question.channel,
            incomplete="allow",
        ).rows

    def _page_rows(self, question: Question, patience: Patience) -> pl.LazyFrame:
        """Those on the page, and those of the times of its first and last. Raises ``EtlError``."""
        lake, after = self._newest(), question.after
        for within in question.reaches():
            rows = self._rows(lake, within)
            times = collect(rows.select(TIME_NS), patience)[TIME_NS]
            needed = question.limit + (int((times == after.time_ns).sum()) if after else 0)
            if len(times) >= needed:
                return self._rows(lake, question.up_to(int(times.sort()[needed - 1]) + 1))
        return rows

    def _newest(self) -> Lake:
        """As it is now, whatever others ask meanwhile."""
        with self._lock:
            if self._lake is None:
                self._lake = Lake(self._settings)
            else:
                self._lake.refresh()
            return copy(self._lake)

    def _rows(self, lake: Lake, question: Question) -> pl.LazyFrame:
        """Those that are asked for, from the time on at which the page before ended. Raises ``EtlError``."""
        if question.symbol.endswith("*"):
            raise UsageError("symbol: one name")
        result = lake.table(
            _table(question),
            question.exchange,
            question.symbol,
            question.from_ns,
            question.end_ns,
            pl.col("interval") == question.interval
            if question.table.name == "bars" and question.interval
            else None,
            incomplete="allow",
        )
        scan_max = self._settings.gateway.scan_rows_max
        if result.scan.rows > scan_max and (rows := result.closer_scan().rows) > scan_max:
            raise TooLarge(
                f"{rows:,} rows to read from here on; one question reads {scan_max:,}, ask for less"
            )
        return result.rows

    def _patience(self, has_gone: HasGone) -> Patience:
        return Patience(self._settings.gateway.query_within_s, has_gone)


def collect(rows: pl.LazyFrame, patience: Patience) -> pl.DataFrame:
    """Raises ``TooLarge`` and ``GaveUp``; then no more is read."""
    query, wait_s = rows.collect(background=True), POLL_S_MIN
    try:
        while (found := query.fetch()) is None:
            patience.check()
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, POLL_S_MAX)
    except EtlError:
        query.cancel()
        raise
    return found


def _is_in_order(page: pl.DataFrame) -> bool:
    """As rows of a compacted file are, unless two of one time lie in another order."""
    at = pl.col(_AT)
    is_next = (_sequence > _sequence.shift()) | ((_sequence == _sequence.shift()) & (_key >= _key.shift()))
    follows = (at > at.shift()) | ((at == at.shift()) & is_next)
    return bool(page.select(follows.all()).item())


def _column(question: Question, name: str) -> pl.Expr:
    if name == "time":
        return pl.from_epoch(TIME_NS, "ns").dt.replace_time_zone("UTC").alias("time")
    convert = exact_text if question.decimals == TEXT else as_float
    if name in DECIMALS:
        return pl.coalesce(convert(pl.col(name)), convert(_wide(name))).alias(name)
    if question.table.name == BOOK_SNAPSHOTS:
        is_list = name in DECIMAL_LISTS
        return _or_none(name, pl.col(name).list.eval(convert(pl.element()))) if is_list else pl.col(name)
    if name in DECIMAL_LISTS:
        levels = (pl.col(name), _wide(name).str.split(","))
        return _or_none(name, *(one.list.eval(convert(pl.element())) for one in levels))
    kind = SCHEMAS[_table(question)].field(name).type if name != "exchange" else pa.string()
    if pa.types.is_list(kind):
        return _or_none(name, pl.col(name))
    return pl.col(name).fill_null("") if pa.types.is_string(kind) else pl.col(name)


def _table(question: Question) -> str:
    name = question.table.name
    return f"{name}_{question.interval}" if name == OHLCV else TABLES.get(name, name)


def _is_passed(after: PageCursor, at: str) -> pl.Expr:
    """Of a row that is not before ``after.time_ns``."""
    is_before = (_sequence < after.sequence) | ((_sequence == after.sequence) & (_key <= after.record_key))
    return (pl.col(at) == after.time_ns) & is_before


def _passed(page: pl.DataFrame, after: PageCursor) -> int:
    """How many rows at its beginning were on the page before."""
    return int(page.select(_is_passed(after, _AT).sum()).item())


def _wide(name: str) -> pl.Expr:
    """The text of a value that its column does not hold."""
    return pl.col("wide_decimals").map.get(name)


def _or_none(name: str, *lists: pl.Expr) -> pl.Expr:
    """The first that is there, else an empty one, as ClickHouse has it."""
    return pl.coalesce(*lists, pl.lit([])).alias(name)
