"""The way of a frame: raw tape first, then parse, check, publish. The same for live, replay, repair and backfill.

``Ingest`` belongs to one venue's worker, ``Intake`` to one connection of it. Both do their work in the call that
brings the frame, without waiting: the publisher queues, and whoever reads the socket stops at its threshold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

import msgspec

from etl import crash
from etl.continuity import Continuity
from etl.errors import WireError
from etl.exchange import Exchange, Fault, Ignored, Rejected, Reply
from etl.monitoring.metrics import WorkerCounts
from etl.records import Bar, Frame, Gap, GapKind, Quarantined, Record, Severity, Source
from etl.settings import Settings
from etl.transports.kafka import frame_headers
from etl.transports.publisher import Acknowledged, Publisher
from etl.validation import Checker, Finding
from etl.wire.codec import ENCODERS, KIND_NAMES, encode_quarantined

KEYS_MAX = 100_000
"""Symbols whose message key is remembered."""
ACK_SAMPLE_FRAMES = 64
"""One raw message in so many reports how long its acknowledgement took."""
QUARANTINE_PAYLOAD_BYTES_MAX = 64 << 10
"""A larger frame is not copied into the quarantine: connection_id and frame_sequence find it on the raw topic."""
CRASH_FRAME = 200
"""Number of the frame on its connection at which the crash point lies."""
CRASH_FLUSH_TIMEOUT_S = 30.0
OVERLAP_IDENTITIES_MAX = 500_000
"""Identities remembered while two connections carry the same streams; the oldest half goes when it is full."""
OVERLAP_DOUBLE = "overlap_double"
"""Name under which the second copy of an event on overlapping connections is counted."""
REASON_CHARACTERS_MAX = 500


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
        self.judge_lateness = settings.live or not settings.recordings_dir
        """Served recordings carry the times of another day."""
        self.raw_topic = settings.raw_topic
        self._normalized_topic = settings.normalized_topic
        self._quarantine_topic = settings.quarantine_topic
        self.observe_ack_s: Callable[[float], None] | None = None
        self._keys: dict[str, bytes] = {}
        self.continuity = Continuity(exchange) if continuity is None else continuity
        self.overlaps = False
        self._overlapping: set[str] = set()
        self._seen: dict[tuple[str, str, str], None] = {}

    def intake(
        self, parser: Exchange, connection_id: str, endpoint: str, source: Source = Source.STREAM
    ) -> Intake:
        """The way in for one connection's frames."""
        kind = _DyingIntake if self._settings.crash_point == crash.BETWEEN_RAW_AND_NORMALIZED else Intake
        return kind(self, parser, connection_id, endpoint, source)

    def die(self) -> None:
        """As by ``kill -9``, with everything published so far acknowledged. For tests."""
        self.publisher.flush(CRASH_FLUSH_TIMEOUT_S)
        crash.reach(self._settings, crash.BETWEEN_RAW_AND_NORMALIZED)

    def publish(self, record: Record, message: bytes) -> None:
        """``message`` is ``record`` encoded."""
        symbol = record.symbol
        key = self._keys.get(symbol)
        if key is None:
            if len(self._keys) >= KEYS_MAX:
                self._keys.clear()
            key = self._keys[symbol] = f"{self.exchange.name}:{symbol}".encode()
        self.publisher.publish(self._normalized_topic, key, message)

    def publish_gaps(self, gaps: Sequence[Gap]) -> None:
        for gap in gaps:
            self.counts.gaps[gap.gap_kind] += 1
            self.publish(gap, ENCODERS[Gap](gap))

    def lost(self, kind: GapKind, reason: str, venue_symbols: Collection[str] | None = None) -> None:
        """A connection ended, and no other covers these symbols (``None`` = all)."""
        self.publish_gaps(self.continuity.lost(kind, reason, time.time_ns(), venue_symbols))

    def tick(self) -> None:
        """About once a second: what has waited long enough to be called missing."""
        self.publish_gaps(self.continuity.overdue(time.time_ns()))

    def overlap(self, name: str, begins: bool) -> None:
        """From before a successor of the stream ``name`` is opened until after its elder is closed, the second
        copy of an event is left out."""
        if begins:
            self._overlapping.add(name)
        else:
            self._overlapping.discard(name)
        self.overlaps = bool(self._overlapping)
        if not self.overlaps:
            self._seen.clear()

    def is_double(self, record: Record) -> bool:
        """Whether an overlapping connection has given ``record`` before. Bars are never doubles: a newer state of
        one has the same identity."""
        if isinstance(record, Bar):
            return False
        identity = (record.symbol, record.channel, record.record_key)
        if identity in self._seen:
            return True
        if len(self._seen) >= OVERLAP_IDENTITIES_MAX:
            for known in list(self._seen)[: OVERLAP_IDENTITIES_MAX // 2]:
                del self._seen[known]
        self._seen[identity] = None
        return False

    def quarantine(self, item: Quarantined) -> None:
        self.counts.quarantined[item.code, item.severity] += 1
        key = f"{item.exchange}:{item.symbol}".encode(errors="replace")
        self.publisher.publish(self._quarantine_topic, key, encode_quarantined(item))

    def acknowledged(self, receive_time_ns: int) -> Acknowledged | None:
        """What to call when the frame received then is acknowledged."""
        observe = self.observe_ack_s
        if observe is None:
            return None
        return lambda: observe((time.time_ns() - receive_time_ns) * 1e-9)


class Intake:
    """One connection's frames, in the order of their arrival. Dies with the connection, as the parser does."""

    def __init__(
        self, ingest: Ingest, parser: Exchange, connection_id: str, endpoint: str, source: Source
    ) -> None:
        self.connection_id = connection_id
        self.frame_sequence = 0
        self.last_event_ns: dict[str, int] = {}
        """Receipt of the newest event by channel."""
        self._ingest = ingest
        self._counts = ingest.counts
        self._exchange = ingest.exchange.name
        self._parser = parser
        self._check = Checker(ingest.exchange, judge_lateness=ingest.judge_lateness).check
        self._endpoint = endpoint
        self._source = source
        self._key = connection_id.encode()
        head = Frame(self._exchange, connection_id, 0, endpoint, 0, b"", source)
        self._headers = frame_headers(head)

    def take(
        self, payload: bytes, receive_time_ns: int, endpoint: str | None = None
    ) -> Sequence[Reply | Fault]:
        """One frame all the way; what the venue wants to hear or has to say comes back.

        ``endpoint`` is given where it differs from the connection's own: the answer to a request.
        Raises ``TransportError``; nothing that a venue can send raises.
        """
        self.frame_sequence += 1
        frame = Frame(
            self._exchange,
            self.connection_id,
            self.frame_sequence,
            self._endpoint if endpoint is None else endpoint,
            receive_time_ns,
            payload,
            self._source,
        )
        self._publish_raw(frame)
        return self._parse(frame)

    def _parse(self, frame: Frame) -> Sequence[Reply | Fault]:
        """From the tape on."""
        try:
            outcomes = self._parser.parse(frame)
        except Exception as error:  # noqa: BLE001  a parser's bug costs this message, with its code, not the connection
            outcomes = (Rejected("parser_failed", f"{type(error).__name__}: {error}"),)
        return self._sorted(frame, outcomes)

    def _sorted(self, frame: Frame, outcomes: Sequence[object]) -> Sequence[Reply | Fault]:
        counts = self._counts
        answers: list[Reply | Fault] = []
        for outcome in outcomes:
            if type(outcome) in ENCODERS:
                counts.events_read += 1
                self._accept(frame, outcome)  # type: ignore[arg-type]
            elif isinstance(outcome, Rejected):
                counts.events_read += 1
                self._quarantine(self._rejected(frame, outcome))
            elif isinstance(outcome, Ignored):
                counts.events_read += 1
                counts.ignored[outcome.name] += 1
            elif isinstance(outcome, Reply | Fault):
                answers.append(outcome)
        return answers

    def _accept(self, frame: Frame, record: Record) -> None:
        ingest = self._ingest
        if ingest.overlaps and ingest.is_double(record):
            self._counts.ignored[OVERLAP_DOUBLE] += 1
            return
        findings = self._check(record)
        if findings:
            flags = self._note(frame, record, findings)
            if flags is None:
                ingest.publish_gaps(ingest.continuity.quarantined(record))
                return
            record = msgspec.structs.replace(record, flags=flags)
        try:
            message = ENCODERS[type(record)](record)
        except WireError as error:
            finding = Finding("unencodable", Severity.HARD, "encode", str(error))
            self._quarantine(self._found(frame, record, finding, b""))
            ingest.publish_gaps(ingest.continuity.quarantined(record))
            return
        gaps = ingest.continuity.observe(record)
        if gaps:
            ingest.publish_gaps(gaps)
        ingest.publish(record, message)
        self._counts.published[KIND_NAMES[record.kind]] += 1
        self.last_event_ns[record.channel] = frame.receive_time_ns

    def _note(self, frame: Frame, record: Record, findings: Sequence[Finding]) -> tuple[str, ...] | None:
        """Quarantine the first hard finding, or note every soft one; ``None`` if the record stays out."""
        try:
            encoded = ENCODERS[type(record)](record)
        except WireError:
            encoded = b""
        hard = next((finding for finding in findings if finding.severity is Severity.HARD), None)
        if hard:
            self._quarantine(self._found(frame, record, hard, encoded))
            return None
        for finding in findings:
            self._quarantine(self._found(frame, record, finding, encoded))
        return (*record.flags, *(finding.code for finding in findings if finding.code not in record.flags))

    def _quarantine(self, item: Quarantined) -> None:
        self._ingest.quarantine(item)

    def _publish_raw(self, frame: Frame) -> None:
        ingest = self._ingest
        self._counts.frames += 1
        self._counts.frame_bytes += len(frame.payload)
        sampled = frame.frame_sequence % ACK_SAMPLE_FRAMES == 0
        ingest.publisher.publish(
            ingest.raw_topic,
            self._key,
            frame.payload,
            frame_headers(frame),
            ingest.acknowledged(frame.receive_time_ns) if sampled else None,
        )

    def _rejected(self, frame: Frame, rejected: Rejected) -> Quarantined:
        names = self._parser.instruments.names
        symbol = names[rejected.venue_symbol][0] if rejected.venue_symbol else ""
        return self._quarantined(frame, rejected.code, rejected.reason, rejected.index, symbol)

    def _found(self, frame: Frame, record: Record, finding: Finding, encoded: bytes) -> Quarantined:
        item = self._quarantined(frame, finding.code, finding.reason, record.frame_index, record.symbol)
        return msgspec.structs.replace(item, severity=finding.severity, rule=finding.rule, record=encoded)

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

    def _parse(self, frame: Frame) -> Sequence[Reply | Fault]:
        if frame.frame_sequence == CRASH_FRAME:
            self._ingest.die()
        return super()._parse(frame)


def _clean(text: str) -> str:
    """Without lone surrogates, which garbled JSON can hold and no message can."""
    return text.encode(errors="replace").decode()
