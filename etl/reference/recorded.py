"""Reference data into the stores and out of them: rows are added where they say something new, never changed.

``record`` holds what is told now against what each store has, and adds the differences: a store that was down, or is
new, gets what it lacks with the next run. Again is harmless.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import msgspec
import pyarrow as pa
from msgspec import Struct

from etl.errors import StoreError
from etl.lake import layout
from etl.lake.catalog import Catalog
from etl.lake.files import put_reference
from etl.lake.query import connect_to
from etl.lake.storage import open_storage
from etl.model.reference import ReferenceTable
from etl.model.times import NS_PER_S
from etl.settings import Settings
from etl.stores import timescale
from etl.stores.clickhouse_http import connect, insert_path

BATCH_ROWS = 5_000
READ_SETTINGS = {
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_quote_decimals": "1",
}
APP_ID = "reference"
"""Under which each commit of the lake counts on, so that of two that add the same rows the second fails."""

Row = TypeVar("Row", bound=Struct)
Key = tuple[Any, ...]
Recorded = Mapping[str, Any]
"""A row with ``recorded_ns`` and ``withdrawn``."""


class _Store(Protocol):
    def read(self, relation: str, kind: type[Struct], exchanges: Collection[str]) -> Sequence[Struct]:
        """The rows of a view or table, as ``kind`` has its columns."""

    def add(self, table: ReferenceTable, rows: Sequence[Recorded]) -> None:
        """All of them, or an error."""


def record(
    settings: Settings,
    table: ReferenceTable,
    rows: Iterable[Struct],
    exchanges: Collection[str],
    now_ns: int,
    is_told: Callable[[Any], bool] = lambda row: True,
) -> dict[str, int]:
    """``rows`` are all that hold of ``exchanges`` now, as far as ``is_told``: what a store has beyond them, and that is
    true of, is withdrawn. Returns how many rows each store got. Raises ``StoreError``."""
    told = {_key(table, row): row for row in rows}
    return {
        name: _record(store, table, told, exchanges, now_ns, is_told)
        for name, store in _stores(settings).items()
    }


def read(settings: Settings, table: ReferenceTable, exchanges: Collection[str], kind: type[Row]) -> list[Row]:
    """What holds now, out of the first store that is kept. Raises ``StoreError``."""
    found = _first(settings, table).read(table.name, table.row, exchanges)
    return [row for row in found if isinstance(row, kind)]


def history(
    settings: Settings, table: ReferenceTable, exchanges: Collection[str], kind: type[Row]
) -> list[tuple[int, Row]]:
    """What was ever told, and when, the oldest first; without what was withdrawn. Raises ``StoreError``."""
    fields = [("recorded_ns", int, 0), ("withdrawn", bool, False)]
    with_time = msgspec.defstruct(table.row.__name__, fields, bases=(table.row,), frozen=True)
    found = [
        msgspec.structs.asdict(row)
        for row in _first(settings, table).read(table.history, with_time, exchanges)
    ]
    rows = [(row.pop("recorded_ns"), kind(**row)) for row in found if not row.pop("withdrawn")]
    return sorted(rows, key=lambda item: item[0])


def _first(settings: Settings, table: ReferenceTable) -> _Store:
    for store in _stores(settings).values():
        return store
    raise StoreError(f"{table.name}: the settings keep no store that has it")


def _stores(settings: Settings) -> dict[str, _Store]:
    kinds: dict[str, Callable[[Settings], _Store]] = {
        "clickhouse": _ClickHouse,
        "timescale": _Timescale,
        "lake": _Lake,
    }
    return {name: kind(settings) for name, kind in kinds.items() if settings.keeps(name)}


def _record(
    store: _Store,
    table: ReferenceTable,
    told: Mapping[Key, Struct],
    exchanges: Collection[str],
    now_ns: int,
    is_told: Callable[[Any], bool],
) -> int:
    known = {_key(table, row): row for row in store.read(table.name, table.row, exchanges)}
    new = [_recorded(row, now_ns, False) for key, row in told.items() if known.get(key) != row]
    gone = [_recorded(row, now_ns, True) for key, row in known.items() if key not in told and is_told(row)]
    if new or gone:
        store.add(table, [*new, *gone])
    return len(new) + len(gone)


def _key(table: ReferenceTable, row: Struct) -> Key:
    return tuple(getattr(row, name) for name in table.key)


def _recorded(row: Struct, now_ns: int, withdrawn: bool) -> Recorded:
    return {**msgspec.structs.asdict(row), "recorded_ns": now_ns, "withdrawn": withdrawn}


class _ClickHouse:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def read(self, relation: str, kind: type[Struct], exchanges: Collection[str]) -> Sequence[Struct]:
        names = ", ".join(kind.__struct_fields__)
        sql = f"SELECT {names} FROM {relation} WHERE has({{exchanges:Array(String)}}, exchange) FORMAT JSONEachRow"  # noqa: S608
        asked = "[" + ",".join(f"'{name}'" for name in exchanges) + "]"
        with connect(self._settings) as client:
            answer = client.execute(sql, READ_SETTINGS, {"exchanges": asked})
        return msgspec.json.Decoder(kind).decode_lines(answer)

    def add(self, table: ReferenceTable, rows: Sequence[Recorded]) -> None:
        columns = ", ".join(rows[0])
        statement = f"INSERT INTO {table.history} ({columns}) FORMAT JSONEachRow"
        with connect(self._settings) as client:
            client.insert(insert_path(statement, {}), msgspec.json.Encoder().encode_lines(rows))


class _Timescale:
    """In one transaction."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def read(self, relation: str, kind: type[Struct], exchanges: Collection[str]) -> Sequence[Struct]:
        names = ", ".join(kind.__struct_fields__)
        sql = (
            f"SELECT row_to_json(t)::text FROM (SELECT {names} FROM {relation} WHERE exchange = ANY(%s)) AS t"  # noqa: S608
        )
        with timescale.session(self._settings) as connection:
            found = connection.execute(sql.encode(), (list(exchanges),)).fetchall()
        decode = msgspec.json.Decoder(kind).decode
        return [decode(text) for (text,) in found]

    def add(self, table: ReferenceTable, rows: Sequence[Recorded]) -> None:
        columns = ", ".join(rows[0])
        sql = (
            f"INSERT INTO {table.history} ({columns})"  # noqa: S608
            f" SELECT {columns} FROM json_populate_recordset(NULL::{table.history}, %s::json) ON CONFLICT DO NOTHING"
        )
        with timescale.session(self._settings) as connection, connection.transaction():
            for first in range(0, len(rows), BATCH_ROWS):
                text = msgspec.json.encode(rows[first : first + BATCH_ROWS]).decode()
                connection.execute(sql.encode(), (text,))


class _Lake:
    """A file of each exchange, in one commit."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._storage = open_storage(settings)

    def read(self, relation: str, kind: type[Struct], exchanges: Collection[str]) -> Sequence[Struct]:
        names = ", ".join(kind.__struct_fields__)
        with connect_to(self._storage, Catalog(self._storage).read()) as lake:
            sql = f"SELECT {names} FROM {relation} WHERE exchange IN $exchanges"  # noqa: S608
            found = lake.sql(sql, params={"exchanges": list(exchanges)}).to_arrow_table()
        return [msgspec.convert(row, kind) for row in found.to_pylist()]

    def add(self, table: ReferenceTable, rows: Sequence[Recorded]) -> None:
        catalog = Catalog(self._storage)
        state = catalog.read()
        txns = {APP_ID: state.done(table.history, APP_ID) + 1}
        added = [
            put_reference(
                self._settings, self._storage, table.history, place, found, f"{uuid.uuid4().hex}.parquet"
            )
            for place, found in _by_place(table, rows)
        ]
        catalog.commit(state, added=added, txns=txns, operation="RECORD")


def _by_place(table: ReferenceTable, rows: Sequence[Recorded]) -> Iterator[tuple[tuple[str, str], pa.Table]]:
    by_exchange: dict[str, list[Recorded]] = defaultdict(list)
    for row in rows:
        by_exchange[row["exchange"]].append(row)
    for exchange, some in sorted(by_exchange.items()):
        day = datetime.fromtimestamp(some[0]["recorded_ns"] // NS_PER_S, UTC).date().isoformat()
        yield (exchange, day), pa.Table.from_pylist(some, layout.REFERENCE_SCHEMAS[table.history])
