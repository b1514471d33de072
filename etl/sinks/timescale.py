"""The load into TimescaleDB: exactly once, in transactions that move the offset with the rows.

    topic ─ range [next, end) ─▶ columns ─▶ BEGIN
                                            UPDATE load_offsets SET next = end WHERE next = start   no row: stop
                                            INSERT … SELECT FROM unnest(arrays) ON CONFLICT …       per table
                                            COMMIT

The offset moves first: its row lock makes a zombie wait, and then find that the offset has moved on.
A column travels as the text of one PostgreSQL array, made by Arrow: 0.03 µs a value.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct
from psycopg.sql import SQL, Composed, Identifier

from etl import crash
from etl.errors import StoreError
from etl.model.records import Kind
from etl.model.tables import TABLE_BY_KIND
from etl.model.times import NS_PER_US
from etl.settings import Settings
from etl.sinks import candles
from etl.stores.timescale import connect, store_errors
from etl.wire.columns import (
    COLUMNS,
    REQUIRED,
    Column,
    Form,
    Refused,
    Rows,
    joined,
    newest,
    refused_rows,
    require_decimals,
)
from etl.wire.precedence import Term, precedence

_TYPES = {
    Form.TEXT: "text",
    Form.DECIMAL: "numeric",
    Form.INTEGER: "bigint",
    Form.TIME: "bigint",
    Form.TEXTS: "text",
    Form.DECIMALS: "text",
    Form.INTEGERS: "text",
}
_LIST_TYPES = {Form.TEXTS: "text[]", Form.DECIMALS: "numeric[]", Form.INTEGERS: "bigint[]"}
"""unnest flattens arrays of arrays: a list travels as the text of an array, inside the array of its column."""
_NAME_TYPES = {"correction": "correction_kind", "status": "trading_status"}
"""Enum types are named as their column, save these."""
_INSTANTS = {"time_ns": "time", "key_time_ns": "key_time"}
"""Kept as timestamptz, which holds whole microseconds; the exact ns stand in the other columns."""


class Span(Struct, frozen=True):
    """Offsets [start, end) of one partition. ``leader_epoch``: under which leader the last one came, -1 = not known."""

    topic_id: str
    partition: int
    start: int
    end: int
    leader_epoch: int = -1


class TimescaleStore:
    """One connection to TimescaleDB. Every method raises ``StoreUnavailable`` when the server is down and
    ``StoreRejected`` when it refuses the data itself; then nothing of the call is stored."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._statements = {kind: insert_statement(kind) for kind in TABLE_BY_KIND}
        self._connection = connect(settings)
        with store_errors(settings):
            # late rows open compressed segments again; load_batch_rows_max already bounds a transaction
            self._connection.execute("SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0")

    def __enter__(self) -> TimescaleStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def next_offset(self, topic_id: str, topic: str, partition: int, first: int) -> int:
        """Where the load of this partition goes on: ``first`` if it never began."""
        with store_errors(self._settings):
            self._connection.execute(
                "INSERT INTO load_offsets (topic_id, topic, partition, next) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (topic_id, topic, partition, first),
            )
            row = self._connection.execute(
                "SELECT next FROM load_offsets WHERE topic_id = %s AND partition = %s", (topic_id, partition)
            ).fetchone()
        assert row is not None
        return int(row[0])

    def leader_epoch(self, topic_id: str, partition: int) -> int:
        """Under which leader the last message came before ``next_offset``, -1 = not known."""
        with store_errors(self._settings):
            row = self._connection.execute(
                "SELECT leader_epoch FROM load_offsets WHERE topic_id = %s AND partition = %s",
                (topic_id, partition),
            ).fetchone()
        return -1 if row is None else int(row[0])

    def write(self, batch: Sequence[Rows], span: Span) -> None:
        """Store ``batch``, all that ``span`` holds, and move the offset to its end, in one transaction.

        Raises ``StoreError`` if the offset is not at its start: another load won.
        """
        arrays_of = [(rows, parameters(rows)) for rows in map(newest, batch)]
        with store_errors(self._settings), self._connection.transaction():
            moved = self._connection.execute(
                "UPDATE load_offsets SET next = %s, leader_epoch = %s, updated_time = now()"
                " WHERE topic_id = %s AND partition = %s AND next = %s",
                (span.end, span.leader_epoch, span.topic_id, span.partition, span.start),
            )
            if moved.rowcount != 1:
                raise StoreError(
                    f"partition {span.partition}: the offset is no longer {span.start}; another load runs"
                )
            for rows, arrays in arrays_of:
                self._connection.execute(self._statements[rows.kind], arrays)
                if rows.kind is Kind.TRADE:
                    candles.note_trades(self._connection, rows)
            for rows, _ in arrays_of:
                if rows.kind is Kind.CORRECTION:
                    candles.note_corrections(self._connection, rows)
            crash.reach(crash.BEFORE_TIMESCALE_COMMIT)

    def add(self, statement: Composed, parameters: Sequence[object]) -> None:
        """Rows that came by no topic: what is there already stays, or gives way to what takes precedence."""
        with store_errors(self._settings), self._connection.transaction():
            self._connection.execute(statement, parameters)

    def refused(self, rows: Rows) -> list[Refused]:
        """The rows that the server does not take; nothing is stored. A row that another one takes precedence over is
        asked about only where it would be stored."""

        def attempt(part: Rows) -> None:
            arrays = parameters(newest(part))
            with store_errors(self._settings), self._connection.transaction(force_rollback=True):
                self._connection.execute(self._statements[part.kind], arrays)

        return refused_rows(rows, attempt)

    def refresh_candles(self) -> int:
        """Make the candles of the hours with new prints anew; returns the number of their days."""
        with store_errors(self._settings):
            return candles.refresh(self._connection)


def insert_statement(kind: Kind, varying: Collection[str] | None = None) -> Composed:
    """Rows of ``kind`` out of an array for each column, in the order of ``COLUMNS``. ``varying``: the columns that are
    arrays; behind them come the others, each a value that all rows have."""
    columns = COLUMNS[kind]
    names = [Identifier(_INSTANTS.get(column.name, column.name)) for column in columns]
    arrays = [column for column in columns if varying is None or column.name in varying]
    return SQL(
        "INSERT INTO {table} AS stored ({names}) SELECT {values} FROM unnest({arrays}) AS new ({columns}){common}"
        " ON CONFLICT (exchange, symbol, key_time, record_key) DO UPDATE SET ({names}) = ROW ({excluded})"
        " WHERE {newer}"
    ).format(
        table=Identifier(TABLE_BY_KIND[kind]),
        names=SQL(", ").join(names),
        values=SQL(", ").join(_value(column) for column in columns),
        arrays=SQL(", ").join(SQL("%s::" + _array_type(column) + "[]") for column in arrays),
        columns=SQL(", ").join(Identifier(column.name) for column in arrays),
        common=_common([column for column in columns if column not in arrays]),
        excluded=SQL(", ").join(SQL("excluded.{}").format(name) for name in names),
        newer=SQL(f"({_ranks(kind, 'excluded')}) > ({_ranks(kind, 'stored')})"),
    )


def _common(columns: Sequence[Column]) -> Composed:
    """One row of ``columns`` beside each of the others."""
    if not columns:
        return SQL("").format()
    values = SQL(", ").join(
        SQL("%s::" + _array_type(column) + " AS {}").format(Identifier(column.name)) for column in columns
    )
    return SQL(" CROSS JOIN (SELECT {}) AS common").format(values)


def _ranks(kind: Kind, row: str) -> str:
    """What decides whether ``row`` replaces another of its identity; a NULL would decide nothing."""

    def rank(term: Term) -> str:
        if term.states:
            states = ", ".join(f"'{state}'" for state in term.states)
            return f"coalesce(array_position(ARRAY[{states}], {row}.{term.name}::text), 0)"
        if term.otherwise:
            return f"coalesce({row}.{term.name}, {row}.{term.otherwise})"
        return f"({row}.{term.name} IS NOT NULL)" if term.present else f"{row}.{term.name}"

    return ", ".join(map(rank, precedence(kind)))


def _array_type(column: Column) -> str:
    return _NAME_TYPES.get(column.name, column.name) if column.form is Form.NAME else _TYPES[column.form]


def _value(column: Column) -> Composed:
    name = Identifier(column.name)
    if column.name in _INSTANTS:
        # exact: the product is a double, and µs stay below 2^53 until the year 2255
        return SQL("'epoch'::timestamptz + {} * interval '1 microsecond'").format(name)
    if column.form in _LIST_TYPES:
        return SQL("{}::" + _LIST_TYPES[column.form]).format(name)
    return SQL("{}").format(name)


def parameters(rows: Rows) -> list[str]:
    """What the statement of the kind takes: a column each, as the text of a PostgreSQL array."""
    return [array_text(column, rows.columns[column.name]) for column in COLUMNS[rows.kind]]


def array_text(column: Column, values: pa.ChunkedArray) -> str:
    """The text of a PostgreSQL array of ``values``; what the venue did not send becomes NULL."""
    form = column.form
    if form is Form.TIME and column.name not in REQUIRED:
        values = pc.if_else(pc.equal(values, 0), None, values)
    if values.null_count == len(values):
        return "{" + ",".join(["NULL"] * len(values)) + "}"
    if column.name in _INSTANTS:
        values = pa.chunked_array([pa.array(np.asarray(values) // NS_PER_US)])
    if form in (Form.INTEGER, Form.TIME):
        return _numbers(values)
    if form is Form.DECIMAL:
        require_decimals(column.name, values)
        return _bare(values)
    if form is Form.TEXTS:
        return _texts(pa.chunked_array([pa.array(map(_list, values.to_pylist()), pa.string())]))
    if form in _LIST_TYPES:
        if form is Form.DECIMALS:
            require_decimals(column.name, pc.list_flatten(values))
        lists = pc.binary_join(values.cast(pa.list_(pa.string())), ",")
        return _texts(pc.binary_join_element_wise("{", lists, "}", ""))
    return _texts(values)


def _numbers(values: pa.ChunkedArray) -> str:
    least, greatest = pc.min_max(values).as_py().values()
    if least == greatest and not values.null_count:  # half of them are: no text need be made of each
        return "{" + ",".join([str(least)] * len(values)) + "}"
    return _bare(values.cast(pa.string()))


def _bare(texts: pa.ChunkedArray) -> str:
    return "{" + joined(pc.fill_null(texts, "NULL"), ",") + "}"


def _texts(texts: pa.ChunkedArray) -> str:
    if texts.null_count:
        return _quoted_or_null(texts)
    within = joined(texts, '","')
    if within.count('"') > 2 * (len(texts) - 1) or "\\" in within:
        return _quoted_or_null(texts)
    return '{"' + within + '"}'


def _quoted_or_null(texts: pa.ChunkedArray) -> str:
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"')):
        texts = pc.replace_substring(texts, plain, escaped)
    return _bare(pc.binary_join_element_wise('"', texts, '"', ""))


def _list(texts: list[str] | None) -> str | None:
    """The text of one array."""
    return _texts(pa.chunked_array([texts])) if texts else None
