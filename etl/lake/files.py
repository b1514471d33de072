"""One file of the lake: written, and described for its table's log."""

from __future__ import annotations

import itertools
import time

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import structs

from etl.lake import layout
from etl.lake.catalog import File
from etl.lake.exports import Range
from etl.lake.layout import WIDE_DECIMALS
from etl.lake.rows import time_ns
from etl.lake.storage import Storage
from etl.model.records import Kind
from etl.model.tables import TABLE_BY_KIND
from etl.model.times import NS_PER_MS, NS_PER_US
from etl.settings import Settings

ExchangeDay = tuple[str, str]
"""Exchange, date."""


def write_file(
    settings: Settings,
    storage: Storage,
    kind: Kind,
    place: ExchangeDay,
    rows: pa.Table,
    span: Range,
    name: str,
    compaction: str = "",
) -> File:
    """Write ``rows``, all of ``place``, in order, one per identity."""
    data = layout.parquet(kind, rows, settings.lake.row_group_rows)
    times, key_times = time_ns(rows), rows["key_time_ns"]
    file = put_file(storage, TABLE_BY_KIND[kind], place, data, times, key_times, span, name)
    symbols = pc.min_max(rows["symbol"]).as_py()
    file = structs.replace(file, symbol_min=symbols["min"], symbol_max=symbols["max"], compaction=compaction)
    return _with_wide(file, rows)


def put_derived(
    settings: Settings, storage: Storage, table: str, place: ExchangeDay, rows: pa.Table, name: str
) -> File:
    """Write ``rows`` of a derived table, all of ``place``, sorted by symbol; there may be none."""
    data = layout.derived_parquet(table, rows, settings.lake.row_group_rows)
    if "time" in rows.column_names:
        times = pc.multiply(rows["time"].cast(pa.int64()), NS_PER_US)
    else:
        times = pa.chunked_array([*rows["first_time_ns"].chunks, *rows["last_time_ns"].chunks], pa.int64())
    file = put_file(storage, table, place, data, times, times, Range(0, 0, 0), name)
    symbols = pc.min_max(rows["symbol"]).as_py()
    least, greatest = symbols["min"] or "", symbols["max"] or ""
    return _with_wide(structs.replace(file, rows=len(rows), symbol_min=least, symbol_max=greatest), rows)


def put_reference(
    settings: Settings, storage: Storage, table: str, place: ExchangeDay, rows: pa.Table, name: str
) -> File:
    """Write ``rows`` of the history ``table`` of reference data, recorded on the day of ``place``."""
    data = layout.reference_parquet(table, rows, settings.lake.row_group_rows)
    recorded_ns = rows["recorded_ns"]
    file = put_file(storage, table, place, data, recorded_ns, recorded_ns, Range(0, 0, 0), name)
    if "symbol" not in rows.column_names:
        return file
    symbols = pc.min_max(rows["symbol"]).as_py()
    return structs.replace(file, symbol_min=symbols["min"], symbol_max=symbols["max"])


def _with_wide(file: File, rows: pa.Table) -> File:
    """``file`` and what is told of its wide decimals."""
    if WIDE_DECIMALS.name not in rows.column_names:
        return file
    wide = rows[WIDE_DECIMALS.name].drop_null().to_pylist()
    scales: dict[str, int] = {}
    wholes: dict[str, int] = {}
    for column, text in itertools.chain.from_iterable(wide):
        for number in text.split(","):
            whole, _, fraction = number.partition(".")
            wholes[column] = max(len(whole.lstrip("-0")), wholes.get(column, 0))
            scales[column] = max(len(fraction), scales.get(column, 0))
    return structs.replace(file, wide_rows=len(wide), wide_scales=scales, wide_wholes=wholes)


def put_file(
    storage: Storage,
    table: str,
    place: ExchangeDay,
    data: pa.Buffer,
    times_ns: pa.ChunkedArray,
    key_times_ns: pa.ChunkedArray,
    span: Range,
    name: str,
) -> File:
    """Put ``data``, the bytes of a file whose rows have these times."""
    path = f"{layout.folder(table, *place)}/{name}"
    storage.put(path, data)
    times, key_times = (pc.min_max(column).as_py() for column in (times_ns, key_times_ns))
    exchange, day = place
    return File(
        path=path,
        table=table,
        exchange=exchange,
        date=day,
        symbol_min="",
        symbol_max="",
        rows=len(times_ns),
        bytes=data.size,
        time_ns_min=times["min"] or 0,
        time_ns_max=times["max"] or 0,
        key_time_ns_min=key_times["min"] or 0,
        key_time_ns_max=key_times["max"] or 0,
        partition=span.partition,
        start=span.start,
        end=span.end,
        made_ms=time.time_ns() // NS_PER_MS,
    )
