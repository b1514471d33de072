"""``sql/clickhouse_schema.sql`` makes what the migrations make. Where it does not, ``ETL_TEST_WRITE_SCHEMA=1`` and a
run of this file write it anew."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from etl.errors import StoreError, StoreUnavailable
from etl.settings import Settings, changed
from etl.stores.clickhouse_http import ClickHouse, connect
from etl.stores.migrate import (
    SCHEMA_VERSION,
    SQL_DIR,
    Migration,
    _ClickHouseStore,
    _make_new,
    migrate_clickhouse,
    read_migrations,
    read_schema,
    require_migration,
    statements,
)
from tests.support.servers import clickhouse_database

pytestmark = pytest.mark.integration

FILE = SQL_DIR / "clickhouse_schema.sql"
OBJECTS = """
SELECT database, name FROM system.tables
WHERE database IN (currentDatabase(), currentDatabase() || '_internal') AND name != 'schema_migrations'
ORDER BY indexOf(['View', 'MaterializedView'], engine), database, name FORMAT TSV
"""
CREATED = re.compile(r"^CREATE (TABLE|VIEW|MATERIALIZED VIEW) ")


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    return settings_with(clickhouse=True)


@pytest.fixture
def new(settings: Settings, clickhouse_url: str) -> Iterator[Settings]:
    """Of a second database, which has nothing."""
    name = f"new_{uuid.uuid4().hex[:12]}"
    with clickhouse_database(clickhouse_url, name) as url:
        yield changed(settings, clickhouse_url=url)


def schema_of(client: ClickHouse, label: str) -> str:
    """The client's database as a script that makes one like it, of any name, and that may run again: tables, the views
    that read them, then what fills them."""
    name, internal = client.address.database, client.address.internal
    made = [
        f"-- As of {label}: what the migrations up to it make of a new database. Written by"
        " tests/stores/test_clickhouse_schema.py.",
        "CREATE DATABASE IF NOT EXISTS market_internal;",
    ]
    for line in client.execute(OBJECTS).decode().splitlines():
        statement = client.execute(f"SHOW CREATE TABLE {line.replace(chr(9), '.')} FORMAT TSVRaw").decode()
        named = re.sub(rf"\b{name}\.", "", re.sub(rf"\b{internal}\b", "market_internal", statement.strip()))
        made.append(CREATED.sub(r"CREATE \1 IF NOT EXISTS ", named) + ";")
    return "\n\n".join(made) + "\n"


def test_it_says_what_the_migrations_make_and_makes_it(settings: Settings, new: Settings) -> None:
    every = read_migrations(SQL_DIR / "clickhouse")
    if "ETL_TEST_WRITE_SCHEMA" in os.environ:
        FILE.write_text(by_migrations(settings, every[-1]))
    found = read_schema()
    assert found is not None
    (last,) = (migration for migration in every if migration.version == found[1])
    assert FILE.read_text() == by_migrations(settings, last)
    assert migrate_clickhouse(new) == [migration.label for migration in every]
    assert migrate_clickhouse(new) == []
    migrate_clickhouse(settings)
    with connect(settings) as former, connect(new) as client:
        assert schema_of(client, "all") == schema_of(former, "all")


def by_migrations(settings: Settings, last: Migration) -> str:
    migrate_clickhouse(settings, until=last.version)
    with connect(settings) as client:
        return schema_of(client, last.label)


def test_a_making_that_was_cut_off_goes_on(new: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    execute = ClickHouse.execute
    left = iter(range(30))

    def cut_off(self: ClickHouse, sql: str, *options: Any, **named: Any) -> bytes:
        if next(left, None) is None:
            raise StoreUnavailable("cut off")
        return execute(self, sql, *options, **named)

    with monkeypatch.context() as patch:
        patch.setattr(ClickHouse, "execute", cut_off)
        with pytest.raises(StoreUnavailable, match="cut off"):
            migrate_clickhouse(new)
    with connect(new) as client, pytest.raises(StoreError, match="run etl migrate"):
        require_migration(client, 1)
    assert len(migrate_clickhouse(new)) == len(read_migrations(SQL_DIR / "clickhouse"))
    with connect(new) as client:
        require_migration(client, read_migrations(SQL_DIR / "clickhouse")[-1].version)


def test_what_other_code_began_is_refused(new: Settings) -> None:
    with connect(new) as client:
        store = _ClickHouseStore(client)
        assert store.applied() == {}
        store.record([Migration(SCHEMA_VERSION, "schema", "SELECT 1")])
    with pytest.raises(StoreError, match="other code began to make this database"):
        migrate_clickhouse(new)


def test_a_database_that_has_tables_and_no_history_goes_on_by_migrations(new: Settings) -> None:
    """Its first migration was cut off, by code of any time: the schema would take its tables for those of now."""
    folder = SQL_DIR / "clickhouse"
    with connect(new) as client:
        store = _ClickHouseStore(client)
        assert store.applied() == {}
        client.execute(next(statements(read_migrations(folder)[0].sql)))
        assert _make_new(store, folder) == []
        assert store.applied() == {}
