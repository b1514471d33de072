"""Messages → columns: what the TimescaleDB load and the Parquet lake share. Pure.

The columns of a table are the fields of its record (``records.py``) under the same names, so a field added there
needs no edit here. One more is made: ``time_ns``, the event time, or the receive time where the venue sent none.

They are Arrow's (``SCHEMAS``), whoever decoded the messages: ``decode`` here, with Protobuf's library, or the compiled
decoder (``etl/express/decoders.py``). A decimal is the message's text. What the venue did not send is null; a time that
it did not send is 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum, IntEnum
from functools import cached_property
from itertools import islice
from operator import attrgetter
from typing import Any, cast

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError
from msgspec import Struct
from msgspec.inspect import EnumType, Field, NoneType, StrType, StructType, Type, UnionType, VarTupleType

from etl.errors import StoreRejected
from etl.model.codes import Code
from etl.model.records import RECORD_TYPES, Kind
from etl.wire import market_data_pb2 as pb
from etl.wire.standing import standing

_parse: Callable[[bytes], Any] = pb.MarketData.FromString


class Form(Enum):
    """What a column holds. A time is int ns; a name is an enum's member in lower case."""

    TEXT = "text"
    DECIMAL = "decimal"
    INTEGER = "integer"
    TIME = "time"
    NAME = "name"
    TEXTS = "texts"
    DECIMALS = "decimals"
    INTEGERS = "integers"


class Column(Struct, frozen=True):
    """``names`` are a NAME column's names by number, "" for 0; ``optional`` integers may be ``None``."""

    name: str
    form: Form
    optional: bool = False
    names: tuple[str, ...] = ()


class Rows(Struct, frozen=True, dict=True):
    """Rows of one table by column, in the order of ``offsets``; ``columns`` under ``SCHEMAS``."""

    kind: Kind
    offsets: list[int]
    columns: pa.Table

    def __len__(self) -> int:
        return len(self.offsets)

    @cached_property
    def values(self) -> Mapping[str, list[Any]]:
        """The columns as lists of plain values, each made when it is first asked for: "" where there is no text, no
        name and no decimal, [] where there is no list."""
        return _Values(self.kind, self.columns)

    def take(self, indices: Sequence[int]) -> Rows:
        return Rows(
            self.kind, [self.offsets[i] for i in indices], self.columns.take(pa.array(indices, pa.int64()))
        )


class _Values(Mapping[str, list[Any]]):
    def __init__(self, kind: Kind, columns: pa.Table) -> None:
        self._columns = {column.name: column for column in COLUMNS[kind]}
        self._table = columns
        self._made: dict[str, list[Any]] = {}

    def __getitem__(self, name: str) -> list[Any]:
        if (made := self._made.get(name)) is None:
            made = self._made[name] = _listed(self._columns[name], self._table[name])
        return made

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def _listed(column: Column, values: pa.ChunkedArray) -> list[Any]:
    if column.form in LISTS:
        return [value or [] for value in values.to_pylist()]
    if column.optional and values.null_count:
        return cast(list[Any], values.to_pylist())
    if values.null_count:
        values = pc.fill_null(values, "")
    return cast(list[Any], values.to_numpy().tolist())  # half of the time of to_pylist


class Refused(Struct, frozen=True):
    """A message that a store cannot hold, or may not, and why."""

    offset: int
    reason: str
    code: str = "store_rejected"
    rule: str = ""


IDENTITY = ("exchange", "symbol", "record_key")
REQUIRED = frozenset((*IDENTITY, "key_time_ns", "time_ns", "receive_time_ns", "parser_version"))
TIME = Column("time_ns", Form.TIME)

LISTS = frozenset((Form.TEXTS, Form.DECIMALS, Form.INTEGERS))

_OF_DECIMALS = b"0123456789.,-"
_DECIMAL_LISTS = frozenset(("bid_prices", "bid_sizes", "ask_prices", "ask_sizes"))
_SCALAR_FORMS: dict[type[Type], Form] = {StrType: Form.TEXT, msgspec.inspect.IntType: Form.INTEGER}


def _column(field: Field) -> Column:
    name, kind = field.name, field.type
    if isinstance(kind, EnumType):
        members = {member.value: member.name.lower() for member in cast(type[IntEnum], kind.cls)}
        return Column(name, Form.NAME, names=("", *(members[n] for n in range(1, max(members) + 1))))
    if isinstance(kind, VarTupleType):
        if name in _DECIMAL_LISTS:
            return Column(name, Form.DECIMALS)
        return Column(name, Form.TEXTS if isinstance(kind.item_type, StrType) else Form.INTEGERS)
    if isinstance(kind, UnionType):
        (inner,) = (part for part in kind.types if not isinstance(part, NoneType))
        decimal = isinstance(inner, StrType)
        return Column(name, Form.DECIMAL if decimal else Form.INTEGER, optional=not decimal)
    return Column(name, Form.TIME if name.endswith("_time_ns") else _SCALAR_FORMS[type(kind)])


COLUMNS: dict[Kind, tuple[Column, ...]] = {
    record_type.kind: (
        TIME,
        *(_column(field) for field in cast(StructType, msgspec.inspect.type_info(record_type)).fields),
    )
    for record_type in RECORD_TYPES
}

TYPES = {
    Form.TEXT: pa.string(),
    Form.NAME: pa.string(),
    Form.DECIMAL: pa.string(),
    Form.INTEGER: pa.int64(),
    Form.TIME: pa.int64(),
    Form.TEXTS: pa.list_(pa.string()),
    Form.DECIMALS: pa.list_(pa.string()),
    Form.INTEGERS: pa.list_(pa.int64()),
}
SCHEMAS: dict[Kind, pa.Schema] = {
    kind: pa.schema([(column.name, TYPES[column.form]) for column in columns])
    for kind, columns in COLUMNS.items()
}
"""Of ``Rows.columns``."""


def _take_column(column: Column) -> Callable[[Sequence[Any]], list[Any]]:
    """How to take ``column`` out of many messages."""
    name = column.name
    get = attrgetter(name)
    if column is TIME:
        return lambda messages: [m.event_time_ns or m.receive_time_ns for m in messages]
    if column.form is Form.NAME:
        names = column.names
        return lambda messages: [names[number] or None for number in map(get, messages)]
    if column.form in LISTS:
        return lambda messages: [list(items) or None for items in map(get, messages)]
    if column.optional:
        return lambda messages: [get(m) if m.HasField(name) else None for m in messages]
    if column.form is Form.DECIMAL or (column.form is Form.TEXT and name not in REQUIRED):
        return lambda messages: [text or None for text in map(get, messages)]
    return lambda messages: list(map(get, messages))


_TAKE = {
    kind: tuple((column.name, _take_column(column)) for column in columns)
    for kind, columns in COLUMNS.items()
}


_ENUMS = {
    field.name: frozenset(field.enum_type.values_by_number)
    for field in pb.MarketData.DESCRIPTOR.fields
    if field.enum_type is not None and field.name != "kind"
}
"""The numbers that have a name here, by field. The wire's enums are open: another writer may know more."""
_FREQUENT_ENUMS = ("source", "side", "size_unit", "book_action")
_FREQUENT = (Kind.TRADE, Kind.QUOTE, Kind.BOOK)
_CHECKED_ENUMS = {kind: _FREQUENT_ENUMS if kind in _FREQUENT else tuple(_ENUMS) for kind in Kind}
"""As the landing tables of ClickHouse have them: what one store refuses, the others refuse."""


DECIMAL_RULE = "decimal_fits"
"""By which a text is no decimal, or one that not every store holds."""


BLOCK_MESSAGES = 500
"""Parsed, and read a column after the other, at once: of more, the messages have left the processor's cache before the
next column. µs a message of blocks of 250, 500, 1,000, 5,000 and 60,000: 4.4, 4.8, 5.4, 8.1, 13."""


def decode(
    messages: Iterable[tuple[int, bytes | None]], skip: Collection[Kind] = ()
) -> tuple[list[Rows], list[Refused]]:
    """Rows per kind of the (offset, value) pairs ``messages``, and those that are no record: no value at all, bytes
    that are no message, a number that no enum here has, a decimal without
    a digit.

    Kinds in ``skip`` are passed over by their first two bytes, before they are parsed: a book costs nothing where
    it is not kept.
    """
    offsets: dict[Kind, list[int]] = defaultdict(list)
    columns: dict[Kind, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    refused: list[Refused] = []
    waiting = iter(messages)
    while block := list(islice(waiting, BLOCK_MESSAGES)):
        parsed, faults = _parsed(block, skip)
        refused += faults
        for kind, (places, items) in parsed.items():
            offsets[kind] += places
            for name, take in _TAKE[kind]:
                columns[kind][name] += take(items)
    return [_rows(kind, offsets[kind], columns[kind]) for kind in Kind if kind in offsets], refused


def _rows(kind: Kind, offsets: list[int], columns: Mapping[str, list[Any]]) -> Rows:
    schema = SCHEMAS[kind]
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    return Rows(kind, offsets, pa.Table.from_arrays(arrays, schema=schema))


_Parsed = dict[Kind, tuple[list[int], list[Any]]]
"""By kind: offsets, and the messages under them."""


def _parsed(
    messages: Iterable[tuple[int, bytes | None]], skip: Collection[Kind]
) -> tuple[_Parsed, list[Refused]]:
    skipped = tuple(b"\x08" + bytes([kind]) for kind in skip)
    parsed: _Parsed = {kind: ([], []) for kind in Kind}
    refused: list[Refused] = []
    for offset, value in messages:
        if not value:
            refused.append(Refused(offset, "a message without a value"))
            continue
        if skipped and value.startswith(skipped):
            continue
        try:
            message = _parse(value)
            offsets, items = parsed[message.kind]
        except (DecodeError, KeyError) as error:
            refused.append(Refused(offset, f"not a MarketData message: {error}"))
            continue
        offsets.append(offset)
        items.append(message)
    for kind, (offsets, items) in parsed.items():
        empty = _empty_decimals(kind, items)
        faults: dict[int, tuple[str, ...]] = {
            **{index: (reason, str(Code.DECIMAL_MALFORMED), DECIMAL_RULE) for index, reason in empty.items()},
            **{index: (reason,) for index, reason in _unknown_enums(kind, items).items()},
        }
        if faults:
            refused += [Refused(offsets[index], *fault) for index, fault in faults.items()]
            kept = [index for index in range(len(items)) if index not in faults]
            parsed[kind] = [offsets[index] for index in kept], [items[index] for index in kept]
    return {kind: pair for kind, pair in parsed.items() if pair[0] and kind not in skip}, refused


def _unknown_enums(kind: Kind, items: Sequence[Any]) -> dict[int, str]:
    """Index and reason of the messages with a number that its enum does not have; a set of each column, 0.02 µs a
    value."""
    found: dict[int, str] = {}
    for name in _CHECKED_ENUMS[kind]:
        numbers, known = list(map(attrgetter(name), items)), _ENUMS[name]
        if not known.issuperset(numbers):
            for index, number in enumerate(numbers):
                if number not in known:
                    found.setdefault(index, f"{name}: {number} is no number of its enum")
    return found


def _empty_decimals(kind: Kind, items: Sequence[Any]) -> dict[int, str]:
    """Index and reason of the messages with a decimal that is there and says nothing: no absence, and no number."""
    found: dict[int, str] = {}
    for column in COLUMNS[kind]:
        name = column.name
        if column.form is Form.DECIMAL:
            for index, text in enumerate(map(attrgetter(name), items)):
                if not text and items[index].HasField(name):
                    found.setdefault(index, f"{name}=''")
        elif column.form is Form.DECIMALS:
            for index, texts in enumerate(map(attrgetter(name), items)):
                if "" in texts:
                    found.setdefault(index, f"{name}=''")
    return found


def joined(values: pa.ChunkedArray, separator: str) -> str:
    """The texts of a column without nulls, in C: 20 ns a value."""
    return separator.join(_joined(chunk, separator) for chunk in values.chunks if len(chunk))


def _joined(texts: pa.StringArray, separator: str) -> str:
    as_one = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
    return cast(str, pc.binary_join(as_one, separator)[0].as_py())


def require_decimals(name: str, values: pa.ChunkedArray) -> None:
    """Raise ``StoreRejected`` unless every text is a plain decimal, "" or null: one pass over all of them.

    Engines would take NaN, Infinity and exponents; the contract does not.
    """
    texts = joined(values.drop_null(), ",")
    if texts.encode().translate(None, _OF_DECIMALS) or texts.count(",") > max(
        len(values) - values.null_count - 1, 0
    ):
        raise StoreRejected(f"{name}: a value is no decimal")


def refused_rows(rows: Rows, attempt: Callable[[Rows], None]) -> list[Refused]:
    """The rows for which ``attempt`` raises ``StoreRejected``, found by halving."""
    try:
        attempt(rows)
    except StoreRejected as error:
        if len(rows) == 1:
            return [Refused(rows.offsets[0], str(error))]
        middle = len(rows) // 2
        halves = rows.take(range(middle)), rows.take(range(middle, len(rows)))
        return [item for half in halves for item in refused_rows(half, attempt)]
    return []


def without(batch: Iterable[Rows], offsets: Collection[int]) -> list[Rows]:
    """``batch`` less the rows of ``offsets``; empty ``Rows`` are left out."""
    kept = (
        rows.take([i for i, offset in enumerate(rows.offsets) if offset not in offsets]) for rows in batch
    )
    return [rows for rows in kept if len(rows)]


def newest(rows: Rows) -> Rows:
    """``rows`` with one row per identity."""
    kept = standing(rows.columns, rows.kind)
    return rows if kept is None else rows.take(kept.tolist())
