"""Tables made of the lake's other tables, a file for each exchange and day: ``coverage`` and the bars of ``ohlcv.py``.

A file says in its tags what it was made from, so that only what late data touched is made anew. What a bar is made of
may lie in other days: a correction voids prints of days before its own.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from hashlib import blake2b
from itertools import accumulate, pairwise

import pyarrow as pa
from duckdb import DuckDBPyConnection
from msgspec import Struct, structs

from etl.lake import layout
from etl.lake.catalog import Catalog, File, State
from etl.lake.files import ExchangeDay, put_derived
from etl.lake.ohlcv import bars
from etl.lake.query import connect_to
from etl.lake.storage import Storage, open_storage
from etl.model.tables import KIND_BY_TABLE
from etl.model.times import NS_PER_DAY
from etl.settings import Settings

APP_ID = "derived"
"""Under which each commit counts on, so that of two that make the same days the second fails."""
EXPIRED = "expired"
"""In the place of a digest of trades that are no more: bars made of them stay, whatever comes late."""
DAYS_PER_COMMIT = 20
CORRECTED_DAYS = 2
"""A correction's key time is the print's day in New York: its print lies within so many days of it."""
_COVERAGE = """
SELECT symbol, count(*) AS rows, min({time}) AS first_time_ns, max({time}) AS last_time_ns
FROM {table} WHERE date = DATE '{day}' GROUP BY symbol ORDER BY symbol
"""
_TIME = "CASE event_time_ns WHEN 0 THEN receive_time_ns ELSE event_time_ns END"

_ByTable = dict[str, list[File]]


class Derived(Struct, frozen=True):
    """Days of an exchange of which something was made anew, and files and rows written."""

    days: int
    files: int
    rows: int


class _Day(Struct, frozen=True):
    """What is made of a day. ``files`` are all that it has and the corrections of its prints; ``bars_from`` is empty
    where the bars stay; ``changed`` are the tables whose coverage does not."""

    place: ExchangeDay
    files: _ByTable
    bars_from: dict[str, str]
    coverage_from: dict[str, str]
    changed: frozenset[str]


def derive(settings: Settings) -> Derived:
    """Bring coverage and bars up to what the tables hold, a commit of each table every ``DAYS_PER_COMMIT`` days.

    Raises ``StoreUnavailable``, and ``StoreError`` if another was doing the same: run it again."""
    storage = open_storage(settings)
    catalog = Catalog(storage)
    state = catalog.read()
    days = list(_stale(state))
    written: list[File] = []
    for first in range(0, len(days), DAYS_PER_COMMIT):
        part = days[first : first + DAYS_PER_COMMIT]
        made = [file for day in part for file in _files(settings, storage, state, day)]
        for table in sorted({file.table for file in made}):
            added = [file for file in made if file.table == table]
            places = {(file.exchange, file.date) for file in added}
            removed = [old.path for day in part if day.place in places for old in day.files.get(table, ())]
            txns = {APP_ID: state.done(table, APP_ID) + 1}
            catalog.commit(state, added=added, removed=removed, txns=txns, operation="DERIVE")
        written += made
    return Derived(len(days), len(written), sum(file.rows for file in written))


def keep_bars(catalog: Catalog, state: State, before: str) -> None:
    """To be called before the trades of the days before ``before`` leave their table.

    Raises ``log.Conflict`` if another makes bars meanwhile."""
    for table in layout.BARS_NS:
        of_trades = {(file.exchange, file.date) for file in state.of("trades") if file.date < before}
        kept = [
            structs.replace(file, made_from={**file.made_from, "trades": EXPIRED})
            for file in state.of(table)
            if (file.exchange, file.date) in of_trades and not are_kept([file])
        ]
        if kept:
            txns = {APP_ID: state.done(table, APP_ID) + 1}
            catalog.commit(state, added=kept, txns=txns, operation="DERIVE")


def are_kept(bars_of_day: Iterable[File]) -> bool:
    """Whether the trades that they were made of have expired."""
    return any(file.made_from.get("trades") == EXPIRED for file in bars_of_day)


def made_from(files: Sequence[File]) -> str:
    """A digest of what ``files`` are: another when one came or was compacted away."""
    return blake2b("\n".join(sorted(file.path for file in files)).encode(), digest_size=8).hexdigest()


def _stale(state: State) -> Iterator[_Day]:
    days: dict[ExchangeDay, _ByTable] = defaultdict(lambda: defaultdict(list))
    corrections: dict[str, list[File]] = defaultdict(list)
    for file in state.files.values():
        if file.table != layout.RAW:
            days[file.exchange, file.date][file.table].append(file)
        if file.table == "corrections":
            corrections[file.exchange].append(file)
    for place, files in sorted(days.items()):
        coverage_from = {table: made_from(files[table]) for table in KIND_BY_TABLE if table in files}
        known = {
            name: text for file in files.get(layout.COVERAGE, ()) for name, text in file.made_from.items()
        }
        changed = {name for name in {*coverage_from, *known} if coverage_from.get(name) != known.get(name)}
        bars_from: dict[str, str] = {}
        if "trades" in files and not any(are_kept(files.get(table, ())) for table in layout.BARS_NS):
            files["corrections"] = [file for file in corrections[place[0]] if _may_touch(file, place[1])]
            bars_from = {table: made_from(files[table]) for table in ("trades", "corrections")}
            if all(
                [file.made_from for file in files.get(table, ())] == [bars_from] for table in layout.BARS_NS
            ):
                bars_from = {}
        if changed or bars_from:
            yield _Day(place, files, bars_from, coverage_from, frozenset(changed))


def _may_touch(correction: File, day: str) -> bool:
    """Whether one in the file ``correction`` may void a print of ``day``, or stand in it itself."""
    start_ns = (date.fromisoformat(day) - date(1970, 1, 1)).days * NS_PER_DAY
    first_ns = start_ns - CORRECTED_DAYS * NS_PER_DAY
    last_ns = start_ns + (CORRECTED_DAYS + 1) * NS_PER_DAY
    return correction.date == day or (
        correction.key_time_ns_min < last_ns and first_ns <= correction.key_time_ns_max
    )


def _files(settings: Settings, storage: Storage, state: State, day: _Day) -> Iterator[File]:
    shown = {file.path: file for files in day.files.values() for file in files}
    with connect_to(storage, State(state.tables, state.exports, shown)) as lake:
        lake.execute(f"SET memory_limit = '{settings.lake.compaction_memory_mib} MiB'")
        made = bars(lake, day.place[1]) if day.bars_from else {}
        if day.changed:
            made[layout.COVERAGE] = _coverage(lake, day)
    for table, rows in made.items():
        file = put_derived(settings, storage, table, day.place, rows, f"{uuid.uuid4().hex}.parquet")
        yield structs.replace(
            file, made_from=day.coverage_from if table == layout.COVERAGE else day.bars_from
        )


def _coverage(lake: DuckDBPyConnection, day: _Day) -> pa.Table:
    """What it was of the tables that have not changed, and of those that have what they hold now."""
    schema, date_ = layout.DERIVED_SCHEMAS[layout.COVERAGE], day.place[1]
    kinds = {KIND_BY_TABLE[table].name.lower() for table in day.changed}
    names = ", ".join(schema.names)
    kept = lake.sql(
        f"SELECT {names} FROM coverage WHERE kind NOT IN {tuple(sorted(kinds))}"  # noqa: S608
    ).to_arrow_table()
    tables = [kept.cast(schema)]
    for table in sorted(day.changed & day.coverage_from.keys()):
        found = lake.sql(_COVERAGE.format(time=_TIME, table=table, day=date_)).to_arrow_table()
        size = sum(file.bytes for file in day.files[table] if file.date == date_)
        kind = pa.repeat(KIND_BY_TABLE[table].name.lower(), len(found))
        shares = _shares(size, found["rows"].to_pylist())
        columns = {name: found[name] for name in found.column_names}
        tables.append(pa.table({**columns, "kind": kind, "bytes": shares}).select(schema.names).cast(schema))
    return pa.concat_tables(tables).sort_by([("symbol", "ascending"), ("kind", "ascending")])


def _shares(size: int, rows: Sequence[int]) -> list[int]:
    """``size`` shared out in proportion to ``rows``; the shares add up to it."""
    ends = [size * end // sum(rows) for end in accumulate(rows)]
    return [end - start for start, end in pairwise((0, *ends))]
