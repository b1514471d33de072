"""From one connection onto the quarantine topic: rejected events, records that break a rule, and their release."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from etl.adapter.contract import Exchange, Rejected
from etl.errors import WireError
from etl.ingest.feed import Feed
from etl.ingest.observer import Observer
from etl.model.codes import Code
from etl.model.records import Frame, Quarantined, QuarantineOutcome, Record, Severity, Trade
from etl.validation import Finding
from etl.wire.codec import ENCODERS, encode_quarantined

PAYLOAD_BYTES_MAX = 64 << 10
"""A larger frame is not copied into the quarantine: connection_id and frame_sequence find it on the raw topic."""
RECORD_BYTES_MAX = 1 << 20
REASON_CHARACTERS_MAX = 500
RELEASED_REASON = "the trades after it confirmed its level"


class QuarantineNotes:
    """Of one connection, whose parser is ``parser``."""

    def __init__(self, feed: Feed, parser: Exchange, observer: Observer) -> None:
        self._feed = feed
        self._parser = parser
        self._observer = observer

    def reject(self, frame: Frame, rejected: Rejected) -> bool:
        """Note what cannot be a record; whether it was noted."""
        names = self._parser.instruments.names
        symbol = names[rejected.venue_symbol][0] if rejected.venue_symbol else ""
        return self._put(self._item(frame, rejected.code, rejected.reason, rejected.index, symbol))

    def hold(self, frame: Frame, record: Record, finding: Finding) -> None:
        """Note a record that stays out."""
        self._put(self._found(frame, record, finding, _encoded(record)))

    def flag(self, frame: Frame, record: Record, findings: Sequence[Finding]) -> Record:
        """Note each finding beside ``record``, which goes on with their codes as its flags."""
        encoded = _encoded(record)
        for finding in findings:
            self._put(self._found(frame, record, finding, encoded))
        new = (finding.code for finding in findings if finding.code not in record.flags)
        return msgspec.structs.replace(record, flags=(*record.flags, *new))

    def release(self, trade: Trade, endpoint: str, message: bytes, key: bytes) -> None:
        """Note that ``trade``, held as far out and encoded as ``message``, is published after all."""
        frame = Frame(
            trade.exchange,
            trade.connection_id,
            trade.frame_sequence,
            endpoint,
            trade.receive_time_ns,
            b"",
            trade.source,
        )
        finding = Finding(Code.PRICE_FAR_OUT, Severity.HARD, "price_far_out", RELEASED_REASON)
        item = msgspec.structs.replace(
            self._found(frame, trade, finding, message),
            outcome=QuarantineOutcome.RELEASED,
            outcome_time_ns=time.time_ns(),
        )
        self._feed.publisher.publish(self._feed.quarantine_topic, key, encode_quarantined(item))

    def _put(self, item: Quarantined) -> bool:
        admitted = self._observer.admits(item)
        if admitted:
            self._feed.quarantine(item)
        return admitted

    def _found(self, frame: Frame, record: Record, finding: Finding, encoded: bytes) -> Quarantined:
        item = self._item(frame, finding.code, finding.reason, record.frame_index, record.symbol)
        kept = encoded if len(encoded) <= RECORD_BYTES_MAX else b""
        return msgspec.structs.replace(item, severity=finding.severity, rule=finding.rule, record=kept)

    def _item(self, frame: Frame, code: str, reason: str, index: int, symbol: str) -> Quarantined:
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
            payload=frame.payload if len(frame.payload) <= PAYLOAD_BYTES_MAX else b"",
            symbol=_clean(symbol),
        )


def _encoded(record: Record) -> bytes:
    try:
        return ENCODERS[type(record)](record)
    except WireError:
        return b""


def _clean(text: str) -> str:
    """Without lone surrogates, which garbled JSON can hold and no message can."""
    return text.encode(errors="replace").decode()
