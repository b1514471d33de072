"""Bars as whole columns into the stores, beside the topics: what an archive holds, and no stream can hold up.

Each store gets what it would have of the same bars from the topic, by its own rules of identity and precedence: again
is harmless, and so is a bar that a stream brought as well.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from msgspec import Struct

from etl.lake import layout
from etl.lake.catalog import Catalog, File, State
from etl.lake.exports import Range
from etl.lake.files import write_file
from etl.lake.log import Conflict
from etl.lake.rows import in_order, to_arrow
from etl.lake.storage import open_storage
from etl.model.records import Bar, BarState, Kind
from etl.model.times import NS_PER_DAY
from etl.settings import Settings
from etl.sinks.clickhouse_ways import INSERT_SETTINGS, MARKET_DATA
from etl.sinks.timescale import TimescaleStore, array_text, insert_statement
from etl.stores.clickhouse_http import connect, insert_path
from etl.wire.columns import COLUMNS, SCHEMAS, Column, Form, Rows

COMMITS_MAX = 8
"""Tries of a commit of the lake that other writers were quicker at."""
NO_RANGE = Range(0, 0, 0)
"""Of offsets: these rows have none."""
VARYING = (
    "symbol", "event_time_ns", "receive_time_ns", "frame_sequence", "frame_index", "record_key", "open", "high", "low",
    "close", "volume", "trade_count", "bar_state",
)  # fmt: skip
_SAME = {"venue_symbol": "symbol", "time_ns": "event_time_ns", "key_time_ns": "event_time_ns"}
_ARRAYS = frozenset((*VARYING, *_SAME))
_STATES = ("", *(state.name.lower() for state in BarState if state))


class Bars(Struct, frozen=True):
    """Bars as columns, those of ``VARYING``: decimals as exact text, ``bar_state`` as its number. All else is that of
    ``common``, which is one of them, but for the venue's symbol, which is the symbol."""

    common: Bar
    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> Any:
        """``time_ns`` and ``key_time_ns`` are when a bar begins."""
        return self.table[_SAME.get(name, name)]

    def rows(self) -> Rows:
        """As a decoder makes them of messages, with their places for offsets."""
        schema = SCHEMAS[Kind.BAR]
        arrays = [self._values(column, schema.field(column.name).type) for column in COLUMNS[Kind.BAR]]
        return Rows(Kind.BAR, list(range(len(self))), pa.Table.from_arrays(arrays, schema=schema))

    def _values(self, column: Column, kind: pa.DataType) -> Any:
        if column.name == "bar_state":
            return pa.array(_STATES).take(self.column(column.name))  # made at import, it would import pandas
        if column.name in _ARRAYS:
            return self.column(column.name).cast(kind)
        value = getattr(self.common, column.name)
        is_number = column.form in (Form.INTEGER, Form.TIME)
        return pa.repeat(pa.scalar(value if is_number else _said(value), kind), len(self))


def together(parts: Sequence[Bars]) -> Bars:
    """Parts of one file."""
    return Bars(parts[0].common, pa.concat_tables([part.table for part in parts]).combine_chunks())


class Writer(Protocol):
    def write(self, bars: Bars) -> None:
        """All of them, or an error: ``StoreError``. Again is harmless."""

    def close(self) -> None: ...


def writers(settings: Settings, stores: Iterable[str]) -> dict[str, Writer]:
    kinds: Mapping[str, Callable[[Settings], Writer]] = {
        "clickhouse": ClickHouseBars,
        "timescale": TimescaleBars,
        "lake": LakeBars,
    }
    return {name: kinds[name](settings) for name in stores}


class ClickHouseBars:
    """Through the landing table, as the sink's batches go: checked there, and cut into its columns."""

    def __init__(self, settings: Settings) -> None:
        self._client = connect(settings, internal=True)

    def write(self, bars: Bars) -> None:
        common, count = bars.common, len(bars)
        numbers = {
            "kind": Kind.BAR, "source": common.source, "size_unit": common.size_unit,
            "parser_version": common.parser_version,
        }  # fmt: skip
        texts = {
            "exchange": common.exchange, "channel": common.channel, "connection_id": common.connection_id,
            "interval": common.interval,
        }  # fmt: skip
        columns = {name: bars.column(name) for name in (*VARYING, "venue_symbol", "key_time_ns")}
        columns |= {name: np.full(count, int(value), dtype=np.int32) for name, value in numbers.items()}
        columns |= {name: pa.repeat(pa.scalar(value), count) for name, value in texts.items()}
        path = insert_path(
            f"INSERT INTO {MARKET_DATA.table} ({', '.join(columns)}) FORMAT ArrowStream",
            {**INSERT_SETTINGS, "max_insert_block_size": str(2 * count)},
        )
        self._client.insert(path, _stream(pa.table(columns).combine_chunks()))

    def close(self) -> None:
        self._client.close()


class TimescaleBars:
    """A transaction for as many rows as the load has in one."""

    def __init__(self, settings: Settings) -> None:
        self._rows_max = settings.load.batch_rows_max
        self._store = TimescaleStore(settings)
        self._arrays = [column for column in COLUMNS[Kind.BAR] if column.name in _ARRAYS]
        self._common = [column for column in COLUMNS[Kind.BAR] if column.name not in _ARRAYS]
        self._statement = insert_statement(Kind.BAR, _ARRAYS)

    def write(self, bars: Bars) -> None:
        common = [_said(getattr(bars.common, column.name)) for column in self._common]
        for first in range(0, len(bars), self._rows_max):
            part = Bars(bars.common, bars.table.slice(first, self._rows_max)).rows().columns
            arrays = (array_text(column, part[column.name]) for column in self._arrays)
            self._store.add(self._statement, [*arrays, *common])

    def close(self) -> None:
        self._store.close()


class LakeBars:
    """A file for each day, in a commit of their own. A run that was cut off leaves rows that the next brings again: the
    views show one of each, a compaction keeps one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._storage = open_storage(settings)
        self._catalog = Catalog(self._storage)
        self._state: State | None = None

    def write(self, bars: Bars) -> None:
        files = [
            write_file(
                self._settings, self._storage, Kind.BAR, (bars.common.exchange, day), rows, NO_RANGE,
                f"bulk{uuid.uuid4().hex}.parquet",
            )
            for day, rows in _by_day(in_order(to_arrow(bars.rows()), "symbol"))
        ]  # fmt: skip
        self._commit(files)

    def _commit(self, files: list[File]) -> None:
        for attempt in range(1, COMMITS_MAX + 1):
            state = self._catalog.read() if self._state is None else self._catalog.later(self._state)
            self._state = state
            try:
                self._catalog.commit(state, added=files, operation="BULK")
            except Conflict:
                self._state = None
                if attempt == COMMITS_MAX:
                    raise
            else:
                return

    def close(self) -> None:
        self._state = None


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _said(value: Any) -> Any:
    """As a column of TimescaleDB has it: what the venue did not send is NULL, a name is in small letters."""
    if value is None or value in ("", (), 0):
        return None
    return value.name.lower() if hasattr(value, "name") else value


def _by_day(rows: pa.Table) -> list[tuple[str, pa.Table]]:
    """Each in the order that it had."""
    days = np.asarray(rows["event_time_ns"]) // NS_PER_DAY
    return [
        (layout.day_of(int(day) * NS_PER_DAY), rows.filter(pa.array(days == day))) for day in np.unique(days)
    ]
