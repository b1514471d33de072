"""``etl bench transport``: Kafka and Redis, each on a server of its own, with the messages of the recorded mix.

    append      messages a second and CPU of client and server: raw and normalized messages, as a worker publishes them
    alone       one message, published and waited for: from the call to its acknowledgement
    read        the same messages read as a range
    worker      a whole worker at a fixed rate: receipt to acknowledgement, and its CPU

The two take turns, ``repeats`` times; of what is measured several times the median stands. A message counts once the
server has it on its disk: Redis with ``appendfsync always``, Kafka as its one broker acknowledges.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from msgspec import Struct, structs

from etl.bench.feed.frames import frames, recorded
from etl.bench.feed.paced import CHANNELS, SYMBOLS, paced_part
from etl.bench.latency import ACKS, PERCENTILES, gained
from etl.bench.report import percentiles, print_result, say
from etl.bench.rig import READY_WITHIN_S, all_connected, free_settings, samples_of
from etl.embedded.part import Part
from etl.embedded.sessions import cpu_s
from etl.embedded.supervisor import Supervisor
from etl.exchanges import load as load_exchange
from etl.ingest.feed import Feed
from etl.ingest.intake import open_intake
from etl.model.records import Source
from etl.monitoring import processes
from etl.settings import Settings, changed
from etl.simulator import recording
from etl.transports.memory import MemoryPublisher
from etl.transports.publisher import Publisher
from etl.transports.transport import transport_of
from etl.up.plan import BROKERS, child_environment, parts

app = typer.Typer()

TRANSPORTS = {"kafka": "", "redis": "redis"}
MIX_FRAMES = 5_000
BATCH = 100
"""Published between two polls: as many as a busy socket read brings."""
FLUSH_S = 120.0
ROOM_POLL_S = 0.0001
WARM_UP_S = 5.0
REDIS_MEMORY_MIB = 4_096


class Sent(Struct, frozen=True):
    topic: str
    key: bytes
    value: bytes
    headers: Mapping[str, bytes]


@app.command()
def main(
    as_json: Annotated[bool, typer.Option("--json")] = False,
    messages: Annotated[int, typer.Option(min=1_000, help="Appended in each run.")] = 1_000_000,
    alone: Annotated[int, typer.Option(min=10, help="Messages that are waited for one by one.")] = 2_000,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
    rate: Annotated[float, typer.Option(min=100.0, help="Of the worker, events a second.")] = 10_000.0,
    seconds: Annotated[float, typer.Option(min=1.0, help="Of each worker.")] = 60.0,
) -> None:
    result = asyncio.run(compared(messages, alone, repeats, rate, seconds))
    print_result("transport", result, as_json)


async def compared(messages: int, alone: int, repeats: int, rate: float, seconds: float) -> dict[str, Any]:
    """Raises ``EtlError``."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in TRANSPORTS}
    for number in range(repeats):
        for name, url in TRANSPORTS.items():
            with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
                one = await _published(_settings(Path(folder), url, rate), messages, alone)
            with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
                one |= await _worked(_settings(Path(folder), url, rate), rate, seconds)
            say(f"{name}, run {number + 1}: {one}")
            found[name].append(one)
    return {
        "messages": messages,
        "repeats": repeats,
        **{name: {key: median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()},
    }


def _settings(folder: Path, url: str, rate: float) -> Settings:
    return changed(
        free_settings(folder, "binance", rate),
        transport_url=url,
        stores="lake",
        topic_partitions=1,
        redis_memory_mib=REDIS_MEMORY_MIB,
    )


async def _published(settings: Settings, messages: int, alone: int) -> dict[str, Any]:
    """On a server that does nothing else."""
    planned = [part for part in parts(settings, False) if part.name in (*BROKERS, "topics")]
    mix = the_mix(settings)
    async with Supervisor(planned, child_environment(settings), settings.state_path) as supervisor:
        await asyncio.wait_for(supervisor.all_ready(), READY_WITHIN_S)
        server = next(state.pid for name, state in supervisor.states.items() if name in BROKERS)
        found = await asyncio.to_thread(_append, settings, mix, messages, server)
        found |= await asyncio.to_thread(_alone, settings, mix, alone)
        return found | await asyncio.to_thread(_read, settings, server)


def the_mix(settings: Settings) -> Sequence[Sent]:
    """What a worker publishes of the recorded frames, in its order."""
    path = recording.shipped("binance")
    assert path is not None
    publisher = MemoryPublisher(queue_messages_max=8 * MIX_FRAMES)
    exchange = load_exchange("binance")
    sent: list[Sent] = []
    intake = open_intake(
        Feed(settings, exchange, _Noted(publisher, sent)), exchange(), "bench", "ws", Source.STREAM
    )
    now_ns = time.time_ns()
    for payload in frames(recorded(path, CHANNELS.split(",")), MIX_FRAMES, now_ns // 1_000_000):
        for _ in intake.take(payload, now_ns, "ws"):
            pass
        publisher.poll()
    return [one for one in sent if one.topic in (settings.topics.raw, settings.topics.normalized)]


class _Noted:
    """A publisher that tells what it was given, in order of all topics."""

    def __init__(self, publisher: MemoryPublisher, sent: list[Sent]) -> None:
        self._publisher = publisher
        self._sent = sent
        self.poll, self.flush = publisher.poll, publisher.flush

    @property
    def pending_messages(self) -> int:
        return self._publisher.pending_messages

    @property
    def is_full(self) -> bool:
        return self._publisher.is_full

    def publish(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: Mapping[str, bytes] | None = None,
        acknowledged: Any = None,
    ) -> None:
        self._sent.append(Sent(topic, key, value, dict(headers or {})))
        self._publisher.publish(topic, key, value, headers, acknowledged)


def _append(settings: Settings, mix: Sequence[Sent], messages: int, server: int) -> dict[str, Any]:
    publisher = transport_of(settings).publisher()
    high = settings.ingest.read_pause_messages
    _publish(publisher, islice(cycle(mix), 10 * BATCH), high)  # connections, topics
    publisher.flush(FLUSH_S)
    began_s, own_s, its_s = time.perf_counter(), time.process_time(), cpu_s(server)
    _publish(publisher, islice(cycle(mix), messages), high)
    publisher.flush(FLUSH_S)
    took_s = time.perf_counter() - began_s
    return {
        "append_per_s": round(messages / took_s),
        "append_client_us": round((time.process_time() - own_s) / messages * 1e6, 3),
        "append_server_us": round((cpu_s(server) - its_s) / messages * 1e6, 3),
    }


def _publish(publisher: Publisher, sent: islice[Sent], high: int) -> None:
    while batch := list(islice(sent, BATCH)):
        for one in batch:
            publisher.publish(one.topic, one.key, one.value, one.headers)
        publisher.poll()
        while publisher.pending_messages >= high:  # as a worker, that reads no more until there is room
            publisher.poll()
            time.sleep(ROOM_POLL_S)


def _alone(settings: Settings, mix: Sequence[Sent], messages: int) -> dict[str, Any]:
    publisher = transport_of(changed(settings, producer_linger_ms=0)).publisher()
    took_ms = []
    for one in islice(cycle(mix), messages):
        began_s = time.perf_counter()
        publisher.publish(one.topic, one.key, one.value, one.headers)
        publisher.flush(FLUSH_S)
        took_ms.append((time.perf_counter() - began_s) * 1e3)
    found = percentiles(took_ms[messages // 10 :])
    return {"alone_p50_ms": found["p50"], "alone_p99_ms": found["p99"]}


def _read(settings: Settings, server: int) -> dict[str, Any]:
    own_s, its_s, began_s = time.process_time(), cpu_s(server), time.perf_counter()
    with transport_of(settings).reader(settings.topics.raw, "bench") as reader:
        count = sum(1 for _ in reader.read_all())
    took_s = time.perf_counter() - began_s
    return {
        "read_per_s": round(count / took_s),
        "read_client_us": round((time.process_time() - own_s) / count * 1e6, 3),
        "read_server_us": round((cpu_s(server) - its_s) / count * 1e6, 3),
    }


async def _worked(settings: Settings, rate: float, seconds: float) -> dict[str, Any]:
    """A whole worker, on a broker that has nothing yet."""
    wanted = (*BROKERS, "topics", "simulate-binance", "stream-binance")
    planned = [_adapted(settings, part, rate) for part in parts(settings, False) if part.name in wanted]
    async with Supervisor(planned, child_environment(settings), settings.state_path) as supervisor:
        await asyncio.wait_for(supervisor.all_ready(), READY_WITHIN_S)
        await all_connected(settings, supervisor)
        await asyncio.sleep(WARM_UP_S)
        pids = {name: state.pid for name, state in supervisor.states.items()}
        broker = next(pid for name, pid in pids.items() if name in BROKERS)
        before = await asyncio.to_thread(samples_of, settings.bind_host, supervisor)
        worker_s, broker_s, began_s = cpu_s(pids["stream-binance"]), cpu_s(broker), time.monotonic()
        await asyncio.sleep(seconds)
        now = await asyncio.to_thread(samples_of, settings.bind_host, supervisor)
        worker_s, broker_s = cpu_s(pids["stream-binance"]) - worker_s, cpu_s(broker) - broker_s
        events = processes.total(now, "etl_events_total") - processes.total(before, "etl_events_total")
        took_s = time.monotonic() - began_s
    acks = gained(before, now)
    return {
        "worker_events_per_s": round(events / took_s),
        "worker_cpu_s_per_million": round(worker_s / events * 1e6, 2),
        "worker_broker_cpu_s_per_million": round(broker_s / events * 1e6, 2),
        **{
            f"worker_ack_{name}_ms": round(1e3 * (processes.quantile(acks, ACKS, share) or 0.0), 2)
            for name, share in PERCENTILES
        },
    }


def _adapted(settings: Settings, part: Part, rate: float) -> Part:
    if part.name == "stream-binance":
        words = ("--symbols", ",".join(SYMBOLS), "--channels", CHANNELS)
        return structs.replace(part, command=(*part.command, *words))
    if part.name == "simulate-binance":
        port = settings.simulator_port_of("binance")
        return paced_part(part.name, settings.bind_host, port, SYMBOLS, rate)
    return part
