"""More workers for a venue, more sinks for a topic: every identity is in ClickHouse, once, and the work is shared."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from etl.bench.rig import READY_WITHIN_S, free_settings
from etl.embedded.part import Part
from etl.embedded.supervisor import Supervisor
from etl.monitoring import processes
from etl.reconcile.reconcile import reconcile
from etl.reconcile.report import Report
from etl.settings import Settings
from etl.up import closing
from etl.up.plan import another, child_environment, parts

SHARDS = 3
SINKS = ("sink-clickhouse", "sink-clickhouse-2")
EVENTS = 2_000
POLL_S = 0.2


def planned(settings: Settings) -> list[Part]:
    """Three workers of one venue and two sinks."""
    made = {part.name: part for part in parts(settings, False)}
    ports = itertools.count(1 + max(part.metrics_port for part in made.values()))
    migrate, worker, sink = (made.pop(name) for name in ("migrate", "stream-binance", "sink-clickhouse"))
    words = (*migrate.command, "clickhouse")
    return [
        *(part for part in made.values() if part.name not in ("timescale", "mailbox")),
        msgspec.structs.replace(migrate, command=words, depends_on=("clickhouse",)),
        *(
            another(worker, f"stream-{n}", next(ports), settings.bind_host, "--shard", f"{n}/{SHARDS}")
            for n in range(SHARDS)
        ),
        *(another(sink, name, next(ports), settings.bind_host) for name in SINKS),
    ]


async def run(settings: Settings) -> Report:
    """The comparison with the truth, after one of the sinks has left on the way."""
    environment = child_environment(settings)
    async with Supervisor(planned(settings), environment, settings.state_path) as supervisor:
        await asyncio.wait_for(supervisor.all_ready(), READY_WITHIN_S)
        await written(settings, supervisor, SINKS)
        await supervisor.stop_part(SINKS[0])
        await written(settings, supervisor, SINKS[1:])
        await closing.stop_venues(settings)
        await closing.caught_up(settings, supervisor.states.values)
        return await asyncio.to_thread(reconcile, settings, ("clickhouse",))


async def written(settings: Settings, supervisor: Supervisor, sinks: Sequence[str]) -> None:
    """Wait until these sinks have written some thousand events since now."""
    ports = [supervisor.states[name].metrics_port for name in sinks]

    async def rows() -> int:
        samples = await asyncio.to_thread(processes.scrape_all, ports, settings.bind_host)
        return processes.total(samples, "etl_sink_rows_total")

    before = await rows()
    async with asyncio.timeout(READY_WITHIN_S):
        while await rows() - before < EVENTS:  # noqa: ASYNC110  a counter sets no event
            await asyncio.sleep(POLL_S)


@pytest.mark.integration
@pytest.mark.timeout(240)
def test_three_workers_and_two_sinks_on_one_topic_store_every_identity_once(tmp_path: Path) -> None:
    report = asyncio.run(run(free_settings(tmp_path, "binance", 900.0)))
    venue = report.venues["binance"]
    assert (venue.lost, venue.duplicated, venue.missed_undeclared, venue.unaccounted) == (0, 0, 0, 0)
    assert (venue.clickhouse, venue.unexpected) == (venue.normalized, 0), report.examples
    assert venue.normalized >= 2 * EVENTS
