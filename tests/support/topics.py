"""What a topic holds, for tests that compare it with what they sent."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from confluent_kafka import TopicPartition

from etl.model.records import Frame, Quarantined, Record
from etl.settings import Settings
from etl.transports import kafka_clients
from etl.transports.frames import frames_of
from etl.transports.memory import Delivered
from etl.transports.message import Message
from etl.transports.redis_client import Connection, parse_address
from etl.transports.redis_log import keys_of
from etl.transports.transport import read_topic
from etl.wire import codec
from tests.support.servers import RunningPart

WITHIN_S = 30.0


def messages(settings: Settings, topic: str) -> list[Message]:
    """Everything on ``topic`` now, partition by partition."""
    return list(read_topic(settings, topic, "tests"))


def frames_of_delivered(delivered: Iterable[Delivered]) -> list[Frame]:
    """The frames on a raw topic in memory."""
    return list(
        frames_of(
            Message("raw", 0, offset, one.key, one.value, partial(list, one.headers), 0)
            for offset, one in enumerate(delivered)
        )
    )


def records(settings: Settings) -> list[Record]:
    return [codec.decode(m.value or b"") for m in messages(settings, settings.topics.normalized)]


def quarantined(settings: Settings) -> list[Quarantined]:
    found = messages(settings, settings.topics.quarantine)
    return [codec.decode_quarantined(message.value or b"") for message in found]


def delete_before(settings: Settings, topic: str, partition: int, offset: int) -> None:
    """As retention does: the partition begins at ``offset``."""
    if settings.transport.over_redis:
        address = parse_address(settings.redis_address)
        connection = Connection(address)
        connection.call("HSET", keys_of(address).state(topic, partition), "low", offset)
        connection.close()
        return
    admin = kafka_clients.admin(settings)
    for future in admin.delete_records([TopicPartition(topic, partition, offset)]).values():
        future.result(WITHIN_S)


def delete_topic(settings: Settings, topic: str) -> None:
    """Returns once it is gone."""
    if settings.transport.over_redis:
        connection = Connection(parse_address(settings.redis_address))
        for key in connection.call("KEYS", f"{topic}:*"):
            connection.call("DEL", key)
        connection.close()
        return
    admin = kafka_clients.admin(settings)
    for future in admin.delete_topics([topic]).values():
        future.result(WITHIN_S)
    eventually(lambda: topic not in admin.list_topics(timeout=WITHIN_S).topics)


def eventually(holds: Callable[[], bool], within_s: float = WITHIN_S) -> None:
    """Wait until ``holds()``; fails after ``within_s``."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def log_of(broker: RunningPart, topic: str, partition: int = 0) -> Path:
    """The file in which the broker keeps the partition's messages."""
    folders = Path(broker.settings.state_dir).rglob(f"{topic}-{partition}")
    (log,) = (file for folder in folders for file in folder.glob("*.log"))
    return log


def lose_end(broker: RunningPart, topic: str, size_bytes: int, partition: int = 0) -> None:
    """As when power fails before anything was synced: the partition's log has only its first bytes."""
    log = log_of(broker, topic, partition)
    broker.kill()
    os.truncate(log, size_bytes)
    broker.start()
