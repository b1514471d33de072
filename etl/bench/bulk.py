"""``etl bench bulk``: minute bars of a simulated archive into each store in bulk, rows a second and bytes a row.

The archive (``etl/simulator/flat_files.py``) is written first; each store then takes all of it alone, so that its rate
is its own. What a store holds is counted, merged and compressed, and measured. Beside it the
same kind of file line by line, a part of one, into the topic.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import typer

from etl.bench.report import print_result, say
from etl.embedded.clickhouse_start import clickhouse_part
from etl.embedded.kafka import kafka_part
from etl.embedded.ports import free_ports
from etl.embedded.supervisor import Supervisor
from etl.embedded.timescale import timescale_part
from etl.exchanges import load as load_exchange
from etl.ingest import backfill, bulk
from etl.ingest.backfill_jobs import Job, make_job
from etl.lake.catalog import Catalog
from etl.lake.storage import open_storage
from etl.model.times import NS_PER_DAY, parse_ns
from etl.settings import Settings, changed, make
from etl.simulator.flat_files import MINUTES_MAX, write_archive
from etl.stores import timescale
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from etl.transports.transport import transport_of
from etl.up.plan import child_environment

app = typer.Typer()

STORES = ("clickhouse", "timescale", "lake")
SYMBOLS = 10_000
FIRST_DAY = date(2024, 2, 26)
PROJECTED_ROWS = 1_000_000_000
PLAIN_ROWS_MAX = 50_000


@app.command()
def main(
    as_json: bool = typer.Option(False, "--json"),
    rows: int = typer.Option(10_000_000, min=1_000, help="Bars of the archive, of 10,000 stocks."),
) -> None:
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        kafka, controller, clickhouse, timescale_port = free_ports(4)
        settings = make(
            state_dir=f"{folder}/state",
            kafka_port=kafka,
            kafka_controller_port=controller,
            clickhouse_port=clickhouse,
            timescale_port=timescale_port,
            live=True,
            archive_url=f"file://{folder}/flat",
        )
        result = asyncio.run(_with_servers(settings, lambda: _measure(settings, Path(folder), rows)))
    print_result("bulk", result, as_json)


async def _with_servers(settings: Settings, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    parts = (kafka_part(settings), clickhouse_part(settings), timescale_part(settings))
    async with Supervisor(parts, child_environment(settings), settings.state_path) as supervisor:
        await supervisor.all_ready()
        return await asyncio.to_thread(measure)


def _measure(settings: Settings, folder: Path, rows: int) -> dict[str, Any]:
    migrate_clickhouse(settings)
    migrate_timescale(settings)
    transport_of(settings).ensure_topics()
    symbols = min(SYMBOLS, rows)
    minutes = min(MINUTES_MAX, rows // symbols)
    days = max(1, round(rows / (symbols * minutes)))
    files = list(write_archive(folder / "flat", days, symbols, minutes, FIRST_DAY))
    written = days * symbols * minutes
    say(f"{written:,} bars of {symbols:,} stocks in {days} files")
    found: dict[str, dict[str, float]] = {}
    for store in STORES:
        found[store] = _store(changed(settings, stores=store), store, files, written)
        say(f"{store}: {found[store]}")
    of_store = {name: {store: found[store][name] for store in STORES} for name in found[STORES[0]]}
    return {
        "rows": written,
        "files": days,
        "archive_bytes_per_row": round(sum(file.stat().st_size for file in files) / written, 1),
        **of_store,
        "line_by_line_rows_per_s": _line_by_line(settings, folder, symbols),
        "projected": {
            "rows": PROJECTED_ROWS,
            "hours": {
                store: round(PROJECTED_ROWS / found[store]["rows_per_s"] / 3_600, 1) for store in STORES
            },
            "gib": {
                store: round(PROJECTED_ROWS * found[store]["bytes_per_row"] / (1 << 30), 1)
                for store in STORES
            },
        },
    }


def _store(settings: Settings, store: str, files: list[Path], rows: int) -> dict[str, float]:
    """Raises ``AssertionError`` if the store does not hold every bar once."""
    job = _job(settings, files)
    began, began_cpu = time.perf_counter(), time.process_time()
    summary = bulk.run(settings, job)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    assert summary.rows == rows, f"{store}: {summary.rows} of {rows}"
    held, size = HELD[store](settings)
    assert held == rows, f"{store} holds {held} of {rows}"
    return {
        "rows_per_s": round(rows / seconds),
        "bytes_per_row": round(size / rows, 2),
        "own_cpu_us_per_row": round(cpu_s / rows * 1e6, 2),
    }


def _job(settings: Settings, files: list[Path]) -> Job:
    first, last = (file.name.removesuffix(".csv.gz") for file in (files[0], files[-1]))
    day_ns = load_exchange("polygon").archive_day_ns
    span = parse_ns(first) + day_ns, parse_ns(last) + day_ns + NS_PER_DAY
    return make_job(settings, "polygon", [], ["bar"], *span, from_archive=True)


def _line_by_line(settings: Settings, folder: Path, symbols: int) -> int:
    """Rows a second into the topic alone."""
    url = f"file://{folder}/few"
    minutes = max(1, PLAIN_ROWS_MAX // symbols)
    files = list(write_archive(folder / "few", 1, min(symbols, PLAIN_ROWS_MAX), minutes, FIRST_DAY))
    of_few = changed(settings, archive_url=url)
    began = time.perf_counter()
    return round(backfill.run(of_few, _job(of_few, files)).rows / (time.perf_counter() - began))


def _clickhouse(settings: Settings) -> tuple[int, int]:
    with connect(settings, internal=True) as client:
        client.execute("OPTIMIZE TABLE others_stored FINAL")
        size = client.execute(
            "SELECT sum(bytes_on_disk) FROM system.parts"
            " WHERE active AND database = currentDatabase() AND table = 'others_stored'"
        )
        return int(client.execute("SELECT count() FROM bars_stored")), int(size)


def _timescale(settings: Settings) -> tuple[int, int]:
    with timescale.connect(settings) as connection:
        for (chunk,) in connection.execute("SELECT show_chunks('bars')::text").fetchall():
            connection.execute("SELECT compress_chunk(%s::regclass, true)", (chunk,))
        counted = connection.execute("SELECT count(*), hypertable_size('bars') FROM bars").fetchone()
    assert counted is not None
    return int(counted[0]), int(counted[1])


def _lake(settings: Settings) -> tuple[int, int]:
    files = Catalog(open_storage(settings)).read().of("bars")
    return sum(file.rows for file in files), sum(file.bytes for file in files)


HELD: Mapping[str, Callable[[Settings], tuple[int, int]]] = {
    "clickhouse": _clickhouse,
    "timescale": _timescale,
    "lake": _lake,
}
"""By store, how many bars it has and in how many bytes, merged and compressed."""
