"""Files of the lake: what one offset range holds, cut by table, exchange and date.

A writer takes the messages of its range as they come, then writes its files; the same range gives the same bytes. It
holds the range in memory: ``lake_range_messages_max`` messages, about 0.5 kB each as Arrow. ``done`` says what each
table has reached: rows of lower offsets are in it already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import pyarrow as pa

from etl.errors import StoreRejected, WireError
from etl.express.decoders import decoder
from etl.lake import layout
from etl.lake.catalog import File
from etl.lake.exports import Range
from etl.lake.files import ExchangeDay, put_file, write_file
from etl.lake.rows import in_order, newest, time_ns, to_arrow
from etl.lake.storage import Storage
from etl.model.codes import Code
from etl.model.records import Frame, Kind
from etl.model.tables import KIND_BY_TABLE
from etl.model.times import NS_PER_DAY, NS_PER_MS
from etl.settings import Settings
from etl.sinks.refusals import screened
from etl.transports.frames import Piece, pieces_of, with_whole_frames
from etl.transports.message import Message
from etl.wire.columns import Refused, Rows, refused_rows, without

UNREADABLE = "unreadable"
"""The exchange under which the raw topic keeps a message whose headers say nothing; its bytes are kept all the same."""


class RangeWriter(Protocol):
    def add(self, messages: Sequence[Message]) -> list[tuple[Refused, bytes | None]]:
        """Take ``messages``; returns those that the lake cannot hold, with their bytes."""

    def write(self) -> list[File]:
        """Write the files and return what their tables' logs shall say of them."""


class RecordWriter:
    """Messages of the normalized topic, a table per kind."""

    def __init__(
        self, settings: Settings, storage: Storage, span: Range, name: str, done: Mapping[str, int]
    ) -> None:
        self._settings = settings
        self._decode, _ = decoder(settings.ingest.express)
        self._storage = storage
        self._span = span
        self._name = name
        self._done = {
            kind: done[table] for table, kind in KIND_BY_TABLE.items() if done.get(table, 0) > span.start
        }
        self._tables: dict[Kind, list[pa.Table]] = defaultdict(list)

    def add(self, messages: Sequence[Message]) -> list[tuple[Refused, bytes | None]]:
        pairs = [(m.offset, m.value) for m in messages]
        values = dict(pairs)
        return [(item, values[item.offset]) for item in self.add_values(pairs)]

    def add_values(self, pairs: Iterable[tuple[int, bytes | None]]) -> list[Refused]:
        """The same for (offset, value) pairs."""
        batch, refused = self._decode(pairs, ())
        batch, broken = screened(batch)
        refused += broken
        try:
            self._take(batch)
        except StoreRejected:
            found = [item for rows in batch for item in refused_rows(rows, _attempt)]
            refused = [*refused, *found]
            self._take(without(batch, {item.offset for item in found}))
        return refused

    def _take(self, batch: Iterable[Rows]) -> None:
        """Less the rows that their table has already."""
        tables = [(rows.kind, _placed(left)) for rows in batch if len(left := self._left(rows))]
        for kind, table in tables:
            self._tables[kind].append(table)

    def _left(self, rows: Rows) -> Rows:
        done = self._done.get(rows.kind)
        return rows if done is None else rows.take([n for n, at in enumerate(rows.offsets) if at >= done])

    def write(self) -> list[File]:
        return [
            write_file(self._settings, self._storage, kind, place, newest(rows, kind), self._span, self._name)
            for kind, tables in sorted(self._tables.items())
            for place, rows in _cut(pa.concat_tables(tables))
        ]


def _attempt(rows: Rows) -> None:
    _placed(rows)


def _placed(rows: Rows) -> pa.Table:
    """``rows`` as Arrow. Raises ``StoreRejected`` for values that no column holds, and for names that no folder has."""
    for value in rows.columns[layout.PARTITION_COLUMN].unique().to_pylist():
        if not layout.names_folder(value):
            raise StoreRejected(f"exchange of {len(value)} characters: too long for the name of a folder")
    return to_arrow(rows)


class RawWriter:
    """Messages of the raw topic: frames with their exact bytes, in the order of their offsets. What is no frame is
    refused, and kept all the same.

    A row is a frame: those of one message have its offset. A frame that lies in several messages is one row, where its
    last one is. Of one that the range cuts, the parts are rows as they are, and ``encoding`` says so."""

    def __init__(
        self, settings: Settings, storage: Storage, span: Range, name: str, done: Mapping[str, int]
    ) -> None:
        self._storage = storage
        self._span = span
        self._name = name
        self._done = done.get(layout.RAW, 0)
        self._pieces: list[tuple[int, Piece]] = []

    def add(self, messages: Sequence[Message]) -> list[tuple[Refused, bytes | None]]:
        refused: list[tuple[Refused, bytes | None]] = []
        for message in messages:
            offset = message.offset
            try:
                pieces = pieces_of(message)
                exchange = pieces[0].frame.exchange
                if not layout.names_folder(exchange):
                    raise WireError(f"an exchange of {len(exchange)} characters")
            except WireError as error:
                time_ns = message.time_ms * NS_PER_MS
                pieces = [Piece(Frame(UNREADABLE, "", 0, str(error), time_ns, message.value or b""))]
                refused.append((Refused(offset, str(error), Code.UNDECODABLE), message.value))
            if offset >= self._done:
                self._pieces += [(offset, piece) for piece in pieces]
        return refused

    def write(self) -> list[File]:
        rows: dict[tuple[str, str], list[tuple[int, Piece]]] = defaultdict(list)
        for offset, piece in with_whole_frames(self._pieces):
            place = (piece.frame.exchange, layout.day_of(piece.frame.receive_time_ns))
            rows[place].append((offset, piece))
        return [self._write(place, found) for place, found in sorted(rows.items())]

    def _write(self, place: tuple[str, str], rows: list[tuple[int, Piece]]) -> File:
        names = layout.RAW_SCHEMA.names[1:-1]
        columns = [[getattr(piece.frame, name) for _, piece in rows] for name in names]
        columns[names.index("source")] = [piece.frame.source.name.lower() for _, piece in rows]
        columns += [[piece.encoding or None for _, piece in rows]]
        table = pa.table([[offset for offset, _ in rows], *columns], schema=layout.RAW_SCHEMA)
        exchange, day = place
        times = table["receive_time_ns"]
        data = layout.raw_parquet(table)
        return put_file(
            self._storage, layout.RAW, (exchange, day), data, times, times, self._span, self._name
        )


def _cut(rows: pa.Table) -> Iterator[tuple[ExchangeDay, pa.Table]]:
    """``rows`` in order, one exchange and date at a time."""
    days = pa.array(np.asarray(time_ns(rows)) // NS_PER_DAY)
    rows = in_order(rows.append_column(_DAY, days), "exchange", _DAY, "symbol")
    codes = rows["exchange"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    changes = np.zeros(len(rows), dtype=bool)
    for values in (codes, np.asarray(rows[_DAY])):
        changes[1:] |= values[1:] != values[:-1]
    starts = [0, *np.flatnonzero(changes).tolist(), len(rows)]
    for start, end in pairwise(starts):
        place = (rows["exchange"][start].as_py(), layout.day_of(rows[_DAY][start].as_py() * NS_PER_DAY))
        yield place, rows.slice(start, end - start)


_DAY = "day"
