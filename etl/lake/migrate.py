"""``etl lake migrate``: a lake of the former layout (former.py) into the tables of now.

Each day of an exchange is rewritten as a compaction writes it, with one row per identity, and committed with a ``txn``
that names the day: a run that was killed goes on with the next. Raw files are taken over as they are. At last the
offsets follow, and the lake is open again. The old files stay until ``delete_former``.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter

import pyarrow as pa
from duckdb import DuckDBPyConnection
from msgspec import Struct, structs

from etl.errors import UsageError
from etl.lake import former, layout
from etl.lake.catalog import Catalog, File
from etl.lake.compaction import IN_ORDER, tables_of
from etl.lake.exports import Exports, Range
from etl.lake.files import put_file, write_file
from etl.lake.query import distinct, open_database
from etl.lake.storage import Storage, open_storage
from etl.model.tables import KIND_BY_TABLE
from etl.settings import Settings

_by_day = attrgetter("exchange", "date")


class Migrated(Struct, frozen=True):
    """Days of an exchange that this run rewrote, and that an earlier one had; files and rows before and after."""

    days: int
    days_done_before: int
    files_before: int
    files_after: int
    rows_before: int
    rows_after: int


def migrate(settings: Settings) -> Migrated:
    """Nothing happens to a lake that is of the layout of now. Raises ``StoreError``, ``StoreUnavailable``."""
    storage = open_storage(settings)
    catalog = Catalog(storage)
    catalog.repair()
    exports = catalog.exports.read()
    if exports.version or not storage.names(former.FOLDER):
        return Migrated(0, 0, 0, 0, 0, 0)
    before = former.read(storage)
    state = catalog.read_tables(exports)
    days = days_before = 0
    old: list[former.File] = []
    new: list[File] = []
    with open_database(storage) as database:
        database.execute(f"SET memory_limit = '{settings.lake.compaction_memory_mib} MiB'")
        for table in layout.TABLES:
            files = sorted((file for file in before.files.values() if file.table == table), key=_by_day)
            for (exchange, day), some in groupby(files, key=_by_day):
                app_id = f"migrate/{exchange}/{day}"
                if state.done(table, app_id):
                    days_before += 1
                    continue
                group = list(some)
                added = list(_rewritten(settings, storage, database, group))
                catalog.commit(state, added=added, txns={app_id: 1}, operation="MIGRATE")
                days, old, new = days + 1, [*old, *group], [*new, *added]
    begun = Exports(
        topics=before.topics,
        offsets=before.offsets,
        leader_epochs=before.leader_epochs,
        planned=before.planned,
    )
    catalog.exports.begin(begun)
    rows_before, rows_after = (sum(file.rows for file in files) for files in (old, new))
    return Migrated(days, days_before, len(old), len(new), rows_before, rows_after)


def delete_former(settings: Settings) -> int:
    """The old files, catalog and all. Raises ``UsageError`` before the migration is complete."""
    storage = open_storage(settings)
    if not Catalog(storage).exports.read().version and storage.names(former.FOLDER):
        raise UsageError("lake: not migrated yet; run: etl lake migrate")
    paths = [*storage.files(former.DATA), *storage.files(former.FOLDER)]
    for path in paths:
        storage.delete(path)
    return len(paths)


def _rewritten(
    settings: Settings, storage: Storage, database: DuckDBPyConnection, group: Sequence[former.File]
) -> Iterator[File]:
    """The files of one table, exchange and day."""
    first = group[0]
    if first.table == layout.RAW:
        yield from (_taken_over(storage, file) for file in group)
        return
    kind, compaction = KIND_BY_TABLE[first.table], uuid.uuid4().hex
    span = Range(first.partition, min(file.start for file in group), max(file.end for file in group))
    rows = f"{distinct(first.table, former.scan(storage, group))} ORDER BY {IN_ORDER}"
    batches = database.sql(rows).to_arrow_reader(settings.lake.row_group_rows)
    for part, table in enumerate(tables_of(batches, settings.lake.file_rows_max)):
        name = layout.compacted_name(span.partition, span.start, span.end, compaction, part)
        yield write_file(settings, storage, kind, (first.exchange, first.date), table, span, name, compaction)


def _taken_over(storage: Storage, file: former.File) -> File:
    """Files of the raw topic have had this form all along."""
    times = pa.chunked_array([pa.array([file.time_ns_min, file.time_ns_max], pa.int64())])
    span = Range(file.partition, file.start, file.end)
    data = pa.py_buffer(storage.get(file.path))
    place, name = (file.exchange, file.date), file.path.rpartition("/")[2]
    made = put_file(storage, layout.RAW, place, data, times, times, span, name)
    return structs.replace(made, rows=file.rows)
