"""``etl bench together``: minute bars of a hundred stocks in one answer, from a simulated Alpaca into the topic, and
from there into each store.

Bars of a history come as pages of 10,000 rows through all checks, unlike those of files in bulk; ``sink``, ``load``
and ``export`` take them out of the topic, one after the other. The simulator computes what it answers on the same
machine: rows a second are those of both, the CPU is the backfill's own.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from etl.bench.bulk import HELD, STORES
from etl.bench.report import print_result, say
from etl.bench.rig import free_settings
from etl.bench.sink import drained
from etl.embedded.supervisor import Supervisor
from etl.exchanges import load as load_exchange
from etl.ingest import backfill
from etl.ingest.backfill_jobs import Job, make_job
from etl.model.records import Kind
from etl.model.times import NS_PER_DAY, NS_PER_MINUTE
from etl.settings import Settings, changed
from etl.sinks.export import export
from etl.sinks.load import load_timescale
from etl.up.plan import child_environment, parts

app = typer.Typer()

VENUE = "alpaca"
SYMBOLS = load_exchange(VENUE).history_together[Kind.BAR]
SERVERS = ("kafka", "clickhouse", "timescale", "topics", "migrate", f"simulate-{VENUE}")


@app.command()
def main(
    as_json: bool = typer.Option(False, "--json"),
    rows: int = typer.Option(
        1_000_000, min=30_000, help="Bars of a hundred stocks; fewer are stored at once."
    ),
) -> None:
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        settings = changed(free_settings(Path(folder), VENUE, 1.0), topic_partitions=1)
        result = asyncio.run(_measure(settings, rows))
    print_result("together", result, as_json)


async def _measure(settings: Settings, rows: int) -> dict[str, Any]:
    """Raises ``AssertionError`` if a store does not hold every bar once."""
    planned = [part for part in parts(settings, with_airflow=False) if part.name in SERVERS]
    async with Supervisor(planned, child_environment(settings), settings.state_path) as supervisor:
        await supervisor.all_ready()
        job = _job(settings, rows)
        found = await asyncio.to_thread(_fetched, settings, job)
        say(f"{found['rows']:,} bars in {found['requests']} requests, {found['rows_per_s']:,} a second")
        rates = {"clickhouse": round((await drained(_of_sink(settings), found["rows"])).events_per_s)}
        for store, drain in (("timescale", load_timescale), ("lake", export)):
            rates[store] = await asyncio.to_thread(_rate, settings, drain, found["rows"])
        held = {store: await asyncio.to_thread(HELD[store], settings) for store in STORES}
    assert {count for count, _ in held.values()} == {found["rows"]}, held
    return {
        **found,
        "store_rows_per_s": rates,
        "bytes_per_row": {store: round(size / count, 2) for store, (count, size) in held.items()},
    }


def _of_sink(settings: Settings) -> Settings:
    """With a folder of its own, on the servers that run."""
    return changed(
        settings,
        state_dir=f"{settings.state_dir}/sink",
        kafka_url=settings.kafka_bootstrap,
        clickhouse_url=settings.clickhouse_address,
    )


def _job(settings: Settings, rows: int) -> Job:
    """The minutes before the last midnight, of as many stocks as one request takes."""
    end_ns = time.time_ns() // NS_PER_DAY * NS_PER_DAY
    symbols = [f"S{number:03}" for number in range(SYMBOLS)]
    return make_job(settings, VENUE, symbols, ["bar"], end_ns - rows // SYMBOLS * NS_PER_MINUTE, end_ns)


def _fetched(settings: Settings, job: Job) -> dict[str, Any]:
    began, began_cpu = time.perf_counter(), time.process_time()
    summary = backfill.run(settings, job)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    assert not summary.holes, summary
    return {
        "symbols": SYMBOLS,
        "rows": summary.rows,
        "requests": summary.pages,
        "rows_per_s": round(summary.rows / seconds),
        "own_cpu_us_per_row": round(cpu_s / summary.rows * 1e6, 2),
    }


def _rate(settings: Settings, drain: Callable[[Settings], Any], rows: int) -> int:
    began = time.perf_counter()
    drain(settings)
    return round(rows / (time.perf_counter() - began))
