"""Which rows of a batch or a file stand for their identities, by ``precedence.py``. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.records import Kind
from etl.wire.precedence import Term, precedence

_Numbers = npt.NDArray[np.int64]


def standing(rows: pa.Table, kind: Kind) -> _Numbers | None:
    """The places, rising, of the rows that stand: of each identity the first of those that take precedence. ``None``
    where every row does. Of rows without ``exchange`` all are of one."""
    identity, is_distinct = _codes(rows["record_key"])
    if is_distinct:
        return None
    for name in ("symbol", "exchange"):
        if name in rows.column_names:
            codes, _ = _codes(rows[name])
            identity = codes * (identity.max() + 1) + identity
    if len(np.unique(identity)) == len(identity):
        return None
    position = np.arange(len(identity))
    ranks = [_rank(term, rows) for term in precedence(kind)]
    # lexsort's last key is its first: by identity, by precedence, and the first row last among equals
    order = np.lexsort((-position, *reversed(ranks), identity))
    in_order = identity[order]
    is_last = np.append(in_order[1:] != in_order[:-1], True)
    kept: _Numbers = np.sort(order[is_last])
    return kept


def _codes(texts: pa.ChunkedArray) -> tuple[_Numbers, bool]:
    """A number for each text, equal where they are, and whether no two are."""
    encoded = texts.combine_chunks().dictionary_encode()
    numbers = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers, len(encoded.dictionary) == len(encoded)


def _rank(term: Term, rows: pa.Table) -> _Numbers:
    column = rows[term.name]
    if term.states:  # from 1 on, 0 for null
        return _numbers(pc.add(pc.fill_null(pc.index_in(column, pa.array(term.states)), -1), 1))
    if term.present:
        return _numbers(pc.is_valid(column))
    return _numbers(first_said(column, rows[term.otherwise]) if term.otherwise else column)


def first_said(times: pa.ChunkedArray, otherwise: pa.ChunkedArray) -> pa.ChunkedArray:
    """Each time, and the other where it is 0."""
    return pc.if_else(pc.equal(times, 0), otherwise, times)


def _numbers(values: Any) -> _Numbers:
    numbers: _Numbers = np.asarray(values, dtype=np.int64)
    return numbers
