"""A store rebuilt from raw frames is the store as it was: every row, every column but when it was stored and whence."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from etl import exchanges
from etl.ingest.feed import Feed
from etl.ingest.intake import open_intake
from etl.ingest.replay import replay
from etl.settings import Settings
from etl.sinks.clickhouse_ways import MARKET_DATA, batch_path, delimited
from etl.sinks.export import archive
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse
from etl.transports.kafka import KafkaPublisher, ensure_topics
from etl.transports.transport import transport_of

pytestmark = pytest.mark.integration

SESSION = Path("etl/simulator/sessions")
FRAMES = 2_000
END_NS = (1 << 63) - 1
TABLES = ("trades", "quotes", "book_updates")


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    made = settings_with(kafka=True, clickhouse=True, recordings_dir="served")
    ensure_topics(made)
    migrate_clickhouse(made)
    return made


def shipped_frames() -> Iterator[tuple[bytes, int, str]]:
    [path] = SESSION.glob("binance*.jsonl.gz")
    with gzip.open(path, "rt") as file:
        for line in file:
            item = json.loads(line)
            if "frame" in item:
                yield item["frame"].encode(), item["receive_time_ns"], item.get("url", "")


def stream(settings: Settings) -> int:
    """The shipped session through the live path; the records it gave."""
    exchange = exchanges.load("binance")
    publisher = KafkaPublisher(settings)
    feed = Feed(settings, exchange, publisher)
    intake = open_intake(feed, exchange(), "0190aa00-0000-7000-8000-000000000001", "ws://x/stream")
    for number, (payload, time_ns, url) in enumerate(shipped_frames()):
        if number >= FRAMES:
            break
        if url:
            intake.take(payload, time_ns, url)
        else:
            intake.take_read([payload], time_ns)
    publisher.flush(60)
    return sum(feed.counts.published)


def normalized(settings: Settings) -> Iterator[bytes]:
    with transport_of(settings).reader(settings.topics.normalized, "test") as reader:
        for partition, bounds in reader.bounds().items():
            for messages in reader.read(partition, bounds.low, bounds.high, 5_000):
                yield from (message.value or b"" for message in messages)


def hashes(settings: Settings) -> dict[str, str]:
    """Rows and a hash over them, order aside, of every table; without what differs by intent."""
    with connect(settings) as client:
        return {
            table: client.execute(
                f"SELECT count(), sum(cityHash64(*)) FROM (SELECT * EXCEPT (stored_time, source) FROM {table})"
            )
            .decode()
            .strip()
            for table in TABLES
        }


def recreate(settings: Settings) -> None:
    with connect(settings) as client:
        for database in (client.address.internal, client.address.database):
            client.execute(f"DROP DATABASE {database}")
        client.create_database()
    migrate_clickhouse(settings)


@pytest.mark.parametrize("archived", [False, True])
def test_dropped_tables_are_rebuilt_from_the_raw_topic_row_by_row(settings: Settings, archived: bool) -> None:
    published = stream(settings)
    messages = [*normalized(settings)]
    with connect(settings, internal=True) as client:
        client.insert(batch_path(MARKET_DATA, "stream", len(messages)), delimited(messages))
    before = hashes(settings)
    assert all(not counted.startswith("0") for counted in before.values()), before
    if archived:
        archive(settings)
    recreate(settings)
    assert all(counted.startswith("0") for counted in hashes(settings).values())

    replayed = replay(settings, ["binance"], 0, END_NS, archived=archived, into_clickhouse=True)
    assert replayed == (FRAMES, published)
    assert hashes(settings) == before
    replay(settings, ["binance"], 0, END_NS, archived=archived, into_clickhouse=True)
    assert hashes(settings) == before


def test_a_replay_into_the_topic_gives_the_same_records_under_the_same_identities(settings: Settings) -> None:
    published = stream(settings)
    assert replay(settings, ["binance"], 0, END_NS) == (FRAMES, published)
    messages = [*normalized(settings)]
    with connect(settings, internal=True) as client:
        client.insert(batch_path(MARKET_DATA, "both", len(messages)), delimited(messages))
    both = hashes(settings)
    recreate(settings)
    replay(settings, ["binance"], 0, END_NS, into_clickhouse=True)
    assert hashes(settings) == both
