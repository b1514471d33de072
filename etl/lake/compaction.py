"""``compact``: many files of one day become few, with one row per identity.

The new files are written beside the old ones, the catalog switches from these to those, and the old ones are deleted
when their grace is over, so that readers of the state before can finish. DuckDB sorts, and spills to disk where a day
is larger than memory. What an earlier compaction wrote and did not live to commit is deleted too.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pyarrow as pa
from duckdb import DuckDBPyConnection
from msgspec import Struct

from etl.lake import layout
from etl.lake.catalog import Catalog, File, Range, State
from etl.lake.files import write_file
from etl.lake.query import distinct_rows, open_database, runs_of
from etl.lake.storage import Storage, open_storage
from etl.model.tables import KIND_BY_TABLE
from etl.model.times import NS_PER_S
from etl.settings import Settings

_IN_ORDER = "CASE event_time_ns WHEN 0 THEN receive_time_ns ELSE event_time_ns END, record_key"


GROUPS_PER_COMMIT = 200


class Compacted(Struct, frozen=True):
    """What one compaction did: days of a symbol compacted, files before and after, files deleted."""

    days: int
    files_before: int
    files_after: int
    deleted: int


def compact(settings: Settings, now_ns: int) -> Compacted:
    """Compact every day that gains by it; a commit every ``GROUPS_PER_COMMIT`` days of a symbol, so that what is done
    stays done.

    Raises ``StoreUnavailable``, and ``StoreError`` if another writer commits at the same time: run it again.
    """
    storage = open_storage(settings)
    catalog = Catalog(storage)
    state = catalog.read()
    groups = list(_groups(settings, state))
    files_after = 0
    with open_database(storage) as database:
        database.execute(f"SET memory_limit = '{settings.lake.compaction_memory_mib} MiB'")
        for first in range(0, len(groups), GROUPS_PER_COMMIT):
            part = groups[first : first + GROUPS_PER_COMMIT]
            compaction = state.version + 1
            added = [
                file for group in part for file in _rewritten(settings, storage, database, group, compaction)
            ]
            catalog.commit(state, added=added, removed=[file.path for group in part for file in group])
            files_after += len(added)
    deleted = _delete_old(settings, storage, catalog, state, now_ns) + _delete_unnamed(storage, state)
    storage.sweep(now_ns / NS_PER_S)
    return Compacted(len(groups), sum(map(len, groups)), files_after, deleted)


def _groups(settings: Settings, state: State) -> Iterator[list[File]]:
    """The files of each day that overlap, of which several are not full, or one has a former layout."""
    for table in KIND_BY_TABLE:
        for _, files in groupby(state.of(table), key=lambda f: (f.exchange, f.symbol, f.date)):
            group = list(files)
            overlap = any(len(run) > 1 for run in runs_of(group))
            units = {file.compaction or file.path for file in group}
            small = sum(file.rows < settings.lake.file_rows_max for file in group)
            former = table in layout.NARROW_TABLES and any(file.layout < layout.LAYOUT for file in group)
            if overlap or former or (len(units) > 1 and small > 1):
                yield group


def _rewritten(
    settings: Settings, storage: Storage, database: DuckDBPyConnection, group: list[File], compaction: int
) -> Iterator[File]:
    first = group[0]
    kind = KIND_BY_TABLE[first.table]
    place = (first.exchange, first.symbol, first.date)
    span = Range(first.partition, min(f.start for f in group), max(f.end for f in group))
    query = f"{distinct_rows(storage, first.table, group)} ORDER BY {_IN_ORDER}"
    batches = database.sql(query).to_arrow_reader(settings.lake.row_group_rows)
    for part, rows in enumerate(_tables(batches, settings.lake.file_rows_max)):
        name = layout.compacted_name(span.partition, span.start, span.end, compaction, part)
        yield write_file(settings, storage, kind, place, rows, span, name, compaction)


def _tables(batches: Any, rows_max: int) -> Iterator[pa.Table]:
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
    over = now_ns - int(settings.lake.grace_s * NS_PER_S)
    paths = [item.path for item in state.removed.values() if item.removed_time_ns < over]
    for path in paths:
        storage.delete(path)
    if paths:
        catalog.commit(state, deleted=paths)
    return len(paths)


def _delete_unnamed(storage: Storage, state: State) -> int:
    """Files of a compaction that never was: its commit has the number that they bear, which is taken, and ``state``
    does not name them. Whoever is making some for a commit that can still succeed numbers them higher."""
    count = 0
    for path in storage.files(layout.DATA):
        found = layout.COMPACTED_PATTERN.search(path)
        if found and int(found[1]) <= state.version and path not in state.files and path not in state.removed:
            storage.delete(path)
            count += 1
    return count
