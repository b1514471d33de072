"""``etl bench lake``: what the lake's tables cost to write, to find and to read, in a folder made for it.

write     messages of trades and quotes, two thirds quotes, into files and a commit: rows a second of CPU, the messages
          decoded plain and compiled in turn
symbols   many symbols in one file: CPU to sort and write it, bytes a row, and one symbol out of it
day       one symbol's day of ``--rows`` trades: all of it summed, an hour of it, the sum of its bars of a second
          and the same by etl.lake.Lake, in Polars
log       a table of ``--files`` files: the state read, and asked for what came since (nothing), a symbol's files of 30
          days looked up, a commit
asof      each of a third as many trades with the last of ``--quotes`` quotes of its symbol
books     an order book at each second, out of a hundredth as many messages
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Annotated, Any

import pyarrow as pa
import typer

from etl.bench.audit import lake_rows
from etl.bench.decoding import decoding
from etl.bench.lake_research import as_of, books, day_of_lake
from etl.bench.report import best_seconds, print_result, spread
from etl.express.decoders import decoder
from etl.lake import Lake
from etl.lake.catalog import Catalog, File, add_of
from etl.lake.derived import derive
from etl.lake.exports import Range
from etl.lake.files import write_file
from etl.lake.layout import day_of, file_name, table_folder
from etl.lake.log import DeltaLog
from etl.lake.lookup import Lookup
from etl.lake.query import connect
from etl.lake.rows import in_order
from etl.lake.storage import Storage, open_storage
from etl.model.records import Kind, Quote, Record, Side, SizeUnit, Source, Trade
from etl.model.times import NS_PER_DAY, NS_PER_MS
from etl.settings import Settings, changed, make
from etl.sinks.collection import rare_collection
from etl.sinks.lake import RecordWriter
from etl.sinks.refusals import rows_check
from etl.wire.codec import encode

app = typer.Typer()

EXCHANGE = "binance"
DAY = date(2026, 3, 2)
FOUND_DAYS = 30
START_NS = 1_772_409_600_000_000_000
MESSAGES = 100_000
REPEATS = 5
COMMITS = 50
QUOTES = 3_000_000


@app.command()
def main(
    as_json: Annotated[bool, typer.Option("--json")] = False,
    rows: Annotated[int, typer.Option(min=1_000, help="Of the symbol's day.")] = 10_000_000,
    symbols: Annotated[int, typer.Option(min=1)] = 10_000,
    rows_per_symbol: Annotated[int, typer.Option(min=1)] = 200,
    files: Annotated[int, typer.Option(min=1, help="In the log.")] = 100_000,
    messages: Annotated[int, typer.Option(min=3)] = MESSAGES,
    quotes: Annotated[int, typer.Option(min=300, help="Joined to a third as many trades.")] = QUOTES,
) -> None:
    measures: dict[str, Callable[[Settings], dict[str, Any]]] = {
        "write": partial(_write, count=messages),
        "symbols": partial(_symbols, symbols=symbols, each=rows_per_symbol),
        "day": partial(_day, rows=rows),
        "log": partial(_log, files=files),
        "asof": lambda _: as_of(quotes, _ms),
        "books": lambda _: books(quotes // 100, _ms),
    }
    result = {}
    for name, measure in measures.items():
        with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
            result[name] = measure(make(state_dir=folder))
    print_result("lake", result, as_json)


def _write(settings: Settings, count: int) -> dict[str, Any]:
    """Decoded plain and compiled, in turn."""
    pairs = [(number, encode(_record(number))) for number in range(count)]
    storage = open_storage(settings)
    rows_check()  # an export's first batch reads every venue's rules
    rates: dict[str, list[float]] = {"plain": [], "compiled": []}
    for run in range(REPEATS):
        for way, of_way in rates.items():
            of_run = changed(settings, express=way == "compiled")
            of_way.append(count / _written_cpu_s(of_run, storage, pairs, f"{way}/{run}"))
    ratios = [compiled / plain for plain, compiled in zip(*rates.values(), strict=True)]
    return {
        "rows": count,
        "decoder": decoder(True)[1],
        "rows_per_cpu_s": round(statistics.median(rates["compiled"])),
        "plain_rows_per_cpu_s": round(statistics.median(rates["plain"])),
        "ratio": round(statistics.median(ratios), 2),
        "decoding": decoding([value for _, value in pairs], REPEATS),
    }


@rare_collection()
def _written_cpu_s(
    settings: Settings, storage: Storage, pairs: list[tuple[int, bytes]], app_id: str
) -> float:
    catalog = Catalog(storage)
    state = catalog.read()
    began = time.process_time()
    writer = RecordWriter(
        settings, storage, Range(0, 0, len(pairs)), f"{app_id.replace('/', '-')}.parquet", {}
    )
    refused = writer.add_values(pairs)
    added = writer.write()
    catalog.commit(state, added=added, txns={app_id: len(pairs)})
    cpu_s = time.process_time() - began
    assert not refused
    assert sum(file.rows for file in added) == len(pairs)
    return cpu_s


def _record(number: int) -> Record:
    time_ns = START_NS + number * NS_PER_MS
    symbol = f"COIN{number % 7}-USDT"
    head = (EXCHANGE, symbol, symbol.replace("-", ""))
    place = (
        time_ns + 1_234_567,
        Source.STREAM,
        "0190f3c2-1111-7aaa-8bbb-0123456789ab",
        number + 1,
        0,
        str(number),
    )
    if number % 3:
        return Quote(
            *(*head, "bookTicker", 0, *place, time_ns, 1, number),
            bid="61837.63000000", bid_size="3.10000000", ask="61837.64000000", ask_size="0.00500000",
        )  # fmt: skip
    return Trade(
        *(*head, "trade", time_ns, *place, time_ns, 1, number),
        last_price=f"618{number % 90 + 10}.{number % 100:02d}000000", volume="0.02000000",
        side=Side.BUY, trade_id=str(number), size_unit=SizeUnit.BASE,
    )  # fmt: skip


def _symbols(settings: Settings, symbols: int, each: int) -> dict[str, Any]:
    count = symbols * each
    rows = lake_rows(Kind.TRADE, 0, DAY, count, first=1)
    names = pa.array([f"S{number % symbols:06d}-USD" for number in range(count)])
    number = rows.schema.get_field_index("symbol")
    rows = rows.set_column(number, rows.schema.field(number), names)
    began = time.process_time()
    file = _put(settings, in_order(rows, "symbol"))
    cpu_s = time.process_time() - began
    sql = f"SELECT count(*), sum(volume) FROM trades WHERE symbol = 'S{symbols // 2:06d}-USD'"  # noqa: S608
    return {
        "rows": count,
        "write_cpu_s": round(cpu_s, 2),
        "bytes_per_row": round(file.bytes / count, 2),
        "one_symbol_ms": _ask(settings, sql, each),
    }


def _day(settings: Settings, rows: int) -> dict[str, Any]:
    _put(settings, lake_rows(Kind.TRADE, 0, DAY, rows, first=1))
    whole = "SELECT count(*), sum(volume), min(last_price), max(last_price) FROM trades"
    hour = f"{whole} WHERE time >= TIMESTAMPTZ '{DAY} 11:00:00+00' AND time < TIMESTAMPTZ '{DAY} 12:00:00+00'"
    research = day_of_lake(Lake(settings), EXCHANGE, DAY, rows, _ms)
    answers = {"sum_ms": _ask(settings, whole, rows), "hour_ms": _ask(settings, hour), **research}
    began = time.process_time()
    derived = derive(settings)
    derive_cpu_s = round(time.process_time() - began, 2)
    bars = "SELECT sum(trades), sum(volume), min(low), max(high) FROM ohlcv_1s"
    return {
        "rows": rows,
        **answers,
        "derive_cpu_s": derive_cpu_s,
        "derived_rows": derived.rows,
        "bars_ms": _ask(settings, bars, rows),
    }


def _put(settings: Settings, rows: pa.Table) -> File:
    """``rows`` as a table of one file."""
    storage = open_storage(settings)
    catalog = Catalog(storage)
    place, span = (EXCHANGE, str(DAY)), Range(0, 0, len(rows))
    file = write_file(settings, storage, Kind.TRADE, place, rows, span, file_name(0, 0, len(rows)))
    catalog.commit(catalog.read(), added=[file])
    return file


def _ask(settings: Settings, sql: str, rows: int = 0) -> dict[str, float]:
    """Milliseconds of the query, warm."""
    with connect(settings) as lake:

        def ask() -> None:
            found = lake.execute(sql).fetchone()
            assert found is not None
            assert found[0] == rows or not rows

        return _ms(ask)


def _ms(run: Callable[[], object], repeats: int = REPEATS) -> dict[str, float]:
    return spread([seconds * 1_000 for seconds in best_seconds(run, time.perf_counter, repeats)], 2)


def _log(settings: Settings, files: int) -> dict[str, Any]:
    """A table whose files nobody has: only the log is asked."""
    storage = open_storage(settings)
    catalog = Catalog(storage)
    state = catalog.read()
    log = DeltaLog(storage, table_folder("trades"))
    made = [_file(number) for number in range(files)]
    catalog.commit(state, added=made[:1])
    state.tables["trades"].adds |= {(add := add_of(file)).path: add for file in made}
    log.checkpoint(state.tables["trades"])
    found = catalog.read()
    assert len(found.files) == files
    lookup = Lookup("trades", found.files.values())
    days = (START_NS - FOUND_DAYS * NS_PER_DAY, START_NS)
    extra = iter(_file(files + number) for number in range(COMMITS + 1))
    return {
        "files": files,
        "read_s": spread(best_seconds(catalog.read, time.perf_counter, 3), 2),
        "look_up_ms": _ms(lambda: lookup.find(EXCHANGE, ("BTC-*",), *days)),
        "found": len(lookup.find(EXCHANGE, ("BTC-*",), *days)),
        "refresh_ms": _ms(lambda: catalog.later(found)),
        "commit_ms": _ms(lambda: catalog.commit(found, added=[next(extra)]), COMMITS),
    }


def _file(number: int) -> File:
    time_ns = START_NS - number % 1_000 * 86_400_000_000_000
    day = day_of(time_ns)
    path = f"tables/trades/exchange={EXCHANGE}/date={day}/{file_name(0, number, number + 1)}"
    return File(
        path, "trades", EXCHANGE, day, "A", "Z", 1_000_000, 10_000_000, time_ns, time_ns + 1, time_ns, time_ns + 1,
        0, number, number + 1, made_ms=1,
    )  # fmt: skip
