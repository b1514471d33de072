"""A closed day of one symbol's trades out of the lake, through the gateway, to Arrow and Polars in a client."""

from __future__ import annotations

import time
from datetime import date, timedelta
from typing import Any

import psutil
import pyarrow as pa

from etl.bench.audit import lake_rows
from etl.client import Client
from etl.gateway.server import address_of
from etl.lake.catalog import Catalog
from etl.lake.exports import Range
from etl.lake.files import write_file
from etl.lake.layout import file_name
from etl.lake.storage import open_storage
from etl.model.records import Kind
from etl.settings import Settings

EXCHANGE, SYMBOL, DAY = "binance", "COIN0-USDT", date(2026, 3, 2)
_SAID = {"channel": ("trade",), "side": ("buy", "sell"), "size_unit": ("base",), "source": ("stream",)}
"""Columns that a row of ``lake_rows`` lacks, and what stands in them by turns."""


def fill_lake(settings: Settings, rows: int) -> None:
    """So many trades as the day's only file, as a compaction leaves it."""
    table = lake_rows(Kind.TRADE, 0, DAY, rows, first=1)
    for name, values in _SAID.items():
        number = table.schema.get_field_index(name)
        field = table.schema.field(number)
        by_turns = pa.array([values[row % len(values)] for row in range(rows)]).cast(field.type)
        table = table.set_column(number, field, by_turns)
    storage = open_storage(settings)
    catalog = Catalog(storage)
    file = write_file(
        settings, storage, Kind.TRADE, (EXCHANGE, str(DAY)), table, Range(0, 0, rows), file_name(0, 0, rows)
    )
    catalog.commit(catalog.read(), added=[file])


def read_day(settings: Settings, token: str, gateway: psutil.Process, rows: int) -> dict[str, Any]:
    """``rows`` are expected. Nothing comes from the client's cache."""

    def told(frame: str) -> dict[str, float]:
        with Client(address_of(settings), token, cache_bytes_max=0) as client:
            began_s, before_s, own_s = time.perf_counter(), _cpu_s(gateway), time.process_time()
            found = client.trades(EXCHANGE, SYMBOL, DAY, DAY + timedelta(days=1), store="lake", frame=frame)
            seconds = time.perf_counter() - began_s
            assert len(found) == rows
            return {
                "seconds": round(seconds, 2),
                "rows_per_s": round(rows / seconds),
                "gateway_us_per_row": round((_cpu_s(gateway) - before_s) / rows * 1e6, 2),
                "client_us_per_row": round((time.process_time() - own_s) / rows * 1e6, 2),
            }

    return {"rows": rows, **{frame: told(frame) for frame in ("arrow", "polars")}}


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
