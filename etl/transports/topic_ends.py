"""What topics are, and where they end: what a reader that starts later can begin from."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import OffsetSpec, TopicDescription
from msgspec import Struct

from etl.errors import TransportError
from etl.settings import Settings
from etl.transports import kafka_clients
from etl.transports.kafka_clients import answer


class Ends(Struct, frozen=True):
    """Of one topic: the id that the cluster gave it, and per partition the offset after its last message and under
    which leader that came (``RangeReader.known_end``)."""

    topic_id: str
    offsets: dict[int, int]
    leader_epochs: dict[int, int] = {}


def describe_topics(
    settings: Settings, topics: Sequence[str], timeout_s: float
) -> dict[str, TopicDescription]:
    """By name. A topic made anew has another ``topic_id``. Raises ``KafkaException``, ``TimeoutError``."""
    if not topics:
        return {}
    admin = kafka_clients.admin(settings)
    described = admin.describe_topics(TopicCollection(list(topics)), request_timeout=timeout_s)
    return {topic: answer(described[topic], timeout_s) for topic in topics}


class TopicEnds:
    """Asked again and again. ``now`` waits for the broker: not for an event loop."""

    def __init__(self, settings: Settings, topics: Sequence[str], timeout_s: float) -> None:
        self._settings = settings
        self._topics = topics
        self._timeout_s = timeout_s

    def now(self) -> dict[str, Ends]:
        """By topic. Raises ``TransportError``."""
        try:
            known = describe_topics(self._settings, self._topics, self._timeout_s)
            asked = {
                TopicPartition(topic, partition.id): OffsetSpec.latest()  # type: ignore[no-untyped-call]
                for topic in self._topics
                for partition in known[topic].partitions
            }
            admin = kafka_clients.admin(self._settings)
            found = admin.list_offsets(asked, request_timeout=self._timeout_s)
            ends = {topic: Ends(str(known[topic].topic_id), {}, {}) for topic in self._topics}
            for at, future in found.items():
                last = answer(future, self._timeout_s)
                ends[at.topic].offsets[at.partition] = last.offset
                ends[at.topic].leader_epochs[at.partition] = last.leader_epoch
            return ends
        except (KafkaException, TimeoutError) as error:
            raise TransportError(
                f"Kafka at {self._settings.kafka_bootstrap}: {str(error) or 'no answer'}"
            ) from None
