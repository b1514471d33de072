"""The way of a frame: raw topic first, then parse, check, publish. The same for live, replay, repair and backfill.

An ``Intake`` does its work in the call that brings the frame, without waiting: the publisher queues, and whoever
reads the socket stops at its threshold.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from etl.adapter.contract import (
    Behind,
    BookBroken,
    ConnectionSequence,
    Context,
    Exchange,
    Fault,
    FaultKind,
    Ignored,
    Outcome,
    Rejected,
    Reply,
    Subscription,
)
from etl.adapter.keepalive import parse_of
from etl.adapter.series import Contract
from etl.errors import WireError
from etl.ingest.book_watch import BookWatch
from etl.ingest.capture import Capture
from etl.ingest.feed import Feed
from etl.ingest.observer import NOBODY, Observer
from etl.ingest.quarantine_notes import QuarantineNotes
from etl.model.codes import REPLAYED, Code
from etl.model.records import Book, Frame, Gap, GapKind, Kind, Record, Severity, Source, Trade
from etl.sequencing.connection import ConnectionFollower
from etl.sequencing.gap import of_stand_in
from etl.sequencing.track import FOLLOWED
from etl.transports.frames import together
from etl.validation import Checker, Finding
from etl.validation.statistics import SymbolStatistics

HARMLESS_CODES = frozenset({Code.UNKNOWN_MESSAGE})
"""Quarantined events that took no place of a record. Any other may have been one."""

BARE = re.compile(rb"[ -Z^-z|~\s]{0,64}")
"""A word, a number, a text or nothing at all (``pong``, ``null``): printable, and without anything that could hold the
members of an event."""

_NO_REPLIES: tuple[Reply | Fault, ...] = ()


def open_intake(
    feed: Feed,
    parser: Exchange,
    connection_id: str,
    endpoint: str,
    source: Source = Source.STREAM,
    subscription: Subscription | None = None,
    observer: Observer = NOBODY,
) -> Intake:
    """The way in for one connection's frames; ``subscription`` is what it carries, ``None`` = anything, without
    channels = any of its symbols."""
    intake = Intake(feed, parser, connection_id, endpoint, source, subscription, observer)
    feed.join(intake)
    return intake


class Intake:
    """One connection's frames, in the order of their arrival. Dies with the connection, as the parser does."""

    def __init__(
        self,
        feed: Feed,
        parser: Exchange,
        connection_id: str,
        endpoint: str,
        source: Source,
        subscription: Subscription | None,
        observer: Observer,
    ) -> None:
        self.connection_id = connection_id
        self.frame_sequence = 0
        self.last_event_ns: dict[str, int] = {}
        """Receipt of the newest event by channel."""
        self._subscription = subscription
        self._carried_symbols = subscription.symbols if subscription else None
        self._socket = subscription.socket if subscription and subscription.channels else None
        self.frame_bytes_max = feed.frame_bytes_max
        """A larger one does not lie on the raw topic as it is."""
        self._feed = feed
        self._counts = feed.counts
        self._exchange = feed.exchange.name
        self._parser = parser
        self._parse = parse_of(parser)
        # what a history gives, or an archive, lies in the past by intent
        judge_lateness = feed.judge_lateness and source is Source.STREAM
        self.checker = Checker(feed.exchange, judge_lateness=judge_lateness)
        self._check = self.checker.check
        self._observe = feed.continuity.observe
        self._publish = feed.publisher.publish
        self._endpoint = endpoint
        self._source = source
        self._capture = Capture(feed, connection_id, endpoint, source)
        self._connection = ConnectionFollower()
        self._observer = observer
        self._notes = QuarantineNotes(feed, parser, observer)
        self._books = BookWatch(feed.book_hole_messages_max, feed.counts)
        self.snapshots_due_ns = self._books.snapshots_due_ns
        self._step = feed.step(self.checker, self._books.joins, self.last_event_ns)

    def _carries_book(self, names: Sequence[str]) -> bool:
        """Whether one of these channels, none = of all that are subscribed, is a book."""
        if self._subscription is None:
            return False
        channels = map(self._feed.exchange.channel, names or self._subscription.channels)
        return any(channel is not None and channel.kind is Kind.BOOK for channel in channels)

    def carry(self, subscription: Subscription) -> None:
        """What it carries is another from now on."""
        self._subscription, self._carried_symbols = subscription, subscription.symbols

    def forget(self, names: Iterable[tuple[str, str]]) -> None:
        """Contracts, by symbol and venue symbol, that are over."""
        for symbol, venue_symbol in names:
            self._books.forget(symbol, venue_symbol)
            self.checker.bands.forget(symbol)

    def learn(self, statistics: Iterable[SymbolStatistics]) -> None:
        self.checker.bands.learn(statistics)

    def take(self, payload: bytes, receive_time_ns: int, endpoint: str) -> Sequence[Reply | Fault]:
        """One frame all the way, the answer to a request or one of more than ``frame_bytes_max``; replies to send and
        what the venue says of itself come back.

        Raises ``TransportError``; nothing that a venue can send raises.
        """
        number = self.frame_sequence = self.frame_sequence + 1
        frame = Frame(
            self._exchange, self.connection_id, number, endpoint, receive_time_ns, payload, self._source
        )
        self._counts.frames += 1
        self._capture.publish_alone(frame, self.frame_bytes_max)
        return self.parse(frame)

    def take_read(self, payloads: Sequence[bytes], receive_time_ns: int) -> Sequence[Reply | Fault]:
        """The frames that one read of the socket brought, each of at most ``frame_bytes_max``: onto the raw topic
        first, by as few messages as hold them, then one after the other as ``take``."""
        exchange, connection_id, source = self._exchange, self.connection_id, self._source
        replies: list[Reply | Fault] = []
        for shared in together(payloads, self.frame_bytes_max):
            first = self.frame_sequence + 1
            self.frame_sequence += len(shared)
            self._counts.frames += len(shared)
            self._capture.publish(first, shared, receive_time_ns)
            for number, payload in enumerate(shared, first):
                endpoint = self._endpoint
                frame = Frame(exchange, connection_id, number, endpoint, receive_time_ns, payload, source)
                if found := self.parse(frame):
                    replies += found
        return replies

    def parse(self, frame: Frame) -> Sequence[Reply | Fault]:
        """From the raw topic on. This loop is the hot path: it is flat, and calls only what every record needs.
        What the express step has published needs none of it."""
        try:
            outcomes: Sequence[Outcome] = self._parse(frame)
        except Exception as error:  # noqa: BLE001  a parser's bug costs this message, with its code, not the connection
            outcomes = (Rejected(Code.PARSER_FAILED, f"{type(error).__name__}: {error}"),)
        feed, counts, observer = self._feed, self._counts, self._observer
        encoders = feed.encoders
        encode_book = encoders[Book]
        listens = observer.listens
        express = None if listens else self._step
        receive_time_ns = frame.receive_time_ns
        counts.events_read += len(outcomes)
        replies: list[Reply | Fault] | None = None
        record: Any  # records are told from the rest by a look-up, which no type checker follows
        for record in outcomes:
            if express is not None and express(record, receive_time_ns):
                continue
            encode = encoders.get(type(record))
            if encode is None:
                replies = self._take_other(frame, record, replies)
                continue
            if listens and not observer.admits(record):
                continue
            findings = self._check(record)
            if findings:
                record = self._judge(frame, record, findings)
                if record is None:
                    continue
            if encode is encode_book:
                record = self._books.track(record)
            try:
                message = encode(record)
            except WireError as error:
                self._judge(frame, record, [Finding(Code.UNENCODABLE, Severity.HARD, "encode", str(error))])
                continue
            gaps = self._observe(record)
            if gaps:
                self._declare(gaps)
            symbol = record.symbol
            key = feed.keys.get(symbol) or feed.key_of(symbol)
            self._publish(feed.normalized_topic, key, message)
            counts.published[record.kind] += 1
            if not record.flags or REPLAYED not in record.flags:
                self.last_event_ns[record.channel] = receive_time_ns
            if listens:
                observer.judged(record, is_good=True)
        return replies or _NO_REPLIES

    def publish_released(self) -> None:
        """Trades held as far out whose level the trades after them confirmed: now they are good, and noted so."""
        bands = self.checker.bands
        released, bands.released = bands.released, []
        for trade in released:
            message = self._feed.encoders[Trade](trade)
            self._publish(self._feed.normalized_topic, self._feed.key_of(trade.symbol), message)
            self._notes.release(trade, self._endpoint, message, self._feed.key_of(trade.symbol))
            self._observer.judged(trade, is_good=True)
            # as the repair of the gap that its quarantine declared
            came_back = msgspec.structs.replace(trade, source=Source.REPAIR)
            self._declare(self._observe(came_back))

    def _take_other(
        self, frame: Frame, outcome: Outcome, replies: list[Reply | Fault] | None
    ) -> list[Reply | Fault] | None:
        """What is no record: quarantined, counted, or a reply, which is no event."""
        if isinstance(outcome, Rejected):
            is_new = self._notes.reject(frame, outcome)
            is_harmless = outcome.code in HARMLESS_CODES or BARE.fullmatch(frame.payload)
            if is_new and frame.source in FOLLOWED and not is_harmless:
                self._suspect(frame, outcome)
        elif isinstance(outcome, Ignored):
            self._counts.ignored[outcome.name] += 1
            self._observer.ignored(outcome)
            if outcome.stands_for is not None:
                self._take_stand_in(outcome, outcome.stands_for)
        else:
            self._counts.events_read -= 1
            if isinstance(outcome, Reply | Fault):
                return [*(replies or ()), outcome]
            if isinstance(outcome, ConnectionSequence):
                return [*(replies or ()), *self._follow(frame, outcome)]
            if isinstance(outcome, BookBroken):
                self._renew_book(frame, outcome)
            elif isinstance(outcome, Contract):
                for hear in self._feed.hear_contract:
                    hear(outcome)
            elif isinstance(outcome, Context):
                self._endpoint = f"{self._endpoint.partition('#')[0]}#{outcome.text}"
                self._capture.move(self._endpoint)
            elif isinstance(outcome, Behind):
                self._lose(GapKind.SEQUENCE, outcome.reason, frame, [outcome.venue_symbol], [outcome.channel])
        return replies

    def _take_stand_in(self, ignored: Ignored, record: Record) -> None:
        """No record is published, and whoever counts ids in a store is to find this one."""
        self._declare(self._observe(record))
        if record.sequence is not None:
            self._declare([of_stand_in(record, ignored.name)])

    def _follow(self, frame: Frame, sequence: ConnectionSequence) -> Iterator[Fault]:
        """A break of it may have been anything that the connection carries. Without one of its changes a book is wrong,
        and no id of its own tells which: a new connection begins them all anew."""
        reason = self._connection.follow(sequence)
        if not reason:
            return
        self._lose(GapKind.SEQUENCE, reason, frame, self._carried_symbols, sequence.channels or None)
        if self._carries_book(sequence.channels):
            yield Fault(FaultKind.TRANSIENT, "connection_sequence", reason)

    def _renew_book(self, frame: Frame, broken: BookBroken) -> None:
        symbol = broken.venue_symbol
        self._lose(broken.kind, broken.reason, frame, [symbol], [broken.channel])
        self.snapshots_due_ns[symbol] = frame.receive_time_ns

    def _judge(self, frame: Frame, record: Record, findings: Sequence[Finding]) -> Record | None:
        """The record with its flags; ``None`` where it stays out, and its place is declared."""
        hard = next((finding for finding in findings if finding.severity is Severity.HARD), None)
        if hard is None:
            return self._notes.flag(frame, record, findings)
        self._declare(self._feed.continuity.quarantined(record))
        self._notes.hold(frame, record, hard)
        self._observer.judged(record, is_good=False)
        return None

    def _suspect(self, frame: Frame, rejected: Rejected) -> None:
        """What was rejected may have been a record of any channel: where no id proves the contrary, that is a gap."""
        symbols = [rejected.venue_symbol] if rejected.venue_symbol else self._carried_symbols
        reason = f"{rejected.code}: what it held is not known"
        self._lose(GapKind.QUARANTINE, reason, frame, symbols)

    def _lose(
        self,
        kind: GapKind,
        reason: str,
        frame: Frame,
        symbols: Collection[str] | None,
        channels: Collection[str] | None = None,
    ) -> None:
        """Of what this connection's socket carries: ``symbols`` and ``channels``, ``None`` = all."""
        time_ns, socket = frame.receive_time_ns, self._socket
        self._declare(self._feed.continuity.lost(kind, reason, time_ns, symbols, channels, socket))

    def _declare(self, gaps: Sequence[Gap]) -> None:
        if self._observer.listens:
            gaps = [gap for gap in gaps if self._observer.admits(gap)]
        self._feed.publish_gaps(gaps)
