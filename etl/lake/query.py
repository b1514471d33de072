"""SQL over the lake: a DuckDB connection with one view per table, over exactly the files that the catalog names.

The views show the state of one commit, hence whole exports only. They hold one row per identity: files whose key
times do not overlap cannot share an identity (it fixes the key time), so only overlapping ones are compared, and
after a compaction none overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import duckdb
import pyarrow as pa

from etl.errors import UsageError
from etl.lake.catalog import Catalog, File, State
from etl.lake.layout import FILE_SCHEMAS
from etl.lake.storage import ObjectStorage, Storage, open_storage
from etl.settings import Settings

_HIVE_TYPES = "{'exchange': VARCHAR, 'symbol': VARCHAR, 'date': DATE}"
_VERSION = {
    "bars": "list_position(['open', 'closed', 'revised'], bar_state) DESC NULLS LAST,"
    " CASE publish_time_ns WHEN 0 THEN receive_time_ns ELSE publish_time_ns END DESC, parser_version DESC",
    "gaps": "receive_time_ns DESC,"
    " list_position(['open', 'repaired', 'source_hole', 'unrepairable'], gap_state) DESC NULLS LAST",
}
_PARSER_VERSION = "parser_version DESC"
"""The order of ``columns.versions``: the first of an identity is shown."""


def connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    """The lake as it is now; the connection keeps showing this state. Times in UTC."""
    storage = open_storage(settings)
    return connect_to(storage, Catalog(storage).read())


def connect_to(storage: Storage, state: State) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    if isinstance(storage, ObjectStorage):
        connection.register_filesystem(storage.as_fsspec())
    for table, schema in FILE_SCHEMAS.items():
        files = state.of(table)
        if files:
            connection.execute(_view(storage, table, files))
        else:
            fields = [
                pa.field("exchange", pa.string()),
                pa.field("symbol", pa.string()),
                pa.field("date", pa.date32()),
            ]
            connection.register(table, pa.schema([*fields, *schema]).empty_table())
    return connection


def _view(storage: Storage, table: str, files: Sequence[File]) -> str:
    single, overlapping = _by_overlap(files)
    parts = []
    if single:
        parts.append(f"SELECT {_columns(table)} FROM {_scan(storage, single)}")  # noqa: S608
    if overlapping:
        parts.append(
            f"SELECT {_columns(table)} FROM {_scan(storage, overlapping)} QUALIFY row_number() OVER ("  # noqa: S608
            f"PARTITION BY exchange, symbol, record_key ORDER BY {_VERSION.get(table, _PARSER_VERSION)},"
            # equal versions: the first stands, as in the other stores
            " regexp_extract(filename, '(\\d+)-\\d+\\.parquet$', 1)::BIGINT) = 1"
        )
    return f"CREATE VIEW {table} AS {' UNION ALL '.join(parts)}"


def _columns(table: str) -> str:
    return ", ".join(f'"{name}"' for name in ("exchange", "symbol", "date", *FILE_SCHEMAS[table].names))


def _scan(storage: Storage, files: Sequence[File]) -> str:
    paths = ", ".join("'" + f"{storage.url}/{file.path}".replace("'", "''") + "'" for file in files)
    return f"read_parquet([{paths}], hive_partitioning = true, hive_types = {_HIVE_TYPES}, filename = true)"


def _by_overlap(files: Sequence[File]) -> tuple[list[File], list[File]]:
    """Files that cannot share an identity with another, and the rest."""
    single: list[File] = []
    overlapping: list[File] = []
    for _, of_symbol in groupby(files, key=lambda file: (file.exchange, file.symbol)):
        for group in _runs(sorted(of_symbol, key=lambda file: file.key_time_ns_min)):
            (single if len(group) == 1 else overlapping).extend(group)
    return single, overlapping


def _runs(files: Sequence[File]) -> Iterator[list[File]]:
    """``files``, sorted by their least key time, in runs that overlap one another."""
    run: list[File] = []
    reach = 0
    for file in files:
        if run and file.key_time_ns_min > reach:
            yield run
            run, reach = [], 0
        run.append(file)
        reach = max(reach, file.key_time_ns_max)
    if run:
        yield run


def fetch(settings: Settings, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and rows. Raises ``UsageError`` with DuckDB's own words."""
    with connect(settings) as connection:
        try:
            result = connection.execute(sql)
        except duckdb.Error as error:
            raise UsageError(f"lake: {error}") from None
        return [name for name, *_ in result.description or ()], result.fetchall()
