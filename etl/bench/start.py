"""``etl bench start``: how long `etl up` takes on a new state folder, part by part, until all venues stream and Airflow
is ready.

Seconds are the clock's, from the command on; CPU is what a part with its children has used when it is ready, which a
busy machine changes little. Run it on a machine at rest for the former.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil
import typer

from etl.bench.report import print_result, say
from etl.bench.rig import all_connected, free_settings
from etl.embedded.supervisor import Supervisor
from etl.settings import Settings, changed
from etl.up.plan import child_environment, parts

app = typer.Typer()

VENUES_STREAM = "all venues stream"
AIRFLOW_READY = "Airflow ready"
AIRFLOW = "airflow-"


@app.command()
def main(
    venues: str = typer.Option("binance,polygon,alpaca", help="each with its default instruments"),
    rate: float = typer.Option(100.0, min=1.0, help="events a second of each venue"),
    runs: int = typer.Option(3, min=1, help="each on a state folder of its own"),
    airflow: bool = typer.Option(True, "--airflow/--no-airflow"),
    transport: str = typer.Option("", help="kafka or redis"),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    ready: list[dict[str, float]] = []
    cpu: list[dict[str, float]] = []
    for number in range(runs):
        with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
            settings = changed(
                free_settings(Path(folder), venues, rate),
                transport_url="redis" if transport == "redis" else "",
                topic_partitions=1,
                simulator_loop=True,
                watch_airflow=airflow,
            )
            seconds, used = asyncio.run(started(settings, airflow))
        say(f"run {number + 1}: {VENUES_STREAM} {seconds[VENUES_STREAM]:.1f} s")
        ready.append(seconds)
        cpu.append(used)
    result = {"venues": venues, "runs": runs, "airflow": airflow, "transport": transport or "kafka"}
    result |= {"ready_s": _over(ready, statistics.median), "ready_s_max": _over(ready, max)}
    print_result("start", {**result, "cpu_s": _over(cpu, statistics.median)}, as_json)


async def started(settings: Settings, with_airflow: bool) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds until each part, and all, was ready; CPU seconds of each part then. Raises ``EtlError``."""
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
    return seconds, {name: cpu_s for name, cpu_s in used.items() if cpu_s}


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
