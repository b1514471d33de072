"""What the release before left is migrated, read and gone on with by this one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from etl.backup.archive import Reader
from etl.backup.restore import restore
from etl.exchanges.binance import Binance
from etl.ingest.recovery import recover
from etl.lake.storage import storage_at
from etl.model.records import Gap
from etl.sequencing.continuity import Continuity
from etl.settings import Settings
from etl.sinks.export import archive, export
from etl.sinks.load import load_timescale
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import SQL_DIR, read_migrations
from etl.stores.timescale import session
from etl.transports.frames import frames_of
from etl.transports.transport import transport_of
from tests.support import lake, topics
from tests.support.clickhouse_sink import drain
from tests.support.former_state import (
    AFTER_THE_UPGRADE,
    EVERYWHERE,
    IN_CLICKHOUSE,
    MARK,
    ON_THE_RAW_TOPIC,
    PUBLISHED,
    SUBSCRIPTION,
    VALUES,
    Life,
    frames,
)

pytestmark = pytest.mark.integration

FORMER = Path(__file__).parents[1] / "fixtures" / "former_state"
TRADES = "SELECT symbol, record_key, last_price, volume FROM trades"
FRAMES_A_TRADE = 3


def of_clickhouse(settings: Settings) -> list[tuple[str, ...]]:
    with connect(settings) as client:
        rows = client.execute(f"{TRADES} FORMAT TSV").decode().splitlines()
    return sorted(_row(*line.split("\t")) for line in rows)


def of_timescale(settings: Settings) -> list[tuple[str, ...]]:
    with session(settings) as connection:
        return sorted(_row(*row) for row in connection.execute(TRADES).fetchall())


def of_lake(settings: Settings) -> list[tuple[str, ...]]:
    return sorted(_row(*row) for row in lake.query(settings, TRADES))


def _row(symbol: object, key: object, price: object, volume: object) -> tuple[str, ...]:
    """Decimals without the zeros that a store's type adds."""
    return str(symbol), str(key), *(f"{number}".rstrip("0").rstrip(".") for number in (price, volume))


def versions(settings: Settings) -> tuple[int, int]:
    with connect(settings) as client, session(settings) as connection:
        row = connection.execute("SELECT max(version) FROM schema_migrations").fetchone()
        assert row is not None
        return int(client.execute("SELECT max(version) FROM schema_migrations")), int(row[0])


def trade_count(number: int) -> int:
    return number * len(SUBSCRIPTION.symbols)


def test_the_committed_state_is_of_the_release_before() -> None:
    manifest = Reader(storage_at(str(FORMER))).manifest
    assert manifest.migrations == {"clickhouse": 23, "timescale": 16}
    assert sum(each.bytes for each in manifest.objects) < 200_000


def test_the_release_before_is_migrated_read_and_gone_on_with(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(redis=True, clickhouse=True, timescale=True, **VALUES)
    restore(settings, str(FORMER), (), replace=False, say=lambda line: None)

    newest = [read_migrations(SQL_DIR / store)[-1].version for store in ("clickhouse", "timescale")]
    assert list(versions(settings)) == newest
    before = of_clickhouse(settings)
    assert len(before) == trade_count(IN_CLICKHOUSE)
    everywhere = of_timescale(settings)
    assert len(everywhere) == trade_count(EVERYWHERE)
    assert of_lake(settings) == everywhere
    assert set(everywhere) < set(before)
    assert (settings.state_path / MARK).read_bytes() == b'{"chunk": 7}'
    former = list(frames_of(topics.messages(settings, settings.topics.raw)))
    expected = frames(EVERYWHERE, ON_THE_RAW_TOPIC)
    assert sorted(frame.payload.decode() for frame in former) == sorted(expected), "the lake has those before"

    publisher = transport_of(settings).publisher()
    continuity = Continuity(Binance)
    found = recover(settings, Binance, publisher, continuity, SUBSCRIPTION.symbols, SUBSCRIPTION.channels)
    lost = FRAMES_A_TRADE * (ON_THE_RAW_TOPIC - PUBLISHED)
    assert found.messages == lost
    life = Life(settings, "02present")
    life.feed.continuity = continuity
    life.take(*frames(ON_THE_RAW_TOPIC, AFTER_THE_UPGRADE))
    life.flush()
    drain(settings)
    load_timescale(settings)
    export(settings)
    archive(settings)

    after = of_clickhouse(settings)
    assert len(after) == trade_count(AFTER_THE_UPGRADE)
    assert set(before) < set(after)
    assert of_timescale(settings) == after
    assert of_lake(settings) == after
    gaps = [record for record in topics.records(settings) if isinstance(record, Gap)]
    assert [gap for gap in gaps if gap.from_sequence] == [], (
        "no id is missing between the one release and the other"
    )
    mixed = list(frames_of(topics.messages(settings, settings.topics.raw)))
    assert len(mixed) == len(expected) + FRAMES_A_TRADE * (AFTER_THE_UPGRADE - ON_THE_RAW_TOPIC)
    assert len(lake.query(settings, "SELECT payload FROM raw")) == FRAMES_A_TRADE * AFTER_THE_UPGRADE + 1
