"""Kafka: topics, and the configuration of every producer and consumer, with no default left to chance."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka.admin import AdminClient, NewTopic

from etl.errors import TransportError, WireError
from etl.records import Frame, Source
from etl.settings import Settings

ADMIN_TIMEOUT_S = 30.0

HEADER_EXCHANGE = "exchange"
HEADER_ENDPOINT = "endpoint"
HEADER_RECEIVE_TIME_NS = "receive_time_ns"
HEADER_FRAME_SEQUENCE = "frame_sequence"
HEADER_SOURCE = "source"


def ensure_topics(settings: Settings) -> None:
    """Create the topics that are missing. Raises ``TransportError``."""
    retention_ms = -1 if settings.topic_retention_h < 0 else settings.topic_retention_h * 3_600_000
    shared = {
        "compression.type": "producer",
        "max.message.bytes": str(settings.message_bytes_max),
        "retention.bytes": "-1",
        "message.timestamp.type": "CreateTime",
    }
    kept = {**shared, "cleanup.policy": "delete", "retention.ms": str(retention_ms)}
    topics = [
        NewTopic(name, partitions, settings.topic_replication, config=config)
        for name, partitions, config in (
            (settings.raw_topic, settings.topic_partitions, kept),
            (settings.normalized_topic, settings.topic_partitions, kept),
            (settings.quarantine_topic, 1, kept),
            (settings.statistics_topic, 1, {**shared, "cleanup.policy": "compact"}),
        )
    ]
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    try:
        for name, future in admin.create_topics(topics, operation_timeout=ADMIN_TIMEOUT_S).items():
            error = future.exception(timeout=ADMIN_TIMEOUT_S)
            if error and error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TransportError(f"topic {name}: {error}")
    except KafkaException as error:
        raise TransportError(f"Kafka at {settings.kafka_bootstrap}: {error}") from None


def producer_config(settings: Settings) -> dict[str, Any]:
    """Idempotent, every replica acknowledges, never gives up by itself, bounded in messages and bytes."""
    return {
        "bootstrap.servers": settings.kafka_bootstrap,
        "enable.idempotence": True,
        "acks": "all",
        "message.timeout.ms": 0,
        "message.max.bytes": settings.message_bytes_max,
        "queue.buffering.max.messages": settings.producer_queue_messages_max,
        "queue.buffering.max.kbytes": settings.producer_queue_bytes_max >> 10,
        "linger.ms": settings.producer_linger_ms,
        "compression.type": "lz4",
        "partitioner": "murmur2_random",
    }


def consumer_config(settings: Settings, group: str) -> dict[str, Any]:
    """Offsets are committed by the reader alone, after it has written."""
    return {
        "bootstrap.servers": settings.kafka_bootstrap,
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "fetch.message.max.bytes": settings.message_bytes_max,
        "allow.auto.create.topics": False,
    }


def frame_headers(frame: Frame) -> list[tuple[str, bytes]]:
    return [
        (HEADER_EXCHANGE, frame.exchange.encode()),
        (HEADER_ENDPOINT, frame.endpoint.encode()),
        (HEADER_RECEIVE_TIME_NS, b"%d" % frame.receive_time_ns),
        (HEADER_FRAME_SEQUENCE, b"%d" % frame.frame_sequence),
        (HEADER_SOURCE, frame.source.name.lower().encode()),
    ]


def frame_of(message: Message) -> Frame:
    """The frame that a message of the raw topic carries. Raises ``WireError``."""
    try:
        headers = dict(message.headers() or ())
        return Frame(
            exchange=headers[HEADER_EXCHANGE].decode(),
            connection_id=(message.key() or b"").decode(),
            frame_sequence=int(headers[HEADER_FRAME_SEQUENCE]),
            endpoint=headers[HEADER_ENDPOINT].decode(),
            receive_time_ns=int(headers[HEADER_RECEIVE_TIME_NS]),
            payload=message.value() or b"",
            source=Source[headers[HEADER_SOURCE].decode().upper()],
        )
    except (KeyError, ValueError, AttributeError) as error:
        raise WireError(
            f"{message.topic()}[{message.partition()}]@{message.offset()}: header {error}"
        ) from None
