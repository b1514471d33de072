"""``etl bench sink``: Kafka to ClickHouse in the recorded mix, one insert of 10,000 messages, and what a view costs.

The recorded messages, over and over under other symbols, so that identities differ and the partitions fill evenly.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import structs

from etl.bench.faults import TOPIC_PARTITIONS
from etl.bench.report import print_result, say, spread
from etl.bench.storage import recorded
from etl.embedded.clickhouse import clickhouse_part
from etl.embedded.kafka import kafka_part
from etl.embedded.plan import child_environment
from etl.embedded.ports import free_ports
from etl.embedded.supervisor import Supervisor
from etl.errors import StoreUnavailable
from etl.migrate import migrate_clickhouse
from etl.monitoring.sink import SinkMetrics
from etl.records import Record
from etl.settings import Settings
from etl.sinks.clickhouse import FREQUENT, ClickHouseSink, batch_path
from etl.sinks.clickhouse_batch import delimited
from etl.sinks.clickhouse_http import ClickHouse, parse_address
from etl.transports.kafka import KafkaPublisher, ensure_topics
from etl.wire.codec import encode

app = typer.Typer()

FLUSH_TIMEOUT_S = 120.0
POLL_EVERY_MESSAGES = 10_000
DRAIN_WITHIN_S = 600.0
POLL_S = 0.005
INSERT_MESSAGES = 10_000
INSERTS = 20
FAN_OUTS = ("books", "quotes", "trades")


@app.command()
def main(
    as_json: Annotated[bool, typer.Option("--json")] = False,
    recordings: Annotated[
        Path | None, typer.Option(help="Folder of recordings; default: the shipped session.")
    ] = None,
    messages: Annotated[int, typer.Option(min=10_000, help="Of one run.")] = 400_000,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
) -> None:
    records = recorded(recordings)
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        kafka, controller, clickhouse = free_ports(3)
        settings = Settings(
            state_dir=folder,
            kafka_port=kafka,
            kafka_controller_port=controller,
            clickhouse_port=clickhouse,
            topic_partitions=TOPIC_PARTITIONS,
        )
        result = asyncio.run(_with_servers(settings, lambda: _measure(settings, records, messages, repeats)))
    print_result("sink", result, as_json)


async def _with_servers(settings: Settings, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    parts = (kafka_part(settings), clickhouse_part(settings))
    async with Supervisor(parts, child_environment(settings), settings.state_path) as supervisor:
        await supervisor.all_ready()
        return await asyncio.to_thread(measure)


def _measure(settings: Settings, records: Sequence[Record], messages: int, repeats: int) -> dict[str, Any]:
    migrate_clickhouse(settings)
    client = ClickHouse(parse_address(settings.clickhouse_address))
    rates, cpu_us = [], []
    for run in range(repeats):
        of_run = structs.replace(
            settings, normalized_topic=f"{settings.normalized_topic}-{run}", sink_group=f"bench-{run}"
        )
        _publish(of_run, islice(_copies(records, run), messages))
        used_s = time.process_time()
        rates.append(messages / _drain_s(of_run, messages))
        cpu_us.append((time.process_time() - used_s) / messages * 1e6)
        say(f"run {run + 1}: {rates[-1]:,.0f} messages/s")
    mix = [encode(record) for record in islice(_copies(records, repeats), INSERT_MESSAGES)]
    client.execute("SYSTEM STOP MERGES")  # of what the runs stored: they would take turns with the inserts
    full = _insert_ms(client, mix)
    costs, before = {}, _insert_ms(client, mix[:1])["p50"]
    empty_insert_ms = before
    for name in FAN_OUTS:
        client.execute(f"DROP VIEW frequent_{name}_fan_out")
        after = _insert_ms(client, mix[:1])["p50"]
        costs[name], before = round(before - after, 2), after
    return {
        "messages_per_run": messages,
        "runs": repeats,
        "messages_per_s": spread(rates, 0),
        "sink_cpu_us_per_message": spread(cpu_us, 2),
        "insert_10k_ms": full,
        "insert_1_ms": empty_insert_ms,
        "view_ms": costs,
        "landing_ms": before,
    }


def _copies(records: Sequence[Record], run: int) -> Iterator[Record]:
    """``records`` again and again, eight at a time side by side, each copy under a symbol of its own."""
    turn = 0
    while True:
        for record in records:
            for copy in range(8):
                yield structs.replace(record, symbol=f"R{run}T{turn}C{copy}-{record.symbol}")
        turn += 1


def _publish(settings: Settings, records: Iterator[Record]) -> None:
    ensure_topics(settings)
    publisher = KafkaPublisher(settings)
    for number, record in enumerate(records, 1):
        key = f"{record.exchange}:{record.symbol}".encode()
        publisher.publish(settings.normalized_topic, key, encode(record))
        if number % POLL_EVERY_MESSAGES == 0:
            publisher.flush(FLUSH_TIMEOUT_S)
    publisher.flush(FLUSH_TIMEOUT_S)


def _drain_s(settings: Settings, messages: int) -> float:
    """Seconds from the first batch to the last, as the sink's own counter tells."""
    stop, metrics = threading.Event(), SinkMetrics("bench")
    deadline_s = time.monotonic() + DRAIN_WITHIN_S
    began_s, first = 0.0, 0
    with ThreadPoolExecutor(1) as executor:
        sink = executor.submit(ClickHouseSink(settings, metrics).run, stop)
        while (written := _written(metrics)) < messages and not sink.done() and time.monotonic() < deadline_s:
            if written and not began_s:
                began_s, first = time.monotonic(), written
            time.sleep(POLL_S)
        ended_s = time.monotonic()
        stop.set()
        sink.result()
    if written < messages:
        raise StoreUnavailable(
            f"the sink wrote {written:,} of {messages:,} messages in {DRAIN_WITHIN_S:.0f} s"
        )
    return (ended_s - began_s) * messages / (messages - first)


def _written(metrics: SinkMetrics) -> int:
    return int(metrics.registry.get_sample_value("etl_sink_rows_total", {"sink": "bench"}) or 0)


def _insert_ms(client: ClickHouse, values: Sequence[bytes]) -> dict[str, float]:
    """p50 and p95 of one insert, the server otherwise idle."""
    body, taken = delimited(values), []
    for _ in range(INSERTS):
        path = batch_path(FREQUENT, uuid.uuid4().hex, len(values))
        began = time.perf_counter()
        client.insert(path, body)
        taken.append((time.perf_counter() - began) * 1000)
    taken.sort()
    return {"p50": round(taken[len(taken) // 2], 1), "p95": round(taken[len(taken) * 95 // 100], 1)}
