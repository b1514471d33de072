"""What a store may not hold, by the rules or by itself, goes to the quarantine, one record at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from google.protobuf.message import DecodeError

from etl import exchanges
from etl.model.records import Quarantined, Severity, Source
from etl.settings import Settings
from etl.transports.kafka import KafkaPublisher
from etl.validation.rows import RowsCheck
from etl.wire import market_data_pb2 as pb
from etl.wire.codec import encode_quarantined
from etl.wire.columns import Refused, Rows, without
from etl.wire.keys import message_key

FLUSH_TIMEOUT_S = 60.0


@cache
def rows_check() -> RowsCheck:
    """The rules with the bounds of every venue that has a file. Raises ``UsageError`` if one has no spec."""
    return RowsCheck(map(exchanges.load, exchanges.names()))


def screened(batch: Sequence[Rows]) -> tuple[list[Rows], list[Refused]]:
    """``batch`` without the rows that break a hard rule, and these."""
    broken = [item for rows in batch for item in rows_check().refused(rows)]
    return (without(batch, {item.offset for item in broken}) if broken else list(batch)), broken


def quarantine(
    settings: Settings, refused: Iterable[tuple[Refused, bytes]], store: str, place: str = ""
) -> None:
    """Publish each refused message; returns once the broker has them all. Raises ``TransportError``.

    ``place`` and the offset identify a message that cannot even be read. A crash before the store's commit publishes
    them again: equal items, collapsed by whoever reads them.
    """
    publisher = KafkaPublisher(settings)
    for item, value in refused:
        quarantined = _quarantined(item, value, store, place)
        key = message_key(quarantined.exchange, quarantined.symbol)
        publisher.publish(settings.topics.quarantine, key, encode_quarantined(quarantined))
    publisher.flush(FLUSH_TIMEOUT_S)


def _quarantined(item: Refused, value: bytes, store: str, place: str) -> Quarantined:
    message: Any = pb.MarketData()
    try:
        message.ParseFromString(value)
    except DecodeError:
        message = pb.MarketData()
    return Quarantined(
        code=item.code,
        severity=Severity.HARD,
        reason=f"{store}: {item.reason}",
        exchange=message.exchange,
        endpoint="",
        receive_time_ns=message.receive_time_ns,
        source=Source(message.source or Source.STREAM),
        connection_id=message.connection_id or place,
        frame_sequence=message.frame_sequence if message.connection_id else item.offset,
        frame_index=message.frame_index,
        parser_version=message.parser_version,
        record=value,
        symbol=message.symbol,
        rule=item.rule or store,
    )
