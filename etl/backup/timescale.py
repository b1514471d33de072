"""TimescaleDB's tables as COPY text: a hypertable a chunk at a time, in objects that end with a row.

    timescale/{table}/000000

Rows in compressed chunks are read like any other and restored uncompressed: the policies compress them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from msgspec import Struct
from psycopg.sql import SQL, Composable, Identifier, Literal

from etl.backup.archive import OBJECT_BYTES_MAX, Reader, Writer
from etl.errors import UsageError
from etl.settings import Settings
from etl.stores.migrate import migrate_timescale
from etl.stores.timescale import session

CONTENT = "timescale"
_Connection = psycopg.Connection[tuple[Any, ...]]

_OWN = """
    SELECT c.oid::regclass::text, c.relname, c.relkind FROM pg_class AS c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = ANY(%s)
      AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                      AND d.deptype = 'e')
    ORDER BY c.relname"""
"""What lies in ``public`` and is no extension's."""
_FUNCTIONS = """
    SELECT p.oid::regprocedure::text,
           CASE p.prokind WHEN 'a' THEN 'AGGREGATE' WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END
    FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace
      AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                      AND d.deptype = 'e')"""
_TYPES = """
    SELECT t.oid::regtype::text FROM pg_type AS t
    WHERE t.typnamespace = 'public'::regnamespace AND t.typtype IN ('e', 'd')
      AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid
                      AND d.deptype = 'e')"""


class _Table(Struct, frozen=True):
    name: str
    columns: tuple[str, ...]

    @property
    def folder(self) -> str:
        return f"{CONTENT}/{self.name}"

    @property
    def listed(self) -> Composable:
        return SQL(", ").join(map(Identifier, self.columns))


def back_up(settings: Settings, into: Writer) -> int:
    """The version of the tables. Raises ``StoreError``."""
    with session(settings) as connection:
        row = connection.execute("SELECT max(version) FROM schema_migrations").fetchone()
        assert row is not None
        for table in _tables(connection):
            number = 0
            for where in _cuts(connection, table):
                for data in _copied(connection, table, where):
                    into.put(f"{table.folder}/{number:06}", data)
                    number += 1
        return int(row[0])


def require_empty(settings: Settings) -> None:
    """Raises ``UsageError`` if any table has rows."""
    with session(settings) as connection:
        for table in _tables(connection):
            found = connection.execute(SQL("SELECT FROM {} LIMIT 1").format(Identifier(table.name)))
            if found.fetchone() is not None:
                place = f"TimescaleDB: {table.name}"
                raise UsageError(f"{place} has rows: restore into an empty database, or with --replace")


def restore(settings: Settings, source: Reader) -> dict[str, int]:
    """The tables made anew, as they were; then what migrations came since. Rows by table. Raises ``StoreError``."""
    with session(settings) as connection:
        _drop_all(connection)
    migrate_timescale(settings, source.manifest.migrations[CONTENT])
    rows = {}
    with session(settings) as connection:
        for table in _tables(connection):
            name = Identifier(table.name)
            connection.execute(SQL("DELETE FROM {}").format(name))  # what a migration put there
            statement = SQL("COPY {} ({}) FROM STDIN").format(name, table.listed)
            for _, data in source.parts(table.folder):
                with connection.cursor().copy(statement) as copy:
                    copy.write(data)
            _go_on_counting(connection, table)
            found = connection.execute(SQL("SELECT count(*) FROM {}").format(name)).fetchone()
            rows[table.name] = int(found[0]) if found else 0
    migrate_timescale(settings)
    return rows


def _tables(connection: _Connection) -> Iterator[_Table]:
    for _, name, _ in connection.execute(_OWN, (["r", "p"],)).fetchall():
        if name == "schema_migrations":
            continue
        columns = connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0"
            " AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
            (f'public."{name}"',),
        )
        yield _Table(str(name), tuple(str(column) for (column,) in columns.fetchall()))


def _cuts(connection: _Connection, table: _Table) -> list[Composable]:
    """Conditions that together take every row once: by chunk, so that one answer is no larger than a chunk."""
    bounds = connection.execute(
        "SELECT DISTINCT primary_dimension, range_start FROM timescaledb_information.chunks"
        " WHERE hypertable_schema = 'public' AND hypertable_name = %s ORDER BY 2",
        (table.name,),
    ).fetchall()
    if not bounds:
        return [SQL("")]
    column, starts = Identifier(str(bounds[0][0])), [start for _, start in bounds]
    # open at both ends: what comes meanwhile is taken, or is on the topics, which are read after
    conditions: list[Composable] = []
    for number, start in enumerate(starts):
        limits = [SQL("{} >= {}").format(column, Literal(start))] if number else []
        if number + 1 < len(starts):
            limits.append(SQL("{} < {}").format(column, Literal(starts[number + 1])))
        conditions.append(SQL("WHERE ") + SQL(" AND ").join(limits) if limits else SQL(""))
    return conditions


def _copied(connection: _Connection, table: _Table, where: Composable) -> Iterator[bytes]:
    """Whole rows, some together."""
    statement = SQL("COPY (SELECT {} FROM {} {}) TO STDOUT").format(
        table.listed, Identifier(table.name), where
    )
    held = bytearray()
    with connection.cursor().copy(statement) as copy:
        for some in copy:
            held += some
            if len(held) >= OBJECT_BYTES_MAX and held.endswith(b"\n"):
                yield bytes(held)
                held.clear()
    if held:
        yield bytes(held)


def _go_on_counting(connection: _Connection, table: _Table) -> None:
    """An identity column goes on after the greatest that was restored."""
    for column in table.columns:
        found = connection.execute(
            "SELECT pg_get_serial_sequence(%s, %s)", (f'public."{table.name}"', column)
        ).fetchone()
        if found and found[0]:
            connection.execute(
                SQL("SELECT setval({}, greatest((SELECT max({}) FROM {}), 1))").format(
                    Literal(found[0]), Identifier(column), Identifier(table.name)
                )
            )


def _drop_all(connection: _Connection) -> None:
    """What lies in ``public``, save what extensions have there. Names come quoted from the server."""
    for kind, word in (("v", "VIEW"), ("m", "MATERIALIZED VIEW"), ("r", "TABLE"), ("p", "TABLE")):
        for quoted, _, _ in connection.execute(_OWN, ([kind],)).fetchall():
            connection.execute(SQL(f"DROP {word} IF EXISTS {quoted} CASCADE"))
    for signature, word in connection.execute(_FUNCTIONS).fetchall():
        connection.execute(SQL(f"DROP {word} IF EXISTS {signature} CASCADE"))
    for (name,) in connection.execute(_TYPES).fetchall():
        connection.execute(SQL(f"DROP TYPE IF EXISTS {name} CASCADE"))
