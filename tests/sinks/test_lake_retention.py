"""What retention takes of a topic before it is exported: declared once, and the rest is in the lake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from etl.lake.query import connect
from etl.model.records import Frame, Gap, Source
from etl.settings import Settings
from etl.sinks.export import archive, export
from etl.transports.frame_headers import frame_headers
from etl.transports.kafka import KafkaPublisher, ensure_topics
from etl.transports.kafka_ranges import KafkaRangeReader
from tests.support import stream, topics
from tests.support.stream import START_NS

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    return settings_with(kafka=True, topic_partitions=1)


def query(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with connect(settings) as connection:
        return connection.execute(sql).fetchall()


def test_what_retention_took_before_an_export_is_declared_and_the_rest_is_exported(
    settings: Settings,
) -> None:
    stream.publish(settings, *(stream.trade(n) for n in range(10)))
    export(settings)
    stream.publish(settings, *(stream.trade(n) for n in range(10, 100)))
    topics.delete_before(settings, settings.topics.normalized, 0, 40)
    assert export(settings).messages == 60
    assert export(settings).messages == 1  # the gap
    assert query(settings, "SELECT count(*), min(trade_id), max(trade_id) FROM trades") == [
        (70, str(3_735_683_259), str(3_735_683_259 + 99))
    ]
    assert query(settings, "SELECT exchange, from_sequence, to_sequence FROM gaps") == [("*", 10, 39)]


@pytest.mark.parametrize("exported", [0, 10])
def test_retention_that_overtakes_a_running_export_is_declared_and_passed_over(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, exported: int
) -> None:
    if exported:
        stream.publish(settings, *(stream.trade(n) for n in range(exported)))
        export(settings)
    stream.publish(settings, *(stream.trade(n) for n in range(exported, 100)))
    with monkeypatch.context() as patch:
        patch.setattr(KafkaRangeReader, "_require", then_retention(KafkaRangeReader._require, settings))
        assert export(settings).messages == 60
    assert export(settings).messages == 1  # the gap
    assert query(settings, "SELECT count(*) FROM trades") == [(exported + 60,)]
    assert query(settings, "SELECT from_sequence, to_sequence FROM gaps") == [(exported, 39)]
    assert export(settings).messages == 0


def then_retention(required: Callable[..., None], settings: Settings) -> Callable[..., None]:
    """Between the look at what the topic has and the first fetch."""

    def require(reader: KafkaRangeReader, partition: int, start: int, end: int) -> None:
        required(reader, partition, start, end)
        topics.delete_before(settings, settings.topics.normalized, 0, 40)

    return require


def test_an_archive_that_retention_left_nothing_to_declares_it_once(settings: Settings) -> None:
    ensure_topics(settings)
    publisher = KafkaPublisher(settings)
    for n in range(20):
        frame = Frame("binance", "c1", n, "wss://x", START_NS, b"{}", Source.STREAM)
        publisher.publish(settings.topics.raw, b"c1", frame.payload, frame_headers(frame))
        if n == 9:
            publisher.flush(30.0)
            archive(settings)
    publisher.flush(30.0)
    topics.delete_before(settings, settings.topics.raw, 0, 20)
    assert [archive(settings).messages for _ in range(3)] == [0, 0, 0]
    assert [
        (each.from_sequence, each.to_sequence) for each in topics.records(settings) if isinstance(each, Gap)
    ] == [(10, 19)]
