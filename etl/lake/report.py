"""What the lake holds, from the tables' logs alone; of single symbols, from the table ``coverage``."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from etl.lake import layout
from etl.lake.catalog import File, State, file_of
from etl.lake.delta import Action
from etl.lake.derived import made_from
from etl.lake.exports import UNTIL
from etl.lake.index import Index
from etl.lake.log import DeltaLog
from etl.lake.storage import Storage
from etl.model.tables import KIND_BY_TABLE


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


class VenueTotals(Struct, frozen=True):
    """One table and exchange."""

    table: str
    exchange: str
    files: int
    rows: int
    bytes: int
    bytes_per_row: float
    first_time_ns: int
    last_time_ns: int


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


class SymbolTotals(Struct, frozen=True):
    """One symbol, kind and day, as the table ``coverage`` has it. ``is_current``: nothing came since it was made."""

    exchange: str
    date: str
    symbol: str
    kind: str
    rows: int
    bytes: int
    first_time_ns: int
    last_time_ns: int
    is_current: bool


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


def venues(state: State) -> list[VenueTotals]:
    """Each table and exchange, in the order of ``layout.TABLES``."""
    groups: dict[tuple[str, str], list[File]] = defaultdict(list)
    for file in state.files.values():
        groups[file.table, file.exchange].append(file)
    order = sorted(groups, key=lambda place: (layout.TABLES.index(place[0]), place[1]))
    return [_venue(groups[place]) for place in order]


def _venue(files: Sequence[File]) -> VenueTotals:
    rows, size = sum(file.rows for file in files), sum(file.bytes for file in files)
    return VenueTotals(
        files[0].table,
        files[0].exchange,
        len(files),
        rows,
        size,
        round(size / rows, 2) if rows else 0.0,
        min(file.time_ns_min for file in files),
        max(file.time_ns_max for file in files),
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


def symbol_coverage(
    storage: Storage,
    state: State,
    symbols: Sequence[str],
    table: str = "",
    exchange: str = "",
    start: str = "",
    end: str = "",
) -> list[SymbolTotals]:
    """The rows of the table ``coverage`` for ``symbols`` (``BTC-*`` = all that begin so), its files alone are read.

    By exchange, date, symbol and kind. Raises ``StoreUnavailable``."""
    index = Index(state.files.values())
    found = []
    for venue in [exchange] if exchange else index.exchanges(layout.COVERAGE):
        for date, files in index.days(layout.COVERAGE, venue, start, end):
            current = {
                kind.name.lower()
                for name, kind in KIND_BY_TABLE.items()
                if (now := index.day(name, venue, date))
                and all(file.made_from.get(name) == made_from(now) for file in files)
            }
            for file in files:
                with storage.open(file.path) as opened:
                    rows = pq.read_table(opened, filters=_named(symbols)).to_pylist()
                found += [
                    SymbolTotals(exchange=venue, date=date, is_current=row["kind"] in current, **row)
                    for row in rows
                ]
    kind = KIND_BY_TABLE[table].name.lower() if table else ""
    return [row for row in found if not kind or row.kind == kind]


def _named(symbols: Sequence[str]) -> Any:
    symbol = pc.field("symbol")
    exact = [name for name in symbols if not name.endswith("*")]
    parts = [pc.starts_with(symbol, name[:-1]) for name in symbols if name.endswith("*")]
    return reduce(operator.or_, parts, symbol.isin(pa.array(exact, pa.string())))


def history(storage: Storage, table: str) -> Iterator[Change]:
    """The commits that are kept, oldest first. Raises ``StoreError``."""
    for version, actions in DeltaLog(storage, layout.table_folder(table)).history():
        yield _change(table, version, actions)


def _change(table: str, version: int, actions: Sequence[Action]) -> Change:
    infos = [action.commit_info for action in actions if action.commit_info is not None]
    info = infos[0] if infos else {}
    txns = [action.txn for action in actions if action.txn is not None]
    added = [file_of(table, action.add) for action in actions if action.add is not None]
    return Change(
        version,
        info.get("timestamp", 0),
        info.get("operation", ""),
        len(added),
        sum(file.rows for file in added),
        sum(action.remove is not None for action in actions),
        {txn.app_id: txn.version for txn in txns if not txn.app_id.startswith(UNTIL)},
    )
