"""The ways of a batch's messages into ClickHouse, and the inserts that carry them. Pure.

Trades, quotes and books go as ready blocks to their stored tables (``etl/express/blocks.py``); all else, and what is
not proved to fit, goes as it is to a landing table, whose views put it where it belongs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor
from msgspec import Struct

from etl.model.records import Kind
from etl.stores.clickhouse_http import insert_path
from etl.wire import codec
from etl.wire.varint import varint

if TYPE_CHECKING:
    from etl.express.blocks import Block, BlockMaker

STORED_TABLES = {Kind.TRADE: "trades_stored", Kind.QUOTE: "quotes_stored", Kind.BOOK: "books_stored"}
"""Of the kinds that have their own; all others are in ``others_stored`` and ``observations_stored``."""

INSERT_SETTINGS = {
    "async_insert": "0",
    "deduplicate_blocks_in_dependent_materialized_views": "1",
    "format_schema_source": "string",
    "input_format_defaults_for_omitted_fields": "0",
    "input_format_max_block_size_bytes": "0",
    "input_format_parallel_parsing": "0",
    "max_insert_block_size_bytes": "0",
    "max_partitions_per_insert_block": "0",
    "min_insert_block_size_bytes": "0",
    "min_insert_block_size_rows": "0",
    "optimize_on_insert": "0",
}
"""One insert is one block, answered when it is stored. All columns that it names are in it: to prepare for the default
of one that is not would take a fifth of a small insert.

Rows of one identity are left to the merges and to the views, which collapse them anyway: to do it in each insert
too costs a sixth of it."""

SCHEMA = "format_schema"

PREFIX_BYTES_MAX = 1 << 14
_PREFIXES = tuple(varint(length) for length in range(PREFIX_BYTES_MAX))


def delimited(values: Sequence[bytes]) -> bytes:
    """Length-delimited messages: what ``FORMAT Protobuf`` reads. 0.12 µs a message."""
    prefixes = [
        _PREFIXES[length] if length < PREFIX_BYTES_MAX else varint(length) for length in map(len, values)
    ]
    parts = [b""] * (2 * len(values))
    parts[0::2] = prefixes
    parts[1::2] = values
    return b"".join(parts)


_HEADS = {kind: b"\x08" + bytes((kind,)) for kind in STORED_TABLES}
"""How a message of these kinds begins: its first field is its kind (``etl/wire/codec.py``)."""


def split_frequent(values: Sequence[bytes]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Trades, quotes and books, and all other messages, each in their order."""
    return _split(values, tuple(_HEADS.values()))


def _split(values: Sequence[bytes], heads: tuple[bytes, ...]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    found = [value for value in values if value.startswith(heads)]
    if len(found) == len(values):
        return found, ()
    return found, [value for value in values if not value.startswith(heads)]


_SCHEMA_TYPES = {
    FieldDescriptor.TYPE_ENUM: "int32",  # a number, so that one not known here is refused by name, not by the parser
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_SFIXED64: "sfixed64",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
}


def schema_text(message: Any) -> str:
    """The message type as the shortest .proto that reads the same bytes: it travels with every insert."""
    descriptor = message.DESCRIPTOR
    fields = "".join(
        f"{_label(field)}{_SCHEMA_TYPES[field.type]} {field.name}={field.number};"
        for field in descriptor.fields
    )
    return f'syntax="proto3";message {descriptor.name}{{{fields}}}'


def _label(field: FieldDescriptor) -> str:
    if field.is_repeated:
        return "repeated "
    return "optional " if field.has_presence else ""


MARKET_DATA_SCHEMA = schema_text(codec.MarketData)
QUARANTINED_SCHEMA = schema_text(codec.QuarantinedMessage)


class Landing(Struct, frozen=True):
    """Where the messages of a topic go, in the internal database, and what they are."""

    table: str
    message: str
    schema: str


MARKET_DATA = Landing("market_data", "MarketData", MARKET_DATA_SCHEMA)
FREQUENT = Landing("frequent_market_data", "MarketData", MARKET_DATA_SCHEMA)
"""Takes trades, quotes and books only, at less cost."""
QUARANTINED = Landing("quarantined", "Quarantined", QUARANTINED_SCHEMA)


class Part(Struct, frozen=True):
    """One insert of a batch: its statement, the settings of its format, and its body."""

    statement: str
    settings: Mapping[str, str]
    body: bytes

    def path(self, deduplication_token: str, rows_max: int, schema_copy: int = 0) -> str:
        """Where to POST ``body``, of at most ``rows_max`` rows, so that it is stored as one block, once. With another
        ``schema_copy`` the server keeps another copy of the schema (``SchemaUnreadable``)."""
        settings = {
            **INSERT_SETTINGS,
            **self.settings,
            "max_insert_block_size": str(2 * rows_max),
            "insert_deduplication_token": deduplication_token,
        }
        if schema_copy and SCHEMA in settings:
            settings[SCHEMA] += f"//{schema_copy}"
        return insert_path(self.statement, settings)


def landed(landing: Landing, values: Sequence[bytes]) -> Part:
    settings = {SCHEMA: landing.schema, "format_schema_message_name": landing.message}
    return Part(f"INSERT INTO {landing.table} FORMAT Protobuf", settings, delimited(values))


def batch_path(landing: Landing, deduplication_token: str, rows_max: int) -> str:
    """Where to POST ``delimited`` messages to a landing table."""
    return landed(landing, ()).path(deduplication_token, rows_max)


def _stored(kind: Kind, block: Block) -> Part:
    columns = ", ".join(block.columns)
    return Part(f"INSERT INTO {STORED_TABLES[kind]} ({columns}) FORMAT ArrowStream", {}, block.stream)


def landing_parts(values: Sequence[bytes], *, quarantined: bool) -> Iterator[Part]:
    """Messages as they are, to the landing tables. The same go the same ways each time, here and below."""
    if quarantined:
        yield landed(QUARANTINED, values)
        return
    frequent, others = split_frequent(values)
    if others:
        yield landed(MARKET_DATA, others)
    if frequent:
        yield landed(FREQUENT, frequent)


ANOTHER_INSERT_MESSAGES = 3_500
"""What an insert beside another costs, in messages that it must save. CPU is even from 500 of three kinds on, but three
inserts at once want more cores than two: at 10,000 events a second what is published is acknowledged later."""


def is_worth_blocks(values: Sequence[bytes]) -> bool:
    """Whether ready blocks cost less: one of a single kind always does, several only where there is much in them."""
    counts = [count for head in _HEADS.values() if (count := sum(value.startswith(head) for value in values))]
    return bool(counts) and sum(counts) >= (len(counts) - 1) * ANOTHER_INSERT_MESSAGES


def block_parts(values: Sequence[bytes], make_blocks: BlockMaker) -> tuple[Sequence[Part], Sequence[bytes]]:
    """A block for each kind that has one, and the messages that are in none."""
    blocks = make_blocks(values)
    others: Sequence[bytes] = ()
    if sum(block.rows for block in blocks.values()) < len(values):
        _, others = _split(values, tuple(_HEADS[kind] for kind in blocks))
    return [_stored(kind, block) for kind, block in blocks.items()], others
