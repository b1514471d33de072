"""What the benches share: a platform on free ports, waiting until it streams, and the pace of one of its parts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from etl.embedded.part import Part
from etl.embedded.part_log import last_words
from etl.embedded.ports import free_ports, free_range
from etl.embedded.sessions import cpu_s
from etl.embedded.status import DONE, RUNNING, PartState
from etl.embedded.supervisor import Supervisor
from etl.errors import EtlError, UsageError
from etl.monitoring import processes
from etl.reconcile.reconcile import metrics_ports_max
from etl.settings import NAMES, Settings, changed, make
from etl.simulator.frame_faults import Fault
from etl.up.plan import another, parts

READY_WITHIN_S = 120.0
CONNECTED_WITHIN_S = 120.0
REPAIRED_WITHIN_S = 180.0
REPAIRS_POLL_S = 0.5
CONTROL_TIMEOUT_S = 10.0
MINUTE_S = 60.0
TOPIC_PARTITIONS = 4
"""Several, so that whatever depends on their number shows."""
BAR_DELAY_S = 3.0
CONNECTED_POLL_S = 0.5
BESIDE_CLICKHOUSE = ("timescale", "mailbox")
BROKERS = {"kafka": "kafka", "redis": "valkey"}
"""Parts, by transport."""
FIRST_SINK, SECOND_SINK = "sink-clickhouse", "sink-clickhouse-2"
RUNS_WITHIN_S = 120.0
POLL_S = 0.05


def free_settings(folder: Path, venues: str, rate: float) -> Settings:
    count = len(venues.split(","))
    return make(
        **free_port_settings(count),
        state_dir=str(folder),
        venues=venues,
        simulator_rate=rate * count,
        topic_partitions=TOPIC_PARTITIONS,
    )


def free_port_settings(venue_count: int) -> dict[str, int]:
    """Every port free at this moment, and those that parts and simulators take behind the first of theirs."""
    names = [name for name in NAMES if name.endswith("_port")]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    served = metrics_ports_max(venue_count)
    ports["metrics_port"] = free_range(served, ports.values())
    metrics = range(ports["metrics_port"], ports["metrics_port"] + served)
    ports["simulator_port"] = free_range(venue_count, {*ports.values(), *metrics})
    return ports


def over(transport: str, settings: Settings) -> Settings:
    """``settings`` on the embedded broker of this transport. Raises ``UsageError``."""
    if transport not in BROKERS:
        raise UsageError(f"--transport {transport}: kafka or redis")
    return changed(settings, transport_url="" if transport == "kafka" else transport)


def broker_of(settings: Settings) -> str:
    """The name of its part."""
    return BROKERS["redis" if settings.transport.over_redis else "kafka"]


def parts_into_clickhouse(settings: Settings, *words: str) -> list[Part]:
    """The platform with ClickHouse as its one store; venues synthetic, with ``words`` behind their commands."""
    planned = [
        _synthetic(part, *words) for part in parts(settings, False) if part.name not in BESIDE_CLICKHOUSE
    ]
    return [_migrate_clickhouse(part) if part.name == "migrate" else part for part in planned]


def _migrate_clickhouse(part: Part) -> Part:
    return msgspec.structs.replace(part, command=(*part.command, "clickhouse"), depends_on=("clickhouse",))


def parts_with_two_sinks(settings: Settings) -> list[Part]:
    """The platform without Airflow and mailbox, venues synthetic, and a second sink: partitions can move."""
    planned = [_synthetic(part) for part in parts(settings, False) if part.name != "mailbox"]
    first = next(part for part in planned if part.name == FIRST_SINK)
    # without a name of its own the second leaves the group when it ends: its partitions move at once
    port = 1 + max(part.metrics_port for part in planned)
    return [*planned, another(first, SECOND_SINK, port, settings.bind_host)]


def _synthetic(part: Part, *words: str) -> Part:
    if not part.name.startswith("simulate-"):
        return part
    return msgspec.structs.replace(part, command=(*part.command, "--session", "synthetic", *words))


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """What the tasks of a group raised first, as itself: a command ends with one line."""
    try:
        yield
    except ExceptionGroup as group:
        error: Exception = group
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        raise error from None


async def until(condition: Callable[[], object], what: str, within_s: float) -> None:
    """Wait for ``condition``. Raises ``EtlError``."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise EtlError(f"not within {within_s:g} s: {what}")
        await asyncio.sleep(POLL_S)


async def running(state: PartState) -> None:
    """Wait until this part runs. Raises ``EtlError``."""
    await until(lambda: state.state == RUNNING, f"{state.name} runs", RUNS_WITHIN_S)


async def all_running(supervisor: Supervisor) -> None:
    """The same for every part that does not run once. Raises ``EtlError``."""
    for state in supervisor.states.values():
        if state.state != DONE:
            await running(state)


async def all_connected(settings: Settings, supervisor: Supervisor, connections_min: int = 0) -> None:
    """Wait until every venue streams, over so many connections. Raises ``EtlError``."""
    least = connections_min or len(settings.venues.names)
    deadline = time.monotonic() + CONNECTED_WITHIN_S
    while True:
        connections = (await asyncio.to_thread(samples_of, settings.bind_host, supervisor)).get(
            "etl_connection_up", ()
        )
        if len(connections) >= least and all(c.value for c in connections):
            return
        if time.monotonic() > deadline:
            raise EtlError(f"a venue is not connected {CONNECTED_WITHIN_S:g} s after the last fault")
        await asyncio.sleep(CONNECTED_POLL_S)


async def repairs_done(settings: Settings, supervisor: Supervisor) -> int:
    """Wait until no repair is pending, for at most ``REPAIRED_WITHIN_S``; how many still are."""
    deadline = time.monotonic() + REPAIRED_WITHIN_S
    while True:
        samples = await asyncio.to_thread(samples_of, settings.bind_host, supervisor)
        pending = processes.total(samples, "etl_repairs_pending")
        if not pending or time.monotonic() > deadline:
            return pending
        await asyncio.sleep(REPAIRS_POLL_S)


@contextlib.asynccontextmanager
async def stopped(leader: int) -> AsyncIterator[str]:
    """The processes that ``leader`` leads stand still, as when a machine is paused; gives "", or why they do not."""
    if not leader or not _is_signalled(leader, signal.SIGSTOP):  # a full disk may have ended it just now
        yield "it did not run"
        return
    try:
        yield ""
    finally:
        _is_signalled(leader, signal.SIGCONT)


def _is_signalled(leader: int, number: signal.Signals) -> bool:
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return False
    return True


async def order(settings: Settings, venue: str, fault: Fault) -> None:
    """Let ``fault`` happen to a simulated venue. Raises ``OSError``."""
    address = f"http://{settings.bind_host}:{settings.simulator_port_of(venue)}/control/fault"
    body = msgspec.json.encode({**msgspec.to_builtins(fault), "exchange": venue})
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, method="POST", data=body, headers=headers)
    with contextlib.closing(
        await asyncio.to_thread(urllib.request.urlopen, request, None, CONTROL_TIMEOUT_S)
    ):
        pass


def require_no_restart(supervisor: Supervisor) -> None:
    """What was measured beside a start is no measurement. Raises ``EtlError``."""
    again = [
        f"{state.name} ({state.last_exit}; {last_words(Path(state.log))})"
        for state in supervisor.states.values()
        if state.restarts
    ]
    if again:
        raise EtlError(f"started again during the run: {', '.join(again)}")


async def next_bars() -> None:
    """Wait for the next minute's bars: only they tell that the ones before were missed."""
    await asyncio.sleep(MINUTE_S - time.time() % MINUTE_S + BAR_DELAY_S)


class Pace(Struct):
    """CPU is of every thread of the part that was measured."""

    events_per_s: float
    cpu_us_per_event: float


async def paced(
    supervisor: Supervisor,
    part: str,
    arrived: Callable[[], int],
    first: int,
    last: int,
    within_s: float,
    poll_s: float,
) -> Pace:
    """What ``part`` does from the first reading of ``arrived`` that is not below ``first`` to the one that is not
    below ``last``. Raises ``EtlError``."""
    deadline_s = time.monotonic() + within_s
    began = (0, 0.0, 0.0)
    while True:
        count = await asyncio.to_thread(arrived)
        require_no_restart(supervisor)
        now = (count, time.monotonic(), cpu_s(supervisor.states[part].pid))
        if count >= first and not began[0]:
            began = now
        if count >= last:
            break
        if now[1] > deadline_s:
            raise EtlError(f"{count:,} of {last:,} events arrived in {within_s:.0f} s")
        await asyncio.sleep(poll_s)
    made = now[0] - began[0]
    return Pace(made / (now[1] - began[1]), (now[2] - began[2]) / made * 1e6)


def samples_of(bind_host: str, supervisor: Supervisor) -> processes.Samples:
    """The metrics of every part, now."""
    ports = [state.metrics_port for state in supervisor.states.values() if state.metrics_port]
    return processes.scrape_all(ports, bind_host)
