"""Numbered migrations: applied once, in order, never changed afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from etl.errors import StoreError, StoreUnavailable
from etl.settings import Settings, make
from etl.stores import migrate
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import SQL_DIR, Migration, migrate_clickhouse, pending, read_migrations, statements

FIRST, SECOND = Migration(1, "first", "SELECT 1;"), Migration(2, "second", "SELECT 2;")


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;\nSELECT 2;\n", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'; SELECT \"a;b\";", ["SELECT ';'", 'SELECT "a;b"']),
        ("SELECT 'it''s; so'; SELECT 'a\\';b'", ["SELECT 'it''s; so'", "SELECT 'a\\';b'"]),
        ("-- a; b\nSELECT 1; -- it's done;\n", ["-- a; b\nSELECT 1"]),
        ("/* a; b */ SELECT 4/2; SELECT 3-1;", ["/* a; b */ SELECT 4/2", "SELECT 3-1"]),
        ("DO $$ BEGIN a; b; END $$; SELECT 1;", ["DO $$ BEGIN a; b; END $$", "SELECT 1"]),
        ("", []),
        ("-- nothing;\n", []),
        (" ;; ", []),
    ],
)
def test_scripts_are_cut_at_semicolons_outside_of_strings_and_comments(script: str, found: list[str]) -> None:
    assert list(statements(script)) == found


@pytest.mark.parametrize("store", ["clickhouse", "timescale"])
def test_the_shipped_migrations_are_named_and_numbered_and_every_one_says_something(store: str) -> None:
    migrations = read_migrations(SQL_DIR / store)
    numbers = [migration.version for migration in migrations]
    assert numbers == sorted(set(numbers))
    assert all(list(statements(migration.sql)) for migration in migrations)


def test_only_what_was_not_applied_is_pending() -> None:
    assert pending([FIRST, SECOND], {}, "x") == [FIRST, SECOND]
    assert pending([FIRST, SECOND], {1: FIRST.checksum}, "x") == [SECOND]
    assert pending([FIRST, SECOND], {1: FIRST.checksum, 2: SECOND.checksum}, "x") == []


def test_a_file_that_changed_after_it_was_applied_is_refused() -> None:
    with pytest.raises(StoreError, match="0001_first was changed"):
        pending([FIRST, SECOND], {1: "another"}, "x")


def test_a_file_that_slipped_in_before_an_applied_one_is_refused() -> None:
    with pytest.raises(StoreError, match="0001_first comes before 0002"):
        pending([FIRST, SECOND], {2: SECOND.checksum}, "x")


def test_a_store_of_newer_code_is_refused() -> None:
    with pytest.raises(StoreError, match="0002 was applied by newer code"):
        pending([FIRST], {1: FIRST.checksum, 2: "x"}, "x")


def test_a_name_without_a_number_and_a_number_used_twice_are_refused(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("SELECT 1")
    (tmp_path / "0001_b.sql").write_text("SELECT 1")
    with pytest.raises(StoreError, match="0001 is taken"):
        read_migrations(tmp_path)
    (tmp_path / "0001_b.sql").rename(tmp_path / "more.sql")
    with pytest.raises(StoreError, match="NNNN_name"):
        read_migrations(tmp_path)


def test_a_store_that_is_down_is_said_to_be() -> None:
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1/"):
        migrate_clickhouse(make(clickhouse_url="http://127.0.0.1:1/x"))


@pytest.mark.integration
def test_clickhouse_is_migrated_once_and_a_changed_window_reaches_every_table(
    settings_with: Callable[..., Settings],
) -> None:
    settings = settings_with(clickhouse=True, clickhouse_deduplication_window_blocks=1234)
    every = [migration.label for migration in read_migrations(SQL_DIR / "clickhouse")]
    assert migrate_clickhouse(settings) == every
    assert migrate_clickhouse(settings) == []
    with connect(settings, internal=True) as client:
        windows = client.execute(
            "SELECT DISTINCT extract(create_table_query, 'non_replicated_deduplication_window = (\\\\d+)')"
            " FROM system.tables WHERE database = currentDatabase() AND name LIKE '%\\\\_stored'"
            " AND engine = 'ReplacingMergeTree'"
        )
    assert windows == b"1234\n"


@pytest.mark.integration
def test_a_clickhouse_migration_that_was_cut_off_runs_again_from_its_beginning(
    settings_with: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_with(clickhouse=True)
    folder = tmp_path / "clickhouse"
    folder.mkdir()
    made = "CREATE TABLE IF NOT EXISTS a (x UInt8) ENGINE = Null;\n"
    (folder / "0001_a.sql").write_text(made + "CREATE TABLE b (x Nonsense) ENGINE = Null;")
    monkeypatch.setattr(migrate, "SQL_DIR", tmp_path)
    with pytest.raises(StoreError, match="0001_a"):
        migrate_clickhouse(settings)
    (folder / "0001_a.sql").write_text(made + "CREATE TABLE b (x UInt8) ENGINE = Null;")
    assert migrate_clickhouse(settings) == ["0001_a"]
    assert migrate_clickhouse(settings) == []


@pytest.mark.integration
def test_timescale_is_migrated_once(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(timescale=True)
    migrate.migrate_timescale(settings)
    assert migrate.migrate_timescale(settings) == []
