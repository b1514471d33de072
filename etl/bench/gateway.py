"""``etl bench gateway``: what the gateway adds between the topic and its clients, and what it takes for it.

Starts Kafka and the gateway on free ports. Trades of ``clients`` symbols are published at a fixed rate, each with the
moment of its publishing; every client wants one symbol, as JSON. ``topic_ms`` is from there to a plain consumer of the
topic in this process, ``client_ms`` to a client in it, so that their difference is what the gateway adds. Every client
counts what it gets: ``lost`` and ``doubled``. Then so many ``idle`` clients subscribe to what never comes, and one
client is told all of it again as fast as it takes it, as Protobuf. At last a client asks for a day of ``range_rows``
trades that lie in the lake. ``--kills`` is another run: gateway_kills.py.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import psutil
import typer
from msgspec import structs

from etl.bench.gateway_kills import KillRun
from etl.bench.gateway_load import TICK_S, Load
from etl.bench.gateway_ranges import fill_lake, read_day
from etl.bench.report import percentiles, print_result, say
from etl.bench.rig import READY_WITHIN_S, free_settings
from etl.client import Client
from etl.embedded.part import Part
from etl.embedded.supervisor import Supervisor
from etl.gateway.server import address_of
from etl.gateway.tokens import Tokens
from etl.settings import Settings, changed
from etl.transports.transport import transport_of
from etl.up.plan import child_environment, parts
from etl.wire.glance import glance

app = typer.Typer()

WARM_UP_S = 3.0
LAST_WITHIN_S = 15.0
"""For what is still under way when the last record was published."""
NEEDED = ("kafka", "topics", "gateway")
MIB = 1 << 20


@app.command()
def main(
    as_json: Annotated[bool, typer.Option("--json")] = False,
    seconds: Annotated[float, typer.Option(min=1, help="Measured; a warm-up comes before.")] = 20.0,
    rate: Annotated[float, typer.Option(min=100, help="Records a second, of all symbols.")] = 10_000.0,
    clients: Annotated[int, typer.Option(min=1)] = 100,
    idle: Annotated[int, typer.Option(min=0, help="Clients that get nothing")] = 1_000,
    partitions: Annotated[int, typer.Option(min=1, help="ETL_TOPIC_PARTITIONS")] = 1,
    range_rows: Annotated[int, typer.Option(min=0, help="Of the day in the lake; 0 = none")] = 10_000_000,
    kills: Annotated[int, typer.Option(min=0, help="Only kill the gateway so often, under load")] = 0,
) -> None:
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        settings = changed(free_settings(Path(folder), "binance", rate), topic_partitions=partitions)
        if kills:
            result = asyncio.run(_killed(settings, kills, rate))
        else:
            result = asyncio.run(GatewayRun(settings, rate, clients, seconds, idle, range_rows).result())
    print_result("gateway", result, as_json)


async def _killed(settings: Settings, kills: int, rate: float) -> dict[str, Any]:
    async with _served(settings, "topics") as supervisor:
        await supervisor.ready("topics")
        return {"kills": await KillRun(settings, kills, rate).result()}


def _served(settings: Settings, last: str) -> Supervisor:
    """What is ``NEEDED``, up to ``last``."""
    names = NEEDED[: NEEDED.index(last) + 1]
    planned = [_alone(part) for part in parts(settings, False, with_gateway=True) if part.name in names]
    return Supervisor(planned, child_environment(settings), settings.state_path, settings.bind_host)


class GatewayRun:
    def __init__(
        self, settings: Settings, rate: float, clients: int, seconds: float, idle: int, range_rows: int
    ) -> None:
        self._settings = settings
        self._rate = rate
        self._clients = clients
        self._seconds = seconds
        self._idle = idle
        self._range_rows = range_rows
        self._measures = False
        self._delays_ms: list[float] = []
        self._numbers: list[list[int]] = [[] for _ in range(clients)]

    async def result(self) -> dict[str, Any]:
        async with _served(self._settings, "gateway") as supervisor:
            async with asyncio.timeout(READY_WITHIN_S):
                await supervisor.ready("gateway")
            gateway = psutil.Process(supervisor.states["gateway"].pid or 0)
            token = Tokens(self._settings).create(
                "bench", time.time_ns(), streams_max=self._clients + self._idle + 1
            )
            headers = {"Authorization": f"Bearer {token}"}
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
                live = await self._live(session, gateway)
                say(f"live: {live}")
                idle = await self._idle_memory(session, gateway)
            replay = await self._replay(token, gateway)
            say(f"replay: {replay}")
            day = await asyncio.to_thread(self._day, token, gateway) if self._range_rows else {}
        return {"live": live, "idle": idle, "replay": replay, "day": day}

    def _day(self, token: str, gateway: psutil.Process) -> dict[str, Any]:
        fill_lake(self._settings, self._range_rows)
        return read_day(self._settings, token, gateway, self._range_rows)

    async def _live(self, session: aiohttp.ClientSession, gateway: psutil.Process) -> dict[str, Any]:
        listening = [asyncio.create_task(self._listen(session, number)) for number in range(self._clients)]
        load = Load(self._settings, self._rate, self._clients)
        follower = _Follower(self._settings)
        follower.start()
        await asyncio.sleep(1.0)
        load.start()
        await asyncio.sleep(WARM_UP_S)
        before, self._measures, follower.measures = _cpu_s(gateway), True, True
        await asyncio.sleep(self._seconds)
        self._measures = follower.measures = False
        taken = _cpu_s(gateway) - before
        sent = await asyncio.to_thread(load.stop)
        deadline = time.monotonic() + LAST_WITHIN_S
        while sum(map(len, self._numbers)) < sent and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(TICK_S)
        await asyncio.to_thread(follower.stop)
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        lost = sent - sum(len(set(numbers)) for numbers in self._numbers)
        doubled = sum(len(numbers) - len(set(numbers)) for numbers in self._numbers)
        in_order = all(numbers == sorted(numbers) for numbers in self._numbers)
        client, topic = percentiles(self._delays_ms), percentiles(follower.delays_ms)
        return {
            "offered_per_s": self._rate,
            "sent": sent,
            "client_ms": client,
            "topic_ms": topic,
            "added_ms": {name: round(client[name] - topic[name], 3) for name in client},
            "lost": lost,
            "doubled": doubled,
            "in_order": in_order,
            "gateway_cores": round(taken / self._seconds, 3),
            "gateway_mib": round(gateway.memory_info().rss / MIB, 1),
        }

    async def _listen(self, session: aiohttp.ClientSession, number: int) -> None:
        numbers = self._numbers[number]
        async with session.ws_connect(f"{address_of(self._settings)}/v1/stream", compress=0) as socket:
            await socket.send_json({"op": "subscribe", "symbol": f"S{number}", "kind": "trade"})
            async for message in socket:
                now_ns = time.time_ns()
                told = json.loads(message.data)
                if told["type"] != "records":
                    continue
                for record in told["records"]:
                    numbers.append(record["sequence"])
                    if self._measures:
                        self._delays_ms.append((now_ns - record["receive_time_ns"]) / 1e6)

    async def _idle_memory(self, session: aiohttp.ClientSession, gateway: psutil.Process) -> dict[str, Any]:
        before = gateway.memory_info().rss
        sockets = []
        for number in range(self._idle):
            socket = await session.ws_connect(f"{address_of(self._settings)}/v1/stream", compress=0)
            await socket.send_json({"op": "subscribe", "symbol": f"none-{number}"})
            await socket.receive()
            sockets.append(socket)
        added = gateway.memory_info().rss - before
        for socket in sockets:
            await socket.close()
        return {"clients": self._idle, "added_mib": round(added / MIB, 1)}

    async def _replay(self, token: str, gateway: psutil.Process) -> dict[str, Any]:
        """All that was sent, to one client."""
        count, began, before = 0, time.perf_counter(), _cpu_s(gateway)
        ends = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        with Client(address_of(self._settings), token) as client:
            async for delivery in client.stream(start="2000-01-01", end=ends).batches():
                count += len(delivery.records)
        seconds = time.perf_counter() - began
        taken_us = (_cpu_s(gateway) - before) / count * 1e6
        return {
            "records": count,
            "seconds": round(seconds, 2),
            "per_s": round(count / seconds),
            "gateway_us_per_record": round(taken_us, 2),
        }


class _Follower:
    """A plain consumer of the topic: what records take without a gateway."""

    def __init__(self, settings: Settings) -> None:
        self.measures = False
        self.delays_ms: list[float] = []
        topic = settings.topics.normalized
        with transport_of(settings).reader(topic, "etl-bench") as reader:
            starts = {partition: bounds.high for partition, bounds in reader.bounds().items()}
        self._follower = transport_of(settings).follower(topic, "etl-bench", starts)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            messages = self._follower.poll(5_000, 0.1)
            now_ns = time.time_ns()
            if self.measures:
                received = [glance(message.value or b"").receive_time_ns for message in messages]
                self.delays_ms.extend((now_ns - each) / 1e6 for each in received)
        self._follower.close()


def _alone(part: Part) -> Part:
    """Without the stores, which nothing here asks."""
    return structs.replace(part, depends_on=tuple(name for name in part.depends_on if name in NEEDED))


def _cpu_s(process: psutil.Process) -> float:
    times: Sequence[float] = process.cpu_times()
    return times[0] + times[1]
