"""Protocol Buffers from field numbers alone, for venues that send them: no schema that a parser could share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etl.wire.varint import varint

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5
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


def text_of(message: bytes, number: int) -> str:
    """The text of a field of ``message``; "" where there is none, or what is there is no message."""
    at = 0
    try:
        while at < len(message):
            tag, at = _varint_at(message, at)
            if tag & 7 == VARINT:
                _, at = _varint_at(message, at)
            elif tag & 7 == DELIMITED:
                size, at = _varint_at(message, at)
                if tag >> 3 == number:
                    return message[at : at + size].decode()
                at += size
            elif tag & 7 in (FIXED64, FIXED32):
                at += 8 if tag & 7 == FIXED64 else 4
            else:
                return ""
    except (IndexError, UnicodeDecodeError):
        pass
    return ""


def _varint_at(message: bytes, at: int) -> tuple[int, int]:
    """The number, and where what follows begins. Raises ``IndexError``."""
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
