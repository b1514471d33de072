"""``etl bench chaos``: the network, the disk, the clocks and the processes fail at random, and what it costs: nothing.

Starts its own Kafka, ClickHouse, TimescaleDB, simulated venues, workers and two sinks on free ports, and a proxy before
each server and each venue: nobody reaches them but through it. The load and the export run again and again beside
them. By a plan that the seed decides, networks are delayed, throttled, cut or half-opened; any part stands still; the
wall clock of a worker or a sink steps; the disk under everything but the venues' truth fills up. At the end all of it
is taken back, everything catches up and is judged as by ``etl bench kill``.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec
import typer

from etl.bench.drains import Drains
from etl.bench.report import print_result, say
from etl.bench.rig import (
    BROKERS,
    FIRST_SINK,
    MINUTE_S,
    READY_WITHIN_S,
    SECOND_SINK,
    all_connected,
    all_running,
    broker_of,
    free_settings,
    next_bars,
    over,
    parts_with_two_sinks,
    plain_errors,
    stopped,
)
from etl.bench.toxics.clock import Clock
from etl.bench.toxics.disk import mounted
from etl.bench.toxics.plan import CLOCK, DISK, STOP, Act, plan
from etl.bench.toxics.proxy import Proxy, Toxic
from etl.bench.verdict import is_good, reconciled, verdict
from etl.embedded.part import Part
from etl.embedded.supervisor import Supervisor
from etl.settings import Settings, changed
from etl.simulator import truth
from etl.up.plan import child_environment

app = typer.Typer()

SERVER_HOST = "127.0.0.2"
"""Where the servers and the venues listen; on the same port of the usual address their proxies do."""
STORES = ("clickhouse", "timescale")
DISK_MIB, DISK_MIB_PER_MINUTE = 1_024, 128
"""More than a run of so many minutes writes."""


@app.command()
def main(
    minutes: float = typer.Option(10.0, min=0.5, help="for which things fail"),
    venues: str = typer.Option("binance,polygon,alpaca"),
    rate: float = typer.Option(300.0, min=1.0, help="events a second of each venue"),
    transport: str = typer.Option("kafka", help="kafka or redis"),
    seed: int = typer.Option(1, help="decides what fails when"),
    keep: str = typer.Option("", help="directory that stays, for a look; unmount its disk yourself"),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        place = Path(keep or folder).resolve()
        settings = over(transport, free_settings(place / "state", venues, rate))
        run = ChaosRun(place, settings, minutes * MINUTE_S, seed, bool(keep))
        result = asyncio.run(run.result())
    print_result("chaos", result, as_json)
    raise typer.Exit(0 if is_good(result) else 1)


class ChaosRun:
    """One run of ``seconds`` in ``folder``: the state on a disk of its own, the truth and the clocks beside it."""

    def __init__(
        self, folder: Path, settings: Settings, seconds: float, seed: int, stays: bool = False
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._seconds = seconds
        self._seed = seed
        self._stays = stays
        self._environment = child_environment(self._settings)
        self._drains = Drains(self._environment)
        self._acts = self._planned_acts()
        self._done: list[dict[str, Any]] = []

    def _planned_acts(self) -> list[Act]:
        names = self._settings.venues.names
        clocked = (*(f"stream-{name}" for name in names), FIRST_SINK, SECOND_SINK)
        servers = (broker_of(self._settings), *STORES)
        stopped = (*servers, *(f"simulate-{name}" for name in names), *clocked)
        return plan(self._seed, self._seconds, (*servers, *names), stopped, clocked)

    async def result(self) -> dict[str, Any]:
        """Raises ``EtlError``."""
        mib = DISK_MIB + int(DISK_MIB_PER_MINUTE * self._seconds / MINUTE_S)
        say(f"seed {self._seed}: {len(self._acts)} acts in {self._seconds:g} s")
        with mounted(self._settings.state_path, mib, self._stays) as self._disk:
            self._keep_truth_elsewhere()
            async with self._proxies(), self._supervised() as supervisor:
                began = time.monotonic()
                with plain_errors():
                    await self._suffer(began)
                await all_running(supervisor)
                await all_connected(self._settings, supervisor)
                await next_bars()
                seconds = time.monotonic() - began
                report = await reconciled(self._settings, supervisor, self._environment, seconds)
                ends = {name: state for name, state in supervisor.states.items() if state.restarts}
        return {
            "seed": self._seed,
            "acts": len(self._acts),
            **verdict(report, seconds),
            "disk": self._disk.why_not or f"tmpfs of {mib} MiB",
            "drains": self._drains.figures(),
            "restarts": {name: f"{state.restarts}, last {state.last_exit}" for name, state in ends.items()},
            "done": self._done,
        }

    def _keep_truth_elsewhere(self) -> None:
        """The judge's notes are no part of what is tried."""
        place = truth.path_of(self._settings.state_path, "any").parent
        (self._folder / place.name).mkdir(exist_ok=True)
        place.symlink_to(self._folder / place.name)

    @contextlib.asynccontextmanager
    async def _proxies(self) -> AsyncIterator[None]:
        settings = self._settings
        broker = broker_of(settings)
        ports = {broker: settings.kafka.port if broker == "kafka" else settings.transport.redis_port}
        ports |= {"clickhouse": settings.clickhouse.port, "timescale": settings.timescale.port}
        ports |= {name: settings.simulator_port_of(name) for name in settings.venues.names}
        async with contextlib.AsyncExitStack() as stack:
            self._networks = {
                name: await stack.enter_async_context(Proxy(settings.bind_host, port, SERVER_HOST))
                for name, port in ports.items()
            }
            yield

    @contextlib.asynccontextmanager
    async def _supervised(self) -> AsyncIterator[Supervisor]:
        self._clocks: dict[str, Clock] = {}
        planned = self._parts()
        async with Supervisor(planned, self._environment, self._settings.state_path) as supervisor:
            self._states = supervisor.states
            await asyncio.wait_for(supervisor.all_ready(), READY_WITHIN_S)
            await all_connected(self._settings, supervisor)
            say("all parts are ready")
            yield supervisor

    def _parts(self) -> Sequence[Part]:
        behind = changed(self._settings, bind_host=SERVER_HOST)
        servers = {part.name: self._server(part) for part in parts_with_two_sinks(behind) if is_server(part)}
        planned = parts_with_two_sinks(self._settings)
        return [servers.get(part.name) or self._clocked(part) for part in planned]

    def _server(self, part: Part) -> Part:
        command = list(part.command)
        if part.name == "kafka":
            command += ["--advertised", self._settings.kafka_bootstrap]
        environment = {**part.environment, "ETL_BIND_HOST": SERVER_HOST}
        return msgspec.structs.replace(part, command=command, environment=environment, ports={})

    def _clocked(self, part: Part) -> Part:
        if not part.name.startswith(("stream-", "sink-")):
            return part
        clock = self._clocks[part.name] = Clock(self._folder / f"{part.name}.clock")
        return msgspec.structs.replace(part, command=clock.command_with(part.command))

    # the acts

    async def _suffer(self, began: float) -> None:
        async with asyncio.TaskGroup() as tasks:
            drains = self._drains.begin(tasks)
            async with asyncio.TaskGroup() as acts:
                for act in self._acts:
                    acts.create_task(self._perform(act, began))
            for drain in drains:
                drain.cancel()

    async def _perform(self, act: Act, began: float) -> None:
        await asyncio.sleep(act.at_s - (time.monotonic() - began))
        at_s = time.monotonic() - began
        say(f"{at_s:6.1f} s  {act.kind} {act.target} {act.value or ''} for {act.for_s:g} s")
        async with self._in_force(act) as left_out:
            if not left_out:
                await asyncio.sleep(act.for_s)
        ended_s = time.monotonic() - began
        times = {"at_s": round(at_s, 2), "for_s": round(ended_s - at_s, 2)}
        self._done.append(
            {**msgspec.to_builtins(act), **times, **({"left_out": left_out} if left_out else {})}
        )

    def _in_force(self, act: Act) -> AbstractAsyncContextManager[str]:
        """Within it the act is in force; gives "", or why it cannot be done."""
        if act.kind == STOP:
            return stopped(self._states[act.target].pid)
        if act.kind == CLOCK:
            return self._clocks[act.target].stepped(act.value)
        if act.kind == DISK:
            return self._disk.full()
        return self._networks[act.target].poisoned(Toxic(act.kind, act.value))


def is_server(part: Part) -> bool:
    """Whether ``part`` is only reached through a proxy."""
    return part.name in (*BROKERS.values(), *STORES) or part.name.startswith("simulate-")
