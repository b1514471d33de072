from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import TopicPartition

from etl.embedded.kafka import kafka_part
from etl.settings import Settings
from etl.transports import kafka_clients
from etl.transports.kafka import ensure_topics
from tests.support.servers import BOTH_SERVERS, RunningPart

pytestmark = pytest.mark.integration

READ_WITHIN_S = 30.0


def produce(settings: Settings, values: list[bytes]) -> list[bytes]:
    """Values that the broker has acknowledged."""
    acknowledged: list[bytes] = []

    def note(error: object, message: object) -> None:
        assert error is None
        acknowledged.append(message.value())  # type: ignore[attr-defined]

    producer = kafka_clients.producer(settings)
    for value in values:
        producer.produce(settings.topics.quarantine, value, on_delivery=note)
    producer.flush(READ_WITHIN_S)
    return acknowledged


def read_all(settings: Settings) -> list[bytes]:
    consumer = kafka_clients.consumer(settings, "test")
    partition = TopicPartition(settings.topics.quarantine, 0, 0)
    _, end = consumer.get_watermark_offsets(partition, timeout=READ_WITHIN_S)
    consumer.assign([partition])
    values: list[bytes] = []
    while len(values) < end:
        messages = consumer.consume(end, timeout=READ_WITHIN_S)
        assert messages, "the broker gave less than its watermark says"
        values += [message.value() or b"" for message in messages]
    consumer.close()
    return values


def test_what_was_acknowledged_is_there_after_kill_9(crashable: Callable[..., RunningPart]) -> None:
    broker = crashable(kafka_part)
    ensure_topics(broker.settings)
    sent = [b"%d" % number for number in range(5_000)]
    assert produce(broker.settings, sent) == sent
    broker.restart()
    assert read_all(broker.settings) == sent
    assert produce(broker.settings, [b"more"]) == [b"more"]
    assert broker.stop() in (0, 143)


@BOTH_SERVERS
def test_offsets_and_their_metadata_come_back(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(kafka=True)
    ensure_topics(settings)
    group = f"group-{settings.topics.raw}"
    consumer = kafka_clients.consumer(settings, group)
    wanted = TopicPartition(settings.topics.quarantine, 0, 0, metadata='{"start":0,"end":7}')
    consumer.commit(offsets=[wanted], asynchronous=False)
    found = consumer.committed([TopicPartition(settings.topics.quarantine, 0)], timeout=READ_WITHIN_S)[0]
    consumer.close()
    assert (found.offset, found.metadata) == (0, '{"start":0,"end":7}')
