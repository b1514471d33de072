"""What a topic holds, for tests that compare it with what they sent."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import Message, TopicPartition

from etl.model.records import Quarantined, Record
from etl.settings import Settings
from etl.transports import kafka_clients
from etl.transports.ranges import read_topic
from etl.wire import codec

WITHIN_S = 30.0


def messages(settings: Settings, topic: str) -> list[Message]:
    """Everything on ``topic`` now, partition by partition."""
    return list(read_topic(settings, topic, "tests"))


def records(settings: Settings) -> list[Record]:
    return [codec.decode(m.value() or b"") for m in messages(settings, settings.topics.normalized)]


def quarantined(settings: Settings) -> list[Quarantined]:
    found = messages(settings, settings.topics.quarantine)
    return [codec.decode_quarantined(message.value() or b"") for message in found]


def delete_before(settings: Settings, topic: str, partition: int, offset: int) -> None:
    """As retention does: the partition begins at ``offset``."""
    admin = kafka_clients.admin(settings)
    for future in admin.delete_records([TopicPartition(topic, partition, offset)]).values():
        future.result(WITHIN_S)


def eventually(holds: Callable[[], bool], within_s: float = WITHIN_S) -> None:
    """Wait until ``holds()``; fails after ``within_s``."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
