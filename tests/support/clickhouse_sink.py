"""A ClickHouse sink on a thread, and its consumer group as others see it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from etl.errors import TransportError
from etl.settings import Settings, changed
from etl.sinks.clickhouse import ClickHouseSink
from etl.sinks.clickhouse_batch import Intent, encode_intent
from etl.sinks.readers import group_of
from etl.telemetry.sink import SinkMetrics
from etl.transports.group import Place
from etl.transports.transport import transport_of
from tests.support.topics import eventually

RUN_WITHIN_S = 60.0
WITHIN_S = 10.0


def with_topics(settings: Settings, **values: Any) -> Settings:
    made = changed(settings, **{"topic_partitions": 2, "sink_batch_rows_max": 500, **values})
    transport_of(made).ensure_topics()
    return made


class Nobody:
    """A member that is never assigned anything."""

    def assigned(self, places: Sequence[Place]) -> None: ...

    def revoked(self, places: Sequence[Place]) -> None: ...

    def lost(self, places: Sequence[Place]) -> None: ...

    def gone(self, topic: str, partition: int) -> None: ...

    def answered(self, place: Place, failure: str) -> None: ...


class Group:
    """The sink's consumer group as others see it."""

    def __init__(self, settings: Settings) -> None:
        self.topics = (settings.topics.normalized, settings.topics.quarantine)
        self._transport = transport_of(settings)
        self._group = self._transport.group(group_of(settings), Nobody())

    def committed(self, topic: str) -> dict[int, int]:
        partitions = self._transport.ends([topic], WITHIN_S)[topic].offsets
        asked = [Place(topic, partition) for partition in partitions]
        return {each.partition: max(each.offset, 0) for each in self._group.committed(asked)}

    def intents(self) -> list[str]:
        """What stands beside the offsets of the normalized topic, as it is written."""
        partitions = self._transport.ends(self.topics[:1], WITHIN_S)[self.topics[0]].offsets
        asked = [Place(self.topics[0], partition) for partition in partitions]
        return [each.metadata for each in self._group.committed(asked)]

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        found = self._group.bounds(Place(topic, partition), WITHIN_S)
        return found.low, found.high

    def cluster_id(self) -> str:
        return self._group.cluster_id(self.topics[0])

    def drained(self) -> bool:
        """Has it committed the end of every partition? A coordinator that is just starting says nothing yet."""
        try:
            return all(
                offset == self.bounds(topic, partition)[1]
                for topic in self.topics
                for partition, offset in self.committed(topic).items()
            )
        except TransportError:
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
        place = Place(self.topics[0], partition, intent.start, encode_intent(intent))

        def stands() -> bool:
            try:
                self._group.commit_now([place])
            except TransportError:
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
