"""A cursor: where a stream goes on, as the next offset of each partition of one topic. Pure.

    2f1b09aa.0:1204.1:993      the topic, then partition:offset

The topic's part is a checksum of the id that the cluster gave it: of a topic made anew under the same name the offsets
mean other messages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from zlib import crc32

from msgspec import Struct

from etl.errors import UsageError

TEXT_CHARACTERS_MAX = 32_768
_FORM = re.compile(r"([0-9a-f]{8})((?:\.\d{1,9}:\d{1,18})*)")


class Cursor(Struct, frozen=True):
    topic: str
    offsets: dict[int, int]

    def __str__(self) -> str:
        return cursor_text(self.topic, self.offsets)


def topic_mark(topic_id: str) -> str:
    """What stands for the topic in a cursor."""
    return f"{crc32(topic_id.encode()):08x}"


def cursor_text(topic: str, offsets: Mapping[int, int]) -> str:
    """``topic`` as ``topic_mark`` gives it."""
    return ".".join([topic, *[f"{partition}:{offset}" for partition, offset in sorted(offsets.items())]])


def parse_cursor(text: str) -> Cursor:
    """Raises ``UsageError``."""
    found = _FORM.fullmatch(text) if len(text) <= TEXT_CHARACTERS_MAX else None
    if not found:
        raise UsageError("that is no cursor: they read like 2f1b09aa.0:1204")
    pairs = [part.split(":") for part in found[2].split(".")[1:]]
    return Cursor(found[1], {int(partition): int(offset) for partition, offset in pairs})


def is_cursor(text: str) -> bool:
    return _FORM.fullmatch(text[:TEXT_CHARACTERS_MAX]) is not None


def advanced(text: str, at: str) -> str:
    """The cursor after the record at ``at`` (``partition:offset``) of a message whose last cursor was ``text``."""
    cursor = parse_cursor(text)
    partition, offset = at.split(":")
    return cursor_text(cursor.topic, {**cursor.offsets, int(partition): int(offset) + 1})
