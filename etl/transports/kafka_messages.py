"""What Kafka's client hands out, in the words of every transport; and a topic that is followed."""

from __future__ import annotations

import logging
from typing import Any, cast

from confluent_kafka import Message as ClientMessage
from confluent_kafka import TopicPartition

from etl.settings import Settings
from etl.transports import kafka_clients
from etl.transports.message import Message

_log = logging.getLogger(__name__)


def message_of(message: ClientMessage) -> Message:
    """0.4 µs, of which a reader's headers are no part."""
    return Message(
        cast(str, message.topic()),
        cast(int, message.partition()),
        cast(int, message.offset()),
        message.key(),
        message.value(),
        cast(Any, message.headers),
        message.timestamp()[1],
        leader_epoch_of(message),
    )


def leader_epoch_of(message: ClientMessage) -> int:
    """Under which leader of its partition it was written; -1 where the broker does not say."""
    epoch = message.leader_epoch()
    return -1 if epoch is None else epoch


class TopicFollower:
    """Reads a topic of one partition from its beginning, then whatever comes; never commits, so that every follower
    reads all. ``group`` is a name for whoever looks at the broker."""

    def __init__(self, settings: Settings, topic: str, group: str) -> None:
        self._consumer = kafka_clients.consumer(settings, group, logger=_log)
        self._consumer.assign([TopicPartition(topic, 0, 0)])

    def poll(self, messages_max: int, timeout_s: float = 0.0) -> list[Message]:
        """What came since the last call, as far as it is there within ``timeout_s``."""
        messages = self._consumer.consume(messages_max, timeout=timeout_s)
        return [message_of(message) for message in messages if message.error() is None]

    def close(self) -> None:
        self._consumer.close()
