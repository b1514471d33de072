"""Columns → Arrow, the order of rows in a file, and which row stands for an identity. Pure."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.errors import StoreRejected
from etl.lake.layout import NARROW_DECIMAL, ROW_SCHEMAS, WIDE_DECIMALS
from etl.model.decimals import COLUMN_FRACTION_DIGITS, FITS, INTEGER_DIGITS_MAX
from etl.model.records import Kind
from etl.model.times import NS_PER_US
from etl.wire.columns import COLUMNS, TIME, Column, Form, Rows, require_decimals
from etl.wire.standing import first_said, standing

_FITS_NARROW = re.compile(r"-?0*\d{0,10}(\.\d{0,8}0*)?").fullmatch
"""Ten digits before the point and eight after it, leading and trailing zeros aside: DECIMAL(18,8) holds it."""
_FITS_COLUMN = re.compile(
    rf"-?0*\d{{0,{INTEGER_DIGITS_MAX}}}(\.\d{{0,{COLUMN_FRACTION_DIGITS}}}0*)?"
).fullmatch
"""The same of DECIMAL(38,19)."""
_FITS = re.compile(FITS, re.ASCII).fullmatch

_Wide = dict[int, list[tuple[str, str]]]
"""By row: column and text of the values that their column does not hold."""


def to_arrow(rows: Rows) -> pa.Table:
    """``rows`` under ``ROW_SCHEMAS``; what the venue did not send is null, a time 0.

    Raises ``StoreRejected`` if a value has more digits than any store holds.
    """
    schema = ROW_SCHEMAS[rows.kind]
    wide: _Wide = {}
    try:
        arrays = [
            _array(column, rows.columns[column.name], schema.field(number).type, wide)
            for number, column in enumerate(COLUMNS[rows.kind])
        ]
    except (pa.ArrowInvalid, OverflowError) as error:
        raise StoreRejected(str(error)) from None
    if WIDE_DECIMALS in schema:
        arrays.append(pa.array([wide.get(row) for row in range(len(rows))], WIDE_DECIMALS.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(column: Column, values: pa.ChunkedArray, kind: pa.DataType, wide: _Wide) -> pa.ChunkedArray:
    if column is TIME:
        return pa.chunked_array([pa.array(np.asarray(values) // NS_PER_US).cast(kind)])
    if column.form is Form.DECIMAL:
        require_decimals(column.name, values)
        return _fitted(column.name, _shortened(values), kind, kind, wide)
    if column.form is Form.DECIMALS:
        flat = pc.list_flatten(values)
        require_decimals(column.name, flat)
        if _is_long(flat):
            lists = [levels and [*map(_without_zeros, levels)] for levels in values.to_pylist()]
            values = pa.chunked_array([pa.array(lists, values.type)])
        return _fitted(column.name, values, kind, kind.value_type, wide)
    return values


def _is_long(texts: pa.ChunkedArray) -> bool:
    return (pc.max(pc.binary_length(texts)).as_py() or 0) > INTEGER_DIGITS_MAX


def _shortened(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without the zeros around a decimal that has too many: Arrow counts them as digits."""
    if not _is_long(texts):
        return texts
    return pa.chunked_array(
        [pa.array([text and _without_zeros(text) for text in texts.to_pylist()], pa.string())]
    )


def _without_zeros(text: str) -> str:
    if len(text) <= INTEGER_DIGITS_MAX:
        return text
    sign, digits = ("-", text[1:]) if text[0] == "-" else ("", text)
    whole, point, fraction = digits.partition(".")
    kept, beyond = fraction[:COLUMN_FRACTION_DIGITS], fraction[COLUMN_FRACTION_DIGITS:].rstrip("0")
    return f"{sign}{whole.lstrip('0') or '0'}{point}{kept}{beyond}"


def _fitted(
    name: str, column: pa.ChunkedArray, kind: pa.DataType, number: pa.DataType, wide: _Wide
) -> pa.ChunkedArray:
    """``column``, texts or lists of them, as ``kind``, whose numbers are ``number``; rows with one that does not fit
    become null here and go to ``wide``."""
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        fits = _FITS_NARROW if number == NARROW_DECIMAL else _FITS_COLUMN
    values = column.to_pylist()
    for row, value in enumerate(values):
        levels = [value] if isinstance(value, str) else value or ()
        if not all(map(fits, levels)):
            if not all(map(_FITS, levels)):
                raise StoreRejected(f"{name}: a value of too many digits")
            wide.setdefault(row, []).append((name, ",".join(levels)))
            values[row] = None
    return pa.chunked_array([pa.array(values, column.type)]).cast(kind)


def in_order(rows: pa.Table, *before: str) -> pa.Table:
    """``rows`` sorted by the columns ``before``, then by exact time and record_key; equal rows stay as they came."""
    exact = rows.append_column("exact", time_ns(rows))
    keys = [(name, "ascending") for name in (*before, "exact", "record_key")]
    return rows.take(pc.sort_indices(exact, sort_keys=keys))


def time_ns(rows: pa.Table) -> pa.ChunkedArray:
    """The exact time of each row: the venue's, or ours where it sent none."""
    return first_said(rows["event_time_ns"], rows["receive_time_ns"])


def newest(rows: pa.Table, kind: Kind) -> pa.Table:
    """``rows`` of one exchange with one row per identity, in the order they had."""
    kept = standing(rows, kind)
    return rows if kept is None else rows.take(pa.array(kept))
