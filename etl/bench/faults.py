"""``etl bench faults``: every fault a venue can have, many disconnects, and what was lost by it: nothing.

Starts its own Kafka, ClickHouse, simulated venues, workers and sink on free ports. Judged by identity against the
venues' truth, in ClickHouse. Kinds with history (trades; quotes of Polygon and Alpaca; bars) must end with nothing
missing; of the others nothing may be missing outside a declared gap.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import typer

from etl import exchanges
from etl.bench.report import print_result, say
from etl.bench.rig import (
    READY_WITHIN_S,
    all_connected,
    free_settings,
    next_bars,
    over,
    parts_into_clickhouse,
    repairs_done,
    samples_of,
)
from etl.embedded.supervisor import Supervisor
from etl.ingest.gap_ledger import Selection, read_gaps, repair_gaps
from etl.model.records import Gap, GapKind, GapState, Kind
from etl.monitoring import processes
from etl.reconcile.reconcile import reconcile
from etl.reconcile.report import Report
from etl.settings import Settings
from etl.simulator.faults import KINDS
from etl.simulator.scenario import Step, every_fault
from etl.simulator.venues import make_venue
from etl.up import closing
from etl.up.plan import child_environment

app = typer.Typer()

WAITING_FAULTS = {"mute": 0.0, "auth_failure": 75.0, "connection_limit": 140.0, "too_many": 175.0}
"""Faults after which a worker rightly waits long (a mute socket's staleness, the venue's own refusals): each has its
time after the lively part, in seconds from its end, or nothing could happen in between."""
WAITING_S = 215.0
WARM_UP_S = 15.0
"""Memory is compared from here on."""
REPAIR_ROUNDS = 5
STATUS_TIMEOUT_S = 10.0


@app.command()
def main(
    venues: str = typer.Option("binance,polygon,alpaca"),
    disconnects: int = typer.Option(47, min=1),
    rate: float = typer.Option(2_000.0, help="events a second of each venue"),
    lively: float = typer.Option(
        90.0, min=10.0, help="seconds with faults from which a worker recovers at once"
    ),
    waiting: bool = typer.Option(True, help="with the faults after which a worker waits long"),
    transport: str = typer.Option("kafka", help="kafka or redis"),
    keep: str = typer.Option("", help="state directory that stays, for a look"),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        settings = over(transport, free_settings(Path(keep or folder), venues, rate))
        steps = schedule(settings.venues.names, disconnects, lively, waiting=waiting)
        seconds = lively + (WAITING_S if waiting else 0.0)
        result = asyncio.run(FaultsRun(settings, steps, seconds).result())
    print_result("faults", result, as_json)
    raise typer.Exit(0 if is_good(result) else 1)


def is_good(result: Mapping[str, Any]) -> bool:
    """Nothing lost, doubled or undeclared, and nothing missing that a history has."""
    zeros = ("lost", "duplicated", "missed_undeclared", "missing_with_history", "unaccounted")
    return not any(result[name] for name in zeros)


def schedule(venues: Sequence[str], disconnects: int, lively_s: float, *, waiting: bool) -> list[Step]:
    """Every fault of every venue, those after which a worker waits long behind the others."""
    steps = []
    for step in every_fault(lively_s, disconnects, venues):
        if not _waits_long(step):
            steps.append(step)
        elif waiting:
            steps.append(msgspec.structs.replace(step, at_s=lively_s + WAITING_FAULTS[step.kind]))
    return steps


def _waits_long(step: Step) -> bool:
    """A rival connection is a refusal only where the venue counts logins."""
    is_refusal = step.kind != "too_many" or bool(make_venue(step.exchange).dialect.login)
    return step.kind in WAITING_FAULTS and is_refusal


class FaultsRun:
    """One run: ``seconds`` of streaming under ``steps``, then everything settles and is judged.

    ``until_bar``: go on until the next minute's bars, which close the gaps of the last loss.
    """

    def __init__(
        self, settings: Settings, steps: Sequence[Step], seconds: float, *, until_bar: bool = True
    ) -> None:
        self._until_bar = until_bar
        self._settings = settings
        self._seconds = seconds
        self._scenario = settings.state_path / "scenario.json"
        self._scenario.parent.mkdir(parents=True, exist_ok=True)
        self._scenario.write_bytes(msgspec.json.encode(steps))
        self._memory_mib: dict[str, float] = {}
        self._stopped_ns = 0

    async def result(self) -> dict[str, Any]:
        """Raises ``EtlError``."""
        planned = parts_into_clickhouse(self._settings, "--scenario", str(self._scenario))
        environment = child_environment(self._settings)
        async with Supervisor(planned, environment, self._settings.state_path) as supervisor:
            self._supervisor = supervisor
            await asyncio.wait_for(supervisor.all_ready(), READY_WITHIN_S)
            say("all parts are ready")
            await self._stream()
            growth_mib = self._growth_mib()
            samples = await self._settle()
            fired = await asyncio.to_thread(self._faults_fired)
            await self._repair_what_is_left()
            report = await asyncio.to_thread(reconcile, self._settings, ("clickhouse",), self._seconds)
            gaps = await asyncio.to_thread(read_gaps, self._settings, Selection())
        return self._figures(report, gaps, samples, fired, growth_mib)

    def _is_of_the_end(self, gap: Gap) -> bool:
        """Whether ``gap`` is the suspicion of a worker whose venue was told to stop."""
        return gap.gap_kind is GapKind.STALE and gap.receive_time_ns > self._stopped_ns and not gap.to_time_ns

    async def _stream(self) -> None:
        began = time.monotonic()
        await asyncio.sleep(WARM_UP_S)
        self._memory_mib = self._memory()
        await asyncio.sleep(max(0.0, self._seconds - WARM_UP_S))
        await all_connected(self._settings, self._supervisor)
        if self._until_bar:
            await next_bars()
        self._seconds = time.monotonic() - began

    def _memory(self) -> dict[str, float]:
        return {
            name: state.memory_bytes / (1 << 20)
            for name, state in self._supervisor.states.items()
            if name.startswith("stream-")
        }

    def _growth_mib(self) -> float:
        now = self._memory()
        return round(max(now[name] - before for name, before in self._memory_mib.items()), 1)

    async def _settle(self) -> processes.Samples:
        """Wait until repairs are done, stop the venues, and let the sink catch up; the metrics at that moment."""
        pending = await repairs_done(self._settings, self._supervisor)
        say(f"{pending} repairs pending; the venues stop")
        self._stopped_ns = time.time_ns()
        await closing.stop_venues(self._settings)
        await closing.caught_up(self._settings, self._supervisor.states.values)
        return await asyncio.to_thread(samples_of, self._settings.bind_host, self._supervisor)

    async def _repair_what_is_left(self) -> None:
        """As an operator would: gaps that no later event has closed, and what the queue gave up."""
        for _ in range(REPAIR_ROUNDS):
            left = await asyncio.to_thread(read_gaps, self._settings, Selection(state="open"))
            settled = await asyncio.to_thread(repair_gaps, self._settings, left)
            await closing.caught_up(self._settings, self._supervisor.states.values)
            if all(gap.gap_state is not GapState.OPEN or not gap.to_time_ns for gap in settled):
                return

    def _faults_fired(self) -> dict[str, int]:
        fired: Counter[str] = Counter()
        for venue in self._settings.venues.names:
            port = self._settings.simulator_port_of(venue)
            address = f"http://{self._settings.bind_host}:{port}/control/status"
            with urllib.request.urlopen(address, timeout=STATUS_TIMEOUT_S) as answer:
                fired.update(msgspec.json.decode(answer.read())[venue]["faults_fired"])
        return {kind: fired[kind] for kind in KINDS}

    def _figures(
        self,
        report: Report,
        gaps: Sequence[Gap],
        samples: processes.Samples,
        fired: dict[str, int],
        growth_mib: float,
    ) -> dict[str, Any]:
        for example in report.examples:
            say(f"{example.what}: {example.exchange} {example.kind} {example.symbol} {example.record_key}")
        venues = report.venues.values()
        undeclared = sum(venue.missed_undeclared for venue in venues)
        real = [gap for gap in gaps if gap.gap_kind is not GapKind.START and not self._is_of_the_end(gap)]
        states = Counter(gap.gap_state for gap in real)
        saved = processes.total(samples, "etl_snapshots_saved_total")
        requested = processes.total(samples, "etl_snapshots_requested_total")
        reconnects = processes.total(samples, "etl_reconnects_total")
        planned = processes.total(samples, "etl_reconnects_total", reason="planned")
        return {
            "events_sent": sum(venue.events_sent for venue in venues),
            "disconnects": reconnects - planned,
            "faults_fired": fired,
            "lost": sum(venue.lost for venue in venues),
            "duplicated": sum(venue.duplicated for venue in venues),
            "missed_undeclared": undeclared,
            "missing_with_history": missing_with_history(report),
            "unaccounted": sum(venue.unaccounted for venue in venues),
            "declared_missing": sum(venue.missed for venue in venues) - undeclared,
            "declared_excess_ids": sum(venue.declared_excess_ids for venue in venues),
            "gaps_opened": len(real),
            "gaps_repaired": states[GapState.REPAIRED],
            "gaps_source_hole": states[GapState.SOURCE_HOLE],
            "gaps_unrepairable": states[GapState.UNREPAIRABLE],
            "gaps_open": states[GapState.OPEN],
            "repaired_rows": processes.total(samples, "etl_repaired_rows_total"),
            "reconnect_s": {
                name: processes.quantile(samples, "etl_reconnect_seconds", q)
                for name, q in (("p50", 0.5), ("p95", 0.95))
            },
            "snapshots_saved_share": round(saved / max(1, saved + requested), 3),
            "rss_growth_mib": growth_mib,
            "events_per_s": round(sum(venue.events_sent for venue in venues) / self._seconds),
            "missed_by_kind": {name: venue.missed_kinds for name, venue in report.venues.items()},
            "open_reasons": dict(Counter(gap.reason[-80:] for gap in real if gap.gap_state is GapState.OPEN)),
        }


def missing_with_history(report: Report) -> int:
    """Events still missing of kinds that a venue's history can give again, however long a loss was."""
    missing = 0
    for name, venue in report.venues.items():
        feed = exchanges.load(name)
        lasting = {kind for kind, history in feed.history.items() if not history.newest_max}
        repairable = {channel.repair for channel in feed.channels} & lasting
        missing += sum(
            count for kind, count in venue.missed_kinds.items() if Kind[kind.upper()] in repairable
        )
    return missing
