"""The past of the topic, read for one client: all partitions merged into one order, bounded in memory.

The order is that of the times by which records were received; within a partition always its own, for there the order
of the topic is the order of what happened: a record that was received before the one ahead of it keeps its place. Equal
times go by partition. So the same range gives the same order each time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heapreplace
from typing import NamedTuple

from msgspec import Struct

from etl.gateway.entry import Entry, entry_of
from etl.transports.message import Message
from etl.transports.ranges import Overtaken, RangeReader
from etl.wire.glance import ReceiveTimes

READ_MESSAGES_MAX = 5_000
"""Of a partition, in memory at once: to go from one partition to the next takes the broker's answer."""
STEP_MESSAGES_MAX = 500
"""Taken of the client at once, and all that is held where there is one partition: to read a message takes 2.7 µs of
CPU so, and 3.9 where 5,000 are taken, which leave the processor's cache."""
LOT_MESSAGES_MAX = 2_000
"""Given at once."""


class Told(Struct, frozen=True, gc=False):
    """``time_ns``: when the entry was received, or what was received latest before it on its partition."""

    time_ns: int
    partition: int
    offset: int
    entry: Entry | None
    """``None`` for a message that is no record."""


class Missing(NamedTuple):
    """The topic no longer has [start, end) of ``partition``."""

    partition: int
    start: int
    end: int


class _Open(NamedTuple):
    """A range that is being read."""

    partition: int
    end: int
    lists: Iterator[list[Message]]


class Past:
    """Reads from ``offsets`` on; a partition that is not in them is new, and read from its beginning. Blocks; for one
    thread at a time."""

    def __init__(self, reader: RangeReader, offsets: Mapping[int, int]) -> None:
        self.offsets = dict(offsets)
        """By partition, the one after the last that was given or passed over."""
        self.missing: list[Missing] = []
        """Found so far."""
        self._reader = reader
        self._open: _Open | None = None
        self._read = dict(offsets)
        self._lots: dict[int, deque[Told]] = {partition: deque() for partition in offsets}
        self._times_ns = dict.fromkeys(offsets, 0)
        self._received = ReceiveTimes()

    def lot(self, ends: Mapping[int, int], messages_max: int = LOT_MESSAGES_MAX) -> list[Told]:
        """The next ``messages_max`` messages before ``ends``, in order; none when there are no more.

        Raises ``TransportError``, and ``RangeLost`` for ends that the topic does not have."""
        for partition in ends.keys() - self._read.keys():
            self.offsets[partition] = self._read[partition] = self._times_ns[partition] = 0
            self._lots[partition] = deque()
        heads = [head for partition in ends if (head := self._head(partition, ends)) is not None]
        heapify(heads)
        found: list[Told] = []
        while heads and len(found) < messages_max:
            partition = heads[0][1]
            if len(heads) == 1:  # nothing to merge: two thirds of the time
                found += self._run_of(partition, messages_max - len(found))
                if self._head(partition, ends) is None:
                    heads.clear()
                continue
            told = self._lots[partition].popleft()
            found.append(told)
            self.offsets[partition] = told.offset + 1
            following = self._head(partition, ends)
            if following is None:
                heappop(heads)
            else:
                heapreplace(heads, following)
        if not heads:
            for partition, end in ends.items():
                self.offsets[partition] = max(self.offsets[partition], end)
        return found

    def _run_of(self, partition: int, messages_max: int) -> list[Told]:
        """What is read of one partition."""
        lot = self._lots[partition]
        found = [lot.popleft() for _ in range(min(len(lot), messages_max))]
        self.offsets[partition] = found[-1].offset + 1
        return found

    def _head(self, partition: int, ends: Mapping[int, int]) -> tuple[int, int] | None:
        """The time of the next message of ``partition``; ``None`` at its end."""
        lot = self._lots[partition]
        if not lot:
            self._fill(partition, ends[partition])
        return (lot[0].time_ns, partition) if lot else None

    def _fill(self, partition: int, end: int) -> None:
        """The partition that was read last goes on being read: to begin anew takes the broker's answer."""
        lot = self._lots[partition]
        wanted = READ_MESSAGES_MAX if len(self._lots) > 1 else 1
        while len(lot) < wanted and self._read[partition] < end:
            if self._open is None or self._open.partition != partition:
                start = self._read[partition]
                lists = self._reader.read(partition, start, end, STEP_MESSAGES_MAX)
                self._open = _Open(partition, end, lists)
            try:
                messages = next(self._open.lists, None)
            except Overtaken as lost:
                self._open = None
                if lot:
                    return  # what comes before is told first
                self.missing.append(Missing(partition, lost.start, min(lost.low, end)))
                self._read[partition] = lost.low
                continue
            if messages is None:
                self._read[partition], self._open = self._open.end, None
                continue
            self._keep(lot, messages)
            self._read[partition] = messages[-1].offset + 1

    def _keep(self, lot: deque[Told], messages: list[Message]) -> None:
        partition, received = messages[0].partition, self._received.of
        time_ns = self._times_ns[partition]
        for message in messages:
            entry = entry_of(message)
            if entry is not None:
                time_ns = max(time_ns, received(entry.route, entry.value))
            lot.append(Told(time_ns, partition, message.offset, entry))
        self._times_ns[partition] = time_ns
