"""The shape of the lake: where a file lies, its columns, and how Parquet is written. Pure.

    tables/{table}/exchange=…/date=…/{partition}-{start}-{end}.parquet     records of an offset range
    tables/raw/exchange=…/date=…/{partition}-{start}-{end}.parquet         the raw topic, in its own order

``exchange`` and ``date`` (of ``time``, UTC) are a table's partitions: they stand in the log and in the path, where what
a path cannot hold is %XX. Everything else is a column, named as in market_data.proto, and ``time``: the event time, or
the receive time where the venue sent none, to the microsecond (Spark reads no finer one). The exact times are the
integer ``*_ns`` columns, 0 where the venue sent none. Rows are sorted by symbol, time, record_key: those of a symbol
lie together, and the statistics of the row groups tell where.

Decimals are exact. In the large tables (``NARROW_TABLES``) they are DECIMAL(18,8), an integer to Parquet, elsewhere
DECIMAL(38,19). A value that needs more is null there, and stands as text in the map ``wide_decimals``, under its
column's name (levels joined by commas). The views of ``query.py`` put both together.

Every setting of the writer is fixed: the same rows give the same bytes.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import NoneType
from typing import Any, get_args, get_type_hints
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from etl.model.records import Kind
from etl.model.reference import RECORDED, REFERENCE_TABLES, ReferenceTable
from etl.model.tables import TABLE_BY_KIND
from etl.model.times import NS_PER_DAY, NS_PER_MINUTE, NS_PER_S, NS_PER_US
from etl.wire.columns import COLUMNS, REQUIRED, TIME, Column, Form

TABLES_FOLDER = "tables"
FOLDER_VALUE_BYTES_MAX = 255 - len("exchange=")
"""Of what stands after the name of its column; file systems take 255 bytes."""

DECIMAL = pa.decimal128(38, 19)
NARROW_DECIMAL = pa.decimal128(18, 8)
NARROW_TABLES = frozenset(("trades", "agg_trades", "quotes", "book_updates"))
WIDE_DECIMALS = pa.field("wide_decimals", pa.map_(pa.string(), pa.string()))
LAYOUT = 3
"""Of the files that are written. Layouts 1 and 2 had a folder a symbol (former.py)."""
INSTANT = pa.timestamp("us", tz="UTC")

PARTITION_COLUMN = "exchange"
"""Kept out of the files: it stands in the log and the path, as ``date`` does, which no record has."""

_TYPES = {
    Form.TEXT: pa.string(),
    Form.NAME: pa.string(),
    Form.DECIMAL: DECIMAL,
    Form.INTEGER: pa.int64(),
    Form.TIME: pa.int64(),
    Form.TEXTS: pa.list_(pa.string()),
    Form.DECIMALS: pa.list_(DECIMAL),
    Form.INTEGERS: pa.list_(pa.int64()),
}


_NARROW_TYPES = {Form.DECIMAL: NARROW_DECIMAL, Form.DECIMALS: pa.list_(NARROW_DECIMAL)}


def _field(column: Column, table: str) -> pa.Field:
    if column is TIME:
        return pa.field("time", INSTANT, nullable=False)
    narrow = table in NARROW_TABLES and column.form in _NARROW_TYPES
    return pa.field(
        column.name,
        _NARROW_TYPES[column.form] if narrow else _TYPES[column.form],
        nullable=column.name not in REQUIRED and not is_whole(column),
    )


def is_whole(column: Column) -> bool:
    """True for integers that are never null: pandas would turn a column with nulls into floats and lose ns."""
    return column.form is Form.TIME or (column.form is Form.INTEGER and not column.optional)


def _row_schema(kind: Kind) -> pa.Schema:
    table = TABLE_BY_KIND[kind]
    fields = [_field(column, table) for column in COLUMNS[kind]]
    has_decimals = any(column.form in _NARROW_TYPES for column in COLUMNS[kind])
    return pa.schema([*fields, WIDE_DECIMALS] if has_decimals else fields)


ROW_SCHEMAS: dict[Kind, pa.Schema] = {kind: _row_schema(kind) for kind in COLUMNS}
"""Rows with their exchange and symbol, in the order of ``COLUMNS``, and ``wide_decimals`` where there are any."""

FILE_SCHEMAS: dict[str, pa.Schema] = {
    TABLE_BY_KIND[kind]: pa.schema([field for field in schema if field.name != PARTITION_COLUMN])
    for kind, schema in ROW_SCHEMAS.items()
}
"""What a file holds, by table."""


RAW = "raw"
RAW_ROW_GROUP_FRAMES = 50_000
RAW_SCHEMA = pa.schema(
    [
        pa.field("topic_offset", pa.int64(), nullable=False),
        pa.field("connection_id", pa.string(), nullable=False),
        pa.field("frame_sequence", pa.int64(), nullable=False),
        pa.field("endpoint", pa.string(), nullable=False),
        pa.field("receive_time_ns", pa.int64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("payload", pa.binary(), nullable=False),
        pa.field("encoding", pa.string()),
    ]
)
"""Frames as they came (``records.Frame``), with their offset on the raw topic. ``encoding`` (absent = the exact bytes)
says which part of a large frame it is (etl/transports/frames.py): one that lies in two files."""


COVERAGE = "coverage"
BARS_NS = {"ohlcv_1s": NS_PER_S, "ohlcv_1m": NS_PER_MINUTE}
"""Tables of bars made of trades, and how long a bar is; named as in TimescaleDB."""
_BAR_DECIMALS = ("open", "high", "low", "close", "volume", "turnover")
DERIVED_SCHEMAS: dict[str, pa.Schema] = {
    COVERAGE: pa.schema(
        [
            pa.field("symbol", pa.string(), nullable=False),
            pa.field("kind", pa.string(), nullable=False),
            *(
                pa.field(name, pa.int64(), nullable=False)
                for name in ("rows", "first_time_ns", "last_time_ns", "bytes")
            ),
        ]
    ),
    **dict.fromkeys(
        BARS_NS,
        pa.schema(
            [
                pa.field("symbol", pa.string(), nullable=False),
                pa.field("time", INSTANT, nullable=False),
                *(pa.field(name, DECIMAL) for name in _BAR_DECIMALS),
                pa.field("trades", pa.int64(), nullable=False),
                pa.field("extended_hours", pa.bool_(), nullable=False),
                WIDE_DECIMALS,
            ]
        ),
    ),
}
"""What is made of the other tables (derived.py); ``time`` is a bar's beginning, ``bytes`` a symbol's share by rows."""


_REFERENCE_TYPES = {
    str: pa.string(),
    int: pa.int64(),
    bool: pa.bool_(),
    date: pa.date32(),
    Decimal: DECIMAL,
}


def _reference_schema(table: ReferenceTable) -> pa.Schema:
    """The columns of a row, but the partition's, and when it was recorded."""
    hints = get_type_hints(table.row) | RECORDED
    fields = []
    for name, hint in hints.items():
        types = [kind for kind in get_args(hint) or (hint,) if kind is not NoneType]
        nullable = NoneType in get_args(hint)
        fields.append(pa.field(name, _REFERENCE_TYPES[types[0]], nullable=nullable))
    return pa.schema([field for field in fields if field.name != PARTITION_COLUMN])


REFERENCE_SCHEMAS: dict[str, pa.Schema] = {
    table.history: _reference_schema(table) for table in REFERENCE_TABLES.values()
}
"""Data about instruments and markets (etl/model/reference.py); ``date`` is the day on which rows were recorded."""


TABLES = (*FILE_SCHEMAS, RAW, *DERIVED_SCHEMAS, *REFERENCE_SCHEMAS)

DELTA_FIELDS: dict[str, list[pa.Field]] = {
    table: [pa.field("exchange", pa.string()), pa.field("date", pa.date32()), *schema]
    for table, schema in {**FILE_SCHEMAS, RAW: RAW_SCHEMA, **DERIVED_SCHEMAS, **REFERENCE_SCHEMAS}.items()
}
"""The columns of each table, with its partitions."""

STATISTICS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(FILE_SCHEMAS, ("symbol", "time", "key_time_ns")),
    RAW: ("receive_time_ns",),
    COVERAGE: ("symbol",),
    **dict.fromkeys(BARS_NS, ("symbol", "time")),
    **{table: ("symbol",) if "symbol" in schema.names else () for table, schema in REFERENCE_SCHEMAS.items()},
}
"""The columns whose least and greatest value stand in a table's log."""


def table_folder(table: str) -> str:
    return f"{TABLES_FOLDER}/{table}"


def folder(table: str, exchange: str, day: str) -> str:
    return f"{table_folder(table)}/exchange={_escaped(exchange)}/date={day}"


NAME_PATTERN = r"(\d+)-(\d+)-(\d+)(?:-c[0-9a-f]+-\d+)?\.parquet$"
"""Partition, start and end of a file's name."""


def file_name(partition: int, start: int, end: int, generation: int = 0) -> str:
    """Of an exported file. Each topic counts its offsets from 0: its ``generation`` keeps names apart."""
    return f"{f'g{generation}-' if generation else ''}{partition}-{start}-{end}.parquet"


def compacted_name(partition: int, start: int, end: int, compaction: str, part: int) -> str:
    return f"{partition}-{start}-{end}-c{compaction}-{part}.parquet"


def day_of(time_ns: int) -> str:
    """The UTC date of ``time_ns`` as ``YYYY-MM-DD``."""
    return (date(1970, 1, 1) + timedelta(days=time_ns // NS_PER_DAY)).isoformat()


def instant_of(time_ns: int) -> str:
    """``time_ns`` to the microsecond as statistics have it: ``2026-01-31T12:00:00.123456Z``."""
    moment = datetime.fromtimestamp(time_ns // NS_PER_S, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns % NS_PER_S // NS_PER_US:06d}Z"


def names_folder(text: str) -> bool:
    """Is there room for ``text`` in the name of a folder? Of 28 ideographs there is none: each is nine characters."""
    return len(_escaped(text)) <= FOLDER_VALUE_BYTES_MAX


def _escaped(text: str) -> str:
    return quote(text, safe="") or "__HIVE_DEFAULT_PARTITION__"


def parquet(kind: Kind, rows: pa.Table, row_group_rows: int) -> pa.Buffer:
    """``rows``, in the columns of ``FILE_SCHEMAS`` and sorted, as the bytes of one file."""
    schema = FILE_SCHEMAS[TABLE_BY_KIND[kind]]
    encodings = {"time": "DELTA_BINARY_PACKED"}
    for column in COLUMNS[kind]:
        if column.name in schema.names and (encoding := _encoding(column)):
            encodings[column.name] = encoding
    order = [pq.SortingColumn(schema.get_field_index(name)) for name in ("symbol", "time", "record_key")]
    return _file(
        rows, schema, encodings, row_group_rows, store_decimal_as_integer=True, sorting_columns=order
    )


def derived_parquet(table: str, rows: pa.Table, row_group_rows: int) -> pa.Buffer:
    """``rows`` of a derived table, sorted by symbol and time, as the bytes of one file."""
    schema = DERIVED_SCHEMAS[table]
    numbers = [field.name for field in schema if field.type in (pa.int64(), INSTANT)]
    return _file(rows, schema, dict.fromkeys(numbers, "DELTA_BINARY_PACKED"), row_group_rows)


def reference_parquet(table: str, rows: pa.Table, row_group_rows: int) -> pa.Buffer:
    """``rows`` of a table of reference data as the bytes of one file."""
    return _file(rows, REFERENCE_SCHEMAS[table], {}, row_group_rows)


def _file(
    rows: pa.Table, schema: pa.Schema, encodings: dict[str, str], row_group_rows: int, **options: Any
) -> pa.Buffer:
    """With ``encodings`` by column, dictionaries for the others, Zstandard and statistics."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        rows.select(schema.names).cast(schema),
        sink,
        row_group_size=row_group_rows,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        use_dictionary=[_leaf(field) for field in schema if field.name not in encodings],
        column_encoding=encodings,
        write_statistics=True,
        write_page_index=True,
        store_schema=False,
        **options,
    )
    return sink.getvalue()


def raw_parquet(frames: pa.Table) -> pa.Buffer:
    """``frames``, in the order of the raw topic, as the bytes of one file."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        frames.cast(RAW_SCHEMA),
        sink,
        row_group_size=RAW_ROW_GROUP_FRAMES,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        use_dictionary=["connection_id", "endpoint", "source"],
        column_encoding={
            "topic_offset": "DELTA_BINARY_PACKED",
            "frame_sequence": "DELTA_BINARY_PACKED",
            "receive_time_ns": "DELTA_BINARY_PACKED",
            "payload": "PLAIN",
        },
        write_statistics=["topic_offset", "receive_time_ns", "frame_sequence", "connection_id"],
        store_schema=False,
    )
    return sink.getvalue()


def _encoding(column: Column) -> str:
    """How a column's values become small; "" = by a dictionary.

    Measured on the Binance recordings, bytes a row against a dictionary: times 2.3 for 4.7, ids 0.1 for 2.3, sizes of
    quotes 2.0 for 3.1; a dictionary is best for names, codes, sizes of trades and the levels of books.
    """
    if column.form in (Form.TIME, Form.INTEGER):
        return "DELTA_BINARY_PACKED"
    if column.form is Form.DECIMAL and column.name != "volume":
        return "PLAIN"
    return "DELTA_BYTE_ARRAY" if column.name == "record_key" or column.name.endswith("trade_id") else ""


def _leaf(field: pa.Field) -> str:
    """Parquet's name of the column that holds the values."""
    if pa.types.is_map(field.type):
        return f"{field.name}.key_value.key"
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else str(field.name)
