"""``etl bench soak``: constant load for minutes or hours; memory of every part and backlog over time, flat or not.

Starts its own Kafka, ClickHouse, simulated venues, workers and sink on free ports. Memory is read once every few
seconds, the slope is the median over all pairs of readings, and flat means: at this slope the measured time brings no
more than the bound. Servers keep caches and files that they were given, so theirs is wider than that of our processes.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import typer

from etl.bench.report import print_result, say
from etl.bench.rig import (
    READY_WITHIN_S,
    all_connected,
    free_settings,
    over,
    parts_into_clickhouse,
    samples_of,
)
from etl.embedded.supervisor import Supervisor
from etl.monitoring import processes
from etl.settings import Settings, changed
from etl.up import closing
from etl.up.plan import child_environment

app = typer.Typer()

SERVERS = ("kafka", "valkey", "clickhouse")
KEPT_H = {"kafka": -1, "redis": 0}
"""``ETL_TOPIC_RETENTION_H`` by transport."""
STORES = ("clickhouse",)
"""No other has a reader here, and retention in Redis waits for the reader of each store that is kept."""
WARM_UP_SHARE = 0.2
"""Of the minutes: caches fill, pools grow, the first parts are merged."""
READINGS_MAX = 240
READ_EVERY_MIN_S = 2.0
"""The supervisor measures memory so often."""
OWN_GROWTH_SHARE_MAX, SERVER_GROWTH_SHARE_MAX = 0.05, 0.25
"""What a part's memory may grow by in the measured time and still be flat, as a share of itself, or:"""
GROWTH_MIB_MIN = 8.0
BACKLOG_GROWTH_SHARE_MAX = 0.01
"""By how many messages a second the backlog may grow, as a share of the rate."""
SERIES_POINTS = 30
MIB = 1 << 20
FLAT = "flat"


@app.command()
def main(
    minutes: float = typer.Option(30.0, min=0.5),
    rate: float = typer.Option(1_000.0, min=1.0, help="events a second of each venue"),
    venues: str = typer.Option("binance,polygon,alpaca"),
    transport: str = typer.Option("kafka", help="kafka or redis"),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        # topics in memory grow with all that is kept: as soon as it is read, nothing is
        settings = changed(
            over(transport, free_settings(Path(folder), venues, rate)),
            topic_retention_h=KEPT_H[transport],
            stores=STORES,
        )
        result = asyncio.run(SoakRun(settings, minutes * 60).result())
    print_result("soak", result, as_json)
    raise typer.Exit(0 if result["verdict"] == FLAT else 1)


Series = list[tuple[float, float]]
"""(seconds since the start, value)."""


class SoakRun:
    """Streams for ``seconds``; what is judged comes after the warm-up."""

    def __init__(self, settings: Settings, seconds: float) -> None:
        self._settings = settings
        self._seconds = seconds
        self._memory_mib: defaultdict[str, Series] = defaultdict(list)
        self._backlog: Series = []
        self._pending: Series = []

    async def result(self) -> dict[str, Any]:
        """Raises ``EtlError``."""
        settings = self._settings
        planned = parts_into_clickhouse(settings)
        async with Supervisor(planned, child_environment(settings), settings.state_path) as supervisor:
            await asyncio.wait_for(supervisor.all_ready(), READY_WITHIN_S)
            await all_connected(settings, supervisor)
            say("all venues stream")
            events = await self._watch(supervisor)
            await closing.stop_venues(settings)
            await closing.caught_up(settings, supervisor.states.values)
            restarts = sum(state.restarts for state in supervisor.states.values())
        memory = {name: judged(series, _growth_share_max(name)) for name, series in self._memory_mib.items()}
        backlog = slope(self._backlog)
        bound = BACKLOG_GROWTH_SHARE_MAX * settings.simulator.rate
        flat = all(part["flat"] for part in memory.values()) and backlog <= bound and not restarts
        return {
            "verdict": FLAT if flat else "not flat",
            "minutes": round(self._seconds / 60, 1),
            "events_per_s": round(events / (self._seconds * (1 - WARM_UP_SHARE))),
            "memory": memory,
            "backlog": {
                "flat": backlog <= bound,
                "messages_per_s": round(backlog, 3),
                "messages_per_s_max": bound,
                "median": round(median(value for _, value in self._backlog)),
                "max": round(max(value for _, value in self._backlog)),
            },
            "unacknowledged_max": round(max(value for _, value in self._pending)),
            "restarts": restarts,
            "memory_mib_over_time": {name: thinned(series) for name, series in self._memory_mib.items()},
            "backlog_over_time": thinned(self._backlog),
        }

    async def _watch(self, supervisor: Supervisor) -> int:
        """Events published after the warm-up."""
        began = time.monotonic()
        every_s = max(READ_EVERY_MIN_S, self._seconds / READINGS_MAX)
        await asyncio.sleep(self._seconds * WARM_UP_SHARE)
        before = await self._events(supervisor)
        while (elapsed := time.monotonic() - began) < self._seconds:
            samples = await asyncio.to_thread(samples_of, self._settings.bind_host, supervisor)
            self._backlog.append((elapsed, processes.total(samples, "etl_sink_backlog_messages")))
            self._pending.append((elapsed, processes.total(samples, "etl_publisher_pending_messages")))
            for name, state in supervisor.states.items():
                if state.memory_bytes and not name.startswith("simulate-"):  # no part of the platform
                    self._memory_mib[name].append((elapsed, state.memory_bytes / MIB))
            await asyncio.sleep(every_s)
        return await self._events(supervisor) - before

    async def _events(self, supervisor: Supervisor) -> int:
        samples = await asyncio.to_thread(samples_of, self._settings.bind_host, supervisor)
        return processes.total(samples, "etl_events_total")


def _growth_share_max(part: str) -> float:
    return SERVER_GROWTH_SHARE_MAX if part in SERVERS else OWN_GROWTH_SHARE_MAX


def judged(series: Series, share_max: float) -> dict[str, Any]:
    """MiB: the median, what the slope brings over the time of ``series``, and whether that is flat."""
    middle = median(value for _, value in series)
    growth = slope(series) * (series[-1][0] - series[0][0])
    bound = max(GROWTH_MIB_MIN, share_max * middle)
    return {
        "flat": growth <= bound,
        "median_mib": round(middle, 1),
        "growth_mib": round(growth, 2),
        "growth_mib_max": round(bound, 1),
        "max_mib": round(max(value for _, value in series), 1),
    }


def slope(series: Series) -> float:
    """A second, the median over all pairs: a merge or a collection now and then does not move it."""
    slopes = [(y - x) / (later - earlier) for (earlier, x), (later, y) in combinations(series, 2)]
    return median(slopes) if slopes else 0.0


def thinned(series: Series) -> Sequence[tuple[int, float]]:
    """At most ``SERIES_POINTS`` of ``series``, rounded."""
    step = max(1, len(series) // SERIES_POINTS)
    return [(round(seconds), round(value, 1)) for seconds, value in series[::step]]
