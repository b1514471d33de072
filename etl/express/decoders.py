"""The compiled decoder: messages into the columns of ``etl/wire/columns.py``, in a tenth of the plain one's time. Pure.

The table that ``_decode.c`` works by is that of the encoders, with what a column of each field holds. It fills the
buffers of Arrow's arrays, which are used as they are. What it cannot prove to fit (a field that is unknown, out of
order or there twice, text that is not ASCII, a number that no enum has, bytes that are no message) it gives back, and
the plain decoder decodes or refuses it: rows and refusals are always those of the plain way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from enum import IntEnum
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from etl.express import encoders
from etl.model.records import RECORD_TYPES, Kind, Record
from etl.wire import columns
from etl.wire.columns import COLUMNS, REQUIRED, SCHEMAS, TIME, Column, Refused, Rows

Pair = tuple[int, bytes | None]
"""Offset and value of a message."""
Pairs = Iterable[Pair]
Decoder = Callable[[Pairs, Collection[Kind]], tuple[list[Rows], list[Refused]]]
"""As ``columns.decode``; the refused are in no order."""
Buffers = tuple[bytes | None, bytes, bytes | None, bytes | None]
"""Of a column: validity; numbers, or where each row's text or list begins; items; text."""


class Form(IntEnum):
    """How a field is read, by the numbers of ``enum form`` in ``_decode.c``."""

    REQUIRED_TEXT = 0
    TEXT = 1
    DECIMAL = 2
    NAME = 3
    INT32 = 4
    INT64 = 5
    OPTIONAL_INT64 = 6
    FIXED64 = 7
    TEXTS = 8
    DECIMALS = 9
    INTEGERS = 10


_FORMS = {
    encoders.Form.OPTIONAL_TEXT: Form.DECIMAL,
    encoders.Form.ENUM: Form.NAME,
    encoders.Form.INT32: Form.INT32,
    encoders.Form.INT64: Form.INT64,
    encoders.Form.OPTIONAL_INT64: Form.OPTIONAL_INT64,
    encoders.Form.FIXED64: Form.FIXED64,
    encoders.Form.PACKED: Form.INTEGERS,
}


class Arrays(Struct, frozen=True):
    """The columns of one kind's messages, a name being its enum's number; ``offsets`` says which they are."""

    kind: Kind
    offsets: list[int]
    by_name: dict[str, pa.Array]


Numbered = Callable[[Pairs, Collection[Kind]], tuple[list[Arrays], list[Pair]]]
"""What is proved, and the pairs that are not."""


@cache
def numbered() -> Numbered:
    """The compiled decoder alone. Raises ``ImportError`` where it is not built."""
    from etl.express import _decode

    of_kind = {each.kind: fields(each) for each in RECORD_TYPES}
    compiled = _decode.make({int(kind): rows(each) for kind, each in of_kind.items()})

    def decode(pairs: Pairs, skip: Collection[Kind]) -> tuple[list[Arrays], list[Pair]]:
        found, unproved = compiled(list(pairs), bytes(skip))
        return [
            _arrays(Kind(kind), offsets, of_kind[Kind(kind)], buffers) for kind, offsets, buffers in found
        ], unproved

    return decode


@cache
def decoder(is_wanted: bool) -> tuple[Decoder, str]:
    """The decoder, and in a word what it is: compiled, or plain and why."""
    if not is_wanted:
        return columns.decode, "plain, as set"
    try:
        compiled = numbered()
    except ImportError as error:
        return columns.decode, f"plain, the compiled one is not built: {error}"

    def decode(pairs: Pairs, skip: Collection[Kind] = ()) -> tuple[list[Rows], list[Refused]]:
        found, unproved = compiled(pairs, skip)
        proved = [_rows(each) for each in found]
        if not unproved:
            return proved, []
        plain, refused = columns.decode(unproved, skip)
        return _together(proved, plain), refused

    return decode, "compiled"


_Field = tuple[Column, Form, bytes]
"""Column, form, tag in the message."""


def fields(record_type: type[Record]) -> tuple[_Field, ...]:
    by_name = {column.name: column for column in COLUMNS[record_type.kind]}
    return tuple(
        (column := by_name[slot.__name__], _form(column, encoders.Form(written)), tag)
        for slot, written, tag in encoders.rows(record_type)
    )


def _form(column: Column, written: encoders.Form) -> Form:
    if written is encoders.Form.TEXT:
        return Form.REQUIRED_TEXT if column.name in REQUIRED else Form.TEXT
    if written is encoders.Form.TEXTS:
        return Form.DECIMALS if column.form is columns.Form.DECIMALS else Form.TEXTS
    return _FORMS[written]


def rows(fields: Sequence[_Field]) -> tuple[tuple[bytes, int, int], ...]:
    """The table of a kind: tag, form, the greatest number of a name."""
    return tuple((tag, form, max(0, len(column.names) - 1)) for column, form, tag in fields)


def _arrays(kind: Kind, offsets: list[int], fields: Sequence[_Field], buffers: Sequence[Buffers]) -> Arrays:
    by_name = {
        column.name: _array(column, form, len(offsets), *of_column)
        for (column, form, _), of_column in zip(fields, buffers, strict=True)
    }
    return Arrays(kind, offsets, by_name)


def _rows(found: Arrays) -> Rows:
    arrays = dict(found.by_name)
    for column in COLUMNS[found.kind]:
        if column.form is columns.Form.NAME:
            names = pa.array([name or None for name in column.names], columns.TYPES[column.form])
            arrays[column.name] = names.take(arrays[column.name])
    event_time_ns = arrays["event_time_ns"]
    arrays[TIME.name] = pc.if_else(pc.equal(event_time_ns, 0), arrays["receive_time_ns"], event_time_ns)
    schema = SCHEMAS[found.kind]
    return Rows(
        found.kind,
        found.offsets,
        pa.Table.from_arrays([arrays[name] for name in schema.names], schema=schema),
    )


def _array(
    column: Column,
    form: Form,
    count: int,
    validity: bytes | None,
    each: bytes,
    items: bytes | None,
    text: bytes | None,
) -> pa.Array:
    kind = columns.TYPES[column.form]
    if form is Form.NAME:
        return _from_buffers(pa.int64(), count, None, each)
    if form in (Form.TEXTS, Form.DECIMALS):
        assert items is not None
        texts = _from_buffers(pa.string(), len(items) // _OFFSET_BYTES - 1, None, items, text)
        return _from_buffers(kind, count, validity, each, of=texts)
    if form is Form.INTEGERS:
        assert items is not None
        numbers = _from_buffers(pa.int64(), len(items) // _NUMBER_BYTES, None, items)
        return _from_buffers(kind, count, validity, each, of=numbers)
    return _from_buffers(kind, count, validity, each, *(() if text is None else (text,)))


_OFFSET_BYTES, _NUMBER_BYTES = 4, 8


def _from_buffers(
    kind: pa.DataType, count: int, *buffers: bytes | None, of: pa.Array | None = None
) -> pa.Array:
    """An array over these very bytes, ``of`` being the items of lists."""
    made = [None if each is None else pa.py_buffer(each) for each in buffers]
    return pa.Array.from_buffers(kind, count, made, children=None if of is None else [of])


def _together(proved: Sequence[Rows], plain: Sequence[Rows]) -> list[Rows]:
    """Both ways' rows, a kind's in the order of their offsets."""
    found = {each.kind: each for each in proved}
    for each in plain:
        if (other := found.get(each.kind)) is None:
            found[each.kind] = each
        else:
            both = Rows(
                each.kind, other.offsets + each.offsets, pa.concat_tables((other.columns, each.columns))
            )
            found[each.kind] = both.take(np.argsort(both.offsets, kind="stable").tolist())
    return [found[kind] for kind in Kind if kind in found]
