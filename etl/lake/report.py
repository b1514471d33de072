"""What the lake holds, from the tables' logs alone: no file of data is touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from etl.lake import layout
from etl.lake.catalog import File, State, file_of
from etl.lake.delta import Action
from etl.lake.index import Index
from etl.lake.log import DeltaLog
from etl.lake.storage import Storage


class TableTotals(Struct, frozen=True):
    """``version`` is the table's last commit; dates are the first and the last that have rows, "" where none has."""

    table: str
    version: int
    files: int
    rows: int
    bytes: int
    exchanges: int
    first_date: str
    last_date: str


class DayTotals(Struct, frozen=True):
    """One table, exchange and date. ``rows`` of several files may share identities until the day is compacted."""

    table: str
    exchange: str
    date: str
    files: int
    rows: int
    bytes: int
    first_time_ns: int
    last_time_ns: int
    symbol_min: str
    symbol_max: str


class Change(Struct, frozen=True):
    """One commit of a table: files and rows that it added and files that it removed; ``progress`` are the offsets that
    it reached, by topic id and partition."""

    version: int
    time_ms: int
    operation: str
    files_added: int
    rows_added: int
    files_removed: int
    progress: dict[str, int]


def tables(state: State) -> list[TableTotals]:
    """Those that exist, in the order of ``layout.TABLES``."""
    return [_totals(state, table) for table in layout.TABLES if state.tables[table].version >= 0]


def _totals(state: State, table: str) -> TableTotals:
    files = state.of(table)
    dates = sorted({file.date for file in files}) or [""]
    return TableTotals(
        table,
        state.tables[table].version,
        len(files),
        sum(file.rows for file in files),
        sum(file.bytes for file in files),
        len({file.exchange for file in files}),
        dates[0],
        dates[-1],
    )


def coverage(
    state: State, table: str = "", exchange: str = "", start: str = "", end: str = ""
) -> list[DayTotals]:
    """The days of ``table`` and ``exchange`` ("" = all) from ``start`` to before ``end``, dates ("" = open)."""
    index = Index(state.files.values())
    return [
        _day(files)
        for name in ([table] if table else layout.TABLES)
        for venue in ([exchange] if exchange else index.exchanges(name))
        for _, files in index.days(name, venue, start, end)
    ]


def _day(files: Sequence[File]) -> DayTotals:
    first = files[0]
    return DayTotals(
        first.table,
        first.exchange,
        first.date,
        len(files),
        sum(file.rows for file in files),
        sum(file.bytes for file in files),
        min(file.time_ns_min for file in files),
        max(file.time_ns_max for file in files),
        min(file.symbol_min for file in files),
        max(file.symbol_max for file in files),
    )


def history(storage: Storage, table: str) -> Iterator[Change]:
    """The commits that are kept, oldest first. Raises ``StoreError``."""
    for version, actions in DeltaLog(storage, layout.table_folder(table)).history():
        yield _change(table, version, actions)


def _change(table: str, version: int, actions: Sequence[Action]) -> Change:
    infos = [action.commit_info for action in actions if action.commit_info is not None]
    info = infos[0] if infos else {}
    added = [file_of(table, action.add) for action in actions if action.add is not None]
    return Change(
        version,
        info.get("timestamp", 0),
        info.get("operation", ""),
        len(added),
        sum(file.rows for file in added),
        sum(action.remove is not None for action in actions),
        {action.txn.app_id: action.txn.version for action in actions if action.txn is not None},
    )
