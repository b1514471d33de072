"""``etl bench start``: how long `etl up` takes on a new state folder, part by part, until all venues stream and Airflow
is ready.

``--database sqlite,postgresql`` takes turns of Airflow's metadata on either, a run each; ``--dag-runs N`` then asks for
N runs of some DAGs at once, beside those of every minute, and waits for all. PostgreSQL is started from the programs in
``--postgresql-bin``.

Seconds are the clock's, from the command on; CPU is what a part with its children has used when it is ready, which a
busy machine changes little. Run it on a machine at rest for the former.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import typer

from etl.bench.postgresql import postgresql
from etl.bench.report import print_result, say
from etl.bench.rig import all_connected, free_settings
from etl.embedded.airflow import AirflowClient, login, url
from etl.embedded.supervisor import Supervisor
from etl.errors import UsageError
from etl.settings import Settings, changed
from etl.up.plan import child_environment, parts

app = typer.Typer()

VENUES_STREAM = "all venues stream"
AIRFLOW_READY = "Airflow ready"
AIRFLOW = "airflow-"
DAG_RUNS_DONE = "DAG runs done"
LOAD_DAGS = ("expire_data", "load_timescale", "refresh_symbol_stats", "monitor_freshness")
"""Short ones, of which a run more changes nothing."""
DAG_RUNS_WITHIN_S = 600.0
_TOLD = (VENUES_STREAM, AIRFLOW_READY, DAG_RUNS_DONE)


@app.command()
def main(
    venues: str = typer.Option("binance,polygon,alpaca", help="each with its default instruments"),
    rate: float = typer.Option(100.0, min=1.0, help="events a second of each venue"),
    runs: int = typer.Option(3, min=1, help="each on a state folder of its own"),
    airflow: bool = typer.Option(True, "--airflow/--no-airflow"),
    transport: str = typer.Option("", help="kafka or redis"),
    database: str = typer.Option(
        "sqlite", help="of Airflow's metadata: sqlite, postgresql, or both by a comma"
    ),
    postgresql_bin: str = typer.Option("/usr/lib/postgresql/15/bin", help="where initdb and postgres lie"),
    dag_runs: int = typer.Option(0, min=0, help="of each of some DAGs, once Airflow is ready"),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    databases = tuple(database.split(","))
    if not set(databases) <= {"sqlite", "postgresql"}:
        raise UsageError(f"--database {database}: sqlite, postgresql, or both by a comma")
    ready: dict[str, list[dict[str, float]]] = {name: [] for name in databases}
    cpu: dict[str, list[dict[str, float]]] = {name: [] for name in databases}
    for number, name in itertools.product(range(runs), databases):
        with (
            tempfile.TemporaryDirectory(prefix="etl-bench-") as folder,
            postgresql(Path(postgresql_bin)) if name == "postgresql" else nullcontext("") as database_url,
        ):
            settings = changed(
                free_settings(Path(folder), venues, rate),
                transport_url="redis" if transport == "redis" else "",
                topic_partitions=1,
                simulator_loop=True,
                watch_airflow=airflow,
                airflow_database_url=database_url,
            )
            seconds, used = asyncio.run(started(settings, airflow, dag_runs))
        say(
            f"run {number + 1} {name}: "
            + ", ".join(f"{what} {seconds[what]:.1f} s" for what in _TOLD if what in seconds)
        )
        ready[name].append(seconds)
        cpu[name].append(used)
    result: dict[str, Any] = {
        "venues": venues,
        "runs": runs,
        "airflow": airflow,
        "transport": transport or "kafka",
    }
    for name in databases:
        result[name] = {
            "ready_s": _over(ready[name], statistics.median),
            "ready_s_max": _over(ready[name], max),
            "cpu_s": _over(cpu[name], statistics.median),
        }
    print_result("start", result, as_json)


async def started(
    settings: Settings, with_airflow: bool, dag_runs: int = 0
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds until each part, and all, was ready, and from then until the DAG runs had ended well; CPU seconds of each
    part when it was ready. Raises ``EtlError``, also for a run that failed."""
    began = time.monotonic()
    seconds: dict[str, float] = {}
    used: dict[str, float] = {}
    planned = parts(settings, with_airflow, with_schedule=not with_airflow, with_gateway=True)
    async with Supervisor(
        planned, child_environment(settings), settings.state_path, settings.bind_host
    ) as supervisor:

        async def note(name: str) -> None:
            await supervisor.ready(name)
            seconds[name] = time.monotonic() - began
            used[name] = _cpu_s(supervisor.states[name].pid)

        async def streams() -> None:
            await supervisor.ready(*(f"stream-{venue}" for venue in settings.venues.names))
            await all_connected(settings, supervisor)
            seconds[VENUES_STREAM] = time.monotonic() - began

        await asyncio.gather(streams(), *(note(part.name) for part in planned))
        if with_airflow:
            seconds[AIRFLOW_READY] = max(seconds[name] for name in seconds if name.startswith(AIRFLOW))
        if with_airflow and dag_runs:
            seconds[DAG_RUNS_DONE] = await _dag_runs(settings, dag_runs)
            used |= {
                f"{name} at last": _cpu_s(supervisor.states[name].pid)
                for name in ("airflow-scheduler", "airflow-api-server")
            }
    return seconds, {name: cpu_s for name, cpu_s in used.items() if cpu_s}


async def _dag_runs(settings: Settings, count: int) -> float:
    """Seconds from the first request to the end of the last run. Raises ``EtlError`` if one fails."""
    client = await asyncio.to_thread(AirflowClient, url(settings), *login(settings))
    await client.wait_for_dags(LOAD_DAGS)
    began = time.monotonic()
    asked = [
        (dag_id, await asyncio.to_thread(client.trigger, dag_id))
        for _ in range(count)
        for dag_id in LOAD_DAGS
    ]
    await asyncio.gather(*(client.wait_for_run(*run, within_s=DAG_RUNS_WITHIN_S) for run in asked))
    return time.monotonic() - began


def _cpu_s(pid: int) -> float:
    """0 for what has ended."""
    try:
        leader = psutil.Process(pid) if pid else None
        found = [leader, *leader.children(recursive=True)] if leader else []
        return float(sum(each.cpu_times().user + each.cpu_times().system for each in found))
    except psutil.NoSuchProcess:
        return 0.0


def _over(readings: list[dict[str, float]], of: Callable[[Iterable[float]], float]) -> dict[str, Any]:
    names = {name for reading in readings for name in reading}
    found = {name: of([reading[name] for reading in readings if name in reading]) for name in names}
    return {name: round(value, 2) for name, value in sorted(found.items(), key=lambda item: item[1])}
