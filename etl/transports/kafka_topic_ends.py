"""What topics are, and where they end: what a reader that starts later can begin from."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import OffsetSpec, TopicDescription

from etl.errors import TransportError
from etl.settings import Settings
from etl.transports import kafka_clients
from etl.transports.kafka_clients import answer
from etl.transports.ranges import Ends


def describe_topics(
    settings: Settings, topics: Sequence[str], timeout_s: float
) -> dict[str, TopicDescription]:
    """By name. A topic made anew has another ``topic_id``. Raises ``KafkaException``, ``TimeoutError``."""
    if not topics:
        return {}
    admin = kafka_clients.admin(settings)
    described = admin.describe_topics(TopicCollection(list(topics)), request_timeout=timeout_s)
    return {topic: answer(described[topic], timeout_s) for topic in topics}


def topic_ends(settings: Settings, topics: Sequence[str], timeout_s: float) -> dict[str, Ends]:
    """As ``Transport.ends``. Waits for the broker: not for an event loop."""
    try:
        known = describe_topics(settings, topics, timeout_s)
        asked = {
            TopicPartition(topic, partition.id): OffsetSpec.latest()  # type: ignore[no-untyped-call]
            for topic in topics
            for partition in known[topic].partitions
        }
        found = kafka_clients.admin(settings).list_offsets(asked, request_timeout=timeout_s)
        ends = {topic: Ends(str(known[topic].topic_id), {}, {}) for topic in topics}
        for at, future in found.items():
            last = answer(future, timeout_s)
            ends[at.topic].offsets[at.partition] = last.offset
            ends[at.topic].leader_epochs[at.partition] = last.leader_epoch
        return ends
    except (KafkaException, TimeoutError) as error:
        raise TransportError(f"Kafka at {settings.kafka_bootstrap}: {str(error) or 'no answer'}") from None
