"""A backfill over two Celery workers, on one machine, and what came of it: who ran what, every row against the venue's.

    .venv/bin/uv venv --python 3.11 /tmp/celery
    .venv/bin/uv pip install --python /tmp/celery/bin/python -r requirements.txt \\
        'celery[redis]<5.7' apache-airflow-providers-celery
    PYTHONPATH=. /tmp/celery/bin/python docs/examples/celery_backfill.py --kill

The workers share what workers of two machines must: the metadata in PostgreSQL, the broker (a database of the Valkey
that has the topics), the state folder, where the marks lie, and one request budget in Valkey. With ``--kill`` a worker
dies with its task in the middle (``kill -9``) and comes back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import psutil

from etl.bench.postgresql import postgresql
from etl.bench.rig import free_settings
from etl.embedded.airflow import AirflowClient, login, url
from etl.embedded.part import Part
from etl.embedded.supervisor import Supervisor
from etl.ingest.backfill_marks import MARK
from etl.resources import IMPORT_ROOT
from etl.settings import Settings, changed
from etl.stores.query import query
from etl.up.plan import child_environment, parts

DAG = "backfill_market_data"
SYMBOLS = ("BTCUSDT", "ETHUSDT")
DAYS = 2
WORKERS = ("worker-1", "worker-2")
POOL_SLOTS = 2
PAGE_ROWS = 1_000
DAY = timedelta(days=1)
WITHIN_S = 1_500.0
POLL_S = 1.0


def worker_name() -> str:
    """Airflow's ``hostname_callable``: two workers of one machine are told apart by it."""
    return os.environ.get("CELERY_BACKFILL_WORKER", "platform")


def with_celery(settings: Settings, metadata: str) -> tuple[Part, ...]:
    """The platform whose tasks run in workers of their own."""
    broker = f"redis://127.0.0.1:{settings.transport.redis_port}/1"
    celery = {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "celery_backfill.worker_name",
        "AIRFLOW__CELERY__BROKER_URL": broker,
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{metadata}",
        "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{IMPORT_ROOT}",
    }
    planned = [
        msgspec.structs.replace(part, environment={**part.environment, **celery})
        if part.name.startswith("airflow-")
        else part
        for part in parts(settings, with_airflow=True)
    ]
    triggerer = next(part for part in planned if part.name == "airflow-triggerer")
    return (*planned, *(_worker(settings, triggerer, name) for name in WORKERS))


def _worker(settings: Settings, triggerer: Part, name: str) -> Part:
    airflow = triggerer.command[: triggerer.command.index("triggerer")]
    words = ("celery", "worker", "--concurrency", "1", "--celery-hostname", name, "--skip-serve-logs")
    return Part(
        name=name,
        command=(*airflow, *words, "--pid", str(settings.state_path / f"{name}.pid")),
        environment={**triggerer.environment, "CELERY_BACKFILL_WORKER": name},
        depends_on=(*triggerer.depends_on, "airflow-api-server"),
        stop_within_s=30.0,
    )


def tasks(client: AirflowClient, run_ids: list[str]) -> list[dict[str, Any]]:
    """Every try of a task of the venue, of these runs."""
    found = []
    for run_id in run_ids:
        path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances"
        for one in client._call("GET", f"{path}?limit=100")["task_instances"]:
            if one["state"] == "skipped":
                continue
            index = f"/{one['map_index']}" if one["map_index"] >= 0 else ""
            found += client._call("GET", f"{path}/{one['task_id']}{index}/tries")["task_instances"]
    return found


def at_once_max(found: list[dict[str, Any]]) -> int:
    """How many of the venue's tasks held a slot of its pool at one moment."""
    ends = [(one["start_date"], 1) for one in found] + [(one["end_date"], -1) for one in found]
    running = most = 0
    for _, step in sorted(ends):
        running += step
        most = max(most, running)
    return most


def venue_trades(settings: Settings, symbol: str, start_ms: int, end_ms: int) -> Iterator[tuple[Any, ...]]:
    base = f"http://127.0.0.1:{settings.simulator.port}/binance/api/v3"

    def ask(words: str) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{base}/{words}&symbol={symbol}&limit={PAGE_ROWS}") as answer:  # noqa: S310
            return list(json.load(answer))

    first = ask(f"aggTrades?startTime={start_ms}")[0]["f"]
    while True:
        for row in ask(f"historicalTrades?fromId={first}"):
            if row["time"] >= end_ms:
                return
            first = row["id"] + 1
            side = "sell" if row["isBuyerMaker"] else "buy"
            yield symbol, str(row["id"]), Decimal(row["price"]), Decimal(row["qty"]), side


def stored_trades(settings: Settings, store: str, start_ms: int, end_ms: int) -> list[tuple[Any, ...]]:
    rows = query(
        settings,
        store,
        "SELECT venue_symbol, record_key, last_price, volume, side FROM trades"  # noqa: S608
        " WHERE exchange = 'binance'"
        f" AND event_time_ns >= {start_ms}000000 AND event_time_ns < {end_ms}000000",
    ).rows
    return [(symbol, key, Decimal(price), Decimal(size), side) for symbol, key, price, size, side in rows]


def until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {WITHIN_S:g} s")
        time.sleep(POLL_S)


def backfill(settings: Settings, supervisor: Supervisor, start: datetime, kill: bool) -> list[str]:
    """Ask for it as Airflow's dialog does; returns its runs when all have ended well."""
    client = AirflowClient(url(settings), *login(settings))
    asyncio.run(client.wait_for_dags([DAG]))
    conf = {"venue": "binance", "symbols": list(SYMBOLS), "kinds": ["trade", "bar"]}
    asked = {
        "dag_id": DAG,
        "from_date": start.isoformat(),
        "to_date": (start + DAYS * DAY).isoformat(),
        "dag_run_conf": conf,
        "reprocess_behavior": "completed",
        "max_active_runs": DAYS,
    }
    client._call("POST", "/api/v2/backfills", asked)
    # named by the end of its day
    run_ids = [f"backfill__{(start + (n + 1) * DAY).isoformat()}" for n in range(DAYS)]
    if kill:
        marks = settings.state_path / "backfill"
        until("the first chunks", lambda: len(list(marks.glob(f"*/*{MARK}"))) >= 5)
        leader = psutil.Process(supervisor.states[WORKERS[1]].pid)
        for process in (leader, *leader.children(recursive=True)):
            process.send_signal(signal.SIGKILL)
        print(f"{WORKERS[1]}: killed with all its processes")

    def states() -> list[str]:
        return [client.run_state(DAG, run_id) for run_id in run_ids]

    until("the runs", lambda: set(states()) <= {"success", "failed"})
    if set(states()) != {"success"}:
        raise SystemExit(f"runs: {states()}")
    return run_ids


def told(settings: Settings, run_ids: list[str], start: datetime) -> None:
    """Print what came of it. Raises ``SystemExit`` where a row is missing, doubled or other than the venue's."""
    client = AirflowClient(url(settings), *login(settings))
    found = [one for one in tasks(client, run_ids) if one["task_id"].startswith("binance.")]
    ran = Counter((one["task_id"], one["hostname"], one["state"]) for one in found)
    for (task, host, state), count in sorted(ran.items()):
        print(f"{task} on {host}: {count} {state}")
    most = at_once_max(found)
    if {one["hostname"] for one in found if one["task_id"].endswith("fetch")} < set(WORKERS):
        raise SystemExit("one worker fetched all")
    if most > POOL_SLOTS:
        raise SystemExit(f"{most} tasks at once in a pool of {POOL_SLOTS}")
    print(f"pool venue_binance: at most {most} of {POOL_SLOTS} slots at once")
    if settings.keeps("timescale"):
        asyncio.run(client.wait_for_run("load_timescale", client.trigger("load_timescale"), WITHIN_S))
    start_ms, end_ms = (int((start + n * DAY).timestamp()) * 1_000 for n in (0, DAYS))
    truth = sorted(row for symbol in SYMBOLS for row in venue_trades(settings, symbol, start_ms, end_ms))
    for store in ("clickhouse", "timescale"):
        if not settings.keeps(store):
            continue
        until(store, lambda: len(stored_trades(settings, store, start_ms, end_ms)) >= len(truth))  # noqa: B023
        if sorted(stored_trades(settings, store, start_ms, end_ms)) != truth:
            raise SystemExit(f"{store}: other trades than the venue's")
        print(f"{store}: {len(truth):,} trades, each once and as the venue has it")
    if list((settings.state_path / "backfill").glob("*")):
        raise SystemExit("marks are left")


def memory(supervisor: Supervisor, most_mib: dict[str, float]) -> None:
    for name in (*WORKERS, "airflow-scheduler"):
        pid = supervisor.states[name].pid
        try:
            leader = psutil.Process(pid)
            used = sum(p.memory_full_info().pss for p in (leader, *leader.children(recursive=True))) / (
                1 << 20
            )
        except (psutil.Error, ValueError):
            continue
        most_mib[f"{name} most"] = max(most_mib[f"{name} most"], used)
        most_mib[f"{name} last"] = used


async def main(folder: Path, kill: bool, stores: str) -> None:
    now = datetime.now(UTC)
    start = now.replace(hour=0, minute=0, second=0, microsecond=0) - (DAYS + 1) * DAY
    with postgresql(Path("/usr/lib/postgresql/15/bin")) as metadata:
        settings = changed(
            free_settings(folder, "binance", 20.0),
            transport_url="redis",
            topic_partitions=2,
            simulator_loop=True,
            stores=stores,
            airflow_database_url=metadata,
        )
        settings = changed(
            settings, request_budget_url=f"redis://127.0.0.1:{settings.transport.redis_port}?prefix=budget:"
        )
        planned = with_celery(settings, metadata)
        async with Supervisor(planned, child_environment(settings), settings.state_path) as supervisor:
            await supervisor.all_ready()
            print("all runs", flush=True)
            most_mib: dict[str, float] = defaultdict(float)
            began = time.monotonic()
            running = asyncio.create_task(asyncio.to_thread(backfill, settings, supervisor, start, kill))
            while not running.done():
                await asyncio.to_thread(memory, supervisor, most_mib)
                await asyncio.wait({running}, timeout=2.0)
            run_ids = running.result()
            print(f"{DAYS} runs: {time.monotonic() - began:.0f} s")
            await asyncio.to_thread(told, settings, run_ids, start)
            for name, mib in sorted(most_mib.items()):
                print(f"{name}: {mib:.0f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kill", action="store_true", help="a worker, with its task in the middle")
    parser.add_argument("--stores", default="clickhouse", help="clickhouse,timescale: both are compared")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="etl-celery-") as state:
        asyncio.run(main(Path(state), given.kill, given.stores))
