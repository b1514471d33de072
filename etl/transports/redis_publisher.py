"""The publisher of Redis: batches, one after another, each answered once it is on the disk.

    publish ─▶ the open batch of its partition ─ full, or old ─▶ sent ─ answered ─▶ acknowledged

A batch has its producer's sequence: sent again after an answer that never came, it is not stored twice. Whatever goes
wrong is met in one way: the socket is closed, and all that has no answer is sent again, in order.
"""

from __future__ import annotations

import contextlib
import logging
import select
import ssl
import time
import uuid
from collections import deque
from typing import Any

import hiredis
from msgspec import Struct

from etl.adapter.back_off import back_off_s
from etl.errors import TransportError
from etl.settings import Settings
from etl.transports.partitions import partition_of
from etl.transports.publisher import Acknowledged, Headers
from etl.transports.redis_client import (
    READ_BYTES,
    REQUEST_TIMEOUT_S,
    Argument,
    Connection,
    Refused,
    load_functions,
    pack,
    parse_address,
)
from etl.transports.redis_log import (
    NO_HEADERS,
    Keys,
    Stored,
    Topic,
    encode_batch,
    keys_of,
    pack_headers,
    topic_of,
)
from etl.transports.redis_retention import trim

BATCH_MESSAGES_MAX = 500
BATCH_BYTES_MAX = 1 << 18
OVERFLOW_MESSAGES_MAX = 20_000
"""What may still arrive from the socket read during which the queue filled up."""
HOLD_S_MAX = 0.5
PRODUCER_REMEMBERED_S = 86_400
"""How long what a producer sent is known: longer than anything is sent again."""
TRIM_EVERY_S = 60.0
MS_PER_H = 3_600_000
RETRY_FIRST_S, RETRY_MAX_S = 0.05, 2.0
WAIT_STEP_S = 0.05
PASSING = ("OOM", "OUTOFORDER", "LOADING", "BUSY", "TRYAGAIN", "MASTERDOWN", "READONLY", "CLUSTERDOWN")
"""Answers after which the same is sent again: a full server is waited for, too."""

_log = logging.getLogger(__name__)


class _Batch(Struct):
    topic: Topic
    partition: int
    messages: list[Stored]
    acknowledged: list[Acknowledged]
    since_s: float
    command: bytes = b""
    size_bytes: int = 0
    sequence: int = 0


class _Lane(Struct):
    """A topic, and the open batch of each of its partitions."""

    topic: Topic
    open: list[_Batch | None]
    batch_messages_max: int


class RedisPublisher:
    """See ``TopicPublisher``. It has no thread: what is published goes out with ``poll``."""

    def __init__(self, settings: Settings) -> None:
        self._address = parse_address(settings.redis_address)
        self._keys = keys_of(self._address)
        self._connection = Connection(self._address)
        self._linger_s = settings.producer.linger_ms / 1_000
        self._message_bytes_max = settings.producer.message_bytes_max
        self._queue_messages_max = settings.producer.queue_messages_max
        self._queue_bytes_max = settings.producer.queue_bytes_max
        self._retention_ms = settings.topics.retention_h * MS_PER_H
        self._trim_at_s = 0.0
        self._id = uuid.uuid4().hex
        self._epoch = -1
        """Of the server's run that we are connected to."""
        self._lanes: dict[str, _Lane] = {}
        self._sequences: dict[tuple[str, int], int] = {}
        self._names: dict[tuple[str, int], str] = {}
        """Of ours, where it is not ``_id``."""
        self._awaited: deque[_Batch] = deque()
        """Closed, and not answered yet, in the order of their sending."""
        self._unsent = bytearray()
        self._is_sending = False
        self._pending_messages = self._pending_bytes = 0
        self._failures, self._retry_at_s = 0, 0.0
        self._held: deque[tuple[str, bytes, bytes | None, Headers | None, Acknowledged | None]] = deque()
        self._settled: Acknowledged | None = None
        self._hold_until_s = 0.0
        self._failure: TransportError | None = None

    @property
    def pending_messages(self) -> int:
        return self._pending_messages + len(self._held)

    @property
    def is_full(self) -> bool:
        full = self._pending_messages >= self._queue_messages_max
        return full or self._pending_bytes >= self._queue_bytes_max

    def publish(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        headers: Headers | None = None,
        acknowledged: Acknowledged | None = None,
    ) -> None:
        """Every message passes here, and a call costs 0.2 µs: so it is one function."""
        if self._failure:
            raise self._failure
        if self.pending_messages >= self._queue_messages_max + OVERFLOW_MESSAGES_MAX:
            raise TransportError("producer queue and overflow are full: reading was not paused")
        if self._settled is not None:
            self._held.append((topic, key, value, headers and {**headers}, acknowledged))
            return
        lane = self._lanes.get(topic) or self._learn(topic)
        size = len(key) + len(value or b"")
        if size > self._message_bytes_max:
            self._failure = TransportError(f"topic {topic}: a message of {size} bytes is too large")
            raise self._failure
        partition = partition_of(key, len(lane.open))
        batch = lane.open[partition]
        if batch is None:
            batch = lane.open[partition] = _Batch(lane.topic, partition, [], [], time.monotonic())
        packed = pack_headers([*headers.items()]) if headers else NO_HEADERS
        batch.messages.append(Stored(key, value, packed, int(time.time() * 1_000)))
        batch.size_bytes += size
        if acknowledged is not None:
            batch.acknowledged.append(acknowledged)
        self._pending_messages += 1
        self._pending_bytes += size
        if len(batch.messages) >= lane.batch_messages_max or batch.size_bytes >= BATCH_BYTES_MAX:
            self._close(batch)

    def _learn(self, name: str) -> _Lane:
        """Waits for the server, once a topic."""
        with_own = Connection(self._address, REQUEST_TIMEOUT_S)
        try:
            topic = topic_of(with_own, self._keys, name)
        finally:
            with_own.close()
        messages_max = 1 if topic.compacted else BATCH_MESSAGES_MAX
        lane = self._lanes[name] = _Lane(topic, [None] * topic.partitions, messages_max)
        return lane

    def _all_open(self) -> list[_Batch]:
        return [batch for lane in self._lanes.values() for batch in lane.open if batch is not None]

    def _close(self, batch: _Batch) -> None:
        """Nothing is added any more: it has its sequence, and its bytes."""
        topic, partition = batch.topic.name, batch.partition
        self._lanes[topic].open[partition] = None
        batch.sequence = self._sequences.get((topic, partition), 0)
        self._sequences[topic, partition] = batch.sequence + len(batch.messages)
        self._pack(batch)
        self._awaited.append(batch)
        self._unsent += batch.command

    def _pack(self, batch: _Batch) -> None:
        producer = self._names.get((batch.topic.name, batch.partition), self._id)
        batch.command = _command(self._keys, batch, producer, self._epoch)

    def _begin_under_another_name(self, head: _Batch) -> None:
        """The server knows us no more, after a day of silence or because it lost its end: what has no answer of this
        partition is numbered anew."""
        key = head.topic.name, head.partition
        self._names[key], sequence = uuid.uuid4().hex, 0
        for batch in self._awaited:
            if (batch.topic.name, batch.partition) == key:
                batch.sequence = sequence
                self._pack(batch)
                sequence += len(batch.messages)
        self._sequences[key] = sequence

    def poll(self) -> None:
        if self._failure:
            raise self._failure
        now_s = time.monotonic()
        for batch in self._all_open():
            if self._settled is not None or now_s - batch.since_s >= self._linger_s:
                self._close(batch)
        if self._awaited and now_s >= self._retry_at_s:
            self._exchange()
        if self._settled is not None:
            self._end_hold(now_s)
        if self._retention_ms >= 0 and now_s >= self._trim_at_s:
            self._trim_at_s = now_s + TRIM_EVERY_S
            self._trim()

    def _exchange(self) -> None:
        """Send what can be sent, and take the answers that are there, without waiting."""
        try:
            if not self._is_sending:
                self._begin_again()
            opened = self._connection.opened()
            if self._unsent:
                with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    del self._unsent[: opened.send(self._unsent)]
            while True:
                try:
                    data = opened.recv(READ_BYTES)
                except (BlockingIOError, ssl.SSLWantReadError):
                    return
                if not data:
                    raise OSError("it hangs up")
                for answer in self._connection.feed(data):
                    self._answered(answer)
        except (TransportError, OSError, hiredis.HiredisError) as error:
            self._broke(error)

    def _begin_again(self) -> None:
        """All that has no answer is sent on a new socket."""
        load_functions(self._connection)
        epoch = self._connection.epoch(self._keys.epoch)
        if epoch != self._epoch:  # another run of the server: what it takes is of that one
            self._epoch = epoch
            for batch in self._awaited:
                self._pack(batch)
        self._connection.opened().setblocking(False)
        self._unsent = bytearray().join(batch.command for batch in self._awaited)
        self._is_sending = True

    def _answered(self, answer: Any) -> None:
        if isinstance(answer, hiredis.ReplyError):
            refused = Refused(self._address.place, str(answer))
            if refused.code == "OUTOFORDER":  # the first to be refused: what was before it is acknowledged
                self._begin_under_another_name(self._awaited[0])
            raise refused
        batch = self._awaited.popleft()
        self._failures = 0
        self._pending_messages -= len(batch.messages)
        self._pending_bytes -= batch.size_bytes
        for acknowledged in batch.acknowledged:
            acknowledged()

    def _broke(self, error: Exception) -> None:
        self._connection.close()
        self._is_sending = False
        if isinstance(error, Refused) and error.code not in PASSING:
            self._failure = TransportError(str(error))
            raise self._failure
        if self._failures == 0:
            _log.warning("%s; what it has not acknowledged is sent again", error)
        self._retry_at_s = time.monotonic() + back_off_s(self._failures, RETRY_FIRST_S, RETRY_MAX_S)
        self._failures += 1

    def _trim(self) -> None:
        """Of the topics that it publishes to: whoever makes the topics longer makes them shorter."""
        connection = Connection(self._address)
        before_ms = int(time.time() * 1_000) - self._retention_ms
        try:
            for lane in self._lanes.values():
                if not lane.topic.compacted:
                    trim(connection, self._keys, lane.topic.name, before_ms)
        except TransportError as error:
            _log.warning("%s; retention waits", error)
        finally:
            connection.close()

    def flush(self, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while self.pending_messages:
            for batch in self._all_open():
                self._close(batch)
            self.poll()
            left_s = deadline_s - time.monotonic()
            if not self.pending_messages:
                break
            if left_s <= 0:
                raise TransportError(
                    f"{self.pending_messages} messages not acknowledged within {timeout_s:g} s"
                )
            self._wait(min(left_s, WAIT_STEP_S))

    def _wait(self, wait_s: float) -> None:
        if not self._is_sending:
            time.sleep(min(wait_s, RETRY_FIRST_S))
            return
        opened = self._connection.opened()
        select.select([opened], [opened] if self._unsent else [], [], wait_s)

    def settle(self, settled: Acknowledged) -> None:
        if self._settled is not None or self.is_full:
            return
        self._settled, self._hold_until_s = settled, time.monotonic() + HOLD_S_MAX

    def _end_hold(self, now_s: float) -> None:
        """Once all before it is acknowledged, what was to be called is; once that took too long, it is not."""
        is_settled = not self._pending_messages
        if not is_settled and now_s < self._hold_until_s:
            return
        settled, self._settled = self._settled, None
        while self._held:
            self.publish(*self._held.popleft())
        if is_settled and settled is not None:
            settled()

    def close(self) -> None:
        self._connection.close()


def _command(keys_of_topics: Keys, batch: _Batch, producer: str, epoch: int) -> bytes:
    topic, partition = batch.topic.name, batch.partition
    function, rest = "etl_2_append", list[Argument]()
    keys = [
        keys_of_topics.stream(topic, partition),
        keys_of_topics.state(topic, partition),
        keys_of_topics.producer(topic, partition, producer),
    ]
    if batch.topic.compacted:
        function = "etl_2_put"
        keys.append(keys_of_topics.index(topic, partition))
        rest.append(batch.messages[0].key)
    return pack(
        (
            "FCALL",
            function,
            len(keys),
            *keys,
            batch.sequence,
            len(batch.messages),
            max(message.time_ms for message in batch.messages),
            epoch,
            encode_batch(batch.messages),
            PRODUCER_REMEMBERED_S,
            *rest,
        )
    )
