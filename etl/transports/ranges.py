"""Exact ranges of a topic, and whole topics, read without a group: what the TimescaleDB load and the lake are built on.

A range is [start, end) of one partition. The same range gives the same messages for as long as the topic keeps
them; when it no longer does, ``RangeLost``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from msgspec import Struct

from etl.errors import RangeLost
from etl.transports.message import Message

MESSAGES_MAX = 1 << 62
"""More than a topic can have."""
READ_MESSAGES_MAX = 5_000
"""Of one call to the client, where a whole topic is read."""


class Bounds(Struct, frozen=True):
    """Offsets of a partition: the first it still has, and the one after its last."""

    low: int
    high: int


class Ends(Struct, frozen=True):
    """Of one topic: the id that the cluster gave it, and per partition the offset after its last message and under
    which leader that came (``RangeReader.known_end``)."""

    topic_id: str
    offsets: dict[int, int]
    leader_epochs: dict[int, int] = {}


class Overtaken(RangeLost):
    """Retention took [start, low) before it was read."""

    def __init__(self, text: str, start: int, low: int) -> None:
        super().__init__(text)
        self.start = start
        self.low = low


class RangeReader(ABC):
    """Reads ranges of ``topic``. Every method raises ``TransportError`` where the broker does not answer."""

    topic: str

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def topic_id(self) -> str:
        """The id the cluster gave the topic; a topic made anew under the same name has another."""

    @abstractmethod
    def bounds(self) -> dict[int, Bounds]:
        """Low and high watermark of every partition, now."""

    @abstractmethod
    def offsets_at(self, time_ns: int) -> dict[int, int]:
        """Per partition, the first offset whose message was produced at ``time_ns`` or later; its end if none."""

    @abstractmethod
    def read(self, partition: int, start: int, end: int, messages_max: int) -> Iterator[list[Message]]:
        """The messages of [start, end) in order, in lists of 1 to ``messages_max``.

        Raises ``Overtaken`` if the topic no longer reaches back to ``start``, or not to what is read next, and
        ``RangeLost`` if it ends before ``end``.
        """

    @abstractmethod
    def known_end(self, partition: int, offset: int, leader_epoch: int, high: int) -> int:
        """Up to where the topic still has what was read of it up to ``offset``: that is ``offset``, unless a broker
        lost its end. Then it ends before, at ``high``, or it is longer again, with other messages under the same
        offsets, which the ``leader_epoch`` of the last message that was read tells (-1 = not known)."""

    @abstractmethod
    def show_progress(self, partition: int, offset: int) -> None:
        """Commit ``offset`` to the group, for lag displays alone: a failure costs nothing and is passed over."""

    def read_all(self, from_ns: int = 0, tail_max: int = MESSAGES_MAX) -> Iterator[Message]:
        """Every message that the topic has now, partition by partition, in order; of those produced at ``from_ns`` or
        later, and of each partition the last ``tail_max`` alone."""
        starts = self.offsets_at(from_ns) if from_ns else {}
        for partition, bounds in self.bounds().items():
            start = max(bounds.low, bounds.high - tail_max, starts.get(partition, 0))
            yield from self.read_on(partition, start, bounds.high)

    def read_on(self, partition: int, start: int, end: int) -> Iterator[Message]:
        """The messages of [start, end) that the topic still has."""
        while start < end:
            try:
                for messages in self.read(partition, start, end, READ_MESSAGES_MAX):
                    yield from messages
                break
            except Overtaken as lost:  # what the topic has now is asked for
                start = lost.low
