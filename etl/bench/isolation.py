"""``etl bench isolation``: seven workers, one of them blocked or flooded; what the other six notice of it.

Four phases, each with Kafka, seven feeds and seven workers of its own: all at the same rate; one worker blocked
(SIGSTOP); one worker's feed flooding it; and the control of that, in which a process that has nothing to do with us
burns the CPU that the flood took. Measured is the time from the receipt of a frame to its place in the broker's log,
for every frame of the other six: the raw topic is kept with the broker's own times, in whole ms. ``added_p99_ms``
compares blocked with quiet, and flooded with its control: what remains is what sharing a platform costs, not a machine.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import typer
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from msgspec import Struct, structs

from etl.bench.feed.paced import CHANNELS, SYMBOLS, paced_part
from etl.bench.report import percentiles, print_result, say, spread
from etl.bench.rig import all_connected, require_no_restart
from etl.embedded.kafka import kafka_part
from etl.embedded.part import Part
from etl.embedded.ports import free_ports
from etl.embedded.sessions import cpu_s
from etl.embedded.supervisor import Supervisor
from etl.settings import Settings, changed, make
from etl.transports import kafka_clients
from etl.transports.kafka import ensure_topics, frame_of
from etl.transports.ranges import read_topic
from etl.up.plan import another, child_environment, parts

app = typer.Typer()

WORKERS = SYMBOLS[:7]
VICTIM = WORKERS[0]
READY_WITHIN_S = 180.0
WARM_UP_S = 3.0
REQUEST_WITHIN_S = 30.0
SYMBOL_WITHIN_BYTES = 40
"""The stream's name stands at the beginning of a frame."""
QUIET, BLOCKED, FLOODED, CONTROL = "quiet", "blocked", "flooded", "control"
PHASES = (QUIET, BLOCKED, FLOODED, CONTROL)
_BURN = """
import sys, time
share = float(sys.argv[1])
while True:
    began = time.monotonic()
    while time.monotonic() - began < 0.01 * share:
        pass
    time.sleep(0.01 * (1 - share))
"""
BURNERS = 2
"""Two, for one alone could not burn more than a core."""


@app.command()
def main(
    as_json: bool = typer.Option(False, "--json"),
    seconds: float = typer.Option(20.0, min=2.0, help="measured, of each phase"),
    rate: float = typer.Option(100.0, min=1.0, help="events a second of each worker"),
    flood: float = typer.Option(5_000.0, min=1.0, help="events a second that flood one of them"),
    repeats: int = typer.Option(3, min=1),
) -> None:
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        result = asyncio.run(Bench(Path(folder), seconds, rate, flood).result(repeats))
    print_result("isolation", result, as_json)


class Phase(Struct, frozen=True):
    """``latency_ms`` of the six; ``cpu`` is the cores that everything of ours used."""

    latency_ms: dict[str, float]
    events: int
    cpu: float


class Bench:
    def __init__(self, folder: Path, seconds: float, rate: float, flood: float) -> None:
        self._folder = folder
        self._seconds = seconds
        self._rate = rate
        self._flood = flood
        self._phases = 0

    async def result(self, repeats: int) -> dict[str, Any]:
        """Raises ``EtlError``."""
        runs = [await self._run() for _ in range(repeats)]
        return {
            "workers": len(WORKERS),
            "rate": self._rate,
            "flood": self._flood,
            "seconds": self._seconds,
            "runs": repeats,
            BLOCKED: _added(runs, BLOCKED, QUIET),
            FLOODED: _added(runs, FLOODED, CONTROL),
            "latency_ms": {
                phase: {
                    name: spread([run[phase].latency_ms[name] for run in runs], 1)
                    for name in runs[0][phase].latency_ms
                }
                for phase in PHASES
            },
            "events": {phase: min(run[phase].events for run in runs) for phase in PHASES},
            "cpu_cores": {phase: spread([run[phase].cpu for run in runs], 2) for phase in PHASES},
        }

    async def _run(self) -> Mapping[str, Phase]:
        quiet = await self.phase(QUIET)
        blocked = await self.phase(BLOCKED)
        flooded = await self.phase(FLOODED, flood=self._flood)
        control = await self.phase(CONTROL, burn=max(0.0, flooded.cpu - quiet.cpu))
        return {QUIET: quiet, BLOCKED: blocked, FLOODED: flooded, CONTROL: control}

    async def phase(self, name: str, flood: float = 0.0, burn: float = 0.0) -> Phase:
        """``burn``: cores."""
        self._phases += 1
        settings = _settings(self._folder / str(self._phases))
        planned = [*self._planned(settings, flood), *_burners(burn)]
        async with Supervisor(planned, child_environment(settings), settings.state_path) as supervisor:
            await asyncio.wait_for(supervisor.ready("kafka"), READY_WITHIN_S)
            await asyncio.to_thread(_keep_broker_times, settings)
            await asyncio.wait_for(supervisor.all_ready(), READY_WITHIN_S)
            await all_connected(settings, supervisor, len(WORKERS))
            await asyncio.sleep(WARM_UP_S)
            victim = supervisor.states[f"stream-{VICTIM}"].pid
            began_ns, used_s = time.time_ns(), _cpu_s(supervisor)
            with _stopped(victim if name == BLOCKED else 0):
                await asyncio.sleep(self._seconds)
                seconds = (time.time_ns() - began_ns) / 1e9
                used_s = _cpu_s(supervisor) - used_s
            latencies = await asyncio.to_thread(_latencies_ms, settings, began_ns, self._seconds)
            require_no_restart(supervisor)
        phase = Phase(percentiles(latencies, 1), len(latencies), round(used_s / seconds, 3))
        say(f"{name}: p99 {phase.latency_ms['p99']} ms of {phase.events:,} events, {phase.cpu:.2f} cores")
        return phase

    def _planned(self, settings: Settings, flood: float) -> Iterator[Part]:
        """The broker, and a feed and a worker for each symbol."""
        made = {part.name: part for part in parts(settings, False)}
        yield kafka_part(settings)
        yield made["topics"]
        ports_left = iter(free_ports(2 * len(WORKERS)))
        for symbol in WORKERS:
            rate = flood if flood and symbol == VICTIM else self._rate
            port = next(ports_left)
            yield paced_part(f"feed-{symbol}", settings.bind_host, port, (symbol,), rate)
            words = ("--symbols", symbol, "--channels", CHANNELS)
            worker = another(
                made["stream-binance"], f"stream-{symbol}", next(ports_left), settings.bind_host, *words
            )
            yield structs.replace(
                worker,
                environment={"ETL_SIMULATOR_PORT": str(port)},
                depends_on=("topics", f"feed-{symbol}"),
            )


def _added(runs: Sequence[Mapping[str, Phase]], name: str, against: str) -> dict[str, Any]:
    """By how much the p99 of the others grew."""
    added = [run[name].latency_ms["p99"] - run[against].latency_ms["p99"] for run in runs]
    return {"added_p99_ms": round(median(added), 1), "against": against, "spread": spread(added, 1)}


def _settings(folder: Path) -> Settings:
    kafka, controller = free_ports(2)
    settings = make(
        state_dir=str(folder), kafka_port=kafka, kafka_controller_port=controller, venues="binance"
    )
    # nothing is started for these: the workers go no further than Kafka
    return changed(settings, clickhouse_url="http://unused", timescale_url="unused", smtp_url="unused")


def _burners(cores: float) -> Iterator[Part]:
    share = min(1.0, cores / BURNERS)
    for number in range(BURNERS if cores else 0):
        yield Part(name=f"burner-{number}", command=(sys.executable, "-c", _BURN, f"{share:.3f}"))


def _keep_broker_times(settings: Settings) -> None:
    """The raw topic with the times at which the broker appended, instead of the producer's."""
    ensure_topics(settings)
    entry = ConfigEntry(
        "message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ResourceType.TOPIC, settings.topics.raw, incremental_configs=[entry])
    admin = kafka_clients.admin(settings)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(REQUEST_WITHIN_S)


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    """The process stands still meanwhile, as by a call that never returns; 0 = none does."""
    if pid:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if pid:
            os.kill(pid, signal.SIGCONT)


def _latencies_ms(settings: Settings, from_ns: int, seconds: float) -> list[float]:
    """Receipt to the broker's log of every frame of the others that was received in these seconds."""
    to_ns, found = from_ns + int(seconds * 1e9), []
    of_victim = f'"{VICTIM.lower()}@'.encode()
    for message in read_topic(settings, settings.topics.raw, "bench"):
        frame = frame_of(message)
        if of_victim in frame.payload[:SYMBOL_WITHIN_BYTES]:
            continue
        kind, appended_ms = message.timestamp()
        if from_ns <= frame.receive_time_ns < to_ns and kind == TIMESTAMP_LOG_APPEND_TIME:
            found.append(appended_ms - frame.receive_time_ns / 1e6)
    return found


def _cpu_s(supervisor: Supervisor) -> float:
    """User and system time of all parts so far."""
    return sum(cpu_s(state.pid) for state in supervisor.states.values())
