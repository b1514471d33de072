"""Kafka: topics and the publisher."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Message as ClientMessage
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from confluent_kafka.cimpl import NewTopic

from etl.errors import TransportError
from etl.settings import Settings
from etl.transports import kafka_clients
from etl.transports.publisher import Acknowledged, Headers

ADMIN_TIMEOUT_S = 30.0
OVERFLOW_MESSAGES_MAX = 20_000
"""What may still arrive from the socket read during which the producer's queue filled up."""
FLUSH_STEP_S = 0.5
HOLD_S_MAX = 0.5
HOLD_MESSAGES_MAX = 5_000
"""How long, and how many messages, wait for those before them to be acknowledged when that is asked for."""
ANY_PARTITION = -1
"""The partitioner decides, by the key."""
NOW = 0

OFTEN_COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": str(3_600_000),
    "segment.bytes": str(16 << 20),
    "min.cleanable.dirty.ratio": "0.1",
}
"""Who starts reads the whole topic: by default the newest gibibyte is left as it came."""

_log = logging.getLogger(__name__)


def wanted_topics(settings: Settings) -> list[NewTopic]:
    """What is acknowledged lies on all replicas but one, at least: the loss of any one host takes nothing. Kafka's own
    default calls a message acknowledged that only the leader has, once the others have fallen behind."""
    retention_ms = -1 if settings.topics.retention_h < 0 else settings.topics.retention_h * 3_600_000
    shared = {
        "compression.type": "producer",
        "max.message.bytes": str(settings.producer.message_bytes_max),
        "retention.bytes": "-1",
        "message.timestamp.type": "CreateTime",
        "min.insync.replicas": str(max(1, settings.topics.replication - 1)),
    }
    kept = {**shared, "cleanup.policy": "delete", "retention.ms": str(retention_ms)}
    return [
        NewTopic(name, partitions, settings.topics.replication, config=config)
        for name, partitions, config in (
            (settings.topics.raw, settings.topics.partitions, kept),
            (settings.topics.normalized, settings.topics.partitions, kept),
            (settings.topics.quarantine, 1, kept),
            (settings.topics.statistics, 1, {**shared, "cleanup.policy": "compact"}),
            (settings.topics.positions, 1, {**shared, **OFTEN_COMPACTED}),
        )
    ]


def ensure_topics(settings: Settings) -> None:
    """Create the topics that are missing. Raises ``TransportError``."""
    admin = kafka_clients.admin(settings)
    try:
        for name, future in admin.create_topics(
            wanted_topics(settings), operation_timeout=ADMIN_TIMEOUT_S, request_timeout=ADMIN_TIMEOUT_S
        ).items():
            error = future.exception(ADMIN_TIMEOUT_S + kafka_clients.CLIENT_FIRST_S)
            if error and error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TransportError(f"topic {name}: {error}")
    except (KafkaException, TimeoutError) as error:
        raise TransportError(f"Kafka at {settings.kafka_bootstrap}: {str(error) or 'no answer'}") from None


def keep_broker_times(settings: Settings, topic: str) -> None:
    """From now on ``topic`` keeps the times at which the broker appended, instead of the producer's."""
    entry = ConfigEntry(
        "message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in kafka_clients.admin(settings).incremental_alter_configs([resource]).values():
        future.result(ADMIN_TIMEOUT_S)


class KafkaPublisher:
    """One idempotent producer. Nothing it was given is dropped: what its queue cannot take for the moment waits in
    a bounded overflow, in order; a message the broker refuses for good, or a fatal error, is a ``TransportError``.

    Only refusals are reported one by one: a report of each success costs a microsecond of CPU. What is acknowledged is
    known by number, which tells nearly to the message how long it took.
    """

    def __init__(self, settings: Settings) -> None:
        self._failure: TransportError | None = None
        self._overflow: deque[tuple[str, bytes, bytes | None, Headers | None]] = deque()
        self._published = 0
        self._awaited: deque[tuple[int, Acknowledged]] = deque()
        """What to call once so many messages are acknowledged, in rising order."""
        self._settled: Acknowledged | None = None
        self._hold_until_s = 0.0
        try:
            self._producer = kafka_clients.producer(
                settings,
                {
                    "delivery.report.only.error": True,
                    "error_cb": self._on_error,
                    "on_delivery": self._on_delivery,
                },
                logger=_log,
            )
        except KafkaException as error:
            raise TransportError(f"Kafka at {settings.kafka_bootstrap}: {error}") from None
        self._produce: Any = self._producer.produce

    @property
    def pending_messages(self) -> int:
        return len(self._producer) + len(self._overflow)

    @property
    def is_full(self) -> bool:
        return bool(self._overflow) and self._settled is None

    def publish(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        headers: Headers | None = None,
        acknowledged: Acknowledged | None = None,
    ) -> None:
        self._published += 1
        if acknowledged is not None:
            self._awaited.append((self._published, acknowledged))
        if self._overflow or not self._queued(topic, key, value, headers):
            if len(self._overflow) >= OVERFLOW_MESSAGES_MAX:
                raise TransportError("producer queue and overflow are full: reading was not paused")
            self._overflow.append((topic, key, value, headers and {**headers}))
            if self._settled is not None and len(self._overflow) > HOLD_MESSAGES_MAX:
                self._release()  # reads that bring so much may all come before the next poll

    def poll(self) -> None:
        self._producer.poll(0)
        if self._failure:
            raise self._failure
        settled = None if self._settled is None else self._end_hold(self._settled)
        self._drain()
        if settled is not None:
            settled()
        if self._awaited:
            acknowledged = self._published - self.pending_messages
            while self._awaited and self._awaited[0][0] <= acknowledged:
                self._awaited.popleft()[1]()

    def flush(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        self.poll()
        while self.pending_messages:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TransportError(
                    f"{self.pending_messages} messages not acknowledged within {timeout_s:g} s"
                )
            self._producer.flush(min(left_s, FLUSH_STEP_S))
            self.poll()

    def settle(self, settled: Acknowledged) -> None:
        """As ``TopicPublisher.settle``."""
        if self._overflow or self._settled is not None:
            return
        self._settled, self._hold_until_s = settled, time.monotonic() + HOLD_S_MAX
        self._produce = _hold

    def _end_hold(self, settled: Acknowledged) -> Acknowledged | None:
        """Once all before it is acknowledged, ``settled`` to be called; once that took too long, nothing."""
        is_settled = not len(self._producer)
        if is_settled or time.monotonic() > self._hold_until_s:
            self._release()
        return settled if is_settled else None

    def _release(self) -> None:
        self._settled, self._produce = None, self._producer.produce
        self._drain()

    def _drain(self) -> None:
        while self._overflow and self._queued(*self._overflow[0]):
            self._overflow.popleft()

    def _queued(self, topic: str, key: bytes, value: bytes | None, headers: Headers | None) -> bool:
        """False if the producer's queue is full just now. Raises ``TransportError``."""
        try:
            if headers is None:
                self._produce(topic, value, key)
            else:
                self._produce(
                    topic, value, key, ANY_PARTITION, None, None, NOW, headers
                )  # by place: names cost 0.3 µs
        except BufferError:
            return False
        except KafkaException as error:
            raise self._failure or TransportError(f"topic {topic}: {error}") from None
        return True

    def _on_delivery(self, error: KafkaError | None, message: ClientMessage) -> None:
        if error is not None and self._failure is None:
            self._failure = TransportError(f"topic {message.topic()}: {error.str()}")

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() and self._failure is None:
            self._failure = TransportError(f"Kafka: {error.str()}")


def _hold(*message: object) -> None:
    """In the place of the client's ``produce``: what is published waits in the overflow."""
    raise BufferError
