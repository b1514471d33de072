"""From options to a running simulator: which session each venue serves, resumed where a killed one stopped."""

from __future__ import annotations

import asyncio
import signal
import ssl
import time
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from etl.errors import UsageError
from etl.model.times import NS_PER_S
from etl.simulator import faults, recording, truth
from etl.simulator.feed import Feed
from etl.simulator.history import History
from etl.simulator.pace import Pace
from etl.simulator.past import Past
from etl.simulator.recorded_venue import RecordedVenue
from etl.simulator.replay import RecordingSession, Served
from etl.simulator.scenario import Scenario
from etl.simulator.server import Server
from etl.simulator.session import Session, SyntheticSession
from etl.simulator.truth import BEGIN, LATE, TruthFile, TruthLine
from etl.simulator.venue import Venue
from etl.simulator.venues import make_venue

LIFE_NUMBERS = 1_000_000
"""Between the last id of a killed simulator and the first of its successor."""
POLL_S = 0.05


class Options(Struct, frozen=True, kw_only=True):
    """``rate`` is in events/s for each venue, 0 = as fast as the clients read, ``None`` = as recorded, or
    ``SYNTHETIC_RATE``; ``pace``: the clock that recordings share. ``recordings`` is a directory; ``session``
    one file, or ``shipped``."""

    exchanges: tuple[str, ...]
    state_path: Path
    host: str = "127.0.0.1"
    port: int = 0
    rate: float | None = None
    seed: int = 1
    recordings: Path | None = None
    session: str = ""
    loop: bool = False
    duration_s: float = 0.0
    truth_path: Path | None = None
    scenario: Path | None = None
    metrics_port: int = 0
    pace: Pace | None = None
    by_stream: bool = False
    """A recording is given by subscription where the venue's frames can be told apart."""
    tls: ssl.SSLContext | None = None


SYNTHETIC_RATE = 667.0
SHIPPED, SYNTHETIC = "shipped", "synthetic"


def recording_of(options: Options, exchange: str) -> Path | None:
    """The file that ``exchange`` is served from, ``None`` = synthetic."""
    if options.session == SYNTHETIC:
        return None
    if options.session == SHIPPED:
        return recording.shipped(exchange)
    if options.session:
        path = Path(options.session)
        if not path.is_file():
            raise UsageError(f"--session {path}: no such file")
        return path
    if options.recordings is None:
        return None
    if not options.recordings.is_dir():
        raise UsageError(f"--recordings {options.recordings}: no such directory")
    return recording.find(options.recordings, exchange)


def make_feed(options: Options, exchange: str) -> Feed:
    file = recording_of(options, exchange)
    try:
        venue = make_venue(exchange)
    except UsageError:
        if file is None:
            raise
        venue = RecordedVenue(exchange)
    path = options.truth_path or truth.path_of(options.state_path, exchange)
    before = _Before(path)
    truth_file = TruthFile(path)
    if not before.began_ns:
        before.began_ns = time.time_ns()
        truth_file.write([TruthLine(before.began_ns, BEGIN, LATE, [])])
    session = _session(options, file, venue, before)
    tail = history_path(options, exchange)
    if tail.exists():
        session.history.load(tail.read_bytes())
    return Feed(venue, session, truth_file, options.seed)


def history_path(options: Options, exchange: str) -> Path:
    """Where a simulator that ends in order leaves the end of its history: a venue's outlives a pause."""
    return options.state_path / "simulated" / f"{exchange}.history"


def _session(options: Options, file: Path | None, venue: Venue, before: _Before) -> Session:
    past = Past(venue.instrument, before.began_ns)
    if file is None:
        rate = SYNTHETIC_RATE if options.rate is None else options.rate
        first_number = before.next_number or past.last_number("")
        return SyntheticSession(venue, rate, options.seed + before.lives, first_number, History(past=past))
    served = Served(before.position, before.highest)
    if venue.told is None or not (options.loop or options.session == SHIPPED):
        # its times are of another day: a past that ends now would lie in its future
        return RecordingSession(
            venue, file, options.rate, before=served, pace=options.pace, by_stream=options.by_stream
        )
    firsts, last = venue.told.first_prints(recording.frames(file)), past.last_number("")
    past = Past(venue.instrument, before.began_ns, lambda symbol: firsts.get(symbol, last + 1) - last - 1)
    return RecordingSession(venue, file, options.rate, loop=True, before=served, history=History(past=past))


def keep_histories(options: Options, feeds: Mapping[str, Feed]) -> None:
    """For the next life."""
    for exchange, feed in feeds.items():
        path = history_path(options, exchange)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(feed.session.history.tail())


class _Before:
    """What the truth tells of earlier lives of this simulator, so that no identity is given twice."""

    def __init__(self, path: Path) -> None:
        self.highest = {"trade": 0, "agg_trade": 0, "quote": 0, "book": 0}
        self.position = 0
        self.began_ns = 0
        self.lives = 0
        if path.exists():
            for line in truth.read(path):
                self._note(line)
        self.lives = max(self.highest.values())

    def _note(self, line: TruthLine) -> None:
        self.began_ns = self.began_ns or line.time_ns
        self.position = max(self.position, line.position)
        for event in line.events:
            number = event.record_key.rpartition("/")[2]
            if event.kind in self.highest and number.isdecimal():
                self.highest[event.kind] = max(self.highest[event.kind], int(number))

    @property
    def next_number(self) -> int:
        """0 = nothing was given out yet."""
        return self.lives + LIFE_NUMBERS if self.lives else 0


async def serve(options: Options) -> None:
    """Serve until SIGTERM or SIGINT, or until ``duration_s`` of sending has passed."""
    feeds = {exchange: make_feed(options, exchange) for exchange in options.exchanges}
    scenario = Scenario.read(options.scenario) if options.scenario else Scenario([])
    server = Server(feeds, paced=options.rate != 0, pace=options.pace)
    await server.start(options.host, options.port, options.metrics_port, options.tls)
    names = ", ".join(f"{name} ({feed.session.label})" for name, feed in feeds.items())
    scheme = "wss" if options.tls else "ws"
    print(f"simulator: {names} on {scheme}://{options.host}:{server.port}/<venue>", flush=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    watcher = asyncio.create_task(_watch(server, scenario, options.duration_s, ended))
    waits = [asyncio.create_task(ended.wait()), asyncio.create_task(server.wait()), watcher]
    done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await server.stop()
    keep_histories(options, feeds)
    for task in done:
        task.result()


async def _watch(server: Server, scenario: Scenario, duration_s: float, ended: asyncio.Event) -> None:
    """Orders the scenario's faults when their time has come, and ends the whole when the duration is over."""
    while not ended.is_set():
        now_ns = server.now_ns()
        for feed in server.feeds.values():
            for fault in scenario.due(feed.venue.exchange, feed.started_ns, now_ns):
                faults.order(feed, fault, now_ns)
        starts = [feed.started_ns for feed in server.feeds.values()]
        if duration_s and all(starts) and now_ns - max(starts) >= duration_s * NS_PER_S:
            ended.set()
        await asyncio.sleep(POLL_S)
