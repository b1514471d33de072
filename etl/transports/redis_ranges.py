"""Ranges of a topic of Redis, and a topic that is followed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import hiredis

from etl.errors import RangeLost, TransportError
from etl.settings import Settings
from etl.transports.message import Message
from etl.transports.ranges import Bounds, Overtaken, RangeReader
from etl.transports.redis_client import REQUEST_TIMEOUT_S, Connection, parse_address
from etl.transports.redis_log import (
    Topic,
    decode_entry,
    entry_end,
    entry_epoch,
    entry_start,
    entry_time_ms,
    keys_of,
    topic_of,
)

ENTRIES_MAX = 64
"""Read in one go: at most as many batches lie in memory."""
FOLLOW_POLL_S = 0.02
FOLLOW_EXACTLY_POLL_S = 0.005
"""Of who follows a topic from given offsets: it passes on what comes."""
NS_PER_MS = 1_000_000


class RedisRangeReader(RangeReader):
    """``group`` only shows the lag to whoever looks, nothing is ever read from it."""

    def __init__(self, settings: Settings, topic: str, group: str) -> None:
        self.topic = topic
        self._group = group
        address = parse_address(settings.redis_address)
        self._connection = Connection(address, REQUEST_TIMEOUT_S)
        self._keys = keys_of(address)

    def close(self) -> None:
        self._connection.close()

    def _topic(self) -> Topic:
        return topic_of(self._connection, self._keys, self.topic)

    def topic_id(self) -> str:
        return self._topic().id

    def bounds(self) -> dict[int, Bounds]:
        return {partition: self._bounds_of(partition) for partition in range(self._topic().partitions)}

    def _bounds_of(self, partition: int) -> Bounds:
        return bounds_of(
            self._connection.call("HMGET", self._keys.state(self.topic, partition), "low", "next")
        )

    def offsets_at(self, time_ns: int) -> dict[int, int]:
        time_ms = -(-time_ns // NS_PER_MS)
        return {
            partition: self._offset_at(partition, bounds, time_ms)
            for partition, bounds in self.bounds().items()
        }

    def _offset_at(self, partition: int, bounds: Bounds, time_ms: int) -> int:
        """By halves: the time of an entry is the greatest up to it."""
        low, high = bounds.low, bounds.high
        while low < high:
            middle = (low + high) // 2
            entry = self._entries(partition, middle, 1)
            if entry and entry_time_ms(entry[0]) < time_ms:
                low = entry_end(entry[0])
            else:
                high = middle
        found = [
            message.offset
            for entry in self._entries(partition, low, 1)
            for message in decode_entry(self.topic, partition, entry)
            if message.offset >= low and message.time_ms >= time_ms
        ]
        return found[0] if found else bounds.high

    def read(self, partition: int, start: int, end: int, messages_max: int) -> Iterator[list[Message]]:
        if start >= end:
            return
        self._require(partition, start, end)
        position = start
        waiting: list[Message] = []
        while position < end:
            entries = self._entries(partition, position)
            found = [message for entry in entries for message in decode_entry(self.topic, partition, entry)]
            wanted = [message for message in found if position <= message.offset < end]
            if not wanted or wanted[0].offset > position:
                # of a compacted topic there may be nothing there: else it was let go
                self._require(partition, position, end)
            waiting += wanted
            position = entry_end(entries[-1]) if entries else end
            while len(waiting) >= messages_max:
                yield waiting[:messages_max]
                del waiting[:messages_max]
        if waiting:
            yield waiting

    def _entries(self, partition: int, start: int, count: int = ENTRIES_MAX) -> list[Any]:
        """The one that holds ``start``, and those that follow."""
        key = self._keys.stream(self.topic, partition)
        found: list[Any] = self._connection.call("XRANGE", key, f"{start}-0", "+", "COUNT", count)
        return found

    def _require(self, partition: int, start: int, end: int) -> None:
        """Raises ``RangeLost`` unless the topic has [start, end)."""
        bounds, place = self._bounds_of(partition), f"{self.topic}[{partition}]"
        if end > bounds.high:
            raise RangeLost(f"{place}: the topic ends at {bounds.high} and had {end}")
        if start < bounds.low:
            raise Overtaken(
                f"{place}: offset {start} is gone, the topic begins at {bounds.low}", start, bounds.low
            )

    def known_end(self, partition: int, offset: int, leader_epoch: int, high: int) -> int:
        """Entries of a later run of the server are not those that were read under an earlier one: back to where they
        begin."""
        known = min(offset, high)
        while leader_epoch >= 0 and known > 0:
            entry = self._entries(partition, known - 1, 1)
            if not entry or entry_epoch(entry[0]) <= leader_epoch:
                break
            known = entry_start(entry[0])
        return known

    def show_progress(self, partition: int, offset: int) -> None:
        keys = self._keys
        place = keys.place(self.topic, partition, self._group)
        commit = ("FCALL", "etl_2_commit", 3, keys.stream(self.topic, partition),
                  keys.state(self.topic, partition), place, self._group, 0, offset, "")  # fmt: skip
        try:
            self._connection.call(*commit)
        except TransportError:
            return


def bounds_of(state: list[bytes | None]) -> Bounds:
    """Of the answer to HMGET low next."""
    return Bounds(int(state[0] or 0), int(state[1] or 0))


class RedisFollower:
    """See ``Follower``."""

    def __init__(self, settings: Settings, topic: str, starts: Mapping[int, int] | None = None) -> None:
        address = parse_address(settings.redis_address)
        self._connection = Connection(address, REQUEST_TIMEOUT_S)
        self._topic = topic
        self._keys = keys_of(address)
        self._is_exact = starts is not None
        self._poll_s = FOLLOW_POLL_S if starts is None else FOLLOW_EXACTLY_POLL_S
        self._positions = {0: 0} if starts is None else dict(starts)

    def poll(self, messages_max: int, timeout_s: float = 0.0) -> list[Message]:
        deadline_s = time.monotonic() + timeout_s
        while True:
            found = self._read(messages_max)
            left_s = deadline_s - time.monotonic()
            if found or left_s <= 0:
                return found
            time.sleep(min(left_s, self._poll_s))

    def _read(self, messages_max: int) -> list[Message]:
        """Nothing, as long as the server does not answer."""
        count = ENTRIES_MAX if self._is_exact else messages_max
        commands = [
            ("XRANGE", self._keys.stream(self._topic, partition), f"{position}-0", "+", "COUNT", count)
            for partition, position in self._positions.items()
        ]
        try:
            answers = self._connection.calls(commands)
        except TransportError:
            return []
        read: list[Message] = []
        for (partition, position), entries in zip(list(self._positions.items()), answers, strict=True):
            if isinstance(entries, hiredis.ReplyError):
                continue
            found = [message for entry in entries for message in decode_entry(self._topic, partition, entry)]
            new = [message for message in found if message.offset >= position][: messages_max - len(read)]
            if not new:
                continue
            if self._is_exact and new[0].offset > position:
                raise RangeLost(f"Redis: {self._topic}-{partition}: offset {position} is gone")
            self._positions[partition] = new[-1].offset + 1
            read += new
        return read

    def close(self) -> None:
        self._connection.close()
