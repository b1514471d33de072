"""A stream against a venue server in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from etl.adapter.contract import Credentials, Exchange, Subscription
from etl.ingest.feed import Feed
from etl.ingest.intake import open_intake
from etl.ingest.overlap import Overlap
from etl.ingest.watchdog import Watchdog
from etl.model.records import Record
from etl.settings import make
from etl.sources.connection_id import connection_id
from etl.sources.history import History
from etl.sources.limiter import Limiter
from etl.sources.market_hours import MarketHours
from etl.sources.read_gate import ReadGate
from etl.sources.stream import Stream
from etl.sources.websocket import Connection, End
from etl.transports.memory import MemoryPublisher
from etl.wire import codec
from tests.support.topics import frames_of_delivered
from tests.support.venue_server import VenueServer, venue_server

WITHIN_S = 15.0
TRADES = Subscription(("BTCUSDT", "ETHUSDT"), ("trade",))
CREDENTIALS = Credentials("key", "secret")


class Hours(MarketHours):
    """Open when a test says so."""

    def __init__(self) -> None:
        super().__init__("24/7")
        self.open = True
        self.asked_ns: list[int] = []

    @property
    def asked_s(self) -> float:
        """From the first question to the last."""
        return (self.asked_ns[-1] - self.asked_ns[0]) / 1e9 if self.asked_ns else 0.0

    def is_open(self, now_ns: int) -> bool:
        self.asked_ns.append(now_ns)
        return self.open


class Run:
    """A stream against a server in this process, with its own worker's surroundings."""

    def __init__(
        self,
        server: VenueServer,
        exchange: type[Exchange],
        subscription: Subscription = TRADES,
        connects: Limiter | None = None,
        **values: int,
    ) -> None:
        self.subscription = subscription
        self._connects = connects
        self.settings = make(recordings_dir="served", **values)
        self.server = server
        self.publisher = MemoryPublisher()
        self.feed = Feed(self.settings, exchange, self.publisher)
        self.gate = ReadGate(self.settings.ingest, self.publisher, self.feed.counts)
        self.history = History(f"http://127.0.0.1:{server.port}", exchange(CREDENTIALS))
        self.ends: list[End] = []
        self.overlaps: list[bool] = []
        self._overlap = Overlap(self.feed.counts)
        self.stop = asyncio.Event()
        self.connections: list[Connection] = []
        self.hours = Hours()
        self._watchdog = Watchdog(subscription, self.feed, self.history, CREDENTIALS)
        self.stream = Stream("s", self._connect, self.feed.counts, self.stop, self)

    def _connect(self) -> Connection:
        parser = self.feed.exchange(CREDENTIALS)
        url = parser.connect_url(f"ws://127.0.0.1:{self.server.port}", self.subscription)
        intake = open_intake(self.feed, parser, connection_id(time.time_ns()), url, observer=self._overlap)
        connection = Connection(
            parser,
            self.subscription,
            url,
            intake,
            self.gate,
            self.feed.counts,
            self.hours,
            self.history,
            self._connects,
            self._watchdog,
        )
        self.connections.append(connection)
        return connection

    def overlap(self, name: str, begins: bool) -> None:
        self.overlaps.append(begins)
        self._overlap.mark(name, begins)

    def subscribed(self, connection: Connection) -> None:
        self.feed.resumed(connection.subscription.symbols)

    def lost(self, connection: Connection, end: End) -> None:
        self.ends.append(end)

    def raw_frames(self) -> list[bytes]:
        delivered = self.publisher.delivered[self.settings.topics.raw]
        return [frame.payload for frame in frames_of_delivered(delivered)]

    def published(self) -> list[Record]:
        self.publisher.poll()
        return [codec.decode(m.value) for m in self.publisher.delivered[self.settings.topics.normalized]]

    async def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not holds():
            assert time.monotonic() < deadline, "it did not come true in time"
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    server: VenueServer,
    exchange: type[Exchange],
    subscription: Subscription = TRADES,
    connects: Limiter | None = None,
    **values: int,
) -> AsyncIterator[Run]:
    run = Run(server, exchange, subscription, connects, **values)
    async with run.history:
        tasks = [asyncio.create_task(run.gate.poll()), asyncio.create_task(run.stream.run())]
        try:
            yield run
        finally:
            run.stop.set()
            await asyncio.wait_for(tasks[1], WITHIN_S)
            tasks[0].cancel()


def against_a_server(test: Callable[[VenueServer], Awaitable[None]]) -> Callable[[], None]:
    """Runs ``test`` on an event loop, with a server."""

    def run() -> None:
        with venue_server() as server:
            asyncio.run(asyncio.wait_for(test(server), 60.0))

    run.__name__ = test.__name__
    return run
