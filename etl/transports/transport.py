"""What a transport is to everything above: topics, who writes them and who reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from etl.settings import Settings
from etl.transports.group import Backlog, Group, Member, Place
from etl.transports.message import Message
from etl.transports.publisher import TopicPublisher
from etl.transports.ranges import MESSAGES_MAX, Ends, RangeReader


class Follower(Protocol):
    """Reads a topic from given offsets on, then whatever comes; every follower reads all."""

    def poll(self, messages_max: int, timeout_s: float = 0.0) -> list[Message]:
        """What came since the last call, as far as it is there within ``timeout_s``; nothing while the broker does not
        answer. With given offsets: as soon as anything is there, and ``RangeLost`` once the topic does not have what
        comes next."""

    def close(self) -> None: ...


class Transport(Protocol):
    """Everything raises ``TransportError`` where the broker does not answer. A reader's group only shows its
    lag to whoever looks; nothing is ever read from it."""

    def ensure_topics(self) -> None:
        """Make the topics that are missing."""

    def hold(self, topic: str, group: str) -> None:
        """``group`` is going to read ``topic`` from its beginning: where retention waits for groups, it waits for this
        one from now on."""

    def publisher(self) -> TopicPublisher: ...

    def reader(self, topic: str, group: str) -> RangeReader: ...

    def follower(self, topic: str, group: str, starts: Mapping[int, int] | None = None) -> Follower:
        """``starts``: the first offset by partition; left out = the one partition that there is, from its beginning."""

    def group(self, name: str, member: Member) -> Group:
        """A member of the group ``name``, as the settings of the sink say."""

    def ends(self, topics: Sequence[str], timeout_s: float) -> dict[str, Ends]:
        """Where each topic ends now."""

    def backlogs(self, timeout_s: float) -> list[Backlog]:
        """Every group's, by partition."""

    def commits(self, topics: Sequence[str], timeout_s: float) -> dict[str, list[Place]]:
        """What each group has committed of ``topics``."""

    def behind(self, group: str, topics: Sequence[str], timeout_s: float) -> int:
        """Messages on ``topics`` that ``group`` has not committed; of a partition that it never committed, all."""


def transport_of(settings: Settings) -> Transport:
    if settings.transport.over_redis:
        from etl.transports.redis_transport import RedisTransport  # each with its client alone

        return RedisTransport(settings)
    from etl.transports.kafka_transport import KafkaTransport

    return KafkaTransport(settings)


def read_topic(
    settings: Settings, topic: str, group: str, from_ns: int = 0, tail_max: int = MESSAGES_MAX
) -> Iterator[Message]:
    """``RangeReader.read_all`` of ``topic``, with a reader of its own. Raises ``TransportError``."""
    with transport_of(settings).reader(topic, group) as reader:
        yield from reader.read_all(from_ns, tail_max)
