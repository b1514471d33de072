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
        self._access = access
        self._feed = feed
        self._gate = gate
        self._hours = hours
        self._stop = stop
        self._overlap = Overlap(feed.counts)

    def open(self, name: str, subscription: Subscription) -> Stream:
        """To be run; until ``stop`` it keeps ``subscription``, which one socket carries, connected."""
        bases = itertools.cycle(self._access.websocket_urls(subscription.socket))
        watchdog = Watchdog(subscription, self._feed, self._access.history, self._access.credentials)
        return Stream(
            name, lambda: self._connect(subscription, bases, watchdog), self._feed.counts, self._stop, self
        )

    def overlap(self, name: str, begins: bool) -> None:
        self._overlap.mark(name, begins)

    def subscribed(self, connection: Connection) -> None:
        self._feed.resumed(connection.subscription.symbols, connection.subscription.socket)

    def lost(self, connection: Connection, end: End) -> None:
        kind = GapKind.DISCONNECT
        if end.reason == "stale":
            kind = GapKind.STALE
        elif end.reason == FaultKind.SLOW_CLIENT.value or connection.was_paused:
            kind = GapKind.OVERFLOW
        own = OWN if end.is_own or kind is GapKind.OVERFLOW else ""
        reason = f"{own}{end.reason}: {end.detail}"[:REASON_CHARACTERS_MAX]
        subscription = connection.subscription
        self._feed.lost(kind, reason, subscription.symbols, subscription.socket)

    def _connect(self, subscription: Subscription, bases: Iterator[str], watchdog: Watchdog) -> Connection:
        now_ns = time.time_ns()
        parser = parser_at(self._access.exchange, now_ns)(self._access.credentials)
        names = [(parser.instruments.symbol(symbol), symbol) for symbol in subscription.symbols]
        self._feed.continuity.expect(names, subscription.channels, now_ns)
        url = parser.connect_url(next(bases), subscription)
        intake = open_intake(
            self._feed,
            parser,
            connection_id(now_ns),
            url,
            subscription=subscription,
            observer=self._overlap,
        )
        return Connection(
            parser,
            subscription,
            url,
            intake,
            self._gate,
            self._feed.counts,
            self._hours,
            self._access.history,
            self._access.connects,
            watchdog,
        )
