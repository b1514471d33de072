"""``etl bench sink``: Kafka to ClickHouse in the recorded mix, inserts of both ways, and what a view costs.

The recorded messages, over and over under other symbols, so that identities differ and the partitions fill evenly.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import structs

from etl.bench.report import percentiles, print_result, say, spread
from etl.bench.rig import TOPIC_PARTITIONS, Pace, paced
from etl.bench.storage import recorded
from etl.embedded.clickhouse_start import clickhouse_part
from etl.embedded.kafka import kafka_part
from etl.embedded.part import Part, tcp_ready
from etl.embedded.ports import free_ports
from etl.embedded.supervisor import Supervisor
from etl.model.records import Quote, Record
from etl.monitoring import processes
from etl.settings import Settings, changed, make
from etl.sinks.clickhouse_batch import Batch, Intent, PartitionId
from etl.sinks.clickhouse_ways import FREQUENT, batch_path, delimited
from etl.sinks.clickhouse_writer import Writer
from etl.stores.clickhouse_http import ClickHouse, connect
from etl.stores.migrate import migrate_clickhouse
from etl.telemetry.sink import SinkMetrics
from etl.transports.transport import transport_of
from etl.up.plan import child_environment
from etl.wire.codec import encode

app = typer.Typer()

FLUSH_TIMEOUT_S = 120.0
POLL_EVERY_MESSAGES = 10_000
DRAIN_WITHIN_S = 600.0
POLL_S = 0.05
INSERT_ROWS = (1, 100, 1_000, 10_000)
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
        settings = make(
            state_dir=folder,
            kafka_port=kafka,
            kafka_controller_port=controller,
            clickhouse_port=clickhouse,
            topic_partitions=TOPIC_PARTITIONS,
        )
        result = asyncio.run(_measure(settings, records, messages, repeats))
    print_result("sink", result, as_json)


async def _measure(
    settings: Settings, records: Sequence[Record], messages: int, repeats: int
) -> dict[str, Any]:
    paces = []
    servers = (kafka_part(settings), clickhouse_part(settings))
    async with Supervisor(servers, child_environment(settings), settings.state_path) as supervisor:
        await supervisor.all_ready()
        await asyncio.to_thread(migrate_clickhouse, settings)
        for run in range(repeats):
            of_run = _of_run(settings, run)
            await asyncio.to_thread(_publish, of_run, islice(_copies(records, run), messages))
            paces.append(await drained(of_run, messages))
            say(f"run {run + 1}: {paces[-1].events_per_s:,.0f} messages/s")
        inserts = await asyncio.to_thread(_inserts, settings, records)
    return {
        "messages_per_run": messages,
        "runs": repeats,
        "messages_per_s": spread([each.events_per_s for each in paces], 0),
        "sink_cpu_us_per_message": spread([each.cpu_us_per_event for each in paces], 2),
        **inserts,
    }


def _of_run(settings: Settings, run: int) -> Settings:
    """A topic, a group, a port and a folder of its own, on the servers that run."""
    return changed(
        settings,
        state_dir=f"{settings.state_dir}/{run}",
        kafka_url=settings.kafka_bootstrap,
        clickhouse_url=settings.clickhouse_address,
        normalized_topic=f"{settings.topics.normalized}-{run}",
        sink_group=f"bench-{run}",
        metrics_port=free_ports(1)[0],
    )


def _inserts(settings: Settings, records: Sequence[Record]) -> dict[str, Any]:
    """What an insert takes, the server otherwise idle: as the sink sends it, all to the landing tables and as ready
    blocks, in turns. And what each view costs of one message that is landed."""
    middle = len(records) // 2  # a recording begins with snapshots of its books
    mix = _encoded([*records[middle:], *records[:middle]])
    quotes = _encoded([record for record in records if isinstance(record, Quote)])
    with connect(settings, internal=True) as client:
        client.execute("SYSTEM STOP MERGES")  # they would take turns with the inserts
        found = {
            f"insert_{name}_ms": {f"{rows}": _sent_ms(settings, values[:rows]) for rows in INSERT_ROWS}
            for name, values in (("mix", mix), ("quotes", quotes))
        }
        costs, before = {}, _landed_ms(client, mix[:1])
        for name in FAN_OUTS:
            client.execute(f"DROP VIEW frequent_{name}_fan_out")
            after = _landed_ms(client, mix[:1])
            costs[name], before = round(before - after, 2), after
    return {**found, "view_ms": costs, "landing_ms": before}


def _sent_ms(settings: Settings, values: Sequence[bytes]) -> dict[str, dict[str, float]]:
    """Percentiles of a batch from its messages to the server's answer, either way."""
    taken: dict[str, list[float]] = {"landing": [], "blocks": []}
    writers = {way: Writer(changed(settings, express=way == "blocks"), SinkMetrics(way)) for way in taken}
    try:
        for number in range(INSERTS):
            for way, writer in writers.items():
                intent = Intent(
                    topic_id=uuid.uuid4().hex,
                    start=0,
                    end=len(values),
                    rows=len(values),
                    time_s=time.time(),
                    v=writer.version,
                )
                partition = PartitionId("bench", settings.topics.normalized, number, intent.topic_id)
                batch = Batch(partition, intent, list(range(len(values))), list(values), intended=False)
                began = time.perf_counter()
                writer.begin(batch).result()
                taken[way].append((time.perf_counter() - began) * 1000)
    finally:
        for writer in writers.values():
            writer.close()
    return {way: percentiles(each, 1) for way, each in taken.items()}


def _encoded(records: Sequence[Record]) -> list[bytes]:
    """As many as an insert takes, again from the first if there are fewer."""
    return [encode(record) for record in islice(cycle(records), INSERT_ROWS[-1])]


def _copies(records: Sequence[Record], run: int) -> Iterator[Record]:
    """``records`` again and again, eight at a time side by side, each copy under a symbol of its own."""
    turn = 0
    while True:
        for record in records:
            for copy in range(8):
                yield structs.replace(record, symbol=f"R{run}T{turn}C{copy}-{record.symbol}")
        turn += 1


def _publish(settings: Settings, records: Iterator[Record]) -> None:
    transport_of(settings).ensure_topics()
    publisher = transport_of(settings).publisher()
    for number, record in enumerate(records, 1):
        key = f"{record.exchange}:{record.symbol}".encode()
        publisher.publish(settings.topics.normalized, key, encode(record))
        if number % POLL_EVERY_MESSAGES == 0:
            publisher.flush(FLUSH_TIMEOUT_S)
    publisher.flush(FLUSH_TIMEOUT_S)


async def drained(settings: Settings, messages: int) -> Pace:
    """The sink from its first batches to the last message. Raises ``EtlError``."""

    def written() -> int:
        return processes.total(
            processes.scrape(settings.bind_host, settings.metrics.port), "etl_sink_rows_total"
        )

    sink = Part(
        name="sink",
        command=(sys.executable, "-m", "etl", "sink", "clickhouse"),
        ready=tcp_ready(settings.bind_host, settings.metrics.port),
        ports={"metrics_port": settings.metrics.port},
    )
    async with Supervisor([sink], child_environment(settings), settings.state_path) as supervisor:
        await supervisor.all_ready()
        return await paced(supervisor, "sink", written, 1, messages, DRAIN_WITHIN_S, POLL_S)


def _landed_ms(client: ClickHouse, values: Sequence[bytes]) -> float:
    """The median of one insert to the landing table of frequent kinds."""
    body, taken = delimited(values), []
    for _ in range(INSERTS):
        path = batch_path(FREQUENT, uuid.uuid4().hex, len(values))
        began = time.perf_counter()
        client.insert(path, body)
        taken.append((time.perf_counter() - began) * 1000)
    return percentiles(taken, 1)["p50"]
