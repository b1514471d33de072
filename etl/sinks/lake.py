"""Files of the lake: the rows of one offset range, cut by table, exchange, symbol and date."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from etl.columns import Refused, Rows, refused_rows
from etl.lake import layout
from etl.lake.catalog import File, Range
from etl.lake.files import Place, write_file
from etl.lake.rows import in_order, newest, time_ns, to_arrow
from etl.lake.storage import Storage
from etl.records import Kind
from etl.settings import Settings


class RangeWriter:
    """Takes the rows of one range as they come, then writes its files; the same range gives the same bytes.

    Holds the whole range in memory as Arrow: about 0.5 kB a row, bounded by ``lake_range_messages_max``.
    """

    def __init__(self, settings: Settings, storage: Storage, span: Range, mark: str = "") -> None:
        self._settings = settings
        self._storage = storage
        self._span = span
        self._mark = mark
        self._tables: dict[Kind, list[pa.Table]] = defaultdict(list)

    def add(self, batch: Sequence[Rows]) -> None:
        """Raises ``StoreRejected`` if a value does not fit; then nothing of ``batch`` is taken."""
        tables = [(rows.kind, to_arrow(rows)) for rows in batch]
        for kind, table in tables:
            self._tables[kind].append(table)

    def refused(self, rows: Rows) -> list[Refused]:
        """The rows that ``add`` does not take."""

        def attempt(part: Rows) -> None:
            to_arrow(part)

        return refused_rows(rows, attempt)

    def write(self) -> list[File]:
        """Write the files and return what the catalog shall say of them."""
        span = self._span
        name = layout.file_name(span.partition, span.start, span.end, self._mark)
        return [
            write_file(self._settings, self._storage, kind, place, newest(rows, kind), span, name)
            for kind, tables in sorted(self._tables.items())
            for place, rows in _cut(pa.concat_tables(tables))
        ]


def _cut(rows: pa.Table) -> Iterator[tuple[Place, pa.Table]]:
    """``rows`` in order, one exchange, symbol and date at a time."""
    rows = in_order(rows, *layout.PARTITION_COLUMNS)
    days = np.asarray(time_ns(rows)) // layout.NS_PER_DAY
    codes = [
        rows[name].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
        for name in layout.PARTITION_COLUMNS
    ]
    changes = np.zeros(len(rows), dtype=bool)
    for values in (*codes, days):
        changes[1:] |= values[1:] != values[:-1]
    starts = [0, *np.flatnonzero(changes).tolist(), len(rows)]
    for start, end in pairwise(starts):
        exchange, symbol = (rows[name][start].as_py() for name in layout.PARTITION_COLUMNS)
        yield (
            (exchange, symbol, layout.day_of(int(days[start]) * layout.NS_PER_DAY)),
            rows.slice(start, end - start),
        )
