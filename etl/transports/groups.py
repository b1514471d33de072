"""Consumer groups as the broker knows them: what each has still to read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
from msgspec import Struct

from etl.errors import TransportError
from etl.settings import Settings


class Backlog(Struct, frozen=True):
    """``messages`` lie on the partition after what ``group`` has committed."""

    group: str
    topic: str
    partition: int
    messages: int


def backlogs(settings: Settings, timeout_s: float) -> list[Backlog]:
    """Every group's, by partition. Raises ``TransportError`` if the broker does not answer within ``timeout_s``."""
    admin = _admin(settings.kafka_bootstrap)
    try:
        listed = admin.list_consumer_groups(request_timeout=timeout_s).result(timeout_s)
        groups = sorted(group.group_id for group in listed.valid)
        committed = list(_committed(admin, groups, timeout_s))
        ends = _ends(admin, {(p.topic, p.partition) for _, p in committed}, timeout_s)
    except (KafkaException, TimeoutError) as error:
        raise TransportError(f"Kafka at {settings.kafka_bootstrap}: {error or 'no answer'}") from None
    return [
        Backlog(group, p.topic, p.partition, max(0, ends[p.topic, p.partition] - max(0, p.offset)))
        for group, p in committed
        if (p.topic, p.partition) in ends
    ]


def _committed(
    admin: AdminClient, groups: list[str], timeout_s: float
) -> Iterator[tuple[str, TopicPartition]]:
    for group in groups:
        request = [ConsumerGroupTopicPartitions(group)]
        for future in admin.list_consumer_group_offsets(request, request_timeout=timeout_s).values():
            for partition in future.result(timeout_s).topic_partitions:
                yield group, partition


def _ends(
    admin: AdminClient, partitions: set[tuple[str, int]], timeout_s: float
) -> dict[tuple[str, int], int]:
    if not partitions:
        return {}
    end = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    latest = {TopicPartition(topic, number): end for topic, number in partitions}
    futures = admin.list_offsets(
        latest, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=timeout_s
    )
    ends: dict[tuple[str, int], int] = {}
    for partition, future in futures.items():
        try:
            ends[partition.topic, partition.partition] = future.result(timeout_s).offset
        except KafkaException:
            continue  # a topic that was deleted leaves its committed offsets behind for a while
    return ends


@lru_cache(maxsize=4)
def _admin(bootstrap: str) -> AdminClient:
    """Kept: each has threads and connections of its own."""
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
