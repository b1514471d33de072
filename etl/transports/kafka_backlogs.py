"""Consumer groups as the broker knows them: what each has still to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from etl.errors import TransportError
from etl.settings import Settings
from etl.transports import kafka_clients
from etl.transports.group import Backlog, Place
from etl.transports.kafka_clients import answer


def backlogs(settings: Settings, timeout_s: float) -> list[Backlog]:
    """As ``Transport.backlogs``."""
    admin = kafka_clients.admin(settings)
    try:
        committed = list(_committed(admin, _groups(admin, timeout_s), timeout_s))
        partitions = {(p.topic, p.partition) for _, p in committed}
        ends = _offsets(admin, partitions, OffsetSpec.latest(), timeout_s)  # type: ignore[no-untyped-call]
    except (KafkaException, TimeoutError) as error:
        raise TransportError(f"Kafka at {settings.kafka_bootstrap}: {str(error) or 'no answer'}") from None
    return [
        Backlog(group, p.topic, p.partition, max(0, ends[p.topic, p.partition] - max(0, p.offset)))
        for group, p in committed
        if (p.topic, p.partition) in ends
    ]


def commits(settings: Settings, topics: Sequence[str], timeout_s: float) -> dict[str, list[Place]]:
    """As ``Transport.commits``."""
    admin = kafka_clients.admin(settings)
    found: dict[str, list[Place]] = {}
    try:
        for group, p in _committed(admin, _groups(admin, timeout_s), timeout_s):
            if p.topic in topics and p.offset >= 0:
                epoch = -1 if p.leader_epoch is None else p.leader_epoch
                found.setdefault(group, []).append(
                    Place(p.topic, p.partition, p.offset, p.metadata or "", epoch)
                )
    except (KafkaException, TimeoutError) as error:
        raise TransportError(f"Kafka at {settings.kafka_bootstrap}: {str(error) or 'no answer'}") from None
    return found


def behind(settings: Settings, group: str, topics: Sequence[str], timeout_s: float) -> int:
    """As ``Transport.behind``."""
    admin = kafka_clients.admin(settings)
    try:
        known = admin.list_topics(timeout=timeout_s).topics
        partitions = {(topic, number) for topic in topics for number in known[topic].partitions}
        ends = _offsets(admin, partitions, OffsetSpec.latest(), timeout_s)  # type: ignore[no-untyped-call]
        starts = _offsets(admin, partitions, OffsetSpec.earliest(), timeout_s)  # type: ignore[no-untyped-call]
        for _, p in _committed(admin, [group], timeout_s):
            if (p.topic, p.partition) in starts:
                starts[p.topic, p.partition] = max(p.offset, starts[p.topic, p.partition])
    except (KafkaException, TimeoutError) as error:
        raise TransportError(f"Kafka at {settings.kafka_bootstrap}: {str(error) or 'no answer'}") from None
    return sum(ends.values()) - sum(starts.values())


def _groups(admin: AdminClient, timeout_s: float) -> list[str]:
    listed = answer(admin.list_consumer_groups(request_timeout=timeout_s), timeout_s)
    if listed.errors:  # what a broker did not tell is not nothing
        raise KafkaException(listed.errors[0])
    return sorted(group.group_id for group in listed.valid)


def _committed(
    admin: AdminClient, groups: list[str], timeout_s: float
) -> Iterator[tuple[str, TopicPartition]]:
    for group in groups:
        request = [ConsumerGroupTopicPartitions(group)]
        for future in admin.list_consumer_group_offsets(request, request_timeout=timeout_s).values():
            for partition in answer(future, timeout_s).topic_partitions:
                yield group, partition


def _offsets(
    admin: AdminClient, partitions: set[tuple[str, int]], which: OffsetSpec, timeout_s: float
) -> dict[tuple[str, int], int]:
    if not partitions:
        return {}
    asked = {TopicPartition(topic, number): which for topic, number in partitions}
    futures = admin.list_offsets(
        asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=timeout_s
    )
    found: dict[tuple[str, int], int] = {}
    for partition, future in futures.items():
        try:
            found[partition.topic, partition.partition] = answer(future, timeout_s).offset
        except KafkaException:
            continue  # a topic that was deleted leaves its committed offsets behind for a while
    return found
