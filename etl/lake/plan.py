"""What a SELECT over the lake's views reads, told before it runs: DuckDB plans it, and says by which exchanges and
dates it leaves files out; the log says what the others hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from etl.errors import UsageError
from etl.lake import layout
from etl.lake.catalog import File, State
from etl.lake.estimate import LARGE_SCAN_ROWS, Scan, at_most
from etl.lake.query import confine, connect_to
from etl.lake.reference_views import OF_INSTRUMENTS
from etl.lake.storage import Storage
from etl.settings import Settings

_VIEWS = {"trades_corrected": ("trades", "corrections"), "corrections_keyed": ("corrections",)}
_VIEWS |= {f"{name}_of": _VIEWS.get(name, (name,)) for name in OF_INSTRUMENTS}
_BETWEEN_FILTERS = re.compile(r"'(?:[^']|'')*'|\)\(")
"""DuckDB writes them one after the other; what stands in quotes is passed over."""


def named(sql: str) -> list[str]:
    """The tables that ``sql`` may read: all that it has the name of."""
    words = set(re.findall(r"\w+", sql.lower()))
    words |= {table for view in words & _VIEWS.keys() for table in _VIEWS[view]}
    return [table for table in layout.TABLES if table in words]


def planned(settings: Settings, storage: Storage, state: State, sql: str) -> Scan:
    """The files of which rows may be read, once for each time that the plan reads them.

    Raises ``UsageError`` for what is not one SELECT, ``duckdb.Error`` for a bad one."""
    found = Scan()
    for table in named(sql) or layout.TABLES[:1]:  # a statement without a table is looked at too
        files = state.of(table)
        only = State(state.tables, state.exports, {file.path: file for file in files})
        with connect_to(storage, only, with_doubles=True) as connection:
            confine(connection, settings)
            for filters, count in _reads(connection, sql):
                found += _left(files, filters, count)
    return found


def large(settings: Settings, storage: Storage, state: State, sql: str) -> str:
    """One line where ``sql`` reads more than ``LARGE_SCAN_ROWS``, "" where not. Raises as ``planned``."""
    tables = named(sql)
    if sum(file.rows for file in state.files.values() if file.table in tables) <= LARGE_SCAN_ROWS:
        return ""
    scan = planned(settings, storage, state, sql)
    if scan.rows <= LARGE_SCAN_ROWS:
        return ""
    bars = "; ohlcv_1s and ohlcv_1m have prices and volumes" if "trades" in tables else ""
    return f"lake: {scan} are to be read; WHERE exchange and date leaves files out{bars}"


def one_select(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """Raises ``UsageError`` for anything else."""
    statements = connection.extract_statements(sql)
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        raise UsageError("lake: one SELECT, and nothing else")
    return statements[0]


def _reads(connection: duckdb.DuckDBPyConnection, sql: str) -> Iterator[tuple[str, int | None]]:
    """By each scan of files: what it leaves files out by, and how many are left; ``None`` = all."""
    statement = one_select(connection, sql)
    for _, text in connection.execute(f"EXPLAIN (FORMAT json) {statement.query}").fetchall():
        nodes: list[dict[str, Any]] = msgspec.json.decode(text)
        while nodes:
            node = nodes.pop()
            nodes += node["children"]
            if node["name"].strip() == "READ_PARQUET":
                info = node["extra_info"]
                left = info.get("Scanning Files")
                yield info.get("File Filters", ""), int(left.partition("/")[0]) if left else None


def _left(files: Sequence[File], filters: str, count: int | None) -> Scan:
    """Those of ``files`` that pass ``filters``, if these are ``count``; where that cannot be told, all."""
    if count is None:
        return at_most(files)
    where = _BETWEEN_FILTERS.sub(lambda found: ") AND (" if found[0] == ")(" else found[0], filters)
    with duckdb.connect() as connection:
        columns = {
            name: [getattr(file, name) for file in files] for name in ("exchange", "date", "rows", "bytes")
        }
        connection.register("files", pa.table(columns))
        connection.execute("SET enable_external_access = false")
        try:
            row = connection.execute(
                "SELECT count(*), coalesce(sum(rows), 0), coalesce(sum(bytes), 0)"  # noqa: S608
                f" FROM (SELECT * REPLACE (date::DATE AS date) FROM files) WHERE {where}"
            ).fetchone()
        except duckdb.Error:
            row = None
    scan = Scan(*map(int, row)) if row else Scan(-1)
    return scan if scan.files == count else at_most(files)
