"""One run of the platform: bring up, watch, and, if it has a duration, close and reconcile."""

from __future__ import annotations

import asyncio
import io
import signal
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from msgspec import Struct
from rich.console import Console
from rich.live import Live
from rich.table import Table

from etl.embedded import airflow
from etl.embedded.airflow_template import ROLE_BY_USER
from etl.embedded.ports import require_free
from etl.embedded.supervisor import Supervisor
from etl.errors import PartError
from etl.exchanges import has_stream
from etl.gateway.server import address_of, require_safe
from etl.gateway.tokens import own_token
from etl.model.addresses import shown
from etl.monitoring import processes, terminal
from etl.monitoring.parts import PartMetrics
from etl.settings import Settings
from etl.telemetry.web_access import require_private
from etl.up import closing
from etl.up.plan import child_environment, parts
from etl.up.recorded import subscribed

LIVE_EVERY_S = 1.0
LINE_EVERY_S = 5.0
ADDRESSES_WIDTH = 400
STREAMING_POLL_S = 0.2
STREAMING_WITHIN_S = 120.0
RECONCILE_WITHIN_S = 1_800.0


class RunOptions(Struct, frozen=True, kw_only=True):
    """``duration_s`` counts from when all venues stream; 0 = until stopped."""

    with_airflow: bool = True
    with_gateway: bool = True
    duration_s: float = 0.0
    report: Path | None = None


async def run(settings: Settings, options: RunOptions, console: Console) -> int:
    """The exit code: 0, or 1 if a reconciliation was not ok, or 130 if a duration was cut short.

    Raises ``EtlError``. Nothing that was started here runs any more afterwards.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    planned = subscribed(
        settings,
        parts(
            settings,
            options.with_airflow,
            with_schedule=not options.with_airflow,
            with_gateway=options.with_gateway,
        ),
    )
    require_private("etl up", settings)
    if options.with_gateway:
        require_safe(settings)
    settings.state_path.mkdir(parents=True, exist_ok=True)
    settings.state_path.chmod(0o700)  # also where an earlier version made it
    require_free("etl up", settings.bind_host, settings.metrics.port, "metrics_port")
    console.print(f"state and logs in {settings.state_path}", highlight=False, soft_wrap=True)
    async with Supervisor(
        planned, child_environment(settings), settings.state_path, settings.bind_host
    ) as supervisor:
        metrics = PartMetrics(supervisor.states).serve(settings)
        session = _Session(settings, options, console, supervisor)
        try:
            return await _first_of(session.run(), _stopped(stop, options), supervisor.failed())
        finally:
            console.print("stopping")
            await asyncio.to_thread(metrics.shutdown)


async def _stopped(stop: asyncio.Event, options: RunOptions) -> int:
    await stop.wait()
    return 130 if options.duration_s else 0


async def _first_of(*works: Coroutine[Any, Any, int]) -> int:
    """The result of the first to end; the others are cancelled and awaited."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Session:
    """What happens while the parts run."""

    def __init__(
        self, settings: Settings, options: RunOptions, console: Console, supervisor: Supervisor
    ) -> None:
        self._settings = settings
        self._options = options
        self._console = console
        self._supervisor = supervisor
        self._workers = [f"stream-{venue}" for venue in settings.venues.names if has_stream(venue)]
        self._began = time.monotonic()

    async def run(self) -> int:
        announcing = [asyncio.create_task(self._announce(name)) for name in self._supervisor.states]
        try:
            async with self._watched():
                if not self._options.duration_s:
                    await self._supervisor.all_ready()
                    self._say_addresses()
                    await asyncio.Event().wait()
                seconds = await self._stream_for_duration()
                await self._close()
            return await self._reconcile(seconds)
        finally:
            for task in announcing:
                task.cancel()

    async def _announce(self, name: str) -> None:
        with suppress(PartError):
            await self._supervisor.ready(name)
            self._say(f"{name} {self._supervisor.states[name].state}")

    async def _stream_for_duration(self) -> float:
        """Seconds for which all venues streamed."""
        await self._supervisor.ready(*self._workers)
        await self._all_streaming()
        began = time.monotonic()
        self._say("all venues stream")
        await asyncio.sleep(self._options.duration_s)
        await self._supervisor.all_ready()
        self._say_addresses()
        return time.monotonic() - began

    async def _all_streaming(self) -> None:
        deadline = time.monotonic() + STREAMING_WITHIN_S
        while True:
            venues = (await self._snapshot()).venues
            waiting = [name for name, venue in venues.items() if venue.state != processes.STREAMING]
            if not waiting:
                return
            if time.monotonic() > deadline:
                logs = self._settings.state_path / "logs"
                raise PartError(f"{', '.join(waiting)}: nothing received yet; see {logs}/stream-*.log")
            await asyncio.sleep(STREAMING_POLL_S)

    async def _close(self) -> None:
        if self._settings.venues.live:
            await asyncio.gather(*map(self._supervisor.stop_part, self._workers))
            self._say("workers stopped")
        else:
            await closing.stop_venues(self._settings)
            self._say("venues stopped sending")
        await closing.caught_up(self._settings, self._supervisor.states.values)
        self._say("workers and sink have caught up")
        if self._options.with_airflow:
            await closing.load_by_airflow(self._settings)
        else:
            await self._supervisor.stop_part("schedule")
            await closing.load_by_command(self._settings, child_environment(self._settings))
        self._say("all stores have caught up")
        # the stores are compared at rest: no scheduled run may write, or hold the one session of TimescaleDB
        running = [
            name for name in ("airflow-scheduler", "airflow-triggerer") if name in self._supervisor.states
        ]
        await asyncio.gather(*(self._supervisor.stop_part(name) for name in running))

    async def _reconcile(self, seconds: float) -> int:
        if self._settings.venues.live:
            return 0
        words = ["reconcile", "--duration", f"{seconds:.3f}"]
        if self._options.report is not None:
            words += ["--report", str(self._options.report.resolve())]
        return await closing.run_command(words, child_environment(self._settings), RECONCILE_WITHIN_S)

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        watching = asyncio.create_task(
            self._watch_live() if self._console.is_terminal else self._watch_lines()
        )
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _watch_live(self) -> None:
        before = await self._snapshot()
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                await asyncio.sleep(LIVE_EVERY_S)
                now = await self._snapshot()
                live.update(
                    terminal.tables(self._supervisor.states.values(), processes.between(before, now)),
                    refresh=True,
                )
                before = now

    async def _watch_lines(self) -> None:
        before = await self._snapshot()
        while True:
            await asyncio.sleep(LINE_EVERY_S)
            now = await self._snapshot()
            self._say(terminal.line(self._supervisor.states.values(), processes.between(before, now)))
            before = now

    async def _snapshot(self) -> processes.Snapshot:
        return await asyncio.to_thread(
            processes.take, list(self._supervisor.states.values()), self._settings.bind_host
        )

    def _say(self, text: str) -> None:
        self._console.print(
            f"{time.monotonic() - self._began:6.1f} s  {text}", highlight=False, soft_wrap=True
        )

    def _say_addresses(self) -> None:
        """Whole, however narrow the terminal is: a table would cut passwords and tokens."""
        wide = Console(file=io.StringIO(), width=ADDRESSES_WIDTH)
        with wide.capture() as captured:
            wide.print(self._addresses())
        for line in captured.get().splitlines():
            self._console.print(line.rstrip(), highlight=False, soft_wrap=True, markup=False)

    def _addresses(self) -> Table:
        settings = self._settings
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        if self._options.with_airflow:
            table.add_row("Airflow", airflow.url(settings), "")
            if not settings.airflow.url:
                for user, password in airflow.credentials(settings).passwords.items():
                    table.add_row("", f"{user} / {password}", ROLE_BY_USER[user])
        # the embedded one's password is made here, so it is told here
        clickhouse = (
            shown(settings.clickhouse.url) if settings.clickhouse.url else settings.clickhouse_address
        )
        if settings.keeps("clickhouse"):
            table.add_row("ClickHouse", clickhouse, "HTTP interface")
        if settings.keeps("timescale"):
            table.add_row("TimescaleDB", shown(settings.timescale_address), "")
            if not settings.timescale.url:
                table.add_row("", settings.timescale_analyst_address, "for analysts, who may only read")
        transport = settings.transport
        place = (
            ("Redis", shown(settings.redis_address))
            if transport.over_redis
            else ("Kafka", settings.kafka_bootstrap)
        )
        table.add_row(*place, settings.topics.normalized)
        if self._options.with_gateway:
            table.add_row("Gateway", address_of(settings), "docs/gateway.md")
            table.add_row("", own_token(settings, time.time_ns()), "its token")
        if settings.keeps("lake"):
            table.add_row("Parquet", shown(settings.lake_path), "")
        if not settings.mail.url:
            table.add_row("Mailbox", f"http://{settings.bind_host}:{settings.mail.mailbox_port}", "")
        return table
