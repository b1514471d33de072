"""Ranges of a topic of Kafka."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import cast

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from etl.errors import RangeLost, TransportError
from etl.settings import Settings
from etl.transports import kafka_clients
from etl.transports.kafka_messages import message_of
from etl.transports.kafka_topic_ends import describe_topics
from etl.transports.message import Message
from etl.transports.ranges import Bounds, Overtaken, RangeReader

REQUEST_TIMEOUT_S = 15.0
POLL_S = 1.0
LEADER_POLL_S = 0.1
LEADERLESS = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,  # the client's own word while a broker starts
)
FETCH_WAIT_MS = 10
"""A range ends where the partition does: half a second of the default's waiting there is lost with each partition."""
SILENCE_MAX_S = 60.0
"""A broker that answers nothing for this long within a range is taken to be down."""


class KafkaRangeReader(RangeReader):
    """``group`` only shows the lag to whoever looks, nothing is ever read from it."""

    def __init__(self, settings: Settings, topic: str, group: str) -> None:
        self.topic = topic
        self._settings = settings
        self._group = group
        self._consumer = kafka_clients.consumer(
            settings,
            group,
            {
                "enable.partition.eof": True,
                # an offset that is gone is an error, never a silent jump
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": FETCH_WAIT_MS,
                "log_level": 0,  # what matters of it arrives as an error
            },
        )

    def close(self) -> None:
        self._consumer.close()

    def topic_id(self) -> str:
        """The id the cluster gave the topic; a topic made anew under the same name has another."""
        try:
            described = describe_topics(self._settings, [self.topic], REQUEST_TIMEOUT_S)
            return str(described[self.topic].topic_id)
        except (KafkaException, TimeoutError) as error:
            raise self._down(error) from None

    def bounds(self) -> dict[int, Bounds]:
        """Low and high watermark of every partition, now."""
        try:
            metadata = self._consumer.list_topics(self.topic, timeout=REQUEST_TIMEOUT_S).topics[self.topic]
            if metadata.error:
                raise TransportError(f"topic {self.topic}: {metadata.error.str()}")
            return {partition: self._bounds_of(partition) for partition in sorted(metadata.partitions)}
        except KafkaException as error:
            raise self._down(error) from None

    def _bounds_of(self, partition: int) -> Bounds:
        """A partition just created, or just moved, has no leader for a moment: that is waited out."""
        deadline = time.monotonic() + REQUEST_TIMEOUT_S
        at = TopicPartition(self.topic, partition)
        while True:
            try:
                return Bounds(
                    *self._consumer.get_watermark_offsets(at, timeout=REQUEST_TIMEOUT_S, cached=False)
                )
            except KafkaException as error:
                if not error.args[0].retriable() and error.args[0].code() not in LEADERLESS:
                    raise
                if time.monotonic() > deadline:
                    raise
                time.sleep(LEADER_POLL_S)

    def offsets_at(self, time_ns: int) -> dict[int, int]:
        """Per partition, the first offset whose message was produced at ``time_ns`` or later; its end if none."""
        try:
            wanted = [TopicPartition(self.topic, p, time_ns // 1_000_000) for p in self.bounds()]
            found = self._consumer.offsets_for_times(wanted, timeout=REQUEST_TIMEOUT_S)
        except KafkaException as error:
            raise self._down(error) from None
        highs = {partition: bounds.high for partition, bounds in self.bounds().items()}
        return {at.partition: highs[at.partition] if at.offset < 0 else at.offset for at in found}

    def read(self, partition: int, start: int, end: int, messages_max: int) -> Iterator[list[Message]]:
        """The messages of [start, end) in order, in lists of 1 to ``messages_max``.

        Raises ``Overtaken`` if the topic no longer reaches back to ``start``, or not to what is read next, and
        ``RangeLost`` if it ends before ``end``.
        """
        if start >= end:
            return
        self._require(partition, start, end)
        self._consumer.assign([TopicPartition(self.topic, partition, start)])
        last_answer = time.monotonic()
        position = start
        while position < end:
            wanted = min(messages_max, end - position)
            messages = self._consumer.consume(wanted, timeout=POLL_S)
            if messages:
                last_answer = time.monotonic()
            elif time.monotonic() - last_answer > SILENCE_MAX_S:
                raise self._down(f"no answer for {SILENCE_MAX_S:.0f} s at offset {position}")
            records = []
            for message in messages:
                error, offset = message.error(), cast(int, message.offset())
                if error is None and offset < end:
                    records.append(message_of(message))
                    position = offset + 1
                elif error is None or error.code() == KafkaError._PARTITION_EOF:
                    position = max(position, offset)
                elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                    self._require(partition, position, end)
                    raise self._down(error)
                elif not error.retriable():
                    raise self._down(error)
            if records:
                yield records
        self._consumer.unassign()

    def _require(self, partition: int, start: int, end: int) -> None:
        """Raises ``RangeLost`` unless the topic has [start, end)."""
        bounds, place = self.bounds()[partition], f"{self.topic}[{partition}]"
        if end > bounds.high:
            raise RangeLost(f"{place}: the topic ends at {bounds.high} and had {end}")
        if start < bounds.low:
            raise Overtaken(
                f"{place}: offset {start} is gone, the topic begins at {bounds.low}", start, bounds.low
            )

    def known_end(self, partition: int, offset: int, leader_epoch: int, high: int) -> int:
        """Up to where the topic still has what was read of it up to ``offset``: that is ``offset``, unless a broker
        lost its end. Then it ends before, at ``high``, or it is longer again, with other messages under the same
        offsets, which the ``leader_epoch`` of the last message that was read tells (-1 = not known).

        Raises ``TransportError``."""
        if leader_epoch < 0:
            return min(offset, high)
        # a client asks the broker about an epoch only while it does not know the partition's leader yet
        with KafkaRangeReader(self._settings, self.topic, self._group) as fresh:
            return fresh._known_end(partition, offset, leader_epoch, high)

    def _known_end(self, partition: int, offset: int, leader_epoch: int, high: int) -> int:
        self._consumer.assign([TopicPartition(self.topic, partition, offset, "", leader_epoch)])
        last_answer = time.monotonic()
        try:
            while time.monotonic() - last_answer < SILENCE_MAX_S:
                for message in self._consumer.consume(1, timeout=POLL_S):
                    error = message.error()
                    if error is None or error.code() == KafkaError._PARTITION_EOF:
                        return min(offset, high)
                    if error.code() == KafkaError._AUTO_OFFSET_RESET:
                        low = self.bounds()[partition].low
                        if offset < low:  # retention's, to be told by whoever reads on
                            return offset
                        return self._end_of_epoch(partition, leader_epoch, low, min(offset, high))
                    if not error.retriable():
                        raise self._down(error)
        finally:
            self._consumer.unassign()
        raise self._down(f"no answer for {SILENCE_MAX_S:.0f} s about offset {offset}")

    def _end_of_epoch(self, partition: int, leader_epoch: int, low: int, high: int) -> int:
        """The first offset of [low, high) whose message came under a later leader, else ``high``."""
        while low < high:
            middle = (low + high) // 2
            found = [
                message for messages in self.read(partition, middle, middle + 1, 1) for message in messages
            ]
            is_later = any(message.leader_epoch > leader_epoch for message in found)
            low, high = (low, middle) if is_later else (middle + 1, high)
        return low

    def show_progress(self, partition: int, offset: int) -> None:
        """Commit ``offset`` to the group, for lag displays alone: a failure costs nothing and is passed over."""
        try:
            self._consumer.commit(offsets=[TopicPartition(self.topic, partition, offset)], asynchronous=False)
        except KafkaException:
            return

    def _down(self, error: object) -> TransportError:
        return TransportError(
            f"Kafka at {self._settings.kafka_bootstrap}, topic {self.topic}: {str(error) or 'no answer'}"
        )
