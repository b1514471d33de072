"""One file of the lake: written, and described for the catalog."""

from __future__ import annotations

import itertools

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import structs

from etl.lake import layout
from etl.lake.catalog import File, Range
from etl.lake.layout import LAYOUT, WIDE_DECIMALS
from etl.lake.rows import time_ns
from etl.lake.storage import Storage
from etl.model.records import Kind
from etl.model.tables import TABLE_BY_KIND
from etl.settings import Settings

SymbolDay = tuple[str, str, str]
"""Exchange, symbol or series, date."""


def write_file(
    settings: Settings,
    storage: Storage,
    kind: Kind,
    place: SymbolDay,
    rows: pa.Table,
    span: Range,
    name: str,
    compaction: int = 0,
) -> File:
    """Write ``rows``, all of ``place``, in order, one per identity."""
    of_series = layout.is_series(place[0], place[1])
    data = layout.parquet(kind, rows, settings.lake.row_group_rows, of_series)
    times, key_times = time_ns(rows), rows["key_time_ns"]
    file = put_file(storage, TABLE_BY_KIND[kind], place, data, times, key_times, span, name)
    if WIDE_DECIMALS.name not in rows.column_names:
        return structs.replace(file, compaction=compaction)
    wide = rows[WIDE_DECIMALS.name].drop_null().to_pylist()
    scales: dict[str, int] = {}
    for name, text in itertools.chain.from_iterable(wide):
        longest = max(len(number.partition(".")[2]) for number in text.split(","))
        scales[name] = max(longest, scales.get(name, 0))
    return structs.replace(file, compaction=compaction, wide_rows=len(wide), wide_scales=scales)


def put_file(
    storage: Storage,
    table: str,
    place: SymbolDay,
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
    exchange, symbol, day = place
    return File(
        path=path,
        table=table,
        exchange=exchange,
        symbol=symbol,
        date=day,
        rows=len(times_ns),
        bytes=data.size,
        time_ns_min=times["min"],
        time_ns_max=times["max"],
        key_time_ns_min=key_times["min"],
        key_time_ns_max=key_times["max"],
        partition=span.partition,
        start=span.start,
        end=span.end,
        layout=LAYOUT,
    )
