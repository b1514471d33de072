"""Messages → columns: what the TimescaleDB load and the Parquet lake share. Pure.

The columns of a table are the fields of its record (``records.py``) under the same names, so a field added there
needs no edit here. One more is made: ``time_ns``, the event time, or the receive time where the venue sent none.

A column is a list of plain values as the message carries them: "" where the venue sent no text or no decimal,
0 where it sent no time, ``None`` where it sent no sequence. Each store turns these into its own nulls, a column
at a time. Whole columns are taken at once: about 0.06 µs a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum, IntEnum
from itertools import islice
from operator import attrgetter
from typing import Any, cast

import msgspec
from google.protobuf.message import DecodeError
from msgspec import Struct
from msgspec.inspect import EnumType, Field, NoneType, StrType, StructType, Type, UnionType, VarTupleType

from etl.errors import StoreRejected
from etl.model.codes import Code
from etl.model.records import RECORD_TYPES, Kind
from etl.wire import market_data_pb2 as pb
from etl.wire.precedence import Term, precedence

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


class Rows(Struct, frozen=True):
    """Rows of one table by column, in the order of ``offsets``."""

    kind: Kind
    offsets: list[int]
    values: dict[str, list[Any]]

    def __len__(self) -> int:
        return len(self.offsets)

    def take(self, indices: Sequence[int]) -> Rows:
        return Rows(
            self.kind,
            [self.offsets[i] for i in indices],
            {name: [values[i] for i in indices] for name, values in self.values.items()},
        )

    def identities(self) -> Iterable[tuple[str, str, str]]:
        return zip(*(self.values[name] for name in IDENTITY), strict=True)


class Refused(Struct, frozen=True):
    """A message that a store cannot hold, or may not, and why."""

    offset: int
    reason: str
    code: str = "store_rejected"
    rule: str = ""


IDENTITY = ("exchange", "symbol", "record_key")
REQUIRED = frozenset((*IDENTITY, "key_time_ns", "time_ns", "receive_time_ns", "parser_version"))
TIME = Column("time_ns", Form.TIME)

_NOT_DECIMALS = re.compile(r"[^0-9.,\-]")
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


def _take_column(column: Column) -> Callable[[Sequence[Any]], list[Any]]:
    """How to take ``column`` out of many messages."""
    name = column.name
    get = attrgetter(name)
    if column is TIME:
        return lambda messages: [m.event_time_ns or m.receive_time_ns for m in messages]
    if column.form is Form.NAME:
        names = column.names
        return lambda messages: [names[number] for number in map(get, messages)]
    if column.form in (Form.TEXTS, Form.DECIMALS, Form.INTEGERS):
        return lambda messages: list(map(list, map(get, messages)))
    if column.optional:
        return lambda messages: [get(m) if m.HasField(name) else None for m in messages]
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
    found: dict[Kind, Rows] = {}
    refused: list[Refused] = []
    waiting = iter(messages)
    while block := list(islice(waiting, BLOCK_MESSAGES)):
        rows, faults = _decode_block(block, skip)
        refused += faults
        for more in rows:
            if (known := found.setdefault(more.kind, more)) is not more:
                known.offsets.extend(more.offsets)
                for name, values in more.values.items():
                    known.values[name].extend(values)
    return [found[kind] for kind in Kind if kind in found], refused


def _decode_block(
    messages: Iterable[tuple[int, bytes | None]], skip: Collection[Kind]
) -> tuple[list[Rows], list[Refused]]:
    skipped = tuple(b"\x08" + bytes([kind]) for kind in skip)
    parsed: dict[int, tuple[list[int], list[Any]]] = {kind: ([], []) for kind in Kind}
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
    for number, (offsets, items) in parsed.items():
        empty = _empty_decimals(Kind(number), items)
        faults: dict[int, tuple[str, ...]] = {
            **{index: (reason, str(Code.DECIMAL_MALFORMED), DECIMAL_RULE) for index, reason in empty.items()},
            **{index: (reason,) for index, reason in _unknown_enums(Kind(number), items).items()},
        }
        if faults:
            refused += [Refused(offsets[index], *fault) for index, fault in faults.items()]
            kept = [index for index in range(len(items)) if index not in faults]
            parsed[number] = [offsets[index] for index in kept], [items[index] for index in kept]
    rows = [
        Rows(kind, offsets, {name: take(items) for name, take in _TAKE[kind]})
        for kind, (offsets, items) in ((Kind(number), pair) for number, pair in parsed.items())
        if offsets and kind not in skip
    ]
    return rows, refused


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


def require_decimals(name: str, values: Sequence[str]) -> None:
    """Raise ``StoreRejected`` unless every value is a plain decimal or "": one search over all of them, 5 ns a digit.

    Engines would take NaN, Infinity and exponents; the contract does not.
    """
    joined = ",".join(values)
    if _NOT_DECIMALS.search(joined) or joined.count(",") > max(len(values) - 1, 0):
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
    """``rows`` with one row per identity: the first of those that take precedence."""
    identities = list(rows.identities())
    if len(set(identities)) == len(identities):
        return rows
    ranks = list(zip(*(_ranks(term, rows.values) for term in precedence(rows.kind)), strict=True))
    winner: dict[tuple[str, str, str], int] = {}
    for index, identity in enumerate(identities):
        best = winner.setdefault(identity, index)
        if ranks[index] > ranks[best]:
            winner[identity] = index
    return rows.take(sorted(winner.values()))


def _ranks(term: Term, values: dict[str, list[Any]]) -> list[int]:
    column = values[term.name]
    if term.states:
        rank = {state: number for number, state in enumerate(("", *term.states))}
        return [rank.get(state, 0) for state in column]
    if term.present:
        return [int(value != "") for value in column]
    if term.otherwise:
        return [first or other for first, other in zip(column, values[term.otherwise], strict=True)]
    return column
