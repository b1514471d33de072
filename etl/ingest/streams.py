"""The streams of a worker: one for each subscription, all into one feed, and what becomes of their connections."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator

from etl.adapter.contract import FaultKind, Subscription
from etl.adapter.versions import parser_at
from etl.ingest.feed import Feed
from etl.ingest.intake import open_intake
from etl.ingest.lane import Lane
from etl.ingest.overlap import Overlap
from etl.ingest.quarantine_notes import REASON_CHARACTERS_MAX
from etl.ingest.watchdog import Watchdog
from etl.model.records import GapKind
from etl.sequencing.gap import OWN
from etl.sources.access import VenueAccess
from etl.sources.connection_id import connection_id
from etl.sources.market_hours import MarketHours
from etl.sources.read_gate import ReadGate
from etl.sources.stream import Stream
from etl.sources.websocket import Connection, End


class Streams:
    """Of one venue. Hears how each fares: a loss becomes gaps, and while two connections of one stream overlap, doubles
    are kept out."""

    def __init__(
        self,
        access: VenueAccess,
        feed: Feed,
        gate: ReadGate,
        hours: MarketHours,
        stop: asyncio.Event,
    ) -> None:
        self.access = access
        self.feed = feed
        self._gate = gate
        self._hours = hours
        self.stop = stop
        self._overlap = Overlap(feed.counts)

    def open(self, name: str, subscription: Subscription) -> Stream:
        """To be run; until ``stop`` it keeps ``subscription``, which one socket carries, connected."""
        return self.open_lane(name, self.lane(subscription), self.stop)

    def lane(self, subscription: Subscription) -> Lane:
        return Lane(
            subscription, Watchdog(subscription, self.feed, self.access.history, self.access.credentials)
        )

    def open_lane(self, name: str, lane: Lane, stop: asyncio.Event) -> Stream:
        bases = itertools.cycle(self.access.websocket_urls(lane.subscription.socket))
        return Stream(name, lambda: self._connect(lane, bases), self.feed.counts, stop, self)

    def overlap(self, name: str, begins: bool) -> None:
        self._overlap.mark(name, begins)

    def subscribed(self, connection: Connection) -> None:
        self.feed.resumed(connection.subscription.symbols, connection.subscription.socket)

    def lost(self, connection: Connection, end: End) -> None:
        kind = GapKind.DISCONNECT
        if end.reason == "stale":
            kind = GapKind.STALE
        elif end.reason == FaultKind.SLOW_CLIENT.value or connection.was_paused:
            kind = GapKind.OVERFLOW
        own = OWN if end.is_own or kind is GapKind.OVERFLOW else ""
        reason = f"{own}{end.reason}: {end.detail}"[:REASON_CHARACTERS_MAX]
        subscription = connection.subscription
        self.feed.lost(kind, reason, subscription.symbols, subscription.socket)

    def _connect(self, lane: Lane, bases: Iterator[str]) -> Connection:
        now_ns, subscription = time.time_ns(), lane.subscription
        parser = parser_at(self.access.exchange, now_ns)(self.access.credentials)
        names = [(parser.instruments.symbol(symbol), symbol) for symbol in subscription.symbols]
        self.feed.continuity.expect(names, subscription.channels, now_ns)
        url = parser.connect_url(next(bases), subscription)
        intake = open_intake(
            self.feed,
            parser,
            connection_id(now_ns),
            url,
            subscription=subscription,
            observer=self._overlap,
        )
        connection = Connection(
            parser,
            subscription,
            url,
            intake,
            self._gate,
            self.feed.counts,
            self._hours,
            self.access.history,
            self.access.connects,
            lane.watchdog,
        )
        lane.connected_by(connection)
        return connection
