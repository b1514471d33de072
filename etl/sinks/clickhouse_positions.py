"""Where a partition that has just been assigned begins, ends, and is to be read on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from etl.errors import TransportError
from etl.settings import Settings
from etl.sinks.clickhouse_batch import Intent, PartitionId, decode_intent, encode_intent
from etl.sinks.clickhouse_partition import Partition
from etl.sinks.losses import BEGINS_LATER, ENDS_BEFORE, declare_lost, ended_before
from etl.transports.ranges import RangeReader
from etl.transports.topic_ends import describe_topics

STORE = "clickhouse"
GROUP = "etl-clickhouse-positions"
"""Of the reader that compares; nothing is committed to it."""
KAFKA_TIMEOUT_S = 30.0
RETRY_S = 0.05

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class Positions:
    """What the broker says of the partitions of one consumer. Every method raises ``TransportError``."""

    def __init__(self, settings: Settings, consumer: Consumer) -> None:
        self._settings = settings
        self._consumer = consumer

    def resume(self, assigned: list[TopicPartition]) -> Iterator[tuple[PartitionId, int, Intent | None, int]]:
        """Each partition, the offset before which all is stored, the intent to carry out from there, and under which
        leader the message before came (-1 = not known).

        Raises ``RangeLost`` if a topic has less than it had: its offsets are given out again, and a new batch could
        be taken for a stored one."""
        cluster_id = self._cluster_id(assigned[0].topic)
        topic_ids = self._topic_ids({each.topic for each in assigned})
        for committed in self._committed(assigned):
            if committed.error is not None:
                raise TransportError(f"Kafka: offset of {committed.topic}: {committed.error.str()}")
            partition_id = PartitionId(
                cluster_id, committed.topic, committed.partition, topic_ids[committed.topic]
            )
            start, intent = self._start(partition_id, committed)
            epoch = _epoch(committed) if start == committed.offset else -1
            yield partition_id, start, intent if intent is not None and not intent.empty else None, epoch

    def _start(self, partition_id: PartitionId, committed: TopicPartition) -> tuple[int, Intent | None]:
        low, high = self.bounds(partition_id)
        intent = decode_intent(committed.metadata, committed.offset) if committed.offset >= 0 else None
        if committed.offset < 0 or (intent is not None and intent.topic_id != partition_id.topic_id):
            return low, None  # nothing read yet, or a topic of the same name that is no more
        start = committed.offset
        intended = intent or Intent(topic_id=partition_id.topic_id, start=start, end=start)
        self._require_end(partition_id, intended, intended.end, _epoch(committed), high)
        if start < low:
            self.declare_lost(partition_id, start, low, BEGINS_LATER)
            return low, None
        return start, intent

    def low_of(self, partition: Partition, leader_epoch: int) -> int:
        """The first offset that the topic still has. Raises ``RangeLost`` if it lost what was read of it."""
        low, high = self.bounds(partition.id)
        self._require_end(partition.id, partition.settled(), partition.next_offset, leader_epoch, high)
        return low

    def _require_end(
        self, partition_id: PartitionId, intent: Intent, end: int, leader_epoch: int, high: int
    ) -> None:
        """Raises ``RangeLost`` unless the topic has what was read of it up to ``end``. What it lost is declared once:
        the commit at ``intent.start`` remembers it."""
        with RangeReader(self._settings, partition_id.topic, GROUP) as reader:
            known = reader.known_end(partition_id.number, end, leader_epoch, high)
        if known >= end:
            return
        if intent.cut != known:
            self.declare_lost(partition_id, known, end, ENDS_BEFORE)
            self._remember(partition_id, msgspec.structs.replace(intent, cut=known), leader_epoch)
        raise ended_before(partition_id.label, known, end)

    def _remember(self, partition_id: PartitionId, intent: Intent, leader_epoch: int) -> None:
        place = partition_id.topic, partition_id.number, intent.start
        try:
            at = TopicPartition(*place, encode_intent(intent), leader_epoch)
            self._consumer.commit(offsets=[at], asynchronous=False)
        except KafkaException as error:
            _log.warning("%s: its lost end is declared again: %s", partition_id.label, error.args[0].str())

    def made_anew(self, partition_ids: Sequence[PartitionId]) -> set[str]:
        """The topics that have another id than their partitions here. Of one that cannot be described nothing is said:
        so between the old one's end and the new one."""
        try:
            topic_ids = self._topic_ids({each.topic for each in partition_ids})
        except TransportError as error:
            _log.warning("%s", error)
            return set()
        found = {each.topic for each in partition_ids if topic_ids[each.topic] != each.topic_id}
        if found:
            _log.error("%s: made anew, and begun anew", ", ".join(sorted(found)))
        return found

    def bounds(self, partition_id: PartitionId) -> tuple[int, int]:
        """The first offset that the topic still has, and the one after its last."""
        try:
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(partition_id.topic, partition_id.number), timeout=KAFKA_TIMEOUT_S, cached=False
            )
            return low, high
        except KafkaException as error:
            raise TransportError(f"Kafka: watermarks of {partition_id.label}: {error}") from None

    def declare_lost(self, partition_id: PartitionId, start: int, end: int, why: str) -> None:
        """As ``losses.declare_lost``."""
        declare_lost(
            self._settings,
            STORE,
            partition_id.topic,
            partition_id.number,
            partition_id.topic_id,
            start,
            end,
            why,
        )

    def _committed(self, assigned: list[TopicPartition]) -> list[TopicPartition]:
        return _waited_out(
            "offsets of the group", lambda: self._consumer.committed(assigned, timeout=KAFKA_TIMEOUT_S)
        )

    def _cluster_id(self, topic: str) -> str:
        metadata = _waited_out(
            "the cluster's id", lambda: self._consumer.list_topics(topic, timeout=KAFKA_TIMEOUT_S)
        )
        return str(metadata.cluster_id)

    def _topic_ids(self, topics: set[str]) -> dict[str, str]:
        try:
            described = describe_topics(self._settings, sorted(topics), KAFKA_TIMEOUT_S)
        except (KafkaException, TimeoutError) as error:
            raise TransportError(
                f"Kafka at {self._settings.kafka_bootstrap}: {str(error) or 'no answer'}"
            ) from None
        return {topic: str(of.topic_id) for topic, of in described.items()}


def _waited_out(what: str, ask: Callable[[], _T]) -> _T:
    """What a broker tells that just starts, or a coordinator that just moved. Raises ``TransportError``."""
    deadline_s = time.monotonic() + KAFKA_TIMEOUT_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if time.monotonic() > deadline_s:
                raise TransportError(f"Kafka: {what}: {error.args[0].str()}") from None
        time.sleep(RETRY_S)


def _epoch(committed: TopicPartition) -> int:
    return -1 if committed.leader_epoch is None else committed.leader_epoch
