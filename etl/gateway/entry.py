"""One message of the topic on its way to clients: written out once in each form, whoever wants it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from msgspec import Struct

from etl.errors import WireError
from etl.model.records import Record
from etl.transports.message import Message
from etl.wire.codec import decode
from etl.wire.glance import kind_of
from etl.wire.json_records import json_of
from etl.wire.varint import varint

JSON, PROTOBUF = "json", "protobuf"
FORMATS = (JSON, PROTOBUF)
OVERHEAD_BYTES = 500
"""Of an entry in memory, beside its message."""
AROUND_MAX = 4_096
"""Lengths of messages, by partition, for which is remembered what stands around them."""
_PLACE_TAG, _OFFSET_TAG, _RECORD_TAG, _DELIVERED_TAG, _CURSOR_TAG = (
    b"\x08",
    b"\x10",
    b"\x1a",
    b"\x12",
    b"\x0a",
)


class Entry(Struct, eq=False, gc=False):
    """``route`` is what a client is chosen by: the message's key and its kind. ``number`` counts what this process has
    read, over all partitions."""

    partition: int
    offset: int
    route: tuple[bytes, int]
    value: bytes
    number: int = 0
    _json: bytes | None = None
    _protobuf: bytes | None = None
    _record: Record | None = None

    def json(self) -> bytes:
        """Nothing for a message that is no record."""
        if self._json is None:
            try:
                record = json_of(self.value)
            except WireError:
                record = b""
            self._json = b'{"at":"%d:%d",%b' % (self.partition, self.offset, record[1:]) if record else b""
        return self._json

    def protobuf(self) -> bytes:
        """An element of ``Delivery.records``, the message passed through as it is."""
        if self._protobuf is None:
            offset = varint(self.offset)
            before, after = _around(self.partition, len(offset), len(self.value))
            self._protobuf = b"".join((before, offset, after, self.value))
        return self._protobuf

    def record(self) -> Record | None:
        """Decoded, once for all of whom something is made. ``None`` for a message that is no record."""
        if self._record is None:
            try:
                self._record = decode(self.value)
            except WireError:
                return None
        return self._record

    def forget(self) -> None:
        """What was written or decoded: whoever comes back for it has it done again."""
        self._json = self._protobuf = self._record = None


@lru_cache(maxsize=AROUND_MAX)
def _around(partition: int, offset_bytes: int, value_bytes: int) -> tuple[bytes, bytes]:
    """What stands before an offset and after it: the same for all messages of one length. To put it together for each
    took a third of the past's CPU."""
    place = _PLACE_TAG + varint(partition) + _OFFSET_TAG
    after = _RECORD_TAG + varint(value_bytes)
    inner_bytes = len(place) + offset_bytes + len(after) + value_bytes
    return _DELIVERED_TAG + varint(inner_bytes) + place, after


def entry_of(message: Message) -> Entry | None:
    """``None`` for what is no record: the stores' sinks quarantine it."""
    if not message.value or message.key is None:
        return None
    try:
        kind = kind_of(message.value)
    except WireError:
        return None
    return Entry(message.partition, message.offset, (message.key, kind), message.value)


def frame_of(form: str, cursor: str, entries: Iterable[Entry]) -> bytes:
    """What is sent: records and the cursor after them. Empty if there is nothing in it."""
    if form == JSON:
        records = b",".join(filter(None, [entry.json() for entry in entries]))
        return (
            b'{"type":"records","cursor":"%b","records":[%b]}' % (cursor.encode(), records)
            if records
            else b""
        )
    return (
        _CURSOR_TAG
        + varint(len(cursor))
        + cursor.encode()
        + b"".join([entry.protobuf() for entry in entries])
    )
