"""``etl bench load``: the normalized topic into TimescaleDB and the lake, on servers started for it.

The trades and quotes of the recorded session that comes with the code, looped with rising ids and times. Every run has
a topic, ids and days of its own. What is made of messages before a store sees them is measured by itself as well, plain
and compiled in turn. The columnstore's ratio is measured at the end, over everything that was loaded.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import msgspec
import typer
from psycopg.sql import SQL, Identifier

from etl import exchanges
from etl.bench.decoding import decoding
from etl.bench.report import print_result, say, spread
from etl.embedded.kafka import kafka_part
from etl.embedded.ports import free_ports
from etl.embedded.supervisor import Supervisor
from etl.embedded.timescale import timescale_part
from etl.model.records import Quote, Record, Trade
from etl.settings import Settings, changed, make
from etl.simulator import recording
from etl.sinks.export import export
from etl.sinks.load import load_timescale
from etl.sources.recording import frames, read_lines
from etl.stores.migrate import migrate_timescale
from etl.stores.timescale import connect
from etl.transports.transport import transport_of
from etl.up.plan import child_environment
from etl.wire.codec import encode

app = typer.Typer()

FLUSH_TIMEOUT_S = 120.0
POLL_EVERY_MESSAGES = 10_000
NS_PER_DAY = 86_400_000_000_000
CHUNKED_TABLES = ("trades", "quotes")


@app.command()
def main(
    as_json: bool = typer.Option(False, "--json"),
    rows: int = typer.Option(100_000, min=1_000, help="Rows of one run."),
    repeats: int = typer.Option(3, min=1),
) -> None:
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        kafka, controller, timescale = free_ports(3)
        settings = make(
            state_dir=folder, kafka_port=kafka, kafka_controller_port=controller, timescale_port=timescale
        )
        result = asyncio.run(_with_servers(settings, lambda: _measure(settings, rows, repeats)))
    print_result("load", result, as_json)


async def _with_servers(settings: Settings, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    parts = (kafka_part(settings), timescale_part(settings))
    async with Supervisor(parts, child_environment(settings), settings.state_path) as supervisor:
        await supervisor.all_ready()
        return await asyncio.to_thread(measure)


def _measure(settings: Settings, rows: int, repeats: int) -> dict[str, Any]:
    migrate_timescale(settings)
    session = _session()
    messages = [encode(record) for record in islice(_looped(session, 0), rows)]
    load_rates: list[float] = []
    export_rates: list[float] = []
    for run in range(repeats):
        of_run = changed(settings, normalized_topic=f"{settings.topics.normalized}-{run}")
        _publish(of_run, islice(_looped(session, run), rows))
        for rates, drain in ((load_rates, load_timescale), (export_rates, export)):
            began = time.perf_counter()
            drained = drain(of_run)
            rates.append(drained.messages / (time.perf_counter() - began))
            assert drained.messages == rows
        say(
            f"run {run + 1}: {load_rates[-1]:,.0f} rows/s into TimescaleDB, {export_rates[-1]:,.0f} into the lake"
        )
    return {
        "rows_per_run": rows,
        "runs": repeats,
        "rows_per_s": spread(load_rates, 0),
        "lake_rows_per_s": spread(export_rates, 0),
        "decoding": decoding(messages, repeats),
        "compression_ratio": {table: _compressed(settings, table) for table in CHUNKED_TABLES},
    }


def _session() -> list[Trade | Quote]:
    """Trades and quotes of the shipped Binance session, in its order."""
    path = recording.shipped("binance")
    assert path is not None
    exchange = exchanges.load("binance")()
    with path.open("rb") as file:
        return [
            outcome
            for frame in frames(read_lines(file), "binance")
            for outcome in exchange.parse(frame)
            if isinstance(outcome, Trade | Quote)
        ]


def _looped(session: list[Trade | Quote], run: int) -> Iterator[Record]:
    """``session`` again and again, its ids and times rising, ``run`` days later."""
    span_ns = session[-1].receive_time_ns - session[0].receive_time_ns + 1_000_000
    turn = 0
    while True:
        shift_ns = run * NS_PER_DAY + turn * span_ns
        for record in session:
            yield _shifted(record, shift_ns, (run << 40) + (turn << 34))
        turn += 1


def _shifted(record: Trade | Quote, shift_ns: int, shift_id: int) -> Record:
    key = str(int(record.record_key) + shift_id)
    received = record.receive_time_ns + shift_ns
    if isinstance(record, Trade):
        moment = record.event_time_ns + shift_ns
        return msgspec.structs.replace(
            record,
            event_time_ns=moment,
            publish_time_ns=record.publish_time_ns + shift_ns,
            receive_time_ns=received,
            key_time_ns=moment // 1_000_000 * 1_000_000,
            record_key=key,
            trade_id=key,
        )
    return msgspec.structs.replace(
        record,
        receive_time_ns=received,
        key_time_ns=received // NS_PER_DAY * NS_PER_DAY,
        record_key=key,
        sequence=int(key),
    )


def _publish(settings: Settings, records: Iterator[Record]) -> None:
    transport_of(settings).ensure_topics()
    publisher = transport_of(settings).publisher()
    for number, record in enumerate(records, 1):
        key = f"{record.exchange}:{record.symbol}".encode()
        publisher.publish(settings.topics.normalized, key, encode(record))
        if number % POLL_EVERY_MESSAGES == 0:
            publisher.poll()
    publisher.flush(FLUSH_TIMEOUT_S)


def _compressed(settings: Settings, table: str) -> dict[str, float]:
    """Bytes a row before and after the columnstore took the table's chunks, and their ratio."""
    with connect(settings) as connection:
        for (chunk,) in connection.execute("SELECT show_chunks(%s)::text", (table,)).fetchall():
            connection.execute("SELECT compress_chunk(%s::regclass, true)", (chunk,))
        stats = connection.execute(
            "SELECT sum(before_compression_total_bytes)::bigint, sum(after_compression_total_bytes)::bigint"
            " FROM chunk_compression_stats(%s)",
            (table,),
        ).fetchone()
        counted = connection.execute(SQL("SELECT count(*) FROM {}").format(Identifier(table))).fetchone()
    assert stats is not None
    assert counted is not None
    (before, after), (rows,) = stats, counted
    return {
        "ratio": round(before / after, 1),
        "bytes_per_row_before": round(before / rows, 1),
        "bytes_per_row_after": round(after / rows, 2),
    }
