"""ClickHouse's tables as rows in its own Native format, which loses nothing: any server writes and reads it.

    clickhouse/{own|internal}/{table}/000000      some minutes of rows, of those that have a time; else all

Landing tables and views hold nothing: the migrations make them. Rows of one identity that are not merged yet stay as
many as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from etl.backup.archive import Reader, Writer
from etl.errors import UsageError
from etl.settings import Settings
from etl.stores.clickhouse_http import ClickHouse, connect, insert_path
from etl.stores.migrate import migrate_clickhouse

CONTENT = "clickhouse"
OBJECT_ROWS_MAX = 200_000
"""Of one object, unless a single minute has more."""
NS_PER_MINUTE = 60_000_000_000
TIMES = ("key_time", "time")
"""By which of its columns a table is cut: the first that it has."""
INSERT = {
    "insert_deduplicate": "0",  # a table that was emptied still remembers the blocks that it had
    "optimize_on_insert": "0",
    "async_insert": "0",
    "max_partitions_per_insert_block": "0",
}


class _Table(Struct, frozen=True):
    """``database`` is ``own`` or ``internal``: names go by the settings."""

    database: str
    name: str
    columns: tuple[str, ...]
    time: str

    @property
    def folder(self) -> str:
        return f"{CONTENT}/{self.database}/{self.name}"

    def place(self, client: ClickHouse) -> str:
        return f"{_databases(client)[self.database]}.{self.name}"


def back_up(settings: Settings, into: Writer) -> int:
    """The version of the tables. Raises ``StoreError``."""
    with connect(settings) as client:
        version = int(client.execute("SELECT max(version) FROM schema_migrations"))
        for table in _tables(client):
            for number, where in enumerate(_cuts(client, table)):
                columns = ", ".join(table.columns)
                rows = client.execute(f"SELECT {columns} FROM {table.place(client)} {where} FORMAT Native")  # noqa: S608
                if rows:
                    into.put(f"{table.folder}/{number:06}", rows)
        return version


def require_empty(settings: Settings) -> None:
    """Raises ``UsageError`` if any table has rows."""
    with connect(settings) as client:
        client.create_database()
        for table in _tables(client):
            if _count(client, table):
                place = f"{client.address.text}: {table.name}"
                raise UsageError(f"{place} has rows: restore into an empty database, or with --replace")


def restore(settings: Settings, source: Reader) -> dict[str, int]:
    """Both databases made anew, as they were; then what migrations came since. Rows by table. Raises ``StoreError``."""
    with connect(settings) as client:
        address = client.address
    with connect(settings) as client:
        for database in (address.internal, address.database):
            client.create_database()  # the server refuses every statement of a database that is not there
            client.execute(f"DROP DATABASE IF EXISTS {database} SYNC")
    migrate_clickhouse(settings, source.manifest.migrations[CONTENT])
    rows = {}
    with connect(settings) as client:
        for table in _tables(client):
            columns = ", ".join(table.columns)
            path = insert_path(f"INSERT INTO {table.place(client)} ({columns}) FORMAT Native", INSERT)
            for _, data in source.parts(table.folder):
                client.insert(path, data)
            rows[table.name] = _count(client, table)
    migrate_clickhouse(settings)
    return rows


def _count(client: ClickHouse, table: _Table) -> int:
    return int(client.execute(f"SELECT count() FROM {table.place(client)}"))  # noqa: S608


def _databases(client: ClickHouse) -> dict[str, str]:
    return {"own": client.address.database, "internal": client.address.internal}


def _tables(client: ClickHouse) -> Iterator[_Table]:
    """Those that keep rows, with the columns that are stored as they are given."""
    for name, database in _databases(client).items():
        found = client.execute(
            "SELECT t.name, arrayStringConcat(groupArray(c.name), ','), groupArray(c.name)"
            " FROM system.tables AS t INNER JOIN"
            " (SELECT table, name FROM system.columns WHERE database = {database:String}"
            "  AND default_kind IN ('', 'DEFAULT') ORDER BY table, position) AS c ON c.table = t.name"
            " WHERE t.database = {database:String} AND endsWith(t.engine, 'MergeTree')"
            " AND t.name != 'schema_migrations' GROUP BY t.name ORDER BY t.name FORMAT TSV",
            parameters={"database": database},
        )
        for line in found.decode().splitlines():
            table, columns, _ = line.split("\t")
            names = tuple(columns.split(","))
            yield _Table(name, table, names, next((each for each in TIMES if each in names), ""))


def _cuts(client: ClickHouse, table: _Table) -> Iterator[str]:
    """Conditions that together take every row once."""
    if not table.time:
        yield ""
        return
    found = client.execute(
        f"SELECT intDiv(toUnixTimestamp64Nano({table.time}), {NS_PER_MINUTE}) AS minute, count()"  # noqa: S608
        f" FROM {table.place(client)} GROUP BY minute ORDER BY minute FORMAT TSV"
    )
    counts = [(int(minute), int(rows)) for minute, rows in map(str.split, found.decode().splitlines())]
    starts: list[int] = []
    held = 0
    for minute, rows in counts:
        if not starts or held + rows > OBJECT_ROWS_MAX:
            starts.append(minute)
            held = 0
        held += rows
    # open at both ends: what comes meanwhile is taken, or is on the topics, which are read after
    for number, start in enumerate(starts):
        from_ = f"{table.time} >= fromUnixTimestamp64Nano({start * NS_PER_MINUTE})" if number else "1"
        if number + 1 < len(starts):
            until = f"{table.time} < fromUnixTimestamp64Nano({starts[number + 1] * NS_PER_MINUTE})"
        else:
            until = "1"
        yield f"WHERE {from_} AND {until}"
