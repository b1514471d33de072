"""What can be told of a message without parsing it: its kind, whence it came, and when it was received. Pure.

Our encoders write fields in the order of their numbers: kind, four texts, the event's time, ours, the source. Who hands
on every message reads only so far; whatever is not so ordered is parsed.
"""

from __future__ import annotations

from struct import Struct, unpack_from
from typing import NamedTuple

from etl.wire.codec import parse

KIND_TAG = 1 << 3
_TEXT_TAGS = (0x12, 0x1A, 0x22, 0x2A)
"""Exchange, symbol, venue symbol, channel."""
_EVENT_TIME_TAG, _RECEIVE_TIME_TAG, _SOURCE_TAG = 0x31, 0x39, 0x40
_TAGS = (bytes([_RECEIVE_TIME_TAG]), bytes([_SOURCE_TAG]))
_LENGTH_MAX = 0x7F
"""Of a text whose length is one byte."""

ROUTES_MAX = 50_000
"""Keys and kinds whose beginning is remembered."""
_int64 = Struct("<q").unpack_from


class Glance(NamedTuple):
    receive_time_ns: int
    source: int


def kind_of(value: bytes) -> int:
    """The number of its kind, known here or not. Raises ``WireError``."""
    if len(value) > 1 and value[0] == KIND_TAG and value[1] <= _LENGTH_MAX:
        return value[1]
    return int(parse(value).kind)


def glance(value: bytes) -> Glance:
    """Raises ``WireError``."""
    try:
        at = _texts_end(value)
        if value[at] == _EVENT_TIME_TAG:
            at += 9
        if value[at] == _RECEIVE_TIME_TAG and value[at + 9] == _SOURCE_TAG:
            return Glance(unpack_from("<q", value, at + 1)[0], value[at + 10])
    except IndexError:
        pass
    message = parse(value)
    return Glance(message.receive_time_ns, message.source)


class ReceiveTimes:
    """When messages were received, of many: up to the times, most messages of one key and kind begin alike, so that the
    beginning of the last one tells where they stand in the next. 0.4 µs a message, a glance 1.4."""

    def __init__(self) -> None:
        self._beginnings: dict[tuple[bytes, int], tuple[bytes, int]] = {}
        """By key and kind: what stands before the times with the tag of the first, and the place of ours."""

    def of(self, route: tuple[bytes, int], value: bytes) -> int:
        """``route``: key and kind of the message. Raises ``WireError``."""
        known = self._beginnings.get(route)
        if known is not None:
            beginning, at = known
            if value.startswith(beginning) and (value[at : at + 1], value[at + 9 : at + 10]) == _TAGS:
                return int(_int64(value, at + 1)[0])
        return self._read(route, value)

    def _read(self, route: tuple[bytes, int], value: bytes) -> int:
        if len(self._beginnings) >= ROUTES_MAX:
            self._beginnings.clear()
        if (beginning := _beginning_of(value)) is not None:
            self._beginnings[route] = beginning
        return glance(value).receive_time_ns


def _beginning_of(value: bytes) -> tuple[bytes, int] | None:
    """``None`` where fields do not stand in the order of their numbers."""
    try:
        at = _texts_end(value)
    except IndexError:
        return None
    if at + 10 > len(value) or value[at] not in (_EVENT_TIME_TAG, _RECEIVE_TIME_TAG):
        return None
    return value[: at + 1], at + (9 if value[at] == _EVENT_TIME_TAG else 0)


def _texts_end(value: bytes) -> int:
    """Where the fields end that stand before the times. Raises ``IndexError``."""
    at = 2 if value[0] == KIND_TAG and value[1] <= _LENGTH_MAX else len(value)
    for tag in _TEXT_TAGS:
        if value[at] == tag and value[at + 1] <= _LENGTH_MAX:
            at += 2 + value[at + 1]
    return at
