"""``etl bench kill``: ``kill -9`` of every part under load, at random and at crash points, and what it costs: nothing.

Starts its own Kafka (or Valkey), ClickHouse, TimescaleDB, simulated venues, workers and two sinks on free ports; the
load and the export run again and again beside them, as the DAGs would. One round kills each server at a random moment,
the load and the export at one and at their crash points, workers and sinks on their way to each of theirs; rounds
follow, in random order and without waiting for more than that the victim runs, until ``--times`` kills. Now and then
the second sink leaves and comes back, so that partitions move. At the end everything catches up and is judged by
identity against the venues' truth, in ClickHouse, TimescaleDB and the lake.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import typer
from msgspec import Struct

from etl import crash
from etl.bench import crash_at
from etl.bench.crash_at import command_with
from etl.bench.drains import DRAIN_EVERY_S, DRAIN_WITHIN_S, DRAINS, Drains
from etl.bench.report import print_result, say
from etl.bench.rig import (
    BROKERS,
    FIRST_SINK,
    POLL_S,
    READY_WITHIN_S,
    RUNS_WITHIN_S,
    SECOND_SINK,
    all_connected,
    all_running,
    free_settings,
    next_bars,
    over,
    parts_with_two_sinks,
    plain_errors,
    running,
    until,
)
from etl.bench.verdict import is_good, reconciled, verdict
from etl.embedded.part import Part
from etl.embedded.supervisor import Supervisor
from etl.errors import EtlError
from etl.reconcile.report import Report
from etl.settings import Settings
from etl.up import closing
from etl.up.plan import child_environment

app = typer.Typer()

STORES = ("clickhouse", "timescale")
WORKER, SINK = "worker", "sink"
POINTS = {
    crash.BETWEEN_RAW_AND_NORMALIZED: WORKER,
    crash.AFTER_INTENT: SINK,
    crash.IN_INSERT: SINK,
    crash.BETWEEN_INSERTS: SINK,
    crash.AFTER_INSERT: SINK,
    crash.BEFORE_COMMIT: SINK,
    crash.BEFORE_TIMESCALE_COMMIT: "load",
    crash.BETWEEN_LAKE_FILE_AND_CATALOG: "export",
    crash.BETWEEN_LAKE_COMMITS: "export",
}
"""Which part each crash point lies in."""
MOMENT_MAX_S = 2.0
"""Between a part's running and its death, at random."""
DRAIN_MOMENT_MAX_S = 4.0
"""A drain begins to read after about 1 s."""
REBALANCE_SHARE = 0.35
"""Of the blows, how many are followed by the second sink's leaving and coming back."""
DIES_WITHIN_S = 90.0
"""How long a part may take to its crash point: it starts first, and Kafka notices only after 6 s that a sink died. Both
take several times as long on a machine that does other work."""
TRIES_MAX = 20


@app.command()
def main(
    times: int = typer.Option(100, min=1, help="kills, at least"),
    venues: str = typer.Option("binance,polygon,alpaca"),
    rate: float = typer.Option(300.0, min=1.0, help="events a second of each venue"),
    transport: str = typer.Option("kafka", help="kafka or redis"),
    seed: int = typer.Option(1, help="of the order and the moments"),
    keep: str = typer.Option("", help="state directory that stays, for a look"),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        settings = over(transport, free_settings(Path(keep or folder), venues, rate))
        result = asyncio.run(KillRun(settings, times, seed).result())
    print_result("kill", result, as_json)
    raise typer.Exit(0 if is_good(result) else 1)


class Blow(Struct, frozen=True):
    """Who dies: a server, a drain, any worker or any sink; at a crash point, or at a random moment if "". Workers and
    sinks die at a random moment on the way to their point, for they are started anew to reach it."""

    part: str
    point: str = ""


def blows(chance: random.Random, transport: str = "kafka") -> Iterator[Blow]:
    """Rounds without end; each kills every part and hits every crash point, in another order."""
    a_round = [
        *(Blow(name) for name in (*STORES, BROKERS[transport], *DRAINS)),
        *(Blow(part, point) for point, part in POINTS.items()),
    ]
    while True:
        yield from chance.sample(a_round, len(a_round))


class KillRun:
    """One run, until ``times`` kills have happened."""

    def __init__(self, settings: Settings, times: int, seed: int) -> None:
        self._settings = settings
        self._times = times
        self._chance = random.Random(seed)
        self._environment = child_environment(settings)
        self._commands: dict[str, list[str]] = {}
        """What each part's next start runs."""
        self._drains = Drains(self._environment)
        self._killed: Counter[str] = Counter()
        self._points: Counter[str] = Counter()
        self._caused: Counter[str] = Counter()
        """Ends of supervised parts that were our doing."""
        self._rebalances = 0

    async def result(self) -> dict[str, Any]:
        """Raises ``EtlError``."""
        async with Supervisor(self._planned(), self._environment, self._settings.state_path) as supervisor:
            self._supervisor = supervisor
            await asyncio.wait_for(supervisor.all_ready(), READY_WITHIN_S)
            say("all parts are ready")
            began = time.monotonic()
            with plain_errors():
                async with asyncio.TaskGroup() as tasks:
                    drains = self._drains.begin(tasks)
                    await self._kill()
                    for drain in drains:
                        drain.cancel()
            await all_running(supervisor)
            await all_connected(self._settings, supervisor)
            await next_bars()
            seconds = time.monotonic() - began
            report = await reconciled(self._settings, supervisor, self._environment, seconds)
            restarts = {name: state.restarts for name, state in supervisor.states.items()}
        return self._figures(report, restarts, seconds)

    def _planned(self) -> list[Part]:
        return [self._adapted(part) for part in parts_with_two_sinks(self._settings)]

    def _adapted(self, part: Part) -> Part:
        command = self._commands[part.name] = list(part.command)
        return msgspec.structs.replace(part, command=command)

    # the blows

    async def _kill(self) -> None:
        order = blows(self._chance, "redis" if self._settings.transport.over_redis else "kafka")
        while self._killed.total() < self._times:
            blow = next(order)
            say(f"{self._killed.total():4d} kills; next: {blow.part} {blow.point}")
            if blow.part in DRAINS:
                await self._kill_drain(blow)
            else:
                await self._kill_part(blow)
            if self._chance.random() < REBALANCE_SHARE:
                await self._leave_and_come_back()

    async def _kill_part(self, blow: Blow) -> None:
        """Until the crash point was reached: a sink may just have no partition on which anything comes."""
        for _ in range(TRIES_MAX):
            name = self._victim(blow.part)
            await running(self._supervisor.states[name])
            await asyncio.sleep(self._chance.uniform(0.0, MOMENT_MAX_S))
            await running(self._supervisor.states[name])
            plain = list(self._commands[name])
            if blow.point:
                self._commands[name][:] = command_with(plain, blow.point)
            await self._end(name, signal.SIGKILL)
            self._killed[blow.part] += 1
            if not blow.point or await self._dies_at(name, blow, plain):
                return
        raise EtlError(f"{blow.part}: {blow.point} not reached in {TRIES_MAX} tries")

    async def _dies_at(self, name: str, blow: Blow, plain: list[str]) -> bool:
        """Whether one life, begun with the crash point hooked, ended there; if not, it is killed all the same. The
        next is of the ``plain`` command."""
        state = self._supervisor.states[name]
        await until(lambda: state.pid, f"{name} starts again", RUNS_WITHIN_S)
        life = state.pid
        self._commands[name][:] = plain
        deadline = time.monotonic() + DIES_WITHIN_S
        while state.pid == life and time.monotonic() < deadline:  # noqa: ASYNC110  an end sets no event
            await asyncio.sleep(POLL_S)
        self._killed[blow.part] += 1
        if state.pid == life:
            say(f"{name} did not reach {blow.point} in {DIES_WITHIN_S:g} s")
            await self._end(name, signal.SIGKILL)
            return False
        if state.last_exit != "signal SIGKILL":
            raise EtlError(f"{name} ended before {blow.point}: {state.last_exit}; see {state.log}")
        self._caused[name] += 1
        self._points[blow.point] += 1
        return True

    def _victim(self, part: str) -> str:
        if part == WORKER:
            return f"stream-{self._chance.choice(self._settings.venues.names)}"
        return self._chance.choice((FIRST_SINK, SECOND_SINK)) if part == SINK else part

    async def _leave_and_come_back(self) -> None:
        await running(self._supervisor.states[SECOND_SINK])
        await self._end(SECOND_SINK, signal.SIGTERM)
        self._rebalances += 1

    async def _end(self, name: str, how: signal.Signals) -> None:
        """Returns when this life of the part is over."""
        state = self._supervisor.states[name]
        life = state.pid
        os.kill(life, how)
        self._caused[name] += 1
        await until(lambda: state.pid != life, f"{name} ends", RUNS_WITHIN_S)

    # the drains

    async def _kill_drain(self, blow: Blow) -> None:
        """Until one was killed: it may end before its time has come, or find nothing to write."""
        for _ in range(TRIES_MAX):
            async with self._drains.resting(blow.part):
                died = await (self._drain_to(blow) if blow.point else self._drain_for_a_moment(blow.part))
            if died:
                self._killed[blow.part] += 1
                return
            await asyncio.sleep(DRAIN_EVERY_S)
        raise EtlError(f"{blow.part}: not killed in {TRIES_MAX} tries, {blow.point or 'at random'}")

    async def _drain_to(self, blow: Blow) -> bool:
        rig = (crash_at.MODULE, blow.point)
        code = await closing.run_command(DRAINS[blow.part], self._environment, DRAIN_WITHIN_S, rig)
        self._points[blow.point] += code == -signal.SIGKILL
        return code == -signal.SIGKILL

    async def _drain_for_a_moment(self, name: str) -> bool:
        try:
            async with asyncio.timeout(self._chance.uniform(0.0, DRAIN_MOMENT_MAX_S)):
                await closing.run_command(DRAINS[name], self._environment, DRAIN_WITHIN_S)
        except TimeoutError:  # run_command has killed it
            return True
        return False

    def _figures(self, report: Report, restarts: Mapping[str, int], seconds: float) -> dict[str, Any]:
        return {
            "kills": self._killed.total(),
            "kills_by_part": dict(sorted(self._killed.items())),
            "crash_points": {point: self._points[point] for point in POINTS},
            "rebalances": self._rebalances,
            **verdict(report, seconds),
            "drains": self._drains.figures(),
            "other_restarts": {
                name: count - self._caused[name]
                for name, count in restarts.items()
                if count != self._caused[name]
            },
        }
