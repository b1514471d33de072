"""Columns → Arrow, the order of rows in a file, and which row stands for an identity. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.columns import COLUMNS, REQUIRED, TIME, Column, Form, Rows, require_decimals
from etl.errors import StoreRejected
from etl.lake.layout import ROW_SCHEMAS
from etl.records import BarState, GapState, Kind


def to_arrow(rows: Rows) -> pa.Table:
    """``rows`` under ``ROW_SCHEMAS``; what the venue did not send is null, a time 0.

    Raises ``StoreRejected`` if a value does not fit its column exactly.
    """
    schema = ROW_SCHEMAS[rows.kind]
    try:
        arrays = [
            _array(column, rows.values[column.name], field.type)
            for column, field in zip(COLUMNS[rows.kind], schema, strict=True)
        ]
    except (pa.ArrowInvalid, OverflowError) as error:
        raise StoreRejected(str(error)) from None
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(column: Column, values: list[Any], kind: pa.DataType) -> pa.Array:
    if column is TIME:
        return pa.array(np.array(values, dtype=np.int64) // 1_000).cast(kind)
    if column.name in REQUIRED or column.form in (Form.INTEGER, Form.TIME):
        return pa.array(values, kind)
    if column.form is Form.DECIMAL:
        require_decimals(column.name, values)
        return pa.array([value or None for value in values], pa.string()).cast(kind)
    if column.form is Form.DECIMALS:
        require_decimals(column.name, [value for level in values for value in level])
        return pa.array([value or None for value in values], pa.list_(pa.string())).cast(kind)
    return pa.array([value or None for value in values], kind)


def in_order(rows: pa.Table, *before: str) -> pa.Table:
    """``rows`` sorted by the columns ``before``, then by exact time and record_key; equal rows stay as they came."""
    exact = rows.append_column("exact", time_ns(rows))
    keys = [(name, "ascending") for name in (*before, "exact", "record_key")]
    return rows.take(pc.sort_indices(exact, sort_keys=keys))


def time_ns(rows: pa.Table) -> pa.ChunkedArray:
    """The exact time of each row: the venue's, or ours where it sent none."""
    return _first_said(rows["event_time_ns"], rows["receive_time_ns"])


def newest(rows: pa.Table, kind: Kind) -> pa.Table:
    """``rows`` of one exchange and symbol with one row per identity, in the order they had.

    The greatest version wins, and of equals the first: the order of ``columns.versions``.
    """
    keys = rows["record_key"].combine_chunks().dictionary_encode()
    if len(keys.dictionary) == len(keys):
        return rows
    identity = keys.indices.to_numpy(zero_copy_only=False)
    position = np.arange(len(rows))
    # lexsort's last key is its first: by identity, by version, and the first row last among equals
    order = np.lexsort((-position, *reversed(_versions(rows, kind)), identity))
    sorted_identity = identity[order]
    is_last = np.append(sorted_identity[1:] != sorted_identity[:-1], True)
    return rows.take(pa.array(np.sort(order[is_last])))


def _versions(rows: pa.Table, kind: Kind) -> list[np.ndarray[Any, Any]]:
    if kind is Kind.BAR:
        sent = _first_said(rows["publish_time_ns"], rows["receive_time_ns"])
        return [_ranks(rows["bar_state"], BarState), _numbers(sent), _numbers(rows["parser_version"])]
    if kind is Kind.GAP:
        return [_numbers(rows["receive_time_ns"]), _ranks(rows["gap_state"], GapState)]
    return [_numbers(rows["parser_version"])]


def _first_said(times: pa.ChunkedArray, otherwise: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(times, 0), otherwise, times)


def _ranks(names: pa.ChunkedArray, enum: type[BarState] | type[GapState]) -> np.ndarray[Any, Any]:
    """Each name's number; 0 for null."""
    known = pa.array([member.name.lower() for member in enum if member])
    return _numbers(pc.add(pc.fill_null(pc.index_in(names, known), -1), 1))


def _numbers(values: Any) -> np.ndarray[Any, Any]:
    numbers: np.ndarray[Any, Any] = np.asarray(values, dtype=np.int64)
    return numbers
