"""Set-based checks: ``sql/checks/<store>/<check>.sql``. Each returns (table, key, detail) of what offends in one day.

A file sees the day as a parameter: ``{day:Date}`` in ClickHouse, ``%(day)s`` in TimescaleDB, ``$day`` in the lake.
Adding a check is adding a file for each store that can ask it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import psycopg

from etl.audit.offence import Offence
from etl.errors import StoreUnavailable
from etl.lake import query as lake
from etl.migrate import SQL_DIR
from etl.settings import Settings
from etl.sinks.clickhouse_http import ClickHouse, parse_address

CHECKS_DIR = SQL_DIR / "checks"
OFFENCES_MAX = 1_000
"""Offences kept of one check and store; how many there were beyond stands in a last one of key ``and more``."""
CONNECT_TIMEOUT_S = 10

Row = tuple[str, str, str]


def run_checks(settings: Settings, day: date, store: str) -> Iterator[Offence]:
    """Every check of ``store`` on one UTC day. Raises ``StoreError``."""
    ask = _ASK[store]
    for file in sorted((CHECKS_DIR / store).glob("*.sql")):
        rows = ask(settings, file.read_text(), day)
        for table, key, detail in rows[:OFFENCES_MAX]:
            yield Offence(file.stem, store, table, key, detail)
        if len(rows) > OFFENCES_MAX:
            more = f"{len(rows) - OFFENCES_MAX} further offences on {day}"
            yield Offence(file.stem, store, rows[0][0], "and more", more)


def names(store: str) -> list[str]:
    return [file.stem for file in sorted((CHECKS_DIR / store).glob("*.sql"))]


def stores() -> tuple[str, ...]:
    return tuple(_ASK)


def _ask_clickhouse(settings: Settings, sql: str, day: date) -> list[Row]:
    client = ClickHouse(parse_address(settings.clickhouse_address))
    try:
        answer = client.execute(f"{sql.rstrip()}\nFORMAT JSONCompactEachRow", None, {"day": day.isoformat()})
    finally:
        client.close()
    return [_as_row(json.loads(line)) for line in answer.splitlines()]


def _ask_timescale(settings: Settings, sql: str, day: date) -> list[Row]:
    try:
        with psycopg.connect(
            settings.timescale_address, connect_timeout=CONNECT_TIMEOUT_S, autocommit=True
        ) as connection:
            return [_as_row(row) for row in connection.execute(sql.encode(), {"day": day})]
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"TimescaleDB: {error}") from None


def _ask_lake(settings: Settings, sql: str, day: date) -> list[Row]:
    connection = lake.connect(settings)
    try:
        return [_as_row(row) for row in connection.execute(sql, {"day": day}).fetchall()]
    finally:
        connection.close()


def _as_row(row: Any) -> Row:
    table, key, detail = row
    return str(table), str(key), str(detail)


_ASK: dict[str, Callable[[Settings, str, date], list[Row]]] = {
    "clickhouse": _ask_clickhouse,
    "timescale": _ask_timescale,
    "lake": _ask_lake,
}


def check_files() -> list[Path]:
    return sorted(CHECKS_DIR.glob("*/*.sql"))
