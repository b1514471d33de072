"""``etl bench kill``: ``kill -9`` of every part under load, at random and at crash points, and what it costs: nothing.

Starts its own Kafka, ClickHouse, TimescaleDB, simulated venues, workers and two sinks on free ports; the load and the
export run again and again beside them, as the DAGs would. One round kills each server at a random moment, the load
and the export at one and at their crash points, workers and sinks on their way to each of theirs; rounds follow, in
random order and without waiting for more than that the victim runs, until ``--times`` kills. Now and then the second
sink leaves and comes back, so that partitions move. At the end everything catches up and is judged by identity against
the venues' truth, in ClickHouse, TimescaleDB and the lake.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import typer
from msgspec import Struct

from etl import crash
from etl.bench import crash_at
from etl.bench.crash_at import command_with
from etl.bench.report import print_result, say
from etl.bench.rig import READY_WITHIN_S, all_connected, free_settings, next_bars
from etl.embedded.part import Part
from etl.embedded.status import DONE, RUNNING
from etl.embedded.supervisor import Supervisor
from etl.errors import EtlError
from etl.reconcile.reconcile import reconcile
from etl.reconcile.report import Report
from etl.settings import Settings
from etl.up import closing
from etl.up.plan import another, child_environment, parts

app = typer.Typer()

LEFT_OUT = ("mailbox",)
SERVERS = ("clickhouse", "timescale", "kafka")
DRAINS: Mapping[str, Sequence[str]] = {"load": ("load", "timescale"), "export": ("export",)}
WORKER, SINK = "worker", "sink"
FIRST_SINK, SECOND_SINK = "sink-clickhouse", "sink-clickhouse-2"
POINTS = {
    crash.BETWEEN_RAW_AND_NORMALIZED: WORKER,
    crash.AFTER_INTENT: SINK,
    crash.IN_INSERT: SINK,
    crash.AFTER_INSERT: SINK,
    crash.BEFORE_COMMIT: SINK,
    crash.BEFORE_TIMESCALE_COMMIT: "load",
    crash.BETWEEN_LAKE_FILE_AND_CATALOG: "export",
}
"""Which part each crash point lies in."""
MOMENT_MAX_S = 2.0
"""Between a part's running and its death, at random."""
DRAIN_MOMENT_MAX_S = 4.0
"""A drain begins to read after about 1 s."""
DRAIN_EVERY_S = 2.0
REBALANCE_SHARE = 0.35
"""Of the blows, how many are followed by the second sink's leaving and coming back."""
RUNS_WITHIN_S = 120.0
DIES_WITHIN_S = 30.0
"""How long a part may take to its crash point; Kafka notices only after 6 s that a sink died."""
DRAIN_WITHIN_S = 300.0
TRIES_MAX = 20
POLL_S = 0.05


@app.command()
def main(
    times: int = typer.Option(100, min=1, help="kills, at least"),
    venues: str = typer.Option("binance,polygon,alpaca"),
    rate: float = typer.Option(300.0, min=1.0, help="events a second of each venue"),
    seed: int = typer.Option(1, help="of the order and the moments"),
    keep: str = typer.Option("", help="state directory that stays, for a look"),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        settings = free_settings(Path(keep or folder), venues, rate)
        result = asyncio.run(KillRun(settings, times, seed).result())
    print_result("kill", result, as_json)
    raise typer.Exit(0 if is_good(result) else 1)


def is_good(result: Mapping[str, Any]) -> bool:
    return not any(result[name] for name in ("lost", "duplicated", "missed_undeclared", "unaccounted"))


class Blow(Struct, frozen=True):
    """Who dies: a server, a drain, any worker or any sink; at a crash point, or at a random moment if "". Workers and
    sinks die at a random moment on the way to their point, for they are started anew to reach it."""

    part: str
    point: str = ""


def blows(chance: random.Random) -> Iterator[Blow]:
    """Rounds without end; each kills every part and hits every crash point, in another order."""
    a_round = [
        *(Blow(name) for name in (*SERVERS, *DRAINS)),
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
        self._draining = {name: asyncio.Lock() for name in DRAINS}
        self._killed: Counter[str] = Counter()
        self._points: Counter[str] = Counter()
        self._caused: Counter[str] = Counter()
        """Ends of supervised parts that were our doing."""
        self._drains: Counter[str] = Counter()
        self._rebalances = 0

    async def result(self) -> dict[str, Any]:
        """Raises ``EtlError``."""
        async with Supervisor(self._planned(), self._environment, self._settings.state_path) as supervisor:
            self._supervisor = supervisor
            await asyncio.wait_for(supervisor.all_ready(), READY_WITHIN_S)
            say("all parts are ready")
            began = time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                drains = [tasks.create_task(self._drain_again_and_again(name)) for name in DRAINS]
                await self._kill()
                for drain in drains:
                    drain.cancel()
            await self._all_running()
            await all_connected(self._settings, supervisor)
            await next_bars()
            seconds = time.monotonic() - began
            say("the venues stop")
            await closing.stop_venues(self._settings)
            await closing.caught_up(self._settings, supervisor.states.values)
            await closing.load_by_command(self._environment)
            report = await asyncio.to_thread(reconcile, self._settings, duration_s=seconds)
            restarts = {name: state.restarts for name, state in supervisor.states.items()}
        return self._figures(report, restarts, seconds)

    def _planned(self) -> list[Part]:
        planned = [part for part in parts(self._settings, False) if part.name not in LEFT_OUT]
        first = next(part for part in planned if part.name == FIRST_SINK)
        # without a name of its own the second leaves the group when it ends: its partitions move at once
        port = 1 + max(part.metrics_port for part in planned)
        second = another(first, SECOND_SINK, port, self._settings.bind_host)
        return [self._adapted(part) for part in (*planned, second)]

    def _adapted(self, part: Part) -> Part:
        if part.name.startswith("simulate-"):
            part = msgspec.structs.replace(part, command=(*part.command, "--session", "synthetic"))
        command = self._commands[part.name] = list(part.command)
        return msgspec.structs.replace(part, command=command)

    # the blows

    async def _kill(self) -> None:
        order = blows(self._chance)
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
            await self._running(name)
            await asyncio.sleep(self._chance.uniform(0.0, MOMENT_MAX_S))
            await self._running(name)
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
        await self._until(lambda: state.pid, f"{name} starts again", RUNS_WITHIN_S)
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
        await self._running(SECOND_SINK)
        await self._end(SECOND_SINK, signal.SIGTERM)
        self._rebalances += 1

    async def _end(self, name: str, how: signal.Signals) -> None:
        """Returns when this life of the part is over."""
        state = self._supervisor.states[name]
        life = state.pid
        os.kill(life, how)
        self._caused[name] += 1
        await self._until(lambda: state.pid != life, f"{name} ends", RUNS_WITHIN_S)

    async def _running(self, name: str) -> None:
        state = self._supervisor.states[name]
        await self._until(lambda: state.state == RUNNING, f"{name} runs", RUNS_WITHIN_S)

    async def _all_running(self) -> None:
        for name, state in self._supervisor.states.items():
            if state.state != DONE:
                await self._running(name)

    async def _until(self, condition: Callable[[], object], what: str, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                raise EtlError(f"not within {within_s:g} s: {what}")
            await asyncio.sleep(POLL_S)

    # the drains

    async def _drain_again_and_again(self, name: str) -> None:
        """As the DAGs do, but without rest; one that fails because a server is down goes on at the next round."""
        while True:
            async with self._draining[name]:
                code = await closing.run_command(DRAINS[name], self._environment, DRAIN_WITHIN_S)
            self._drains[f"{name} failed" if code else name] += 1
            await asyncio.sleep(DRAIN_EVERY_S)

    async def _kill_drain(self, blow: Blow) -> None:
        """Until one was killed: it may end before its time has come, or find nothing to write."""
        for _ in range(TRIES_MAX):
            async with self._draining[blow.part]:
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
        for example in report.examples:
            say(f"{example.what}: {example.exchange} {example.kind} {example.symbol} {example.record_key}")
        venues = report.venues.values()
        events = sum(venue.events_sent for venue in venues)
        undeclared = sum(venue.missed_undeclared for venue in venues)
        return {
            "kills": self._killed.total(),
            "kills_by_part": dict(sorted(self._killed.items())),
            "crash_points": {point: self._points[point] for point in POINTS},
            "rebalances": self._rebalances,
            "events": events,
            "seconds": round(seconds, 1),
            "offered_per_s": round(events / seconds),
            "lost": sum(venue.lost for venue in venues),
            "duplicated": sum(venue.duplicated for venue in venues),
            "missed_undeclared": undeclared,
            "unaccounted": sum(venue.unaccounted for venue in venues),
            "lost_by_store": _by_store(venue.store_lost for venue in venues),
            "duplicated_by_store": _by_store(venue.store_duplicated for venue in venues),
            "declared_missing": sum(venue.missed for venue in venues) - undeclared,
            "physical_duplicates": sum(venue.physical_duplicates for venue in venues),
            "ahead_of_raw": sum(venue.ahead_of_raw for venue in venues),
            "drains": dict(sorted(self._drains.items())),
            "other_restarts": {
                name: count - self._caused[name]
                for name, count in restarts.items()
                if count != self._caused[name]
            },
        }


def _by_store(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)
