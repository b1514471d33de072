"""``compact``: many files of one day become few, with one row per identity.

The new files are written beside the old ones, the table switches from these to those in one commit, and the old ones
are deleted when their grace is over, so that readers of the state before can finish. DuckDB sorts, and spills to disk
where a day is larger than memory. What an earlier run wrote and did not live to commit is deleted too, a day later.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa
from duckdb import DuckDBPyConnection
from msgspec import Struct

from etl.lake import layout
from etl.lake.catalog import Catalog, File, State
from etl.lake.exports import Range
from etl.lake.files import write_file
from etl.lake.log import LOG
from etl.lake.pins import pinned
from etl.lake.query import distinct_rows, open_database, runs_of
from etl.lake.storage import TEMPORARY_AGE_MAX_S, Storage, open_storage
from etl.model.tables import KIND_BY_TABLE
from etl.model.times import NS_PER_MS, NS_PER_S
from etl.settings import Settings

IN_ORDER = "symbol, CASE event_time_ns WHEN 0 THEN receive_time_ns ELSE event_time_ns END, record_key"
DAYS_PER_COMMIT = 20


class Compacted(Struct, frozen=True):
    """What one compaction did: days of an exchange compacted, files before and after, files deleted."""

    days: int
    files_before: int
    files_after: int
    deleted: int


def compact(settings: Settings, now_ns: int) -> Compacted:
    """Compact every day that gains by it; a commit of a table every ``DAYS_PER_COMMIT`` days of an exchange, so that
    what is done stays done.

    Raises ``StoreUnavailable``, and ``StoreError`` if another compaction of the same files was first: run it again.
    """
    storage = open_storage(settings)
    catalog = Catalog(storage)
    catalog.repair()
    state = catalog.read()
    groups = list(_groups(settings, state))
    files_after = 0
    with open_database(storage) as database:
        database.execute(f"SET memory_limit = '{settings.lake.compaction_memory_mib} MiB'")
        for part in _parts(groups):
            compaction = uuid.uuid4().hex
            added = [
                file for group in part for file in _rewritten(settings, storage, database, group, compaction)
            ]
            removed = [file.path for group in part for file in group]
            catalog.commit(state, added=added, removed=removed, operation="OPTIMIZE")
            files_after += len(added)
    deleted = _vacuum(settings, storage, catalog, state, now_ns)
    return Compacted(len(groups), sum(map(len, groups)), files_after, deleted)


def vacuum(settings: Settings, now_ns: int) -> int:
    """What every compaction does at its end, by itself: how many files were deleted whose grace was over or that no
    commit ever named."""
    storage = open_storage(settings)
    catalog = Catalog(storage)
    catalog.repair()
    return _vacuum(settings, storage, catalog, catalog.read(), now_ns)


def _vacuum(settings: Settings, storage: Storage, catalog: Catalog, state: State, now_ns: int) -> int:
    old = _delete_old(settings, storage, catalog, state, now_ns)
    storage.sweep(now_ns / NS_PER_S)
    return old + _delete_unnamed(storage, catalog, now_ns)


def _parts(groups: Sequence[list[File]]) -> Iterator[list[list[File]]]:
    """The days of one commit: of one table."""
    for _, of_table in groupby(groups, key=lambda group: group[0].table):
        days = list(of_table)
        for first in range(0, len(days), DAYS_PER_COMMIT):
            yield days[first : first + DAYS_PER_COMMIT]


def _groups(settings: Settings, state: State) -> Iterator[list[File]]:
    """The files of each day that overlap, of which several are not full, or one is of another program."""
    for table in KIND_BY_TABLE:
        for _, files in groupby(state.of(table), key=lambda f: (f.exchange, f.date)):
            group = list(files)
            overlap = any(len(run) > 1 for run in runs_of(group))
            units = {file.compaction or file.path for file in group}
            small = sum(file.rows < settings.lake.file_rows_max for file in group)
            foreign = any(file.layout != layout.LAYOUT for file in group)
            if overlap or foreign or (len(units) > 1 and small > 1):
                yield group


def _rewritten(
    settings: Settings, storage: Storage, database: DuckDBPyConnection, group: list[File], compaction: str
) -> Iterator[File]:
    first = group[0]
    kind = KIND_BY_TABLE[first.table]
    place = (first.exchange, first.date)
    span = Range(first.partition, min(f.start for f in group), max(f.end for f in group))
    query = ordered_rows(storage, first.table, group)
    batches = database.sql(query).to_arrow_reader(settings.lake.row_group_rows)
    for part, rows in enumerate(tables_of(batches, settings.lake.file_rows_max)):
        name = layout.compacted_name(span.partition, span.start, span.end, compaction, part)
        yield write_file(settings, storage, kind, place, rows, span, name, compaction)


def ordered_rows(storage: Storage, table: str, files: Sequence[File]) -> str:
    """The SELECT of ``files`` of one day with one row per identity, in the order of a file."""
    return f"{distinct_rows(storage, table, files)} ORDER BY {IN_ORDER}"


def tables_of(batches: Any, rows_max: int) -> Iterator[pa.Table]:
    """The batches in tables of ``rows_max`` rows; the last may have fewer."""
    held: list[pa.Table] = []
    for batch in batches:
        held.append(pa.Table.from_batches([batch]))
        while sum(map(len, held)) >= rows_max:
            rows = pa.concat_tables(held)
            yield rows.slice(0, rows_max)
            held = [rows.slice(rows_max)]
    if any(map(len, held)):
        yield pa.concat_tables(held)


def _delete_old(settings: Settings, storage: Storage, catalog: Catalog, state: State, now_ns: int) -> int:
    """Deleted first, forgotten then: whoever dies between deletes them again."""
    over_ms = (now_ns - int(settings.lake.grace_s * NS_PER_S)) // NS_PER_MS
    kept = pinned(storage)
    paths = [path for path in state.removed(over_ms) if path not in kept]
    for path in paths:
        storage.delete(path)
    catalog.forget(state, over_ms)
    return len(paths)


def _delete_unnamed(storage: Storage, catalog: Catalog, now_ns: int) -> int:
    """Files of an attempt that never was, once nobody can be about to commit them. Listed before the tables are read,
    so that what is committed meanwhile is named."""
    found = storage.files(layout.TABLES_FOLDER)
    named = catalog.read().named() | pinned(storage)
    over_s = now_ns / NS_PER_S - TEMPORARY_AGE_MAX_S
    unnamed = [
        path
        for path, written_s in found.items()
        if written_s < over_s and path.endswith(".parquet") and LOG not in path and path not in named
    ]
    for path in unnamed:
        storage.delete(path)
    return len(unnamed)
