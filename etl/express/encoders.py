"""The compiled encoders: as those of ``etl/wire/codec.py``, in a tenth of their time. Pure.

The table that ``_encode.c`` works by is made of the record's fields and of the schema, as the plain encoders are. What
a compiled encoder cannot prove to fit (text that is not ASCII, a number out of range, an odd type) it hands to the
plain one, unchanged, so that bytes and errors are always those of the plain way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import cache
from types import MemberDescriptorType
from typing import cast

from google.protobuf.descriptor import FieldDescriptor
from msgspec.inspect import EnumType, Field, IntType, UnionType, VarTupleType

from etl.model.records import RECORD_TYPES, Record
from etl.wire.codec import ENCODERS, FIELDS, MarketData
from etl.wire.varint import varint

Encoder = Callable[[Record], bytes]
Encoders = Mapping[type, Encoder]
Row = tuple[MemberDescriptorType, int, bytes]
"""Slot of the record, ``Form``, tag in the message."""


class Form(IntEnum):
    """How a field is written, by the numbers of ``enum form`` in ``_encode.c``."""

    TEXT = 0
    OPTIONAL_TEXT = 1
    ENUM = 2
    INT32 = 3
    INT64 = 4
    OPTIONAL_INT64 = 5
    FIXED64 = 6
    TEXTS = 7
    PACKED = 8


_WIRE_TYPES = {
    Form.TEXT: 2,
    Form.OPTIONAL_TEXT: 2,
    Form.FIXED64: 1,
    Form.TEXTS: 2,
    Form.PACKED: 2,
}  # all others: 0


_NUMBERS = {
    FieldDescriptor.TYPE_INT32: Form.INT32,
    FieldDescriptor.TYPE_INT64: Form.INT64,
    FieldDescriptor.TYPE_SFIXED64: Form.FIXED64,
}


@cache
def encoders(is_wanted: bool) -> tuple[Encoders, str]:
    """By record type, and in a word what they and the express step are: compiled, or plain and why."""
    if not is_wanted:
        return ENCODERS, "plain, as set"
    try:
        from etl.express import _encode, _step  # noqa: F401  the one without the other would be a third way
    except ImportError as error:
        return ENCODERS, f"plain, the compiled one is not built: {error}"
    made = {each: _encode.make(each, int(each.kind), rows(each), ENCODERS[each]) for each in RECORD_TYPES}
    return cast(Encoders, made), "compiled"


def rows(record_type: type[Record]) -> tuple[Row, ...]:
    """The table of ``record_type``, in the order of the numbers in the schema."""
    by_number = sorted((_wire(field).number, field) for field in FIELDS[record_type])
    return tuple(
        (
            slot_of(record_type, field.name),
            form := _form(field),
            varint(number << 3 | _WIRE_TYPES.get(form, 0)),
        )
        for number, field in by_number
    )


def _wire(field: Field) -> FieldDescriptor:
    return cast(FieldDescriptor, MarketData.DESCRIPTOR.fields_by_name[field.name])


def slot_of(owner_type: type, name: str) -> MemberDescriptorType:
    owner = next(each for each in owner_type.__mro__ if name in vars(each))
    return cast(MemberDescriptorType, vars(owner)[name])


def _form(field: Field) -> Form:
    kind, wire_type = field.type, _wire(field).type
    if isinstance(kind, VarTupleType):
        return Form.PACKED if isinstance(kind.item_type, IntType) else Form.TEXTS
    if isinstance(kind, UnionType):
        is_number = any(isinstance(each, IntType) for each in kind.types)
        return Form.OPTIONAL_INT64 if is_number else Form.OPTIONAL_TEXT
    if isinstance(kind, EnumType):
        return Form.ENUM
    if isinstance(kind, IntType):
        return _NUMBERS[wire_type]
    return Form.TEXT
