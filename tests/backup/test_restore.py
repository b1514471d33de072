"""A platform is restored into fresh servers to the same rows, and goes on there as if nothing had been."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from etl.backup.archive import Reader
from etl.backup.backup import back_up
from etl.backup.restore import restore
from etl.embedded.timescale import timescale_part
from etl.errors import UsageError
from etl.lake.storage import open_storage, storage_at
from etl.model.records import Record
from etl.settings import Settings, changed
from etl.sinks.export import archive, export
from etl.sinks.load import load_timescale
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from etl.stores.timescale import session
from etl.transports.transport import transport_of
from tests.support import lake, stream, topics
from tests.support.clickhouse_sink import drain, with_topics
from tests.support.servers import RunningPart, clickhouse_database

pytestmark = pytest.mark.integration

FRAMES = 7
HEADERS = {"exchange": b"binance", "receive_time_ns": b"1723161255342000001"}
PLAIN = ("trades", "quotes", "books", "bars", "gaps", "corrections")


def some(start: int, count: int) -> list[Record]:
    """Kinds that lie in different tables and days."""
    found: list[Record] = []
    for number in range(start, start + count):
        found.append(stream.trade(number, time_ns=stream.START_NS + number * stream.DAY // 20))
        found.append(stream.quote(number))
    return found


def frames(settings: Settings, start: int, count: int) -> None:
    publisher = transport_of(settings).publisher()
    for number in range(start, start + count):
        publisher.publish(
            settings.topics.raw, stream.CONNECTION.encode(), f'{{"n":{number}}}'.encode(), HEADERS
        )
    publisher.publish(settings.topics.positions, b"binance/1", b"stands at %d" % start)
    publisher.flush(stream.FLUSH_TIMEOUT_S)


def stored_rows(settings: Settings) -> dict[str, tuple[int, ...]]:
    """Of every physical table of ClickHouse: its rows, and the sum of their digests."""
    found = {}
    with connect(settings) as client:
        listed = client.execute(
            "SELECT name FROM system.tables WHERE database = {internal:String} AND endsWith(engine, 'MergeTree')"
            " ORDER BY name FORMAT TSV",
            parameters={"internal": client.address.internal},
        )
        for name in listed.decode().split():
            counted = client.execute(
                f"SELECT count(), sum(cityHash64(toString(tuple(*)))) FROM {client.address.internal}.{name} FORMAT TSV"
            )
            found[name] = tuple(map(int, counted.split()))
    return found


def visible_rows(settings: Settings) -> dict[str, list[str]]:
    """What users see in ClickHouse, without when it was stored."""
    with connect(settings) as client:
        return {
            name: sorted(
                client.execute(f"SELECT * EXCEPT (stored_time) FROM {name} FORMAT TSV").decode().splitlines()
            )
            for name in PLAIN
        }


def timescale_rows(settings: Settings, *without: str) -> dict[str, list[str]]:
    with session(settings) as connection:
        listed = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename != 'schema_migrations'"
        ).fetchall()
        return {
            name: sorted(
                str(row) for (row,) in connection.execute(f"SELECT t::text FROM {name} AS t".encode())
            )
            for (name,) in listed
            if name not in without
        }


def lake_rows(settings: Settings) -> list[tuple[object, ...]]:
    columns = "exchange, symbol, record_key, receive_time_ns, last_price, volume"
    return sorted(lake.query(settings, f"SELECT {columns} FROM trades"))


def lake_files(settings: Settings) -> dict[str, str]:
    storage = open_storage(settings)
    return {path: hashlib.sha256(storage.get(path)).hexdigest() for path in lake.state_of(settings).files}


def raw_messages(settings: Settings) -> list[tuple[object, ...]]:
    found = topics.messages(settings, settings.topics.raw)
    return [(m.key, m.value, m.headers()) for m in found]


def fill(settings: Settings) -> None:
    """Stores that stand at different places of a topic that goes on behind all of them."""
    migrate_clickhouse(settings)
    migrate_timescale(settings)
    everything = [*some(0, 40), stream.correction("27", "26", last_price="39.1809", volume="1")]
    stream.publish(settings, *everything)
    frames(settings, 0, FRAMES)
    export(settings)
    archive(settings)
    load_timescale(settings)
    stream.publish(settings, *some(40, 30))
    drain(settings)
    stream.publish(settings, *some(70, 20))
    frames(settings, FRAMES, FRAMES)


def go_on(settings: Settings) -> None:
    stream.publish(settings, *some(90, 25))
    drain(settings)
    load_timescale(settings)
    export(settings)
    archive(settings)


@pytest.mark.parametrize("transport", [pytest.param("kafka", marks=pytest.mark.long), "redis"])
def test_a_restored_platform_has_the_same_rows_and_goes_on_without_loss_or_doubles(
    transport: str,
    settings_with: Callable[..., Settings],
    crashable: Callable[..., RunningPart],
    tmp_path: Path,
    clickhouse_url: str,
) -> None:
    own = crashable(timescale_part).settings.timescale_address  # the module's has the other transport's rows
    asked = settings_with(**{transport: True}, clickhouse=True)
    source = with_topics(asked, topic_partitions=1, timescale_url=own)
    fill(source)
    place = str(tmp_path / "backup")
    back_up(source, place, (), lambda line: None)
    manifest = Reader(storage_at(place)).manifest
    (tail,) = [b for b in manifest.topics["normalized"].partitions.values() if b.end]
    assert (tail.start, tail.end) == (81, 181), "the lake and TimescaleDB have 81 messages, ClickHouse 141"

    timescale = crashable(timescale_part)
    with clickhouse_database(clickhouse_url, f"restored_{tmp_path.stat().st_ino}") as url:
        names = {f"{role}_topic": f"restored-{tmp_path.stat().st_ino}-{role}" for role in manifest.topics}
        target = changed(
            source,
            state_dir=str(tmp_path / "target"),
            clickhouse_url=url,
            timescale_url=timescale.settings.timescale_address,
            topic_partitions=1,
            **names,
        )
        restore(target, place, (), replace=False, say=lambda line: None)

        assert stored_rows(target) == stored_rows(source)
        assert stored_rows(target)["trades_stored"][0] == 70
        assert timescale_rows(target) == timescale_rows(source)
        assert lake_files(target) == lake_files(source)
        assert raw_messages(target) == raw_messages(source)[FRAMES:], "the lake has the others"
        (position,) = topics.messages(target, target.topics.positions)[-1:]
        assert (position.key, position.value) == (b"binance/1", b"stands at %d" % FRAMES)

        with pytest.raises(UsageError, match="has rows"):
            restore(target, place, ("clickhouse",), replace=False, say=lambda line: None)

        go_on(source)
        go_on(target)
        assert visible_rows(target) == visible_rows(source)
        assert len(visible_rows(target)["trades"]) == 115
        assert timescale_rows(target, "load_offsets") == timescale_rows(source, "load_offsets")
        assert lake_rows(target) == lake_rows(source)
        assert len(lake_rows(target)) == 115
        assert len(lake.query(target, "SELECT payload FROM raw")) == 2 * FRAMES

        restore(target, place, ("clickhouse", "timescale", "lake"), replace=True, say=lambda line: None)
        assert stored_rows(target)["trades_stored"][0] == 70
        assert len(timescale_rows(target)["trades"]) == 40
