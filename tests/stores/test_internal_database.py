"""Internals of ClickHouse in a database of their own: users see theirs, and a state made before moves without loss."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from etl.errors import StoreError, StoreRejected, StoreUnavailable
from etl.model.records import BarState, GapState, Quarantined, Record, Severity, Source
from etl.settings import Settings
from etl.sinks.clickhouse_batch import Intent, token
from etl.sinks.clickhouse_ways import (
    FREQUENT,
    MARKET_DATA,
    QUARANTINED,
    batch_path,
    delimited,
    split_frequent,
)
from etl.sinks.clickhouse_writer import MIGRATION_NEEDED
from etl.stores import migrate
from etl.stores.clickhouse_http import ClickHouse, connect, in_database, parse_address
from etl.stores.migrate import SQL_DIR, migrate_clickhouse, read_migrations, statements
from etl.transports import kafka_clients
from etl.wire.codec import encode, encode_quarantined
from tests.support import stream
from tests.support.clickhouse_sink import Group, drain, topic_id, with_topics
from tests.support.stream import START_NS

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
BEFORE = 13
"""The last migration of the version whose internals lay among the users' tables."""
USERS = {
    "trades", "quotes", "books", "book_updates", "bars", "gaps", "agg_trades", "corrections", "statuses", "stats",
    "liquidations", "quarantine", "trades_corrected", "ticks", "symbol_splits",
    "venue_quality", "schema_migrations", "sessions", "sessions_at", "sessions_history", "instruments",
    "instruments_at", "instruments_history",
    "corporate_actions", "corporate_actions_at", "corporate_actions_history", "bars_adjusted", "bars_adjusted_at",
}  # fmt: skip
USERS |= {"observations", "observations_asof"}
USERS |= {"symbol_names", "symbol_names_at", "symbol_names_history", "symbol_spans", "symbols_at", "bars_of"}
USERS |= {"trades_of", "trades_corrected_of", "quotes_of", "statuses_of", "corrections_of"}
MOVED = ("trades_stored", "quotes_stored", "books_stored", "others_stored", "quarantine_stored")
LANDINGS = ("market_data", "frequent_market_data", "quarantined")


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    return settings_with(clickhouse=True)


def migrate_to(settings: Settings, version: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the code of that version did."""
    (folder / "clickhouse").mkdir()
    for path in (SQL_DIR / "clickhouse").glob("*.sql"):
        if int(path.name[:4]) <= version:
            shutil.copy(path, folder / "clickhouse")
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "SQL_DIR", folder)
        migrate_clickhouse(settings)


def records() -> list[Record]:
    """Of every table, some in several states, and some sent twice."""
    found: list[Record] = []
    for number in range(200):
        found += [stream.trade(number), stream.quote(number), stream.book(number)]
        found += [stream.bar(number, bar_state=state) for state in (BarState.CLOSED, BarState.OPEN)]
        found += [stream.gap(number, gap_state=state) for state in (GapState.OPEN, GapState.REPAIRED)]
    return [*found, *(stream.trade(number, source=Source.REPAIR) for number in range(50))]


def item(number: int) -> Quarantined:
    return Quarantined(
        code="undecodable",
        severity=Severity.HARD,
        reason="not JSON",
        exchange="binance",
        endpoint="wss://x",
        receive_time_ns=START_NS + number,
        source=Source.STREAM,
        connection_id=stream.CONNECTION,
        frame_sequence=number,
        frame_index=0,
        parser_version=1,
        payload=b"\x00\xff{",
    )


def insert(client: ClickHouse, values: Sequence[bytes], name: str) -> None:
    """Records, by the landing tables of the client's database."""
    frequent, others = split_frequent(values)
    for landing, part in ((MARKET_DATA, others), (FREQUENT, frequent)):
        client.insert(batch_path(landing, name, 10_000), delimited(part))


def rows(client: ClickHouse, table: str, columns: str = "*") -> bytes:
    """All rows, after a line with the columns' names."""
    return client.execute(f"SELECT {columns} FROM {table} ORDER BY ALL FORMAT TSVWithNames")


def tables(client: ClickHouse) -> set[str]:
    return set(client.execute("SHOW TABLES FORMAT TSV").decode().split())


def test_every_row_of_a_state_made_before_is_there_after_and_no_user_sees_internals(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate_to(settings, BEFORE, tmp_path, monkeypatch)
    with connect(settings) as client:
        for part in (0, 1):
            insert(client, [encode(record) for record in records()[part::2]], f"part {part}")
        items = [encode_quarantined(item(number)) for number in range(30)]
        client.insert(batch_path(QUARANTINED, "items", 100), delimited(items))
        client.execute("INSERT INTO symbol_splits (exchange, symbol, factor) VALUES ('polygon', 'A', 0.25)")
        all_tables = tables(client)
        assert len(all_tables) == 40
        kept = all_tables - set(LANDINGS) - {name for name in all_tables if name.endswith("_fan_out")}
        before = {name: rows(client, name) for name in kept - {"schema_migrations"}}
        assert all(before[name].count(b"\n") > 20 for name in ("trades", "bars", "gaps", "quarantine"))

    assert migrate_clickhouse(settings)[0].startswith(f"{BEFORE + 1:04}")

    with connect(settings) as client, connect(settings, internal=True) as internals:
        assert tables(client) == USERS
        moved = {name for name in before if name.endswith("_stored")}
        assert tables(internals) >= {*moved, *LANDINGS}
        for name, content in before.items():
            columns = content.split(b"\n")[0].decode().replace("\t", ", ")
            assert rows(internals if name in moved else client, name, columns) == content, name
        insert(
            internals, [encode(stream.trade(n, "after")) for n in range(9)] + [encode(stream.bar(999))], "x"
        )
        insert(
            internals, [encode(stream.trade(n, "after")) for n in range(9)] + [encode(stream.bar(999))], "x"
        )
        assert internals.execute("SELECT count() FROM trades_stored WHERE exchange = 'after'") == b"9\n"
        assert client.execute("SELECT count() FROM bars") == b"201\n"


def test_the_document_names_every_table_that_users_see(settings: Settings) -> None:
    migrate_clickhouse(settings)
    text = (ROOT / "docs" / "storage.md").read_text()
    with connect(settings) as client:
        assert {name for name in tables(client) if f"`{name}`" not in text} == set()


def test_a_sink_of_older_code_that_still_runs_is_stopped_by_its_next_insert(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate_to(settings, BEFORE, tmp_path, monkeypatch)
    migrate_clickhouse(settings)
    with connect(settings) as client, pytest.raises(StoreError, match="UNKNOWN_TABLE") as stopped:
        insert(client, [encode(stream.bar(1))], "late")
    assert not isinstance(stopped.value, StoreUnavailable | StoreRejected)


def test_a_sink_writes_nothing_before_the_store_is_migrated(
    settings_with: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = with_topics(settings_with(kafka=True, clickhouse=True))
    with pytest.raises(StoreError, match="run etl migrate"):
        drain(settings)
    migrate_to(settings, BEFORE + 1, tmp_path, monkeypatch)
    with pytest.raises(StoreError, match=f"{MIGRATION_NEEDED:04} is not applied: run etl migrate"):
        drain(settings)


@pytest.mark.long
def test_a_migration_that_was_cut_off_anywhere_goes_on(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every statement of it is the first to be refused once."""
    migrate_to(settings, BEFORE, tmp_path, monkeypatch)
    with connect(settings) as client:
        insert(client, [encode(record) for record in records()], "all")
        before = rows(client, "trades"), rows(client, "book_updates"), rows(client, "gaps")
    execute = ClickHouse.execute
    address = parse_address(settings.clickhouse_address)
    waiting = {
        in_database(statement, address)
        for migration in read_migrations(SQL_DIR / "clickhouse")
        if migration.version > BEFORE
        for statement in statements(migration.sql)
    }

    def fail_once(self: ClickHouse, sql: str, *arguments: Any, **options: Any) -> bytes:
        if sql in waiting:
            waiting.remove(sql)
            raise StoreUnavailable("cut off")
        return execute(self, sql, *arguments, **options)

    monkeypatch.setattr(ClickHouse, "execute", fail_once)
    while True:
        try:
            migrate_clickhouse(settings)
            break
        except StoreUnavailable:
            continue
    monkeypatch.undo()
    assert waiting == set()
    with connect(settings) as client:
        assert (rows(client, "trades"), rows(client, "book_updates"), rows(client, "gaps")) == before
        assert tables(client) == USERS


@pytest.mark.parametrize("stored", ["nothing", "a part", "all"])
def test_a_batch_that_older_code_intended_is_stored_once(
    settings_with: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: str
) -> None:
    """Whatever its sink had inserted of it when it died; the server knows its tokens by the old views only."""
    settings = with_topics(settings_with(kafka=True, clickhouse=True))
    migrate_to(settings, BEFORE, tmp_path, monkeypatch)
    sent = [make(n) for n in range(60) for make in (stream.trade, stream.quote, stream.book, stream.gap)]
    stream.publish(settings, *sent)
    group = Group(settings)
    partition, low = group.filled()
    admin = kafka_clients.admin(settings)
    cluster = str(admin.describe_cluster().result().cluster_id)
    made = topic_id(settings)
    name = token(cluster, made, partition, low, low + 200, 1)
    frequent, others = split_frequent([encode(record) for record in sent[:200]])
    with connect(settings) as client:
        if stored != "nothing":
            client.insert(batch_path(MARKET_DATA, name, 10_000), delimited(others))
        if stored == "all":
            client.insert(batch_path(FREQUENT, name, 10_000), delimited(frequent))
    group.intend(partition, Intent(topic_id=made, start=low, end=low + 200, rows=200, time_s=1e12, v=1))
    migrate_clickhouse(settings)
    drain(settings)
    with connect(settings, internal=True) as client:
        for table in MOVED[:4]:
            assert client.execute(f"SELECT count(), uniqExact(record_key) FROM {table}") == b"60\t60\n", table
