"""What one venue's connections share: topics, message keys, counts, and continuity, which outlives each of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from copy import copy
from typing import Protocol
from weakref import WeakSet

from etl.adapter.contract import Exchange
from etl.adapter.series import Contract
from etl.express.encoders import encoders
from etl.express.step import Step, step
from etl.model.instruments import Instruments
from etl.model.records import Gap, GapKind, Quarantined
from etl.sequencing.continuity import Continuity
from etl.sequencing.join import Join
from etl.settings import Settings
from etl.telemetry.worker import WorkerCounts
from etl.transports.publisher import Acknowledged, Publisher
from etl.validation import Checker
from etl.validation.statistics import SymbolStatistics
from etl.wire.codec import encode_quarantined
from etl.wire.keys import message_key

KEYS_MAX = 100_000
"""Symbols whose message key is remembered."""
ROOM_POLL_S = 0.005


class Member(Protocol):
    """A connection's intake, as its feed sees it."""

    def publish_released(self) -> None: ...

    def learn(self, statistics: Iterable[SymbolStatistics]) -> None: ...


class Feed:
    """Of one venue in one process."""

    def __init__(
        self,
        settings: Settings,
        exchange: type[Exchange],
        publisher: Publisher,
        continuity: Continuity | None = None,
    ) -> None:
        self.exchange = exchange
        self.publisher = publisher
        self.counts = WorkerCounts()
        self.judge_lateness = settings.venues.live or not settings.venues.recordings_dir
        """Served recordings carry the times of another day."""
        self.book_hole_messages_max = settings.ingest.book_hole_messages_max
        self.frame_bytes_max = settings.ingest.frame_bytes_max
        self.raw_topic = settings.topics.raw
        self.normalized_topic = settings.topics.normalized
        self.quarantine_topic = settings.topics.quarantine
        self.observe_ack_s: Callable[[float], None] | None = None
        self.encoders, self.encoding = encoders(settings.ingest.express)
        """By record type; and what they are, for the log. The express step goes with compiled ones."""
        self.keys: dict[str, bytes] = {}
        self.statistics: dict[str, SymbolStatistics] = {}
        self._instruments = exchange().instruments if settings.venues.live else Instruments()
        """A simulated venue goes on with what it lists."""
        self.continuity = Continuity(exchange) if continuity is None else continuity
        self.offer_repair: Callable[[Gap], None] | None = None
        """Hears of every gap that is declared."""
        self.hear_contract: list[Callable[[Contract], None]] = []
        """Each hears what the venue says of contracts of series."""
        self._members: WeakSet[Member] = WeakSet()

    def join(self, member: Member) -> None:
        """``member`` learns of new statistics, and gives what it releases, for as long as somebody holds it."""
        member.learn(self.statistics.values())
        self._members.add(member)

    def beside(self) -> Feed:
        """For what is asked of the history while this feed streams: the same topics, keys and counts, and a continuity
        that follows none of it, for what it closes is told by whoever asked."""
        beside = copy(self)
        beside.continuity = Continuity(self.exchange, declares_start=False)
        beside.statistics = {}
        beside._members = WeakSet()
        return beside

    def step(self, checker: Checker, joins: dict[str, Join], last_event_ns: dict[str, int]) -> Step | None:
        """The express step of one connection; ``None`` where all goes the plain way."""
        return step(
            self.encoders,
            checker,
            self.continuity,
            joins,
            self.keys,
            last_event_ns,
            self.counts.published,
            self.normalized_topic,
            self.publisher.publish,
        )

    def key_of(self, symbol: str) -> bytes:
        """The message key of ``symbol``'s records."""
        key = self.keys.get(symbol)
        if key is None:
            if len(self.keys) >= KEYS_MAX:
                self.keys.clear()
            key = self.keys[symbol] = message_key(self.exchange.name, symbol)
        return key

    def publish_gaps(self, gaps: Sequence[Gap]) -> None:
        for gap in gaps:
            if gap.receive_time_ns == gap.detected_time_ns:  # a later state of it comes later
                self.counts.gaps[gap.gap_kind] += 1
            self.counts.gap_states[gap.gap_state] += 1
            self.publisher.publish(self.normalized_topic, self.key_of(gap.symbol), self.encoders[Gap](gap))
            if self.offer_repair is not None:
                self.offer_repair(gap)

    def publish_settled(self, gap: Gap, rows: int) -> None:
        """What a repair, which gave ``rows`` records, made of a gap."""
        self.counts.gap_states[gap.gap_state] += 1
        self.counts.repairs[gap.gap_state] += 1
        self.counts.repaired_rows += rows
        self.publisher.publish(self.normalized_topic, self.key_of(gap.symbol), self.encoders[Gap](gap))

    def lost(
        self,
        kind: GapKind,
        reason: str,
        venue_symbols: Collection[str] | None = None,
        socket: str | None = None,
        channels: Collection[str] | None = None,
    ) -> None:
        """A connection ended, or stopped giving, and no other covers these symbols and channels on this socket
        (``None`` = all). Of what has expired nothing is lost."""
        if venue_symbols is not None:
            venue_symbols = [symbol for symbol in venue_symbols if not self.has_expired(symbol)]
        self.publish_gaps(self.continuity.lost(kind, reason, time.time_ns(), venue_symbols, channels, socket))

    def has_expired(self, venue_symbol: str) -> bool:
        """Whether nothing more can come of an instrument."""
        return self._instruments.has_expired(venue_symbol, time.time_ns())

    def resumed(self, venue_symbols: Collection[str] | None = None, socket: str | None = None) -> None:
        """A connection is subscribed that carries these symbols on this socket (``None`` = all)."""
        self.publish_gaps(self.continuity.resumed(time.time_ns(), venue_symbols, socket))

    async def room(self, pending_max: int) -> None:
        """Until at most ``pending_max`` messages wait for the broker: a history is read no faster than it is taken.

        Raises ``TransportError``."""
        publisher = self.publisher
        publisher.poll()
        while publisher.is_full or publisher.pending_messages > pending_max:
            await asyncio.sleep(ROOM_POLL_S)
            publisher.poll()

    def tick(self) -> None:
        """About once a second: what has waited long enough to be called missing, or was released."""
        self.publish_gaps(self.continuity.overdue(time.time_ns()))
        for member in self._members:
            member.publish_released()

    def learn(self, statistics: Iterable[SymbolStatistics]) -> None:
        """New symbol statistics; checked against from the next record on."""
        news = {item.symbol: item for item in statistics}
        self.statistics.update(news)
        for member in self._members:
            member.learn(news.values())

    def forget(self, symbol: str) -> None:
        """A contract that is over."""
        self.keys.pop(symbol, None)
        self.statistics.pop(symbol, None)

    def quarantine(self, item: Quarantined) -> None:
        self.counts.quarantined[item.code, item.severity] += 1
        key = message_key(item.exchange, item.symbol)
        self.publisher.publish(self.quarantine_topic, key, encode_quarantined(item))

    def acknowledged(self, receive_time_ns: int) -> Acknowledged | None:
        """What to call when the frame received then is acknowledged."""
        observe = self.observe_ack_s
        if observe is None:
            return None
        return lambda: observe((time.time_ns() - receive_time_ns) * 1e-9)
