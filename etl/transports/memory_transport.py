"""A transport within one process: topics, ranges, followers and groups as the contract has them, and nothing on a disk.

For tests and for whoever wants what the platform makes without a broker. It passes the contract suite of Kafka and
Redis, so that what runs on it runs on them. Not for several threads.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from msgspec import Struct, field

from etl.errors import RangeLost, TransportError
from etl.settings import Settings
from etl.transports.group import Backlog, Group, Member, Place
from etl.transports.memory import MemoryPublisher
from etl.transports.memory_group import GroupState, MemoryGroup
from etl.transports.message import Message
from etl.transports.partitions import partition_of
from etl.transports.publisher import Acknowledged, Headers
from etl.transports.ranges import Bounds, Ends, Overtaken, RangeReader

NS_PER_MS = 1_000_000


class Log(Struct):
    """A partition. ``messages`` by offset; of a compacted topic the newest of each key."""

    low: int = 0
    high: int = 0
    messages: dict[int, Message] = field(default_factory=dict)
    newest: dict[bytes, int] = field(default_factory=dict)

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.low, self.high)

    def let_go(self, before: int) -> None:
        """Of everything before that offset."""
        for offset in range(self.low, min(before, self.high)):
            self.messages.pop(offset, None)
        self.low = max(self.low, min(before, self.high))


class MemoryTopic(Struct):
    name: str
    compacted: bool
    logs: list[Log]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def append(self, key: bytes, value: bytes | None, headers: Headers | None) -> None:
        number = partition_of(key, len(self.logs))
        log, pairs = self.logs[number], list((headers or {}).items()) or None
        now_ms = time.time_ns() // NS_PER_MS
        if self.compacted:
            log.messages.pop(log.newest.get(key, -1), None)
            log.newest[key] = log.high
        log.messages[log.high] = Message(self.name, number, log.high, key, value, lambda: pairs, now_ms)
        log.high += 1


class MemoryTransport:
    """See ``Transport``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics: dict[str, MemoryTopic] = {}
        self._groups: dict[str, GroupState] = {}

    def topic(self, name: str) -> MemoryTopic:
        """Raises ``TransportError`` for one that does not exist."""
        if name not in self._topics:
            raise TransportError(f"memory: topic {name}: there is none")
        return self._topics[name]

    def ensure_topics(self) -> None:
        topics = self._settings.topics
        for name, partitions, compacted in (
            (topics.raw, topics.partitions, False),
            (topics.normalized, topics.partitions, False),
            (topics.quarantine, 1, False),
            (topics.statistics, 1, True),
            (topics.positions, 1, True),
        ):
            if name not in self._topics:
                self._topics[name] = MemoryTopic(name, compacted, [Log() for _ in range(partitions)])

    def hold(self, topic: str, group: str) -> None:
        """Nothing: only ``Log.let_go`` lets anything go."""

    def publisher(self) -> MemoryTopicPublisher:
        return MemoryTopicPublisher(self)

    def reader(self, topic: str, group: str) -> RangeReader:
        return MemoryRangeReader(self, topic, group)

    def follower(self, topic: str, group: str, starts: Mapping[int, int] | None = None) -> MemoryFollower:
        return MemoryFollower(self.topic(topic), starts)

    def group(self, name: str, member: Member) -> Group:
        return MemoryGroup(self.topic, self.state_of(name), member)

    def state_of(self, group: str) -> GroupState:
        return self._groups.setdefault(group, GroupState())

    def ends(self, topics: Sequence[str], timeout_s: float) -> dict[str, Ends]:
        found = [self.topic(name) for name in topics]
        return {one.name: Ends(one.id, {n: log.high for n, log in enumerate(one.logs)}) for one in found}

    def backlogs(self, timeout_s: float) -> list[Backlog]:
        return [
            Backlog(group, place.topic, place.partition, max(0, self._high(place) - place.offset))
            for group, state in self._groups.items()
            for place in state.committed.values()
        ]

    def commits(self, topics: Sequence[str], timeout_s: float) -> dict[str, list[Place]]:
        return {
            group: places
            for group, state in self._groups.items()
            if (places := [place for place in state.committed.values() if place.topic in topics])
        }

    def behind(self, group: str, topics: Sequence[str], timeout_s: float) -> int:
        committed = self.state_of(group).committed
        return sum(
            log.high - max(log.low, committed.get((name, number), Place(name, number)).offset)
            for name in topics
            for number, log in enumerate(self.topic(name).logs)
        )

    def _high(self, place: Place) -> int:
        return self.topic(place.topic).logs[place.partition].high


class MemoryTopicPublisher(MemoryPublisher):
    """``delivered`` shows what was taken, too."""

    def __init__(self, transport: MemoryTransport) -> None:
        super().__init__()
        self._transport = transport
        self._settled: list[Acknowledged] = []

    def publish(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        headers: Headers | None = None,
        acknowledged: Acknowledged | None = None,
    ) -> None:
        kept = dict(headers or {})

        def taken() -> None:
            self._transport.topic(topic).append(key, value, kept)
            if acknowledged is not None:
                acknowledged()

        super().publish(topic, key, value or b"", kept, taken)

    def settle(self, settled: Acknowledged) -> None:
        self._settled.append(settled)

    def poll(self) -> None:
        super().poll()
        if not self.pending_messages:
            called, self._settled = self._settled, []
            for settled in called:
                settled()


class MemoryRangeReader(RangeReader):
    """See ``RangeReader``."""

    def __init__(self, transport: MemoryTransport, topic: str, group: str) -> None:
        self.topic = topic
        self._transport = transport
        self._group = group

    def close(self) -> None: ...

    @property
    def _logs(self) -> list[Log]:
        return self._transport.topic(self.topic).logs

    def topic_id(self) -> str:
        return self._transport.topic(self.topic).id

    def bounds(self) -> dict[int, Bounds]:
        return {number: log.bounds for number, log in enumerate(self._logs)}

    def offsets_at(self, time_ns: int) -> dict[int, int]:
        return {
            number: next((o for o, m in log.messages.items() if m.time_ms * NS_PER_MS >= time_ns), log.high)
            for number, log in enumerate(self._logs)
        }

    def read(self, partition: int, start: int, end: int, messages_max: int) -> Iterator[list[Message]]:
        log, place = self._logs[partition], f"{self.topic}[{partition}]"
        if start >= end:
            return
        if end > log.high:
            raise RangeLost(f"{place}: the topic ends at {log.high} and had {end}")
        while start < end:
            if start < log.low:
                raise Overtaken(
                    f"{place}: offset {start} is gone, the topic begins at {log.low}", start, log.low
                )
            found: list[Message] = []
            while start < end and len(found) < messages_max:
                if message := log.messages.get(start):  # of a compacted topic there may be nothing there
                    found.append(message)
                start += 1
            if found:
                yield found

    def known_end(self, partition: int, offset: int, leader_epoch: int, high: int) -> int:
        return min(offset, high)

    def show_progress(self, partition: int, offset: int) -> None:
        state = self._transport.state_of(self._group)
        state.committed[self.topic, partition] = Place(self.topic, partition, offset)


class MemoryFollower:
    """See ``Follower``."""

    def __init__(self, topic: MemoryTopic, starts: Mapping[int, int] | None) -> None:
        self._topic = topic
        self._is_exact = starts is not None
        self._positions = {0: 0} if starts is None else dict(starts)

    def poll(self, messages_max: int, timeout_s: float = 0.0) -> list[Message]:
        found: list[Message] = []
        for partition, position in self._positions.items():
            log = self._topic.logs[partition]
            if self._is_exact and position < log.low:
                raise RangeLost(f"memory: {self._topic.name}-{partition}: offset {position} is gone")
            offsets = (offset for offset in log.messages if offset >= position)
            new = [log.messages[offset] for offset in islice(offsets, messages_max - len(found))]
            if new:
                self._positions[partition] = new[-1].offset + 1
                found += new
        if not found and timeout_s:
            time.sleep(timeout_s)
        return found

    def close(self) -> None: ...
