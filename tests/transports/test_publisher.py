"""The contract of every publisher; Kafka and Redis are held to it with real servers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Protocol

import pytest

from etl.embedded.kafka import kafka_part
from etl.errors import TransportError
from etl.model.records import Frame, Source
from etl.settings import Settings, changed, make
from etl.transports.frame_headers import frame_headers, frame_of
from etl.transports.kafka import (
    HOLD_S_MAX,
    OVERFLOW_MESSAGES_MAX,
    KafkaPublisher,
    ensure_topics,
    wanted_topics,
)
from etl.transports.memory import MemoryPublisher
from etl.transports.publisher import Publisher
from etl.transports.transport import transport_of
from tests.support.servers import RunningPart
from tests.support.topics import eventually, messages

FLUSH_S = 30.0


class Transport(Protocol):
    topic: str

    @property
    def publisher(self) -> Publisher: ...

    def delivered(self) -> list[tuple[bytes, bytes]]:
        """(key, value) of what a consumer sees, in order."""


class _Memory:
    topic = "t"

    def __init__(self) -> None:
        self.publisher = MemoryPublisher()

    def delivered(self) -> list[tuple[bytes, bytes]]:
        return [(message.key, message.value) for message in self.publisher.delivered[self.topic]]


class _Served:
    def __init__(self, settings: Settings) -> None:
        transport_of(settings).ensure_topics()
        self.settings = settings
        self.topic = settings.topics.raw
        self.publisher = transport_of(settings).publisher()

    def delivered(self) -> list[tuple[bytes, bytes]]:
        found = messages(self.settings, self.topic)
        return [(message.key or b"", message.value or b"") for message in found]


SERVED = [pytest.param(name, marks=pytest.mark.integration) for name in ("kafka", "redis")]


@pytest.fixture(params=["memory", *SERVED])
def transport(request: pytest.FixtureRequest, settings_with: Callable[..., Settings]) -> Transport:
    return _Memory() if request.param == "memory" else _Served(settings_with(**{request.param: True}))


def test_everything_published_is_there_after_flush_in_order_per_key(transport: Transport) -> None:
    for number in range(1_000):
        transport.publisher.publish(transport.topic, b"a" if number % 2 else b"b", b"%d" % number)
    transport.publisher.flush(FLUSH_S)
    assert transport.publisher.pending_messages == 0
    found = transport.delivered()
    assert [int(v) for k, v in found if k == b"a"] == list(range(1, 1_000, 2))
    assert [int(v) for k, v in found if k == b"b"] == list(range(0, 1_000, 2))


def test_an_acknowledgement_is_reported_once_from_a_later_poll(transport: Transport) -> None:
    heard: list[int] = []
    transport.publisher.publish(transport.topic, b"k", b"v", None, lambda: heard.append(1))
    assert heard == []

    def acknowledged() -> bool:
        transport.publisher.poll()
        return bool(heard)

    eventually(acknowledged)
    transport.publisher.poll()
    assert heard == [1]


def test_pending_counts_what_is_published_and_not_acknowledged(transport: Transport) -> None:
    transport.publisher.publish(transport.topic, b"k", b"four")
    assert transport.publisher.pending_messages == 1
    assert not transport.publisher.is_full
    transport.publisher.flush(FLUSH_S)
    assert transport.publisher.pending_messages == 0


def test_memory_refuses_more_than_its_queue_holds() -> None:
    publisher = MemoryPublisher(queue_messages_max=2)
    publisher.stalled = True
    publisher.publish("t", b"k", b"1")
    publisher.publish("t", b"k", b"2")
    with pytest.raises(TransportError, match="reading was not paused"):
        publisher.publish("t", b"k", b"3")


def test_a_flush_that_takes_too_long_says_how_much_is_left() -> None:
    publisher = MemoryPublisher()
    publisher.stalled = True
    publisher.publish("t", b"k", b"1")
    with pytest.raises(TransportError, match="1 messages not acknowledged within"):
        publisher.flush(0.01)


@pytest.mark.integration
def test_a_full_queue_overflows_in_order_and_publish_never_waits(
    crashable: Callable[..., RunningPart],
) -> None:
    broker = crashable(kafka_part)
    settings = make(kafka_url=broker.settings.kafka_bootstrap, producer_queue_messages_max=1_000)
    ensure_topics(settings)
    publisher = KafkaPublisher(settings)
    publisher.publish(settings.topics.raw, b"k", b"0")
    publisher.flush(FLUSH_S)
    broker.kill()
    begun = time.monotonic()
    for number in range(1, 5_001):
        publisher.publish(settings.topics.raw, b"k", b"%d" % number)
    assert time.monotonic() - begun < 1.0
    assert publisher.pending_messages >= 5_000
    broker.start()
    publisher.flush(FLUSH_S)
    assert [int(m.value or b"") for m in messages(settings, settings.topics.raw)] == list(range(5_001))


@pytest.mark.integration
def test_a_message_that_the_broker_refuses_for_good_fails_the_publisher(
    settings_with: Callable[..., Settings],
) -> None:
    settings = settings_with(kafka=True, message_bytes_max=10_000)
    ensure_topics(settings)
    publisher = KafkaPublisher(changed(settings, message_bytes_max=1 << 20))
    publisher.publish(settings.topics.raw, b"k", os.urandom(50_000))

    def failed() -> bool:
        try:
            publisher.poll()
        except TransportError as error:
            return settings.topics.raw in str(error)
        return False

    eventually(failed)


@pytest.mark.integration
def test_a_frame_comes_back_from_the_raw_topic_byte_for_byte(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(kafka=True)
    ensure_topics(settings)
    frame = Frame("binance", "id", 7, "ws://h/s?streams=é", 123, bytes(range(256)), Source.REPAIR)
    publisher = KafkaPublisher(settings)
    publisher.publish(settings.topics.raw, b"id", frame.payload, frame_headers(frame))
    publisher.flush(FLUSH_S)
    found: list[Any] = messages(settings, settings.topics.raw)
    assert [frame_of(message) for message in found] == [frame]


@pytest.mark.parametrize(("replicas", "in_step"), [(1, "1"), (2, "1"), (3, "2")])
def test_what_is_acknowledged_lies_on_all_replicas_but_one(replicas: int, in_step: str) -> None:
    topics = wanted_topics(make(topic_replication=replicas))
    assert {(topic.config or {})["min.insync.replicas"] for topic in topics} == {in_step}
    assert {topic.replication_factor for topic in topics} == {replicas}


@pytest.mark.integration
@pytest.mark.parametrize("name", ["kafka", "redis"])
def test_settled_is_called_once_all_before_is_acknowledged_and_later_messages_wait_for_it(
    settings_with: Callable[..., Settings], name: str
) -> None:
    settings = settings_with(**{name: True})
    transport_of(settings).ensure_topics()
    publisher = transport_of(settings).publisher()
    publisher.publish(settings.topics.raw, b"0", b"first")
    publisher.flush(FLUSH_S)
    held: list[set[bytes | None]] = []
    for number in range(5_000):
        publisher.publish(settings.topics.raw, b"%d" % (number % 7), b"%d" % number)
    publisher.settle(lambda: held.append({m.value for m in messages(settings, settings.topics.raw)}))
    publisher.publish(settings.topics.raw, b"0", b"later")
    assert not publisher.is_full

    def settled() -> bool:
        publisher.poll()
        return bool(held)

    eventually(settled)
    assert held[0] >= {b"%d" % number for number in range(5_000)}
    publisher.flush(FLUSH_S)
    assert b"later" in {m.value for m in messages(settings, settings.topics.raw)}
    assert len(held) == 1


@pytest.mark.integration
@pytest.mark.parametrize("name", ["kafka", "redis"])
def test_more_than_may_wait_is_taken_between_two_polls(
    settings_with: Callable[..., Settings], name: str
) -> None:
    settings = settings_with(**{name: True})
    transport_of(settings).ensure_topics()
    publisher = transport_of(settings).publisher()
    publisher.publish(settings.topics.raw, b"k", b"-1")
    settled: list[int] = []
    publisher.settle(lambda: settled.append(1))
    for number in range(OVERFLOW_MESSAGES_MAX + 5_000):
        publisher.publish(settings.topics.raw, b"k", b"%d" % number)
    publisher.flush(FLUSH_S)
    numbers = [int(m.value or b"") for m in messages(settings, settings.topics.raw)]
    assert numbers == list(range(-1, OVERFLOW_MESSAGES_MAX + 5_000))


@pytest.mark.integration
def test_what_does_not_settle_in_time_is_given_up_and_what_waited_is_sent_in_order(
    crashable: Callable[..., RunningPart],
) -> None:
    broker = crashable(kafka_part)
    settings = make(kafka_url=broker.settings.kafka_bootstrap)
    ensure_topics(settings)
    publisher = KafkaPublisher(settings)
    publisher.publish(settings.topics.raw, b"k", b"0")
    publisher.flush(FLUSH_S)
    broker.kill()
    settled: list[int] = []
    publisher.publish(settings.topics.raw, b"k", b"1")
    publisher.settle(lambda: settled.append(1))
    for number in range(2, 10):
        publisher.publish(settings.topics.raw, b"k", b"%d" % number)
    time.sleep(HOLD_S_MAX)
    publisher.poll()
    publisher.publish(settings.topics.raw, b"k", b"10")
    broker.start()
    publisher.flush(FLUSH_S)
    assert settled == []
    assert [int(m.value or b"") for m in messages(settings, settings.topics.raw)] == list(range(11))
