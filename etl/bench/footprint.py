"""``etl bench footprint``: memory and CPU of `etl up` with a profile, stores and a transport, part by part.

Memory is proportional (PSS: a page that processes share counts once), of each part with all its children, read every
second; the simulated venues, which no deployment has, are left out. After the time is over the lake's export runs once:
what it holds comes on top of what runs all the time. The supervisor itself, this process, counts as ``up``.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import typer

from etl.bench.report import print_result, say
from etl.bench.rig import all_connected, free_settings
from etl.embedded.supervisor import Supervisor
from etl.settings import Settings, changed
from etl.up.closing import run_command
from etl.up.plan import child_environment, parts
from etl.up.profiles import with_profile

app = typer.Typer()

READ_EVERY_S = 1.0
EXPORT_READ_EVERY_S = 0.05
EXPORT_WITHIN_S = 300.0
UP = "up"
MIB = 1 << 20


@app.command()
def main(
    venues: str = typer.Option("binance,kraken", help="each with its default instruments"),
    rate: float = typer.Option(100.0, min=1.0, help="events a second of each venue"),
    seconds: float = typer.Option(60.0, min=5.0),
    profile: str = typer.Option("", help="as of etl up"),
    stores: str = typer.Option("", help="as of etl up"),
    transport: str = typer.Option("", help="kafka or redis"),
    airflow: bool = typer.Option(False),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        settings = with_profile(free_settings(Path(folder), venues, rate), profile)
        settings = changed(
            settings,
            stores=stores or settings.stores,
            transport_url={"": settings.transport.url, "kafka": "", "redis": "redis"}[transport],
            watch_airflow=airflow,
            topic_partitions=1,
            simulator_loop=True,
        )
        result = asyncio.run(measured(settings, airflow, seconds))
    print_result("footprint", result, as_json)


async def measured(settings: Settings, with_airflow: bool, seconds: float) -> dict[str, Any]:
    """Raises ``EtlError``."""
    environment = child_environment(settings)
    planned = parts(settings, with_airflow, with_schedule=not with_airflow)
    async with Supervisor(planned, environment, settings.state_path, settings.bind_host) as supervisor:
        await supervisor.all_ready()
        await all_connected(settings, supervisor)
        say(f"all runs; {seconds:g} s")
        readings: list[Mapping[str, float]] = []
        began_s, began = time.monotonic(), _cpu_s(_leaders(supervisor))
        while time.monotonic() - began_s < seconds:
            readings.append(await asyncio.to_thread(_memory_mib, _leaders(supervisor)))
            await asyncio.sleep(READ_EVERY_S)
        elapsed_s, ended = time.monotonic() - began_s, _cpu_s(_leaders(supervisor))
        export_mib = await _export_mib(environment) if settings.keeps("lake") else 0.0
    by_part: dict[str, list[float]] = defaultdict(list)
    for reading in readings:
        for name, mib in reading.items():
            by_part[name].append(mib)
    totals = [sum(reading.values()) for reading in readings]
    return {
        "stores": ",".join(settings.stores),
        "transport": settings.transport.url or "kafka",
        "airflow": with_airflow,
        "venues": ",".join(settings.venues.names),
        "events_per_s": settings.simulator.rate,
        "seconds": round(elapsed_s, 1),
        "memory_mib": round(statistics.median(totals), 1),
        "memory_mib_max": round(max(totals), 1),
        "export_mib": round(export_mib, 1),
        "memory_mib_max_with_export": round(max(totals) + export_mib, 1),
        "cpu_cores": round(sum(ended[n] - began.get(n, 0.0) for n in ended) / elapsed_s, 3),
        "memory_mib_by_part": {name: round(statistics.median(found), 1) for name, found in by_part.items()},
        "cpu_cores_by_part": {
            name: round((ended[name] - began.get(name, 0.0)) / elapsed_s, 3) for name in ended
        },
    }


def _leaders(supervisor: Supervisor) -> dict[str, int]:
    """Process ids by part, ours among them."""
    running = {
        name: state.pid
        for name, state in supervisor.states.items()
        if state.pid and not name.startswith("simulate-")
    }
    return {UP: psutil.Process().pid, **running}


def _memory_mib(leaders: Mapping[str, int]) -> dict[str, float]:
    return {name: sum(map(_pss_mib, _members(name, pid))) for name, pid in leaders.items()}


def _members(name: str, pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process] if name == UP else [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _pss_mib(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / MIB
    except psutil.Error:
        return 0.0


def _cpu_s(leaders: Mapping[str, int]) -> dict[str, float]:
    """Of each part's threads and of its children, those that have ended too."""
    found = {}
    for name, pid in leaders.items():
        total = 0.0
        for number, process in enumerate(_members(name, pid)):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
            if number == 0 and name != UP:
                total += times.children_user + times.children_system
        found[name] = total
    return found


async def _export_mib(environment: Mapping[str, str]) -> float:
    """The most that one export of all that was collected holds. Raises ``EtlError``."""
    task = asyncio.create_task(run_command(("export",), environment, EXPORT_WITHIN_S))
    most = 0.0
    while not task.done():
        own = [p for p in psutil.Process().children() if "export" in _words(p)]
        most = max(most, sum(map(_pss_mib, own)))
        await asyncio.sleep(EXPORT_READ_EVERY_S)
    await task
    return most


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
