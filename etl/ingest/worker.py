"""The stream worker of one venue: its connections, the way in, the publisher, and an orderly end."""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
import time
from collections.abc import Iterator, Sequence

import uvloop

from etl.adapter.contract import Exchange, FaultKind, Subscription
from etl.errors import UsageError
from etl.exchanges import load as load_exchange
from etl.ingest.feed import Feed
from etl.ingest.intake import open_intake
from etl.ingest.overlap import Overlap
from etl.ingest.quarantine_notes import REASON_CHARACTERS_MAX
from etl.ingest.recovery import recover
from etl.ingest.repair import Repairs
from etl.model.records import GapKind
from etl.reference.instruments import with_known
from etl.reference.symbol_statistics import Follower
from etl.settings import Settings
from etl.sources.access import VenueAccess
from etl.sources.connection_id import connection_id
from etl.sources.history import History
from etl.sources.market_hours import ALWAYS, MarketHours
from etl.sources.read_gate import ReadGate
from etl.sources.request_metrics import RequestMetrics
from etl.sources.stream import Stream
from etl.sources.websocket import Connection, End
from etl.telemetry.worker import WorkerMetrics
from etl.transports.kafka import KafkaPublisher, ensure_topics

FLUSH_TIMEOUT_S = 15.0
"""How long a clean shutdown waits for Kafka to take what was read."""
TICK_S = 1.0

_log = logging.getLogger(__name__)


def run(
    settings: Settings,
    venue: str,
    symbols: Sequence[str] = (),
    channels: Sequence[str] = (),
    shard: str = "0/1",
) -> None:
    """Until SIGTERM or SIGINT, then flush. Raises ``EtlError``: one line, exit code not zero."""
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("picows").setLevel(logging.ERROR)
    exchange = with_known(settings, load_exchange(venue))
    worker = Worker(settings, exchange, subscriptions(exchange, symbols, channels, shard))
    uvloop.run(worker.run())


def subscriptions(
    exchange: type[Exchange], symbols: Sequence[str], channels: Sequence[str], shard: str
) -> list[Subscription]:
    """What each connection asks for: this shard's symbols, cut by the venue's limit of streams.

    Raises ``UsageError``."""
    index, count = _shard(shard)
    if count > 1 and exchange.connections_max == 1:
        raise UsageError(f"{exchange.name}: one connection per key, so --shard {shard} cannot work")
    wanted = tuple(symbols or exchange.default_symbols)[index::count]
    if not wanted:
        raise UsageError(f"--shard {shard}: no symbol is left for it")
    names = tuple(channels or exchange.default_channels or (channel.name for channel in exchange.channels))
    for name in names:
        if exchange.channel(name) is None:
            known = ", ".join(channel.name for channel in exchange.channels)
            raise UsageError(f"{exchange.name}: no channel {name}; known are {known}")
    per_connection = max(1, exchange.streams_max // len(names)) if exchange.streams_max else len(wanted)
    return [
        Subscription(wanted[start : start + per_connection], names)
        for start in range(0, len(wanted), per_connection)
    ]


class Worker:
    """One venue in one process. ``subscriptions``: one connection each."""

    def __init__(
        self, settings: Settings, exchange: type[Exchange], subscriptions: Sequence[Subscription]
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        self._subscriptions = subscriptions
        self._access = VenueAccess.from_settings(settings, exchange)
        self._hours = MarketHours(exchange.calendar if settings.venues.live else ALWAYS)

    async def run(self) -> None:
        await asyncio.to_thread(ensure_topics, self._settings)
        publisher = KafkaPublisher(self._settings)
        feed = Feed(self._settings, self._exchange, publisher)
        repairs = Repairs(self._settings, feed, self._access.credentials)
        feed.offer_repair, feed.counts.repairs_pending = repairs.offer, lambda: repairs.pending
        metrics = WorkerMetrics(self._exchange.name, feed.counts, lambda: publisher.pending_messages)
        feed.observe_ack_s = metrics.ack_latency_s.observe
        metrics.registry.register(RequestMetrics(self._exchange.name, self._access.limiter.account))
        if self._settings.metrics.port:
            metrics.serve(self._settings.bind_host, self._settings.metrics.port)
        symbols = {symbol for subscription in self._subscriptions for symbol in subscription.symbols}
        recovered = await asyncio.to_thread(
            recover, self._settings, self._exchange, publisher, feed.continuity, symbols
        )
        feed.counts.recovered = recovered.messages
        for gap in recovered.open_gaps:
            repairs.offer(gap)
        feed.lost(GapKind.DISCONNECT, "the worker was not running", symbols)
        await asyncio.to_thread(self._hours.prepare, time.time_ns())
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with self._access as access:
            gate = ReadGate(self._settings.ingest, publisher, feed.counts)
            await self._stream(feed, gate, repairs, access.history, stop)
        feed.publish_gaps(feed.continuity.decide())
        await asyncio.to_thread(publisher.flush, FLUSH_TIMEOUT_S)
        _log.info("%s: stopped; %d frames", self._exchange.name, feed.counts.frames)

    async def _stream(
        self, feed: Feed, gate: ReadGate, repairs: Repairs, history: History, stop: asyncio.Event
    ) -> None:
        streams = list(self._streams(feed, gate, history, stop))
        try:
            async with asyncio.TaskGroup() as streaming:
                polling = streaming.create_task(gate.poll())
                ticking = streaming.create_task(self._tick(feed))
                repairing = streaming.create_task(repairs.run(history))
                reading = [streaming.create_task(stream.run()) for stream in streams]
                await asyncio.wait(reading)
                polling.cancel()
                ticking.cancel()
                repairing.cancel()
        except ExceptionGroup as group:
            raise _first_of(group) from None

    async def _tick(self, feed: Feed) -> None:
        """What has to be done now and then: overdue gaps, released trades, new symbol statistics."""
        follower = Follower(self._settings, self._exchange.name)
        try:
            while True:
                await asyncio.sleep(TICK_S)
                feed.tick()
                statistics = follower.poll()
                if statistics:
                    feed.learn(statistics)
        finally:
            follower.close()

    def _streams(self, feed: Feed, gate: ReadGate, history: History, stop: asyncio.Event) -> Iterator[Stream]:
        overlap = Overlap(feed.counts)
        for number, subscription in enumerate(self._subscriptions):
            name = f"{self._exchange.name}/{number}"
            bases = itertools.cycle(self._access.websocket_urls(subscription.socket))

            def connect(
                subscription: Subscription = subscription, bases: Iterator[str] = bases
            ) -> Connection:
                parser = self._access.parser()
                names = [(parser.instruments.symbol(symbol), symbol) for symbol in subscription.symbols]
                feed.continuity.expect(names, subscription.channels, time.time_ns())
                url = parser.connect_url(next(bases), subscription)
                intake = open_intake(
                    feed,
                    parser,
                    connection_id(time.time_ns()),
                    url,
                    venue_symbols=subscription.symbols,
                    observer=overlap,
                )
                return Connection(
                    self._settings.producer,
                    parser,
                    subscription,
                    url,
                    intake,
                    gate,
                    feed.counts,
                    self._hours,
                    history,
                )

            yield Stream(name, connect, feed.counts, stop, _Supervision(feed, overlap, gate))


class _Supervision:
    """Turns what a stream goes through into gaps, and keeps doubles out while two of its connections overlap."""

    def __init__(self, feed: Feed, overlap: Overlap, gate: ReadGate) -> None:
        self._feed = feed
        self._overlap = overlap
        self._gate = gate

    def overlap(self, name: str, begins: bool) -> None:
        self._overlap.mark(name, begins)

    def lost(self, connection: Connection, end: End) -> None:
        kind = GapKind.DISCONNECT
        if end.reason == "stale":
            kind = GapKind.STALE
        elif end.reason == FaultKind.SLOW_CLIENT.value or connection.was_paused:
            kind = GapKind.OVERFLOW
        reason = f"{end.reason}: {end.detail}"[:REASON_CHARACTERS_MAX]
        self._feed.lost(kind, reason, connection.subscription.symbols)


def _first_of(group: ExceptionGroup[Exception]) -> Exception:
    """The error that ended the worker: several tasks may have met the same."""
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _shard(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise UsageError(f"--shard {text}: i/n with 0 <= i < n")
    return int(index), int(count)
