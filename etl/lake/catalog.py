"""What exists in the lake: a Delta table for each kind of record and one for the raw topic.

    tables/{table}/_delta_log/…                       which files a table has (etl/lake/log.py)
    tables/{table}/exchange=…/date=…/….parquet        the files

The logs, not the folders, say what is there. Readers see whole commits only, of each table by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any
from urllib.parse import quote, unquote

import msgspec
from msgspec import Struct

from etl.errors import StoreError
from etl.lake import former, layout
from etl.lake.delta import Add, Snapshot
from etl.lake.exports import ExportLog, Exports
from etl.lake.log import DeltaLog
from etl.lake.storage import Storage
from etl.model.times import NS_PER_MS

TIME_NS_MAX = (1 << 63) - 1


class File(Struct, frozen=True, omit_defaults=True, gc=False):
    """One Parquet file. Times are the least and greatest of its rows, ns; offsets are what it was made from.

    ``compaction`` is empty for an exported file; files of one compaction share it, and no identity. ``wide_rows`` is
    how many rows hold a value that its column is too narrow for; ``wide_scales`` and ``wide_wholes`` how many digits
    such values have behind and before the point, by column; ``layout``: by which layout it is, 0 = another program's;
    ``made_from``: by table a digest of what a derived file was made from.
    """

    path: str
    table: str
    exchange: str
    date: str
    symbol_min: str
    symbol_max: str
    rows: int
    bytes: int
    time_ns_min: int
    time_ns_max: int
    key_time_ns_min: int
    key_time_ns_max: int
    partition: int
    start: int
    end: int
    compaction: str = ""
    wide_rows: int = 0
    wide_scales: dict[str, int] = {}
    wide_wholes: dict[str, int] = {}
    layout: int = layout.LAYOUT
    made_from: dict[str, str] = {}
    made_ms: int = 0


class _Stats(Struct, rename="camel"):
    """As every engine reads them. What we do not write ourselves may lack any."""

    num_records: int = 0
    min_values: dict[str, Any] = {}
    max_values: dict[str, Any] = {}
    null_count: dict[str, Any] = {}


class _Tags(Struct, omit_defaults=True):
    """What no other engine asks for."""

    time_ns_min: int = 0
    time_ns_max: int = TIME_NS_MAX
    key_time_ns_min: int = 0
    key_time_ns_max: int = TIME_NS_MAX
    partition: int = 0
    start: int = 0
    end: int = 0
    compaction: str = ""
    wide_rows: int = 0
    wide_scales: dict[str, int] = {}
    wide_wholes: dict[str, int] = {}
    layout: int = 0
    made_from: dict[str, str] = {}


_TAG = "market_data"
_tags = msgspec.json.Decoder(_Tags).decode
_stats = msgspec.json.Decoder(_Stats).decode
_values_of = attrgetter(*_Tags.__struct_fields__)
"""In the order that ``File`` has."""


def add_of(file: File) -> Add:
    tags = _Tags(**{name: getattr(file, name) for name in _Tags.__struct_fields__})
    bounds: dict[str, tuple[Any, Any]] = {
        "symbol": (file.symbol_min, file.symbol_max),
        "time": (layout.instant_of(file.time_ns_min), layout.instant_of(file.time_ns_max)),
        "key_time_ns": (file.key_time_ns_min, file.key_time_ns_max),
        "receive_time_ns": (file.time_ns_min, file.time_ns_max),
    }
    names = layout.STATISTICS[file.table] if file.rows else ()
    least, greatest = ({name: bounds[name][end] for name in names} for end in (0, 1))
    stats = _Stats(file.rows, least, greatest, dict.fromkeys(names, 0))
    return Add(
        path=quote(file.path.removeprefix(f"{layout.table_folder(file.table)}/"), safe="/=-._~"),
        partition_values={"exchange": file.exchange, "date": file.date},
        size=file.bytes,
        modification_time=file.made_ms,
        data_change=not file.compaction,
        stats=msgspec.json.encode(stats).decode(),
        tags={_TAG: msgspec.json.encode(tags).decode()},
    )


def file_of(table: str, add: Add) -> File:
    tags = _tags((add.tags or {}).get(_TAG) or "{}")
    stats = _stats(add.stats or "{}")
    return File(
        f"{layout.table_folder(table)}/{unquote(add.path)}",
        table,
        add.partition_values["exchange"] or "",
        add.partition_values["date"] or "",
        stats.min_values.get("symbol", ""),
        stats.max_values.get("symbol", "" if table == layout.RAW else "\U0010ffff"),
        stats.num_records,
        add.size,
        *(*_values_of(tags), add.modification_time),
    )


class State(Struct):
    """The lake as it was read: ``tables`` as they were then with their ``files`` by path, and ``exports``."""

    tables: dict[str, Snapshot] = {}
    exports: Exports = msgspec.field(default_factory=Exports)
    files: dict[str, File] = {}

    def of(self, table: str) -> list[File]:
        """The files of ``table``, in the order in which their rows came."""
        files = (file for file in self.files.values() if file.table == table)
        return sorted(files, key=lambda f: (f.exchange, f.date, f.partition, f.start, f.path))

    def done(self, table: str, app_id: str) -> int:
        """The offset that ``table`` has reached of a partition of a topic (``app_id``)."""
        return self.tables[table].done(app_id)

    def removed(self, before_ms: int) -> list[str]:
        """Paths of the files that were removed before then."""
        return [
            f"{layout.table_folder(table)}/{unquote(item.path)}"
            for table, snapshot in self.tables.items()
            for item in snapshot.removes.values()
            if (item.deletion_timestamp or 0) < before_ms
        ]

    def named(self) -> set[str]:
        """Paths of the files that some reader may still want."""
        removed = self.removed(TIME_NS_MAX // NS_PER_MS)
        return {*self.files, *removed}


def changes(table: str, before: Snapshot, after: Snapshot) -> tuple[list[File], list[File]]:
    """The files of ``after`` that ``before`` has not, or says otherwise, and the other way round."""
    if before is after:
        return [], []
    new, old = after.adds, before.adds
    added = [add for path, add in new.items() if old.get(path) != add]
    removed = [add for path, add in old.items() if new.get(path) != add]
    return [file_of(table, add) for add in added], [file_of(table, add) for add in removed]


class Catalog:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._logs = {table: DeltaLog(storage, layout.table_folder(table)) for table in layout.TABLES}
        self.exports = ExportLog(storage)

    def read(self) -> State:
        """The state after the last commits. Raises ``StoreError`` for a lake of the former layout."""
        exports = self.exports.read()
        if not exports.version and self._storage.names(former.FOLDER):
            raise StoreError("lake: it has the layout of before 2026-11-30; run: etl lake migrate")
        return self.read_tables(exports)

    def read_tables(self, exports: Exports) -> State:
        """The tables, whatever a migration has still to do."""
        state = State(tables={}, exports=exports, files={})
        for table, log in self._logs.items():
            snapshot = state.tables[table] = log.read()
            state.files |= {file.path: file for file in self.files_of(table, snapshot)}
        return state

    def later(self, state: State) -> State:
        """The state after the last commits, by those after ``state`` alone, which stays as it is."""
        tables = {table: self._logs[table].later(snapshot) for table, snapshot in state.tables.items()}
        later = State(tables=tables, exports=self.exports.later(state.exports), files=state.files)
        changed = [table for table, snapshot in tables.items() if snapshot is not state.tables[table]]
        if changed:
            later.files = dict(state.files)
        for table in changed:
            added, removed = changes(table, state.tables[table], tables[table])
            for file in removed:
                del later.files[file.path]
            later.files |= {file.path: file for file in added}
        return later

    @staticmethod
    def files_of(table: str, snapshot: Snapshot) -> Iterator[File]:
        """The files of ``table`` as it was then."""
        return (file_of(table, add) for add in snapshot.adds.values())

    def commit(
        self,
        state: State,
        *,
        added: Iterable[File] = (),
        removed: Iterable[str] = (),
        txns: Mapping[str, int] | None = None,
        operation: str = "WRITE",
    ) -> None:
        """Bring the tables of these files, and ``state``, a version on: one commit a table, with all of ``txns`` in it.

        Checkpoints come after the last of them, so that the tables of a range show it some milliseconds apart. Raises
        ``log.Conflict`` if another writer was there first; what was committed of other tables by then stays.
        """
        gone = sorted((state.files[path] for path in removed), key=attrgetter("table"))
        by_table: dict[str, tuple[list[File], list[File]]] = {}
        for number, files in enumerate((sorted(added, key=attrgetter("table")), gone)):
            for table, some in groupby(files, key=attrgetter("table")):
                by_table.setdefault(table, ([], []))[number].extend(some)
        for table, (new, old) in sorted(by_table.items()):
            self._commit(state, table, new, old, txns, operation)
        for table in sorted(by_table):
            self._logs[table].checkpoint_if_due(state.tables[table])

    def _commit(
        self,
        state: State,
        table: str,
        new: Sequence[File],
        old: Sequence[File],
        txns: Mapping[str, int] | None,
        operation: str,
    ) -> None:
        self._logs[table].commit(
            state.tables[table],
            layout.DELTA_FIELDS[table],
            added=[add_of(file) for file in new],
            removed=[add_of(file).path for file in old],
            txns=txns,
            operation=operation,
        )
        for file in old:
            del state.files[file.path]
        for file in new:
            state.files[file.path] = file

    def forget(self, state: State, before_ms: int) -> None:
        """A checkpoint of each table that still knows files removed before then: they have been deleted."""
        for table, snapshot in state.tables.items():
            if any((item.deletion_timestamp or 0) < before_ms for item in snapshot.removes.values()):
                self._logs[table].checkpoint(snapshot, before_ms)

    def repair(self) -> list[str]:
        """What a crash left of a table that another program writes too; returns what was removed."""
        return [f"{table}: {name}" for table, log in self._logs.items() for name in log.repair()]
