"""What ``etl bench chaos`` does, each by itself; the proxy stands between a real client and a real echo server."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from etl.bench.toxics.clock import Clock
from etl.bench.toxics.disk import Disk, mounted
from etl.bench.toxics.plan import CLOCK, DISK, STOP, plan
from etl.bench.toxics.proxy import CUT, DELAY, HALF_OPEN, KINDS, THROTTLE, Proxy, Toxic
from etl.embedded.ports import free_ports

CLIENTS, SERVERS = "127.0.0.1", "127.0.0.2"
QUICK_S = 0.15
NETWORKS = ("kafka", "clickhouse", "timescale", "binance")
PARTS = (*NETWORKS[:3], "simulate-binance", "stream-binance", "sink-clickhouse")
CLOCKS = PARTS[-2:]


def in_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(1 << 20):
            writer.write(chunk)
            await writer.drain()
        writer.close()
    except ConnectionError:
        writer.transport.abort()


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Proxy, int]]:
    (port,) = free_ports(1, SERVERS)
    server = await asyncio.start_server(echo, SERVERS, port)
    async with server, Proxy(CLIENTS, port, SERVERS) as proxy:
        yield proxy, port


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> Client:
        return cls(*await asyncio.open_connection(CLIENTS, port))

    async def ask(self, payload: bytes) -> bytes:
        self.writer.write(payload)
        await self.writer.drain()
        return await self.reader.readexactly(len(payload))

    def close(self) -> None:
        self.writer.transport.abort()


@in_a_loop
async def test_without_a_toxic_every_byte_passes_and_an_end_of_one_side_is_passed_on() -> None:
    async with proxied() as (_, port):
        client = await Client.connect(port)
        payload = bytes(range(256)) * 4096
        assert await client.ask(payload) == payload
        client.writer.write_eof()
        assert await client.reader.read() == b""
        client.close()


@in_a_loop
async def test_delay_lets_bytes_wait_in_both_directions_and_none_is_lost() -> None:
    async with proxied() as (proxy, port):
        client = await Client.connect(port)
        async with proxy.poisoned(Toxic(DELAY, 0.1)):
            began = time.monotonic()
            assert await client.ask(b"one") == b"one"
            assert time.monotonic() - began >= 0.2
        began = time.monotonic()
        assert await client.ask(b"two") == b"two"
        assert time.monotonic() - began < 0.1
        client.close()


@in_a_loop
async def test_throttle_passes_so_many_bytes_a_second() -> None:
    async with proxied() as (proxy, port):
        client = await Client.connect(port)
        payload = b"x" * 30_000
        began = time.monotonic()
        async with proxy.poisoned(Toxic(THROTTLE, 100_000)):
            assert await client.ask(payload) == payload
        assert 0.3 <= time.monotonic() - began < 1.0
        client.close()


@in_a_loop
async def test_cut_resets_what_is_connected_and_what_connects_until_it_heals() -> None:
    async with proxied() as (proxy, port):
        client = await Client.connect(port)
        assert await client.ask(b"one") == b"one"
        async with proxy.poisoned(Toxic(CUT)):
            with pytest.raises(ConnectionResetError):
                await client.reader.readexactly(1)
            late = await Client.connect(port)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await late.ask(b"two")
        again = await Client.connect(port)
        assert await again.ask(b"three") == b"three"
        for each in (client, late, again):
            each.close()


@in_a_loop
async def test_half_open_keeps_both_sides_connected_and_deaf_and_resets_them_when_it_heals() -> None:
    async with proxied() as (proxy, port):
        client = await Client.connect(port)
        assert await client.ask(b"one") == b"one"
        async with proxy.poisoned(Toxic(HALF_OPEN)):
            late = await Client.connect(port)
            for each in (client, late):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(each.ask(b"two"), QUICK_S)
        for each in (client, late):
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await each.reader.readexactly(1)
        again = await Client.connect(port)
        assert await again.ask(b"three") == b"three"
        for each in (client, late, again):
            each.close()


@in_a_loop
async def test_a_client_hears_of_a_server_that_is_down() -> None:
    (port,) = free_ports(1, SERVERS)
    async with Proxy(CLIENTS, port, SERVERS):
        client = await Client.connect(port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await client.ask(b"one")
        client.close()


def test_a_full_disk_takes_no_byte_and_an_emptied_one_does(tmp_path: Path) -> None:
    async def run() -> None:
        with mounted(tmp_path / "disk", mib=2) as disk:
            if disk.why_not:
                pytest.skip(disk.why_not)
            async with disk.full() as why_not:
                assert why_not == ""
                with pytest.raises(OSError, match="No space left"):
                    (tmp_path / "disk" / "file").write_bytes(b"x")
            (tmp_path / "disk" / "file").write_bytes(b"x" * (1 << 20))
        assert list((tmp_path / "disk").iterdir()) == []

    asyncio.run(run())


def test_where_no_disk_may_be_mounted_none_is_filled_and_the_reason_is_given(tmp_path: Path) -> None:
    async def run() -> str:
        async with Disk(tmp_path, "only root may").full() as why_not:
            return why_not

    assert asyncio.run(run()) == "only root may"
    assert list(tmp_path.iterdir()) == []


def test_an_injected_clock_steps_and_comes_back_and_the_monotonic_one_goes_on(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    code = (
        "import sys, time; from pathlib import Path; from etl.bench.toxics.clock import inject\n"
        "inject(Path(sys.argv[1])); began = time.monotonic()\n"
        "for _ in sys.stdin: print(time.time_ns(), time.time(), time.monotonic() - began, flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "clock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        asked, answers = process.stdin, process.stdout
        assert asked is not None
        assert answers is not None

        def distance_s() -> int:
            asked.write("\n")
            ns, seconds, monotonic_s = answers.readline().split()
            assert abs(int(ns) * 1e-9 - float(seconds)) < 1.0
            assert 0.0 <= float(monotonic_s) < 60.0
            return round(float(seconds) - time.time())

        async def run() -> list[int]:
            async with clock.stepped(-3_600.0):
                there = distance_s()
            return [there, distance_s()]

        assert distance_s() == 0
        assert asyncio.run(run()) == [-3_600, 0]
        asked.close()


def test_a_seed_decides_the_plan_and_its_acts_end_in_time_and_never_meet_in_one_place() -> None:
    words = (NETWORKS, PARTS, CLOCKS)
    acts = plan(7, 600.0, *words)
    assert acts == plan(7, 600.0, *words)
    assert acts != plan(8, 600.0, *words)
    assert {act.kind for act in acts} == {DELAY, CUT, HALF_OPEN, THROTTLE, STOP, CLOCK, DISK}
    assert {act.target for act in acts if act.kind == STOP} == set(PARTS)
    assert all(act.at_s + act.for_s <= 600.01 for act in acts)
    assert max(act.for_s for act in acts if act.kind == STOP) <= 60.0
    places: dict[tuple[str, str], float] = {}
    for act in acts:
        place = "network" if act.kind in KINDS else act.kind, act.target
        assert act.at_s >= places.get(place, 0.0) - 0.01
        places[place] = act.at_s + act.for_s


def test_a_minute_has_every_kind_of_act() -> None:
    acts = plan(1, 60.0, NETWORKS, PARTS, CLOCKS)
    assert {act.kind for act in acts} == {DELAY, CUT, HALF_OPEN, THROTTLE, STOP, CLOCK, DISK}
    assert max(act.for_s for act in acts) <= 15.0
