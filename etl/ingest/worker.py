"""The stream worker of one venue: its connections, the way in, the publisher, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine, Iterable, Sequence

import uvloop

from etl.adapter.contract import Exchange, Subscription
from etl.adapter.versions import parser_at
from etl.exchanges import load as load_exchange
from etl.ingest.feed import Feed
from etl.ingest.positions import Positions
from etl.ingest.recovery import recover
from etl.ingest.repair import Repairs
from etl.ingest.series_streams import run_streams
from etl.ingest.streams import Streams
from etl.ingest.subscriptions import subscriptions
from etl.model.records import GapKind
from etl.reference.instruments import with_known
from etl.reference.symbol_statistics import Follower
from etl.sequencing.gap import OWN
from etl.settings import Settings
from etl.sources.access import VenueAccess
from etl.sources.market_hours import MarketHours
from etl.sources.read_gate import ReadGate
from etl.sources.request_metrics import RequestMetrics
from etl.telemetry.web_access import require_private
from etl.telemetry.worker import WorkerMetrics
from etl.transports.transport import transport_of

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


class Worker:
    """One venue in one process. ``subscriptions``: one connection each."""

    def __init__(
        self, settings: Settings, exchange: type[Exchange], subscriptions: Sequence[Subscription]
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        self._subscriptions = subscriptions
        self._access = VenueAccess.from_settings(settings, exchange)
        self._hours = MarketHours.of(exchange, settings.venues.live)

    async def run(self) -> None:
        if self._settings.metrics.port:  # before anything waits for the broker
            require_private("etl stream", self._settings)
        await asyncio.to_thread(transport_of(self._settings).ensure_topics)
        publisher = transport_of(self._settings).publisher()
        feed = Feed(self._settings, self._exchange, publisher)
        _log.info("%s: check, continuity and encoding are %s", self._exchange.name, feed.encoding)
        repairs = Repairs(self._settings.ingest, feed, self._access.credentials)
        feed.offer_repair, feed.counts.repairs_pending = repairs.offer, lambda: repairs.pending
        feed.counts.market_is_open = lambda: self._hours.is_open(time.time_ns())
        metrics = WorkerMetrics(self._exchange.name, feed.counts, lambda: publisher.pending_messages)
        feed.observe_ack_s = metrics.ack_latency_s.observe
        metrics.registry.register(RequestMetrics(self._exchange.name, self._access.limiter.account))
        if self._settings.metrics.port:
            metrics.serve(self._settings)
        await self._recover(feed, repairs)
        positions = Positions(self._settings, feed, publisher, self._subscriptions, lambda: repairs.at_work)
        await asyncio.to_thread(positions.begin)
        self._hours.is_open(time.time_ns())  # a calendar that does not tell of today is refused at once
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with self._access as access:
            gate = ReadGate(self._settings.ingest, publisher, feed.counts)
            streams = Streams(access, feed, gate, self._hours, stop)
            beside = gate.poll(), self._tick(feed), repairs.run(access.history), positions.run()
            await self._stream(streams, beside)
        feed.publish_gaps(feed.continuity.decide())
        await asyncio.to_thread(publisher.flush, FLUSH_TIMEOUT_S)
        await positions.write()
        await asyncio.to_thread(publisher.flush, FLUSH_TIMEOUT_S)
        _log.info("%s: stopped; %d frames", self._exchange.name, feed.counts.frames)

    async def _recover(self, feed: Feed, repairs: Repairs) -> None:
        """What the worker before left undone, and what nobody saw since it ended."""
        symbols = {symbol for one in self._subscriptions for symbol in one.symbols}
        channels = {name for one in self._subscriptions for name in one.channels}
        recovered = await asyncio.to_thread(
            recover, self._settings, self._exchange, feed.publisher, feed.continuity, symbols, channels
        )
        feed.counts.recovered = recovered.messages
        for gap in recovered.open_gaps:
            repairs.offer(gap)
        reason = f"{OWN}the worker was not running"
        instruments = parser_at(self._exchange, time.time_ns())().instruments
        for one in self._subscriptions:
            if recovered.known_ns:
                reason = f"{OWN}the worker was not running, and the limit of its recovery was reached"
                names = [(instruments.symbol(symbol), symbol) for symbol in one.symbols]
                feed.continuity.expect(names, one.channels, recovered.known_ns, has_past=True)
            feed.lost(GapKind.DISCONNECT, reason, one.symbols, one.socket)

    async def _stream(self, streams: Streams, works: Iterable[Coroutine[None, None, None]]) -> None:
        """Until every stream has ended; ``works`` go on beside them."""
        try:
            async with asyncio.TaskGroup() as streaming:
                beside = [streaming.create_task(work) for work in works]
                reading = [
                    streaming.create_task(run_streams(streams, f"{self._exchange.name}/{number}", one))
                    for number, one in enumerate(self._subscriptions)
                ]
                await asyncio.wait(reading)
                for task in beside:
                    task.cancel()
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


def _first_of(group: ExceptionGroup[Exception]) -> Exception:
    """The error that ended the worker: several tasks may have met the same."""
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
