"""One SELECT on a store: names and rows, the same for all three; the databases are asked read-only.

Decimals are exact, times are UTC. Raises ``UsageError`` with the engine's own words for a bad statement,
``StoreUnavailable`` for a store that is down.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from etl.errors import StoreError, StoreUnavailable, UsageError
from etl.settings import Settings


class ResultSet(Struct, frozen=True):
    names: list[str]
    rows: list[tuple[Any, ...]]


def query(settings: Settings, store: str, sql: str) -> ResultSet:
    """``store`` is one of ``STORES``."""
    return STORES[store](settings, sql)


def _lake(settings: Settings, sql: str) -> ResultSet:
    import duckdb

    from etl.lake.query import confine, connect

    with connect(settings) as connection:
        try:
            confine(connection, settings)
            statements = connection.extract_statements(sql)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise UsageError("lake: one SELECT, and nothing else")
            result = connection.execute(statements[0])
            return ResultSet([name for name, *_ in result.description or ()], result.fetchall())
        except duckdb.Error as error:
            raise UsageError(f"lake: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _timescale(settings: Settings, sql: str) -> ResultSet:
    import psycopg

    from etl.stores.timescale import connect

    address = settings.timescale_analyst_address
    if not address:
        raise UsageError(
            "timescale: set timescale_analyst_url, the address of a login that may only read; docs/security.md shows it"
        )
    with connect(settings, address) as connection:
        connection.execute("SET timezone = 'UTC'")
        if connection.execute("SHOW is_superuser").fetchone() != ("off",):
            raise UsageError(
                "timescale: the login of timescale_analyst_url may do anything; it must only read"
            )
        connection.read_only = True
        connection.autocommit = False
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


def _clickhouse(settings: Settings, sql: str) -> ResultSet:
    from etl.stores.clickhouse_http import connect

    reading = {
        "readonly": "2",  # reads only, yet the settings below may be given
        "default_format": "JSONCompactEachRowWithNames",
        "output_format_json_quote_64bit_integers": "0",
        "output_format_json_quote_decimals": "1",
    }
    with connect(settings) as client:
        try:
            answer = client.execute(sql, reading)
        except StoreUnavailable:
            raise
        except StoreError as error:
            raise UsageError(str(error)) from None
    try:
        lines = [msgspec.json.decode(line, type=list[Any]) for line in answer.splitlines()]
    except msgspec.DecodeError:
        raise UsageError("clickhouse: leave out FORMAT; --json and --csv choose what is printed") from None
    return ResultSet(lines[0], [tuple(row) for row in lines[1:]]) if lines else ResultSet([], [])


STORES: dict[str, Callable[[Settings, str], ResultSet]] = {
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
