"""Set-based checks: ``sql/checks/<store>/<check>.sql``. Each returns (table, key, detail) of what offends in one day.

A file sees the day as a parameter: ``{day:Date}`` in ClickHouse, ``%(day)s`` in TimescaleDB, ``$day`` in the lake.
Adding a check is adding a file for each store that can ask it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb

from etl.audit.offence import Offence
from etl.lake import query as lake
from etl.lake.catalog import File
from etl.settings import Settings
from etl.stores import timescale
from etl.stores.clickhouse_http import connect, in_database
from etl.stores.migrate import SQL_DIR

CHECKS_DIR = SQL_DIR / "checks"
OFFENCES_MAX = 1_000
"""Offences kept of one check and store; how many there were beyond stands in a last one of key ``and more``."""
EARLIEST = "1990-01-01"
FUTURE = timedelta(days=2)
"""Rows before the one or further ahead than the other are looked at every night, whatever their day."""

ANSWER_TIMEOUT_S = 1_800.0
CLICKHOUSE_LIMITS = {
    "max_bytes_before_external_group_by": str(1 << 30),
    "max_bytes_before_external_sort": str(1 << 30),
}
"""A large day goes through the disk instead of through more memory."""
LAKE_MEMORY_MIB = 2_048

Row = tuple[str, str, str]


def run_checks(settings: Settings, day: date, store: str) -> Iterator[Offence]:
    """Every check of ``store`` on one UTC day. Raises ``StoreError``."""
    for name in names(store):
        yield from run_check(settings, day, store, name)


def run_check(settings: Settings, day: date, store: str, name: str) -> list[Offence]:
    """One check of ``store`` on one UTC day; at most ``OFFENCES_MAX`` offences and one that counts the rest."""
    ask = _ASK[store]
    sql = (CHECKS_DIR / store / f"{name}.sql").read_text().rstrip()
    some = f"SELECT * FROM (\n{sql}\n) AS offences LIMIT {OFFENCES_MAX + 1}"  # noqa: S608  a file of ours
    rows = ask(settings, some, day)
    offences = [Offence(name, store, table, key, detail) for table, key, detail in rows[:OFFENCES_MAX]]
    if len(rows) > OFFENCES_MAX:
        all_of_them = f"SELECT count(*), '', '' FROM (\n{sql}\n) AS offences"  # noqa: S608
        [(count, _, _)] = ask(settings, all_of_them, day)
        more = f"{int(count) - OFFENCES_MAX} further offences on {day}"
        offences.append(Offence(name, store, rows[0][0], "and more", more))
    return offences


def names(store: str) -> list[str]:
    return [file.stem for file in sorted((CHECKS_DIR / store).glob("*.sql"))]


def stores() -> tuple[str, ...]:
    return tuple(_ASK)


def _ask_clickhouse(settings: Settings, sql: str, day: date) -> list[Row]:
    with connect(settings, ANSWER_TIMEOUT_S) as client:
        answer = client.execute(
            in_database(f"{sql}\nFORMAT JSONCompactEachRow", client.address),
            CLICKHOUSE_LIMITS,
            {"day": day.isoformat()},
        )
    return [_as_row(json.loads(line)) for line in answer.splitlines()]


def _ask_timescale(settings: Settings, sql: str, day: date) -> list[Row]:
    with timescale.session(settings) as connection:
        return [_as_row(row) for row in connection.execute(sql.encode(), {"day": day})]


def _ask_lake(settings: Settings, sql: str, day: date) -> list[Row]:
    """Only the files that the day concerns are opened: its own, and those of dates that cannot be."""
    last = str(max(day, datetime.now(UTC).date()) + FUTURE)

    def concerns(file: File) -> bool:
        return file.date == str(day) or file.date < EARLIEST or file.date > last

    with lake_files(settings, concerns) as connection:
        return [_as_row(row) for row in connection.execute(sql, {"day": day}).fetchall()]


@contextmanager
def lake_files(settings: Settings, wanted: Callable[[File], bool]) -> Iterator[duckdb.DuckDBPyConnection]:
    """The lake's tables over these files; a large day goes through the disk instead of through more memory."""
    with lake.connect(settings, wanted) as connection:
        connection.execute(f"SET memory_limit = '{LAKE_MEMORY_MIB} MiB'")
        connection.execute(f"SET temp_directory = '{settings.state_path / 'audit'}'")
        yield connection


def _as_row(row: Any) -> Row:
    table, key, detail = row
    return str(table), str(key), str(detail)


_ASK: dict[str, Callable[[Settings, str, date], list[Row]]] = {
    "clickhouse": _ask_clickhouse,
    "timescale": _ask_timescale,
    "lake": _ask_lake,
}
