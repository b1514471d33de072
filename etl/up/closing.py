"""The end of a run that is reconciled: nothing more is sent, every store catches up, the sides are compared."""

from __future__ import annotations

import asyncio
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence

from etl.embedded import airflow
from etl.embedded.airflow import AirflowClient
from etl.embedded.status import PartState
from etl.errors import EtlError, TransportError
from etl.monitoring import processes
from etl.monitoring.processes import Snapshot
from etl.settings import Settings
from etl.simulator.venues import is_simulated
from etl.sinks.readers import group_of
from etl.transports.transport import transport_of

CONTROL_TIMEOUT_S = 10.0
KAFKA_TIMEOUT_S = 10.0
SETTLE_POLL_S = 0.5
SETTLED_READINGS = 4
"""So many equal readings in a row, with nothing pending and no backlog, and a store has caught up."""
REPAIRS_WITHIN_S = 45.0
"""How long the gaps that still wait for their repair are waited for; after it they stay open, and declared."""
STALLED_AFTER_S = 90.0
"""No progress for this long while something is still pending: give up."""
LOAD_WITHIN_S = 600.0
CLOSING = {"timescale": ("load_timescale", ("load", "timescale")), "lake": ("export_parquet", ("export",))}
"""By store that is not filled all the time: the DAG and the command that fill it."""


async def stop_venues(settings: Settings) -> None:
    """Tell every simulator to send no more. Raises ``EtlError``."""
    for venue in filter(is_simulated, settings.venues.names):
        address = f"http://{settings.bind_host}:{settings.simulator_port_of(venue)}/control/stop"
        try:
            await asyncio.to_thread(_post, address)
        except OSError as error:
            raise EtlError(f"simulator of {venue} at {address}: {error}") from None


async def caught_up(settings: Settings, parts: Callable[[], Iterable[PartState]]) -> None:
    """Wait until workers hold nothing and the sink has no backlog. Raises ``EtlError`` when it stalls."""
    began = moved_at = time.monotonic()
    equal, last, last_pending = 0, None, ""
    while equal < SETTLED_READINGS:
        snapshot = await asyncio.to_thread(processes.take, list(parts()), settings.bind_host)
        repairs_count = time.monotonic() - began < REPAIRS_WITHIN_S
        progress, pending = _progress(snapshot), _pending(snapshot, repairs_count)
        if not pending and snapshot.sinks:
            pending = await asyncio.to_thread(_uncommitted, settings)
        equal = equal + 1 if progress == last and not pending else 0
        if pending != last_pending:
            moved_at = time.monotonic()
        elif pending and time.monotonic() - moved_at > STALLED_AFTER_S:
            raise EtlError(f"not caught up, and nothing moved for {STALLED_AFTER_S:g} s: {pending}")
        last, last_pending = progress, pending
        await asyncio.sleep(SETTLE_POLL_S)


async def load_by_airflow(settings: Settings) -> None:
    """Trigger the load and the export through Airflow's API, and wait for them."""
    dags = [dag for store, (dag, _) in CLOSING.items() if settings.keeps(store)]
    client = await asyncio.to_thread(AirflowClient, airflow.url(settings), *airflow.login(settings))
    await client.wait_for_dags(dags)
    runs = [(dag_id, await asyncio.to_thread(client.trigger, dag_id)) for dag_id in dags]
    await asyncio.gather(*(client.wait_for_run(dag_id, run_id, LOAD_WITHIN_S) for dag_id, run_id in runs))


async def load_by_command(settings: Settings, environment: Mapping[str, str]) -> None:
    """The same without Airflow."""
    for words in (words for store, (_, words) in CLOSING.items() if settings.keeps(store)):
        if code := await run_command(words, environment, LOAD_WITHIN_S):
            raise EtlError(f"etl {' '.join(words)}: exit code {code}; its own words are above")


async def run_command(
    words: Iterable[str], environment: Mapping[str, str], within_s: float, module: Sequence[str] = ("etl",)
) -> int:
    """Run ``etl``, or another ``module`` in its place, with ``words`` on our standard output; its exit code. Raises
    ``EtlError`` if it takes longer."""
    words = [*module, *words]
    name = " ".join(words)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *words, env=environment, start_new_session=True
    )
    try:
        code = await asyncio.wait_for(process.wait(), within_s)
    except TimeoutError:
        raise EtlError(f"{name}: not done within {within_s:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return code


def _post(address: str) -> None:
    request = urllib.request.Request(address, method="POST", data=b"")  # noqa: S310
    with urllib.request.urlopen(request, timeout=CONTROL_TIMEOUT_S):  # noqa: S310
        return


def _progress(snapshot: Snapshot) -> object:
    """What changes while anything still moves."""
    return (
        [
            (venue.state, venue.frames, venue.events, venue.repairs_pending)
            for venue in snapshot.venues.values()
        ],
        [(sink.state, sink.rows, sink.backlog) for sink in snapshot.sinks.values()],
    )


def _uncommitted(settings: Settings) -> str:
    """As the broker knows it: a sink that waits for its partitions tells of no backlog."""
    topics = (settings.topics.normalized, settings.topics.quarantine)
    try:
        messages = transport_of(settings).behind(group_of(settings), topics, KAFKA_TIMEOUT_S)
    except TransportError as error:
        return str(error)
    return f"the sinks have not committed {messages:,} messages" if messages else ""


def _pending(snapshot: Snapshot, repairs_count: bool) -> str:
    """What still has to be done, "" when nothing."""
    found = [
        f"stream {name} is {venue.state} with {venue.pending:,} unacknowledged"
        for name, venue in snapshot.venues.items()
        if venue.pending or venue.state in processes.NOT_RUNNING
    ]
    found += [
        f"stream {name} repairs {venue.repairs_pending:,} gaps"
        for name, venue in snapshot.venues.items()
        if venue.repairs_pending and repairs_count
    ]
    found += [
        f"sink {name} is {sink.state} with a backlog of {sink.backlog:,}"
        for name, sink in snapshot.sinks.items()
        if sink.backlog or sink.state in processes.NOT_RUNNING
    ]
    return "; ".join(found)
