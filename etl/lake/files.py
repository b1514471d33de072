"""One file of the lake: written, and described for the catalog."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from etl.lake import layout
from etl.lake.catalog import File, Range
from etl.lake.rows import time_ns
from etl.lake.storage import Storage
from etl.records import Kind
from etl.settings import Settings
from etl.tables import TABLE_BY_KIND

Place = tuple[str, str, str]
"""Exchange, symbol, date."""


def write_file(
    settings: Settings,
    storage: Storage,
    kind: Kind,
    place: Place,
    rows: pa.Table,
    span: Range,
    name: str,
    compaction: int = 0,
) -> File:
    """Write ``rows``, all of ``place``, in order, one per identity."""
    table = TABLE_BY_KIND[kind]
    data = layout.parquet(kind, rows, settings.lake_row_group_rows)
    path = f"{layout.folder(table, *place)}/{name}"
    storage.put(path, data)
    times = pc.min_max(time_ns(rows)).as_py()
    key_times = pc.min_max(rows["key_time_ns"]).as_py()
    exchange, symbol, day = place
    return File(
        path=path,
        table=table,
        exchange=exchange,
        symbol=symbol,
        date=day,
        rows=len(rows),
        bytes=data.size,
        time_ns_min=times["min"],
        time_ns_max=times["max"],
        key_time_ns_min=key_times["min"],
        key_time_ns_max=key_times["max"],
        partition=span.partition,
        start=span.start,
        end=span.end,
        compaction=compaction,
    )
