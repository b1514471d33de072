"""A topic that lost its end with its broker's power, and is longer again than what was read of it."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from etl.embedded.kafka import kafka_part
from etl.errors import RangeLost
from etl.lake.query import connect as connect_lake
from etl.model.records import Gap
from etl.settings import Settings
from etl.sinks.export import export
from etl.sinks.load import load_timescale
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from etl.transports.kafka import ensure_topics
from tests.support import stream, topics
from tests.support.clickhouse_sink import drain
from tests.support.servers import RunningPart

pytestmark = pytest.mark.integration
MakeSettings = Callable[..., Settings]
KEPT, READ, SINCE = 10, 60, 100
"""Messages before the power went that are still there; that were read; that came after it."""


class Topic:
    """The normalized topic of a broker of its own."""

    def __init__(self, broker: RunningPart, settings: Settings) -> None:
        self.broker, self.settings, self.name = broker, settings, settings.topics.normalized
        ensure_topics(settings)
        stream.publish(settings, *(stream.trade(n) for n in range(KEPT)))
        self._size_bytes = topics.log_of(broker, self.name).stat().st_size
        stream.publish(settings, *(stream.trade(n) for n in range(KEPT, READ)))

    def lose_end(self) -> None:
        topics.lose_end(self.broker, self.name, self._size_bytes)
        assert len(topics.messages(self.settings, self.name)) == KEPT
        stream.publish(self.settings, *(stream.trade(n) for n in range(READ, READ + SINCE)))

    def declared(self) -> list[tuple[int | None, int | None]]:
        return [
            (each.from_sequence, each.to_sequence)
            for each in topics.records(self.settings)
            if isinstance(each, Gap)
        ]


@pytest.fixture
def topic_with(crashable: Callable[..., RunningPart], settings_with: MakeSettings) -> Callable[..., Topic]:
    broker = crashable(kafka_part)
    url = broker.settings.kafka_bootstrap
    return lambda **values: Topic(broker, settings_with(kafka_url=url, topic_partitions=1, **values))


def test_a_load_declares_what_the_topic_lost_once_and_the_next_loads_the_rest(
    topic_with: Callable[..., Topic],
) -> None:
    topic = topic_with(timescale=True)
    migrate_timescale(topic.settings)
    assert load_timescale(topic.settings).messages == READ
    topic.broker.restart()  # another leader, and nothing lost
    assert load_timescale(topic.settings).messages == 0
    topic.lose_end()
    with pytest.raises(RangeLost, match="ends at 10 and had 60"):
        load_timescale(topic.settings)
    load_timescale(topic.settings)
    with psycopg.connect(topic.settings.timescale_address) as connection:
        found = connection.execute("SELECT count(*), count(DISTINCT trade_id) FROM trades").fetchone()
    assert found == (READ + SINCE, READ + SINCE)
    assert load_timescale(topic.settings).messages == 0
    assert topic.declared() == [(KEPT, READ - 1)]


def test_an_export_declares_what_the_topic_lost_once_and_the_next_exports_the_rest(
    topic_with: Callable[..., Topic],
) -> None:
    topic = topic_with()
    assert export(topic.settings).messages == READ
    topic.broker.restart()
    assert export(topic.settings).messages == 0
    topic.lose_end()
    with pytest.raises(RangeLost, match="ends at 10 and had 60"):
        export(topic.settings)
    export(topic.settings)
    with connect_lake(topic.settings) as connection:
        found = connection.execute("SELECT count(*), count(DISTINCT trade_id) FROM trades").fetchone()
    assert found == (READ + SINCE, READ + SINCE)
    assert export(topic.settings).messages == 0
    assert topic.declared() == [(KEPT, READ - 1)]


def test_the_sink_declares_what_the_topic_lost_once_however_often_it_is_started(
    topic_with: Callable[..., Topic],
) -> None:
    topic = topic_with(clickhouse=True)
    migrate_clickhouse(topic.settings)
    drain(topic.settings)
    topic.broker.restart()
    drain(topic.settings)
    topic.lose_end()
    for _ in range(3):
        with pytest.raises(RangeLost, match="ends at 10 and had 60"):
            drain(topic.settings)
        stream.publish(topic.settings, stream.trade(1_000))
    assert topic.declared() == [(KEPT, READ - 1)]
    with connect(topic.settings) as client:
        assert client.execute("SELECT count() FROM trades").split() == [b"60"]
