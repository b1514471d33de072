"""Files of a table → one lazy Polars frame: a row per identity, decimals exact, times as ``time`` and ``time_ns``.

What ``query.py`` is to DuckDB: the same files, runs, precedence and wide decimals. Nothing is read before the frame is
collected, and then only the columns and row groups that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, reduce
from itertools import groupby
from operator import attrgetter, or_
from typing import Any

import polars as pl
import pyarrow as pa

from etl.lake import layout
from etl.lake.bucket import ObjectStorage
from etl.lake.catalog import TIME_NS_MAX, File
from etl.lake.lookup import TIME_NS_MIN
from etl.lake.query import SPANS_MAX, Run, Unit, runs_of, shared_spans, too_long, wide_scale
from etl.lake.storage import Storage
from etl.model.tables import KIND_BY_TABLE
from etl.model.times import NS_PER_US
from etl.wire.columns import IDENTITY
from etl.wire.precedence import Term, precedence

TIME_NS = "time_ns"
"""The exact time: the venue's, or ours where it sent none."""
SCHEMAS = layout.FILE_SCHEMAS | {table: layout.DERIVED_SCHEMAS[table] for table in layout.BARS_NS}
"""Of the tables that can be asked for."""
_START = "__start"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOREIGN_START = 1 << 62


def scan(
    storage: Storage, table: str, files: Sequence[File], beside: Sequence[File], symbols: Sequence[str]
) -> pl.LazyFrame:
    """The rows of ``symbols`` that stand for their identities, of ``files`` and those ``beside`` them."""
    of_symbols = symbol_filter(symbols)
    everything = [*files, *beside]
    shown = _shown(table, everything)
    wanted = {file.path for file in files}
    parts: list[pl.LazyFrame] = []
    single: list[File] = []
    if table not in KIND_BY_TABLE:  # made of others, a file a day: there are no doubles
        single, everything = list(files), []
    for run in runs_of(sorted(everything, key=attrgetter("exchange"))):
        if len(run) == 1:
            single += [file for file in run[0] if file.path in wanted]
        else:
            parts += [part.select(shown) for part in _without_doubles(storage, table, run, of_symbols)]
    for _, some in groupby(sorted(single, key=_place), key=attrgetter("exchange")):
        parts.insert(0, _read(storage, table, list(some)).filter(of_symbols).select(shown))
    return pl.concat(parts) if parts else empty(table)


def empty(table: str) -> pl.LazyFrame:
    files = pl.LazyFrame(schema=_schema(table)).with_columns(exchange=pl.lit("", pl.String))
    return files.select(_shown(table, ()))


def symbol_filter(symbols: Sequence[str]) -> pl.Expr:
    exact = [symbol for symbol in symbols if not symbol.endswith("*")]
    prefixes = [symbol[:-1] for symbol in symbols if symbol.endswith("*")]
    if "" in prefixes:
        return pl.lit(True)
    tests = (
        [pl.col("symbol") == exact[0]]
        if len(exact) == 1
        else [pl.col("symbol").is_in(exact)]
        if exact
        else []
    )
    for prefix in prefixes:  # the range is what statistics can answer
        in_range = pl.col("symbol").is_between(pl.lit(prefix), pl.lit(f"{prefix}\U0010ffff"))
        tests.append(in_range & pl.col("symbol").str.starts_with(prefix))
    return reduce(or_, tests, pl.lit(False)) if len(tests) != 1 else tests[0]


def time_filters(start_ns: int, end_ns: int) -> Iterator[pl.Expr]:
    """From ``start_ns`` to before ``end_ns``: by ``time``, which has statistics, and exactly where they are finer."""
    if start_ns > TIME_NS_MIN:
        yield pl.col("time") >= instant(start_ns)
        if start_ns % NS_PER_US:
            yield pl.col(TIME_NS) >= start_ns
    if end_ns < TIME_NS_MAX:
        yield pl.col("time") < instant(end_ns + NS_PER_US - 1)
        if end_ns % NS_PER_US:
            yield pl.col(TIME_NS) < end_ns


def instant(time_ns: int) -> datetime:
    """The microsecond of ``time_ns``, within the years that Python knows."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    micros = time_ns // NS_PER_US
    if micros <= (first - _EPOCH) // timedelta(microseconds=1):
        return first
    return (
        last
        if micros >= (last - _EPOCH) // timedelta(microseconds=1)
        else _EPOCH + timedelta(microseconds=micros)
    )


def columns(table: str) -> list[str]:
    """What a frame of ``table`` has, in its order."""
    names = [field.name for field in SCHEMAS[table]]
    return [
        "exchange",
        "symbol",
        "time",
        TIME_NS,
        *(name for name in names if name not in ("symbol", "time")),
    ]


@cache
def _schema(table: str) -> pl.Schema:
    frame: Any = pl.from_arrow(SCHEMAS[table].empty_table())
    return pl.Schema(frame.schema)


def _read(storage: Storage, table: str, files: Sequence[File]) -> pl.LazyFrame:
    """Rows of files of one exchange as they are, with ``exchange``."""
    frame = pl.scan_parquet(
        [f"{storage.url}/{file.path}" for file in files],
        schema=_schema(table),
        glob=False,
        hive_partitioning=False,
        missing_columns="insert",  # what another program wrote may lack some, or have more
        extra_columns="ignore",
        storage_options=storage.scan_options() if isinstance(storage, ObjectStorage) else None,
    )
    return frame.with_columns(exchange=pl.lit(files[0].exchange))


def _place(file: File) -> tuple[str, int, str]:
    return file.exchange, file.time_ns_min, file.path


def _without_doubles(storage: Storage, table: str, run: Run, of_symbols: pl.Expr) -> Iterator[pl.LazyFrame]:
    """One row per identity of files that overlap: only rows of the key times that several units have are compared."""
    units = [_read(storage, table, unit).filter(of_symbols) for unit in run]
    spans = shared_spans(run)
    within = (pl.col("key_time_ns").is_between(start, end) for start, end in spans)
    shared = reduce(or_, within) if len(spans) <= SPANS_MAX else pl.lit(True)
    if len(spans) <= SPANS_MAX:
        yield pl.concat([unit.filter(~shared) for unit in units])
    numbered = [
        unit.filter(shared).with_columns(pl.lit(_start_of(files)).alias(_START))
        for unit, files in zip(units, run, strict=True)
    ]
    yield _distinct(table, pl.concat(numbered))


def _start_of(unit: Unit) -> int:
    return min(file.start if file.layout else _FOREIGN_START for file in unit)


def _distinct(table: str, rows: pl.LazyFrame) -> pl.LazyFrame:
    """The first of those that take precedence."""
    ranks = [_rank(term) for term in precedence(KIND_BY_TABLE[table])]
    ordered = rows.sort(
        [*ranks, pl.col(_START)],
        descending=[*(True for _ in ranks), False],
        nulls_last=True,
        maintain_order=True,
    )
    return ordered.unique(list(IDENTITY), keep="first", maintain_order=True)


def _rank(term: Term) -> pl.Expr:
    column = pl.col(term.name)
    if term.states:
        numbers = {state: number for number, state in enumerate(term.states, 1)}
        return column.replace_strict(numbers, default=0, return_dtype=pl.Int64).fill_null(0)
    if term.otherwise:
        return pl.when(column == 0).then(pl.col(term.otherwise)).otherwise(column)
    return column.is_not_null() if term.present else column


def _shown(table: str, files: Iterable[File]) -> list[pl.Expr]:
    """The columns of a frame: decimals as ``query.py`` shows them."""
    wide = [file for file in files if file.wide_rows]
    exact = (
        pl.when(pl.col("event_time_ns") == 0)
        .then(pl.col("receive_time_ns"))
        .otherwise(pl.col("event_time_ns"))
    )
    if table not in KIND_BY_TABLE:
        exact = pl.col("time").dt.epoch("ns")
    shown = {TIME_NS: exact.alias(TIME_NS)}
    for field in SCHEMAS[table]:
        number = field.type.value_type if pa.types.is_list(field.type) else field.type
        is_list = pa.types.is_list(field.type)
        if wide and pa.types.is_decimal(number):
            shown[field.name] = _with_wide(field.name, is_list, wide_scale(field.name, number, wide))
        elif number == layout.NARROW_DECIMAL:  # as everywhere: a product needs the room
            kind = pl.Decimal(38, number.scale)
            shown[field.name] = pl.col(field.name).cast(pl.List(kind) if is_list else kind)
    return [shown.get(name, pl.col(name)) for name in columns(table)]


def _with_wide(name: str, is_list: bool, scale: int) -> pl.Expr:
    """Column ``name`` with the texts that so many digits hold exactly; a cast would round the others."""
    text = pl.col("wide_decimals").map.get(name)
    kind = pl.Decimal(38, scale)
    held = pl.when(~text.str.contains(too_long(scale))).then(text)
    exact = held.str.split(",").cast(pl.List(kind)) if is_list else held.cast(kind)
    return pl.coalesce(pl.col(name).cast(pl.List(kind) if is_list else kind), exact)
