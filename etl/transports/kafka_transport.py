"""Kafka as a transport."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from etl.settings import Settings
from etl.transports import kafka, kafka_backlogs
from etl.transports.group import Backlog, Group, Member, Place
from etl.transports.kafka_group import KafkaGroup
from etl.transports.kafka_messages import TopicFollower
from etl.transports.kafka_ranges import KafkaRangeReader
from etl.transports.kafka_topic_ends import topic_ends
from etl.transports.publisher import TopicPublisher
from etl.transports.ranges import Ends, RangeReader


class KafkaTransport:
    """See ``Transport``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def ensure_topics(self) -> None:
        kafka.ensure_topics(self._settings)

    def hold(self, topic: str, group: str) -> None:
        """Nothing: retention goes by age, whoever has not read."""

    def publisher(self) -> TopicPublisher:
        return kafka.KafkaPublisher(self._settings)

    def reader(self, topic: str, group: str) -> RangeReader:
        return KafkaRangeReader(self._settings, topic, group)

    def follower(self, topic: str, group: str, starts: Mapping[int, int] | None = None) -> TopicFollower:
        return TopicFollower(self._settings, topic, group, starts)

    def group(self, name: str, member: Member) -> Group:
        sink = self._settings.sink
        return KafkaGroup(
            self._settings,
            name,
            member,
            session_timeout_ms=sink.session_timeout_ms,
            fetched_bytes_max=sink.batch_bytes_max,
            instance=sink.instance,
        )

    def ends(self, topics: Sequence[str], timeout_s: float) -> dict[str, Ends]:
        return topic_ends(self._settings, topics, timeout_s)

    def backlogs(self, timeout_s: float) -> list[Backlog]:
        return kafka_backlogs.backlogs(self._settings, timeout_s)

    def commits(self, topics: Sequence[str], timeout_s: float) -> dict[str, list[Place]]:
        return kafka_backlogs.commits(self._settings, topics, timeout_s)

    def behind(self, group: str, topics: Sequence[str], timeout_s: float) -> int:
        return kafka_backlogs.behind(self._settings, group, topics, timeout_s)
