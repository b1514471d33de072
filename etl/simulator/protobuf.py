"""Protocol Buffers from field numbers alone, for venues that send them: no schema that a parser could share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etl.wire.varint import varint

VARINT, DELIMITED = 0, 2
NEGATIVE = 1 << 64


def protobuf(fields: Mapping[str, Any]) -> bytes:
    """``{"1": "text", "6": 7, "314": {"1": [{…}, {…}]}}`` as a message: numbers → varints, texts and messages → with
    their length, arrays → one field after the other."""
    return b"".join(_field(int(number), value) for number, value in fields.items())


def _field(number: int, value: Any) -> bytes:
    if isinstance(value, list):
        return b"".join(_field(number, one) for one in value)
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value % NEGATIVE)
    body = protobuf(value) if isinstance(value, Mapping) else str(value).encode()
    return varint(number << 3 | DELIMITED) + varint(len(body)) + body
