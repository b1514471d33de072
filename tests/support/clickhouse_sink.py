"""A ClickHouse sink on a thread, and its consumer group as others see it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from etl.settings import Settings, changed
from etl.sinks.clickhouse import ClickHouseSink
from etl.sinks.clickhouse_batch import Intent, encode_intent
from etl.sinks.clickhouse_offsets import group_of
from etl.telemetry.sink import SinkMetrics
from etl.transports import kafka_clients
from etl.transports.kafka import ensure_topics
from etl.transports.transport import transport_of
from tests.support.topics import eventually

RUN_WITHIN_S = 60.0


def with_topics(settings: Settings, **values: Any) -> Settings:
    made = changed(settings, **{"topic_partitions": 2, "sink_batch_rows_max": 500, **values})
    ensure_topics(made)
    return made


class Group:
    """The sink's consumer group as others see it."""

    def __init__(self, settings: Settings) -> None:
        self.topics = (settings.topics.normalized, settings.topics.quarantine)
        self._consumer = kafka_clients.consumer(settings, group_of(settings))

    def committed(self, topic: str) -> dict[int, int]:
        partitions = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        asked = [TopicPartition(topic, partition) for partition in partitions]
        return {each.partition: max(each.offset, 0) for each in self._consumer.committed(asked, timeout=10)}

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        return low, high

    def drained(self) -> bool:
        """Has it committed the end of every partition? A coordinator that is just starting says nothing yet."""
        try:
            return all(
                offset == self.bounds(topic, partition)[1]
                for topic in self.topics
                for partition, offset in self.committed(topic).items()
            )
        except KafkaException:
            return False

    def filled(self) -> tuple[int, int]:
        """The one partition of the normalized topic that holds messages, and its first offset."""
        (found,) = [
            (partition, low)
            for partition in self.committed(self.topics[0])
            for low, high in [self.bounds(self.topics[0], partition)]
            if high > low
        ]
        return found

    def intend(self, partition: int, intent: Intent) -> None:
        """Again while the coordinator is just starting."""
        place = TopicPartition(self.topics[0], partition, intent.start, metadata=encode_intent(intent))

        def stands() -> bool:
            try:
                self._consumer.commit(offsets=[place], asynchronous=False)
            except KafkaException:
                return False
            return True

        eventually(stands)


def drain(settings: Settings) -> None:
    """Until everything is committed. Raises what ended the sink before."""
    stop, group = threading.Event(), Group(settings)
    with ThreadPoolExecutor(1) as executor:
        running = executor.submit(ClickHouseSink(settings, SinkMetrics("clickhouse")).run, stop)
        try:
            eventually(lambda: running.done() or group.drained(), RUN_WITHIN_S)
        finally:
            stop.set()
        running.result(RUN_WITHIN_S)


def topic_id(settings: Settings) -> str:
    with transport_of(settings).reader(settings.topics.normalized, "tests") as reader:
        return reader.topic_id()
