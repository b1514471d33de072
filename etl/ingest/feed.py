"""The way of a frame: raw tape first, then parse, check, publish. The same for live, replay, repair and backfill.

``Ingest`` belongs to one venue's worker, ``Intake`` to one connection of it. Both do their work in the call that
brings the frame, without waiting: the publisher queues, and whoever reads the socket stops at its threshold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any
from weakref import WeakSet

import msgspec

from etl import crash
from etl.adapter.contract import Exchange, Fault, Ignored, Outcome, Rejected, Reply
from etl.errors import WireError
from etl.model.codes import Code
from etl.model.records import (
    Bar,
    Book,
    Frame,
    Gap,
    GapKind,
    Quarantined,
    QuarantineOutcome,
    Record,
    Severity,
    Source,
    Trade,
)
from etl.sequencing.book import BOOK_HOLE, Join
from etl.sequencing.continuity import Continuity
from etl.settings import Settings
from etl.telemetry.worker import WorkerCounts
from etl.transports.kafka import TapeHeaders, frame_headers
from etl.transports.publisher import Acknowledged, Publisher
from etl.validation import Checker, Finding
from etl.validation.statistics import SymbolStatistics
from etl.wire.codec import ENCODERS, encode_quarantined

KEYS_MAX = 100_000
"""Symbols whose message key is remembered."""
ACK_SAMPLE_FRAMES = 64
"""One raw message in so many reports how long its acknowledgement took."""
QUARANTINE_PAYLOAD_BYTES_MAX = 64 << 10
"""A larger frame is not copied into the quarantine: connection_id and frame_sequence find it on the raw topic."""
CRASH_FRAME = 200
"""Number of the frame on its connection at which the crash point lies."""
CRASH_FLUSH_TIMEOUT_S = 30.0
SUSPECT_BOOK_NS = 60_000_000_000
"""How long a book may go on over a small hole: further ones in that time cost no snapshot either."""
HARMLESS_CODES = frozenset({Code.UNKNOWN_MESSAGE})
"""Quarantined events that took no place of a record. Any other may have been one: where no id proves the contrary,
that is a gap."""
OVERLAP_IDENTITIES_MAX = 500_000
"""Identities remembered while two connections carry the same streams; the oldest half goes when it is full."""
OVERLAP_DOUBLE = "overlap_double"
"""Name under which the second copy of an event on overlapping connections is counted."""
QUARANTINE_RECORD_BYTES_MAX = 1 << 20
REASON_CHARACTERS_MAX = 500

_ENCODE_BOOK = ENCODERS[Book]
_NO_ANSWERS: tuple[Reply | Fault, ...] = ()


class Ingest:
    """Everything that one venue's connections share: topics, keys, counts, and continuity, which outlives them."""

    def __init__(
        self,
        settings: Settings,
        exchange: type[Exchange],
        publisher: Publisher,
        continuity: Continuity | None = None,
    ) -> None:
        self._settings = settings
        self.exchange = exchange
        self.publisher = publisher
        self.counts = WorkerCounts()
        self.judge_lateness = settings.venues.live or not settings.venues.recordings_dir
        """Served recordings carry the times of another day."""
        self.book_hole_messages_max = settings.ingest.book_hole_messages_max
        self.raw_topic = settings.topics.raw
        self.normalized_topic = settings.topics.normalized
        self.quarantine_topic = settings.topics.quarantine
        self.observe_ack_s: Callable[[float], None] | None = None
        self.keys: dict[str, bytes] = {}
        self._statistics: dict[str, SymbolStatistics] = {}
        self._intakes: WeakSet[Intake] = WeakSet()
        self.continuity = Continuity(exchange) if continuity is None else continuity
        self.leaves_out: Callable[[Record], bool] | None = None
        """Asked before a record is published, while there is reason to: ``True`` leaves it out, counted."""
        self.offer_repair: Callable[[Gap], None] | None = None
        """Hears of every gap that is declared."""
        self._overlapping: set[str] = set()
        self._seen: dict[tuple[str, str, str], None] = {}

    def intake(
        self,
        parser: Exchange,
        connection_id: str,
        endpoint: str,
        source: Source = Source.STREAM,
        venue_symbols: Collection[str] | None = None,
    ) -> Intake:
        """The way in for one connection's frames; ``venue_symbols`` is what it carries, ``None`` = anything."""
        kind = _DyingIntake if crash.is_hooked(crash.BETWEEN_RAW_AND_NORMALIZED) else Intake
        intake = kind(self, parser, connection_id, endpoint, source, venue_symbols)
        intake.checker.learn(self._statistics.values())
        self._intakes.add(intake)
        return intake

    def die(self) -> None:
        """As by ``kill -9``, with everything published so far acknowledged. For tests."""
        self.publisher.flush(CRASH_FLUSH_TIMEOUT_S)
        crash.reach(crash.BETWEEN_RAW_AND_NORMALIZED)

    def key_of(self, symbol: str) -> bytes:
        """The message key of ``symbol``'s records."""
        key = self.keys.get(symbol)
        if key is None:
            if len(self.keys) >= KEYS_MAX:
                self.keys.clear()
            key = self.keys[symbol] = f"{self.exchange.name}:{symbol}".encode()
        return key

    def publish_gaps(self, gaps: Sequence[Gap]) -> None:
        for gap in gaps:
            if gap.receive_time_ns == gap.detected_time_ns:  # a later state of it comes later
                self.counts.gaps[gap.gap_kind] += 1
            self.counts.gap_states[gap.gap_state] += 1
            self.publisher.publish(self.normalized_topic, self.key_of(gap.symbol), ENCODERS[Gap](gap))
            if self.offer_repair is not None:
                self.offer_repair(gap)

    def publish_settled(self, gap: Gap, rows: int) -> None:
        """What a repair, which gave ``rows`` records, made of a gap."""
        self.counts.gap_states[gap.gap_state] += 1
        self.counts.repairs[gap.gap_state] += 1
        self.counts.repaired_rows += rows
        self.publisher.publish(self.normalized_topic, self.key_of(gap.symbol), ENCODERS[Gap](gap))

    def lost(self, kind: GapKind, reason: str, venue_symbols: Collection[str] | None = None) -> None:
        """A connection ended, and no other covers these symbols (``None`` = all)."""
        self.publish_gaps(self.continuity.lost(kind, reason, time.time_ns(), venue_symbols))

    def tick(self) -> None:
        """About once a second: what has waited long enough to be called missing, or was released."""
        self.publish_gaps(self.continuity.overdue(time.time_ns()))
        for intake in self._intakes:
            intake.publish_released()

    def learn(self, statistics: Iterable[SymbolStatistics]) -> None:
        """New symbol statistics; checked against from the next record on."""
        news = {item.symbol: item for item in statistics}
        self._statistics.update(news)
        for intake in self._intakes:
            intake.checker.learn(news.values())

    def overlap(self, name: str, begins: bool) -> None:
        """From before a successor of the stream ``name`` is opened until after its elder is closed, the second
        copy of an event is left out."""
        if begins:
            self._overlapping.add(name)
        else:
            self._overlapping.discard(name)
        self.leaves_out = self._is_double if self._overlapping else None
        if not self._overlapping:
            self._seen.clear()

    def _is_double(self, record: Record) -> bool:
        """Whether an overlapping connection has given ``record`` before. Bars are never doubles: a newer state of
        one has the same identity."""
        if isinstance(record, Bar):
            return False
        identity = (record.symbol, record.channel, record.record_key)
        if identity in self._seen:
            self.counts.ignored[OVERLAP_DOUBLE] += 1
            return True
        if len(self._seen) >= OVERLAP_IDENTITIES_MAX:
            for known in list(self._seen)[: OVERLAP_IDENTITIES_MAX // 2]:
                del self._seen[known]
        self._seen[identity] = None
        return False

    def quarantine(self, item: Quarantined) -> bool:
        """Whether it went there now, and not in an earlier life."""
        self.counts.quarantined[item.code, item.severity] += 1
        key = f"{item.exchange}:{item.symbol}".encode(errors="replace")
        self.publisher.publish(self.quarantine_topic, key, encode_quarantined(item))
        return True

    def acknowledged(self, receive_time_ns: int) -> Acknowledged | None:
        """What to call when the frame received then is acknowledged."""
        observe = self.observe_ack_s
        if observe is None:
            return None
        return lambda: observe((time.time_ns() - receive_time_ns) * 1e-9)


class Intake:
    """One connection's frames, in the order of their arrival. Dies with the connection, as the parser does."""

    def __init__(
        self,
        ingest: Ingest,
        parser: Exchange,
        connection_id: str,
        endpoint: str,
        source: Source,
        venue_symbols: Collection[str] | None = None,
    ) -> None:
        self.connection_id = connection_id
        self.frame_sequence = 0
        self.last_event_ns: dict[str, int] = {}
        """Receipt of the newest event by channel."""
        self._ingest = ingest
        self._counts = ingest.counts
        self._exchange = ingest.exchange.name
        self._parser = parser
        # what a history gives, or an archive, lies in the past by intent
        judge_lateness = ingest.judge_lateness and source is Source.STREAM
        self.checker = Checker(ingest.exchange, judge_lateness=judge_lateness)
        self._check = self.checker.check
        self._observe = ingest.continuity.observe
        self._publish = ingest.publisher.publish
        self._endpoint = endpoint
        self._source = source
        self._key = connection_id.encode()
        self._tape_headers = TapeHeaders(self._exchange, endpoint, source)
        self._joins: dict[str, Join] = {}
        self.venue_symbols = venue_symbols
        """What the connection carries; ``None`` = not known."""
        self.snapshots_due_ns: dict[str, int] = {}
        """Venue symbols whose book needs a snapshot, and from when: a suspect book can wait."""

    def take(
        self, payload: bytes, receive_time_ns: int, endpoint: str | None = None
    ) -> Sequence[Reply | Fault]:
        """One frame all the way; what the venue wants to hear or has to say comes back.

        ``endpoint`` is given where it differs from the connection's own: the answer to a request.
        Raises ``TransportError``; nothing that a venue can send raises.
        """
        number = self.frame_sequence = self.frame_sequence + 1
        frame = Frame(
            self._exchange,
            self.connection_id,
            number,
            self._endpoint if endpoint is None else endpoint,
            receive_time_ns,
            payload,
            self._source,
        )
        ingest = self._ingest
        self._counts.frames += 1
        self._publish(
            ingest.raw_topic,
            self._key,
            payload,
            self._tape_headers.of(number, receive_time_ns) if endpoint is None else frame_headers(frame),
            None if number % ACK_SAMPLE_FRAMES else ingest.acknowledged(receive_time_ns),
        )
        return self.parse(frame)

    def parse(self, frame: Frame) -> Sequence[Reply | Fault]:
        """From the tape on. This loop is the hot path: it is flat, and calls only what every record needs."""
        try:
            outcomes: Sequence[Outcome] = self._parser.parse(frame)
        except Exception as error:  # noqa: BLE001  a parser's bug costs this message, with its code, not the connection
            outcomes = (Rejected(Code.PARSER_FAILED, f"{type(error).__name__}: {error}"),)
        ingest, counts = self._ingest, self._counts
        counts.events_read += len(outcomes)
        answers: list[Reply | Fault] | None = None
        record: Any  # records are told from the rest by a look-up, which no type checker follows
        for record in outcomes:
            encode = ENCODERS.get(type(record))
            if encode is None:
                answers = self._aside(frame, record, answers)
                continue
            if ingest.leaves_out is not None and ingest.leaves_out(record):
                continue
            findings = self._check(record)
            if findings:
                record = self._judged(frame, record, findings)
                if record is None:
                    continue
            if encode is _ENCODE_BOOK:
                record = self._followed(record)
            try:
                message = encode(record)
            except WireError as error:
                self._judged(frame, record, [Finding(Code.UNENCODABLE, Severity.HARD, "encode", str(error))])
                continue
            gaps = self._observe(record)
            if gaps:
                ingest.publish_gaps(gaps)
            symbol = record.symbol
            key = ingest.keys.get(symbol) or ingest.key_of(symbol)
            self._publish(ingest.normalized_topic, key, message)
            counts.published[record.kind] += 1
            self.last_event_ns[record.channel] = frame.receive_time_ns
        return answers or _NO_ANSWERS

    def publish_released(self) -> None:
        """Trades held as far out whose level the trades after them confirmed: now they are good, and noted so."""
        released, self.checker.released = self.checker.released, []
        for trade in released:
            message = ENCODERS[Trade](trade)
            self._publish(self._ingest.normalized_topic, self._ingest.key_of(trade.symbol), message)
            frame = Frame(
                trade.exchange,
                trade.connection_id,
                trade.frame_sequence,
                self._endpoint,
                trade.receive_time_ns,
                b"",
                trade.source,
            )
            reason = "the trades after it confirmed its level"
            finding = Finding(Code.PRICE_FAR_OUT, Severity.HARD, "price_far_out", reason)
            item = msgspec.structs.replace(
                self._found(frame, trade, finding, message),
                outcome=QuarantineOutcome.RELEASED,
                outcome_time_ns=time.time_ns(),
            )
            self._publish(self._ingest.quarantine_topic, self._key, encode_quarantined(item))
            # as the repair of the gap that its quarantine declared
            came_back = msgspec.structs.replace(trade, source=Source.REPAIR)
            self._ingest.publish_gaps(self._observe(came_back))

    def _followed(self, record: Book) -> Book:
        """``record``, flagged where its book went on over a small hole. Only sequences are kept, no levels."""
        join = self._joins.get(record.symbol)
        if join is None:
            join = self._joins[record.symbol] = Join(self._ingest.book_hole_messages_max)
        was_suspect, reason, holes = join.is_suspect, join.break_reason, join.holes
        join.take(record if join.is_joined else _bare(record))
        if not join.is_joined and join.break_reason != reason:
            self.snapshots_due_ns[record.venue_symbol] = record.receive_time_ns
        if not join.is_suspect:
            return record
        if not was_suspect:
            due_ns = record.receive_time_ns + SUSPECT_BOOK_NS
            self.snapshots_due_ns.setdefault(record.venue_symbol, due_ns)
        self._counts.snapshots_saved += join.holes - holes
        return msgspec.structs.replace(record, flags=(*record.flags, BOOK_HOLE))

    def _aside(
        self, frame: Frame, outcome: Outcome, answers: list[Reply | Fault] | None
    ) -> list[Reply | Fault] | None:
        """What is no record: quarantined, counted, or an answer, which is no event."""
        if isinstance(outcome, Rejected):
            is_new = self._ingest.quarantine(self._rejected(frame, outcome))
            if is_new and self._source is Source.STREAM and outcome.code not in HARMLESS_CODES:
                symbols = [outcome.venue_symbol] if outcome.venue_symbol else self.venue_symbols
                self._ingest.lost(GapKind.QUARANTINE, f"{outcome.code}: what it held is not known", symbols)
        elif isinstance(outcome, Ignored):
            self._counts.ignored[outcome.name] += 1
        else:
            self._counts.events_read -= 1
            if isinstance(outcome, Reply | Fault):
                return [*(answers or ()), outcome]
        return answers

    def _judged(self, frame: Frame, record: Record, findings: Sequence[Finding]) -> Record | None:
        """The record with its flags; ``None`` where it stays out."""
        flags = self._note(frame, record, findings)
        if flags is not None:
            return msgspec.structs.replace(record, flags=flags)
        self._ingest.publish_gaps(self._ingest.continuity.quarantined(record))
        return None

    def _note(self, frame: Frame, record: Record, findings: Sequence[Finding]) -> tuple[str, ...] | None:
        """Quarantine the first hard finding, or note every soft one; ``None`` if the record stays out."""
        try:
            encoded = ENCODERS[type(record)](record)
        except WireError:
            encoded = b""
        hard = next((finding for finding in findings if finding.severity is Severity.HARD), None)
        if hard:
            self._ingest.quarantine(self._found(frame, record, hard, encoded))
            return None
        for finding in findings:
            self._ingest.quarantine(self._found(frame, record, finding, encoded))
        return (*record.flags, *(finding.code for finding in findings if finding.code not in record.flags))

    def _rejected(self, frame: Frame, rejected: Rejected) -> Quarantined:
        names = self._parser.instruments.names
        symbol = names[rejected.venue_symbol][0] if rejected.venue_symbol else ""
        return self._quarantined(frame, rejected.code, rejected.reason, rejected.index, symbol)

    def _found(self, frame: Frame, record: Record, finding: Finding, encoded: bytes) -> Quarantined:
        item = self._quarantined(frame, finding.code, finding.reason, record.frame_index, record.symbol)
        kept = encoded if len(encoded) <= QUARANTINE_RECORD_BYTES_MAX else b""
        return msgspec.structs.replace(item, severity=finding.severity, rule=finding.rule, record=kept)

    def _quarantined(self, frame: Frame, code: str, reason: str, index: int, symbol: str) -> Quarantined:
        return Quarantined(
            code=str(code),
            severity=Severity.HARD,
            reason=_clean(reason)[:REASON_CHARACTERS_MAX],
            exchange=frame.exchange,
            endpoint=frame.endpoint,
            receive_time_ns=frame.receive_time_ns,
            source=frame.source,
            connection_id=frame.connection_id,
            frame_sequence=frame.frame_sequence,
            frame_index=index,
            parser_version=self._parser.parser_version,
            payload=frame.payload if len(frame.payload) <= QUARANTINE_PAYLOAD_BYTES_MAX else b"",
            symbol=_clean(symbol),
        )


class _DyingIntake(Intake):
    """Ends the process with one frame on the tape and nothing of it published: the crash point of that name."""

    def parse(self, frame: Frame) -> Sequence[Reply | Fault]:
        if frame.frame_sequence == CRASH_FRAME:
            self._ingest.die()
        return super().parse(frame)


def _bare(record: Book) -> Book:
    """Without its levels: many may have to wait for a snapshot."""
    return msgspec.structs.replace(record, bid_prices=(), bid_sizes=(), ask_prices=(), ask_sizes=())


def _clean(text: str) -> str:
    """Without lone surrogates, which garbled JSON can hold and no message can."""
    return text.encode(errors="replace").decode()
