"""What Kafka's client hands out, in the words of every transport; and a topic that is followed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, cast

from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka import Message as ClientMessage

from etl.errors import RangeLost
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
    """See ``Follower``. Never commits; ``group`` is a name for whoever looks at the broker."""

    def __init__(
        self, settings: Settings, topic: str, group: str, starts: Mapping[int, int] | None = None
    ) -> None:
        # an offset that is gone is an error where offsets were given, never a silent jump
        options = {} if starts is None else {"auto.offset.reset": "error"}
        self._consumer = kafka_clients.consumer(settings, group, options, logger=_log)
        self._wakes_at_once = starts is not None
        places = {0: 0} if starts is None else starts
        self._consumer.assign([TopicPartition(topic, *place) for place in places.items()])

    def poll(self, messages_max: int, timeout_s: float = 0.0) -> list[Message]:
        if self._wakes_at_once:  # consume waits until all that it may give is there, or the time is over
            first = self._consumer.poll(timeout_s)
            messages = [] if first is None else [first, *self._consumer.consume(messages_max - 1, timeout=0)]
        else:
            messages = self._consumer.consume(messages_max, timeout=timeout_s)
        for message in messages:
            error = message.error()
            if error is not None and error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise RangeLost(f"Kafka: {error.str()}")
        return [message_of(message) for message in messages if message.error() is None]

    def close(self) -> None:
        self._consumer.close()
