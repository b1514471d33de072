"""A venue's streams as a worker runs them, against a simulator, with the broker in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from etl.adapter.contract import Exchange
from etl.ingest.feed import Feed
from etl.ingest.repair import Repairs
from etl.ingest.series_streams import run_streams
from etl.ingest.streams import Streams
from etl.ingest.subscriptions import subscriptions
from etl.model.records import Gap, GapKind, Record
from etl.settings import make
from etl.sources.access import VenueAccess
from etl.sources.market_hours import MarketHours
from etl.sources.read_gate import ReadGate
from etl.transports.memory import MemoryPublisher
from etl.wire import codec

WITHIN_S = 30.0
TICK_S = 0.1


class Live:
    """What a worker of ``exchange`` has published."""

    def __init__(self, feed: Feed, publisher: MemoryPublisher, topic: str) -> None:
        self.feed = feed
        self._publisher = publisher
        self._topic = topic

    def published(self) -> list[Record]:
        self._publisher.poll()
        return [codec.decode(message.value) for message in self._publisher.delivered[self._topic]]

    def channels(self) -> set[str]:
        return {record.channel for record in self.published() if not isinstance(record, Gap)}

    def gaps(self) -> list[Gap]:
        """Without those of the start."""
        found = [record for record in self.published() if isinstance(record, Gap)]
        return [gap for gap in found if gap.gap_kind is not GapKind.START]

    async def until(self, holds: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        deadline = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < deadline, "it did not come true in time"
            await asyncio.sleep(0.05)


@asynccontextmanager
async def live(
    exchange: type[Exchange],
    port: int,
    state_path: Path,
    symbols: Sequence[str],
    channels: Sequence[str] = (),
) -> AsyncIterator[Live]:
    settings = make(venues=exchange.name, simulator_port=port, state_dir=str(state_path))
    publisher = MemoryPublisher()
    access = VenueAccess.from_settings(settings, exchange)
    feed = Feed(settings, exchange, publisher)
    repairs = Repairs(settings.ingest, feed, access.credentials)
    feed.offer_repair = repairs.offer
    gate, stop = ReadGate(settings.ingest, publisher, feed.counts), asyncio.Event()
    streams = Streams(access, feed, gate, MarketHours("24/7"), stop)
    cut = subscriptions(exchange, symbols, channels, "0/1")

    async def tick() -> None:
        while True:
            await asyncio.sleep(TICK_S)
            feed.tick()

    async with access:
        beside = [asyncio.create_task(work) for work in (gate.poll(), repairs.run(access.history), tick())]
        reading = [asyncio.create_task(run_streams(streams, f"s{n}", one)) for n, one in enumerate(cut)]
        try:
            yield Live(feed, publisher, settings.topics.normalized)
        finally:
            stop.set()
            await asyncio.wait_for(asyncio.gather(*reading), WITHIN_S)
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
