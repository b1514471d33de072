"""What can be told of a message without parsing it: its kind, whence it came, and when it was received. Pure.

Our encoders write fields in the order of their numbers: kind, four texts, the event's time, ours, the source. Who hands
on every message reads only so far; whatever is not so ordered is parsed.
"""

from __future__ import annotations

from struct import unpack_from
from typing import NamedTuple

from etl.wire.codec import parse

KIND_TAG = 1 << 3
_TEXT_TAGS = (0x12, 0x1A, 0x22, 0x2A)
"""Exchange, symbol, venue symbol, channel."""
_EVENT_TIME_TAG, _RECEIVE_TIME_TAG, _SOURCE_TAG = 0x31, 0x39, 0x40
_LENGTH_MAX = 0x7F
"""Of a text whose length is one byte."""


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
        at = 2 if value[0] == KIND_TAG and value[1] <= _LENGTH_MAX else len(value)
        for tag in _TEXT_TAGS:
            if value[at] == tag and value[at + 1] <= _LENGTH_MAX:
                at += 2 + value[at + 1]
        if value[at] == _EVENT_TIME_TAG:
            at += 9
        if value[at] == _RECEIVE_TIME_TAG and value[at + 9] == _SOURCE_TAG:
            return Glance(unpack_from("<q", value, at + 1)[0], value[at + 10])
    except IndexError:
        pass
    message = parse(value)
    return Glance(message.receive_time_ns, message.source)
