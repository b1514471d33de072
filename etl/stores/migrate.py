"""Numbered migrations: ``sql/clickhouse/NNNN_name.sql`` and ``sql/timescale/NNNN_name.sql``, each applied once.

What was applied stands in the table ``schema_migrations`` with the file's checksum; a file that changed afterwards
is refused. TimescaleDB takes a file in one transaction. ClickHouse has none: its statements are written so that
they may run again, and a file counts once all of them ran.

A new database of ClickHouse is made by ``sql/clickhouse_schema.sql``, which says in a quarter of the statements what
the migrations up to one of them come to, and counts as those. What is there already goes on by migrations.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import psycopg
from msgspec import Struct

from etl.errors import StoreError, StoreUnavailable
from etl.resources import resource
from etl.settings import Settings
from etl.stores import timescale
from etl.stores.clickhouse_http import ClickHouse, connect, in_database, insert_path

SQL_DIR = resource("sql")
LOCK_KEY = 0x65746C  # "etl": one migration of a database at a time
SCHEMA_VERSION = 0
"""Under which ``clickhouse_schema.sql`` stands in ``schema_migrations``, from its first statement on."""

_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_SCHEMA_UNTIL = re.compile(r"-- As of (\d{4})_\w+")
_STATEMENT = re.compile(
    r"""(?:[^;'"$/-]+ | '(?:[^'\\]|\\.|'')*' | "[^"]*" | \$\$.*?\$\$ | --[^\n]* | /\*.*?\*/ | [$/-])+""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


class Migration(Struct, frozen=True):
    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def label(self) -> str:
        return f"{self.version:04}_{self.name}"


class _Store(Protocol):
    name: str

    def applied(self) -> dict[int, str]:
        """Checksum by version; makes ``schema_migrations`` if it is missing."""

    def apply(self, migration: Migration) -> None:
        """Run it and record it."""


def read_migrations(folder: Path) -> list[Migration]:
    """In order. Raises ``StoreError`` for a name that is not ``NNNN_name.sql``, a number used twice, or no file."""
    found: dict[int, Migration] = {}
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise StoreError(f"{path}: a migration is named NNNN_name.sql")
        migration = Migration(int(match.group(1)), match.group(2), path.read_text())
        if migration.version in found:
            raise StoreError(f"{path}: number {migration.version:04} is taken")
        found[migration.version] = migration
    if not found:
        raise StoreError(f"{folder}: no migration is there")
    return list(found.values())


def statements(sql: str) -> Iterator[str]:
    """The statements of a script, cut at semicolons that stand outside of strings and comments."""
    for match in _STATEMENT.finditer(sql):
        if _COMMENT.sub("", match.group()).strip():
            yield match.group().strip()


def pending(migrations: list[Migration], applied: dict[int, str], store: str) -> list[Migration]:
    """Those to apply. Raises ``StoreError`` if history and files disagree."""
    known = {migration.version for migration in migrations}
    if applied and max(applied) not in known:
        raise StoreError(f"{store}: migration {max(applied):04} was applied by newer code; use that version")
    for migration in migrations:
        checksum = applied.get(migration.version)
        if checksum is None and applied and migration.version < max(applied):
            raise StoreError(
                f"{store}: {migration.label} comes before {max(applied):04}, already applied; renumber"
            )
        if checksum not in (None, migration.checksum):
            raise StoreError(f"{store}: {migration.label} was changed after it was applied; write a new one")
    return [migration for migration in migrations if migration.version not in applied]


def migrate_clickhouse(settings: Settings, until: int | None = None) -> list[str]:
    """Labels of what was applied now. ``until``: none that is later. Raises ``StoreError``."""
    with connect(settings) as client:
        client.create_database()
        client.check_version()
        store, folder = _ClickHouseStore(client), SQL_DIR / "clickhouse"
        applied = _make_new(store, folder) if until is None else []
        applied += _migrate(store, folder, until)
        _set_deduplication_window(client, settings.clickhouse.deduplication_window_blocks)
        return applied


def require_migration(client: ClickHouse, version: int) -> None:
    """Raises ``StoreError`` if the client's database has not come so far."""
    try:
        applied = int(client.execute("SELECT max(version) FROM schema_migrations"))
    except StoreUnavailable:
        raise
    except StoreError as error:
        raise StoreError(f"{error}: run etl migrate") from None
    if applied < version:
        raise StoreError(f"{client.address.text}: migration {version:04} is not applied: run etl migrate")


def migrate_timescale(settings: Settings, until: int | None = None) -> list[str]:
    """Labels of what was applied now. ``until``: none that is later. Raises ``StoreError``."""
    with timescale.session(settings) as connection:
        return _migrate(_TimescaleStore(connection), SQL_DIR / "timescale", until)


def _migrate(store: _Store, folder: Path, until: int | None) -> list[str]:
    labels = []
    for migration in pending(read_migrations(folder), store.applied(), store.name):
        if until is not None and migration.version > until:
            break
        store.apply(migration)
        labels.append(migration.label)
    return labels


def read_schema() -> tuple[Migration, int] | None:
    """What makes a new database of ClickHouse, and the last migration that is in it."""
    path = SQL_DIR / "clickhouse_schema.sql"
    if not path.exists():
        return None
    schema = Migration(SCHEMA_VERSION, "schema", path.read_text())
    until = _SCHEMA_UNTIL.match(schema.sql)
    if until is None:
        raise StoreError(f"{path}: its first line does not say as of which migration")
    return schema, int(until[1])


def _make_new(store: _ClickHouseStore, folder: Path) -> list[str]:
    """Labels of the migrations that the schema stands for, if it was applied now: to a database that has nothing, or to
    one where that was cut off."""
    found = read_schema()
    if found is None:
        return []
    schema, until = found
    applied = store.applied()
    was_cut_off = applied.keys() == {SCHEMA_VERSION}
    if was_cut_off and applied[SCHEMA_VERSION] != schema.checksum:
        raise StoreError(
            "ClickHouse: other code began to make this database, and was cut off: drop it, and again"
        )
    if not was_cut_off and (applied or not store.is_empty()):
        return []
    store.record([schema])
    store.run(schema)
    made = [migration for migration in read_migrations(folder) if migration.version <= until]
    store.record(made)
    return [migration.label for migration in made]


class _ClickHouseStore:
    name = "ClickHouse"

    def __init__(self, client: ClickHouse) -> None:
        self._client = client

    def applied(self) -> dict[int, str]:
        self._client.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (version UInt32, name String, checksum String,"
            " applied_time DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = ReplacingMergeTree ORDER BY version"
        )
        rows = self._client.execute("SELECT version, checksum FROM schema_migrations FINAL FORMAT TSV")
        pairs = (line.split("\t") for line in rows.decode().splitlines())
        return {int(version): checksum for version, checksum in pairs}

    def is_empty(self) -> bool:
        """Does the database have no table but ``schema_migrations``, and the internal one none at all?"""
        counted = self._client.execute(
            "SELECT count() FROM system.tables WHERE database IN (currentDatabase(), {internal:String})",
            parameters={"internal": self._client.address.internal},
        )
        return int(counted) == 1

    def apply(self, migration: Migration) -> None:
        self.run(migration)
        self.record([migration])

    def run(self, migration: Migration) -> None:
        for statement in statements(in_database(migration.sql, self._client.address)):
            try:
                self._client.execute(statement)
            except StoreUnavailable:
                raise
            except StoreError as error:
                raise StoreError(f"{migration.label}: {error}") from None

    def record(self, migrations: Sequence[Migration]) -> None:
        rows = "".join(f"{each.version}\t{each.name}\t{each.checksum}\n" for each in migrations)
        statement = "INSERT INTO schema_migrations (version, name, checksum) FORMAT TSV"
        self._client.insert(insert_path(statement, {}), rows.encode())


class _TimescaleStore:
    name = "TimescaleDB"

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        self._connection = connection

    def applied(self) -> dict[int, str]:
        with self._connection.transaction():
            self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_migrations (version int PRIMARY KEY, name text NOT NULL,"
                " checksum text NOT NULL, applied_time timestamptz NOT NULL DEFAULT now())"
            )
        rows = self._connection.execute("SELECT version, checksum FROM schema_migrations").fetchall()
        return {int(str(version)): str(checksum) for version, checksum in rows}

    def apply(self, migration: Migration) -> None:
        with self._connection.transaction():
            self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
            recorded = self._connection.execute(
                "INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (migration.version, migration.name, migration.checksum),
            )
            if recorded.rowcount == 0:
                return  # another process was faster
            for statement in statements(migration.sql):
                self._connection.execute(statement.encode())


def _set_deduplication_window(client: ClickHouse, blocks: int) -> None:
    """The files name the default; a setting that differs is brought to every table that inserts end in."""
    internal = client.address.internal
    rows = client.execute(
        "SELECT name, extract(create_table_query, 'non_replicated_deduplication_window = (\\\\d+)')"
        " FROM system.tables WHERE database = {internal:String} AND engine = 'ReplacingMergeTree'"
        " AND endsWith(name, '_stored') FORMAT TSV",
        parameters={"internal": internal},
    )
    for line in rows.decode().splitlines():
        table, window = line.split("\t")
        if window != str(blocks):
            client.execute(
                f"ALTER TABLE {internal}.{table} MODIFY SETTING non_replicated_deduplication_window = {blocks}"
            )
