"""What a store may not hold, by the rules or by itself, goes to the quarantine, one record at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from google.protobuf.message import DecodeError

from etl import exchanges
from etl.model.records import Quarantined, Severity, Source
from etl.settings import Settings
from etl.transports.transport import transport_of
from etl.validation.rows import RowsCheck
from etl.wire import market_data_pb2 as pb
from etl.wire.codec import encode_quarantined
from etl.wire.columns import Refused, Rows, without
from etl.wire.keys import message_key

FLUSH_TIMEOUT_S = 60.0
FLUSH_EVERY_MESSAGES = 5_000
"""Of one call: what waits for the broker stays bounded, however many are refused."""
RECORD_BYTES_MAX = 1 << 20
"""A larger message is not copied into the quarantine: the reason says where on its topic it lies."""
NAME_CHARACTERS_MAX = 200
"""Of exchange, symbol and connection: of garbage they may be as long as a message."""
REASON_CHARACTERS_MAX = 500


@cache
def rows_check() -> RowsCheck:
    """The rules with the bounds of every venue that has a file. Raises ``UsageError`` if one has no spec."""
    return RowsCheck(map(exchanges.load, exchanges.names()))


def screened(batch: Sequence[Rows]) -> tuple[list[Rows], list[Refused]]:
    """``batch`` without the rows that break a hard rule, and these."""
    broken = [item for rows in batch for item in rows_check().refused(rows)]
    return (without(batch, {item.offset for item in broken}) if broken else list(batch)), broken


def quarantine(
    settings: Settings, refused: Iterable[tuple[Refused, bytes | None]], store: str, place: str = ""
) -> None:
    """Publish each refused message, whatever it is; returns once the broker has them all. Raises ``TransportError``.

    ``place`` and the offset identify a message that cannot even be read. A crash before the store's commit publishes
    them again: equal items, collapsed by whoever reads them.
    """
    publisher = transport_of(settings).publisher()
    for item, value in refused:
        quarantined = item_of(item, value, store, place)
        key = message_key(quarantined.exchange, quarantined.symbol)
        publisher.publish(settings.topics.quarantine, key, encode_quarantined(quarantined))
        if publisher.pending_messages >= FLUSH_EVERY_MESSAGES:
            publisher.flush(FLUSH_TIMEOUT_S)
    publisher.flush(FLUSH_TIMEOUT_S)


def item_of(item: Refused, value: bytes | None, store: str, place: str = "") -> Quarantined:
    """What the quarantine keeps of a refused message. Of any bytes there is one, and it fits a message of the topic:
    names are cut, a large message is named and not copied."""
    value = value or b""
    message = _readable(value)
    reason = f"{store}: {item.reason}"[:REASON_CHARACTERS_MAX]
    if len(value) > RECORD_BYTES_MAX:
        reason += f" ({len(value)} bytes, not copied: {place}@{item.offset})"
    connection_id = message.connection_id[:NAME_CHARACTERS_MAX]
    return Quarantined(
        code=item.code,
        severity=Severity.HARD,
        reason=reason.encode(errors="replace").decode(),
        exchange=message.exchange[:NAME_CHARACTERS_MAX],
        endpoint="",
        receive_time_ns=message.receive_time_ns,
        source=Source(message.source) if message.source in _SOURCES else Source.STREAM,
        connection_id=connection_id or place,
        frame_sequence=message.frame_sequence if connection_id else item.offset,
        frame_index=message.frame_index,
        parser_version=message.parser_version,
        record=value if len(value) <= RECORD_BYTES_MAX else b"",
        symbol=message.symbol[:NAME_CHARACTERS_MAX],
        rule=item.rule or store,
    )


_SOURCES = frozenset(map(int, Source))


def _readable(value: bytes) -> Any:
    """``value`` as a ``MarketData``, or an empty one: what names no kind is another message, or none."""
    message: Any = pb.MarketData()
    try:
        message.ParseFromString(value)
    except DecodeError:
        return pb.MarketData()
    return message if message.kind else pb.MarketData()
