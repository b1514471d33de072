"""SELECTs on a store: names and rows, the same for all three; the databases are asked read-only.

Decimals are exact, times are UTC. Raises ``UsageError`` with the engine's own words for a bad statement,
``StoreUnavailable`` for a store that is down.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from etl.errors import StoreError, StoreUnavailable, UsageError
from etl.settings import Settings

if TYPE_CHECKING:
    from etl.lake.estimate import Scan

MAY_WRITE = """
WITH roles AS (SELECT * FROM pg_roles WHERE pg_has_role(current_user, oid, 'MEMBER')),
schemas AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname NOT LIKE ALL (ARRAY['pg\\_%', '\\_timescaledb\\_%']) AND nspname <> 'information_schema'
)
SELECT 'do anything' FROM roles WHERE rolsuper
UNION ALL
SELECT 'make roles or databases, or pass by the rights of rows' FROM roles
WHERE rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
UNION ALL
SELECT 'act as ' || rolname FROM roles
WHERE rolname IN ('pg_write_all_data', 'pg_write_server_files', 'pg_read_server_files', 'pg_execute_server_program')
UNION ALL
SELECT 'create schemas' FROM roles WHERE has_database_privilege(oid, current_database(), 'CREATE')
UNION ALL
SELECT 'create in schema ' || nspname FROM roles, schemas WHERE has_schema_privilege(roles.oid, schemas.oid, 'CREATE')
UNION ALL
SELECT 'write ' || relname FROM roles, schemas JOIN pg_class ON relnamespace = schemas.oid
WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
  AND (has_table_privilege(roles.oid, pg_class.oid, 'DELETE, TRUNCATE, TRIGGER')
       OR has_any_column_privilege(roles.oid, pg_class.oid, 'INSERT, UPDATE'))
LIMIT 1
"""
"""What a login may do beyond reading, itself or as a role that it is a member of; no row where nothing. What a server
lets everybody do to its own catalogs and temporary tables is passed over: the transaction is read-only."""


class ResultSet(Struct, frozen=True):
    names: list[str]
    rows: list[tuple[Any, ...]]


Ask = Callable[[str], ResultSet]


def query(settings: Settings, store: str, sql: str) -> ResultSet:
    """``store`` is one of ``STORES``."""
    with opened(settings, store) as ask:
        return ask(sql)


def opened(settings: Settings, store: str) -> AbstractContextManager[Ask]:
    """For several questions over one connection; of the lake, which takes 60 ms to open, all are about one commit."""
    return STORES[store](settings)


@contextmanager
def _lake(settings: Settings) -> Iterator[Ask]:
    """A ``LargeScanWarning`` comes before a large one is run."""
    from etl.lake.catalog import Catalog
    from etl.lake.estimate import LargeScanWarning
    from etl.lake.plan import large, one_select
    from etl.lake.query import confine, connect_to
    from etl.lake.storage import open_storage

    storage = open_storage(settings)
    state = Catalog(storage).read()
    with _lake_errors():
        connection = connect_to(storage, state)

    def ask(sql: str) -> ResultSet:
        with _lake_errors():
            if told := large(settings, storage, state, sql):
                warnings.warn(told, LargeScanWarning, stacklevel=4)
            result = connection.execute(one_select(connection, sql))
            return ResultSet([name for name, *_ in result.description or ()], result.fetchall())

    with connection:
        confine(connection, settings)
        yield ask


def lake_scan(settings: Settings, sql: str) -> Scan:
    """Files, rows and bytes that ``sql`` may read of the lake, at most. It is not run."""
    from etl.lake.catalog import Catalog
    from etl.lake.plan import planned
    from etl.lake.storage import open_storage

    storage = open_storage(settings)
    with _lake_errors():
        return planned(settings, storage, Catalog(storage).read(), sql)


@contextmanager
def _lake_errors() -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise UsageError(f"lake: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


@contextmanager
def _timescale(settings: Settings) -> Iterator[Ask]:
    import psycopg

    from etl.stores.timescale import connect

    address = settings.timescale_analyst_address
    if not address:
        raise UsageError(
            "timescale: set timescale_analyst_url, the address of a login that may only read; docs/security.md shows it"
        )

    def ask(sql: str) -> ResultSet:
        try:
            result = connection.execute(sql.encode(), prepare=True)  # which several statements cannot be
            names = [column.name for column in result.description or ()]
            return ResultSet(names, result.fetchall() if names else [])
        except psycopg.OperationalError as error:
            raise StoreUnavailable(f"timescale: {_first_line(error)}") from None
        except psycopg.Error as error:
            raise UsageError(f"timescale: {_first_line(error)}") from None
        finally:
            connection.rollback()

    with connect(settings, address) as connection:
        connection.execute("SET timezone = 'UTC'")
        if may := connection.execute(MAY_WRITE).fetchone():
            raise UsageError(f"timescale: the login of timescale_analyst_url may {may[0]}; it must only read")
        connection.read_only = True
        connection.autocommit = False
        yield ask


@contextmanager
def _clickhouse(settings: Settings) -> Iterator[Ask]:
    from etl.stores.clickhouse_http import connect

    reading = {
        "readonly": "2",  # reads only, yet the settings below may be given
        "default_format": "JSONCompactEachRowWithNames",
        "output_format_json_quote_64bit_integers": "0",
        "output_format_json_quote_decimals": "1",
    }

    def ask(sql: str) -> ResultSet:
        try:
            answer = client.execute(sql, reading)
        except StoreUnavailable:
            raise
        except StoreError as error:
            raise UsageError(str(error)) from None
        try:
            lines = [msgspec.json.decode(line, type=list[Any]) for line in answer.splitlines()]
        except msgspec.DecodeError:
            raise UsageError(
                "clickhouse: leave out FORMAT; --json and --csv choose what is printed"
            ) from None
        return ResultSet(lines[0], [tuple(row) for row in lines[1:]]) if lines else ResultSet([], [])

    with connect(settings) as client:
        yield ask


STORES: dict[str, Callable[[Settings], AbstractContextManager[Ask]]] = {
    "lake": _lake,
    "timescale": _timescale,
    "clickhouse": _clickhouse,
}


def plain(value: Any) -> Any:
    """``value`` as JSON has it: decimals as exact text without padding, times as ISO 8601 text."""
    if isinstance(value, Decimal):
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
