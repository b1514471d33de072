"""``etl bench audit``: how long a night takes, check by check, over stores that are made large on the spot.

    ClickHouse, lake   ``--rows`` trades and quotes in ``--days`` days, audited a day at a time, as the night does it
    TimescaleDB        one day that grows to each of ``--timescale-rows``; the growth is fitted, seconds = a * rows ^ b,
                       and drawn out to ``--rows`` in ``--days``

In ClickHouse and the lake one trade has a price of zero and one id is missing: the night must find these and no more.
"""

from __future__ import annotations

import asyncio
import importlib
import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import typer

from etl.audit.checks import names, run_check
from etl.audit.expectations import run_expectations
from etl.audit.totals import TOTALS
from etl.bench.report import print_result, say
from etl.embedded.clickhouse_start import clickhouse_part
from etl.embedded.ports import free_ports
from etl.embedded.status import read_status
from etl.embedded.supervisor import Supervisor
from etl.embedded.timescale import timescale_part
from etl.errors import UsageError
from etl.lake.catalog import Catalog, File
from etl.lake.exports import Range
from etl.lake.files import write_file
from etl.lake.layout import ROW_SCHEMAS, compacted_name
from etl.lake.storage import open_storage
from etl.model.records import Kind
from etl.settings import Settings, make
from etl.sinks.timescale import TimescaleStore
from etl.stores import clickhouse_http
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from etl.stores.timescale import connect
from etl.up.plan import child_environment

app = typer.Typer()

FIRST_DAY = date(2026, 3, 2)
DAY_NS = 86_400_000_000_000
SYMBOLS = 20
TRADES_OF_TEN = 6
"""Of ten rows; the others are quotes."""
INSERT_TIMEOUT_S = 3_600.0
TIMESCALE_STEP_ROWS = 100_000
MINUTES_MAX = 10.0
"""A night that takes no longer is "within minutes"."""
PLANTED = {"trades_out_of_bounds": 1, "trade_ids_missing": 1}
PLANTED_IN_LAKE = {"trades_out_of_bounds": 1}

Steps = dict[str, Callable[[date], object]]


@app.command()
def main(
    as_json: Annotated[bool, typer.Option("--json")] = False,
    rows: Annotated[int, typer.Option(min=10_000, help="In ClickHouse, and in the lake.")] = 100_000_000,
    days: Annotated[int, typer.Option(min=1, help="In which they lie.")] = 10,
    timescale_rows: Annotated[str, typer.Option(help="Of the one day in TimescaleDB, rising.")] = (
        "1000000,3000000,5000000"
    ),
    stores: Annotated[str, typer.Option(help="Only these.")] = "clickhouse,lake,timescale",
    folder: Annotated[
        Path | None, typer.Option(help="Where the stores lie; 100 million rows take about 10 GB.")
    ] = None,
) -> None:
    """How long a night of the audit takes, and how it grows."""
    steps = [int(count) for count in timescale_rows.split(",")]
    measures: dict[str, Callable[[Settings], dict[str, Any]]] = {
        "clickhouse": partial(_clickhouse, rows=rows, days=days),
        "lake": partial(_lake, rows=rows, days=days),
        "timescale": partial(_timescale, counts=steps, rows=rows, days=days),
    }
    asked = [store.strip() for store in stores.split(",")]
    if unknown := set(asked) - set(measures):
        raise UsageError(f"no such store: {', '.join(sorted(unknown))}; there are {', '.join(measures)}")
    result: dict[str, Any] = {"rows": rows, "days": days}
    for store in asked:
        with tempfile.TemporaryDirectory(prefix="etl-bench-", dir=folder) as state_dir:
            clickhouse, timescale = free_ports(2)
            settings = make(state_dir=state_dir, clickhouse_port=clickhouse, timescale_port=timescale)
            result[store] = asyncio.run(_with_server(settings, store, measures[store]))
    minutes = sum(result[store]["night_s"] for store in asked) / 60
    result |= {"night_minutes": round(minutes, 2), "within_minutes": minutes <= MINUTES_MAX}
    print_result("audit", result, as_json)


async def _with_server(
    settings: Settings, store: str, measure: Callable[[Settings], dict[str, Any]]
) -> dict[str, Any]:
    parts = {"clickhouse": (clickhouse_part(settings),), "timescale": (timescale_part(settings),)}
    async with Supervisor(parts.get(store, ()), child_environment(settings), settings.state_path) as servers:
        await servers.all_ready()
        return await asyncio.to_thread(measure, settings)


# --- ClickHouse -------------------------------------------------------------------------------------------

_HEAD = """
    'binance' AS exchange, concat('COIN', toString(n % {symbols:UInt32}), '-USDT') AS symbol,
    concat('COIN', toString(n % {symbols:UInt32}), 'USDT') AS venue_symbol,
    toInt64({start:Int64} + intDiv(toUInt64(n) * 86400000, {rows:UInt64}) * 1000000) AS event_time_ns,
    event_time_ns + 1000000 AS receive_time_ns, event_time_ns AS key_time_ns, 'stream' AS source,
    'bench' AS connection_id, n AS frame_sequence, 1 AS parser_version,
    {first:UInt64} + intDiv(n, {symbols:UInt32}) AS id, toString(id) AS record_key, id AS sequence, 'base' AS size_unit
"""
_TRADES = f"""
INSERT INTO market_internal.market_data
    (kind, channel, exchange, symbol, venue_symbol, event_time_ns, receive_time_ns, key_time_ns,
    source, connection_id, frame_sequence, parser_version, trade_id, record_key, sequence, size_unit, last_price,
    volume)
SELECT 'trade', 'trade', * EXCEPT n, if(n = {{bad:UInt64}}, '0', toString(60000 + n % 997)), '0.25'
FROM (SELECT {_HEAD}, number AS n FROM numbers({{rows:UInt64}}) WHERE number != {{missing:UInt64}})
"""  # noqa: S608  of constants
_QUOTES = f"""
INSERT INTO market_internal.market_data
    (kind, channel, exchange, symbol, venue_symbol, event_time_ns, receive_time_ns, key_time_ns,
    source, connection_id, frame_sequence, parser_version, trade_id, record_key, sequence, size_unit, bid, bid_size,
    ask, ask_size)
SELECT 'quote', 'bookTicker', * EXCEPT n, toString(60000 + n % 997), '1.5', toString(60001 + n % 997), '0.75'
FROM (SELECT {_HEAD}, number AS n FROM numbers({{rows:UInt64}}))
"""  # noqa: S608
_BARS = """
INSERT INTO market_internal.market_data
    (kind, channel, exchange, symbol, venue_symbol, event_time_ns, receive_time_ns, key_time_ns,
    source, connection_id, frame_sequence, parser_version, record_key, size_unit, interval, open, high, low, close,
    volume, bar_state, trade_count)
SELECT 'bar', 'kline_1m', exchange, symbol, venue_symbol, start_ns, start_ns + 60000000000, start_ns, 'stream', 'bench',
       1, 1, concat('1m/', toString(start_ns)), 'base', '1m', any(last_price), max(last_price), min(last_price),
       any(last_price), sum(volume), 'closed', count()
FROM trades
WHERE key_time >= {day:Date} AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY AND last_price > 0
GROUP BY exchange, symbol, venue_symbol, toUnixTimestamp(toStartOfMinute(key_time)) * 1000000000 AS start_ns
"""


def _clickhouse(settings: Settings, rows: int, days: int) -> dict[str, Any]:
    migrate_clickhouse(settings)
    with clickhouse_http.connect(settings, INSERT_TIMEOUT_S) as client:
        began = time.perf_counter()
        for number, day in enumerate(_days(days)):
            trades, quotes = _split(rows // days)
            at = {"symbols": SYMBOLS, "start": _start_ns(day), "day": day.isoformat()}
            planted = {"bad": trades // 2, "missing": trades // 3} if not number else {}
            for text, count in ((_TRADES, trades), (_QUOTES, quotes), (_BARS, trades)):
                parameters = {"bad": -1 % 2**64, "missing": -1 % 2**64, **planted, **at, "rows": count}
                parameters["first"] = 1 + number * (count // SYMBOLS)
                statement = clickhouse_http.in_database(text, client.address)
                client.execute(statement, None, {name: str(value) for name, value in parameters.items()})
            say(f"clickhouse: {day} made after {time.perf_counter() - began:.0f} s")
    return _night(settings, "clickhouse", days, PLANTED, pid=_pid(settings.state_path))


# --- the lake ---------------------------------------------------------------------------------------------


def _lake(settings: Settings, rows: int, days: int) -> dict[str, Any]:
    storage = open_storage(settings)
    catalog = Catalog(storage)
    began = time.perf_counter()
    for number, day in enumerate(_days(days)):
        files: list[File] = []
        for kind, count in zip((Kind.TRADE, Kind.QUOTE), _split(rows // days), strict=True):
            each = count // SYMBOLS
            span = Range(0, number * each, (number + 1) * each)
            for symbol in range(SYMBOLS):
                table = lake_rows(kind, symbol, day, each, first=1 + number * each)
                if kind is Kind.TRADE and not number and not symbol:
                    table = _with_a_price_of_zero(table)
                place = ("binance", day.isoformat())
                name = compacted_name(0, span.start, span.end, day.isoformat().replace("-", ""), symbol)
                files.append(write_file(settings, storage, kind, place, table, span, name, str(day)))
        catalog.commit(catalog.read(), added=files)
        say(f"lake: {day} made after {time.perf_counter() - began:.0f} s")
    return _night(settings, "lake", days, PLANTED_IN_LAKE, pid=None)


def lake_rows(kind: Kind, symbol: int, day: date, count: int, first: int) -> pa.Table:
    """One symbol's rows of a day under ``ROW_SCHEMAS``."""
    ids = np.arange(first, first + count)
    times = _start_ns(day) + np.arange(count) * (DAY_NS // count) // 1_000_000 * 1_000_000
    keys = pc.cast(pa.array(ids), pa.string())
    price = pa.array(60_000 + ids % 997, pa.int32())  # ten digits: a narrow decimal takes them
    values: dict[str, Any] = {
        "time": pa.array(times // 1_000),
        "event_time_ns": times,
        "key_time_ns": times,
        "receive_time_ns": times + 1_000_000,
        "record_key": keys,
        "sequence": ids,
        "frame_sequence": ids,
    }
    if kind is Kind.TRADE:
        values |= {"trade_id": keys, "last_price": price}
    else:
        values |= {"bid": price, "ask": pc.add(price, pa.scalar(1, pa.int32()))}
    same = {"exchange": "binance", "symbol": f"COIN{symbol}-USDT", "parser_version": "1", "volume": "1"}
    arrays = [
        pa.array(values[field.name]).cast(field.type)
        if field.name in values
        else pa.repeat(pa.scalar(same[field.name]).cast(field.type), count)
        if field.name in same
        else pa.repeat(pa.scalar(0, field.type), count)
        if pa.types.is_integer(field.type) and not field.nullable
        else pa.nulls(count, field.type)
        for field in ROW_SCHEMAS[kind]
    ]
    return pa.Table.from_arrays(arrays, schema=ROW_SCHEMAS[kind])


def _with_a_price_of_zero(table: pa.Table) -> pa.Table:
    number = table.schema.get_field_index("last_price")
    bad = np.zeros(len(table), bool)
    bad[len(table) // 2] = True
    column = pc.if_else(pa.array(bad), pa.scalar("0").cast(table["last_price"].type), table["last_price"])
    return table.set_column(number, table.schema.field(number), column)


# --- TimescaleDB ------------------------------------------------------------------------------------------

_TIMESCALE_ROWS = (
    """
INSERT INTO trades (key_time, time, exchange, symbol, record_key, event_time_ns, receive_time_ns, parser_version,
                    sequence, last_price, volume)
SELECT moment, moment, 'binance', 'COIN' || n %% %(symbols)s || '-USDT', n::text, ns, ns + 1000000, 1,
       n, 60000 + n %% 997, 0.25
""",
    """
INSERT INTO quotes (key_time, time, exchange, symbol, record_key, event_time_ns, receive_time_ns, parser_version,
                    sequence, bid, bid_size, ask, ask_size)
SELECT moment, moment, 'binance', 'COIN' || n %% %(symbols)s || '-USDT', n::text, ns, ns + 1000000, 1,
       n, 60000 + n %% 997, 1.5, 60001 + n %% 997, 0.75
""",
)
_TIMESCALE_FROM = """
FROM generate_series(%(first)s::bigint, %(first)s + %(rows)s - 1) AS n,
     LATERAL (SELECT %(start)s + n * 86400000 / %(total)s %% 86400000 * 1000000 AS ns) AS t,
     LATERAL (SELECT 'epoch'::timestamptz + ns / 1000 * interval '1 microsecond' AS moment) AS m
"""


def _timescale(settings: Settings, counts: list[int], rows: int, days: int) -> dict[str, Any]:
    migrate_timescale(settings)
    importlib.import_module("great_expectations")  # its seconds do not grow
    pid = _pid(settings.state_path)
    measured: dict[int, dict[str, Any]] = {}
    made = 0
    for count in counts:
        began = time.perf_counter()
        _grow_timescale(settings, made, count, max(counts))
        made = count
        say(f"timescale: {count:,} rows made after {time.perf_counter() - began:.0f} s")
        measured[count] = _night(settings, "timescale", 1, {}, pid)
    nights = {count: night["night_s"] for count, night in measured.items()}
    law = fit(nights)
    at_rows_s = days * law["a"] * (rows / days) ** law["b"]
    return {
        "night_s": nights[counts[-1]],
        "by_rows": measured,
        "growth": {"audit": {**law, "at_rows_s": round(at_rows_s, 1)}},
    }


def _grow_timescale(settings: Settings, have: int, want: int, total: int) -> None:
    with connect(settings) as connection:
        for first in range(have, want, TIMESCALE_STEP_ROWS):
            counts = _split(min(TIMESCALE_STEP_ROWS, want - first))
            for select, count in zip(_TIMESCALE_ROWS, counts, strict=True):
                at = {"symbols": SYMBOLS, "start": _start_ns(FIRST_DAY), "total": total}
                sql = (select + _TIMESCALE_FROM).encode()
                connection.execute(sql, {**at, "first": first, "rows": count})
        connection.execute(
            "INSERT INTO pending_candles (exchange, symbol, hour)"
            " SELECT DISTINCT exchange, symbol, time_bucket(INTERVAL '1 hour', key_time) FROM trades"
            " ON CONFLICT DO NOTHING"
        )
    with TimescaleStore(settings) as store:
        store.refresh_candles()


def fit(seconds: dict[int, float]) -> dict[str, float]:
    """``a`` and ``b`` of seconds = a * rows ^ b, by least squares of the logarithms; b = 1 from a single point."""
    x, y = np.log(list(seconds)), np.log([max(value, 1e-6) for value in seconds.values()])
    b, a = np.polyfit(x, y, 1) if len(seconds) > 1 else (1.0, float(y[0] - x[0]))
    return {"a": float(f"{math.exp(a):.4g}"), "b": round(float(b), 3)}


# --- all --------------------------------------------------------------------------------------------------


def _night(
    settings: Settings, store: str, days: int, planted: dict[str, int], pid: int | None
) -> dict[str, Any]:
    """Every step of the night on ``store``: seconds and peak memory of each over all days."""
    steps: Steps = {name: partial(_check, settings, store, name) for name in names(store)}
    steps["totals"] = partial(_totals, settings, store)
    if store == "timescale":
        steps["expectations"] = partial(_expectations, settings)
    found: Counter[str] = Counter()
    seconds: dict[str, float] = {}
    peak_mib: dict[str, int] = {}
    for name, step in steps.items():
        with _peak_of(pid) as peak:
            began = time.perf_counter()
            for day in _days(days):
                found[name] += int(step(day) or 0)  # type: ignore[call-overload]
            seconds[name] = round(time.perf_counter() - began, 2)
        peak_mib[name] = peak[0]
        say(f"{store}: {name} {seconds[name]} s, {peak[0]} MiB")
    if +found != Counter(planted):
        raise AssertionError(f"{store}: planted {planted}, found {dict(+found)}")
    return {
        "night_s": round(sum(seconds.values()), 1),
        "longest_step_s": max(seconds.values()),
        "seconds": seconds,
        "peak_mib": peak_mib,
    }


def _check(settings: Settings, store: str, name: str, day: date) -> int:
    return len(run_check(settings, day, store, name))


def _totals(settings: Settings, store: str, day: date) -> None:
    assert TOTALS[store](settings, day), "an empty day"


def _expectations(settings: Settings, day: date) -> int:
    return len(list(run_expectations(settings, day)))


@contextmanager
def _peak_of(pid: int | None) -> Iterator[list[int]]:
    """The greatest resident memory in MiB that the process (None: this one) has meanwhile, as the only item."""
    process = Path(f"/proc/{pid or 'self'}")
    (process / "clear_refs").write_text("5")
    peak = [0]
    yield peak
    status = (process / "status").read_text()
    peak[0] = int(status.split("VmHWM:")[1].split()[0]) >> 10


def _pid(state_path: Path) -> int:
    return next(part.pid for part in read_status(state_path).parts)


def _days(count: int) -> Iterator[date]:
    return (FIRST_DAY + timedelta(days=number) for number in range(count))


def _start_ns(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY_NS


def _split(rows: int) -> tuple[int, int]:
    """Trades and quotes of so many rows, each the same number for every symbol."""
    trades = rows * TRADES_OF_TEN // 10 // SYMBOLS * SYMBOLS
    return trades, (rows - trades) // SYMBOLS * SYMBOLS
