"""``etl bench isolation``: the workers of ten venues, three of them in trouble; what the other seven notice of it.

Starts its own Kafka, ClickHouse, sink, simulated venues and workers on free ports. Each round measures the others
twice: while nothing is wrong, and while all of this is:

    blocked    the worker of one venue stands still, as by a call that never returns
    flooded    a second venue sends many times its rate
    garbling   every other frame of a third is broken

Measured is the time from the receipt of a frame to its place in the broker's log, for every frame of the others: the
raw topic is kept with the broker's own times, in whole ms. ``ratio`` compares the two phases of a round, so that a
machine that is slow today is so in both. At the end every venue, troubled or not, is judged by identity.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import typer
from msgspec import Struct

from etl import exchanges
from etl.bench.report import percentiles, print_result, say, spread
from etl.bench.rig import (
    READY_WITHIN_S,
    all_connected,
    free_settings,
    next_bars,
    order,
    parts_into_clickhouse,
    repairs_done,
    require_no_restart,
    stopped,
)
from etl.bench.verdict import is_good, verdict
from etl.embedded.sessions import cpu_s
from etl.embedded.supervisor import Supervisor
from etl.errors import UsageError
from etl.model.records import Source
from etl.model.times import NS_PER_S
from etl.reconcile.reconcile import reconcile
from etl.simulator import venues as simulated
from etl.simulator.frame_faults import Fault
from etl.transports.frames import pieces_of
from etl.transports.kafka import keep_broker_times
from etl.transports.transport import read_topic, transport_of
from etl.up import closing
from etl.up.plan import child_environment

app = typer.Typer()

BLOCKED, FLOODED, GARBLING = TROUBLES = ("blocked", "flooded", "garbling")
QUIET, TROUBLED = PHASES = ("quiet", "troubled")
SETTLE_S = 5.0
GARBLE_EVERY_S = 0.5
GARBLED_SHARE = 0.5
MIB = 1 << 20


@app.command()
def main(
    workers: int = typer.Option(10, min=len(TROUBLES) + 1, help="venues, one worker each"),
    seconds: float = typer.Option(20.0, min=2.0, help="measured, of each phase"),
    rate: float = typer.Option(50.0, min=1.0, help="events a second of each venue"),
    flood: int = typer.Option(20, min=2, help="times the rate that one venue floods with"),
    rounds: int = typer.Option(3, min=1),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        bench = Bench(Path(folder), first_venues(workers), seconds, rate, flood)
        result = asyncio.run(bench.result(rounds))
    print_result("isolation", result, as_json)
    raise typer.Exit(0 if is_good(result) else 1)


def first_venues(count: int) -> tuple[str, ...]:
    """So many of the venues that can be simulated, one of each family before their sisters. Raises ``UsageError``."""
    known = sorted(
        set(simulated.names()) & set(exchanges.streamed()), key=lambda name: (name.count("_"), name)
    )
    if count > len(known):
        raise UsageError(f"--workers {count}: there are {len(known)} simulated venues")
    return tuple(known[:count])


class Phase(Struct, frozen=True):
    """From when to when; ``cpu`` is the cores that everything of ours used."""

    from_ns: int
    to_ns: int
    cpu: float


class Bench:
    """The first three of ``venues`` get into trouble. ``rate`` is in events/s of each."""

    def __init__(self, folder: Path, venues: Sequence[str], seconds: float, rate: float, flood: int) -> None:
        self._settings = free_settings(folder, ",".join(venues), rate)
        self._troubled = dict(zip(TROUBLES, venues, strict=False))
        self._others = venues[len(TROUBLES) :]
        self._seconds = seconds
        self._rate = rate
        self._flood = flood

    async def result(self, rounds: int, *, until_bar: bool = True) -> dict[str, Any]:
        """``until_bar``: go on until the next minute's bars, which tell of those that were garbled.

        Raises ``EtlError``."""
        settings = self._settings
        planned = parts_into_clickhouse(settings)
        async with Supervisor(planned, child_environment(settings), settings.state_path) as supervisor:
            self._supervisor = supervisor
            await asyncio.wait_for(supervisor.ready("kafka"), READY_WITHIN_S)
            await asyncio.to_thread(transport_of(settings).ensure_topics)
            await asyncio.to_thread(keep_broker_times, settings, settings.topics.raw)
            await asyncio.wait_for(supervisor.all_ready(), READY_WITHIN_S)
            began = time.monotonic()
            phases = [await self._round() for _ in range(rounds)]
            await self._settled()
            if until_bar:
                await next_bars()
            held = self._held()
            require_no_restart(supervisor)
            await closing.stop_venues(settings)
            await closing.caught_up(settings, supervisor.states.values)
            seconds = time.monotonic() - began
            latencies = await asyncio.to_thread(self._latencies_ms, phases)
            report = await asyncio.to_thread(reconcile, settings, ("clickhouse",), seconds)
        return {
            "workers": len(settings.venues.names),
            "rate": self._rate,
            "flood": self._flood,
            **self._troubled,
            **_compared(latencies),
            "cpu_cores": {name: spread([r[name].cpu for r in phases], 2) for name in PHASES},
            "worker": held,
            **verdict(report, seconds),
        }

    async def _round(self) -> Mapping[str, Phase]:
        await self._settled()
        quiet = await self._phase(QUIET)
        async with self._trouble():
            troubled = await self._phase(TROUBLED)
        return {QUIET: quiet, TROUBLED: troubled}

    async def _settled(self) -> None:
        """All stream again, and every channel has spoken: only its next record tells what of it was garbled."""
        await all_connected(self._settings, self._supervisor)
        await repairs_done(self._settings, self._supervisor)
        await asyncio.sleep(SETTLE_S)

    async def _phase(self, name: str) -> Phase:
        began_ns, used_s = time.time_ns(), self._cpu_s()
        await asyncio.sleep(self._seconds)
        to_ns = time.time_ns()
        cpu = (self._cpu_s() - used_s) / (to_ns - began_ns) * NS_PER_S
        say(f"{name}: {cpu:.2f} cores")
        return Phase(began_ns, to_ns, cpu)

    @contextlib.asynccontextmanager
    async def _trouble(self) -> AsyncIterator[None]:
        flood = Fault(kind="flood", count=self._flood, duration_s=self._seconds)
        await order(self._settings, self._troubled[FLOODED], flood)
        garbling = asyncio.create_task(self._garble())
        try:
            async with stopped(self._supervisor.states[f"stream-{self._troubled[BLOCKED]}"].pid):
                yield
        finally:
            garbling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await garbling

    async def _garble(self) -> None:
        frames = max(1, round(self._rate * GARBLE_EVERY_S * GARBLED_SHARE))
        while True:
            await order(self._settings, self._troubled[GARBLING], Fault(kind="garble", count=frames))
            await asyncio.sleep(GARBLE_EVERY_S)

    def _latencies_ms(self, rounds: Sequence[Mapping[str, Phase]]) -> list[dict[str, list[float]]]:
        """Receipt to the broker's log, by round and phase, of every frame of the others."""
        found: list[dict[str, list[float]]] = [{name: [] for name in PHASES} for _ in rounds]
        phases = [
            (phase, of_round[name])
            for a_round, of_round in zip(rounds, found, strict=True)
            for name, phase in a_round.items()
        ]
        for message in read_topic(self._settings, self._settings.topics.raw, "bench"):
            pieces = pieces_of(message)
            frame, appended_ms = pieces[0].frame, message.time_ms
            if frame.exchange in self._others and frame.source is Source.STREAM:
                for phase, of_phase in phases:
                    if phase.from_ns <= frame.receive_time_ns < phase.to_ns:
                        of_phase += [appended_ms - frame.receive_time_ns / 1e6] * len(pieces)
        return found

    def _held(self) -> dict[str, Any]:
        """What each of the others' workers holds; memory that it shares with others counts by its share."""
        states = [self._supervisor.states[f"stream-{name}"] for name in self._others]
        workers = [psutil.Process(state.pid) for state in states]
        return {
            "memory_mib": spread([state.memory_bytes / MIB for state in states], 1),
            "open_files": spread([worker.num_fds() for worker in workers], 0),
            "threads": spread([worker.num_threads() for worker in workers], 0),
        }

    def _cpu_s(self) -> float:
        """User and system time of all parts so far."""
        return sum(cpu_s(state.pid) for state in self._supervisor.states.values())


def _compared(rounds: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """The distributions of each phase, and by how much they differ within a round."""
    measured = [{name: percentiles(values, 1) for name, values in a_round.items()} for a_round in rounds]
    ranks = measured[0][QUIET]
    return {
        "frames": {name: min(len(a_round[name]) for a_round in rounds) for name in PHASES},
        "latency_ms": {
            name: {rank: spread([a_round[name][rank] for a_round in measured], 1) for rank in ranks}
            for name in PHASES
        },
        "ratio": {
            rank: spread([a_round[TROUBLED][rank] / a_round[QUIET][rank] for a_round in measured], 2)
            for rank in ranks
        },
    }
