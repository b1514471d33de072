"""``etl bench ingest``: recorded Binance frames through a loopback websocket, a worker, and Kafka.

The worker is ``etl stream binance`` as it always runs: raw and normalized topics, validation, continuity, the book's
join. Its frames come ready-made from a file (``etl.bench.feed``), as fast as it takes them. Events are counted where
they arrive, on the topic; CPU is the worker's own, of every thread. Runs of the express and of the plain way
(``ETL_EXPRESS=off``) take turns, so that their ratio holds on a machine that others use too.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import psutil
import typer
from msgspec import Struct, structs

from etl import exchanges
from etl.bench.feed import frames
from etl.bench.feed.frames import Recorded
from etl.bench.peers import environment as peer_environment
from etl.bench.report import print_result, say, spread
from etl.bench.rig import paced
from etl.embedded.kafka import kafka_part
from etl.embedded.part import Part, tcp_ready
from etl.embedded.ports import free_ports
from etl.embedded.supervisor import Supervisor
from etl.errors import UsageError
from etl.ingest.feed import Feed
from etl.ingest.intake import open_intake
from etl.model.records import Frame, Source
from etl.sequencing.continuity import Continuity
from etl.settings import Settings, changed, make
from etl.simulator import recording
from etl.transports.memory import Nowhere
from etl.transports.ranges import RangeReader
from etl.transports.transport import transport_of
from etl.up.plan import child_environment
from etl.validation import Checker
from etl.wire.codec import encode

app = typer.Typer()

CHANNELS = ("trade", "bookTicker", "depth@100ms")
TOUCHED = ("trade", "bookTicker")
BOTH_WAYS = (True, False)
WARM_UP_SHARE = 0.2
"""Events before the clock starts, as a share of those measured."""
POLL_S = 0.02
RUN_WITHIN_S = 300.0
STAGE_FRAMES = 40_000
READ_FRAMES = 64
"""Of a socket read, where there is no socket."""
STAGE_REPEATS = 5
PEER_KAFKA_EVENTS = 20_000
"""Its own Kafka back-end waits for each acknowledgement."""
PEER_TOPIC = "trades-BINANCE-BTC-USDT"
PEER_ADAPTED = (
    "recorded trades rewritten as aggTrade frames",
    "websocket address, opened without TLS",
    "symbol list given, not fetched",
    "uvloop event loop set before its start",
)


class Measured(Struct):
    """One run."""

    events_per_s: float
    cpu_s_per_million: float
    rss_mib: float


@app.command()
def main(
    as_json: Annotated[bool, typer.Option("--json")] = False,
    peer: Annotated[str, typer.Option(help="cryptofeed: measure it too, in an environment of its own")] = "",
    recordings: Annotated[
        Path | None, typer.Option(help="Folder of recordings; default: the shipped session.")
    ] = None,
    events: Annotated[int, typer.Option(min=20_000, help="Of one run.")] = 600_000,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
) -> None:
    if peer not in ("", "cryptofeed"):
        raise UsageError(f"--peer {peer}: known is cryptofeed")
    path = recording.find(recordings, "binance") if recordings else recording.shipped("binance")
    if path is None:
        raise UsageError(f"no recording of binance in {recordings}")
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        bench = Bench(Path(folder), events, repeats)
        result = asyncio.run(bench.result(path, peer))
    print_result("ingest", result, as_json)


class Bench:
    """Runs one after the other, all on one Kafka broker. ``events``: measured in each run."""

    def __init__(self, folder: Path, events: int, repeats: int) -> None:
        self._folder = folder
        self._events = events
        self._repeats = repeats
        self._runs = 0
        kafka, controller = free_ports(2)
        self._settings = make(
            state_dir=str(folder), kafka_port=kafka, kafka_controller_port=controller, venues="binance"
        )

    async def result(self, path: Path, peer: str) -> dict[str, Any]:
        """Raises ``EtlError``."""
        interpreter = await asyncio.to_thread(peer_environment.made, "cryptofeed") if peer else None
        broker = kafka_part(self._settings)
        environment = child_environment(self._settings)
        async with Supervisor([broker], environment, self._settings.state_path) as supervisor:
            await supervisor.all_ready()
            mix = frames.recorded(path, CHANNELS)
            whole, whole_plain = await self._repeated("as recorded", mix, CHANNELS, BOTH_WAYS)
            touched, touched_plain = await self._repeated(
                "trades and quotes", frames.recorded(path, TOUCHED), TOUCHED, BOTH_WAYS
            )
            peers: dict[str, Any] = {"peer": None, "peer_ratio": None}
            if interpreter:
                peers = await self._beside(path, interpreter)
        return {
            "events_per_run": self._events,
            "runs": self._repeats,
            "events_per_s": round(median(run.events_per_s for run in whole)),
            "cpu_s_per_million": round(median(run.cpu_s_per_million for run in whole), 2),
            "rss_mib": round(max(run.rss_mib for run in whole), 1),
            "spread": _spread(whole),
            "plain": _beside_plain(whole, whole_plain),
            "trades_and_quotes": {**_spread(touched), "plain": _beside_plain(touched, touched_plain)},
            "stages_us": stages_us(mix),
            **peers,
        }

    async def _repeated(
        self, name: str, mix: Recorded, channels: tuple[str, ...], ways: Sequence[bool] = (True,)
    ) -> tuple[list[Measured], ...]:
        """The runs of each way, which take turns; ``ways`` says whether it is the express one."""
        feed = await asyncio.to_thread(self._write, mix, self._events)
        measured: tuple[list[Measured], ...] = tuple([] for _ in ways)
        for _ in range(self._repeats):
            for is_express, runs in zip(ways, measured, strict=True):
                runs.append(await self._worker(feed, channels, is_express))
                way = "express" if is_express else "plain"
                pace = f"{runs[-1].events_per_s:,.0f}/s, {runs[-1].cpu_s_per_million:.2f} CPU s per million"
                say(f"{name}, {way}: {pace}")
        return measured

    async def _beside(self, path: Path, interpreter: str) -> dict[str, Any]:
        """Us and the peer on the same aggregate trades."""
        aggregates = frames.as_aggregates(path)
        (ours,) = await self._repeated("aggregates", aggregates, ("aggTrade",))
        feed = await asyncio.to_thread(self._write, aggregates, PEER_KAFKA_EVENTS)
        theirs: dict[str, list[Measured]] = {"kafka": [], "nothing": []}
        for _ in range(self._repeats):
            theirs["kafka"].append(await self._peer_with_kafka(feed, interpreter))
            say(f"cryptofeed into Kafka: {theirs['kafka'][-1].events_per_s:,.0f}/s")
        feed = await asyncio.to_thread(self._write, aggregates, self._events)
        for _ in range(self._repeats):
            theirs["nothing"].append(await self._peer_into_nothing(feed, interpreter))
            say(f"cryptofeed into nothing: {theirs['nothing'][-1].events_per_s:,.0f}/s")
        rate = {name: median(run.events_per_s for run in runs) for name, runs in theirs.items()}
        own = median(run.events_per_s for run in ours)
        return {
            "peer": {
                "name": f"cryptofeed {peer_environment.VERSIONS['cryptofeed']}",
                "ours": _spread(ours),
                "kafka": _spread(theirs["kafka"]),
                "no_op": _spread(theirs["nothing"]),
                "ratio_to_no_op": round(own / rate["nothing"], 2),
                "adapted": PEER_ADAPTED,
            },
            "peer_ratio": round(own / rate["kafka"], 1),
        }

    def _write(self, mix: Recorded, events: int) -> Part:
        """The part that serves ``mix``, long enough for a warm-up and ``events``."""
        path = self._folder / "frames.bin"
        total = round(events * (1 + WARM_UP_SHARE))
        frames.write(path, frames.frames(mix, total, time.time_ns() // 1_000_000))
        words = ["--frames", str(path)]
        if mix.snapshot:
            book = self._folder / "book.json"
            book.write_text(mix.snapshot)
            words += ["--snapshot", str(book)]
        return Part(name="feed", command=(sys.executable, "-m", "etl.bench.feed", *words))

    async def _worker(self, feed: Part, channels: tuple[str, ...], is_express: bool) -> Measured:
        settings = changed(self._of_run(), express=is_express)
        await asyncio.to_thread(transport_of(settings).ensure_topics)
        words = ("stream", "binance", "--symbols", "BTCUSDT", "--channels", ",".join(channels))
        worker = Part(name="stream", command=(sys.executable, "-m", "etl", *words), stop_within_s=20.0)
        async with self._running(settings, feed, worker) as supervisor:
            with transport_of(settings).reader(settings.topics.normalized, "bench") as reader:
                return await self._measure(supervisor, lambda: _arrived(reader), self._events)

    async def _peer_with_kafka(self, feed: Part, interpreter: str) -> Measured:
        settings = changed(self._of_run(), normalized_topic=PEER_TOPIC)
        await asyncio.to_thread(transport_of(settings).ensure_topics)
        with transport_of(settings).reader(PEER_TOPIC, "bench") as reader:
            before = await asyncio.to_thread(_arrived, reader)
            async with self._running(settings, feed, _peer(interpreter, settings, "kafka")) as supervisor:
                return await self._measure(supervisor, lambda: _arrived(reader) - before, PEER_KAFKA_EVENTS)

    async def _peer_into_nothing(self, feed: Part, interpreter: str) -> Measured:
        settings = self._of_run()
        async with self._running(settings, feed, _peer(interpreter, settings, "nothing")) as supervisor:
            log = settings.state_path / "logs" / "stream.log"
            return await self._measure(supervisor, lambda: _last_number(log), self._events)

    def _of_run(self) -> Settings:
        """Topics, ports and a folder of its own."""
        self._runs += 1
        return changed(
            self._settings,
            state_dir=str(self._folder / str(self._runs)),
            kafka_url=self._settings.kafka_bootstrap,
            raw_topic=f"raw-{self._runs}",
            normalized_topic=f"normalized-{self._runs}",
            simulator_port=free_ports(1)[0],
            metrics_port=0,
        )

    @asynccontextmanager
    async def _running(self, settings: Settings, feed: Part, reader: Part) -> AsyncIterator[Supervisor]:
        port = settings.simulator.port
        serving = structs.replace(
            feed,
            command=(*feed.command, "--port", str(port)),
            ready=tcp_ready(settings.bind_host, port),
            ports={"simulator_port": port},
        )
        reading = structs.replace(reader, depends_on=("feed",))
        environment = child_environment(settings)
        async with Supervisor([serving, reading], environment, settings.state_path) as supervisor:
            await supervisor.all_ready()
            yield supervisor

    async def _measure(self, supervisor: Supervisor, arrived: Callable[[], int], events: int) -> Measured:
        """From the end of the warm-up to the last event. Raises ``EtlError``."""
        warm = round(events * WARM_UP_SHARE)
        pace = await paced(supervisor, "stream", arrived, warm, warm + events, RUN_WITHIN_S, POLL_S)
        pid = supervisor.states["stream"].pid
        return Measured(pace.events_per_s, pace.cpu_us_per_event, _rss_mib(pid))  # µs an event: s a million


def stages_us(mix: Recorded) -> dict[str, float]:
    """Microseconds a frame of what a worker does with it in Python, each stage timed alone, least of several."""
    return Stages(mix).times_us()


class Stages:
    """The worker's own steps on the frames of ``mix``, without socket and broker."""

    def __init__(self, mix: Recorded) -> None:
        start_ms = time.time_ns() // 1_000_000
        self._payloads = list(frames.frames(mix, STAGE_FRAMES, start_ms))
        self._settings = make(venues="binance")
        self._exchange = exchanges.load("binance")

    def times_us(self) -> dict[str, float]:
        timed: dict[str, list[float]] = {}
        for _ in range(STAGE_REPEATS):
            for name, seconds in self._once():
                timed.setdefault(name, []).append(seconds)
        return {name: round(min(each) / STAGE_FRAMES * 1e6, 2) for name, each in timed.items()}

    def _once(self) -> Iterator[tuple[str, float]]:
        now_ns = time.time_ns()
        parser = self._exchange()
        framed = [
            Frame("binance", "c", number, "wss://stream", now_ns, payload, Source.STREAM)
            for number, payload in enumerate(self._payloads, 1)
        ]
        began = time.process_time()
        records: list[Any] = [outcome for frame in framed for outcome in parser.parse(frame)]
        yield "parse", time.process_time() - began
        for name, step in (
            ("check", Checker(self._exchange).check),
            ("continuity", Continuity(self._exchange).observe),
            ("encode", encode),
        ):
            began = time.process_time()
            for record in records:
                step(record)
            yield name, time.process_time() - began
        for name, is_express in (("whole", True), ("whole_plain", False)):
            feed = Feed(changed(self._settings, express=is_express), self._exchange, Nowhere())
            intake = open_intake(feed, self._exchange(), "c", "wss://stream")
            began = time.process_time()
            for start in range(0, len(self._payloads), READ_FRAMES):
                intake.take_read(self._payloads[start : start + READ_FRAMES], now_ns)
            yield f"{name}_without_socket_and_kafka", time.process_time() - began


def _spread(runs: list[Measured]) -> dict[str, Any]:
    return {
        "events_per_s": spread([run.events_per_s for run in runs], 0),
        "cpu_s_per_million": spread([run.cpu_s_per_million for run in runs], 2),
        "rss_mib": spread([run.rss_mib for run in runs], 1),
    }


def _beside_plain(express: list[Measured], plain: list[Measured]) -> dict[str, Any]:
    """The plain way, and how many times more events, and less CPU an event, the express one has: by their medians."""
    rate = [median(run.events_per_s for run in runs) for runs in (express, plain)]
    cpu = [median(run.cpu_s_per_million for run in runs) for runs in (express, plain)]
    faster, cheaper = round(rate[0] / rate[1], 2), round(cpu[1] / cpu[0], 2)
    say(f"express to plain: {faster} times the events/s, {cheaper} times less CPU an event")
    return {**_spread(plain), "ratios": {"events_per_s": faster, "cpu_per_event": cheaper}}


def _peer(interpreter: str, settings: Settings, into: str) -> Part:
    script = str(Path(__file__).with_name("peers") / "cryptofeed_reader.py")
    kafka = settings.kafka_bootstrap.rpartition(":")[2] if into == "kafka" else "none"
    return Part(name="stream", command=(interpreter, script, str(settings.simulator.port), kafka))


def _arrived(reader: RangeReader) -> int:
    return sum(bounds.high for bounds in reader.bounds().values())


def _last_number(log: Path) -> int:
    """The count that the peer wrote last."""
    if not log.exists():
        return 0
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 200))
        numbers = [line for line in file.read().split(b"\n")[:-1] if line.isdigit()]
    return int(numbers[-1]) if numbers else 0


def _rss_mib(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / (1 << 20)
