"""``etl lake export-hive``: the lake's tables as plain folders of Parquet, for what reads no Delta.

    {table}/source=binance/market=usdm/date=2026-03-02/….parquet         of the exchange binance_usdm
    {table}/source=binance/market=main/date=2026-03-02/….parquet         of the exchange binance

``source`` is the exchange's name up to its first underscore, ``market`` what follows it. A day has one row per
identity: files that share none are copied as they are, the others are written anew. Run again, it copies what is not
there yet, and of the days that the lake has it deletes files that were replaced. Days that the lake has no more, since
they expired, are named, and deleted only if that is said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any
from urllib.parse import quote

from duckdb import DuckDBPyConnection
from msgspec import Struct

from etl.lake import layout
from etl.lake.catalog import Catalog, File
from etl.lake.compaction import ordered_rows, tables_of
from etl.lake.derived import made_from
from etl.lake.query import open_database, runs_of
from etl.lake.storage import Storage, open_storage, storage_at
from etl.model.tables import KIND_BY_TABLE
from etl.settings import Settings

_TABLES = tuple(table for table in layout.TABLES if table != layout.RAW)
MAIN = "main"
"""The market of an exchange without an underscore."""


class ExportedHive(Struct, frozen=True):
    """Days of a table and exchange, and of their files those that were written, were there, and were deleted.
    ``gone`` are folders of days that the lake has no more."""

    days: int
    written: int
    kept: int
    deleted: int
    gone: tuple[str, ...] = ()


def export_hive(
    settings: Settings, to: str, table: str = "", exchange: str = "", delete_gone: bool = False
) -> ExportedHive:
    """All tables but raw, or the one named, into the folder or bucket ``to``, an address as ``lake_url`` has it.

    Raises ``StoreError``, ``UsageError``."""
    source, target = open_storage(settings), storage_at(to)
    days: dict[tuple[str, str, str], list[File]] = defaultdict(list)
    for file in Catalog(source).read().files.values():
        if (file.table == table if table else file.table != layout.RAW) and exchange in ("", file.exchange):
            days[file.table, file.exchange, file.date].append(file)
    written = kept = deleted = 0
    with open_database(source) as database:
        database.execute(f"SET memory_limit = '{settings.lake.compaction_memory_mib} MiB'")
        for place, files in sorted(days.items()):
            folder = hive_folder(*place)
            before = set(target.names(folder))
            now = set()
            for name, data in _files(settings, source, database, files, before):
                if data is None:
                    kept += 1
                else:
                    target.put(f"{folder}/{name}", data)
                    written += 1
                now.add(name)
            for name in before - now:
                target.delete(f"{folder}/{name}")
                deleted += 1
    gone = _gone(target, [table] if table else _TABLES, exchange, {hive_folder(*place) for place in days})
    if delete_gone:
        for path in chain.from_iterable(gone.values()):
            target.delete(path)
            deleted += 1
    return ExportedHive(len(days), written, kept, deleted, tuple(sorted(gone)))


def hive_folder(table: str, exchange: str, date: str) -> str:
    source, _, market = exchange.partition("_")
    return f"{table}/source={quote(source, safe='')}/market={quote(market, safe='') or MAIN}/date={date}"


def _gone(target: Storage, tables: Sequence[str], exchange: str, there: set[str]) -> dict[str, list[str]]:
    """The files of days that are not ``there``, by their folder."""
    found: dict[str, list[str]] = defaultdict(list)
    for table in tables:
        start = hive_folder(table, exchange, "") if exchange else f"{table}/source="
        for path in target.files(table):
            folder = path.rpartition("/")[0]
            if path.startswith(start) and path.endswith(".parquet") and folder not in there:
                found[folder].append(path)
    return found


def _files(
    settings: Settings, source: Storage, database: DuckDBPyConnection, files: Sequence[File], there: set[str]
) -> Iterator[tuple[str, Any]]:
    """Names and bytes; ``None`` for those that are ``there``."""
    table = files[0].table
    if table not in KIND_BY_TABLE or all(len(run) == 1 for run in runs_of(files)):
        for file in files:
            name = file.path.rpartition("/")[2]
            yield name, None if name in there else source.get(file.path)
        return
    batches = database.sql(ordered_rows(source, table, files)).to_arrow_reader(settings.lake.row_group_rows)
    for part, rows in enumerate(tables_of(batches, settings.lake.file_rows_max)):
        data = layout.parquet(KIND_BY_TABLE[table], rows, settings.lake.row_group_rows)
        yield f"{made_from(files)}-{part}.parquet", data
