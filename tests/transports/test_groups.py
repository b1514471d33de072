from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from etl.errors import TransportError
from etl.settings import Settings, changed
from etl.transports import kafka_clients, kafka_ranges
from etl.transports.kafka_backlogs import backlogs, behind
from tests.support import stream, topics
from tests.support.servers import settings_on_free_ports

pytestmark = pytest.mark.integration
TIMEOUT_S = 10.0


def answers(settings: Settings, group: str) -> bool:
    """A coordinator that is just starting does not."""
    try:
        return behind(settings, group, (settings.topics.normalized,), TIMEOUT_S) > 0
    except TransportError:
        return False


def test_a_group_is_behind_by_what_it_has_not_committed_of_partitions_it_never_had_all_that_is_left(
    settings_with: Callable[..., Settings],
) -> None:
    settings = settings_with(kafka=True, topic_partitions=2)
    stream.publish(settings, *[stream.trade(n, symbol=f"S{n % 9}") for n in range(300)])
    topic = settings.topics.normalized
    wanted = (topic, settings.topics.quarantine)
    topics.eventually(lambda: answers(settings, topic))
    assert behind(settings, topic, wanted, TIMEOUT_S) == 300
    consumer = kafka_clients.consumer(settings, topic)
    consumer.commit(offsets=[TopicPartition(topic, 0, 7)], asynchronous=False)
    assert behind(settings, topic, wanted, TIMEOUT_S) == 293
    topics.delete_before(settings, topic, 1, 5)
    assert behind(settings, topic, wanted, TIMEOUT_S) == 288
    consumer.close()


def test_a_broker_that_is_down_is_an_error_not_an_empty_list(tmp_path: Path) -> None:
    settings = settings_on_free_ports(tmp_path)
    with pytest.raises(TransportError, match=f"Kafka at {settings.kafka_bootstrap}: .*Timed out"):
        backlogs(settings, 0.3)


def test_a_broker_that_takes_a_connection_and_never_answers_is_said_to_do_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_ranges, "REQUEST_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        settings = changed(settings_on_free_ports(tmp_path), kafka_url=f"127.0.0.1:{mute.getsockname()[1]}")
        with (
            kafka_ranges.KafkaRangeReader(settings, settings.topics.normalized, "tests") as reader,
            pytest.raises(TransportError, match=r"topic market-data.normalized: \S"),
        ):
            reader.topic_id()
