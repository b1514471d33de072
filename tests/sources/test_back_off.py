"""What a stream does with a venue that opens connections and does not serve them, or does not open them at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from etl.adapter.back_off import ASKED_WAIT_MAX_S
from etl.adapter.contract import Budget
from etl.adapter.faults import VENUE_WAIT_S, Tier
from etl.exchanges import load
from etl.exchanges.binance import Binance
from etl.model.times import NS_PER_S
from etl.settings import changed, make
from etl.sources import stream
from etl.sources.access import VenueAccess
from etl.sources.limiter import Limiter
from tests.support.streaming import WITHIN_S, Run, against_a_server, running
from tests.support.venue_server import VenueServer, trade

NO_HEADERS = ""


@asynccontextmanager
async def refusing(status: str, headers: str = NO_HEADERS) -> AsyncIterator[tuple[Run, list[float]]]:
    """A stream whose venue answers each handshake with ``status``; when they came."""
    came: list[float] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        came.append(time.monotonic())
        writer.write(f"HTTP/1.1 {status}\r\n{headers}Content-Length: 2\r\n\r\nno".encode())
        writer.close()

    venue = VenueServer()
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        venue.port = server.sockets[0].getsockname()[1]
        run = Run(venue, Binance)
        task = asyncio.create_task(run.stream.run())
        try:
            yield run, came
        finally:
            run.stop.set()
            await asyncio.wait_for(task, WITHIN_S)


@pytest.mark.parametrize(
    ("status", "headers", "fault", "retry_after_s"),
    [
        ("429 Too Many Requests", "Retry-After: 90\r\n", "rate_limit", 90.0),
        ("418 I'm a teapot", "Retry-After: 300\r\n", "banned", 300.0),
        ("429 Too Many Requests", "Retry-After: 99999999999\r\n", "rate_limit", ASKED_WAIT_MAX_S),
        ("401 Unauthorized", NO_HEADERS, "authentication", 0.0),
        ("403 Forbidden", NO_HEADERS, "banned", 0.0),
        ("451 Unavailable For Legal Reasons", NO_HEADERS, "entitlement", 0.0),
    ],
)
def test_a_refused_handshake_is_a_fault_that_pages_once_and_waits(
    status: str, headers: str, fault: str, retry_after_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    async def go() -> None:
        async with refusing(status, headers) as (run, came):
            await run.until(lambda: len(run.ends) == 1)
            await asyncio.sleep(1.5)
            assert len(came) == 1, "trying again changes nothing"
            (end,) = run.ends
            assert (end.reason, end.detail[:5]) == (fault, f"{status[:3]}: ")
            assert end.fault is not None
            assert end.fault.retry_after_s == retry_after_s
            assert run.feed.counts.faults == {fault: 1}

    asyncio.run(go())
    waits = [record.args[-1] for record in caplog.records if "again in" in record.msg]  # type: ignore[index]
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    assert waits == [max(retry_after_s, VENUE_WAIT_S)]


def test_a_venue_that_is_down_for_a_while_is_tried_again_soon() -> None:
    async def go() -> None:
        async with refusing("503 Service Unavailable") as (run, came):
            await run.until(lambda: len(came) >= 3)
            assert set(run.feed.counts.faults) == {"transient"}

    asyncio.run(go())


@against_a_server
async def test_a_venue_that_opens_and_closes_at_once_sees_few_connections(server: VenueServer) -> None:
    async with running(server, Binance) as run:
        until = time.monotonic() + 8.0
        while time.monotonic() < until:
            if server.connections:
                await asyncio.to_thread(server.close)
            await asyncio.sleep(0.02)
        assert 2 < server.opened < 20
        assert run.stream._failures.of(Tier.NETWORK) == len(run.ends)


@against_a_server
async def test_a_connection_that_delivered_for_a_while_was_a_success_and_one_event_is_none(
    server: VenueServer,
) -> None:
    async with running(server, Binance) as run:
        for _ in range(3):
            run.stream._failures.add(None, 0.0)
        await asyncio.to_thread(server.send, trade(1))
        await asyncio.to_thread(server.close)
        await run.until(lambda: len(run.ends) == 1)
        await run.until(lambda: run.stream._failures.of(Tier.NETWORK) == 4)
        await run.until(lambda: server.opened == 2)
        await asyncio.to_thread(server.send, trade(2))
        await asyncio.sleep(stream.DELIVERED_S + 1.0)
        await asyncio.to_thread(server.close)
        await run.until(lambda: run.stream._failures.of(Tier.NETWORK) == 1)
        assert run.ends[1].delivered_s >= stream.DELIVERED_S


def test_connections_of_all_processes_share_what_the_venue_opens_to_an_address(tmp_path: Path) -> None:
    limits = (Budget(2, 4.0),)
    assert Limiter(tmp_path / "connects", limits).take(1) == 0  # another process

    @against_a_server
    async def go(server: VenueServer) -> None:
        began = time.monotonic()
        async with running(server, Binance, connects=Limiter(tmp_path / "connects", limits)) as run:
            await run.until(lambda: server.opened == 1)
            assert time.monotonic() - began > 3.5

    go()


def test_binance_opens_300_connections_in_any_5_minutes(tmp_path: Path) -> None:
    settings = make(state_dir=str(tmp_path))
    for feed in ("binance", "binance_usdm", "binance_us"):
        access = VenueAccess.from_settings(changed(settings, venues=feed), load(feed))
        assert access.connects is not None
        assert load(feed).connect_budgets == (Budget(300, 300.0),)
    now_ns, opened = 0, list[int]()
    clocked = Limiter(tmp_path / "connects", Binance.connect_budgets, lambda: now_ns)
    while now_ns < 900 * NS_PER_S:
        wait_ns = clocked.take(1)
        now_ns += wait_ns
        opened += [] if wait_ns else [now_ns]
    pairs = zip(opened, opened[300:], strict=False)
    assert all(later - earlier >= 300 * NS_PER_S for earlier, later in pairs)
